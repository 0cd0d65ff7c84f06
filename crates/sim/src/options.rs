//! What a run is asked to be.

use std::io::Write;

use althing_types::Duration;
use clap::ValueEnum;

use crate::faults::FaultPlan;
use crate::scenario::text::Span;
use crate::workload::WorkloadOptions;

/// A cluster has at most this many nodes.
pub const MAX_NODES: u64 = 9;

/// A host that does its work wrongly, to show that the simulator notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Sabotage {
    /// It does it well.
    #[default]
    None,
    /// It reports what it has written to the log as durable without a sync.
    AcknowledgeBeforeSync,
    /// It reports a checkpoint as durable before it is.
    ReportCheckpointEarly,
    /// It does not write terms and votes to the log.
    ForgetVotes,
    /// It answers every read from what it has applied, without asking the leader.
    ReadWithoutReadIndex,
    /// It hands every write to the node twice, as a careless repetition would.
    RepeatWrites,
    /// It leaves out one entry in a hundred.
    SkipEntries,
    /// It loses one response of a watch in fifty.
    LoseWatchEvents,
    /// Its clock is a quarter too fast, so that leases end early.
    RushClocks,
}

/// One run.
pub struct Options {
    /// From which all of it follows.
    pub seed: u64,
    /// Nodes of the cluster, 1 to [`MAX_NODES`].
    pub nodes: u64,
    /// How long the safety phase is, in the world's time. The liveness phase comes on top.
    pub duration: Duration,
    /// What goes wrong meanwhile.
    pub faults: FaultPlan,
    /// What clients do.
    pub workload: WorkloadOptions,
    /// What the hosts do wrong. Not for users: a test of the simulator itself.
    pub sabotage: Sabotage,
    /// Where the trace is written as JSON lines, if anywhere.
    pub trace: Option<Box<dyn Write>>,
    /// Which part of the run is recorded for a space-time diagram, counted from its start, if any.
    pub record: Option<Span>,
}

impl Options {
    /// Three nodes for twenty seconds under the seed's own swarm of faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            nodes: 3,
            duration: Duration::from_secs(20),
            faults: FaultPlan::swarm(seed),
            workload: WorkloadOptions::default(),
            sabotage: Sabotage::None,
            trace: None,
            record: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("seed", &self.seed)
            .field("nodes", &self.nodes)
            .field("duration", &self.duration)
            .field("faults", &self.faults)
            .field("workload", &self.workload)
            .finish_non_exhaustive()
    }
}
