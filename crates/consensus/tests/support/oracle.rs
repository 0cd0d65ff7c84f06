//! The invariants of Raft (dissertation, figure 3.2), one function each.

use std::collections::BTreeMap;

use althing_consensus::{Entry, Replica, Role};
use althing_types::NodeId;

/// All that was ever seen of a group.
#[derive(Default)]
pub struct Oracle {
    leaders: BTreeMap<u64, NodeId>,
    applied: BTreeMap<u64, Entry>,
}

impl Oracle {
    /// Election safety: at most one leader per term. Leader completeness: a leader's log holds every entry that was
    /// committed in an earlier term.
    pub fn role(&mut self, id: NodeId, replica: &Replica) {
        if !matches!(replica.role(), Role::Leader { .. }) {
            return;
        }
        let term = replica.term();
        let leader = *self.leaders.entry(term).or_insert(id);
        assert_eq!(leader, id, "two leaders in term {term}");
        for (index, entry) in self.applied.range(replica.truncated().index + 1..) {
            if entry.term < term {
                assert_eq!(replica.term_at(*index), Some(entry.term), "leader {id} of term {term} misses {entry}");
            }
        }
    }

    /// State machine safety: no two replicas apply different entries at one index.
    pub fn apply(&mut self, id: NodeId, entry: &Entry) {
        let first = self.applied.entry(entry.index).or_insert_with(|| entry.clone());
        assert_eq!(first, entry, "node {id} applies something else");
    }

    /// The highest index that anybody has applied: what a read that begins now must see.
    pub fn committed(&self) -> u64 {
        self.applied.last_key_value().map_or(1, |(index, _)| *index)
    }

    pub fn leaders(&self) -> usize {
        self.leaders.len()
    }

    /// The commands that a replica at `index` must have applied.
    pub fn history(&self, index: u64) -> Vec<Entry> {
        self.applied.range(..=index).map(|(_, entry)| entry.clone()).collect()
    }
}

/// Log matching: two logs that agree on the term at an index agree on everything before it.
pub fn log_matching(a: &Replica, b: &Replica) {
    let from = a.truncated().index.max(b.truncated().index) + 1;
    let (left, right) = (a.entries(from..u64::MAX), b.entries(from..u64::MAX));
    let same_term = left.iter().zip(&right).rposition(|(left, right)| left.term == right.term);
    if let Some(last) = same_term {
        assert_eq!(left[..=last], right[..=last], "logs that agree at {} differ before", left[last].index);
    }
}
