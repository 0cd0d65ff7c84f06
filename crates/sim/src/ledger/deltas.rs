//! What replicas of convergent shards have written, by their dots.
//!
//! * An event that has left its replica names one write for ever: a replica that had lost something and went on counting would name
//!   another one like it. Most writes leave before they are durable, so a replica that crashes does lose such.
//! * What is durable at its replica stays.
//! * What every write added and what it removed is kept, for [`crate::checker::carts::events`].

use std::collections::{BTreeMap, BTreeSet};

use althing_clock::{Dot, DotContext};
use althing_convergent::delta::{KeyDelta, Message};
use althing_convergent::names::is_of_rounds;
use althing_crdt::Join;
use althing_node::group_of_log;
use althing_storage::wal::{Record, RecordKind};
use althing_types::{GroupId, NodeId};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::Contradiction;

/// How far a write has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Its replica may have lost it in a crash, and others may have it all the same.
    Executed,
    /// Its replica has it durably.
    Durable,
}

/// One write, as its delta says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Where it was executed.
    pub node: NodeId,
    /// How far it has come.
    pub reach: Reach,
    /// The events that it adds, or says to be alive.
    pub alive: BTreeSet<Dot>,
    /// The events that are gone once it is known.
    pub removed: BTreeSet<Dot>,
    /// The strings that it writes.
    pub values: Vec<(Dot, Bytes)>,
}

/// All writes that were ever executed.
#[derive(Clone, Debug, Default)]
pub struct Deltas {
    /// Which write each event that was sent belongs to, by its hash, and whose it was.
    events: BTreeMap<(GroupId, Dot), (u64, NodeId)>,
    /// By the hash of its bytes.
    writes: BTreeMap<(GroupId, u64), (Bytes, Written)>,
    /// Those of them that were sent.
    sent: BTreeSet<(GroupId, u64)>,
    /// What each node is writing to its log, by batch.
    under_way: BTreeMap<NodeId, BTreeMap<u64, Vec<(GroupId, u64)>>>,
}

impl Deltas {
    /// A replica has executed a write. It may still forget it.
    pub fn executes(&mut self, group: GroupId, node: NodeId, delta: &Bytes) {
        let Ok(Message::Key(delta_of_key)) = Message::decode(delta.clone()) else { return };
        let key = delta_of_key.key.clone();
        self.writes.entry((group, xxh3_64(delta))).or_insert_with(|| (key, Written::of(node, &delta_of_key)));
    }

    /// A delta goes to another replica. Repairs are no writes, and name no event for the first time.
    pub fn sends(&mut self, group: GroupId, node: NodeId, delta: &Bytes) -> Result<(), Contradiction> {
        let hash = xxh3_64(delta);
        if self.sent.contains(&(group, hash)) {
            return Ok(());
        }
        let Ok(Message::Key(delta)) = Message::decode(delta.clone()) else { return Ok(()) };
        if is_given_up(&delta) {
            return Ok(());
        }
        for dot in dots(&delta.delta.writes) {
            let (first, by) = *self.events.entry((group, dot)).or_insert((hash, node));
            if first != hash {
                let key = &delta.key;
                return Err(format!(
                    "node {node} says that event {dot} of group {group} is a write of {key:?}, and node {by} had said \
                     that it is another one"
                ));
            }
        }
        if self.writes.contains_key(&(group, hash)) {
            self.sent.insert((group, hash));
        }
        Ok(())
    }

    /// A node writes these records to its log.
    pub fn logs(&mut self, node: NodeId, seq: u64, records: &[Record]) {
        let deltas = records.iter().filter(|record| record.kind == RecordKind::Delta);
        let named = deltas.filter_map(|record| Some((group_of_log(record.group)?, xxh3_64(&record.payload))));
        let named: Vec<_> = named.collect();
        if !named.is_empty() {
            self.under_way.entry(node).or_default().insert(seq, named);
        }
    }

    /// A node is told that all up to batch `seq` is durable.
    pub fn persisted(&mut self, node: NodeId, seq: u64) {
        let Some(under_way) = self.under_way.get_mut(&node) else { return };
        let later = under_way.split_off(&(seq + 1));
        for name in std::mem::replace(under_way, later).into_values().flatten() {
            if let Some((_, written)) = self.writes.get_mut(&name).filter(|(_, written)| written.node == node) {
                written.reach = Reach::Durable;
            }
        }
    }

    /// A node has started: what was on its way into its log may be lost.
    pub fn starts(&mut self, node: NodeId) {
        self.under_way.remove(&node);
    }

    /// All writes, by key.
    #[must_use]
    pub fn by_key(&self) -> BTreeMap<&Bytes, Vec<&Written>> {
        let mut by_key: BTreeMap<&Bytes, Vec<&Written>> = BTreeMap::new();
        for (key, written) in self.writes.values() {
            by_key.entry(key).or_default().push(written);
        }
        by_key
    }
}

/// Whether a delta says that nothing is left of what was proposed to a round. The value may have been chosen, and replaced, and others may
/// tell of it.
fn is_given_up(delta: &KeyDelta) -> bool {
    let KeyDelta { delta, .. } = delta;
    delta.store.is_bottom() && delta.context == delta.writes && dots(&delta.writes).all(|dot| is_of_rounds(dot.actor))
}

impl Written {
    fn of(node: NodeId, delta: &KeyDelta) -> Self {
        let mut alive = BTreeSet::new();
        delta.delta.store.dots(&mut |dot| {
            alive.insert(dot);
        });
        let removed = dots(&delta.delta.context).filter(|dot| !alive.contains(dot)).collect();
        let siblings = delta.delta.store.text().written.siblings();
        let values = siblings.iter().map(|(dot, sibling)| (*dot, sibling.value.clone())).collect();
        Self { node, reach: Reach::Executed, alive, removed, values }
    }
}

fn dots(context: &DotContext) -> impl Iterator<Item = Dot> {
    let ranges = context.difference(&DotContext::EMPTY).into_iter();
    ranges.flat_map(|range| (range.first..=range.last).map(move |counter| Dot::new(range.actor, counter)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use althing_clock::Actor;
    use althing_convergent::{Job, Outcome, Shard, ShardConfig};
    use althing_datatypes::Op;
    use althing_datatypes::op::SetOp;
    use althing_storage::engine::model::ModelEngine;
    use althing_types::SpaceId;

    use super::*;

    const G: GroupId = GroupId(9);
    const A: NodeId = NodeId(1);

    fn add(shard: &mut Shard, element: &'static str) -> Bytes {
        let op = Op::Set(SetOp::Add(vec![element.into()]));
        let mut out = Vec::new();
        shard
            .work(vec![Job::Execute { ticket: 1, key: "t".into(), op, seen: None, now_ms: 1, seed: 0 }], &mut out)
            .unwrap();
        let Some(Outcome::Executed { delta: Some(delta), .. }) = out.pop() else { panic!("nothing was added") };
        delta
    }

    fn shard() -> Shard {
        Shard::open(Arc::new(ModelEngine::new()), SpaceId(1), Actor::new(1, 1), ShardConfig::default()).unwrap()
    }

    #[test]
    fn an_event_that_names_two_writes_is_found_once_both_were_sent() {
        let (mut first, mut again) = (shard(), shard());
        let mut deltas = Deltas::default();
        let lost = add(&mut first, "lost");
        deltas.executes(G, A, &lost);
        let kept = add(&mut again, "kept");
        deltas.executes(G, A, &kept);
        assert_eq!(deltas.sends(G, A, &kept), Ok(()), "what never left its replica was never named");
        assert_eq!(deltas.sends(G, A, &kept), Ok(()), "it may be sent again");
        assert!(deltas.sends(G, A, &lost).is_err());
    }
}
