//! The membership under loss, crashes, pauses and partitions, in a world of its own. Full-size figures come from the benchmark.

#[allow(dead_code, reason = "the benchmark uses the rest of it")]
mod world;

use althing_gossip::{Dropped, Event, Input, Key, Liveness, Seal, Value};
use althing_types::{ClusterId, Duration, NodeId};
use bytes::Bytes;
use world::{Life, Network, World};

const ACTIVE: [Liveness; 2] = [Liveness::Alive, Liveness::Suspected];
const GONE: [Liveness; 2] = [Liveness::Down, Liveness::Left];

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn assert_nobody_was_wronged(world: &World) {
    assert_eq!(world.false_downs, []);
    let metrics = world.metrics();
    assert_eq!((metrics.irregularities, metrics.pages_refused, metrics.datagrams_dropped), (0, 0, [0; 9]));
}

#[test]
fn news_reaches_a_hundred_nodes_within_ten_periods() {
    for loss_percent in [0, 5] {
        let (mut world, _) = World::settled(1, Network::lan(loss_percent), 100);
        world.start(101);
        let join = world.until("the join is known", seconds(10), |world| world.all_see(101, &ACTIVE));
        world.give(50, Input::Set { key: Key::MapEpoch, value: Value::Number(9) });
        let knows = |world: &World| {
            let says = |gossip: &althing_gossip::Gossip| gossip.state(NodeId(50))?.number(Key::MapEpoch);
            world.running().all(|(_, gossip)| says(gossip) == Some(9))
        };
        let state = world.until("the state is known", seconds(10), knows);
        world.set_life(60, Life::Crashed);
        let crash = world.until("the crash is known", seconds(25), |world| world.all_see(60, &GONE));
        println!("{loss_percent} % loss: join {join:?}, state {state:?}, crash {crash:?}");
        assert_nobody_was_wronged(&world);
    }
}

#[test]
fn nobody_dies_of_lost_datagrams() {
    for (seed, nodes) in [(1, 5), (2, 5), (3, 60)] {
        let (mut world, _) = World::settled(seed, Network::lan(5), nodes);
        world.run(seconds(600));
        println!("{nodes} nodes: {} suspicions", world.metrics().suspicions);
        assert_nobody_was_wronged(&world);
        assert_eq!(world.rejoins, 0);
    }
}

#[test]
fn the_sides_of_a_partition_find_each_other_again() {
    let (mut world, _) = World::settled(4, Network::lan(1), 20);
    world.set_sides(|node| u8::from(node > 10));
    world.until("the sides have given each other up", seconds(60), |world| {
        world.running().all(|(_, gossip)| gossip.active() == 9)
    });
    world.run(seconds(120));
    world.set_sides(|_| 0);
    let took = world
        .until("all are members again", seconds(90), |world| world.running().all(|(_, gossip)| gossip.active() == 19));
    println!("healed in {took:?}, {} nodes renewed themselves", world.rejoins);
    world.run(seconds(60));
    assert!(world.running().all(|(_, gossip)| gossip.active() == 19), "and stay so");
    assert_nobody_was_wronged(&world);
}

#[test]
fn a_node_that_was_paused_wrongs_nobody_and_comes_back_renewed() {
    let (mut world, _) = World::settled(5, Network::lan(1), 10);
    world.set_life(4, Life::Paused);
    world.until("it is thought dead", seconds(40), |world| world.all_see(4, &[Liveness::Down]));
    world.run(seconds(60));
    let downs = world.metrics().downs;
    world.set_life(4, Life::Running);
    let took = world
        .until("it is a member again", seconds(45), |world| world.all_see(4, &ACTIVE) && world.gossip(4).active() == 9);
    println!("back after {took:?}");
    world.run(seconds(60));
    assert_eq!(world.metrics().downs, downs, "it declared nobody down, and nobody did it");
    assert_eq!(world.gossip(4).identity().renewal, 1);
    assert!(world.told.iter().any(|(node, event)| *node == 4 && matches!(event, Event::Rejoined(_))));
    assert!(world.told.iter().any(|(node, event)| *node == 4 && matches!(event, Event::Paused(_))));
}

#[test]
fn a_restarted_node_is_a_member_at_once_and_says_everything_again() {
    let (mut world, _) = World::settled(6, Network::lan(0), 10);
    world.give(4, Input::Set { key: Key::Zone, value: Value::Text("a".into()) });
    world.run(seconds(5));
    world.set_life(4, Life::Crashed);
    world.run(seconds(1));
    world.start(4);
    world.give(4, Input::Set { key: Key::Load, value: Value::Number(1) });
    world.run(seconds(10));
    for (_, gossip) in world.running().filter(|(id, _)| *id != 4) {
        let state = gossip.state(NodeId(4)).unwrap();
        assert_eq!((state.text(Key::Zone), state.number(Key::Load)), (None, Some(1)));
        assert_eq!(gossip.liveness(NodeId(4)), Some(Liveness::Alive));
    }
    assert_eq!(world.metrics().downs, 0);
}

#[test]
fn who_leaves_in_good_order_has_left_and_is_not_dead() {
    let (mut world, _) = World::settled(7, Network::lan(0), 10);
    world.give(4, Input::Leave);
    world.set_life(4, Life::Crashed);
    let took = world.until("all know", seconds(5), |world| world.all_see(4, &[Liveness::Left]));
    println!("known to all after {took:?}");
    world.run(seconds(120));
    assert!(world.all_see(4, &[Liveness::Left]));
    assert_eq!(world.metrics().downs, 0);
}

#[test]
fn a_late_starter_and_two_islands_become_one_cluster() {
    // Node 1 to 3 are the seeds; 3 starts long after the others.
    let mut world = World::new(8, Network::lan(0));
    world.start(1);
    world.run(seconds(40));
    world.start(2);
    let took =
        world.until("two know each other", seconds(40), |world| world.all_see(1, &ACTIVE) && world.all_see(2, &ACTIVE));
    println!("found after {took:?}");
    world.start(3);
    world.until("three do", seconds(5), |world| world.running().all(|(_, gossip)| gossip.active() == 2));
}

#[test]
fn a_forged_datagram_and_one_of_another_cluster_change_nothing_and_are_counted() {
    let (mut world, _) = World::settled(9, Network::lan(0), 3);
    let payload = [1, 2, 3];
    let forged = Seal::new(ClusterId(7), Some(b"other secret")).close(&payload);
    let foreign = Seal::new(ClusterId(8), Some(b"secret")).close(&payload);
    let nonsense = Seal::new(ClusterId(7), Some(b"secret")).close(&payload);
    for bytes in [forged.clone(), foreign, nonsense, forged.slice(..20), Bytes::from(vec![0; 2_000])] {
        world.give(1, Input::Datagram(bytes));
    }
    let metrics = world.gossip(1).metrics();
    for reason in [Dropped::Forged, Dropped::ForeignCluster, Dropped::Malformed, Dropped::Truncated, Dropped::Oversized]
    {
        assert_eq!(metrics.dropped(reason), 1, "{reason:?}");
    }
    assert_eq!(world.gossip(1).active(), 2);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let (mut world, _) = World::settled(seed, Network::lan(5), 30);
        world.set_life(7, Life::Crashed);
        world.run(seconds(30));
        world.start(7);
        world.run(seconds(30));
        world.trace
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
