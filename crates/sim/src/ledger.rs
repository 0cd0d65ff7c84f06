//! The all-knowing witness: it sees what every node commits, applies and claims, and says when two of them contradict
//! each other. It has no part in the run.
//!
//! * *Election safety*: at most one leader per term (Ongaro and Ousterhout, "In Search of an Understandable Consensus
//!   Algorithm", 2014, figure 3).
//! * *State machine safety*: no two nodes apply different entries at one index, and no node leaves one out.
//! * *Revisions*: one node's never go back, and one revision means the same changes everywhere.
//! * [`Logs`]: log matching, leader completeness, and what a disk owes to its node.
//! * [`Configurations`]: votes are counted by what is committed, and the table of members says the same.
//! * [`Deltas`]: an event of a convergent shard names one write for ever;
//! * [`Objects`]: what the control plane writes is never undone by who has not seen it, and leaders follow what it says.

mod configurations;
pub mod deltas;
mod logs;
mod objects;

use std::collections::BTreeMap;

use althing_api::kv::Event;
use althing_api::service::META_GROUP;
use althing_strong::Seal;
use althing_types::{GroupId, NodeId, Revision};
use xxhash_rust::xxh3::xxh3_64;

use crate::checker::Truth;
pub use configurations::Configurations;
pub use deltas::Deltas;
pub use logs::Logs;
pub use objects::Objects;

/// What the witness found wrong, in words.
pub type Contradiction = String;

/// An entry as it was first applied by anybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    term: u64,
    data_hash: u64,
    node: NodeId,
}

/// Where one replica stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Standing {
    applied: u64,
    revision: Revision,
}

/// What was ever claimed.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    leaders: BTreeMap<(GroupId, u64), NodeId>,
    entries: BTreeMap<(GroupId, u64), Entry>,
    changes: BTreeMap<(GroupId, Revision), (Vec<Event>, NodeId)>,
    standings: BTreeMap<(GroupId, NodeId), Standing>,
    /// Shards that came of a split: of which one, and its last revision.
    parents: BTreeMap<GroupId, (GroupId, Revision)>,
    /// What each node writes to its log.
    pub logs: Logs,
    /// By which configuration each node counts votes.
    pub configurations: Configurations,
    /// What the control plane writes.
    pub objects: Objects,
    /// What replicas of convergent shards write.
    pub deltas: Deltas,
}

impl Ledger {
    /// A node says that it leads a term, and that all up to `commit` is committed.
    pub fn leads(&mut self, group: GroupId, node: NodeId, term: u64, commit: u64) -> Result<(), Contradiction> {
        let first = *self.leaders.entry((group, term)).or_insert(node);
        if first != node {
            return Err(format!("nodes {first} and {node} both lead term {term}"));
        }
        let of_group = self.entries.range((group, 0)..=(group, u64::MAX));
        let committed = of_group.map(|((_, index), entry)| (*index, entry.term));
        self.logs.leads(group, node, term, commit, committed)
    }

    /// A node starts, or stands on a snapshot: what it applied before counts no more, what it goes on from is this.
    pub fn stands_at(&mut self, group: GroupId, node: NodeId, applied: u64, revision: Revision) {
        self.standings.insert((group, node), Standing { applied, revision });
    }

    /// A node applies an entry.
    pub fn applies(
        &mut self,
        group: GroupId,
        node: NodeId,
        index: u64,
        term: u64,
        data: &[u8],
    ) -> Result<(), Contradiction> {
        let standing = self.standings.entry((group, node)).or_default();
        if index != standing.applied + 1 {
            return Err(format!("node {node} applies entry {index} after entry {}", standing.applied));
        }
        standing.applied = index;
        let entry = Entry { term, data_hash: xxh3_64(data), node };
        let first = *self.entries.entry((group, index)).or_insert(entry);
        if (first.term, first.data_hash) == (entry.term, entry.data_hash) {
            return Ok(());
        }
        Err(format!(
            "entry {index} is of term {} with hash {:016x} on node {}, but of term {term} with hash {:016x} on node {node}",
            first.term, first.data_hash, first.node, entry.data_hash
        ))
    }

    /// A node makes a revision with these changes.
    pub fn changes(
        &mut self,
        group: GroupId,
        node: NodeId,
        revision: Revision,
        events: &[Event],
    ) -> Result<(), Contradiction> {
        let standing = self.standings.entry((group, node)).or_default();
        if revision <= standing.revision {
            return Err(format!("node {node} goes from revision {} to {revision}", standing.revision));
        }
        standing.revision = revision;
        if group == META_GROUP {
            self.objects.written(revision, events)?;
        }
        let (first, by) = self.changes.entry((group, revision)).or_insert_with(|| (events.to_vec(), node));
        if *first == events {
            return Ok(());
        }
        Err(format!("revision {revision} is {first:?} on node {by}, but {events:?} on node {node}"))
    }

    /// A node has applied the seal of a shard.
    pub fn sealed(&mut self, group: GroupId, seal: &Seal) -> Result<(), Contradiction> {
        self.objects.sealed(seal)?;
        for child in seal.children {
            let known = *self.parents.entry(child).or_insert((group, seal.revision));
            if known != (group, seal.revision) {
                return Err(format!("group {child} is a child of {known:?}, and of {group} at {}", seal.revision));
            }
        }
        Ok(())
    }

    /// How many shards were replaced by two.
    #[must_use]
    pub fn splits(&self) -> u64 {
        self.parents.len() as u64 / 2
    }

    /// All that was ever written to a group's table. What a shard that came of a split has from before is what was written to its
    /// parent, of which its keys are a part.
    #[must_use]
    pub fn truth(&self, group: GroupId) -> Truth {
        let (mut of, mut until) = (group, Revision(i64::MAX));
        let mut changes = Vec::new();
        loop {
            let own = self.changes.range((of, Revision(i64::MIN))..=(of, until));
            changes.extend(own.map(|((_, revision), (events, _))| (*revision, events.clone())));
            let Some((parent, revision)) = self.parents.get(&of) else { break };
            (of, until) = (*parent, *revision);
        }
        Truth::new(Revision::FIRST.next(), changes)
    }

    /// Entries that anybody has applied.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Terms that had a leader.
    #[must_use]
    pub fn terms_led(&self) -> usize {
        self.leaders.len()
    }
}

#[cfg(test)]
mod tests {
    use althing_api::kv::{EventKind, KeyValue};

    use super::*;

    const G: GroupId = GroupId(1);
    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn put(value: &'static str) -> Vec<Event> {
        let kv = KeyValue { value: value.into(), ..KeyValue::default() };
        vec![Event { kind: EventKind::Put, kv, prev_kv: None }]
    }

    #[test]
    fn two_leaders_of_one_term_contradict_each_other() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.leads(G, A, 1, 1), Ok(()));
        assert_eq!(ledger.leads(G, A, 1, 1), Ok(()));
        assert_eq!(ledger.leads(G, B, 2, 1), Ok(()));
        assert!(ledger.leads(G, B, 1, 1).is_err());
    }

    #[test]
    fn a_gap_and_a_different_entry_are_noticed() {
        let mut ledger = Ledger::default();
        ledger.applies(G, A, 1, 1, b"x").unwrap();
        ledger.applies(G, A, 2, 1, b"y").unwrap();
        ledger.applies(G, B, 1, 1, b"x").unwrap();
        assert!(ledger.applies(G, B, 3, 1, b"z").is_err());
        assert!(ledger.clone().applies(G, B, 2, 1, b"other").is_err());
        assert!(ledger.clone().applies(G, B, 2, 2, b"y").is_err());
        ledger.applies(G, B, 2, 1, b"y").unwrap();
    }

    #[test]
    fn a_restarted_node_applies_again_from_where_it_stands() {
        let mut ledger = Ledger::default();
        ledger.applies(G, A, 1, 1, b"x").unwrap();
        ledger.changes(G, A, Revision(2), &put("x")).unwrap();
        ledger.stands_at(G, A, 0, Revision(1));
        ledger.applies(G, A, 1, 1, b"x").unwrap();
        ledger.changes(G, A, Revision(2), &put("x")).unwrap();
    }

    #[test]
    fn a_revision_that_goes_back_or_means_something_else_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.changes(G, A, Revision(2), &put("x")).unwrap();
        assert!(ledger.clone().changes(G, A, Revision(2), &put("x")).is_err());
        assert!(ledger.clone().changes(G, B, Revision(2), &put("y")).is_err());
        ledger.changes(G, B, Revision(2), &put("x")).unwrap();
    }
}
