//! The fair share of each node: how many replicas it should hold of all.
//!
//! The mean by capacity, pressed into two bounds. A zone holds of each shard what its [`Quota`] says, so its share lies between
//! that many times the shards; a node holds each shard once at the most. What a bound takes from one falls to the others by
//! their capacities. The shares are fractions of one placement that is fractional itself (each shard laid onto each node in
//! proportion to its share), and a flow that exists in fractions exists in whole numbers between the rounded bounds. So a
//! placement in which every node has its share, rounded down or up, always exists.

use crate::spread::{Members, Quota};

/// A node's share, rounded down and up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Share {
    /// No fewer replicas.
    pub least: usize,
    /// No more replicas.
    pub most: usize,
}

/// `numerator / denominator` of a replica.
#[derive(Clone, Copy, Debug)]
struct Fraction {
    numerator: u128,
    denominator: u128,
}

/// The shares of the members, in their order, when `shards` shards with `replicas` replicas each are placed by these quotas.
#[must_use]
pub fn shares(members: &Members, quotas: &[Quota], shards: usize, replicas: usize) -> Vec<Share> {
    let weight_of = |zone: &Vec<usize>| zone.iter().map(|node| capacity(members, *node)).sum::<u128>();
    let weights: Vec<u128> = members.zones().iter().map(weight_of).collect();
    let bounds: Vec<(u128, u128)> =
        quotas.iter().map(|quota| ((quota.least * shards) as u128, (quota.most * shards) as u128)).collect();
    let mut shares = vec![Share::default(); members.nodes().len()];
    for (zone, share) in members.zones().iter().zip(divide((shards * replicas) as u128, &weights, &bounds)) {
        within_zone(members, zone, share, shards as u128, &mut shares);
    }
    shares
}

fn capacity(members: &Members, node: usize) -> u128 {
    u128::from(members.nodes()[node].capacity)
}

/// Divides a total by weights, each part pressed into its bounds; the bounds leave room for the total. In each round those
/// parts are set to their bounds that break them on the side on which more is broken: this is where they end, since what
/// they give or take pushes all others further to the other side.
fn divide(total: u128, weights: &[u128], bounds: &[(u128, u128)]) -> Vec<Fraction> {
    let mut fixed: Vec<Option<u128>> = vec![None; weights.len()];
    loop {
        let rest = total - fixed.iter().flatten().sum::<u128>();
        let weight: u128 =
            weights.iter().zip(&fixed).filter(|(_, fixed)| fixed.is_none()).map(|(weight, _)| weight).sum();
        // How far the free parts lie below their least and above their most, times the weight.
        let (mut below, mut above) = (0, 0);
        let free =
            |fixed: &[Option<u128>]| (0..weights.len()).filter(|part| fixed[*part].is_none()).collect::<Vec<_>>();
        for part in free(&fixed) {
            let (least, most) = bounds[part];
            below += (least * weight).saturating_sub(rest * weights[part]);
            above += (rest * weights[part]).saturating_sub(most * weight);
        }
        if below == 0 && above == 0 {
            let part = |(fixed, own): (&Option<u128>, &u128)| match fixed {
                Some(amount) => Fraction { numerator: *amount, denominator: 1 },
                None => Fraction { numerator: rest * own, denominator: weight },
            };
            return fixed.iter().zip(weights).map(part).collect();
        }
        for part in free(&fixed) {
            let (least, most) = bounds[part];
            if below >= above && least * weight > rest * weights[part] {
                fixed[part] = Some(least);
            }
            if above >= below && rest * weights[part] > most * weight {
                fixed[part] = Some(most);
            }
        }
    }
}

/// Divides a zone's share among its nodes by capacity, none above the number of shards.
fn within_zone(members: &Members, zone: &[usize], share: Fraction, shards: u128, shares: &mut [Share]) {
    let mut free: Vec<usize> = zone.to_vec();
    let mut rest = share.numerator;
    loop {
        let weight: u128 = free.iter().map(|node| capacity(members, *node)).sum();
        let denominator = share.denominator * weight;
        let is_full = |node: &usize| rest * capacity(members, *node) > shards * denominator;
        let (full, others): (Vec<usize>, Vec<usize>) = free.iter().partition(|node| is_full(node));
        if full.is_empty() {
            for node in others {
                let numerator = rest * capacity(members, node);
                let (least, most) = (numerator / denominator, numerator.div_ceil(denominator));
                shares[node] = Share { least: least as usize, most: most as usize };
            }
            return;
        }
        for node in &full {
            shares[*node] = Share { least: shards as usize, most: shards as usize };
        }
        rest -= full.len() as u128 * shards * share.denominator;
        free = others;
        if free.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use althing_types::NodeId;
    use proptest::prelude::*;

    use super::*;
    use crate::node::Node;
    use crate::spread::quotas;

    fn members(nodes: &[(u32, u32)]) -> Members {
        let node = |(id, (zone, capacity)): (u64, &(u32, u32))| {
            Node::new(NodeId(id), &zone.to_string()).with_capacity(*capacity)
        };
        Members::new((1..).zip(nodes).map(node))
    }

    fn of(nodes: &[(u32, u32)], shards: usize, replicas: usize) -> Vec<(usize, usize)> {
        let members = members(nodes);
        let sizes: Vec<usize> = members.zones().iter().map(Vec::len).collect();
        let replicas = replicas.min(nodes.len());
        let shares = shares(&members, &quotas(&sizes, replicas), shards, replicas);
        shares.into_iter().map(|share| (share.least, share.most)).collect()
    }

    #[test]
    fn equal_nodes_share_equally() {
        assert_eq!(of(&[(0, 100); 4], 8, 3), [(6, 6); 4]);
        assert_eq!(of(&[(0, 100); 4], 7, 3), [(5, 6); 4]);
    }

    #[test]
    fn twice_the_capacity_gets_twice_the_share_but_no_shard_twice() {
        assert_eq!(of(&[(0, 200), (0, 100), (0, 100)], 8, 1), [(4, 4), (2, 2), (2, 2)]);
        assert_eq!(of(&[(0, 900), (0, 100), (0, 100)], 8, 2), [(8, 8), (4, 4), (4, 4)]);
    }

    #[test]
    fn a_zone_with_one_node_makes_it_hold_every_shard() {
        assert_eq!(of(&[(0, 100), (1, 100), (2, 100), (2, 100)], 8, 3), [(8, 8), (8, 8), (4, 4), (4, 4)]);
    }

    #[test]
    fn nothing_is_shared_among_nobody() {
        assert_eq!(of(&[], 8, 3), []);
        assert_eq!(of(&[(0, 100)], 0, 3), [(0, 0)]);
    }

    proptest! {
        #[test]
        fn shares_leave_room_for_all_replicas(
            nodes in prop::collection::vec((0_u32..4, 1_u32..300), 1..9), shards in 0_usize..40, replicas in 1_usize..6,
        ) {
            let shares = of(&nodes, shards, replicas);
            let total = shards * replicas.min(nodes.len());
            prop_assert!(shares.iter().map(|share| share.0).sum::<usize>() <= total);
            prop_assert!(shares.iter().map(|share| share.1).sum::<usize>() >= total);
            prop_assert!(shares.iter().all(|share| share.1 <= share.0 + 1 && share.1 <= shards));
        }
    }
}
