//! A load with flushes and compactions, and no election without a cause. `ALTHING_SOAK_SECONDS` says for how long (the
//! default is small enough for every run of the tests), `ALTHING_SOAK_RATE` how many writes are begun each second (without
//! it, as many as there can be).

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use althing_etcd_proto::etcdserverpb as pb;
use common::Cluster;
use tokio::time::MissedTickBehavior;

const WRITERS: usize = 8;
const KEYS: usize = 10_000;
const VALUE_BYTES: usize = 4096;
/// If this process itself was kept waiting for so long, the machine may have kept a leader waiting as well: half of the
/// least election timeout.
const STALL: Duration = Duration::from_millis(75);

/// What runs beside the writers shares with them.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    writes: AtomicU64,
    errors: AtomicU64,
    revision: AtomicI64,
    /// The longest that the watchdog was woken too late, in milliseconds.
    stall_ms: AtomicU64,
}

/// How long each writer waits between the beginnings of two writes.
fn pace() -> Duration {
    match common::rounds("ALTHING_SOAK_RATE", 0) {
        0 => Duration::from_nanos(1),
        rate => Duration::from_secs(1) * WRITERS as u32 / u32::try_from(rate).unwrap(),
    }
}

async fn write(number: usize, address: String, load: Arc<Load>) {
    let mut client = common::kv(&address);
    let mut rng = fastrand::Rng::with_seed(number as u64);
    let mut begin = tokio::time::interval(pace());
    begin.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !load.stop.load(Ordering::Relaxed) {
        begin.tick().await;
        let value: String = std::iter::repeat_with(|| rng.alphanumeric()).take(VALUE_BYTES).collect();
        match common::put(&mut client, &format!("soak/{:05}", rng.usize(0..KEYS)), &value).await {
            Ok(revision) => {
                load.writes.fetch_add(1, Ordering::Relaxed);
                load.revision.fetch_max(revision, Ordering::Relaxed);
            }
            Err(_) => {
                load.errors.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Compacts all but the last few revisions, once per second.
async fn compact(address: String, load: Arc<Load>) {
    let mut client = common::kv(&address);
    while !load.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let revision = load.revision.load(Ordering::Relaxed) - 1000;
        if revision > 0 {
            // One that is compacted already is refused, which is as good.
            let _ = client.compact(pb::CompactionRequest { revision, physical: false }).await;
        }
    }
}

/// Sees how late this process is woken: a thread of its own, as nothing else of the test may keep it waiting.
fn watchdog(load: Arc<Load>) {
    const NAP: Duration = Duration::from_millis(10);
    while !load.stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        std::thread::sleep(NAP);
        let late = begin.elapsed().saturating_sub(NAP);
        load.stall_ms.fetch_max(late.as_millis() as u64, Ordering::Relaxed);
    }
}

/// Term and leader as each node sees them.
async fn terms(cluster: &Cluster) -> Vec<(u64, u64)> {
    let mut terms = Vec::new();
    for node in &cluster.nodes {
        let status = common::status(&node.client).await.unwrap();
        terms.push((status.raft_term, status.leader));
    }
    terms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_with_flushes_and_compactions_causes_no_election() {
    let seconds = common::rounds("ALTHING_SOAK_SECONDS", 10);
    let cluster = Cluster::start(3).await;
    cluster.leader().await;
    let load = Arc::new(Load::default());
    let dog = std::thread::spawn({
        let load = load.clone();
        move || watchdog(load)
    });
    let before = terms(&cluster).await;
    let mut tasks = vec![tokio::spawn(compact(cluster.nodes[0].client.clone(), load.clone()))];
    for number in 0..WRITERS {
        tasks.push(tokio::spawn(write(number, cluster.nodes[number % 3].client.clone(), load.clone())));
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    load.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    dog.join().unwrap();
    let after = terms(&cluster).await;
    let stall = Duration::from_millis(load.stall_ms.load(Ordering::Relaxed));
    println!(
        "{seconds} s, {} writes of {VALUE_BYTES} bytes, {} errors: term and leader {before:x?} before, {after:x?} after; \
         this process was kept waiting for {stall:?} at the most",
        load.writes.load(Ordering::Relaxed),
        load.errors.load(Ordering::Relaxed),
    );
    assert!(before == after || stall > STALL, "an election without a cause");
    assert!(load.writes.load(Ordering::Relaxed) > 0, "there was a load");
}
