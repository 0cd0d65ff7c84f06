//! A convergent table: what its replicas hold in the end, and what is to be said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use althing_clock::Actor;
use althing_convergent::{Job, MAX_SIBLINGS, Outcome, Shard, ShardConfig, evaluate};
use althing_crdt::Join;
use althing_manifest::Shard as ShardObject;
use althing_node::envelope::KeyedMessage;
use althing_storage::engine::Engine;
use althing_types::{GroupId, NodeId};
use bytes::Bytes;

use super::World;
use crate::checker::carts::{Fate, Final, Kind, Operation, Shown, elements, events, numbers, values};
use crate::host::Stage;
use crate::report::Check;
use crate::workload::cart::{CARTS, read, shown_by};

/// Whoever only looks at a replica writes under this name, that is, never.
const ONLOOKER: Actor = Actor::new(0, 0);
/// Names of keys that are asked for at once.
const PAGE: usize = 1000;

/// All that one replica holds.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Held {
    /// By key the hash of its state, and the state with what is known.
    pub(super) keys: BTreeMap<Bytes, (u128, Bytes)>,
    /// What is known.
    known: Bytes,
}

impl World {
    /// Two replicas of a shard of one of these tables that are not equal, in words.
    pub(super) fn unequal_replicas(&self, tables: &[&str]) -> Option<String> {
        tables.iter().flat_map(|table| self.shards_of(table)).find_map(|shard| {
            let group = shard.spec.group;
            let mut first: Option<(NodeId, Held)> = None;
            for node in &shard.status.voters {
                let held = match self.held_of(*node, group) {
                    Ok(held) => held,
                    Err(why) => return Some(format!("group {group} on node {node}: {why}")),
                };
                match &first {
                    None => first = Some((*node, held)),
                    Some((other, like)) => {
                        if let Some(difference) = difference(like, &held) {
                            return Some(format!("group {group} on nodes {other} and {node}: {difference}"));
                        }
                    }
                }
            }
            None
        })
    }

    /// Every promise of the convergent table that was broken. Its replicas are equal.
    pub(super) fn judge_carts(&self) -> Vec<String> {
        let mut found = Vec::new();
        let ends = self.final_carts();
        let gone: BTreeSet<NodeId> = self.hosts.keys().filter(|node| !self.nodes.contains(node)).copied().collect();
        let fate = match (gone.is_empty(), self.voters.is_empty()) {
            (false, _) => Fate::Lost,
            (true, false) => Fate::Moved,
            (true, true) => Fate::Settled,
        };
        let mut operations: BTreeMap<&Bytes, Vec<&Operation>> = BTreeMap::new();
        for operation in &self.shared.history.carts {
            operations.entry(&operation.key).or_default().push(operation);
        }
        let nothing = Final::default();
        let writes = self.ledger.deltas.by_key();
        for (key, writes) in &writes {
            let end = ends.get(*key).unwrap_or(&nothing);
            found.extend(texts(events::check(key, writes, end, &gone, MAX_SIBLINGS)));
        }
        for (key, operations) in &operations {
            let end = ends.get(*key).unwrap_or(&nothing);
            match Kind::of(key) {
                Some(Kind::Text) => {
                    found.extend(texts(values::check(operations, end, fate)));
                    let writes = writes.get(key).map_or(&[][..], Vec::as_slice);
                    found.extend(texts(events::check_reads(operations, writes, fate)));
                }
                Some(Kind::Sum | Kind::Tally) => found.extend(texts(numbers::check(operations, end, fate))),
                Some(Kind::Set | Kind::Hash | Kind::Sorted) => {
                    found.extend(texts(elements::check(operations, end, fate)));
                }
                // Whether it had expired when it was read is a question to clocks that are wrong.
                Some(Kind::Brief) | None => {}
            }
        }
        found
    }

    /// What is held under each key, by the first replica of its shard.
    fn final_carts(&self) -> BTreeMap<Bytes, Final> {
        let mut ends = BTreeMap::new();
        for shard in self.shards_of(CARTS) {
            let Some(node) = shard.status.voters.first() else { continue };
            let Ok(held) = self.held_of(*node, shard.spec.group) else { continue };
            ends.extend(held.keys.into_iter().map(|(key, (_, state))| {
                let end = end_of(&key, &state);
                (key, end)
            }));
        }
        ends
    }

    /// The shards of a table, by the newest map.
    pub(super) fn shards_of(&self, table: &str) -> Vec<Arc<ShardObject>> {
        let Some(map) = self.newest_map() else { return Vec::new() };
        map.shards().filter(|shard| shard.spec.table == table).cloned().collect()
    }

    /// What the replica of a node holds.
    pub(super) fn held_of(&self, node: NodeId, group: GroupId) -> Result<Held, String> {
        let host = self.hosts.get(&node).ok_or("there is no such machine")?;
        let Stage::Running(process) = &host.stage else { return Err("it does not run".to_owned()) };
        let space = process.node.keyed_space(group).ok_or("there is no replica")?;
        let engine: Arc<dyn Engine> = host.engine.clone();
        let mut shard =
            Shard::open(engine, space, ONLOOKER, ShardConfig::default()).map_err(|error| error.to_string())?;
        held(&mut shard).map_err(|error| error.to_string())
    }

    /// A replica sends something of a convergent shard. What an astray one sends names events again, and must reach nobody: who lets
    /// it in is found in `links`.
    pub(super) fn witness_keyed(&mut self, node: NodeId, group: GroupId, message: &KeyedMessage) {
        if let KeyedMessage::Delta { delta, .. } = message
            && self.is_heard(node)
            && let Err(contradiction) = self.ledger.deltas.sends(group, node, delta)
        {
            self.find(Check::Carts, contradiction);
        }
    }

    /// A replica has done something with a convergent shard.
    pub(super) fn witness_outcomes(&mut self, node: NodeId, group: GroupId, outcomes: &[Outcome]) {
        if !self.is_heard(node) {
            return;
        }
        for outcome in outcomes {
            if let Outcome::Executed { delta: Some(delta), .. } | Outcome::Removed { delta, .. } = outcome {
                self.ledger.deltas.executes(group, node, delta);
            }
        }
    }
}

fn texts(violations: Vec<impl std::fmt::Display>) -> impl Iterator<Item = String> {
    violations.into_iter().map(|violation| violation.to_string())
}

fn held(shard: &mut Shard) -> Result<Held, althing_convergent::ConvergentError> {
    let mut names: Vec<Bytes> = Vec::new();
    loop {
        let page = shard.names_after(names.last(), PAGE)?;
        if page.is_empty() {
            break;
        }
        names.extend(page);
    }
    let mut keys = BTreeMap::new();
    for key in names {
        let mut out = Vec::new();
        shard.work(vec![Job::Read { ticket: 0, key: key.clone() }], &mut out)?;
        if let Some(Outcome::State { state, .. }) = out.pop() {
            let digest = shard.digest(&key)?;
            keys.insert(key, (digest, state));
        }
    }
    let mut out = Vec::new();
    shard.work(vec![Job::Attest { ticket: 0 }], &mut out)?;
    let known = match out.pop() {
        Some(Outcome::Attested { delta, .. }) => delta,
        Some(_) | None => Bytes::new(),
    };
    Ok(Held { keys, known })
}

/// In what two replicas differ, if they do.
fn difference(one: &Held, other: &Held) -> Option<String> {
    let digest = |held: &Held, key| held.keys.get(key).map(|(digest, _)| *digest);
    let all = one.keys.keys().chain(other.keys.keys());
    let keys: BTreeSet<_> = all.filter(|key| digest(one, *key) != digest(other, *key)).collect();
    if !keys.is_empty() {
        return Some(format!("they differ in {keys:?}"));
    }
    (one.known != other.known).then(|| "they do not know the same".to_owned())
}

fn end_of(key: &Bytes, state: &Bytes) -> Final {
    let kind = Kind::of(key).unwrap_or(Kind::Brief);
    // At the beginning of all times nothing has expired: what is held is what counts.
    let Ok(evaluated) = evaluate(&read(kind), std::slice::from_ref(state), 0, 0) else { return Final::default() };
    let mut end = Final::default();
    evaluated.state.dots(&mut |dot| {
        end.dots.insert(dot);
    });
    end.siblings = evaluated.state.siblings().cloned().collect();
    match evaluated.reply.map(|reply| shown_by(kind, reply)) {
        Ok(Shown::Elements(elements)) => end.elements = elements,
        Ok(Shown::Number(number)) => end.number = Some(number),
        Ok(Shown::Value(_) | Shown::Done(_)) | Err(_) => {}
    }
    end
}
