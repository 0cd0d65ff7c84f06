//! A ring of virtual nodes (Karger et al. 1997; Dynamo, section 4.2), computed from ids alone.
//!
//! ```text
//!      0 ──────── t₀ ─────── t₁ ──── t₂ ─────────────── t₃ ──── 2⁶⁴-1
//!      └── t₀'s ──┘└── t₁'s ─┘└ t₂'s ┘└────── t₃'s ─────┘└─ t₀'s ─┘
//! ```
//!
//! Each node has tokens at places that its id alone decides, and a token's node owns what lies between the token before (not
//! included) and it (included). The next distinct nodes along the ring, spread over zones, hold the other replicas. A node
//! that joins takes from others and moves nothing between them.
//!
//! Tokens at random places divide unevenly: with 128 of them a node's share has a standard deviation of 1/√128, 9 %, and the
//! largest of many nodes some 1.2 to 1.3 of the mean. Where that matters, shards are dealt instead ([`crate::plan`]).

pub mod ranges;

use althing_types::NodeId;

use crate::hash;
use crate::node::Node;
use crate::spread::Members;

/// The ring of a set of nodes. Equal sets give equal rings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ring {
    members: Members,
    /// The tokens' places, ascending, none twice.
    tokens: Vec<u64>,
    /// For each token its node, as a place among the members.
    nodes: Vec<u32>,
}

impl Ring {
    /// Tokens of a node of the usual capacity, unless told otherwise.
    pub const TOKENS_PER_NODE: u32 = 128;

    /// The ring of these nodes, each with `tokens_per_node` times its capacity, at least one; those of no capacity have none.
    /// Of two nodes with one id the first counts; of two tokens at one place that of the lower id.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = Node>, tokens_per_node: u32) -> Self {
        let members = Members::new(nodes);
        let mut tokens: Vec<(u64, u32)> = Vec::new();
        for (index, node) in (0_u32..).zip(members.nodes()) {
            let count = u64::from(tokens_per_node) * u64::from(node.capacity) / u64::from(Node::USUAL);
            let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
            tokens.extend((0..count).map(|number| (hash::token(node.id, number), index)));
        }
        tokens.sort_unstable();
        tokens.dedup_by_key(|token| token.0);
        let (tokens, nodes) = tokens.into_iter().unzip();
        Self { members, tokens, nodes }
    }

    /// The nodes on it, in order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        self.members.nodes()
    }

    /// How many tokens lie on it.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The node that owns a position ([`hash::position`]), in O(log tokens). `None` on an empty ring.
    #[must_use]
    pub fn owner(&self, position: u64) -> Option<NodeId> {
        let node = *self.nodes.get(self.token_at(position))?;
        Some(self.members.nodes()[node as usize].id)
    }

    /// The nodes that hold a position, in order of preference: its owner, then the next along the ring that are spread over
    /// zones. So many as `count` says, or all if there are fewer.
    #[must_use]
    pub fn owners(&self, position: u64, count: usize) -> Vec<NodeId> {
        self.ids(&self.owners_from(self.token_at(position), count))
    }

    fn ids(&self, nodes: &[usize]) -> Vec<NodeId> {
        nodes.iter().map(|node| self.members.nodes()[*node].id).collect()
    }

    /// The place of the token that a position belongs to; 0 beyond the last.
    fn token_at(&self, position: u64) -> usize {
        let index = self.tokens.partition_point(|token| *token < position);
        if index == self.tokens.len() { 0 } else { index }
    }

    fn owners_from(&self, token: usize, count: usize) -> Vec<usize> {
        let (before, after) = self.nodes.split_at(token.min(self.nodes.len()));
        self.members.choose(count, || after.iter().chain(before).map(|node| *node as usize))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn nodes(ids: std::ops::RangeInclusive<u64>, zones: u64) -> Vec<Node> {
        ids.map(|id| Node::new(NodeId(id * 0x9e37_79b9), &format!("z{}", id % zones))).collect()
    }

    #[test]
    fn an_empty_ring_owns_nothing() {
        let ring = Ring::new([], 128);
        assert_eq!((ring.owner(7), ring.owners(7, 3), ring.tokens()), (None, Vec::new(), 0));
    }

    #[test]
    fn a_ring_does_not_depend_on_the_order_of_its_nodes() {
        let forwards = nodes(1..=9, 3);
        let backwards: Vec<Node> = forwards.iter().rev().cloned().collect();
        assert_eq!(Ring::new(forwards, 64), Ring::new(backwards, 64));
    }

    #[test]
    fn a_token_owns_what_lies_before_it_and_itself() {
        let ring = Ring::new(nodes(1..=3, 1), 4);
        for (index, token) in ring.tokens.iter().enumerate() {
            let next = (index + 1) % ring.tokens.len();
            assert_eq!((ring.token_at(*token), ring.token_at(token + 1)), (index, next));
        }
        assert_eq!((ring.token_at(0), ring.token_at(u64::MAX)), (0, 0));
    }

    #[test]
    fn a_small_ring_stays_as_it_is_for_ever() {
        let ring = Ring::new((1..=3).map(|id| Node::new(NodeId(id), "")), 128);
        let owners: Vec<u64> =
            (0..16).map(|part: u64| ring.owner(part << 60).expect("it is not empty").get()).collect();
        assert_eq!(owners, [3, 3, 3, 3, 2, 2, 1, 2, 2, 3, 3, 2, 1, 1, 1, 2]);
    }

    #[test]
    fn capacity_is_a_share_of_the_tokens() {
        let ring = Ring::new([Node::new(NodeId(1), ""), Node::new(NodeId(2), "").with_capacity(250)], 128);
        let of_the_second = ring.nodes.iter().filter(|node| **node == 1).count();
        assert_eq!((ring.tokens(), of_the_second), (128 + 320, 320));
    }

    proptest! {
        #[test]
        fn every_position_has_distinct_owners_in_as_many_zones_as_can_be(
            count in 1_u64..20, zones in 1_u64..6, replicas in 1_usize..6, position in any::<u64>(),
        ) {
            let ring = Ring::new(nodes(1..=count, zones), 16);
            let mut owners = ring.owners(position, replicas);
            prop_assert_eq!(ring.owner(position), owners.first().copied());
            let zone = |id: &NodeId| ring.nodes().iter().find(|node| node.id == *id).map(|node| node.zone.clone());
            let mut in_zones: Vec<_> = owners.iter().map(zone).collect();
            owners.sort();
            owners.dedup();
            prop_assert_eq!(owners.len(), replicas.min(count as usize));
            in_zones.sort();
            in_zones.dedup();
            prop_assert_eq!(in_zones.len(), replicas.min(zones.min(count) as usize));
        }

        #[test]
        fn a_join_moves_positions_to_the_joiner_only(count in 1_u64..20, positions in prop::collection::vec(any::<u64>(), 64)) {
            let before = Ring::new(nodes(1..=count, 1), 32);
            let after = Ring::new(nodes(1..=count + 1, 1), 32);
            let joiner = nodes(count + 1..=count + 1, 1)[0].id;
            for position in positions {
                let owner = after.owner(position);
                prop_assert!(owner == before.owner(position) || owner == Some(joiner));
                let newcomers = after.owners(position, 3).into_iter().filter(|id| !before.owners(position, 3).contains(id));
                prop_assert!(newcomers.into_iter().all(|id| id == joiner));
            }
        }
    }
}
