//! The membership of real processes: who looks alive, who does not, and whose datagrams are not accepted. The store serves
//! whatever the membership thinks.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use althing_gossip::Seal;
use althing_types::ClusterId;
use common::Cluster;

const KEY: &str = "a secret of this test";

/// The metrics page of a node.
fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// The value of one sample of a node; zero if there is none.
fn sample(address: &str, name: &str) -> f64 {
    let page = metrics(address);
    let found = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
    found.unwrap_or(0.0)
}

/// Waits until a sample of a node has a value.
fn until(address: &str, name: &str, holds: impl Fn(f64) -> bool) -> Duration {
    let begin = Instant::now();
    loop {
        let value = sample(address, name);
        if holds(value) {
            return begin.elapsed();
        }
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{name} of {address} is still {value}:\n{}",
            metrics(address)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn members(state: &str) -> String {
    format!("althing_gossip_members{{state=\"{state}\"}}")
}

async fn with_key(size: usize, key: &str) -> Cluster {
    let mut cluster = Cluster::prepare(size);
    cluster.more_args = vec!["--cluster-key".into(), key.into()];
    for index in 0..size {
        cluster.start_node(index);
    }
    cluster.wait_until_serving().await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_looks_down_while_the_store_serves_and_comes_back() {
    let mut cluster = with_key(3, KEY).await;
    for node in &cluster.nodes {
        until(&node.client, &members("alive"), |alive| alive == 2.0);
    }
    cluster.kill(2);
    let mut client = common::kv(&cluster.nodes[0].client);
    common::put(&mut client, "k", "while a node is gone").await.unwrap();
    for index in [0, 1] {
        until(&cluster.nodes[index].client, &members("down"), |down| down == 1.0);
    }
    common::put(&mut client, "k", "and looks down").await.unwrap();
    let status = Command::new(common::binary())
        .args(["status", "--endpoints", &cluster.nodes[0].client, "--timeout-ms", "1000"])
        .output()
        .unwrap();
    let table = String::from_utf8(status.stdout).unwrap();
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(table.lines().next().unwrap().contains("LIVENESS"), "{table}");
    assert!(row("n2").contains("alive, phi ") && row("n3").contains("down for "), "{table}");

    cluster.start_node(2);
    cluster.wait_until_serving().await;
    let back = until(&cluster.nodes[0].client, &members("alive"), |alive| alive == 2.0);
    println!("back after {back:?}");
    for index in [0, 2] {
        until(&cluster.nodes[index].client, &members("alive"), |alive| alive == 2.0);
    }

    assert_eq!(cluster.stop(1), Some(0));
    until(&cluster.nodes[0].client, &members("left"), |left| left == 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_under_another_key_is_dropped_and_counted() {
    let cluster = with_key(1, KEY).await;
    let node = &cluster.nodes[0];
    let header = common::status(&node.client).await.unwrap().header.unwrap();
    let id = ClusterId(header.cluster_id);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let strangers = [
        ("forged", Seal::new(id, Some(b"a guess")).close(b"payload")),
        ("forged", Seal::new(id, None).close(b"payload")),
        ("foreign_cluster", Seal::new(ClusterId(id.get() + 1), Some(KEY.as_bytes())).close(b"payload")),
        ("malformed", Seal::new(id, Some(KEY.as_bytes())).close(b"payload")),
        ("oversized", vec![0; 1_500].into()),
        ("truncated", vec![0; 10].into()),
    ];
    for (_, datagram) in &strangers {
        socket.send_to(datagram, &node.peer).unwrap();
    }
    for (reason, _) in &strangers {
        let wanted = strangers.iter().filter(|(other, _)| other == reason).count() as f64;
        let name = format!("althing_gossip_datagrams_dropped_total{{reason=\"{reason}\"}}");
        until(&node.client, &name, |dropped| dropped == wanted);
    }
    assert!(common::serves(&node.client).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_ignored() {
    let cluster = with_key(1, KEY).await;
    let node = &cluster.nodes[0];
    // A node of another cluster believes that its second member stands at the address of this one.
    let mut other = Cluster::prepare(1);
    let stranger = &other.nodes[0];
    let both = format!("n1=http://{},n2=http://{}", stranger.peer, node.peer);
    let mut command = Command::new(common::binary());
    command
        .args(["server", "--name", "n1", "--cluster", "other", "--initial-cluster", &both, "--cluster-key", KEY])
        .args(["--listen-client", &stranger.client, "--listen-peer", &stranger.peer])
        .arg("--data-dir")
        .arg(&stranger.dir);
    other.start_command(0, command);
    until(&node.client, "althing_gossip_datagrams_dropped_total{reason=\"foreign_cluster\"}", |dropped| dropped >= 1.0);
    assert_eq!(sample(&node.client, &members("alive")), 0.0);
    assert_eq!(sample(&node.client, "althing_gossip_datagrams_received_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_different_keys_serve_together_and_do_not_hear_each_other() {
    // The membership decides nothing: the store works although no datagram is accepted.
    let mut cluster = Cluster::prepare(3);
    for index in 0..3 {
        cluster.more_args = vec!["--cluster-key".into(), format!("the secret of node {index}")];
        cluster.start_node(index);
    }
    cluster.wait_until_serving().await;
    let mut client = common::kv(&cluster.nodes[0].client);
    common::put(&mut client, "k", "v").await.unwrap();
    until(&cluster.nodes[0].client, "althing_gossip_datagrams_dropped_total{reason=\"forged\"}", |forged| {
        forged >= 1.0
    });
    common::put(&mut client, "k", "w").await.unwrap();
}
