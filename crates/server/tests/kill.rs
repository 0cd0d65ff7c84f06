//! `kill -9` of real processes under load: nothing acknowledged is ever missing, and watches resume without a gap or a
//! repeat. `ALTHING_KILLS` says how many (the default is small enough for every run of the tests).

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use althing_etcd_proto::etcdserverpb as pb;
use common::Cluster;
use pb::watch_client::WatchClient;

const WRITERS: usize = 8;
const PREFIX: &str = "kill/";

/// What the writers were told.
#[derive(Default)]
struct Acknowledged {
    /// Key to the revision that its put was answered with.
    keys: BTreeMap<String, i64>,
    errors: u64,
}

/// Writes key after key to one endpoint after another until told to stop.
async fn write(number: usize, endpoints: Vec<String>, stop: Arc<AtomicBool>, told: Arc<Mutex<Acknowledged>>) {
    let mut clients: Vec<_> = endpoints.iter().map(|endpoint| common::kv(endpoint)).collect();
    let mut turn = number;
    for sequence in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("{PREFIX}{number:02}/{sequence:08}");
        let index = turn % clients.len();
        match common::put(&mut clients[index], &key, "value").await {
            Ok(revision) => {
                told.lock().unwrap().keys.insert(key, revision);
            }
            Err(_) => {
                told.lock().unwrap().errors += 1;
                // Whatever became of it, the next key is a new one: what is unknown stays unknown.
                turn += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Watches everything from revision 2 on, from whichever node answers, resuming after the last revision seen.
async fn watch(endpoints: Vec<String>, seen: Arc<Mutex<Vec<(i64, String)>>>, stop: Arc<AtomicBool>) {
    for turn in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let next = seen.lock().unwrap().last().map_or(2, |(revision, _)| revision + 1);
        let create = pb::WatchCreateRequest {
            key: PREFIX.into(),
            range_end: "kill0".into(),
            start_revision: next,
            ..pb::WatchCreateRequest::default()
        };
        let create = pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) };
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        sender.send(create).await.unwrap();
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut client = WatchClient::new(common::channel(&endpoints[turn % endpoints.len()]));
        if let Ok(events) = client.watch(requests).await {
            let mut events = events.into_inner();
            while let Ok(Ok(Some(response))) = tokio::time::timeout(Duration::from_secs(3), events.message()).await {
                let mut seen = seen.lock().unwrap();
                for event in response.events {
                    let kv = event.kv.unwrap_or_default();
                    seen.push((kv.mod_revision, String::from_utf8_lossy(&kv.key).into_owned()));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn kills() -> u64 {
    std::env::var("ALTHING_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_survives_kill_9_and_watches_resume() {
    let mut cluster = Cluster::start(3).await;
    let endpoints = cluster.endpoints();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::new(Mutex::new(Acknowledged::default()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> =
        (0..WRITERS).map(|n| tokio::spawn(write(n, endpoints.clone(), stop.clone(), told.clone()))).collect();
    let watch_stop = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn(watch(endpoints.clone(), seen.clone(), watch_stop.clone()));

    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..kills() {
        tokio::time::sleep(Duration::from_millis(rng.u64(100..600))).await;
        let victim = rng.usize(0..3);
        cluster.kill(victim);
        tokio::time::sleep(Duration::from_millis(rng.u64(0..600))).await;
        cluster.start_node(victim);
        cluster.wait_until_serving().await;
    }
    // And then all of them at once, with the load still on.
    for index in 0..3 {
        cluster.kill(index);
    }
    for index in 0..3 {
        cluster.start_node(index);
    }
    cluster.wait_until_serving().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }

    let told = std::mem::take(&mut *told.lock().unwrap());
    let mut states = Vec::new();
    for endpoint in &endpoints {
        states.push(common::get_prefix(endpoint, PREFIX).await.unwrap());
    }
    assert_eq!(states[0], states[1], "all nodes hold the same");
    assert_eq!(states[0], states[2], "all nodes hold the same");
    let held: BTreeMap<_, _> = states[0].iter().map(|(key, _, revision)| (key.clone(), *revision)).collect();
    for (key, revision) in &told.keys {
        assert_eq!(held.get(key), Some(revision), "{key} was acknowledged at revision {revision}");
    }

    let last = held.values().copied().max().unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(30);
    while seen.lock().unwrap().last().is_none_or(|(revision, _)| *revision < last) {
        assert!(Instant::now() < deadline, "the watch never reached revision {last}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    watch_stop.store(true, Ordering::Relaxed);
    let seen = seen.lock().unwrap().clone();
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "each revision comes once and in order");
    let watched: BTreeMap<_, _> = seen.into_iter().map(|(revision, key)| (key, revision)).collect();
    assert_eq!(watched, held, "the watch saw exactly what is there");
    watcher.abort();
    println!(
        "{} kills and one of all: {} writes acknowledged, {} not, {} held",
        kills(),
        told.keys.len(),
        told.errors,
        held.len()
    );
    assert!(told.keys.len() > 100, "there was a load");
}

/// The leader is killed, again and again: how long until another node acknowledges a write. Prints the distribution; the
/// only thing asserted is that there always is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_takes_over_when_the_leader_is_killed() {
    let rounds: u64 = std::env::var("ALTHING_FAILOVERS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut cluster = Cluster::start(3).await;
    let mut times = Vec::new();
    let written = AtomicU64::new(0);
    for _ in 0..rounds {
        let leader = cluster.leader().await;
        let others: Vec<_> =
            (0..3).filter(|index| *index != leader).map(|index| cluster.nodes[index].client.clone()).collect();
        let mut client = common::kv(&others[0]);
        common::put(&mut client, "failover", "before").await.unwrap();
        cluster.kill(leader);
        let begin = Instant::now();
        while common::put(&mut client, "failover", "after").await.is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "nobody took over");
        }
        times.push(begin.elapsed());
        written.fetch_add(1, Ordering::Relaxed);
        cluster.start_node(leader);
        cluster.wait_until_serving().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_millis();
    println!("{rounds} leaders killed: first write after p50 {} ms, p99 {} ms, max {} ms", at(0.5), at(0.99), at(1.0));
}
