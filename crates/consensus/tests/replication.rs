//! A few replicas, and nothing goes wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use althing_codec::Reader;
use althing_consensus::{ConfState, Effects, Input, Message, Refused, Role};
use althing_types::limits::{
    MAX_APPEND_BYTES, MAX_COMMITTED_BYTES_PER_TURN, MAX_REQUEST_BYTES, MAX_REQUEST_OVERHEAD_BYTES,
    MAX_UNCOMMITTED_BYTES,
};
use althing_types::{Instant, NodeId};
use bytes::Bytes;
use support::world::{Envelope, World};

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

/// A leader of three that has committed in its term.
fn led() -> (World, NodeId) {
    let mut world = three();
    world.turn(NodeId(1), Input::Campaign).unwrap();
    world.settle();
    assert_eq!(world.leader(), Some(NodeId(1)));
    (world, NodeId(1))
}

#[test]
fn proposals_of_one_turn_are_one_batch_and_reach_everybody_whatever_their_size() {
    let (mut world, leader) = led();
    let mut out = Effects::default();
    let replica = &mut world.nodes.get_mut(&leader).unwrap().replica;
    for byte in 0..40_u8 {
        let data = Bytes::from(vec![byte; 100 * 1024]);
        replica.handle(Instant::ZERO, Input::Propose { data }, &mut out).unwrap();
    }
    replica.ready(&mut out);
    assert_eq!(out.persist.len(), 1, "one batch for the log");
    assert_eq!(out.persist[0].entries.len(), 40);
    for message in &out.messages {
        assert!(message.entry_bytes() <= MAX_APPEND_BYTES, "{} bytes in one message", message.entry_bytes());
    }
    let sent: usize = out.messages.iter().filter(|message| message.to() == NodeId(2)).map(Message::entry_bytes).sum();
    assert_eq!(sent, 40 * 100 * 1024, "all is sent without waiting for an answer");
    world.carry_out(leader, out);
    world.settle();
    assert!(world.nodes.values().all(|node| node.machine.applied.index == 42));
}

#[test]
fn a_leader_refuses_what_is_too_large_and_what_is_too_much() {
    let (mut world, leader) = led();
    let limit = MAX_REQUEST_BYTES + MAX_REQUEST_OVERHEAD_BYTES;
    let mut propose = |bytes: usize| world.turn(leader, Input::Propose { data: vec![0; bytes].into() });
    assert_eq!(propose(limit + 1), Err(Refused::TooLarge { bytes: limit + 1, limit }));
    let accepted = (0..1000).take_while(|_| propose(limit).is_ok()).count();
    assert_eq!(accepted, MAX_UNCOMMITTED_BYTES / limit);
    assert_eq!(propose(limit), Err(Refused::Overloaded));
    world.settle();
    assert_eq!(world.propose(leader, "again"), Ok(()), "what was committed no longer counts");
}

#[test]
fn the_log_in_memory_is_counted_and_shrinks_with_truncation() {
    let (mut world, leader) = led();
    let empty = world.nodes[&leader].replica.log_bytes();
    world.propose(leader, &"x".repeat(10_000)).unwrap();
    world.settle();
    let full = world.nodes[&leader].replica.log_bytes();
    assert!(full > empty + 10_000);
    world.truncate(leader, 0);
    assert_eq!(world.nodes[&leader].replica.log_bytes(), 0);
    assert_eq!(world.nodes[&leader].replica.truncated().index, 3);
}

#[test]
fn a_turn_in_which_nothing_happened_asks_for_nothing() {
    let (mut world, leader) = led();
    let mut out = Effects::default();
    world.nodes.get_mut(&leader).unwrap().replica.ready(&mut out);
    assert!(out.is_empty(), "{out:?}");
}

#[test]
fn metrics_count_what_a_replica_has_done() {
    let (mut world, leader) = led();
    world.propose(leader, "a").unwrap();
    world.read(leader, 1);
    world.settle();
    assert!(world.propose(NodeId(2), "b").is_err());
    let metrics = world.nodes[&leader].replica.metrics();
    assert_eq!((metrics.elections_started, metrics.elections_won, metrics.leader_changes), (1, 1, 1));
    assert_eq!((metrics.proposals, metrics.committed, metrics.reads, metrics.reads_ready), (1, 2, 1, 1));
    assert_eq!(world.nodes[&NodeId(2)].replica.metrics().refused, 1);
}

#[test]
fn a_message_for_somebody_else_is_ignored() {
    let (mut world, leader) = led();
    world.propose(leader, "a").unwrap();
    let mut reader = Reader::new(world.network[0].bytes.clone());
    let message = Message::decode(&mut reader).unwrap();
    let other = NodeId(if message.to() == NodeId(2) { 3 } else { 2 });
    let before = world.nodes[&other].replica.last_index();
    world.turn(other, Input::Step(message)).unwrap();
    assert_eq!(world.nodes[&other].replica.last_index(), before);
}

/// The answer of a follower that the leader's probe came too late in the log, once it is on its way.
fn rejection(world: &mut World, from: NodeId) -> Envelope {
    let rejects = |envelope: &&Envelope| {
        let message = Message::decode(&mut Reader::new(envelope.bytes.clone())).unwrap();
        envelope.from == from && message.to_string().contains("reject=")
    };
    for _ in 0..100 {
        if let Some(Envelope { from, to, bytes }) = world.network.iter().find(rejects) {
            return Envelope { from: *from, to: *to, bytes: bytes.clone() };
        }
        world.deliver(0);
    }
    panic!("node {from} rejects nothing");
}

/// tikv/raft-rs#555: a leader that probes would believe it, although it knows better, and fall back behind its own log.
#[test]
fn a_rejection_that_comes_twice_costs_no_snapshot() {
    let (mut world, leader) = led();
    let follower = NodeId(3);
    world.crash(follower);
    for command in ["a", "b", "c"] {
        world.propose(leader, command).unwrap();
        world.settle();
    }
    world.restart(follower);
    for _ in 0..2 {
        world.turn(leader, Input::Tick).unwrap();
    }
    let late = rejection(&mut world, follower);
    world.settle();
    let last = world.nodes[&leader].replica.last_index();
    world.truncate(leader, 0);

    world.turn(leader, Input::Unreachable(follower)).unwrap();
    world.network.push(late);
    world.settle();
    let progress = world.nodes[&leader].replica.progress(follower).unwrap();
    assert_eq!((progress.match_index, progress.next_index), (last, last + 1));
    world.propose(leader, "d").unwrap();
    world.settle();
    assert!(world.wanted.is_empty(), "{}", world.trace);
    assert_eq!(world.nodes[&follower].machine.applied.index, last + 1);
}

#[test]
fn a_replica_that_starts_again_hands_its_log_out_in_bounded_turns() {
    let mut world = World::new(1, 10..20);
    world.bootstrap(&ConfState::of_voters([NodeId(1)]));
    world.turn(NodeId(1), Input::Campaign).unwrap();
    let entry_bytes = 1024 * 1024;
    for _ in 0..MAX_COMMITTED_BYTES_PER_TURN / entry_bytes * 3 {
        world.propose(NodeId(1), &"x".repeat(entry_bytes)).unwrap();
    }
    let last = world.nodes[&NodeId(1)].machine.applied.index;
    world.crash(NodeId(1));
    world.restart(NodeId(1));
    let (mut turns, mut handed_out) = (0, 0);
    while world.nodes[&NodeId(1)].replica.has_more() {
        let mut out = Effects::default();
        let node = world.nodes.get_mut(&NodeId(1)).unwrap();
        node.replica.ready(&mut out);
        let bytes: usize = out.committed.iter().map(|entry| entry.data.len()).sum();
        assert!(bytes <= MAX_COMMITTED_BYTES_PER_TURN + entry_bytes, "{bytes} bytes in one turn");
        handed_out = out.committed.last().map_or(handed_out, |entry| entry.index);
        turns += 1;
    }
    assert!(turns > 1 && handed_out + 1 >= last, "{handed_out} of {last} in {turns} turns");
}
