//! The whole story of a cluster that is described and not assembled, told by real processes under a running load: three nodes, a
//! table of 64 shards, two nodes that join by themselves, one that is killed and whose replicas are rebuilt, one that is
//! drained. No acknowledged write may be lost, and no write may fail that is tried again.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]

mod common;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use althing_etcd_proto::etcdserverpb as pb;
use common::Cluster;
use serde_json::Value;
use tonic::Request;
use tonic::metadata::MetadataValue;

/// How long the control plane may take for one step.
const PATIENCE: Duration = Duration::from_secs(120);
/// Clients that write, each to keys of its own.
const WRITERS: usize = 6;

/// A request of the table `orders`.
fn of_orders<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("althing-table", MetadataValue::from_static("orders"));
    request
}

/// What all writers have done.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    /// Tries that failed and were made again.
    retried: AtomicU64,
}

/// Writes one key after the other until told to stop; each is tried at one node after the other until it is acknowledged. How
/// many there are in the end.
async fn write(writer: usize, endpoints: Vec<String>, tally: Arc<Tally>) -> u64 {
    let mut clients: Vec<_> = endpoints.iter().map(|endpoint| common::kv(endpoint)).collect();
    let (mut number, mut at) = (0, writer);
    while !tally.stop.load(Ordering::Relaxed) {
        let (key, value) = (key_of(writer, number), format!("value {number} of {writer}"));
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let put = pb::PutRequest { key: key.clone().into(), value: value.clone().into(), ..Default::default() };
            let many = clients.len();
            let client = &mut clients[at % many];
            let answer = tokio::time::timeout(Duration::from_secs(8), client.put(of_orders(put))).await;
            match answer {
                Ok(Ok(_)) => break,
                Ok(Err(_)) | Err(_) => {
                    tally.retried.fetch_add(1, Ordering::Relaxed);
                    at += 1;
                    assert!(Instant::now() < deadline, "{key} was refused for a minute: {answer:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        tally.acknowledged.fetch_add(1, Ordering::Relaxed);
        number += 1;
    }
    number
}

fn key_of(writer: usize, number: u64) -> String {
    format!("w{writer}/{number:08}")
}

/// Reads every key back at one node.
async fn check(endpoint: &str, written: &[u64]) {
    let mut client = common::kv(endpoint);
    for (writer, count) in written.iter().enumerate() {
        for number in 0..*count {
            let key = key_of(writer, number);
            let range = pb::RangeRequest { key: key.clone().into(), ..Default::default() };
            let found = client.range(of_orders(range)).await.expect("a read succeeds when all is calm").into_inner();
            let value = found.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
            assert_eq!(value, Some(format!("value {number} of {writer}")), "{key} was acknowledged");
        }
    }
}

/// A command against whoever of these answers.
fn althing(endpoints: &[String], args: &[&str], stdin: &str) -> Result<String, String> {
    let mut child = Command::new(common::binary())
        .args(args)
        .args(["--endpoints", &endpoints.join(",")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be started");
    child.stdin.take().expect("it is piped").write_all(stdin.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The replicas of each node, by its name; nothing if nobody answers.
fn replicas(endpoints: &[String], node: &str) -> Option<u64> {
    let found = althing(endpoints, &["get", "node", node, "-o", "json"], "").ok()?;
    serde_json::from_str::<Value>(&found).ok()?["status"]["replicas"].as_u64()
}

/// Whether every replica of every shard is where it is wanted.
fn is_placed(endpoints: &[String]) -> bool {
    let found = althing(endpoints, &["get", "table", "orders", "-o", "json"], "").ok();
    let table = found.and_then(|found| serde_json::from_str::<Value>(&found).ok());
    table.is_some_and(|table| {
        let conditions = table["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().filter(|condition| condition["status"] == "True").count() == 2
    })
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// A node that joins by itself and does not outlive the test.
struct Newcomer {
    child: Child,
    client: String,
    _dir: tempfile::TempDir,
}

impl Newcomer {
    fn start(endpoints: &[String], name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = std::fs::File::create(dir.path().join("log")).expect("a log");
        let client = format!("127.0.0.1:{}", common::free_port());
        let peer = format!("127.0.0.1:{}", common::free_port());
        let child = Command::new(common::binary())
            .args(["server", "--name", name, "--join", &endpoints.join(",")])
            .args(["--listen-client", &client, "--listen-peer", &peer, "--data-dir"])
            .arg(dir.path().join("data"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary can be started");
        Self { child, client, _dir: dir }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.kill();
    }
}

const ORDERS: &str = "apiVersion: althing/v1\nkind: Table\nmetadata: {name: orders}\nspec: {shards: 64}\n";
const SHORT_GRACE: &str =
    "apiVersion: althing/v1\nkind: Cluster\nmetadata: {name: cluster}\nspec: {nodeGraceSeconds: 5}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_loses_a_node_and_empties_another_under_a_load_that_loses_nothing() {
    let cluster = Cluster::start(3).await;
    let founders = cluster.endpoints();
    until("the control plane has its objects", || althing(&founders, &["apply", "-f", "-"], SHORT_GRACE).is_ok()).await;
    althing(&founders, &["apply", "-f", "-", "--wait"], ORDERS).expect("the table is made");
    let tally = Arc::new(Tally::default());
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(writer, founders.clone(), Arc::clone(&tally)))).collect();

    let mut fourth = Newcomer::start(&founders, "n4");
    let fifth = Newcomer::start(&founders, "n5");
    until("the newcomers have their shares", || {
        ["n4", "n5"].iter().all(|node| replicas(&founders, node).is_some_and(|count| count >= 30))
    })
    .await;
    until("all is placed", || is_placed(&founders)).await;
    let grown = tally.acknowledged.load(Ordering::Relaxed);

    fourth.kill();
    until("the killed node's replicas are rebuilt", || replicas(&founders, "n4") == Some(0) && is_placed(&founders))
        .await;
    let rebuilt = tally.acknowledged.load(Ordering::Relaxed);

    althing(&founders, &["drain", "n2", "--wait", "--timeout", "120"], "").expect("the node is emptied");
    until("all is placed", || is_placed(&founders)).await;
    assert_eq!(replicas(&founders, "n2"), Some(0));

    tally.stop.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.expect("no write failed for good"));
    }
    // A founder, the one that was emptied, and one that joined.
    check(&founders[0], &written).await;
    check(&founders[1], &written).await;
    check(&fifth.client, &written).await;
    let (acknowledged, retried) = (written.iter().sum::<u64>(), tally.retried.load(Ordering::Relaxed));
    println!(
        "{acknowledged} writes acknowledged, {grown} before the kill and {rebuilt} before the drain; {retried} tries were \
         made again; none is lost"
    );
    assert!(grown > 0 && rebuilt > grown && acknowledged > rebuilt, "writes went on in every phase");
}
