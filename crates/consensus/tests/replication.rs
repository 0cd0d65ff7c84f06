//! Three replicas, and nothing goes wrong.

mod support;

use althing_consensus::{ConfState, Input, Role};
use althing_types::NodeId;
use support::world::World;

fn three() -> World {
    let mut world = World::new(1, 10..20);
    world.bootstrap(&ConfState::of_voters((1..=3).map(NodeId)));
    world
}

#[test]
fn three_replicas_elect_a_leader_and_apply_the_same_entries() {
    let mut world = three();
    for _ in 0..30 {
        for id in 1..=3 {
            world.turn(NodeId(id), Input::Tick).unwrap();
        }
        world.settle();
    }
    let leader = world.leader().expect("a leader is elected");
    for command in ["a", "b", "c"] {
        world.propose(leader, command).unwrap();
    }
    world.settle();
    for node in world.nodes.values() {
        let commands: Vec<_> =
            node.machine.history.iter().filter(|e| !e.data.is_empty()).map(|e| &e.data[..]).collect();
        assert_eq!(commands, [b"a", b"b", b"c"]);
        assert_eq!(node.replica.last_index(), 5);
    }
    world.check();
}

#[test]
fn a_sole_voter_leads_and_commits_alone() {
    let mut world = World::new(1, 10..20);
    world.bootstrap(&ConfState::of_voters([NodeId(1)]));
    world.turn(NodeId(1), Input::Campaign).unwrap();
    world.propose(NodeId(1), "alone").unwrap();
    world.read(NodeId(1), 7);
    let node = &world.nodes[&NodeId(1)];
    assert_eq!(node.replica.role(), Role::Leader { transferring: None });
    assert_eq!((node.machine.applied.index, &node.answered[..]), (3, &[7][..]));
}
