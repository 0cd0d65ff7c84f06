//! Counting who has answered, while the replicas may become others.
//!
//! A coordinator counts by its own replica's configuration, which may be an old one. Each answer says which change of it may be in the
//! answerer's Raft log; one that is later than what this replica has applied does not count before it has caught up, and
//! then it is counted by what is so then. Why that is enough: a change takes effect only when it is in the logs of a
//! quorum; so of each quorum that had answered before, somebody answers with the change in his log, or the answers are older than the
//! change, and then most of the old replicas tell them to the new ones before those stand alone
//! (`crate::group`, `leave_joint`).

use althing_quorum::{Level, Requirement, Tally, Verdict};
use althing_types::{GroupId, NodeId};

use crate::node::Node;

/// The configuration as this node's replica of a shard knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Knowledge {
    /// The last change that may be in its log.
    pub(super) logged: u64,
    /// The last change that is applied.
    pub(super) changed: u64,
    /// How far the log is applied.
    pub(super) applied: u64,
}

/// Who has answered.
#[derive(Debug)]
pub(super) struct Count {
    tally: Tally,
    level: Level,
    /// The last change that it counts by.
    changed: u64,
    /// Who has answered and knows more, and of which change.
    late: Vec<(NodeId, u64)>,
}

impl Count {
    /// Whether the level counts quorums, which must meet across a change. One replica is one of whichever there are.
    const fn is_of_quorums(level: Level) -> bool {
        match level {
            Level::Quorum | Level::All | Level::LocalQuorum | Level::EachQuorum => true,
            Level::One | Level::Any => false,
        }
    }

    /// A replica has done what was asked, with such a change in its log.
    pub(super) fn answered(&mut self, node: NodeId, conf: u64, applied: u64) {
        if conf <= applied || !Self::is_of_quorums(self.level) {
            self.tally.answered(node);
        } else {
            self.late.push((node, conf));
        }
    }

    /// Whether a replica has answered, counted or not.
    pub(super) fn has_answered(&self, node: NodeId) -> bool {
        self.tally.has_answered(node) || self.late.iter().any(|(late, _)| *late == node)
    }

    pub(super) fn is_met(&self) -> bool {
        self.tally.verdict() == Verdict::Met
    }

    /// Whether it is to be counted anew.
    pub(super) fn is_outdated(&self, known: Knowledge) -> bool {
        self.changed != known.changed || self.late.iter().any(|(_, conf)| *conf <= known.applied)
    }

    pub(super) const fn level(&self) -> Level {
        self.level
    }

    /// Counts anew, by what is known now.
    pub(super) fn renew(&mut self, requirement: Requirement, known: Knowledge) {
        self.changed = known.changed;
        self.tally = self.tally.clone().measured_by(requirement);
        for (node, _) in self.late.extract_if(.., |(_, conf)| *conf <= known.applied) {
            self.tally.answered(node);
        }
    }

    /// The tally if all of these answered who are likely to.
    pub(super) fn likely(&self) -> Tally {
        self.tally.clone()
    }
}

impl Node {
    /// What this node's replica knows of its shard's configuration.
    pub(super) fn knowledge(&self, group: GroupId) -> Knowledge {
        let Some(held) = self.groups.get(&group) else { return Knowledge::default() };
        let confs = held.confs();
        Knowledge { logged: confs.logged(), changed: confs.applied(), applied: held.applied_index() }
    }

    /// Nobody has answered yet.
    pub(super) fn count(&self, group: GroupId, level: Level) -> Count {
        let changed = self.knowledge(group).changed;
        Count { tally: Tally::new(self.requirement(group, level)), level, changed, late: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_quorum::Sets;

    fn requirement(current: &[u64], incoming: &[u64], level: Level) -> Requirement {
        let set = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect();
        Requirement::new(level, &Sets { current: set(current), incoming: set(incoming) }, |_| "", "")
    }

    fn count(level: Level) -> Count {
        Count { tally: Tally::new(requirement(&[1, 2, 3], &[], level)), level, changed: 4, late: Vec::new() }
    }

    #[test]
    fn who_knows_of_a_later_change_counts_when_that_is_known_here_and_by_both_sets() {
        let mut count = count(Level::Quorum);
        count.answered(NodeId(1), 4, 5);
        count.answered(NodeId(2), 9, 5);
        assert!(!count.is_met() && count.has_answered(NodeId(2)));
        assert!(!count.is_outdated(Knowledge { logged: 9, changed: 4, applied: 8 }));
        let known = Knowledge { logged: 9, changed: 9, applied: 9 };
        assert!(count.is_outdated(known));
        count.renew(requirement(&[1, 2, 3], &[1, 3, 4], Level::Quorum), known);
        assert!(!count.is_met(), "of the new ones only one has it");
        count.answered(NodeId(4), 9, 9);
        assert!(count.is_met());
    }

    #[test]
    fn an_entry_that_was_no_change_after_all_counts_as_before() {
        let mut count = count(Level::Quorum);
        count.answered(NodeId(1), 4, 5);
        count.answered(NodeId(2), 9, 5);
        // Another leader has written something else there.
        let known = Knowledge { logged: 4, changed: 4, applied: 9 };
        assert!(count.is_outdated(known));
        count.renew(requirement(&[1, 2, 3], &[], Level::Quorum), known);
        assert!(count.is_met());
    }

    #[test]
    fn one_replica_does_not_wait_for_anybody() {
        let mut count = count(Level::One);
        count.answered(NodeId(1), 9, 5);
        assert!(count.is_met());
    }
}
