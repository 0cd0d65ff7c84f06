//! What a run is asked to be.

use std::io::Write;

use althing_probe::Mutant;
use althing_types::{Duration, NodeId};

use crate::faults::{Episodes, FaultPlan};
use crate::scenario::text::Span;
use crate::workload::WorkloadOptions;

/// A cluster is born with at most this many nodes: all of them vote on its first groups, and a quorum of more is slow without
/// being safer.
pub const MAX_NODES: u64 = 9;
/// A cluster with a control plane has at most this many nodes besides its founders: these vote only where replicas are put.
pub const MAX_SPARES: u64 = 119;
/// The numbers that a world gives to its machines end here.
pub const MAX_MACHINES: u64 = MAX_NODES + MAX_SPARES;

/// A cluster with a control plane: clients write to a table of many shards, whose replicas move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    /// Shards of the table. A plan without shards is one without a control plane.
    pub shards: usize,
    /// Kibibytes at which a shard of the table is split; then the table is split by range, and begins with one shard. 0: it is
    /// split by hash.
    pub split_kib: usize,
    /// Shards of a second table, which is convergent; none if there is no such table.
    pub convergent: usize,
    /// Shards of a third one, which is convergent, too, and whose strings are decided by rounds; none if there is no such table.
    pub decided: usize,
    /// Nodes that are registered besides the founders, at most [`MAX_SPARES`].
    pub spares: usize,
    /// How many of these are registered only when the table is there, so that replicas move to them.
    pub late: usize,
    /// How long it is from one of the late ones to the next; nothing if all of them come at once.
    pub joins: Duration,
    /// Zones over which the nodes are spread by turns; none if nobody says where nodes stand.
    pub zones: usize,
    /// How long a silent node keeps its replicas, in whole seconds.
    pub grace: Duration,
    /// How often a node is drained or comes back.
    pub pace: Episodes,
}

impl Tables {
    /// No control plane.
    pub const NONE: Self = Self {
        shards: 0,
        split_kib: 0,
        convergent: 0,
        decided: 0,
        spares: 0,
        late: 0,
        joins: Duration::ZERO,
        zones: 0,
        grace: Duration::from_secs(4),
        pace: Episodes::NONE,
    };

    /// Whether there is a convergent table.
    #[must_use]
    pub const fn is_convergent(&self) -> bool {
        self.convergent > 0 || self.decided > 0
    }

    /// The zone of a node; empty if there are none.
    #[must_use]
    pub fn zone_of(&self, node: NodeId) -> String {
        match self.zones as u64 {
            0 => String::new(),
            zones => format!("zone-{}", (node.get().max(1) - 1) % zones + 1),
        }
    }
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
    /// away what was synced is left out: there are too few nodes to replace one.
    #[must_use]
    pub fn with_tables(seed: u64) -> Self {
        let pace = Episodes::new(Duration::from_secs(1), Duration::ZERO, Duration::ZERO);
        let tables = Tables { shards: 8, spares: 2, late: 2, pace, ..Tables::NONE };
        let workload = WorkloadOptions::of_registers();
        let faults = FaultPlan::swarm(seed).without_losses();
        Self { workload, faults, tables: Some(tables), ..Self::new(seed) }
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
