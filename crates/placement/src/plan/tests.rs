//! What a plan promises, as properties of clusters that change.

use proptest::prelude::*;

use super::*;

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn host(id: u64, zone: &str, state: State) -> Host {
    Host { node: Node::new(NodeId(id), zone), state }
}

fn active(count: u64, zones: u64) -> Vec<Host> {
    (1..=count).map(|id| host(id, &format!("z{}", id % zones), State::Active)).collect()
}

fn shards(count: u64) -> BTreeMap<ShardId, Actual> {
    (0..count).map(|shard| (ShardId(shard), Actual::default())).collect()
}

fn carried_out(plan: &Plan) -> BTreeMap<ShardId, Actual> {
    plan.placements.iter().map(|(shard, placement)| (*shard, Actual::from(placement.clone()))).collect()
}

fn loads(plan: &Plan) -> BTreeMap<NodeId, usize> {
    let mut loads = BTreeMap::new();
    for id in plan.placements.values().flat_map(|placement| &placement.replicas) {
        *loads.entry(*id).or_default() += 1;
    }
    loads
}

const THREE: Policy = Policy { replicas: 3, spread: Spread::Prefer };
const THREE_ZONES: Policy = Policy { replicas: 3, spread: Spread::Must };

#[test]
fn three_nodes_become_five_and_the_newcomers_take_their_share() {
    let three = plan(&shards(64), &active(3, 3), &THREE);
    assert_eq!(three.copies, 192);
    let five = plan(&carried_out(&three), &active(5, 1), &THREE);
    assert_eq!(five.copies, 38 + 38, "two fifths of 192 are 76.8: rounded down for each of two nodes");
    assert!(loads(&five).values().all(|load| (38..=39).contains(load)), "{:?}", loads(&five));
    assert!(plan(&carried_out(&five), &active(5, 1), &THREE).moves.is_empty());
}

#[test]
fn a_drained_node_is_emptied_and_nothing_else_moves() {
    let before = plan(&shards(40), &active(5, 1), &THREE);
    let mut hosts = active(5, 1);
    hosts[1].state = State::Draining;
    let after = plan(&carried_out(&before), &hosts, &THREE);
    assert_eq!(after.copies, 24);
    assert_eq!(loads(&after), (1..=5).filter(|id| *id != 2).map(|id| (NodeId(id), 30)).collect());
}

#[test]
fn with_too_few_places_the_drained_and_the_dead_stay() {
    let before = plan(&shards(4), &active(3, 3), &THREE);
    let mut hosts = active(3, 3);
    hosts[0].state = State::Draining;
    let draining = plan(&carried_out(&before), &hosts, &THREE);
    assert_eq!((draining.copies, draining.placements.len()), (0, 4));
    assert!(draining.placements.values().all(|placement| placement.replicas == ids(&[1, 2, 3])));
    assert!(draining.placements.values().all(|placement| placement.leader != Some(NodeId(1))));
    let shortfall = draining.shortfall.expect("two places are too few");
    assert_eq!(shortfall.to_string(), "3 replicas are wanted and there are places for 2: add active nodes in any zone");
    hosts[0].state = State::Dead;
    let dead = plan(&carried_out(&before), &hosts, &THREE);
    assert_eq!((dead.placements, dead.copies), (draining.placements, 0));
}

#[test]
fn a_shard_that_must_be_in_three_zones_waits_for_the_third() {
    let two = plan(&shards(6), &active(4, 2), &THREE_ZONES);
    assert_eq!(two.shortfall, Some(Shortfall { wanted: 3, possible: 2, zones: Missing::FurtherZones }));
    assert!(two.placements.values().all(|placement| placement.replicas.len() == 2));
    let three = plan(&carried_out(&two), &active(6, 3), &THREE_ZONES);
    assert_eq!((three.shortfall, three.placements.values().all(|placement| placement.replicas.len() == 3)), (None, true));
}

#[test]
fn a_drained_node_gives_way_rather_than_share_a_zone() {
    let hosts = [host(1, "a", State::Draining), host(2, "a", State::Active), host(3, "b", State::Active)];
    let current = BTreeMap::from([(ShardId(0), Actual { voters: ids(&[1, 3]), ..Actual::default() })]);
    assert_eq!(plan(&current, &hosts, &THREE_ZONES).placements[&ShardId(0)].replicas, ids(&[2, 3]));
    assert_eq!(plan(&current, &hosts, &THREE).placements[&ShardId(0)].replicas, ids(&[1, 2, 3]));
}

#[test]
fn a_shard_without_quorum_is_reported_and_left_alone() {
    let mut hosts = active(5, 1);
    hosts[0].state = State::Dead;
    hosts.remove(1);
    let current = BTreeMap::from([(ShardId(0), Actual { voters: ids(&[1, 2, 3]), ..Actual::default() })]);
    let plan = plan(&current, &hosts, &THREE);
    assert_eq!(plan.stuck[&ShardId(0)], steps::Stuck::NoQuorum { alive: 1, voters: 3 });
    assert!(plan.moves.is_empty());
}

#[test]
fn without_nodes_or_shards_there_is_nothing_to_plan() {
    assert!(plan(&shards(0), &active(3, 1), &THREE).placements.is_empty());
    let nobody = plan(&shards(2), &[], &THREE);
    assert!(nobody.placements.values().all(|placement| *placement == Placement::default()));
    assert!(nobody.moves.is_empty() && nobody.stuck.is_empty());
}

#[test]
fn sixteen_thousand_ranges_are_spread_evenly_and_a_join_moves_its_share() {
    for nodes in [3_u64, 4, 7, 10, 31, 64] {
        let before = plan(&shards(16_384), &active(nodes, 3), &THREE);
        let after = plan(&carried_out(&before), &active(nodes + 1, 3), &THREE);
        let newcomer = loads(&after)[&NodeId(nodes + 1)];
        assert!(after.copies as f64 <= 1.1 * 3.0 * 16_384.0 / (nodes + 1) as f64 || after.copies == newcomer + forced(nodes));
        let most = loads(&before).values().max().copied().unwrap_or_default() as f64;
        let zone_mean = 16_384.0 / (nodes / 3) as f64;
        assert!(most <= zone_mean.ceil(), "{nodes} nodes: {most}");
    }
}

/// Placeholder for zones.
fn forced(_: u64) -> usize {
    0
}
