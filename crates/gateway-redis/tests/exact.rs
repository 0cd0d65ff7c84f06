//! Commands of several steps on a strong table, while others change their keys in between.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use althing_gateway_redis::hub::Alone;
use althing_gateway_redis::run::kind_name;
use althing_gateway_redis::{Admission, Config, Entrance, Gateway, Peer, Standing, Table, TableKind, Tables, converse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[allow(dead_code)] // other tests need the rest
mod support {
    use super::*;

    include!("support/node.rs");
}

use althing_api::keyed::{Access, KeyedRequest};
use althing_api::{Call, Health, Reply, Request, Service, SnapshotStream, Target, WatchSession};
use althing_datatypes::Op;
use althing_datatypes::op::{KeyOp, SetOp, StringOp};
use althing_env::Clock;
use althing_types::{ClusterId, NodeId};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use support::{HandClock, MemoryNode, TwoTables};

/// What others do to the table just before a transaction that writes is taken.
type Meddling = VecDeque<(&'static str, Op)>;

/// A node on which others are busy.
struct BusyNode {
    node: MemoryNode,
    meddling: Mutex<Meddling>,
    /// Transactions that write, done or not.
    tries: Mutex<usize>,
}

impl Service for BusyNode {
    fn call(&self, call: Call) -> Reply {
        let Request::Keyed(request) = &call.request else { panic!("a gateway of keyed values asks for nothing else") };
        if matches!(request, KeyedRequest::Transact { access: Access::Write, .. }) {
            *self.tries.lock().unwrap() += 1;
            if let Some((key, op)) = self.meddling.lock().unwrap().pop_front() {
                self.node.call(one(key, &op));
            }
        }
        self.node.call(call)
    }

    fn watch(&self, target: Target, require_leader: bool) -> Box<dyn WatchSession> {
        self.node.watch(target, require_leader)
    }

    fn snapshot(&self, target: Target) -> SnapshotStream {
        self.node.snapshot(target)
    }

    fn cluster(&self) -> ClusterId {
        self.node.cluster()
    }

    fn member(&self) -> NodeId {
        self.node.member()
    }

    fn health(&self) -> Health {
        self.node.health()
    }

    fn metrics(&self) -> String {
        String::new()
    }
}

fn one(key: &'static str, op: &Op) -> Call {
    Call::new(Request::Keyed(KeyedRequest::Operate {
        key: key.into(),
        operation: althing_datatypes::Message::encode(op),
        access: Access::Write,
        level: None,
    }))
}

/// What a connection to a strong table is told that says all this, and how many transactions were tried.
fn told(said: &[&str], meddling: Meddling) -> (String, usize) {
    let tables = TwoTables { port: 6379, entrance: Entrance::Open };
    let said: Vec<_> = ["SELECT 2"].iter().chain(said).copied().collect();
    let (answer, tries) = told_of(Arc::new(tables), &said, meddling);
    (answer.strip_prefix("+OK ").unwrap_or_default().to_owned(), tries)
}

fn told_of(tables: Arc<dyn Tables>, said: &[&str], meddling: Meddling) -> (String, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(HandClock(Mutex::new(1_700_000_000_000)));
    let node = Arc::new(BusyNode {
        node: MemoryNode::new(Arc::clone(&clock)),
        meddling: Mutex::new(meddling),
        tries: Mutex::default(),
    });
    let gateway = Gateway::new(Arc::clone(&node) as Arc<_>, tables, clock, Box::new(Alone), Config::default());
    let answer = runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (_stop, stopping) = tokio::sync::watch::channel(());
        tokio::spawn(converse(server, String::new(), String::new(), gateway, stopping));
        let lines = said.iter().chain(&["QUIT"]).map(|line| format!("{line}\r\n"));
        client.write_all(lines.collect::<String>().as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    });
    let tries = *node.tries.lock().unwrap();
    let answer = answer.strip_suffix("+OK\r\n").unwrap();
    (answer.replace("\r\n", " ").trim().to_owned(), tries)
}

fn add(member: &'static str) -> Op {
    SetOp::Add(vec![Bytes::from(member)]).into()
}

fn busy(deeds: impl IntoIterator<Item = (&'static str, Op)>) -> Meddling {
    deeds.into_iter().collect()
}

/// Keys whose bytes have equal sums lie in one shard here: `s`, `w` and `o` among them.
#[test]
fn what_is_stored_is_what_all_sources_hold_at_one_moment() {
    let said = ["SADD s a", "SADD w b", "SUNIONSTORE o s w", "SMEMBERS o"];
    let (answer, tries) = told(&said, busy([("w", add("c")), ("s", add("d"))]));
    assert_eq!(answer, ":1 :1 :4 *4 $1 a $1 b $1 c $1 d");
    assert_eq!(tries, 3);
}

#[test]
fn a_key_that_is_renamed_takes_with_it_what_came_meanwhile() {
    let (answer, tries) = told(&["SADD s a", "RENAME s w", "SMEMBERS w", "EXISTS s"], busy([("s", add("b"))]));
    assert_eq!(answer, ":1 +OK *2 $1 a $1 b :0");
    assert_eq!(tries, 2);
}

#[test]
fn what_is_to_be_made_only_if_nothing_is_there_is_not_made_over_something() {
    let (answer, _) = told(&["SADD s a", "RENAMENX s w", "EXISTS s w"], busy([("w", add("b"))]));
    assert_eq!(answer, ":1 :0 :2");
    let (answer, _) = told(&["MSETNX s 1 w 2", "EXISTS s"], busy([("w", add("b"))]));
    assert_eq!(answer, ":0 :0");
}

#[test]
fn a_transaction_of_composed_commands_is_tried_until_it_is_of_one_moment() {
    let said = ["SADD s a", "MULTI", "SUNIONSTORE o s", "INCR w", "SMEMBERS o", "EXEC", "GET w"];
    let increment = || ("w", Op::from(StringOp::Increment(10)));
    let (answer, tries) = told(&said, busy([("s", add("b")), increment(), increment()]));
    assert_eq!(answer, ":1 +OK +QUEUED +QUEUED +QUEUED *3 :2 :21 *2 $1 a $1 b $2 21");
    assert_eq!(tries, 4);
}

#[test]
fn a_transaction_that_is_tried_again_still_minds_what_is_watched() {
    let said = ["SADD s a", "WATCH s", "MULTI", "SUNIONSTORE o s", "EXEC", "EXISTS o"];
    let (answer, tries) = told(&said, busy([("s", add("b"))]));
    assert_eq!(answer, ":1 +OK +OK +QUEUED *-1 :0");
    assert_eq!(tries, 1);
}

#[test]
fn who_never_gets_through_is_told_that_nothing_was_done() {
    let meddling = std::iter::repeat_with(|| ("s", Op::from(StringOp::Increment(1)))).take(1000);
    let (answer, tries) = told(&["INCR s", "RENAME s w", "EXISTS w"], busy(meddling));
    assert!(answer.starts_with(":1 -TRYAGAIN others change these keys all the time; nothing was done"), "{answer}");
    assert!(answer.ends_with(" :0"), "{answer}");
    assert_eq!(tries, 64);
}

#[test]
fn writes_that_need_not_know_what_was_there_are_done_at_the_first_try() {
    let (answer, tries) = told(&["MSET s 1 w 2", "MGET s w"], busy([("w", add("b"))]));
    assert_eq!(answer, "+OK *2 $1 1 $1 2");
    assert_eq!(tries, 1);
    let (answer, tries) = told(&["DEL s w"], busy([("w", Op::from(KeyOp::Delete))]));
    assert_eq!((answer.as_str(), tries), (":0", 1));
}

/// A node that hears of its tables late: the first so many questions for database 0 find none.
struct Late {
    asked: AtomicUsize,
    tables: TwoTables,
}

impl Tables for Late {
    fn by_index(&self, index: u32) -> Option<Arc<Table>> {
        // The connection itself asks first, then its first command.
        let is_known = index != 0 || self.asked.fetch_add(1, Ordering::Relaxed) >= 2;
        self.tables.by_index(index).filter(|_| is_known)
    }

    fn by_name(&self, name: &str) -> Option<Arc<Table>> {
        self.tables.by_name(name)
    }

    fn all(&self) -> Vec<Arc<Table>> {
        self.tables.all()
    }

    fn peers(&self) -> Vec<Peer> {
        self.tables.peers()
    }
}

#[test]
fn who_comes_before_any_table_is_known_reaches_none_and_later_its_own() {
    let tables = Late { asked: AtomicUsize::new(0), tables: TwoTables { port: 6379, entrance: Entrance::Open } };
    let (answer, _) = told_of(Arc::new(tables), &["SET s 1", "PING", "SET s 2", "GET s"], Meddling::new());
    assert!(answer.starts_with("-ERR no table is database 0, or this node does not know of it yet"), "{answer}");
    assert!(answer.ends_with(" +PONG +OK $1 2"), "{answer}");
}
