//! Keyed values of strong tables on three nodes: linearizable, exact transactions, what has expired is removed.

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest, Step, Watched};
use althing_api::request::Body;
use althing_api::{Error, ErrorKind, Request};
use althing_datatypes::op::{ExpireIf, KeyOp, SetOp, StringOp, When};
use althing_datatypes::{Message, Op, OpError, Reply};
use althing_manifest::{Object, Table, TableSpec};
use althing_types::{NodeId, Revision};
use bytes::Bytes;

use super::Cluster;
use super::control::{call, cluster, get};

const INCREMENT: Op = Op::String(StringOp::Increment(1));
const READ: Op = Op::String(StringOp::Get);

/// A strong table with so many shards.
fn ledger(shards: u32) -> Cluster {
    let mut cluster = cluster();
    cluster.write(Object::Table(Table::new("ledger", TableSpec { shards, ..TableSpec::default() })));
    cluster.until("the table is ready", |cluster| match cluster.objects().get("tables/ledger") {
        Some(Object::Table(table)) => table.status.ready_shards == u64::from(shards),
        _ => false,
    });
    cluster
}

fn step(key: &str, op: &Op) -> Step {
    Step { key: Bytes::copy_from_slice(key.as_bytes()), operation: op.encode() }
}

impl Cluster {
    fn exactly(&mut self, node: u64, request: KeyedRequest) -> Result<KeyedAnswer, Error> {
        match self.call(NodeId(node), call("ledger", Request::Keyed(request)))?.body {
            Body::Keyed(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    fn operate_exactly(&mut self, node: u64, key: &str, op: &Op) -> Reply {
        let access = if op.is_read() { Access::Read } else { Access::Write };
        let Step { key, operation } = step(key, op);
        match self.exactly(node, KeyedRequest::Operate { key, operation, access, level: None }).unwrap() {
            KeyedAnswer::Operated(reply) => Result::<Reply, OpError>::decode(&reply).unwrap().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn transact(&mut self, node: u64, watches: Vec<Watched>, steps: Vec<Step>) -> Result<KeyedAnswer, Error> {
        self.exactly(node, KeyedRequest::Transact { watches, steps, access: Access::Write, moment: None })
    }
}

fn text(text: &str) -> Reply {
    Reply::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn any_node_changes_a_key_and_every_other_one_sees_it_at_once() {
    let mut cluster = ledger(4);
    for number in 0..30 {
        let (writer, reader) = (number % 3 + 1, (number + 1) % 3 + 1);
        assert_eq!(cluster.operate_exactly(writer, "hits", &INCREMENT), Reply::Int(number as i64 + 1));
        assert_eq!(cluster.operate_exactly(reader, "hits", &READ), text(&(number + 1).to_string()));
    }
    let found = super::control::value(cluster.call(NodeId(2), call("ledger", get("hits"))));
    assert_eq!(found, b"30", "a client of etcd sees the same");
}

#[test]
fn a_transaction_is_done_whole_or_not_at_all() {
    let mut cluster = ledger(1);
    let steps = || vec![step("a", &INCREMENT), step("s", &Op::Set(SetOp::Add(vec!["m".into()])))];
    let absent = Watched { key: "a".into(), revision: Revision(0) };
    let done = cluster.transact(1, vec![absent.clone()], steps()).unwrap();
    assert!(matches!(done, KeyedAnswer::Transacted { .. }), "{done:?}");
    assert_eq!(cluster.transact(2, vec![absent], steps()).unwrap(), KeyedAnswer::Aborted);
    assert_eq!(cluster.operate_exactly(3, "a", &READ), text("1"));
}

#[test]
fn keys_of_several_shards_are_refused_before_anything_is_done() {
    let mut cluster = ledger(16);
    let steps = (0..40).map(|number| step(&format!("k{number}"), &INCREMENT)).collect();
    let refused = cluster.transact(1, Vec::new(), steps).unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::CrossShard(_)), "{refused:?}");
    assert_eq!(cluster.operate_exactly(1, "k0", &READ), Reply::Nil);
}

#[test]
fn what_has_expired_is_removed_though_nobody_asks_for_it() {
    let mut cluster = ledger(1);
    cluster.operate_exactly(1, "k", &INCREMENT);
    let expire = KeyOp::Expire { when: When::In(300), condition: ExpireIf::Always };
    assert_eq!(cluster.operate_exactly(2, "k", &Op::Key(expire)), Reply::Int(1));
    assert_eq!(cluster.operate_exactly(3, "k", &READ), text("1"));
    let is_there = |cluster: &mut Cluster| match cluster.call(NodeId(3), call("ledger", get("k"))).unwrap().body {
        Body::Range(range) => range.count > 0,
        other => panic!("{other:?}"),
    };
    assert!(is_there(&mut cluster));
    cluster.until("the key is gone", |cluster| !is_there(cluster));
    assert_eq!(cluster.operate_exactly(1, "k", &READ), Reply::Nil);
}

#[test]
fn the_objects_of_the_cluster_are_no_keyed_values() {
    let mut cluster = cluster();
    let Step { key, operation } = step("tables/default", &INCREMENT);
    let request = KeyedRequest::Operate { key, operation, access: Access::Write, level: None };
    let refused = cluster.call(NodeId(1), call("meta", Request::Keyed(request))).unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::Unsupported(_)), "{refused:?}");
}
