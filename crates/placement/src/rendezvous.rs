//! Rendezvous hashing, also called highest random weight (Thaler and Ravishankar 1998): each node draws a number for each
//! shard, and the best draws hold it. Nothing is remembered; a node that joins takes shards from others and moves none
//! between them.
//!
//! With capacities the draw becomes a waiting time (exponentially distributed at the rate of the capacity): whoever waits
//! least wins, and does so with the chance `capacity / sum of capacities`. The logarithm that this needs is computed in integers,
//! since that of a floating point library differs between machines.

use althing_types::NodeId;

use crate::hash;
use crate::node::{Node, ShardId};
use crate::spread::Members;

/// Bits behind the point of [`minus_log2`].
const FRACTION_BITS: u32 = 32;

/// `-log2((draw + 1) / 2⁶⁴)`, between 0 and 64, with 32 bits behind the point, rounded up. One bit at a time: the square of
/// a number between 1 and 2 is at least 2 exactly if the next bit of its logarithm is set.
fn minus_log2(draw: u64) -> u64 {
    let Some(number) = draw.checked_add(1) else { return 0 };
    let zeros = number.leading_zeros();
    let mut mantissa = number << zeros;
    let mut fraction = 0_u64;
    for _ in 0..FRACTION_BITS {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let is_set = square >> 64 != 0;
        fraction = fraction << 1 | u64::from(is_set);
        mantissa = (if is_set { square >> 1 } else { square }) as u64;
    }
    (u64::from(zeros + 1) << FRACTION_BITS) - fraction
}

/// The nodes in the order in which they want a shard: by waiting time, equal ones by their draw, then by id.
fn order(members: &Members, shard: ShardId) -> Vec<usize> {
    // Times are compared as fractions, time / capacity, multiplied out over the product of both capacities. A quotient with
    // enough bits behind the point sorts the same and is computed once.
    let mut ranked: Vec<(u128, u64, usize)> = (0..)
        .zip(members.nodes())
        .map(|(index, node)| {
            let draw = hash::draw(shard, node.id);
            ((u128::from(minus_log2(draw)) << 48) / u128::from(node.capacity), !draw, index)
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, index)| index).collect()
}

/// The nodes that should hold `count` replicas of a shard, spread over zones, in order of preference; all if there are fewer.
///
/// When one node joins, at most one replica of a shard is replaced, by the joiner; when one leaves, only its own is.
#[must_use]
pub fn choose(members: &Members, shard: ShardId, count: usize) -> Vec<NodeId> {
    let order = order(members, shard);
    let chosen = members.choose(count, || order.iter().copied());
    chosen.into_iter().map(|index| members.nodes()[index].id).collect()
}

/// The node of these that a shard goes to if it has one replica only.
#[must_use]
pub fn winner(nodes: &[Node], shard: ShardId) -> Option<NodeId> {
    choose(&Members::new(nodes.iter().cloned()), shard, 1).first().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(zone_of: &[u32]) -> Members {
        Members::new((1..).zip(zone_of).map(|(id, zone)| Node::new(NodeId(id), &zone.to_string())))
    }

    #[test]
    fn the_logarithm_is_right_to_the_last_bits() {
        for draw in [0, 1, 2, 7, 1 << 20, u64::MAX / 3, u64::MAX / 2, u64::MAX - (1 << 40)] {
            let wanted = 64.0 - ((draw as f64) + 1.0).log2();
            let got = minus_log2(draw) as f64 / f64::from(FRACTION_BITS).exp2();
            assert!((wanted - got).abs() < 1e-9, "{draw}: {got}, not {wanted}");
        }
        assert_eq!((minus_log2(0), minus_log2(u64::MAX)), (64 << FRACTION_BITS, 0));
    }

    #[test]
    fn choices_stay_as_they_are_for_ever() {
        let nodes = (1..=5).map(|id| Node::new(NodeId(id), ["a", "b"][id as usize % 2]).with_capacity(50 * id as u32));
        let members = Members::new(nodes);
        let choices: Vec<Vec<u64>> =
            (0..4).map(|shard| choose(&members, ShardId(shard), 3).into_iter().map(NodeId::get).collect()).collect();
        assert_eq!(choices, [[3, 4, 5], [3, 4, 5], [5, 4, 3], [5, 2, 1]]);
    }

    #[test]
    fn shares_follow_capacities() {
        let nodes: Vec<Node> = (1..=4).map(|id| Node::new(NodeId(id), "").with_capacity(100 * id as u32)).collect();
        let mut won = [0_i64; 4];
        for shard in 0..20_000 {
            won[winner(&nodes, ShardId(shard)).expect("there are nodes").get() as usize - 1] += 1;
        }
        for (index, won) in (1..).zip(won) {
            let wanted = 2_000 * index;
            assert!((won - wanted).abs() < 200, "node {index} won {won} of {wanted}");
        }
    }

    #[test]
    fn nobody_wins_where_nobody_is() {
        assert_eq!(winner(&[], ShardId(1)), None);
    }

    proptest! {
        #[test]
        fn a_join_replaces_at_most_one_replica_and_a_leave_only_the_leavers(
            zone_of in prop::collection::vec(0_u32..4, 2..10), count in 1_usize..6, shard in any::<u64>(),
        ) {
            let (before, after) = (members(&zone_of[..zone_of.len() - 1]), members(&zone_of));
            let (was, is) = (choose(&before, ShardId(shard), count), choose(&after, ShardId(shard), count));
            let joiner = NodeId(zone_of.len() as u64);
            let newcomers: Vec<_> = is.iter().filter(|id| !was.contains(id)).collect();
            let leavers = was.iter().filter(|id| !is.contains(id)).count();
            prop_assert!(newcomers.iter().all(|id| **id == joiner));
            prop_assert!(leavers <= newcomers.len());
        }

        #[test]
        fn replicas_are_distinct_and_in_as_many_zones_as_can_be(
            zone_of in prop::collection::vec(0_u32..4, 1..10), count in 1_usize..6, shard in any::<u64>(),
        ) {
            let members = members(&zone_of);
            let chosen = choose(&members, ShardId(shard), count);
            let mut zones: Vec<usize> =
                chosen.iter().map(|id| members.zone_of(members.index_of(*id).expect("it is a member"))).collect();
            zones.sort_unstable();
            zones.dedup();
            let mut ids = chosen;
            ids.sort();
            ids.dedup();
            prop_assert_eq!(ids.len(), count.min(zone_of.len()));
            prop_assert_eq!(zones.len(), count.min(members.zones().len()));
        }
    }
}
