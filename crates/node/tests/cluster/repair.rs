//! What makes replicas whole again: hints that outlive their coordinator, hash trees, and counting across a move.

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest};
use althing_api::request::Body;
use althing_api::{ErrorKind, Request};
use althing_consensus::Role;
use althing_datatypes::op::{Existence, KeyOp, SetAnswer, SetExpiry, StringOp};
use althing_datatypes::{Message as _, Op, Reply};
use althing_manifest::{Object, Schedule};
use althing_node::envelope::{KeyedMessage, Message, Standing};
use althing_node::{GroupMetrics, Input, Metrics, NodeConfig, RepairConfig, RepairMetrics, RoundMetrics};
use althing_quorum::Level;
use althing_storage::wal::RecordKind;
use althing_types::{Duration, GroupId, NodeId, RequestId};

use super::Cluster;
use super::control::{call, cluster, cluster_with};
use super::keyed::{INCREMENT, READ, carts_of, set, text};

fn unrepaired(config: NodeConfig) -> NodeConfig {
    NodeConfig { repair: RepairConfig::OFF, ..config }
}

impl Cluster {
    fn sum(&self, of: impl Fn(&Metrics) -> u64) -> u64 {
        self.nodes.values().map(|one| of(&one.node.metrics())).sum()
    }

    /// The group of the one shard of the table.
    pub fn group(&mut self) -> GroupId {
        let group = |object| match object {
            Object::Shard(shard) if shard.spec.table == "carts" => Some(shard.spec.group),
            _ => None,
        };
        self.objects().into_values().find_map(group).unwrap()
    }

    /// How a node's replica stands with another one.
    fn stands(&self, own: u64, other: u64) -> RepairMetrics {
        let node = &self.nodes[&NodeId(own)].node;
        let found: Vec<_> = node.repair_metrics(self.now).filter(|one| one.peer == NodeId(other)).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0]
    }

    /// Only this replica lacks these writes, and nobody is left who would send them again.
    fn make_differ(&mut self, keys: impl Iterator<Item = String>) {
        self.cut_off = Some(NodeId(3));
        self.ticks(60);
        for key in keys {
            self.operate(1, &key, &set("another"), Some(Level::Quorum)).unwrap();
        }
        // Whatever wrote them has died and come back without its log of deltas, as after a long time.
        for id in [1, 2] {
            let one = self.nodes.get_mut(&NodeId(id)).unwrap();
            one.applier.begin_checkpoint().unwrap().finish().unwrap();
            one.log.retain(|record| record.kind != RecordKind::Delta);
            self.crash(id);
        }
        self.ticks(100);
    }
}

/// So many keys of which so many differ: bytes that repair moves, and bytes of everything.
fn repaired(keys: usize, differing: usize) -> (u64, u64) {
    let mut cluster = carts_of(cluster(), 1);
    let value = "v".repeat(100);
    let key = |number: usize| format!("user/{number:015}");
    for number in 0..keys {
        cluster.operate(1, &key(number), &set(&value), Some(Level::All)).unwrap();
    }
    cluster.ticks(100);
    let step = keys / differing;
    cluster.make_differ((0..differing).map(|number| key(number * step)));
    let before = cluster.sum(|metrics| metrics.repair_bytes);
    cluster.cut_off = None;
    let repaired = |metrics: &Metrics| metrics.repair_joined + metrics.repair_sent;
    cluster.until("all is repaired", |cluster| cluster.sum(repaired) >= differing as u64);
    cluster.ticks(200);
    for number in 0..differing {
        let value = cluster.operate(3, &key(number * step), &READ, Some(Level::One)).unwrap();
        assert_eq!(value, text("another"), "{number}");
    }
    // Two of them may have found the same at the same time.
    assert!(cluster.sum(repaired) <= 2 * differing as u64, "{} of {differing}", cluster.sum(repaired));
    assert_eq!(cluster.sum(|metrics| metrics.repair_running), 0);
    (cluster.sum(|metrics| metrics.repair_bytes) - before, (keys * (20 + 100)) as u64)
}

#[test]
fn only_what_differs_is_moved() {
    let (moved, all) = repaired(4_000, 20);
    assert!(moved * 8 < all, "{moved} bytes of {all}");
}

/// Only the third node repairs, slowly.
fn third_repairs_slowly(config: NodeConfig) -> NodeConfig {
    let bytes_per_second = if config.node == NodeId(3) { 24 * 1024 } else { 0 };
    let burst = Duration::from_millis(100);
    NodeConfig { repair: RepairConfig { bytes_per_second, keys_per_second: 2_000, burst }, ..config }
}

#[test]
fn a_round_says_truly_how_far_it_is() {
    let (keys, differing) = (3_000, 700);
    let mut cluster = carts_of(cluster_with(third_repairs_slowly), 1);
    let key = |number: usize| format!("user/{number:015}");
    for number in 0..keys {
        cluster.operate(1, &key(number), &set("v"), Some(Level::All)).unwrap();
    }
    cluster.make_differ((0..differing).map(|number| key(number * 4)));
    assert_eq!(cluster.stands(3, 1).round, None);
    assert_eq!(cluster.stands(1, 3).last, None, "this one makes no rounds");
    let before = cluster.nodes[&NodeId(3)].node.metrics();
    cluster.cut_off = None;
    let healed = cluster.now;
    let mut seen: Vec<RoundMetrics> = Vec::new();
    let ended = |cluster: &Cluster| cluster.stands(3, 1).last.filter(|last| last.tally.differing > 0);
    for _ in 0..4_000 {
        cluster.tick();
        seen.extend(cluster.stands(3, 1).round);
        let joined = cluster.nodes[&NodeId(3)].node.metrics().repair_joined - before.repair_joined;
        if let Some(round) = cluster.stands(3, 1).round {
            assert!(round.tally.mended <= joined, "no more is said than is done");
        }
        if ended(&cluster).is_some() {
            break;
        }
    }
    let last = ended(&cluster).expect("the round comes to its end");
    assert_eq!((last.tally.differing, last.tally.mended), (differing as u64, differing as u64));
    let counted = cluster.nodes[&NodeId(3)].node.metrics();
    assert_eq!(counted.repair_joined - before.repair_joined, differing as u64);
    assert_eq!(cluster.stands(3, 1).round, None);
    assert_eq!(cluster.stands(3, 1).broken, 0);
    // It takes its time and tells of it: each figure only grows, and not all parts are done before the end.
    let grows = |of: fn(&RoundMetrics) -> u64| seen.iter().map(of).is_sorted();
    assert!(grows(|round| round.done) && grows(|round| round.tally.differing), "{seen:?}");
    assert!(grows(|round| round.tally.mended) && grows(|round| round.tally.bytes), "{seen:?}");
    assert!(seen.iter().all(|round| round.parts == 0 || round.done < round.parts), "{seen:?}");
    let steps: std::collections::BTreeSet<u64> = seen.iter().map(|round| round.done).collect();
    assert!(steps.len() >= 4, "{steps:?}");
    // What is compared and not mended does not count: a key is mended for each that differs in what is done.
    let at = |done: u64| seen.iter().filter(|round| round.done >= done).map(|round| round.tally.mended).min();
    let (most, parts) = (*steps.last().unwrap(), seen.last().unwrap().parts);
    assert!(at(most).unwrap() > 0 && most < parts, "{most} of {parts}");
    let most_bytes = seen.last().unwrap().tally.bytes;
    assert!(last.tally.bytes >= most_bytes && most_bytes > 0);
    // The next one, with the other replica, finds nothing.
    cluster.until("the next round ends", |cluster| {
        cluster.stands(3, 2).last.is_some_and(|last| last.ago < cluster.now.since(healed))
    });
    assert_eq!(cluster.stands(3, 2).last.unwrap().tally.mended, 0);
    cluster.ticks(40);
    assert!(cluster.stands(3, 1).last.unwrap().ago >= Duration::from_secs(1));
}

#[test]
fn what_waits_for_a_replica_that_is_away_is_told_in_numbers() {
    let mut cluster = carts_of(cluster_with(unrepaired), 1);
    cluster.operate(1, "shared", &set("1"), Some(Level::All)).unwrap();
    cluster.ticks(100);
    assert_eq!((1..=2).map(|own| cluster.stands(own, 3).hints).sum::<u64>(), 0);
    cluster.cut_off = Some(NodeId(3));
    cluster.ticks(60);
    for number in 0..50 {
        cluster.operate(1, &format!("k{number}"), &set("v"), Some(Level::Quorum)).unwrap();
    }
    cluster.ticks(10);
    let waiting = |cluster: &Cluster| (1..=2).map(|own| cluster.stands(own, 3).hints).sum::<u64>();
    assert_eq!(waiting(&cluster), 50);
    assert_eq!(cluster.stands(1, 2).hints + cluster.stands(2, 1).hints, 0, "these have acknowledged");
    assert!(cluster.stands(1, 3).hint_bytes + cluster.stands(2, 3).hint_bytes >= 50 * 20);
    cluster.cut_off = None;
    cluster.until("all are acknowledged", |cluster| waiting(cluster) == 0);
    assert_eq!(cluster.stands(1, 3).hint_bytes + cluster.stands(2, 3).hint_bytes, 0);
}

const LITTLE_ROOM: usize = 2_000;

fn with_little_room(config: NodeConfig) -> NodeConfig {
    NodeConfig { hint_bytes: LITTLE_ROOM, ..config }
}

#[test]
fn hints_take_no_more_than_their_room_and_what_is_beyond_comes_by_repair() {
    let mut cluster = carts_of(cluster_with(with_little_room), 4);
    cluster.operate(1, "shared", &set("1"), Some(Level::All)).unwrap();
    cluster.ticks(200);
    cluster.cut_off = Some(NodeId(3));
    cluster.ticks(60);
    for number in 0..200 {
        cluster.operate(1, &format!("k{number}"), &set("v"), Some(Level::Quorum)).unwrap();
        for id in 1..=2 {
            let kept = cluster.nodes[&NodeId(id)].node.metrics().hint_bytes;
            assert!(kept <= LITTLE_ROOM as u64, "{kept}");
        }
    }
    let of = |cluster: &Cluster, id: u64| -> Vec<RepairMetrics> {
        cluster.nodes[&NodeId(id)].node.repair_metrics(cluster.now).filter(|one| one.peer == NodeId(3)).collect()
    };
    let left = |cluster: &Cluster| (1..=2).flat_map(|id| of(cluster, id)).map(|one| one.forgone).sum::<u64>();
    assert!(left(&cluster) > 50, "{}", left(&cluster));
    assert_eq!(left(&cluster), cluster.sum(|metrics| metrics.hints_forgone));
    let shown = |id| of(&cluster, id).iter().map(|one| one.hint_bytes).sum::<u64>();
    assert_eq!(shown(1), cluster.nodes[&NodeId(1)].node.metrics().hint_bytes);
    cluster.cut_off = None;
    cluster.until("nothing is left", |cluster| left(cluster) == 0);
    cluster.until("nothing waits", |cluster| cluster.sum(|metrics| metrics.hint_bytes) == 0);
    for number in 0..200 {
        assert_eq!(cluster.operate(3, &format!("k{number}"), &READ, Some(Level::One)), Ok(text("v")), "k{number}");
    }
}

#[test]
fn a_replica_that_is_there_and_takes_nothing_is_not_left_without_what_was_not_kept_for_it() {
    let mut cluster = carts_of(cluster_with(with_little_room), 1);
    cluster.operate(1, "shared", &set("1"), Some(Level::All)).unwrap();
    cluster.ticks(200);
    let rounds = |cluster: &Cluster| cluster.sum(|metrics| metrics.rounds);
    let before = rounds(&cluster);
    let is_delta = |message: &Message| matches!(message, Message::Keyed(_, KeyedMessage::Delta { .. }));
    cluster.lost = Some(Box::new(move |_, to, message| to == NodeId(3) && is_delta(message)));
    for number in 0..100 {
        cluster.operate(1, &format!("k{number}"), &set("v"), Some(Level::Quorum)).unwrap();
    }
    let left = |cluster: &Cluster| cluster.stands(1, 3).forgone + cluster.stands(2, 3).forgone;
    assert!(left(&cluster) > 20, "{}", left(&cluster));
    cluster.lost = None;
    // Half a minute: nobody was lost, and a usual round would not be due before five minutes. What a round sends is not all kept either,
    // so one more makes sure of it.
    cluster.ticks(1_200);
    assert_eq!(left(&cluster), 0);
    assert!(rounds(&cluster) > before);
    for number in 0..100 {
        assert_eq!(cluster.operate(3, &format!("k{number}"), &READ, Some(Level::One)), Ok(text("v")), "k{number}");
    }
    let rounds_after = rounds(&cluster);
    cluster.ticks(1_000);
    assert_eq!(rounds(&cluster), rounds_after, "then they are as rare as ever");
}

/// The aim of repair, at its full size: run it by hand, it takes a minute or two.
#[test]
#[ignore = "a million writes"]
fn a_hundred_of_a_million_keys_are_repaired_for_less_than_a_hundredth_of_the_bytes() {
    let (moved, all) = repaired(1_000_000, 100);
    println!("{moved} bytes of {all}: {:.3} %", moved as f64 * 100.0 / all as f64);
    assert!(moved * 100 < all, "{moved} bytes of {all}");
}

#[test]
fn what_a_crashed_coordinator_had_acknowledged_alone_comes_from_its_log_and_not_by_repair() {
    let mut cluster = carts_of(cluster_with(unrepaired), 1);
    cluster.operate(1, "shared", &set("1"), Some(Level::All)).unwrap();
    cluster.cut_off = Some(NodeId(3));
    cluster.ticks(60);
    for number in 0..50 {
        cluster.operate(3, &format!("k{number}"), &set("v"), Some(Level::One)).unwrap();
    }
    cluster.crash(3);
    cluster.ticks(60);
    // A checkpoint would let the log go, if all had what is in it.
    let one = cluster.nodes.get_mut(&NodeId(3)).unwrap();
    let spaces = one.applier.begin_checkpoint().unwrap().finish().unwrap();
    cluster.all(vec![(NodeId(3), Input::Checkpointed(spaces))]);
    cluster.crash(3);
    cluster.cut_off = None;
    cluster.ticks(200);
    for id in 1..=3 {
        for number in 0..50 {
            let value = cluster.operate(id, &format!("k{number}"), &READ, Some(Level::One)).unwrap();
            assert_eq!(value, text("v"), "k{number} at {id}");
        }
    }
    assert_eq!(cluster.sum(|metrics| metrics.rounds), 0);
    // Everybody has acknowledged, so nothing is kept for anybody; and what is known of that outlives the next crash.
    let found = cluster.sum(|metrics| metrics.hints_found);
    assert!(found >= 100, "{found}");
    let spaces = cluster.nodes.get_mut(&NodeId(3)).unwrap().applier.begin_checkpoint().unwrap().finish().unwrap();
    cluster.all(vec![(NodeId(3), Input::Checkpointed(spaces))]);
    cluster.crash(3);
    cluster.ticks(100);
    assert_eq!(cluster.nodes[&NodeId(3)].node.metrics().hints_found, 0);
}

#[test]
fn a_write_does_not_count_who_knows_of_a_configuration_that_its_coordinator_does_not() {
    let mut cluster = carts_of(cluster(), 1);
    cluster.add_node(4);
    cluster.until("the newcomer is there", |cluster| cluster.objects().contains_key("nodes/n4"));
    let group = cluster.group();
    let leads = |metrics: &GroupMetrics| metrics.group == group && matches!(metrics.role, Role::Leader { .. });
    let leader = (1..=3).map(NodeId).find(|id| cluster.nodes[id].node.group_metrics().any(|one| leads(&one))).unwrap();
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|id| *id != leader).collect();
    let (behind, leaving) = (others[0], others[1]);
    // One replica hears nothing of its group, and the joint configuration stands.
    cluster.lost = Some(Box::new(move |from, to, message| match message {
        Message::Raft(of, _) => *of == group && (from == behind || to == behind),
        Message::Keyed(_, KeyedMessage::Filled { standing: Standing::Incoming, .. }) => true,
        _ => false,
    }));
    // It does not hear the leader either, or it would let it coordinate.
    cluster.cut_link = Some([behind, leader]);
    let name = format!("nodes/n{}", leaving.get());
    let mut drained = match cluster.objects().remove(&name) {
        Some(Object::Node(node)) => node,
        other => panic!("{other:?}"),
    };
    drained.spec.schedule = Schedule::Drain;
    cluster.write(Object::Node(drained));
    let joint = [leader, behind, leaving, NodeId(4)].into();
    cluster.until("the configuration is joint", |cluster| cluster.nodes[&leaving].node.voters(group) == joint);
    cluster.ticks(40);
    assert!(!cluster.nodes[&behind].node.voters(group).contains(&NodeId(4)), "it knows of nothing");

    cluster.told.clear();
    let (key, operation) = ("k".into(), set("v").encode());
    let write = KeyedRequest::Operate { key, operation, access: Access::Write, level: None };
    let write = Input::Request { id: RequestId(7), call: call("carts", Request::Keyed(write)) };
    cluster.all(vec![(behind, write)]);
    cluster.ticks(40);
    assert!(cluster.told.is_empty(), "of the new replicas only one may have it: {:?}", cluster.told);
    // It catches up, and counts by both. The leader does not get it, so the newcomer must.
    cluster.cut_link = None;
    cluster.lost = Some(Box::new(move |from, to, message| {
        matches!(message, Message::Keyed(..)) && [[behind, leader], [leader, behind]].contains(&[from, to])
    }));
    cluster.ticks(40);
    let told: Vec<_> = cluster.told.drain(..).filter(|(id, _)| *id == RequestId(7)).collect();
    assert!(matches!(told.as_slice(), [(_, Ok(_))]), "{told:?}");
    cluster.lost = None;
    let settled = [leader, behind, NodeId(4)].into();
    cluster.until("the move is over", |cluster| cluster.nodes[&leader].node.voters(group) == settled);
    cluster.cut_off = Some(NodeId(4));
    cluster.ticks(60);
    assert_eq!(cluster.operate(4, "k", &READ, Some(Level::One)), Ok(text("v")));
}

#[test]
fn a_shard_of_which_nothing_is_asked_makes_no_work() {
    let mut cluster = carts_of(cluster(), 16);
    for number in 0..64 {
        cluster.operate(1, &format!("k{number}"), &set("v"), Some(Level::All)).unwrap();
    }
    cluster.ticks(400);
    let rounds = cluster.sum(|metrics| metrics.rounds);
    assert!(rounds >= 16 * 6, "each with each other: {rounds}");
    let before = cluster.sum(|metrics| metrics.shard_looks);
    cluster.ticks(400);
    assert_eq!(cluster.sum(|metrics| metrics.shard_looks), before, "in ten seconds none is looked at");
    // A peer that goes and comes back is a reason to look.
    cluster.cut_off = Some(NodeId(3));
    cluster.ticks(60);
    cluster.cut_off = None;
    cluster.ticks(60);
    assert!(cluster.sum(|metrics| metrics.rounds) >= rounds + 16 * 2);
    let refused = cluster.operate(1, "k", &set("v"), Some(Level::All)).map_err(|error| error.kind);
    assert_ne!(refused, Err(ErrorKind::ShardUnavailable));
}

#[test]
fn a_node_without_a_replica_takes_a_write_at_any_when_nobody_is_there_and_hands_it_over_later() {
    let mut cluster = carts_of(cluster(), 1);
    cluster.add_node(4);
    cluster.until("the newcomer knows the table", |cluster| cluster.operate(4, "hits", &INCREMENT, None).is_ok());
    let counted = cluster.ask_key(1, "hits", &READ);
    cluster.cut_off = Some(NodeId(4));
    cluster.ticks(60);
    for id in 1..=3 {
        cluster.all(vec![(NodeId(4), Input::PeerDown(NodeId(id)))]);
    }
    for level in Level::ALL.into_iter().filter(|level| *level != Level::Any) {
        cluster.operate(4, "hits", &INCREMENT, Some(level)).unwrap_err();
        for id in 1..=3 {
            cluster.all(vec![(NodeId(4), Input::PeerDown(NodeId(id)))]);
        }
    }
    assert_eq!(cluster.operate(4, "hits", &INCREMENT, Some(Level::Any)), Ok(Reply::Int(1)));
    assert_eq!(cluster.operate(4, "cart", &set("milk"), Some(Level::Any)), Ok(Reply::Ok));
    let together = KeyedRequest::Series {
        key: "visits".into(),
        operations: vec![INCREMENT.encode(); 3],
        access: Access::Write,
        read_level: None,
        write_level: Some(Level::Any),
    };
    let together = cluster.call(NodeId(4), call("carts", Request::Keyed(together))).unwrap().body;
    assert!(
        matches!(&together, Body::Keyed(KeyedAnswer::Series(all)) if all.iter().all(Result::is_ok)),
        "{together:?}"
    );
    let removal = cluster.operate(4, "cart", &Op::Key(KeyOp::Delete), Some(Level::Any)).unwrap_err();
    assert_eq!(removal.kind, ErrorKind::ShardUnavailable, "it would remove nothing");
    let claim = StringOp::Set {
        value: "mine".into(),
        expiry: SetExpiry::Clear,
        condition: Existence::Absent,
        answer: SetAnswer::Done,
    };
    let claim = cluster.operate(4, "lock", &Op::String(claim), Some(Level::Any)).unwrap_err();
    assert!(matches!(claim.kind, ErrorKind::Unsupported(_)), "another may be told the same: {claim:?}");
    assert_eq!(cluster.sum(|metrics| metrics.lodging), 5);
    cluster.crash(4);
    assert_eq!(cluster.sum(|metrics| metrics.lodging), 5);
    cluster.cut_off = None;
    cluster.ticks(200);
    assert_eq!(cluster.sum(|metrics| metrics.lodging), 0);
    let Reply::Bytes(counted) = counted else { panic!("{counted:?}") };
    let counted: i64 = String::from_utf8_lossy(&counted).parse().unwrap();
    assert_eq!(cluster.ask_key(1, "hits", &READ), text(&(counted + 1).to_string()), "once");
    assert_eq!(cluster.ask_key(2, "cart", &READ), text("milk"));
    assert_eq!(cluster.ask_key(3, "visits", &READ), text("3"));
}
