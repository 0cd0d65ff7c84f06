//! What a run is asked to be.

use std::io::Write;

use althing_probe::Mutant;
use althing_types::Duration;

use crate::faults::{Episodes, FaultPlan};
use crate::scenario::text::Span;
use crate::workload::WorkloadOptions;

/// A cluster has at most this many nodes.
pub const MAX_NODES: u64 = 9;

/// A cluster with a control plane: clients write to a table of many shards, whose replicas move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    /// Shards of the table.
    pub shards: u32,
    /// Nodes that are registered besides the founders.
    pub spares: u64,
    /// How often a node is drained or comes back.
    pub pace: Episodes,
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
    /// Whether there is a control plane. Clients on registers write to a table of it then, and there are no others.
    pub tables: Option<Tables>,
    /// The mistake that the nodes or their hosts make. Not for users: a test of the simulator itself, and only of one that
    /// was built with debug assertions.
    pub mutant: Option<Mutant>,
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
            tables: None,
            mutant: None,
            trace: None,
            record: None,
        }
    }
}

impl Options {
    /// A cluster with a control plane: three founders, two nodes that are registered, and a table of eight shards. What takes
    /// away what was synced is left out: what may be lost there, and when, is reckoned for one group.
    #[must_use]
    pub fn with_tables(seed: u64) -> Self {
        let pace = Episodes::new(Duration::from_secs(3), Duration::ZERO, Duration::ZERO);
        let workload = WorkloadOptions::of_registers();
        let faults = FaultPlan::swarm(seed).without_losses();
        Self { workload, faults, tables: Some(Tables { shards: 8, spares: 2, pace }), ..Self::new(seed) }
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
            .field("tables", &self.tables)
            .field("mutant", &self.mutant)
            .finish_non_exhaustive()
    }
}
