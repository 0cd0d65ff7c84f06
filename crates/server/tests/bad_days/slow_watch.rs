//! Clients that open watches and never read them.

use std::time::{Duration, Instant};

use crate::common::{self, Cluster};

/// Watches that nobody reads, each on a connection of its own.
const STALLED: usize = 16;
/// One event.
const VALUE_BYTES: usize = 64 * 1024;
/// Events in each half of the test: 192 MiB, far more than what may wait for one stream.
const EVENTS: usize = 3072;

/// Resident bytes of a process.
fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// Writes the same few keys again and again; returns the last revision and the slowest put.
async fn write(address: &str, value: &str) -> (i64, Duration) {
    let mut client = common::kv(address);
    let (mut revision, mut slowest) = (0, Duration::ZERO);
    for event in 0..EVENTS {
        let begin = Instant::now();
        revision = common::put(&mut client, &format!("slow/{}", event % 8), value).await.unwrap();
        slowest = slowest.max(begin.elapsed());
    }
    (revision, slowest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_its_watch_costs_bounded_memory_and_loses_nothing() {
    let cluster = Cluster::start(1).await;
    let (address, pid) = (cluster.nodes[0].client.clone(), cluster.pid(0).unwrap());
    let value = "v".repeat(VALUE_BYTES);
    let (before, _) = write(&address, &value).await;
    let alone_bytes = resident_bytes(pid);

    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(common::watch(common::channel(&address), "slow/", "slow0", before + 1).await.unwrap());
    }
    let (last, slowest) = write(&address, &value).await;
    let grown_bytes = resident_bytes(pid).saturating_sub(alone_bytes);
    println!("{STALLED} watches never read cost {} MiB; the slowest put took {slowest:?}", grown_bytes >> 20);
    assert!(grown_bytes < 384 << 20, "{} MiB for {STALLED} watches that nobody reads", grown_bytes >> 20);
    assert!(slowest < Duration::from_secs(5), "other clients are served: {slowest:?}");

    // One of them wakes up and reads on: everything is there, in order, once.
    let mut watch = stalled.swap_remove(0);
    let mut next = before + 1;
    while next <= last {
        let response = tokio::time::timeout(Duration::from_secs(20), watch.events.message()).await;
        let response = response.expect("the watch goes on").unwrap().expect("the watch was not cancelled");
        assert!(!response.canceled, "{response:?}");
        for event in response.events {
            assert_eq!(event.kv.unwrap().mod_revision, next);
            next += 1;
        }
    }
}
