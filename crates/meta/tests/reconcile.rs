//! The reconcilers in a toy world: whatever happens, and wherever they die, things end where they belong.

mod world;

use std::collections::BTreeSet;

use althing_manifest::{Kind, Schedule, Split, Table, TableSpec};
use althing_types::NodeId;

use world::{Delivery, World};

/// Ticks in which a healed world must come to rest: moves go 16 at a time, with some six ticks each, and a dying reconciler
/// does one write per turn.
const PATIENCE: usize = 6_000;
/// Ticks without a write that count as rest: longer than a grace, so that nothing is only waited for.
const REST: usize = 40;

fn table(name: &str, shards: u32, replicas: u32) -> Table {
    Table::new(name, TableSpec { shards, replicas, ..TableSpec::default() })
}

/// Lets everything settle, and says in how many ticks.
fn settle(world: &mut World, delivery: Delivery) -> usize {
    let mut quiet = 0;
    for tick in 0..PATIENCE {
        world.tick(10);
        let mut wrote = world.turn(delivery);
        for _ in 0..8 {
            wrote |= world.turn(delivery);
        }
        quiet = if wrote { 0 } else { quiet + 1 };
        if quiet == REST {
            return tick.saturating_sub(REST);
        }
    }
    panic!("it goes on for ever");
}

/// A made cluster with a short grace.
fn cluster(seed: u64, founders: u64, zones: u64) -> World {
    let mut world = World::new(seed, founders, zones);
    while world.turn(Delivery::Whole) && world.view.cluster().is_none() {}
    let mut cluster = world.view.cluster().expect("it was made").as_ref().clone();
    cluster.spec.node_grace_seconds = 30;
    world.apply_object(cluster.into());
    world
}

#[test]
fn three_nodes_make_a_cluster() {
    let mut world = cluster(1, 3, 1);
    settle(&mut world, Delivery::Whole);
    world.check_end();
    let names: Vec<&str> = world.view.tables().map(|table| table.name()).collect();
    assert_eq!(names, ["default", "meta"]);
    assert_eq!(world.view.nodes().count(), 3);
}

#[test]
fn a_table_is_spread_over_nodes_that_join() {
    let mut world = cluster(2, 3, 3);
    world.apply_object(table("orders", 64, 3).into());
    settle(&mut world, Delivery::Whole);
    world.check_end();
    world.join(4, "z0");
    world.join(5, "z1");
    settle(&mut world, Delivery::Whole);
    world.check_end();
    assert!(world.processes[&NodeId(4)].holds.len() > 20, "{}", world.processes[&NodeId(4)].holds.len());
}

#[test]
fn a_dead_nodes_replicas_are_rebuilt_and_a_drained_one_is_emptied() {
    let mut world = cluster(3, 5, 5);
    world.apply_object(table("orders", 20, 3).into());
    settle(&mut world, Delivery::Whole);
    world.processes.get_mut(&NodeId(2)).expect("it is there").is_up = false;
    settle(&mut world, Delivery::Whole);
    world.check_end();
    world.schedule(NodeId(1), Schedule::Drain);
    settle(&mut world, Delivery::Whole);
    world.check_end();
    world.delete_object(Kind::Node, "n1");
    settle(&mut world, Delivery::Whole);
    assert!(world.view.node_named("n1").is_none());
}

#[test]
fn a_deleted_table_leaves_nothing_and_its_name_can_be_used_again() {
    for seed in 0..10 {
        let mut world = cluster(seed, 3, 1);
        world.apply_object(table("orders", 30, 3).into());
        for _ in 0..world.rng.usize(0..12) {
            world.tick(20);
            world.turn(Delivery::Race);
        }
        world.delete_object(Kind::Table, "orders");
        settle(&mut world, Delivery::Race);
        assert!(world.view.table("orders").is_none());
        assert_eq!(world.view.shards().count(), 2);
        assert!(world.processes.values().all(|process| process.holds.len() <= 2));
        world.apply_object(table("orders", 5, 1).into());
        settle(&mut world, Delivery::Race);
        world.check_end();
    }
}

#[test]
fn members_that_others_add_to_the_default_table_are_adopted() {
    let mut world = cluster(4, 3, 1);
    settle(&mut world, Delivery::Whole);
    world.join(4, "z0");
    settle(&mut world, Delivery::Whole);
    assert_eq!(world.view.shard(althing_manifest::DEFAULT_GROUP).expect("it is there").spec.replicas.len(), 3);
    world.add_default_member(NodeId(4));
    settle(&mut world, Delivery::Whole);
    assert_eq!(world.view.shard(althing_manifest::DEFAULT_GROUP).expect("it is there").spec.replicas.len(), 4);
    world.check_end();
}

#[test]
fn a_range_table_begins_with_one_shard() {
    let mut world = cluster(5, 3, 1);
    let spec = TableSpec { split: Split::Range, split_bytes: Some(1 << 20), ..TableSpec::default() };
    world.apply_object(Table::new("log", spec).into());
    settle(&mut world, Delivery::Whole);
    world.check_end();
    let shard = world.view.locate("log", b"anything").expect("all keys are somebody's");
    assert_eq!(shard.spec.slice, althing_manifest::Slice::all_keys());
}

#[test]
fn a_range_table_grows_by_splits_while_nodes_come_and_go() {
    for seed in 0..20 {
        let mut world = cluster(seed, 5, 3);
        world.apply_object(World::range_table("log", 3).into());
        settle(&mut world, Delivery::Whole);
        for step in 0..120 {
            match step {
                20 => world.schedule(NodeId(1), Schedule::Drain),
                50 => world.processes.get_mut(&NodeId(2)).expect("it is there").is_up = false,
                60 => world.change_meta_leader(),
                90 => world.schedule(NodeId(1), Schedule::Active),
                _ => {}
            }
            world.write_key();
            world.write_key();
            world.tick(20);
            world.turn(Delivery::Race);
        }
        settle(&mut world, Delivery::Race);
        world.check_end();
        assert!(world.view.shards().count() > 10, "{}", world.view.shards().count());
    }
}

/// One thing that happens to a world.
fn disturb(world: &mut World, next_id: &mut u64) {
    let ids: Vec<NodeId> = world.processes.keys().copied().collect();
    let id = *world.rng.choice(&ids).expect("there are nodes");
    let name = ["a", "b", "c"][world.rng.usize(0..3)];
    match world.rng.u32(0..13) {
        0 | 1 => {
            let is_up = world.is_up(id);
            world.processes.get_mut(&id).expect("it is there").is_up = !is_up;
        }
        2 if ids.len() < 8 => {
            let zone = format!("z{}", world.rng.u32(0..3));
            world.join(*next_id, &zone);
            *next_id += 1;
        }
        3 => world.schedule(id, Schedule::Drain),
        4 => world.schedule(id, Schedule::Cordoned),
        5 | 6 => world.schedule(id, Schedule::Active),
        7 => {
            let (shards, replicas) = (world.rng.u32(1..6), [1, 3, 5][world.rng.usize(0..3)]);
            world.apply_object(table(name, shards, replicas).into());
        }
        8 => world.delete_object(Kind::Table, name),
        9 => {
            let Some(found) = world.view.table(name) else { return };
            let mut changed = found.as_ref().clone();
            changed.spec.replicas = [1, 3, 5][world.rng.usize(0..3)];
            world.apply_object(changed.into());
        }
        10 => world.change_meta_leader(),
        11 => {
            let replicas = [1, 3, 5][world.rng.usize(0..3)];
            world.apply_object(World::range_table(name, replicas).into());
        }
        _ => {}
    }
}

/// A life of a cluster: disturbances, then all is healed, then one node is lost for ever.
fn live(seed: u64, delivery: Delivery) {
    println!("seed {seed}");
    let founders = 3 + seed % 3;
    let mut world = cluster(seed, founders, 1 + seed % 4);
    let mut next_id = founders + 1;
    for _ in 0..60 {
        disturb(&mut world, &mut next_id);
        for _ in 0..world.rng.u32(0..8) {
            world.tick(30);
            for _ in 0..world.rng.u32(0..4) {
                world.write_key();
            }
            world.turn(delivery);
        }
    }
    for id in world.processes.keys().copied().collect::<Vec<_>>() {
        world.processes.get_mut(&id).expect("it is there").is_up = true;
        let is_kept = world.rng.u32(0..5) > 0 || world.processes.len() < 5;
        world.schedule(id, if is_kept { Schedule::Active } else { Schedule::Drain });
    }
    settle(&mut world, delivery);
    world.check_end();
    let kept: BTreeSet<NodeId> = world
        .processes
        .keys()
        .copied()
        .filter(|id| world.view.node(*id).is_some_and(|node| node.spec.schedule == Schedule::Active))
        .collect();
    if kept.len() > 4 && world.view.tables().all(|table| table.spec.replicas > 1) {
        let lost = *kept.first().expect("there are some");
        world.processes.get_mut(&lost).expect("it is there").is_up = false;
        settle(&mut world, delivery);
        world.check_end();
    }
}

#[test]
fn whatever_happens_things_end_where_they_belong() {
    for seed in 0..60 {
        live(seed, Delivery::Whole);
    }
}

#[test]
fn a_reconciler_may_die_after_every_write() {
    for seed in 100..140 {
        live(seed, Delivery::OneAndDie);
    }
}

#[test]
fn two_reconcilers_may_race() {
    for seed in 200..250 {
        live(seed, Delivery::Race);
    }
}

#[test]
fn the_same_seed_makes_the_same_writes() {
    let run = |seed| {
        let mut world = cluster(seed, 4, 2);
        let mut next_id = 5;
        for _ in 0..40 {
            disturb(&mut world, &mut next_id);
            world.tick(30);
            world.turn(Delivery::Whole);
        }
        world.view.whole().encode()
    };
    assert_eq!(run(7), run(7));
}

/// Run by hand: `cargo test -p althing-meta --release --test reconcile -- --ignored lives`.
#[test]
#[ignore = "takes minutes"]
fn a_thousand_lives() {
    for seed in 1_000..1_600 {
        live(seed, [Delivery::Whole, Delivery::OneAndDie, Delivery::Race][seed as usize % 3]);
    }
}
