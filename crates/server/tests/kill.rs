//! `kill -9` of real processes under load: nothing acknowledged is ever missing, and watches resume without a gap or a
//! repeat. `ALTHING_KILLS` says how many (the default is small enough for every run of the tests).

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::Cluster;

const WRITERS: usize = 8;
const PREFIX: &str = "kill/";

/// What the writers were told.
#[derive(Default)]
struct Acknowledged {
    /// Key to the revision that its put was answered with.
    keys: BTreeMap<String, i64>,
    errors: u64,
}

/// The value of a key, large for one key in four: so that logs fill, memtables are flushed and tables are merged while
/// processes are killed.
fn value_of(key: &str) -> String {
    let times = if key.ends_with(['0', '4', '8']) { 2048 } else { 1 };
    key.repeat(times)
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
        match common::put(&mut clients[index], &key, &value_of(&key)).await {
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
        let channel = common::channel(&endpoints[turn % endpoints.len()]);
        if let Ok(mut watch) = common::watch(channel, PREFIX, "kill0", next).await {
            while let Ok(Ok(Some(response))) =
                tokio::time::timeout(Duration::from_secs(3), watch.events.message()).await
            {
                let mut seen = seen.lock().unwrap();
                for event in response.events {
                    let kv = event.kv.unwrap_or_default();
                    let key = String::from_utf8_lossy(&kv.key).into_owned();
                    assert!(kv.value == value_of(&key), "{key} has another value than was put");
                    seen.push((kv.mod_revision, key));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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

    let kills = common::rounds("ALTHING_KILLS", 6);
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(rng.u64(100..600))).await;
        let victim = rng.usize(0..3);
        cluster.kill(victim);
        tokio::time::sleep(Duration::from_millis(rng.u64(0..600))).await;
        cluster.start_node(victim);
        cluster.wait_until_serving().await;
    }
    // And then all of them at once, with the load still on.
    let outages = 1 + kills / 20;
    for _ in 0..outages {
        for index in 0..3 {
            cluster.kill(index);
        }
        for index in 0..3 {
            cluster.start_node(index);
        }
        cluster.wait_until_serving().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }

    let told = std::mem::take(&mut *told.lock().unwrap());
    let held = the_same_everywhere(&endpoints).await;
    let last = held.values().copied().max().unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while seen.lock().unwrap().last().is_none_or(|(revision, _)| *revision < last) {
        assert!(!watcher.is_finished(), "the watch failed");
        assert!(Instant::now() < deadline, "the watch never reached revision {last}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    watch_stop.store(true, Ordering::Relaxed);
    watcher.abort();

    let missing = told.keys.iter().filter(|(key, revision)| held.get(*key) != Some(revision)).count();
    let (gaps, repeats) = gaps_and_repeats(&seen.lock().unwrap(), &held);
    println!(
        "{kills} kills of one and {outages} of all: {} writes acknowledged, {missing} of them missing; {} answered with an error, \
         {} held; the watch saw {} events, {gaps} gaps, {repeats} repeats",
        told.keys.len(),
        told.errors,
        held.len(),
        seen.lock().unwrap().len()
    );
    assert_eq!((missing, gaps, repeats), (0, 0, 0));
    assert!(told.keys.len() > 100, "there was a load");
}

/// What every node holds below the prefix, each asked by a linearizable read: key to revision.
async fn the_same_everywhere(endpoints: &[String]) -> BTreeMap<String, i64> {
    let mut states = Vec::new();
    for endpoint in endpoints {
        states.push(common::keys_of_prefix(endpoint, PREFIX).await.unwrap());
    }
    assert!(states.iter().all(|state| *state == states[0]), "all nodes hold the same");
    states.swap_remove(0).into_iter().collect()
}

/// How many of the held keys the watch never saw at their revision, and how many events did not come after all before.
fn gaps_and_repeats(seen: &[(i64, String)], held: &BTreeMap<String, i64>) -> (usize, usize) {
    let watched: BTreeMap<_, _> = seen.iter().map(|(revision, key)| (key, revision)).collect();
    let gaps = held.iter().filter(|(key, revision)| watched.get(key) != Some(revision)).count();
    let repeats = seen.windows(2).filter(|pair| pair[1].0 <= pair[0].0).count();
    (gaps, repeats + watched.len().abs_diff(seen.len()))
}

/// The leader is killed, again and again: how long from the signal until another node acknowledges a write. Prints the
/// distribution; what is asserted is only that there always is one, and that nothing written before is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_takes_over_when_the_leader_is_killed() {
    let rounds = common::rounds("ALTHING_FAILOVERS", 3);
    let mut cluster = Cluster::start(3).await;
    let mut rng = fastrand::Rng::with_seed(11);
    let mut times = Vec::new();
    for round in 0..rounds {
        let leader = cluster.leader().await;
        let other = (0..3).filter(|index| *index != leader).nth(rng.usize(0..2)).unwrap();
        let mut client = common::kv(&cluster.nodes[other].client);
        common::put(&mut client, "failover/before", &round.to_string()).await.unwrap();
        // So that the kill falls anywhere between two heartbeats.
        tokio::time::sleep(Duration::from_millis(rng.u64(0..100))).await;
        let begin = Instant::now();
        cluster.kill(leader);
        while common::put(&mut client, "failover/after", &round.to_string()).await.is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "nobody took over");
        }
        times.push(begin.elapsed());
        let held = common::get_prefix(&cluster.nodes[other].client, "failover/").await.unwrap();
        assert!(held.iter().all(|(_, value, _)| *value == round.to_string()), "{held:?} in round {round}");
        cluster.start_node(leader);
        cluster.wait_until_serving().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    println!("failover times in ms: {:?}", times.iter().map(Duration::as_millis).collect::<Vec<_>>());
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_millis();
    println!("{rounds} leaders killed: first write after p50 {} ms, p99 {} ms, max {} ms", at(0.5), at(0.99), at(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_at_any_moment_of_its_first_start_starts_all_the_same() {
    let rounds = common::rounds("ALTHING_FIRST_STARTS", 6);
    let mut rng = fastrand::Rng::with_seed(13);
    for _ in 0..rounds {
        let mut cluster = Cluster::prepare(1);
        for _ in 0..3 {
            cluster.start_node(0);
            tokio::time::sleep(Duration::from_micros(rng.u64(1_000..60_000))).await;
            cluster.kill(0);
        }
        cluster.start_node(0);
        cluster.wait_until_serving().await;
    }
}
