//! How replicas are spread over zones.
//!
//! The rule: no zone gets a second replica while another zone with a free node has none; no third while another has one; and
//! so on. It is water poured into vessels: with `n` nodes in a zone and the water at level `l`, the zone holds
//! `min(n, l)` replicas, and what is left over goes to some of those that have room for one more.

use std::collections::BTreeMap;

use althing_types::NodeId;

use crate::node::{Node, Zone};

/// How many replicas of one shard a zone may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// No fewer.
    pub least: usize,
    /// No more.
    pub most: usize,
}

/// What the rule gives to zones with so many nodes each, for `replicas` of them, at most as many as there are nodes. The
/// least of all zones is never more than `replicas`, and the most never less.
#[must_use]
pub fn quotas(zone_sizes: &[usize], replicas: usize) -> Vec<Quota> {
    let held_at = |level: usize| zone_sizes.iter().map(|size| (*size).min(level)).sum::<usize>();
    let nodes: usize = zone_sizes.iter().sum();
    let replicas = replicas.min(nodes);
    let mut level = 0;
    while held_at(level + 1) <= replicas && held_at(level) < nodes {
        level += 1;
    }
    let is_full = held_at(level) == replicas;
    let most = if is_full { level } else { level + 1 };
    zone_sizes.iter().map(|size| Quota { least: (*size).min(level), most: (*size).min(most) }).collect()
}

/// Nodes in order of their ids, with their zones as small numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Members {
    nodes: Vec<Node>,
    zone_of: Vec<usize>,
    zones: Vec<Vec<usize>>,
}

impl Members {
    /// The nodes, without those of no capacity. Of two with one id the first counts.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut by_id: BTreeMap<NodeId, Node> = BTreeMap::new();
        for node in nodes.into_iter().filter(|node| node.capacity > 0) {
            by_id.entry(node.id).or_insert(node);
        }
        let nodes: Vec<Node> = by_id.into_values().collect();
        let mut names: Vec<&Zone> = nodes.iter().map(|node| &node.zone).collect();
        names.sort();
        names.dedup();
        let number = |zone| names.binary_search(&zone).expect("each node's zone is among the names");
        let zone_of: Vec<usize> = nodes.iter().map(|node| number(&node.zone)).collect();
        let mut zones = vec![Vec::new(); names.len()];
        for (index, zone) in zone_of.iter().enumerate() {
            zones[*zone].push(index);
        }
        Self { nodes, zone_of, zones }
    }

    /// The nodes, in order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// For each zone the places of its nodes in [`Members::nodes`]; zones in order of their names.
    #[must_use]
    pub fn zones(&self) -> &[Vec<usize>] {
        &self.zones
    }

    /// The zone of a node, both as places.
    #[must_use]
    pub fn zone_of(&self, node: usize) -> usize {
        self.zone_of[node]
    }

    /// The place of a node in [`Members::nodes`].
    #[must_use]
    pub fn index_of(&self, id: NodeId) -> Option<usize> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok()
    }

    /// The same nodes in one zone, if each has a zone of its own: no two replicas share a node anyway, so the zones say nothing.
    #[must_use]
    pub fn without_lone_zones(self) -> Self {
        if self.zones.len() < self.nodes.len() || self.nodes.is_empty() {
            return self;
        }
        let all = (0..self.nodes.len()).collect();
        Self { zone_of: vec![0; self.nodes.len()], zones: vec![all], nodes: self.nodes }
    }

    /// The first `count` nodes of a walk that keep the rule above; fewer only if there are fewer. `walk` begins anew at each
    /// call, may come by a node more than once, and passes all of them.
    pub(crate) fn choose<I: Iterator<Item = usize>>(&self, count: usize, walk: impl Fn() -> I) -> Vec<usize> {
        let count = count.min(self.nodes.len());
        let mut chosen: Vec<usize> = Vec::with_capacity(count);
        let mut held = vec![0_usize; self.zones.len()];
        let mut level = 0;
        while chosen.len() < count {
            let mut open = self.zones.iter().filter(|zone| zone.len() > level).count();
            for node in walk() {
                let zone = self.zone_of[node];
                if held[zone] > level || chosen.contains(&node) {
                    continue;
                }
                held[zone] += 1;
                chosen.push(node);
                open -= 1;
                if open == 0 || chosen.len() == count {
                    break;
                }
            }
            level += 1;
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(sizes: &[usize], replicas: usize) -> Vec<(usize, usize)> {
        quotas(sizes, replicas).into_iter().map(|quota| (quota.least, quota.most)).collect()
    }

    #[test]
    fn each_zone_gets_one_before_any_gets_two() {
        assert_eq!(quota(&[2, 2, 2], 3), [(1, 1), (1, 1), (1, 1)]);
        assert_eq!(quota(&[2, 2, 2], 2), [(0, 1), (0, 1), (0, 1)]);
        assert_eq!(quota(&[2, 2, 2], 5), [(1, 2), (1, 2), (1, 2)]);
        assert_eq!(quota(&[1, 3, 3], 5), [(1, 1), (2, 2), (2, 2)]);
        assert_eq!(quota(&[1, 1], 3), [(1, 1), (1, 1)]);
        assert_eq!(quota(&[5], 3), [(3, 3)]);
        assert_eq!(quota(&[], 3), []);
        assert_eq!(quota(&[4, 4], 0), [(0, 0), (0, 0)]);
    }

    #[test]
    fn of_two_nodes_with_one_id_the_first_counts_and_none_without_capacity() {
        let members = Members::new([
            Node::new(NodeId(2), "b"),
            Node::new(NodeId(1), "a"),
            Node::new(NodeId(2), "c"),
            Node::new(NodeId(3), "d").with_capacity(0),
        ]);
        assert_eq!(members.nodes(), [Node::new(NodeId(1), "a"), Node::new(NodeId(2), "b")]);
        assert_eq!(members.zones(), [vec![0], vec![1]]);
        assert_eq!((members.index_of(NodeId(2)), members.index_of(NodeId(3))), (Some(1), None));
    }

    #[test]
    fn zones_of_one_node_each_are_one_zone() {
        let of = |zones: &[&str]| {
            let nodes = (1..).zip(zones).map(|(id, zone)| Node::new(NodeId(id), zone));
            Members::new(nodes).without_lone_zones().zones().to_vec()
        };
        assert_eq!(of(&["a", "b", "c"]), [vec![0, 1, 2]]);
        assert_eq!(of(&["a", "b", "a"]), [vec![0, 2], vec![1]]);
        assert_eq!(of(&[]), Vec::<Vec<usize>>::new());
    }

    proptest! {
        #[test]
        fn what_is_chosen_keeps_the_quotas(zone_of in prop::collection::vec(0_u32..5, 1..12), count in 0_usize..14) {
            let nodes = zone_of.iter().zip(1..).map(|(zone, id)| Node::new(NodeId(id), &zone.to_string()));
            let members = Members::new(nodes);
            let chosen = members.choose(count, || 0..members.nodes().len());
            let sizes: Vec<usize> = members.zones().iter().map(Vec::len).collect();
            prop_assert_eq!(chosen.len(), count.min(zone_of.len()));
            for (zone, quota) in quotas(&sizes, count).into_iter().enumerate() {
                let held = chosen.iter().filter(|node| members.zone_of(**node) == zone).count();
                prop_assert!((quota.least..=quota.most).contains(&held), "zone {}: {} of {:?}", zone, held, quota);
            }
        }

        #[test]
        fn quotas_can_be_met(sizes in prop::collection::vec(1_usize..6, 1..6), count in 0_usize..20) {
            let quotas = quotas(&sizes, count);
            let count = count.min(sizes.iter().sum());
            prop_assert!(quotas.iter().map(|quota| quota.least).sum::<usize>() <= count);
            prop_assert!(quotas.iter().map(|quota| quota.most).sum::<usize>() >= count);
        }
    }
}
