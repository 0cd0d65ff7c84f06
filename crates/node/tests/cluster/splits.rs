//! Shards of a range table are split while they are written to, and nobody notices but by the time that it takes.

use std::collections::BTreeMap;

use althing_api::request::Body;
use althing_api::service::FIRST_SHARD_GROUP;
use althing_api::{Error, ErrorKind, Request};
use althing_manifest::{Object, Phase, Shard, Split, Table, TableSpec};
use althing_node::Input;
use althing_types::{NodeId, RequestId};

use super::Cluster;
use super::control::{call, cluster, get, put, value};

const SPLIT_BYTES: u64 = 16 * 1024;

fn range_table(cluster: &mut Cluster) {
    let spec = TableSpec { split: Split::Range, split_bytes: Some(SPLIT_BYTES), ..TableSpec::default() };
    cluster.write(Object::Table(Table::new("log", spec)));
    cluster.until("the table is ready", |cluster| cluster.shards("log").iter().any(|shard| shard.status.epoch > 0));
    cluster.until("it serves", |cluster| cluster.call(NodeId(1), call("log", get("a"))).is_ok());
}

impl Cluster {
    fn shards(&mut self, table: &str) -> Vec<Shard> {
        let shard = |object| match object {
            Object::Shard(shard) => Some(shard),
            Object::Cluster(_) | Object::Node(_) | Object::Table(_) => None,
        };
        let shards = self.objects().into_values().filter_map(shard);
        shards.filter(|shard| shard.spec.table == table).collect()
    }

    /// Nothing is being split, and no shard is larger than it may be.
    fn is_settled(&mut self) -> bool {
        let mut sizes = self.metrics().into_iter().filter(|metrics| metrics.group >= FIRST_SHARD_GROUP);
        let is_small = sizes.all(|metrics| metrics.size_bytes < SPLIT_BYTES);
        is_small && self.shards("log").iter().all(|shard| shard.spec.phase == Phase::Serving)
    }
}

fn key(number: u64) -> String {
    format!("k{:04}", number * 7919 % 10_000)
}

#[test]
fn a_table_splits_as_it_grows_and_every_node_serves_every_key() {
    let mut cluster = cluster();
    range_table(&mut cluster);
    let mut written = BTreeMap::new();
    for number in 0..600 {
        let (key, node) = (key(number), NodeId(1 + number % 3));
        let value = format!("{number}{}", "x".repeat(200));
        cluster.call(node, call("log", put(&key, value.clone()))).unwrap_or_else(|error| panic!("{key}: {error}"));
        written.insert(key, value);
    }
    cluster.until("it has come to rest", Cluster::is_settled);
    let shards = cluster.shards("log");
    assert!(shards.len() > 8, "{} shards", shards.len());
    for (number, (key, wanted)) in written.iter().enumerate() {
        let node = NodeId(1 + number as u64 % 3);
        assert_eq!(value(cluster.call(node, call("log", get(key)))), wanted.as_bytes(), "{key} at {node}");
    }
    let splits: u64 = cluster.nodes.values().map(|one| one.node.metrics().splits).sum();
    assert!((1..shards.len() as u64).contains(&splits), "{splits} splits were seen to their ends by a leader");
}

#[test]
fn calls_that_are_under_way_go_on_at_the_children() {
    let mut cluster = cluster();
    range_table(&mut cluster);
    let mut answers: BTreeMap<RequestId, Result<(), Error>> = BTreeMap::new();
    let mut next = 10;
    for round in 0..60 {
        cluster.now += althing_node::DEFAULT_TICK;
        let mut inputs: Vec<_> = cluster.nodes.keys().map(|id| (*id, Input::Tick)).collect();
        // One call between any two turns, so that some meet every moment of a split.
        for number in 0..12 {
            next += 1;
            let request = put(&key(round * 12 + number), "y".repeat(150));
            inputs.push((NodeId(1 + number % 3), Input::Request { id: RequestId(next), call: call("log", request) }));
            inputs = inputs.into_iter().flat_map(|(id, input)| cluster.turn(id, input)).collect();
        }
        cluster.all(inputs);
        answers.extend(std::mem::take(&mut cluster.told).into_iter().map(|(id, it)| (id, it.map(drop))));
    }
    cluster.until("it has come to rest", Cluster::is_settled);
    answers.extend(std::mem::take(&mut cluster.told).into_iter().map(|(id, it)| (id, it.map(drop))));
    let refused: Vec<_> = answers.values().filter(|answer| answer.is_err()).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(answers.len() >= 720, "{} of 720 were answered", answers.len());
    let redirected: u64 = cluster.nodes.values().map(|one| one.node.metrics().redirected).sum();
    assert!(redirected > 0, "no call met a split");
}

#[test]
fn a_call_that_reaches_the_parent_after_its_split_goes_on_at_a_child() {
    let mut cluster = cluster();
    range_table(&mut cluster);
    let parent = cluster.shards("log").remove(0);
    let slow = *parent.status.voters.iter().find(|node| Some(**node) != parent.status.leader).unwrap();
    let fast = parent.status.leader.unwrap();
    cluster.slow = Some(slow);
    let late = RequestId(99);
    cluster.all(vec![(slow, Input::Request { id: late, call: call("log", put("late", "x".to_owned())) })]);
    for number in 0..100 {
        cluster.call(fast, call("log", put(&key(number), "y".repeat(200)))).unwrap();
    }
    let serves = |shard: &Shard| shard.spec.group == parent.spec.group && shard.spec.phase == Phase::Serving;
    while cluster.shards("log").iter().any(serves) {
        cluster.tick();
    }
    // Long enough that a node leaves what its map does not name.
    cluster.ticks(10);
    assert!(cluster.told.iter().all(|(id, _)| *id != late));
    cluster.slow = None;
    let arriving = std::mem::take(&mut cluster.on_their_way);
    cluster.all(arriving);
    cluster.until("the call is answered", |cluster| cluster.told.iter().any(|(id, _)| *id == late));
    let answer = cluster.told.drain(..).find(|(id, _)| *id == late).unwrap().1;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(value(cluster.call(fast, call("log", get("late")))), b"x");
}

#[test]
fn a_range_over_several_shards_is_refused_with_the_reason() {
    let mut cluster = cluster();
    range_table(&mut cluster);
    for number in 0..300 {
        cluster.call(NodeId(1), call("log", put(&key(number), "z".repeat(200)))).unwrap();
    }
    cluster.until("it has come to rest", Cluster::is_settled);
    let keys = althing_api::kv::KeyRange::all();
    let all = Request::Range(althing_api::kv::RangeRequest::new(keys));
    let refused = cluster.call(NodeId(2), call("log", all)).unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::CrossShard(_)), "{refused:?}");
    let Body::Range(found) = cluster.call(NodeId(2), call("log", get(&key(7)))).unwrap().body else { panic!() };
    assert_eq!(found.count, 1);
}
