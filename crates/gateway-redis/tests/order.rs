//! Commands of one connection that are under way together: answered in their order, and never past each other on one key.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use althing_gateway_redis::hub::Alone;
use althing_gateway_redis::run::kind_name;
use althing_gateway_redis::{Admission, Config, Entrance, Gateway, Peer, Standing, Table, TableKind, Tables, converse};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[allow(dead_code)] // other tests need the rest
mod support {
    use super::*;

    include!("support/node.rs");
}

use althing_api::{Answer, Call, Health, Reply, Service, SnapshotStream, Target, WatchSession};
use althing_env::Clock;
use althing_types::{ClusterId, NodeId};
use std::sync::{Arc, Mutex};
use support::{HandClock, MemoryNode, TwoTables};

/// A node that takes its time: each operation is done, and answered, after a delay of its own.
struct SlowNode {
    node: Arc<MemoryNode>,
    delays_ms: Mutex<std::iter::Cycle<std::vec::IntoIter<u64>>>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Service for SlowNode {
    fn call(&self, call: Call) -> Reply {
        let (sender, reply) = Reply::channel();
        let delay = Duration::from_millis(self.delays_ms.lock().unwrap().next().unwrap());
        let (node, under_way) = (Arc::clone(&self.node), Arc::clone(&self.under_way));
        self.most.fetch_max(under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let answer: Result<Answer, _> = node.call(call).await;
            under_way.fetch_sub(1, Ordering::Relaxed);
            let _ = sender.send(answer);
        });
        reply
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

/// What a connection is told that says all this at once, and how many operations were under way at the most.
fn told(said: &str, delays_ms: Vec<u64>) -> (String, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let most = Arc::<AtomicUsize>::default();
    let clock: Arc<dyn Clock> = Arc::new(HandClock(Mutex::new(1_700_000_000_000)));
    let node = SlowNode {
        node: Arc::new(MemoryNode::new(Arc::clone(&clock))),
        delays_ms: Mutex::new(delays_ms.into_iter().cycle()),
        under_way: Arc::default(),
        most: Arc::clone(&most),
    };
    let tables = TwoTables { port: 6379, entrance: Entrance::Open };
    let gateway = Gateway::new(Arc::new(node), Arc::new(tables), clock, Box::new(Alone), Config::default());
    let answer = runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (_stop, stopping) = tokio::sync::watch::channel(());
        tokio::spawn(converse(server, String::new(), String::new(), gateway, stopping));
        client.write_all(said.as_bytes()).await.unwrap();
        client.write_all(b"QUIT\r\n").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    });
    (answer, most.load(Ordering::Relaxed))
}

#[test]
fn operations_on_different_keys_are_under_way_together() {
    let said: String = (0..20).map(|key| format!("SET k{key} {key}\r\n")).collect();
    let (answer, most) = told(&said, vec![5]);
    assert_eq!(answer, "+OK\r\n".repeat(21));
    assert_eq!(most, 20);
}

#[test]
fn operations_on_one_key_go_to_the_node_as_one_and_are_answered_in_their_order() {
    for table in [0, 2] {
        let said: String = "INCR hits\r\n".repeat(100);
        let (answer, most) =
            told(&format!("SELECT {table}\r\n{said}APPEND hits x\r\nINCR hits\r\nGET hits\r\n"), vec![5]);
        let counted: String = (1..=100).map(|number| format!(":{number}\r\n")).collect();
        let error = "-ERR value is not an integer or out of range\r\n";
        assert_eq!(answer, format!("+OK\r\n{counted}:4\r\n{error}$4\r\n100x\r\n+OK\r\n"), "database {table}");
        assert_eq!(most, 1, "database {table}");
    }
}

#[test]
fn a_write_behind_a_read_of_its_key_waits_for_it_and_nothing_else_does() {
    let (answer, most) = told("SET a 1\r\nGET a\r\nSET a 2\r\nGET a\r\nSET b 3\r\nGET b\r\n", vec![7, 3]);
    assert_eq!(answer, "+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n+OK\r\n$1\r\n3\r\n+OK\r\n");
    assert_eq!(most, 2);
}

#[test]
fn on_a_strong_table_they_are_not() {
    let said: String = (0..20).map(|key| format!("SET k{key} {key}\r\n")).collect();
    let (_, most) = told(&format!("SELECT 2\r\n{said}"), vec![5]);
    assert_eq!(most, 1);
}

#[test]
fn a_command_on_many_keys_sees_all_that_was_said_before_it() {
    let (answer, _) = told("SET a 1\r\nSET b 2\r\nMGET a b\r\nDEL a b\r\nGET a\r\n", vec![9, 1, 5, 2]);
    assert_eq!(answer, "+OK\r\n+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n:2\r\n$-1\r\n+OK\r\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn delays_change_no_answer(
        commands in proptest::collection::vec((0usize..6, 0usize..3), 1..60),
        delays_ms in proptest::collection::vec(0u64..20, 1..20),
    ) {
        let line = |&(verb, key): &(usize, usize)| {
            let form = ["INCR k#", "GET k#", "SET k# 7", "STRLEN k#", "DEL k#", "NOSUCH k#"][verb];
            format!("{}\r\n", form.replace('#', &key.to_string()))
        };
        let said: String = commands.iter().map(line).collect();
        prop_assert_eq!(told(&said, delays_ms).0, told(&said, vec![0]).0);
    }
}
