//! Which replica should lead each shard, so that nodes lead as equally many as can be.
//!
//! A leader stays where it is unless balance needs it elsewhere. Then, as long as there is a chain of transfers from a node
//! that leads at least two shards more than the node at its end, it is made: a node hands one shard to another of that
//! shard's replicas, which hands one of its own to a third, and so on. When there is no such chain, no choice of leaders is more
//! even (Harvey, Ladner, Lovász and Tamir, *Semi-Matchings for Bipartite Graphs and Load Balancing*, 2003, theorem 3.1).
//!
//! Draining nodes lead only what no active node holds, dead ones nothing. Capacities do not count here: what a leader does more
//! than its followers is the same for all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use althing_types::NodeId;

use super::{Placement, State};
use crate::node::ShardId;

/// Sets the leader of each placement. What stands there is the present one, which is kept where it can be.
pub fn balance(placements: &mut BTreeMap<ShardId, Placement>, states: &BTreeMap<NodeId, State>) {
    let mut led = Led::default();
    for (shard, placement) in placements.iter() {
        led.start(*shard, able(placement, states), placement.leader);
    }
    led.even_out();
    for (shard, placement) in placements.iter_mut() {
        placement.leader = led.leaders.get(shard).copied();
    }
}

/// The replicas that may lead: those on active nodes; if there are none, those on draining ones.
fn able(placement: &Placement, states: &BTreeMap<NodeId, State>) -> Vec<NodeId> {
    let on = |wanted: State| -> Vec<NodeId> {
        placement.replicas.iter().filter(|id| states.get(id) == Some(&wanted)).copied().collect()
    };
    let active = on(State::Active);
    if active.is_empty() { on(State::Draining) } else { active }
}

/// Who leads what.
#[derive(Default)]
struct Led {
    able: BTreeMap<ShardId, Vec<NodeId>>,
    leaders: BTreeMap<ShardId, NodeId>,
    by_node: BTreeMap<NodeId, BTreeSet<ShardId>>,
}

impl Led {
    fn count(&self, node: NodeId) -> usize {
        self.by_node.get(&node).map_or(0, BTreeSet::len)
    }

    /// Gives a shard its first leader: the present one, else the one with the fewest.
    fn start(&mut self, shard: ShardId, able: Vec<NodeId>, present: Option<NodeId>) {
        let kept = present.filter(|id| able.contains(id));
        let fewest = || able.iter().copied().min_by_key(|id| self.count(*id));
        if let Some(leader) = kept.or_else(fewest) {
            self.leaders.insert(shard, leader);
            for node in &able {
                self.by_node.entry(*node).or_default();
            }
            self.by_node.entry(leader).or_default().insert(shard);
            self.able.insert(shard, able);
        }
    }

    /// Makes chains of transfers until there is none that evens anything out.
    fn even_out(&mut self) {
        let nodes: Vec<NodeId> = self.by_node.keys().copied().collect();
        let mut is_even = false;
        while !is_even {
            is_even = true;
            for node in &nodes {
                while let Some(chain) = self.chain_from(*node) {
                    is_even = false;
                    for (shard, to) in chain {
                        self.transfer(shard, to);
                    }
                }
            }
        }
    }

    fn transfer(&mut self, shard: ShardId, to: NodeId) {
        if let Some(from) = self.leaders.insert(shard, to) {
            self.by_node.entry(from).or_default().remove(&shard);
        }
        self.by_node.entry(to).or_default().insert(shard);
    }

    /// The shortest chain of transfers from a node to one that leads at least two shards fewer.
    fn chain_from(&self, start: NodeId) -> Option<Vec<(ShardId, NodeId)>> {
        let most = self.count(start).checked_sub(2)?;
        if self.by_node.values().all(|shards| shards.len() > most) {
            return None;
        }
        let mut reached: BTreeMap<NodeId, (ShardId, NodeId)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for shard in &self.by_node[&node] {
                for next in &self.able[shard] {
                    if *next == start || reached.contains_key(next) {
                        continue;
                    }
                    reached.insert(*next, (*shard, node));
                    if self.count(*next) <= most {
                        return Some(chain_to(*next, start, &reached));
                    }
                    queue.push_back(*next);
                }
            }
        }
        None
    }
}

/// The transfers that lead to a node, each shard with its new leader.
fn chain_to(end: NodeId, start: NodeId, reached: &BTreeMap<NodeId, (ShardId, NodeId)>) -> Vec<(ShardId, NodeId)> {
    let mut chain = Vec::new();
    let mut node = end;
    while node != start {
        let (shard, from) = reached[&node];
        chain.push((shard, node));
        node = from;
    }
    chain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn placements(shards: &[BTreeSet<u64>]) -> BTreeMap<ShardId, Placement> {
        let placement = |ids: &BTreeSet<u64>| {
            let replicas: BTreeSet<NodeId> = ids.iter().copied().map(NodeId).collect();
            Placement { leader: replicas.first().copied(), replicas }
        };
        (0..).map(ShardId).zip(shards.iter().map(placement)).collect()
    }

    fn active(nodes: u64) -> BTreeMap<NodeId, State> {
        (0..nodes).map(|id| (NodeId(id), State::Active)).collect()
    }

    fn counts(placements: &BTreeMap<ShardId, Placement>, nodes: u64) -> Vec<usize> {
        let led = |id| placements.values().filter(|placement| placement.leader == Some(NodeId(id))).count();
        let mut counts: Vec<usize> = (0..nodes).map(led).collect();
        counts.sort_unstable();
        counts.reverse();
        counts
    }

    /// The most even counts there are, by trying all leaders: the least when sorted downwards.
    fn most_even(shards: &[BTreeSet<u64>], counts: &mut Vec<usize>) -> Vec<usize> {
        let Some((first, rest)) = shards.split_first() else {
            let mut sorted = counts.clone();
            sorted.sort_unstable();
            sorted.reverse();
            return sorted;
        };
        let mut best: Option<Vec<usize>> = None;
        for node in first {
            counts[*node as usize] += 1;
            let found = most_even(rest, counts);
            counts[*node as usize] -= 1;
            best = Some(best.map_or(found.clone(), |best| best.min(found)));
        }
        best.unwrap_or_else(|| most_even(rest, counts))
    }

    #[test]
    fn a_chain_of_transfers_reaches_a_node_that_shares_nothing_with_the_first() {
        let shards = [BTreeSet::from([0, 1]), BTreeSet::from([0, 1]), BTreeSet::from([0, 1]), BTreeSet::from([1, 2])];
        let mut placements = placements(&shards);
        balance(&mut placements, &active(3));
        assert_eq!(counts(&placements, 3), [2, 1, 1]);
    }

    #[test]
    fn leaders_stay_when_they_are_even_already() {
        let mut placements = placements(&[BTreeSet::from([0, 1]), BTreeSet::from([1, 2]), BTreeSet::from([0, 2])]);
        placements.get_mut(&ShardId(2)).expect("it is there").leader = Some(NodeId(2));
        let before = placements.clone();
        balance(&mut placements, &active(3));
        assert_eq!(placements, before);
    }

    #[test]
    fn who_drains_leads_only_what_nobody_else_can_and_the_dead_lead_nothing() {
        let mut states = active(4);
        states.insert(NodeId(0), State::Draining);
        states.insert(NodeId(3), State::Dead);
        let mut placements = placements(&[BTreeSet::from([0, 1]), BTreeSet::from([0, 3]), BTreeSet::from([3])]);
        balance(&mut placements, &states);
        let leaders: Vec<_> = placements.values().map(|placement| placement.leader).collect();
        assert_eq!(leaders, [Some(NodeId(1)), Some(NodeId(0)), None]);
    }

    proptest! {
        #[test]
        fn no_choice_of_leaders_is_more_even(
            shards in prop::collection::vec(prop::collection::btree_set(0_u64..5, 1..4), 0..7),
        ) {
            let mut placements = placements(&shards);
            balance(&mut placements, &active(5));
            prop_assert!(placements.values().all(|placement| placement.replicas.contains(&placement.leader.expect("all live"))));
            prop_assert_eq!(counts(&placements, 5), most_even(&shards, &mut vec![0; 5]));
        }
    }
}
