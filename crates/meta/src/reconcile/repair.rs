//! Where one shard's replicas belong if only what must move moves.
//!
//! What is on active and resting nodes stays. What is on nodes that are left goes to active ones: no zone gets a second replica
//! while another with a free node has none, and within that the node with the least load by capacity is taken. Where there are
//! too few places, replicas on nodes that are drained stay rather than none, and on nodes that are gone as long as the living
//! are a quorum, since those may come back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use althing_placement::plan::steps::is_quorum;
use althing_placement::{ShardId, hash};
use althing_types::{GroupId, NodeId};

use super::standing::{Member, Members, Standing};

/// How many replicas each node has or is to get.
#[derive(Clone, Debug, Default)]
pub struct Loads(BTreeMap<NodeId, u64>);

impl Loads {
    /// One replica more.
    pub fn add(&mut self, id: NodeId) {
        *self.0.entry(id).or_default() += 1;
    }

    /// One replica less.
    pub fn remove(&mut self, id: NodeId) {
        let load = self.0.entry(id).or_default();
        *load = load.saturating_sub(1);
    }

    /// How many.
    pub fn of(&self, id: NodeId) -> u64 {
        self.0.get(&id).copied().unwrap_or_default()
    }
}

/// Where the replicas of a shard belong, of which there should be `count` and are those of `base`.
pub fn repair(
    group: GroupId,
    base: &BTreeSet<NodeId>,
    count: usize,
    members: &Members,
    loads: &Loads,
) -> BTreeSet<NodeId> {
    let mut kept: BTreeSet<NodeId> = base.iter().copied().filter(|id| !members.is_left(*id)).collect();
    while kept.len() > count {
        let surplus = kept.iter().max_by_key(|id| (in_zone_of(**id, &kept, members), loads.of(**id), **id)).copied();
        let Some(surplus) = surplus else { break };
        kept.remove(&surplus);
    }
    while kept.len() < count {
        let free = members.those(Standing::Active).filter(|member| !kept.contains(&member.place.id));
        let Some(best) = free.min_by_key(|member| rank(group, member, &kept, members, loads)) else { break };
        kept.insert(best.place.id);
    }
    retain(&mut kept, base, count, members);
    kept
}

/// Whether a shard on its way from `voters` to `wanted` is to keep a replica on a node that is gone, and to give up one on a node that
/// is not. The newcomer would be worth more in the other's place; and where strings are decided by rounds the leader does not take
/// such a step at all, because too few would accept while the newcomer copies.
pub fn spares_the_gone(wanted: &BTreeSet<NodeId>, voters: &BTreeSet<NodeId>, members: &Members) -> bool {
    let is_gone = |id: &NodeId| members.standing(*id) == Standing::Gone;
    let mut goes = voters.difference(wanted).peekable();
    goes.peek().is_some() && !goes.any(is_gone) && voters.intersection(wanted).any(is_gone)
}

fn in_zone_of(id: NodeId, kept: &BTreeSet<NodeId>, members: &Members) -> usize {
    let zone = |id: NodeId| members.get(id).map(|member| &member.place.zone);
    kept.iter().filter(|other| zone(**other) == zone(id)).count()
}

/// The lowest is taken: first by zone, then by load, equal ones by chance that is the same at every attempt.
fn rank(
    group: GroupId,
    member: &Member,
    kept: &BTreeSet<NodeId>,
    members: &Members,
    loads: &Loads,
) -> (usize, u64, Reverse<u64>, NodeId) {
    let id = member.place.id;
    let in_zone = kept.iter().filter_map(|other| members.get(*other));
    let in_zone = in_zone.filter(|other| other.place.zone == member.place.zone).count();
    let load = loads.of(id) * 1_000_000 / u64::from(member.place.capacity.max(1));
    (in_zone, load, Reverse(hash::draw(ShardId(group.get()), id)), id)
}

fn retain(kept: &mut BTreeSet<NodeId>, base: &BTreeSet<NodeId>, count: usize, members: &Members) {
    for wanted in [Standing::Leaving, Standing::Gone] {
        for id in base.iter().copied().filter(|id| members.standing(*id) == wanted) {
            let alive = kept.iter().filter(|other| members.standing(**other) != Standing::Gone).count();
            let with_it = alive + usize::from(wanted == Standing::Leaving);
            if kept.len() < count && is_quorum(with_it, kept.len() + 1) {
                kept.insert(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
