//! What a replica wants done.

use althing_types::NodeId;

use crate::message::Message;
use crate::role::Role;
use crate::types::{Entry, HardState, SnapshotMeta};

/// What a turn asks of the host. The host clears it (or takes what it holds) between turns; the replica only adds.
#[derive(Default, Debug)]
pub struct Effects {
    /// Send now. Losing one costs time, never safety.
    pub messages: Vec<Message>,
    /// Append to the log, in this order.
    pub persist: Vec<Persist>,
    /// Hand to the applier, in this order. Each index comes once per run.
    pub committed: Vec<Entry>,
    /// Reads that may be served once the state machine has applied their index.
    pub reads: Vec<ReadReady>,
    /// The role after this turn, if it, the term or the known leader is not what it was before.
    pub role_changed: Option<Role>,
    /// Followers that need a snapshot.
    pub snapshot_wanted: Vec<SnapshotWanted>,
}

impl Effects {
    /// Nothing to do; buffers keep their room.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.persist.clear();
        self.committed.clear();
        self.reads.clear();
        self.role_changed = None;
        self.snapshot_wanted.clear();
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.persist.is_empty()
            && self.committed.is_empty()
            && self.reads.is_empty()
            && self.role_changed.is_none()
            && self.snapshot_wanted.is_empty()
    }
}

/// One batch for the log. On recovery the parts count in the order of the fields: a snapshot empties the log, then
/// entries replace everything from their first index on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Persist {
    /// Number of the batch, ascending.
    pub seq: u64,
    /// The log is replaced by this snapshot, whose data is already durable.
    pub snapshot: Option<SnapshotMeta>,
    /// Entries in ascending order without a gap.
    pub entries: Vec<Entry>,
    /// The hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// Whether somebody waits: if so the batch must become durable soon and be answered with `Input::Persisted`. If not
    /// it may ride with the next batch that must, and needs no answer.
    pub must_sync: bool,
}

/// A read whose leader was confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadReady {
    /// As it was given in `Input::ReadIndex`.
    pub context: u64,
    /// The state machine must have applied this index before it answers.
    pub index: u64,
}

/// A follower is so far behind that the log no longer reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotWanted {
    /// The follower. Its stream ends with `Input::SnapshotSent`; until then it is not asked for again.
    pub to: NodeId,
    /// The snapshot must reach at least this index.
    pub at_least: u64,
}

/// What a replica has done since it was built. All are counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Metrics {
    /// Proposals accepted, configuration changes included.
    pub proposals: u64,
    /// Inputs refused: proposals, configuration changes, transfers.
    pub refused: u64,
    /// Elections begun: times the replica became a pre-candidate or a candidate without having been either.
    pub elections_started: u64,
    /// Elections won.
    pub elections_won: u64,
    /// Times the known leader changed to another node.
    pub leader_changes: u64,
    /// Role changes, as told by `Effects::role_changed`.
    pub role_changes: u64,
    /// Reads asked for on this node.
    pub reads: u64,
    /// Reads answered to this node.
    pub reads_ready: u64,
    /// Entries handed out as committed.
    pub committed: u64,
    /// Snapshots asked for, for followers.
    pub snapshots_wanted: u64,
    /// Snapshots installed.
    pub snapshots_installed: u64,
    /// Times the replica went to sleep.
    pub hibernations: u64,
}
