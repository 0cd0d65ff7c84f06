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
    assert_eq!((three.copies, three.moves.len()), (0, 64), "new shards are empty");
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
    assert_eq!(
        (three.shortfall, three.placements.values().all(|placement| placement.replicas.len() == 3)),
        (None, true)
    );
}

#[test]
fn a_drained_node_gives_way_rather_than_share_a_zone() {
    let hosts = [host(1, "a", State::Draining), host(2, "a", State::Active), host(3, "b", State::Active)];
    let current = BTreeMap::from([(ShardId(0), Actual { voters: ids(&[1, 3]), ..Actual::default() })]);
    assert_eq!(plan(&current, &hosts, &THREE_ZONES).placements[&ShardId(0)].replicas, ids(&[2, 3]));
    assert_eq!(plan(&current, &hosts, &THREE).placements[&ShardId(0)].replicas, ids(&[1, 2, 3]));
}

/// The nodes 1 and 2 have come to stand in one zone, and 3 is gone: with one place only, keeping 3 would cost the quorum.
#[test]
fn the_dead_do_not_stay_where_they_would_outvote_the_living() {
    let hosts = [host(1, "a", State::Active), host(2, "a", State::Active)];
    let current = BTreeMap::from([(ShardId(0), Actual { voters: ids(&[1, 2, 3]), ..Actual::default() })]);
    let plan = plan(&current, &hosts, &THREE_ZONES);
    assert_eq!((plan.placements[&ShardId(0)].replicas.len(), plan.stuck.len()), (1, 0));
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

/// How even 16,384 ranges lie on so many nodes, and how much a join moves: the aims of a ring, met without luck.
#[test]
fn a_join_moves_at_most_a_tenth_more_than_its_share_and_no_node_holds_a_tenth_more_than_the_mean() {
    for (nodes, zones) in [(3_u64, 1), (10, 1), (33, 1), (9, 3)] {
        let before = plan(&shards(16_384), &active(nodes, zones), &THREE);
        let after = plan(&carried_out(&before), &active(nodes + 1, zones), &THREE);
        let total = 3.0 * 16_384.0;
        let moved = after.copies as f64 / total * (nodes + 1) as f64;
        assert!(moved <= 1.1, "{nodes} nodes: a join moves {moved} of its share");
        let most = loads(&before).into_values().max().unwrap_or_default() as f64;
        let spread = most / total * nodes as f64;
        assert!(spread <= 1.1, "{nodes} nodes: the fullest holds {spread} of the mean");
    }
}

#[test]
fn capacities_are_shares() {
    let mut hosts = active(4, 1);
    hosts[3].node.capacity = 200;
    let plan = plan(&shards(100), &hosts, &Policy { replicas: 1, spread: Spread::Prefer });
    assert_eq!(loads(&plan), BTreeMap::from([(NodeId(1), 20), (NodeId(2), 20), (NodeId(3), 20), (NodeId(4), 40)]));
    hosts[0].node.capacity = 0;
    let emptied = super::plan(&carried_out(&plan), &hosts, &Policy { replicas: 1, spread: Spread::Prefer });
    assert_eq!((loads(&emptied).get(&NodeId(1)), emptied.copies), (None, 20));
}

#[test]
fn new_shards_do_not_all_choose_the_same_neighbours() {
    let plan = plan(&shards(300), &active(9, 1), &THREE);
    let sets: BTreeSet<&BTreeSet<NodeId>> = plan.placements.values().map(|placement| &placement.replicas).collect();
    assert!(sets.len() > 40, "300 shards lie on {} sets of nodes, of 84", sets.len());
}

#[test]
fn leaders_come_to_rest_while_some_shards_have_no_quorum() {
    let host = |id, zone: &str, state| Host { node: Node::new(NodeId(id), zone), state };
    let first = [(1, "z3"), (2, "z0"), (5, "z3")].map(|(id, zone)| host(id, zone, State::Active));
    let second = [(1, "z0"), (2, "z1"), (3, "z2"), (4, "z0")].map(|(id, zone)| host(id, zone, State::Active));
    let policy = Policy { replicas: 3, spread: Spread::Must };
    let mut current = carried_out(&plan(&shards(5), &first, &policy));
    let rounds = (0..20).take_while(|_| {
        let next = plan(&current, &second, &policy);
        one_step_each(&mut current, &next)
    });
    let rounds = rounds.count();
    assert!(rounds < 20, "they go on for ever");
}

fn clusters() -> impl Strategy<Value = Vec<Host>> {
    let state = prop_oneof![6 => Just(State::Active), 1 => Just(State::Draining), 1 => Just(State::Dead)];
    prop::collection::vec((0_u64..4, state, prop_oneof![4 => Just(100_u32), 1 => 0_u32..300]), 1..10).prop_map(
        |hosts| {
            let host = |(id, (zone, state, capacity)): (u64, (u64, State, u32))| Host {
                node: Node::new(NodeId(id), &format!("z{zone}")).with_capacity(capacity),
                state,
            };
            (1..).zip(hosts).map(host).collect()
        },
    )
}

fn policies() -> impl Strategy<Value = Policy> {
    (1_usize..6, prop_oneof![Just(Spread::Must), Just(Spread::Prefer)])
        .prop_map(|(replicas, spread)| Policy { replicas, spread })
}

fn living(hosts: &[Host]) -> BTreeSet<NodeId> {
    hosts.iter().filter(|host| host.state != State::Dead).map(|host| host.node.id).collect()
}

fn has_quorum(actual: &Actual, living: &BTreeSet<NodeId>) -> bool {
    steps::is_quorum(actual.voters.intersection(living).count(), actual.voters.len())
}

/// Carries out one step of each shard, as a reconciler would, and says whether there was any.
fn one_step_each(current: &mut BTreeMap<ShardId, Actual>, plan: &Plan) -> bool {
    for (shard, moves) in &plan.moves {
        steps::apply(current.get_mut(shard).expect("plans are about what there is"), &moves[0]);
    }
    !plan.moves.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_plan_is_reached_step_by_step_with_a_quorum_all_the_way(
        first in clusters(), second in clusters(), policy in policies(), count in 1_u64..20,
    ) {
        let start = carried_out(&plan(&shards(count), &first, &policy));
        let plan = plan(&start, &second, &policy);
        let living = living(&second);
        for (shard, actual) in &start {
            let placement = &plan.placements[shard];
            let mut state = actual.clone();
            for step in plan.moves.get(shard).into_iter().flatten() {
                steps::apply(&mut state, step);
                prop_assert!(has_quorum(&state, &living), "{step:?} leaves {state:?}");
            }
            match plan.stuck.get(shard) {
                None => prop_assert!(state.voters == placement.replicas && state.learners.is_empty()),
                Some(_) => prop_assert!(!has_quorum(actual, &living)),
            }
            let zone = |id: &NodeId| second.iter().find(|host| host.node.id == *id).map(|host| host.node.zone.clone());
            let zones: BTreeSet<_> = placement.replicas.iter().filter_map(zone).collect();
            let known = placement.replicas.iter().filter_map(zone).count();
            prop_assert!(policy.spread == Spread::Prefer || zones.len() == known, "{:?}", placement);
        }
    }

    #[test]
    fn what_is_planned_is_left_as_it_is(hosts in clusters(), policy in policies(), count in 0_u64..20) {
        let first = plan(&shards(count), &hosts, &policy);
        let second = plan(&carried_out(&first), &hosts, &policy);
        prop_assert_eq!((second.copies, second.moves.len()), (0, 0));
        prop_assert_eq!(second.placements, first.placements);
    }

    #[test]
    fn planning_anew_after_every_step_arrives_as_well(
        first in clusters(), second in clusters(), policy in policies(), count in 1_u64..12,
    ) {
        let mut current = carried_out(&plan(&shards(count), &first, &policy));
        let mut rounds = 0;
        let mut end = plan(&current, &second, &policy);
        while one_step_each(&mut current, &end) {
            rounds += 1;
            prop_assert!(rounds <= 60, "it goes on for ever");
            end = plan(&current, &second, &policy);
        }
        prop_assert_eq!((end.copies, end.moves.len()), (0, 0));
    }

    #[test]
    fn nodes_of_one_zone_differ_by_one_replica_at_the_most(
        before in 1_u64..9, after in 1_u64..9, count in 1_u64..40, replicas in 1_usize..4,
    ) {
        let policy = Policy { replicas, spread: Spread::Prefer };
        let start = carried_out(&plan(&shards(count), &active(before, 1), &policy));
        let plan = plan(&start, &active(after, 1), &policy);
        let loads: Vec<usize> = (1..=after).map(|id| loads(&plan).get(&NodeId(id)).copied().unwrap_or(0)).collect();
        prop_assert!(loads.iter().max().copied() <= loads.iter().min().map(|least| least + 1), "{:?}", loads);
    }

    #[test]
    fn a_plan_depends_on_nothing_but_its_input(first in clusters(), second in clusters(), policy in policies()) {
        let start = carried_out(&plan(&shards(12), &first, &policy));
        let mut turned = second.clone();
        turned.reverse();
        prop_assert_eq!(plan(&start, &second, &policy), plan(&start, &turned, &policy));
    }
}
