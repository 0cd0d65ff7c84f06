//! A table that came out of a snapshot becomes a new cluster's.

use std::sync::Arc;

use althing_api::cluster::Member;
use althing_types::Revision;
use bytes::Bytes;

use super::Machine;
use crate::error::StrongError;
use crate::members::Members;

impl Machine {
    /// Gives the table to other members, under another Raft configuration, and moves its revision `ahead` by so many, so
    /// that no client of the old cluster sees one go back. All that was before counts as compacted: a watch of the old
    /// cluster is told so, instead of silently missing what the snapshot did not hold. Alarms of old members are gone.
    /// The place in the log stays.
    pub fn refound(&mut self, members: &[Member], conf_state: Bytes, ahead: u64) -> Result<Revision, StrongError> {
        let table = self.table.as_mut().ok_or(StrongError::Blank)?;
        table.members = Members::new(members);
        table.conf_state = conf_state;
        table.alarms.clear();
        let state = &mut table.state;
        let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
        let too_far = || StrongError::Inconsistent(format!("revision {} cannot move {ahead} ahead", state.revision));
        state.revision = Revision(state.revision.0.checked_add(ahead).ok_or_else(too_far)?);
        state.compacted = state.revision;
        state.freed = state.garbage;
        let (revision, applied) = (state.revision, state.applied);
        let engine = Arc::clone(&self.engine);
        let mut batch = engine.begin(self.space);
        table.store(&mut *batch);
        batch.commit(applied)?;
        self.index = self.count_keys(revision)?;
        self.publish();
        Ok(revision)
    }
}
