//! How long a turn takes with 10,000 shards on 100 nodes. Prints figures and asserts nothing of time. Run by hand:
//! `cargo test -p althing-meta --release --test figures -- --ignored --nocapture`.
#![allow(clippy::disallowed_methods)] // it measures real time

use std::hint::black_box;
use std::time::Instant as Clock;

use althing_manifest::{Node, NodeSpec, Object, Schedule, Shard, Table, TableSpec};
use althing_meta::{
    Configuration, Founder, GroupReport, Part, Reconciler, Report, Reports, Stage, Update, View, Write,
};
use althing_types::{Duration, Instant, NodeId};
use bytes::Bytes;

const NODES: u64 = 100;
const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn put(view: &mut View, object: impl Into<Object>) {
    let object = object.into();
    view.put(view.revision().next(), object.key().as_bytes(), Some(Bytes::from(object.to_stored())));
}

fn carry_out(view: &mut View, writes: &[Write]) {
    for write in writes {
        view.put(view.revision().next(), &write.key, write.value.clone());
    }
}

/// Turns until there is nothing to write: how many, and the longest.
fn settle(view: &mut View, reports: &Reports, reconciler: &mut Reconciler) -> (usize, Duration) {
    let (mut turns, mut longest) = (0, Duration::ZERO);
    loop {
        let mut out = Vec::new();
        let begun = Clock::now();
        reconciler.turn(NOW, view, reports, &mut out);
        longest = longest.max(begun.elapsed());
        turns += 1;
        if out.is_empty() {
            return (turns, longest);
        }
        carry_out(view, &out);
    }
}

/// What a node says when every shard is where it is wanted.
fn report(view: &View, id: NodeId) -> Report {
    let spec = &view.node(id).expect("it is there").spec;
    let told = |shard: &Shard| {
        let first = shard.spec.leader.or(shard.spec.replicas.first().copied());
        GroupReport {
            part: if first == Some(id) { Part::Leads } else { Part::Holds },
            configuration: Configuration::Simple,
            term: 1,
            applied: 1,
            keys: 1,
            bytes: 1,
            voters: shard.spec.replicas.clone(),
            learners: [].into(),
            stage: Stage::Serving,
            middle: None,
        }
    };
    let held = view.shards().filter(|shard| shard.spec.replicas.contains(&id));
    Report {
        zone: spec.zone.clone(),
        groups: held.map(|shard| (shard.spec.group, told(shard))).collect(),
        ..Report::default()
    }
}

fn hear_all(view: &View, reports: &mut Reports) {
    for id in (1..=NODES).map(NodeId) {
        reports.hear(NOW, id, report(view, id));
    }
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    let founders: Vec<Founder> = (1..=3)
        .map(|id| Founder {
            id: NodeId(id),
            name: format!("n{id}"),
            zone: format!("z{}", id % 3),
            ..Founder::default()
        })
        .collect();
    let (mut view, mut reports, mut reconciler) = (View::new(), Reports::new(Instant::ZERO), Reconciler::new(founders));
    settle(&mut view, &reports, &mut reconciler);
    for id in 4..=NODES {
        put(
            &mut view,
            Node::new(&format!("n{id}"), NodeSpec { zone: format!("z{}", id % 3), ..NodeSpec::new(NodeId(id)) }),
        );
    }
    hear_all(&view, &mut reports);
    for (name, shards) in [("a", 4_096), ("b", 4_096), ("c", 1_806)] {
        put(&mut view, Table::new(name, TableSpec { shards, ..TableSpec::default() }));
    }
    let made = settle(&mut view, &reports, &mut reconciler);
    println!("{} shards made and placed in {} turns, the longest {:?}", view.shards().count(), made.0, made.1);
    hear_all(&view, &mut reports);
    let seen = settle(&mut view, &reports, &mut reconciler);
    println!("all seen alive in {} turns, the longest {:?}", seen.0, seen.1);

    let timed = |what: &str, view: &View, reports: &Reports, reconciler: &mut Reconciler| {
        let mut out = Vec::new();
        let begun = Clock::now();
        reconciler.turn(NOW, view, reports, &mut out);
        println!("{what}: {:?}, {} writes", begun.elapsed(), out.len());
    };
    timed("a turn in which nothing has changed", &view, &reports, &mut reconciler);
    put(&mut view, Table::new("d", TableSpec::default()));
    timed("a turn in which an object has changed", &view, &reports, &mut reconciler);
    let mut drained = view.node(NodeId(50)).expect("it is there").as_ref().clone();
    drained.spec.schedule = Schedule::Drain;
    put(&mut view, drained);
    timed("a turn that plans 4,096 shards anew", &view, &reports, &mut reconciler);
    timed("the next one, which plans 4,096 more", &view, &reports, &mut reconciler);

    let update = view.whole().encode();
    let begun = Clock::now();
    let mut other = View::new();
    other.take(&Update::decode(update.clone()).expect("it was encoded"));
    println!("the whole map: {} bytes, read in {:?}", update.len(), begun.elapsed());
    let begun = Clock::now();
    for number in 0..1_000_000_u64 {
        black_box(view.locate("a", &number.to_be_bytes()));
    }
    println!("locate: {:?}", begun.elapsed() / 1_000_000);
}
