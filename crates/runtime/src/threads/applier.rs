//! The applier's thread: the engine's one writer.

use std::sync::Arc;

use althing_convergent::ConvergentError;
use althing_env::Clock;
use althing_node::{Applier, ApplierError, Done, Work};
use althing_storage::engine::Checkpoint;
use althing_strong::StrongError;
use prometheus_client::metrics::histogram::Histogram;

use super::Fatal;
use crate::mailbox::Mailbox;

/// What the applier is asked to do, in order.
pub(crate) enum Task {
    /// Work of one turn.
    Work(Vec<Work>),
    /// Cut the engine's state here.
    Checkpoint,
}

/// The applier and what its thread needs.
pub(crate) struct ApplierThread {
    pub applier: Applier,
    pub tasks: Arc<Mailbox<Task>>,
    pub checkpoints: Arc<Mailbox<Box<dyn Checkpoint>>>,
    pub clock: Arc<dyn Clock>,
    pub apply_seconds: Histogram,
    pub report: Box<dyn Fn(Vec<Done>) + Send>,
}

fn fatal(error: ApplierError) -> Fatal {
    match error {
        ApplierError::Engine(error)
        | ApplierError::Strong(StrongError::Engine(error))
        | ApplierError::Convergent(ConvergentError::Engine(error)) => Fatal::Engine(error),
        other => Fatal::Apply(other.to_string()),
    }
}

impl ApplierThread {
    /// Works until the mailbox is closed. What compaction allows is removed in small pieces while nothing else waits.
    pub(crate) fn run(mut self) -> Result<(), Fatal> {
        let mut tasks = Vec::new();
        let mut work = Vec::new();
        loop {
            if self.applier.has_background() && self.tasks.is_empty() && !self.tasks.is_closed() {
                let (done, _) = self.applier.background().map_err(fatal)?;
                self.tell(done);
                continue;
            }
            if !self.tasks.take(&mut tasks) {
                return Ok(());
            }
            for task in tasks.drain(..) {
                match task {
                    Task::Work(more) => work.extend(more),
                    Task::Checkpoint => {
                        self.work(&mut work)?;
                        self.checkpoints.push(self.applier.begin_checkpoint().map_err(fatal)?);
                    }
                }
            }
            self.work(&mut work)?;
        }
    }

    fn work(&mut self, work: &mut Vec<Work>) -> Result<(), Fatal> {
        if work.is_empty() {
            return Ok(());
        }
        let begun = self.clock.now();
        let done = self.applier.work(std::mem::take(work)).map_err(fatal)?;
        self.apply_seconds.observe(self.clock.now().since(begun).as_secs_f64());
        self.tell(done);
        Ok(())
    }

    fn tell(&self, done: Vec<Done>) {
        if !done.is_empty() {
            (self.report)(done);
        }
    }
}
