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

impl Config {
    /// The election timeout of a term, in ticks: the same for the same seed, group, node and term.
    pub(crate) fn election_timeout_of(&self, term: u64) -> usize {
        let Range { start, end } = self.election_timeout;
        let draw = [self.group.get(), self.id.get(), term].into_iter().fold(self.seed, |state, word| mix(state ^ word));
        (u64::from(start) + draw % u64::from(end - start)) as usize
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the input moves half of the output's.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Recovered {
    /// The state from which all voters of a new group start: an imaginary first entry, applied by all of them, that
    /// made them members. It makes a voter's empty log differ from that of a replica which knows nothing yet.
    #[must_use]
    pub fn bootstrap(conf_state: ConfState) -> Self {
        Self {
            hard_state: HardState { term: 1, vote: NodeId::NONE, commit: 1 },
            conf_state,
            applied: 1,
            truncated: LogPosition { index: 1, term: 1 },
            entries: Vec::new(),
        }
    }

    /// Checks that nothing is missing, and brings the commit index, which is only a hint after a crash, into bounds.
    pub(crate) fn checked(mut self) -> Result<Self, RecoveryError> {
        let truncated = self.truncated.index;
        self.entries.retain(|entry| entry.index > truncated);
        for (expected, entry) in (truncated + 1..).zip(&self.entries) {
            if entry.index != expected {
                return Err(RecoveryError::Gap { expected, found: entry.index });
            }
        }
        let last =
            self.entries.last().map_or(self.truncated, |entry| LogPosition { index: entry.index, term: entry.term });
        let (applied, term) = (self.applied, self.hard_state.term);
        if applied < truncated {
            return Err(RecoveryError::AppliedBelowLog { applied, truncated });
        }
        if applied > last.index {
            return Err(RecoveryError::AppliedAboveLog { applied, last: last.index });
        }
        if term < last.term {
            return Err(RecoveryError::TermBelowLog { term, last: last.term });
        }
        self.hard_state.commit = self.hard_state.commit.clamp(applied, last.index);
        Ok(self)
    }
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
    /// The hard state is older than the log.
    #[error("the hard state is of term {term}, and the log's last entry of term {last}")]
    TermBelowLog {
        /// The hard state's term.
        term: u64,
        /// The last entry's term.
        last: u64,
    },
    /// The settings contradict each other.
    #[error("the replica's settings are refused: {0}")]
    Config(String),
}
