//! What an operator does with a cluster that runs: look at it, stop a node of it, take a snapshot and make another cluster
//! from that.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use althing_etcd_proto::etcdserverpb as pb;
use common::Cluster;
use pb::maintenance_client::MaintenanceClient;
use rustix::process::{Pid, Signal, kill_process_group};

fn run(args: &[&str]) -> Output {
    Command::new(common::binary()).args(args).output().unwrap()
}

/// What the program says on standard output when it succeeds.
fn told(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn hash_kv(address: &str, revision: i64) -> (u32, i64) {
    let request = pb::HashKvRequest { revision };
    let answer = MaintenanceClient::new(common::channel(address)).hash_kv(request).await.unwrap().into_inner();
    (answer.hash, answer.hash_revision)
}

/// Puts on one connection until told to stop: how many, and the longest that one took. No put may fail.
async fn put_steadily(address: String, stop: Arc<AtomicBool>) -> (u64, Duration) {
    let mut client = common::kv(&address);
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        common::put(&mut client, "steady", &count.to_string()).await.unwrap();
        slowest = slowest.max(begin.elapsed());
        count += 1;
    }
    (count, slowest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_hands_over_first_and_clients_of_others_notice_nothing() {
    let mut cluster = Cluster::start(3).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let other = (leader + 1) % 3;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn(put_steadily(cluster.nodes[other].client.clone(), stop.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
        let old = common::status(&cluster.nodes[other].client).await.unwrap();
        assert_eq!(cluster.stop(leader), Some(0));
        // No election timeout has passed since the end of the process: who leads now was handed the leadership.
        let new = common::status(&cluster.nodes[other].client).await.unwrap();
        assert!(new.leader != 0 && new.leader != old.leader, "{old:?} {new:?}");
        stop.store(true, Ordering::Relaxed);
        let (count, slowest) = writer.await.unwrap();
        println!("{count} puts while the leader was stopped; the slowest took {slowest:?}");
        assert!(count > 0);
        cluster.start_node(leader);
        cluster.wait_until_serving().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_has_the_same_data_and_the_same_hash() {
    let old = Cluster::start(1).await;
    let address = old.nodes[0].client.clone();
    let mut client = common::kv(&address);
    let mut revision = 0;
    for number in 0..300 {
        revision = common::put(&mut client, &format!("key/{:03}", number % 200), &number.to_string()).await.unwrap();
    }
    client.compact(pb::CompactionRequest { revision, physical: true }).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot").display().to_string();
    told(&["snapshot", "save", &file, "--endpoints", &address]);

    let mut new = Cluster::prepare(3);
    let members = new.initial_cluster();
    for node in &new.nodes {
        let data = node.dir.display().to_string();
        let place = ["--data-dir", &data, "--name", &node.name, "--cluster", "althing", "--initial-cluster", &members];
        told(&[&["snapshot", "restore", &file, "--bump-revision", "0"][..], &place].concat());
    }
    for index in 0..3 {
        new.start_node(index);
    }
    new.wait_until_serving().await;
    let expected = (common::get_prefix(&address, "key/").await.unwrap(), hash_kv(&address, revision).await);
    assert_eq!((expected.0.len(), expected.1.1), (200, revision));
    for node in &new.nodes {
        let found = (common::get_prefix(&node.client, "key/").await.unwrap(), hash_kv(&node.client, revision).await);
        assert_eq!(found, expected, "on {}", node.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_every_node_and_fails_when_one_is_gone() {
    let mut cluster = Cluster::start(3).await;
    let endpoints = cluster.endpoints().join(",");
    // A node is listed with its address once it has published it.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !run(&["status", "--endpoints", &endpoints]).status.success() {
        assert!(Instant::now() < deadline, "{:?}", run(&["status", "--endpoints", &endpoints]));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let table = told(&["status", "--endpoints", &endpoints]);
    assert!(table.starts_with("NAME"), "{table}");
    for node in &cluster.nodes {
        let line = table.lines().find(|line| line.starts_with(&node.name)).unwrap();
        assert!(line.contains(&node.client), "{line}");
    }
    let rows: serde_json::Value =
        serde_json::from_str(&told(&["status", "--endpoints", &endpoints, "-o", "json"])).unwrap();
    let rows = rows.as_array().unwrap();
    let with_role = |role: &str| rows.iter().filter(|row| row["role"] == role).count();
    assert_eq!((rows.len(), with_role("leader"), with_role("follower")), (3, 1, 2), "{rows:?}");

    cluster.kill(2);
    let output = run(&["status", "--endpoints", &cluster.nodes[0].client]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("unreachable"), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 of 3 nodes are not well"), "{output:?}");
}

#[tokio::test]
async fn the_log_of_a_stopped_node_can_be_looked_into() {
    let mut cluster = Cluster::start(1).await;
    let mut client = common::kv(&cluster.nodes[0].client);
    for number in 0..5 {
        common::put(&mut client, &format!("key {number}"), "value").await.unwrap();
    }
    cluster.kill(0);
    let table = told(&["wal", "inspect", &cluster.nodes[0].dir.display().to_string()]);
    let mut lines = table.lines();
    let head: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["SEGMENT", "OFFSET", "BATCH", "EPOCH", "DURABLE-TO", "GROUP", "KIND", "INDEX", "BYTES", "STATE"]);
    let rows: Vec<Vec<_>> = lines.map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.iter().all(|row| row.len() == head.len()), "{table}");
    let entries = rows.iter().filter(|row| row[5] == "1" && row[6] == "Entries" && row[9] == "valid");
    let entries: Vec<u64> = entries.map(|row| row[7].parse().unwrap()).collect();
    assert!(entries.len() >= 5 && entries.is_sorted(), "{table}");
    assert!(rows.iter().any(|row| row[6] == "HardState"), "{table}");
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = told(&["completions", shell]);
        for command in ["dev", "server", "status", "snapshot", "wal", "bench"] {
            assert!(script.contains(command), "{command} in the completions of {shell}");
        }
    }
}

/// `althing dev --processes` in a process group of its own, as a shell starts it, once it serves; and an endpoint.
fn dev(dir: &Path, base_port: u16) -> (Child, String) {
    let mut command = Command::new(common::binary());
    command.args(["dev", "--processes", "--json", "--base-port", &base_port.to_string(), "--dir"]).arg(dir);
    let mut child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    (child, said["nodes"][1]["etcd"].as_str().unwrap().to_owned())
}

/// What a terminal does on Ctrl-C: every process of the group gets the signal at the same time.
fn ctrl_c(child: Child) -> Option<i32> {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
    let code = common::end_of(child);
    assert!(kill_process_group(group, Signal::KILL).is_err(), "a node outlives its cluster");
    code
}

#[tokio::test]
async fn ctrl_c_stops_a_cluster_of_processes_and_the_second_start_finds_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let port = common::free_base_port();
    let (child, endpoint) = dev(dir.path(), port);
    let revision = common::put(&mut common::kv(&endpoint), "kept", "value").await.unwrap();
    assert_eq!(ctrl_c(child), Some(0));
    let (child, endpoint) = dev(dir.path(), port);
    let found = common::get_prefix(&endpoint, "kept").await.unwrap();
    assert_eq!(found, [("kept".to_owned(), "value".to_owned(), revision)]);
    assert_eq!(ctrl_c(child), Some(0));
}
