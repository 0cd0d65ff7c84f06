//! What came of a run.

use std::fmt;

use althing_probe::Hits;
use althing_types::{Duration, Instant};

use crate::budget::Tally;
use crate::checker::{Outcome, carts, decided};
use crate::diagram::Recording;
use crate::faults::Fault;
use crate::history::History;
use crate::network;

/// Which promise was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Check {
    /// At most one leader per term, the same entries everywhere, revisions that never go back.
    Ledger,
    /// Each register behaves as if there were one copy of it.
    Linearizability,
    /// The revisions in answers agree with the order in which they were given.
    Revisions,
    /// A lease lives at least as long as was promised.
    Leases,
    /// Watches are ordered, unique, atomic and complete.
    Watches,
    /// No acknowledged write is lost.
    LostWrites,
    /// Every answer is the one that the table's history gives, and answers agree with real time.
    Exactness,
    /// Transactions form no cycle.
    Cycles,
    /// What is transferred between accounts is neither lost nor made.
    Bank,
    /// A lock has one holder, tokens rise, and nobody with an older token gets through after a newer one.
    Fencing,
    /// Lists in pages, and caches that follow a watch, are the table at their revision.
    Caches,
    /// No guarded update is lost.
    LostUpdates,
    /// A refusal says what is so.
    Refusals,
    /// Too many searches for an order were given up for the run to say anything.
    Undecided,
    /// A node must start from the disk that it left.
    Recovery,
    /// A node must not panic, nor stop for a reason that the world did not give it.
    Crash,
    /// What a node keeps in memory stays within its limits.
    Memory,
    /// Whoever has a quorum serves, whether the control plane has one or not.
    Service,
    /// Replicas are spread over zones and rebuilt after a loss, and nothing is decided without a quorum of the control plane.
    Control,
    /// Convergent tables: an event names one write, what was acknowledged stays until somebody has seen it, what was removed stays
    /// away, counters are exact, and reads see the writes that they meet.
    Carts,
    /// Strings that are decided by rounds: linearizable, and every replica holds in the end what was decided last.
    Decided,
    /// After all is healed, writes succeed within [`crate::world::WRITE_WITHIN`].
    Progress,
    /// After all is healed, all replicas become equal within [`crate::world::EQUAL_WITHIN`].
    Convergence,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ledger => "ledger",
            Self::Linearizability => "linearizability",
            Self::Revisions => "revisions",
            Self::Leases => "leases",
            Self::Watches => "watches",
            Self::LostWrites => "lost writes",
            Self::Exactness => "exactness",
            Self::Cycles => "cycles",
            Self::Bank => "bank",
            Self::Fencing => "fencing",
            Self::Caches => "caches",
            Self::LostUpdates => "lost updates",
            Self::Refusals => "refusals",
            Self::Undecided => "undecided",
            Self::Recovery => "recovery",
            Self::Crash => "crash",
            Self::Memory => "memory",
            Self::Service => "service",
            Self::Control => "control plane",
            Self::Carts => "carts",
            Self::Decided => "decided strings",
            Self::Progress => "progress",
            Self::Convergence => "convergence",
        })
    }
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// When it was noticed, in the world's time.
    pub at: Instant,
    /// Which promise.
    pub check: Check,
    /// How.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.check, self.at, self.detail)
    }
}

/// Faults that were inflicted, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultCounts {
    /// Full partitions.
    pub partitions: u64,
    /// One-way cuts.
    pub one_way: u64,
    /// Power failures of nodes that ran.
    pub crashes: u64,
    /// Processes killed.
    pub kills: u64,
    /// Nodes that stood still.
    pub pauses: u64,
    /// Slow disks.
    pub slow_disks: u64,
    /// Writes and syncs that failed, also because a disk was full.
    pub failed_disks: u64,
    /// Disks that were full for a while.
    pub full_disks: u64,
    /// Machines set up for new members.
    pub joined: u64,
    /// Machines taken away because their members had been removed.
    pub left: u64,
    /// Leaderships handed over on demand.
    pub transfers: u64,
    /// Graceful stops.
    pub stops: u64,
    /// Nodes whose frames were held back for a while.
    pub clogs: u64,
    /// Slow processors.
    pub slow_nodes: u64,
    /// Clocks that were set.
    pub clock_jumps: u64,
    /// Clocks that changed their pace.
    pub drifts: u64,
    /// Bits of logs that turned for good.
    pub rot: u64,
    /// Bits of logs that a read gave wrongly.
    pub rot_on_read: u64,
    /// Data directories that were emptied.
    pub wiped: u64,
    /// Data directories that were put back to an earlier state.
    pub rolled_back: u64,
    /// Machines that started on a copy of another one's directory.
    pub copied: u64,
    /// Disks whose syncs kept nothing for a while.
    pub lost_syncs: u64,
    /// Checkpoints that were asked for.
    pub checkpoints: u64,
    /// Compactions that were asked for.
    pub compactions: u64,
    /// Faults that hit a node at a moment that matters.
    pub triggered: u64,
    /// Machines that were given up because what they had synced was lost. A consequence.
    pub condemned: u64,
    /// Starts from a disk that was used before.
    pub restarts: u64,
    /// Snapshots that replicas were put on. A consequence, not a fault, counted because it is rare.
    pub snapshots: u64,
}

impl FaultCounts {
    /// Everything that was done to the cluster, without what follows from it.
    #[must_use]
    pub fn inflicted(&self) -> u64 {
        self.kinds().iter().map(|(_, count)| count).sum::<u64>()
            - self.restarts
            - self.snapshots
            - self.condemned
            - self.triggered
    }

    /// Each kind by name, in the order in which reports list them.
    #[must_use]
    pub const fn kinds(&self) -> [(&'static str, u64); 28] {
        [
            ("partitions", self.partitions),
            ("one-way cuts", self.one_way),
            ("crashes", self.crashes),
            ("kills", self.kills),
            ("pauses", self.pauses),
            ("slow disks", self.slow_disks),
            ("failed disks", self.failed_disks),
            ("full disks", self.full_disks),
            ("transfers", self.transfers),
            ("stops", self.stops),
            ("joined", self.joined),
            ("left", self.left),
            ("clogs", self.clogs),
            ("slow nodes", self.slow_nodes),
            ("clock jumps", self.clock_jumps),
            ("drifts", self.drifts),
            ("rot at rest", self.rot),
            ("rot on read", self.rot_on_read),
            ("wiped", self.wiped),
            ("rolled back", self.rolled_back),
            ("copied", self.copied),
            ("lost syncs", self.lost_syncs),
            ("checkpoints", self.checkpoints),
            ("compactions", self.compactions),
            ("triggered", self.triggered),
            ("condemned", self.condemned),
            ("restarts", self.restarts),
            ("snapshots", self.snapshots),
        ]
    }
}

/// What happened in a cluster with a control plane; all zero in one without.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ControlCounts {
    /// Writes that reconcilers have proposed.
    pub reconciled: u64,
    /// Calls that were sent to another node.
    pub routed: u64,
    /// Calls that a node refused because the shard is not there, or the sender's map is behind.
    pub wrong_shards: u64,
    /// How often one call was sent to other nodes, at the most. Counted in builds with debug assertions only.
    pub most_tries: u64,
    /// Messages that the network kept to itself.
    pub withheld: u64,
    /// Lies about who is up and who is down.
    pub lies: u64,
    /// Machines that are gone for good.
    pub destroyed: u64,
    /// Shards that were seen to be spread over zones before the first fault.
    pub spread: u64,
    /// Shards that were replaced by two.
    pub splits: u64,
    /// Calls that went on at a child of the shard that they were at.
    pub redirected: u64,
    /// Runs that were seen to have rebuilt what was on machines that are down.
    pub rebuilt: u64,
    /// Stretches without a change of who is up, in which shards with a quorum were seen to serve.
    pub stretches: u64,
    /// Those of them in which the control plane had no quorum.
    pub without_meta: u64,
    /// Shards that acknowledged writes in one of these.
    pub served_without_meta: u64,
    /// Writes that they acknowledged.
    pub writes_without_meta: u64,
    /// Writes to such shards that were not, though they had time: the node that was asked could not reach the shard.
    pub failed_without_meta: u64,
}

impl ControlCounts {
    /// Adds what the process of a node has counted.
    pub fn add(&mut self, metrics: &althing_node::Metrics) {
        self.reconciled += metrics.reconciled;
        self.routed += metrics.routed;
        self.wrong_shards += metrics.wrong_shards;
        self.redirected += metrics.redirected;
    }

    /// Each by name, in the order in which reports list them; the most tries of one call, which do not add up, are left out.
    #[must_use]
    pub const fn kinds(&self) -> [(&'static str, u64); 15] {
        [
            ("reconciled", self.reconciled),
            ("splits", self.splits),
            ("redirected", self.redirected),
            ("routed", self.routed),
            ("wrong shards", self.wrong_shards),
            ("withheld", self.withheld),
            ("lies", self.lies),
            ("destroyed", self.destroyed),
            ("seen spread", self.spread),
            ("seen rebuilt", self.rebuilt),
            ("stretches", self.stretches),
            ("without meta", self.without_meta),
            ("shards that served without meta", self.served_without_meta),
            ("writes without meta", self.writes_without_meta),
            ("failed writes without meta", self.failed_without_meta),
        ]
    }
}

/// Whether all promises were kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// They were.
    Kept,
    /// At least one was broken.
    Broken,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed that it followed from.
    pub seed: u64,
    /// The hash of all that happened: equal for two runs of one seed, or something is not deterministic.
    pub trace_hash: u64,
    /// Events that happened.
    pub events: u64,
    /// How long it was, in the world's time.
    pub simulated: Duration,
    /// What happened to frames.
    pub network: network::Counts,
    /// What was inflicted.
    pub faults: FaultCounts,
    /// What happened in a cluster with a control plane.
    pub control: ControlCounts,
    /// Every fault, and every end of one, that came by chance or by a trigger, and when, counted from the start of the run;
    /// in order. As the schedule of [`crate::FaultPlan::replaying`] it makes the same run again.
    pub inflicted: Vec<(Duration, Fault)>,
    /// How near the faults came to what the store can survive.
    pub budget: Tally,
    /// Entries that were committed.
    pub entries: u64,
    /// Bytes that all nodes together have written to their logs.
    pub log_bytes: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// What clients saw.
    pub history: History,
    /// How often a checker gave up.
    pub undecided: u64,
    /// Which rare paths the run has taken, and how often; none in a build without debug assertions.
    pub marks: Hits,
    /// What was broken.
    pub findings: Vec<Finding>,
    /// What happened in the part of the run that was recorded.
    pub recording: Option<Recording>,
}

impl Report {
    /// Whether all promises were kept.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.findings.is_empty() { Verdict::Kept } else { Verdict::Broken }
    }

    /// Operations that are known to have happened, and those that may have.
    #[must_use]
    pub fn operations(&self) -> (usize, usize) {
        let registers = self.history.operations.iter().map(|operation| match operation.outcome {
            Outcome::Done { .. } => (1, 0),
            Outcome::Unknown => (0, 1),
            Outcome::Refused => (0, 0),
        });
        let carts = self.history.carts.iter().map(|operation| match operation.outcome {
            carts::Outcome::Done { .. } => (1, 0),
            carts::Outcome::Unknown => (0, 1),
            carts::Outcome::Refused => (0, 0),
        });
        let decided = self.history.decided.iter().map(|operation| match operation.outcome {
            decided::Outcome::Done { .. } => (1, 0),
            decided::Outcome::Unknown => (0, 1),
            decided::Outcome::Refused => (0, 0),
        });
        let all = registers.chain(carts).chain(decided);
        all.fold((0, 0), |(done, unknown), (a, b)| (done + a, unknown + b))
    }
}
