//! What a run is asked to be.

use std::io::Write;

use althing_probe::Mutant;
use althing_types::Duration;

use crate::faults::FaultPlan;
use crate::workload::WorkloadOptions;

/// A cluster has at most this many nodes.
pub const MAX_NODES: u64 = 9;

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
    /// The mistake that the nodes or their hosts make. Not for users: a test of the simulator itself, and only of one that
    /// was built with debug assertions.
    pub mutant: Option<Mutant>,
    /// Where the trace is written as JSON lines, if anywhere.
    pub trace: Option<Box<dyn Write>>,
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
            mutant: None,
            trace: None,
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
            .field("mutant", &self.mutant)
            .finish_non_exhaustive()
    }
}
