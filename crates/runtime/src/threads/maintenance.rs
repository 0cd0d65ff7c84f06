//! The maintenance thread: what takes hundreds of milliseconds and nobody waits for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use althing_storage::engine::{Applied, Checkpoint, Engine, EngineStats};
use althing_types::SpaceId;
use rustix::process::setpriority_process;

use super::Fatal;
use crate::mailbox::Mailbox;

/// How often the engine is asked whether it has something to tidy up, and its figures are taken.
const ROUND: Duration = Duration::from_secs(1);
/// How far it stands back for other threads where there are too few cores (nice, from 0 to 19). Merging tables takes half of a core
/// of each node under a load of writes; a driver that waits for it falls silent, and a silent leader is soon none. What is
/// not merged in time waits in memory, until whoever writes must take part.
const NICE: i32 = 10;

/// What the maintenance thread reports.
pub(crate) enum Report {
    /// A checkpoint is durable.
    Checkpointed(BTreeMap<SpaceId, Applied>),
    /// The engine's figures.
    Stats(EngineStats),
}

/// What the thread needs.
pub(crate) struct MaintenanceThread {
    pub engine: Arc<dyn Engine>,
    pub checkpoints: Arc<Mailbox<Box<dyn Checkpoint>>>,
    pub report: Box<dyn Fn(Report) + Send>,
}

impl MaintenanceThread {
    /// Works until the mailbox is closed: checkpoints first, then whatever the engine wants done.
    pub(crate) fn run(self) -> Result<(), Fatal> {
        if let Err(error) = setpriority_process(None, NICE) {
            tracing::debug!("maintenance runs as urgently as all else: {error}");
        }
        let mut checkpoints = Vec::new();
        while self.checkpoints.take_within(ROUND, &mut checkpoints) {
            for checkpoint in checkpoints.drain(..) {
                let spaces = checkpoint.finish().map_err(Fatal::Engine)?;
                (self.report)(Report::Checkpointed(spaces));
            }
            while self.checkpoints.is_empty() && !self.checkpoints.is_closed() {
                if !self.engine.maintain().map_err(Fatal::Engine)? {
                    break;
                }
            }
            (self.report)(Report::Stats(self.engine.stats()));
        }
        Ok(())
    }
}
