//! By which configuration each node counts votes.
//!
//! A change of the members takes effect when it is committed and handed to the applier (Ongaro's dissertation, section 4.1, in
//! etcd's form), for Raft and for the members' table alike.

use std::collections::BTreeMap;

use althing_api::cluster::Member;
use althing_consensus::ConfState;
use althing_types::{GroupId, NodeId};

use super::Contradiction;

/// What each replica should count by.
#[derive(Clone, Debug, Default)]
pub struct Configurations {
    handed_out: BTreeMap<(GroupId, NodeId), ConfState>,
    applied: BTreeMap<(GroupId, NodeId), ConfState>,
}

impl Configurations {
    /// A replica begins with a configuration: it starts, or a snapshot was put in its log's place.
    pub fn begins(&mut self, group: GroupId, node: NodeId, with: ConfState) {
        self.handed_out.insert((group, node), with);
        self.applied.remove(&(group, node));
    }

    /// A replica hands a committed change to its applier.
    pub fn hands_out(&mut self, group: GroupId, node: NodeId, change: ConfState) {
        self.handed_out.insert((group, node), change);
    }

    /// A replica counts votes so.
    pub fn counts_by(&self, group: GroupId, node: NodeId, conf: &ConfState) -> Result<(), Contradiction> {
        match self.handed_out.get(&(group, node)) {
            Some(known) if known != conf => {
                Err(format!("node {node} counts votes by {conf:?}, and what is committed makes {known:?}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// An applier is about to apply a change.
    pub fn applies(&mut self, group: GroupId, node: NodeId, change: ConfState) {
        self.applied.insert((group, node), change);
    }

    /// After an applier has changed the members' table, the table says this.
    pub fn table_says(&self, group: GroupId, node: NodeId, members: &[Member]) -> Result<(), Contradiction> {
        let Some(conf) = self.applied.get(&(group, node)) else { return Ok(()) };
        let ids = |learners: bool| {
            let mut ids: Vec<_> =
                members.iter().filter(|member| member.is_learner == learners).map(|member| member.id).collect();
            ids.sort_unstable();
            ids
        };
        if conf.is_joint() || (conf.voters == ids(false) && conf.learners == ids(true)) {
            return Ok(());
        }
        Err(format!("node {node} counts votes by {conf:?}, and its table of members says {members:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: GroupId = GroupId(1);
    const A: NodeId = NodeId(1);

    fn conf(voters: &[u64]) -> ConfState {
        ConfState::of_voters(voters.iter().copied().map(NodeId))
    }

    fn member(id: u64, is_learner: bool) -> Member {
        Member { id: NodeId(id), is_learner, ..Member::default() }
    }

    #[test]
    fn a_replica_that_counts_by_what_is_not_committed_is_noticed() {
        let mut known = Configurations::default();
        assert_eq!(known.counts_by(G, A, &conf(&[1])), Ok(()), "nothing is known of it");
        known.begins(G, A, conf(&[1, 2]));
        assert_eq!(known.counts_by(G, A, &conf(&[1, 2])), Ok(()));
        assert!(known.counts_by(G, A, &conf(&[1, 2, 3])).is_err());
        known.hands_out(G, A, conf(&[1, 2, 3]));
        assert_eq!(known.counts_by(G, A, &conf(&[1, 2, 3])), Ok(()));
    }

    #[test]
    fn a_table_that_says_something_else_than_raft_is_noticed() {
        let mut known = Configurations::default();
        known.applies(G, A, conf(&[1, 2]));
        assert_eq!(known.table_says(G, A, &[member(2, false), member(1, false)]), Ok(()));
        assert!(known.table_says(G, A, &[member(1, false), member(2, true)]).is_err());
        assert!(known.table_says(G, A, &[member(1, false)]).is_err());
    }
}
