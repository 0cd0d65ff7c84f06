//! What a replica is made from: its settings, and what a restart found on disk.

use std::ops::Range;

use althing_types::{GroupId, NodeId};

use crate::types::{ConfState, Entry, HardState, LogPosition};

/// Settings of one replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// The group that the replica belongs to.
    pub group: GroupId,
    /// The node that the replica stands on; its id within the group.
    pub id: NodeId,
    /// Election timeouts are drawn from this, the group, the id and the term.
    pub seed: u64,
    /// A number that this node's earlier runs never had, such as the epoch of its log. An answer to a read of an
    /// earlier run is told by it, whatever context that read had.
    pub incarnation: u64,
    /// Ticks without a leader's message until an election, drawn anew for each term.
    pub election_timeout: Range<u32>,
    /// Ticks between a leader's heartbeats; below the election timeout's start.
    pub heartbeat_ticks: u32,
    /// Ticks of silence after which a group goes to sleep; `None` for never.
    pub hibernate_after_ticks: Option<u32>,
}

/// What the log and the state machine gave back after a restart. The first start of a group is the recovery of a
/// state that all its voters make up alike, with a truncated position above zero; a replica that joins later recovers
/// from nothing (`Recovered::default()`) and waits for a snapshot.
#[derive(Clone, Default, Debug)]
pub struct Recovered {
    /// The last hard state of the log.
    pub hard_state: HardState,
    /// The configuration as of `applied`.
    pub conf_state: ConfState,
    /// The index that the state machine durably stands at.
    pub applied: u64,
    /// The position before the first entry.
    pub truncated: LogPosition,
    /// The log above `truncated`. Entries at or below it are tolerated and dropped.
    pub entries: Vec<Entry>,
}

/// Why a replica cannot be built. Each of these means that something which was promised is gone: the replica must not
/// come back under its id.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoveryError {
    /// An index is missing within the log.
    #[error("the log has entry {found} where {expected} was expected")]
    Gap {
        /// The index that should have come next.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// The state machine stands before the log's start: entries that it never applied are gone.
    #[error("the state machine stands at {applied}, and the log begins after {truncated}")]
    AppliedBelowLog {
        /// The state machine's index.
        applied: u64,
        /// The log's truncated index.
        truncated: u64,
    },
    /// The state machine has applied entries that the log has lost.
    #[error("the state machine stands at {applied}, and the log ends at {last}")]
    AppliedAboveLog {
        /// The state machine's index.
        applied: u64,
        /// The log's last index.
        last: u64,
    },
    /// The settings contradict each other.
    #[error("the replica's settings are refused: {0}")]
    Config(String),
}
