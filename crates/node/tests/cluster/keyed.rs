//! Convergent tables on three nodes: always writable, and nothing that was acknowledged is lost.

use std::collections::BTreeSet;

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest};
use althing_api::request::Body;
use althing_api::{Error, ErrorKind, Request};
use althing_datatypes::op::{Existence, KeyOp, SetAnswer, SetExpiry, SetOp, StringOp};
use althing_datatypes::{Message, Op, OpError, Reply};
use althing_manifest::{Guarantee, Object, Schedule, Table, TableSpec};
use althing_quorum::Level;
use althing_types::NodeId;
use bytes::Bytes;

use super::Cluster;
use super::control::{call, cluster, get};

fn carts() -> Cluster {
    carts_of(cluster(), 4)
}

/// A convergent table of so many shards.
pub fn carts_of(mut cluster: Cluster, shards: u32) -> Cluster {
    let spec = TableSpec { guarantee: Guarantee::Convergent, shards, ..TableSpec::default() };
    cluster.write(Object::Table(Table::new("carts", spec)));
    cluster.until("the table is ready", |cluster| match cluster.objects().get("tables/carts") {
        Some(Object::Table(table)) => table.status.ready_shards == u64::from(shards),
        _ => false,
    });
    cluster
}

impl Cluster {
    pub fn keyed(&mut self, node: u64, request: KeyedRequest) -> Result<KeyedAnswer, Error> {
        let answer = self.call(NodeId(node), call("carts", Request::Keyed(request)))?;
        match answer.body {
            Body::Keyed(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    pub fn operate(&mut self, node: u64, key: &str, op: &Op, level: Option<Level>) -> Result<Reply, Error> {
        let access = if op.is_read() { Access::Read } else { Access::Write };
        let (key, operation) = (Bytes::copy_from_slice(key.as_bytes()), op.encode());
        match self.keyed(node, KeyedRequest::Operate { key, operation, access, level })? {
            KeyedAnswer::Operated(reply) => Ok(Result::<Reply, OpError>::decode(&reply).unwrap().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    pub fn ask_key(&mut self, node: u64, key: &str, op: &Op) -> Reply {
        self.operate(node, key, op, None).unwrap_or_else(|error| panic!("{key} at {node}: {error}"))
    }
}

pub fn set(value: &str) -> Op {
    Op::String(StringOp::Set {
        value: Bytes::copy_from_slice(value.as_bytes()),
        expiry: SetExpiry::Clear,
        condition: Existence::Any,
        answer: SetAnswer::Done,
    })
}

fn add(members: &[&str]) -> Op {
    Op::Set(SetOp::Add(members.iter().map(|member| Bytes::copy_from_slice(member.as_bytes())).collect()))
}

fn members(reply: Reply) -> BTreeSet<String> {
    match reply {
        Reply::Set(members) => members.iter().map(|member| String::from_utf8_lossy(member).into_owned()).collect(),
        other => panic!("{other:?}"),
    }
}

pub const READ: Op = Op::String(StringOp::Get);
pub const INCREMENT: Op = Op::String(StringOp::Increment(1));
const MEMBERS: Op = Op::Set(SetOp::Members);

pub fn text(text: &str) -> Reply {
    Reply::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn what_is_written_at_one_node_is_read_at_every_other() {
    let mut cluster = carts();
    for number in 0..20 {
        let (key, value) = (format!("k{number}"), format!("v{number}"));
        assert_eq!(cluster.ask_key(1 + number % 3, &key, &set(&value)), Reply::Ok);
        for node in 1..=3 {
            assert_eq!(cluster.ask_key(node, &key, &READ), text(&value), "{key} at {node}");
        }
    }
    assert_eq!(cluster.ask_key(1, "k0", &Op::Key(KeyOp::Delete)), Reply::Int(1));
    assert_eq!(cluster.ask_key(2, "k0", &READ), Reply::Nil);
    for round in 1..=30 {
        assert_eq!(cluster.ask_key(1 + round % 3, "hits", &INCREMENT), Reply::Int(round as i64));
    }
}

#[test]
fn a_node_that_is_cut_off_takes_writes_at_one_and_nothing_is_lost_when_it_is_back() {
    let mut cluster = carts();
    cluster.ask_key(1, "cart", &add(&["milk"]));
    cluster.cut_off = Some(NodeId(3));
    cluster.ticks(50);
    let refused = cluster.operate(3, "cart", &add(&["lost"]), None).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::ShardUnavailable);
    cluster.operate(3, "cart", &add(&["bread"]), Some(Level::One)).unwrap();
    cluster.ask_key(1, "cart", &add(&["eggs"]));
    cluster.ask_key(2, "cart", &Op::Set(SetOp::Remove(vec!["milk".into()])));
    for _ in 0..5 {
        cluster.operate(3, "hits", &INCREMENT, Some(Level::One)).unwrap();
        cluster.ask_key(1, "hits", &INCREMENT);
    }
    assert_eq!(cluster.operate(3, "hits", &READ, Some(Level::One)).unwrap(), text("5"));
    cluster.cut_off = None;
    cluster.ticks(50);
    for node in 1..=3 {
        for level in [Level::One, Level::Quorum, Level::All] {
            let cart = members(cluster.operate(node, "cart", &MEMBERS, Some(level)).unwrap());
            assert_eq!(cart, ["bread", "eggs"].map(str::to_owned).into(), "at {node} and {level}");
            assert_eq!(cluster.operate(node, "hits", &READ, Some(level)).unwrap(), text("10"), "at {node} and {level}");
        }
    }
}

#[test]
fn what_a_dead_coordinator_owed_comes_by_repair_and_what_was_removed_stays_so() {
    let mut cluster = carts();
    let keys: Vec<_> = (0..150).map(|number| format!("k{number}")).collect();
    for key in &keys {
        cluster.operate(1, key, &set("old"), Some(Level::All)).unwrap();
    }
    cluster.cut_off = Some(NodeId(3));
    cluster.ticks(50);
    for (number, key) in keys.iter().enumerate() {
        let op = if number % 3 == 0 { Op::Key(KeyOp::Delete) } else { set("new") };
        cluster.ask_key(1, key, &op);
    }
    // It dies with all that it would have sent again.
    cluster.nodes.remove(&NodeId(1));
    cluster.ticks(50);
    cluster.cut_off = None;
    cluster.ticks(300);
    for (number, key) in keys.iter().enumerate() {
        let wanted = if number % 3 == 0 { Reply::Nil } else { text("new") };
        assert_eq!(cluster.operate(3, key, &READ, Some(Level::One)).unwrap(), wanted, "{key}");
    }
    let rounds = cluster.nodes.values().map(|one| one.node.metrics().rounds).sum::<u64>();
    assert!(rounds > 0, "nothing was repaired");
}

#[test]
fn a_newcomer_gets_all_values() {
    let mut cluster = carts();
    for number in 0..150 {
        cluster.ask_key(1, &format!("k{number}"), &set(&format!("v{number}")));
    }
    cluster.add_node(4);
    cluster.until("the newcomer is there", |cluster| cluster.objects().contains_key("nodes/n4"));
    let mut drained = match cluster.objects().remove("nodes/n2") {
        Some(Object::Node(node)) => node,
        other => panic!("{other:?}"),
    };
    drained.spec.schedule = Schedule::Drain;
    cluster.write(Object::Node(drained));
    let shards = |cluster: &mut Cluster| -> Vec<_> {
        let shard = |object| match object {
            Object::Shard(shard) if shard.spec.table == "carts" => Some(shard),
            _ => None,
        };
        cluster.objects().into_values().filter_map(shard).collect()
    };
    cluster.until("the newcomer has the place of the one that is drained", |cluster| {
        shards(cluster).iter().all(|shard| {
            let voters = &shard.status.voters;
            voters.len() == 3 && voters.contains(&NodeId(4)) && !voters.contains(&NodeId(2))
        })
    });
    for number in 0..150 {
        let value = cluster.operate(4, &format!("k{number}"), &READ, Some(Level::One)).unwrap();
        assert_eq!(value, text(&format!("v{number}")), "k{number}");
    }
}

#[test]
fn what_the_level_asks_for_must_be_there() {
    let mut cluster = carts();
    cluster.nodes.remove(&NodeId(2));
    cluster.ticks(50);
    cluster.ask_key(1, "a", &set("1"));
    let refused = cluster.operate(1, "a", &set("2"), Some(Level::All)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::ShardUnavailable);
    assert_eq!(cluster.ask_key(3, "a", &READ), text("1"));
}

#[test]
fn a_convergent_table_has_no_revisions_and_no_transactions() {
    let mut cluster = carts();
    let refused = cluster.call(NodeId(1), call("carts", get("a"))).unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::Unsupported(_)), "{refused:?}");
    let steps = vec![althing_api::keyed::Step { key: "a".into(), operation: READ.encode() }];
    let request = KeyedRequest::Transact { watches: Vec::new(), steps, access: Access::Read, moment: None };
    let refused = cluster.keyed(1, request).unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::Unsupported(_)), "{refused:?}");
}

#[test]
fn a_table_is_counted_scanned_and_emptied_shard_by_shard() {
    let mut cluster = carts();
    for number in 0..40 {
        cluster.ask_key(1, &format!("k{number}"), &set("v"));
    }
    let group = |object| match object {
        Object::Shard(shard) if shard.spec.table == "carts" => Some(shard.spec.group),
        _ => None,
    };
    let groups: Vec<_> = cluster.objects().into_values().filter_map(group).collect();
    assert_eq!(groups.len(), 4);
    let ask = |cluster: &mut Cluster, group, request| {
        let call =
            althing_api::Call { target: althing_api::Target::Group(group), ..call("carts", Request::Keyed(request)) };
        match cluster.call(NodeId(2), call).unwrap().body {
            Body::Keyed(answer) => answer,
            other => panic!("{other:?}"),
        }
    };
    let mut found = BTreeSet::new();
    for group in &groups {
        let mut after = None;
        loop {
            let scan = KeyedRequest::Scan { after, limit: 3, pattern: Some("k*".into()), kind: Some("string".into()) };
            let KeyedAnswer::Page { keys, after: next } = ask(&mut cluster, *group, scan) else { panic!() };
            found.extend(keys);
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    assert_eq!(found.len(), 40);
    let mut flushed = 0;
    for group in &groups {
        let KeyedAnswer::Flushed(count) = ask(&mut cluster, *group, KeyedRequest::Flush) else { panic!() };
        flushed += count;
        assert_eq!(ask(&mut cluster, *group, KeyedRequest::Count), KeyedAnswer::Count(0));
    }
    assert_eq!(flushed, 40);
    assert_eq!(cluster.operate(3, "k7", &READ, Some(Level::All)).unwrap(), Reply::Nil);
}
