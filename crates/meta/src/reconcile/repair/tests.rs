use althing_manifest::{Cluster, ClusterSpec, Node, NodeSpec, Object, Schedule};
use althing_types::{Duration, Instant};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::reports::{Report, Reports};
use crate::view::View;

/// Nodes 1, 2, … with their zones, by what they are.
fn members(nodes: &[(&str, Standing)]) -> Members {
    let mut view = View::new();
    let now = Instant::ZERO + Duration::from_secs(1_000);
    let mut reports = Reports::new(Instant::ZERO);
    let mut put = |object: Object| {
        view.put(view.revision().next(), object.key().as_bytes(), Some(Bytes::from(object.to_stored())));
    };
    put(Cluster::new("cluster", ClusterSpec::default()).into());
    for (id, (zone, standing)) in (1..).map(NodeId).zip(nodes) {
        let (schedule, heard) = match standing {
            Standing::Active => (Schedule::Active, Some(now)),
            Standing::Resting => (Schedule::Cordoned, Some(now)),
            Standing::Leaving => (Schedule::Drain, Some(now)),
            Standing::Gone => (Schedule::Active, None),
        };
        let spec = NodeSpec { zone: (*zone).to_owned(), schedule, ..NodeSpec::new(id) };
        put(Node::new(&format!("n{id}"), spec).into());
        heard.into_iter().for_each(|at| reports.hear(at, id, Report::default()));
    }
    let members = Members::of(&view, &reports, now);
    for (id, (_, standing)) in (1..).map(NodeId).zip(nodes) {
        assert_eq!(members.standing(id), *standing);
    }
    members
}

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn repaired(nodes: &[(&str, Standing)], base: &[u64], count: usize) -> BTreeSet<NodeId> {
    repair(GroupId(16), &ids(base), count, &members(nodes), &Loads::default())
}

use Standing::{Active, Gone, Leaving, Resting};

#[test]
fn what_need_not_move_stays() {
    assert_eq!(
        repaired(&[("a", Active), ("a", Resting), ("a", Active), ("b", Active)], &[1, 2, 3], 3),
        ids(&[1, 2, 3])
    );
}

#[test]
fn what_was_on_a_node_that_is_left_goes_to_the_emptiest_zone() {
    let nodes = [("a", Active), ("b", Active), ("c", Gone), ("a", Active), ("b", Active), ("c", Active)];
    assert_eq!(repaired(&nodes, &[1, 2, 3], 3), ids(&[1, 2, 6]));
    let nodes = [("a", Active), ("b", Leaving), ("c", Resting), ("c", Active), ("b", Active)];
    assert_eq!(repaired(&nodes, &[1, 2, 3], 3), ids(&[1, 3, 5]));
}

#[test]
fn the_least_loaded_by_capacity_is_taken() {
    let members = members(&[("a", Active); 3]);
    let mut loads = Loads::default();
    for id in [1, 1, 2, 3, 3, 3] {
        loads.add(NodeId(id));
    }
    assert_eq!(repair(GroupId(1), &ids(&[]), 1, &members, &loads), ids(&[2]));
    loads.remove(NodeId(3));
    loads.remove(NodeId(3));
    loads.remove(NodeId(3));
    assert_eq!(repair(GroupId(1), &ids(&[]), 1, &members, &loads), ids(&[3]));
}

#[test]
fn where_there_are_too_few_places_the_drained_stay_and_the_dead_while_the_living_are_a_quorum() {
    assert_eq!(repaired(&[("", Active), ("", Leaving), ("", Gone)], &[1, 2, 3], 3), ids(&[1, 2, 3]));
    assert_eq!(repaired(&[("", Active), ("", Gone), ("", Gone)], &[1, 2, 3], 3), ids(&[1]));
    assert_eq!(repaired(&[("", Resting), ("", Active), ("", Gone)], &[1, 2, 3], 3), ids(&[1, 2, 3]));
}

#[test]
fn of_too_many_one_goes_from_the_fullest_zone() {
    assert_eq!(repaired(&[("a", Active), ("b", Active), ("b", Active), ("c", Active)], &[1, 2, 3, 4], 3).len(), 3);
    let kept = repaired(&[("a", Active), ("b", Active), ("b", Active), ("c", Active)], &[1, 2, 3, 4], 3);
    assert!(kept.contains(&NodeId(1)) && kept.contains(&NodeId(4)));
}

proptest! {
    #[test]
    fn what_is_repaired_is_left_as_it_is(
        nodes in prop::collection::vec((0_usize..3, 0_usize..4), 1..8),
        base in prop::collection::btree_set(1_u64..9, 0..6),
        count in 1_usize..6,
    ) {
        let names = ["a", "b", "c"];
        let standings = [Active, Resting, Leaving, Gone];
        let nodes: Vec<_> = nodes.into_iter().map(|(zone, standing)| (names[zone], standings[standing])).collect();
        let members = members(&nodes);
        let base: BTreeSet<NodeId> = base.into_iter().map(NodeId).collect();
        let first = repair(GroupId(16), &base, count, &members, &Loads::default());
        prop_assert!(first.len() <= count);
        prop_assert!(first.difference(&base).all(|id| members.standing(*id) == Active), "newcomers are active");
        prop_assert_eq!(&repair(GroupId(16), &first, count, &members, &Loads::default()), &first);
        let active = nodes.iter().filter(|(_, standing)| *standing == Active).count();
        if active >= count {
            prop_assert!(first.len() == count && first.iter().all(|id| !members.is_left(*id)));
        }
    }
}

/// A living replica was to be replaced when another one's node went for good: the step was never taken, and no other was wanted.
#[test]
fn a_newcomer_is_not_for_the_place_of_a_living_one_while_a_dead_one_keeps_its_own() {
    let nodes = [("a", Active), ("a", Gone), ("a", Active), ("a", Active)];
    let spares = |wanted: &[u64], voters: &[u64]| spares_the_gone(&ids(wanted), &ids(voters), &members(&nodes));
    assert!(spares(&[2, 3, 4], &[1, 2, 3]), "1 lives and goes, 2 is gone and stays");
    assert!(!spares(&[1, 3, 4], &[1, 2, 3]), "that is what it comes to");
    assert!(!spares(&[1, 2, 3, 4], &[1, 2, 3]), "nobody goes");
    assert!(!spares(&[1, 2, 3], &[1, 2, 3]), "it has arrived");
}
