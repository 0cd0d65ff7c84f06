//! The replica.

use std::ops::Range;

use althing_types::{Instant, NodeId};

use crate::conf::ConfChangeError;
use crate::config::{Config, Recovered, RecoveryError};
use crate::effects::{Effects, Metrics};
use crate::input::{Input, Refused, SnapshotRefused};
use crate::role::{Progress, Role};
use crate::types::{ConfState, Entry, HardState, LogPosition, SnapshotMeta};

/// One replica of one group.
pub struct Replica {
    config: Config,
}

#[allow(unused_variables)]
impl Replica {
    /// Builds a replica from what its log and its state machine hold.
    pub fn new(config: Config, recovered: Recovered) -> Result<Self, RecoveryError> {
        todo!()
    }
    /// Takes an input in.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Effects) -> Result<(), Refused> {
        todo!()
    }
    /// Ends a turn.
    pub fn ready(&mut self, out: &mut Effects) {
        todo!()
    }
    /// Applies a configuration change.
    pub fn apply_conf_change(&mut self, entry: &Entry) -> Result<ConfState, ConfChangeError> {
        todo!()
    }
    /// Takes over a snapshot whose data is durable. `from` sent it as the leader of `leader_term`.
    pub fn install_snapshot(
        &mut self,
        meta: SnapshotMeta,
        from: NodeId,
        leader_term: u64,
        out: &mut Effects,
    ) -> Result<(), SnapshotRefused> {
        todo!()
    }
    /// Changes when the group goes to sleep.
    pub fn set_hibernate_after(&mut self, ticks: Option<u32>) {
        todo!()
    }
    /// The role.
    pub fn role(&self) -> Role {
        todo!()
    }
    /// The current term.
    pub fn term(&self) -> u64 {
        todo!()
    }
    /// The leader of the term.
    pub fn leader(&self) -> Option<NodeId> {
        todo!()
    }
    /// The commit index.
    pub fn commit(&self) -> u64 {
        todo!()
    }
    /// The applied index, as reported.
    pub fn applied(&self) -> u64 {
        todo!()
    }
    /// The last index.
    pub fn last_index(&self) -> u64 {
        todo!()
    }
    /// The configuration as last applied.
    pub fn conf_state(&self) -> &ConfState {
        todo!()
    }
    /// The hard state, as last given out.
    pub fn hard_state(&self) -> HardState {
        todo!()
    }
    /// The position before the first entry.
    pub fn truncated(&self) -> LogPosition {
        todo!()
    }
    /// What the leader knows of a member.
    pub fn progress(&self, node: NodeId) -> Option<Progress> {
        todo!()
    }
    /// Bytes of the log in memory.
    pub fn log_bytes(&self) -> usize {
        todo!()
    }
    /// Entries of the log.
    pub fn entries(&self, range: Range<u64>) -> Vec<Entry> {
        todo!()
    }
    /// The term of an entry of the log.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        todo!()
    }
    /// Whether it sleeps.
    pub fn is_hibernating(&self) -> bool {
        todo!()
    }
    /// Whether a read asked for now would be answered without waiting for the term's first commit.
    pub fn can_serve_reads(&self) -> bool {
        todo!()
    }
    /// Counters.
    pub fn metrics(&self) -> Metrics {
        todo!()
    }
}
