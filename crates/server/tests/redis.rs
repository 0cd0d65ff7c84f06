//! `kill -9` of real processes under writes of clients of Redis to a convergent table: nothing acknowledged is ever missing, and
//! counters are exact. `ALTHING_REDIS_KILLS` says how many.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::redis::{Client, Said, cluster, start, until_said};

/// What a writer was told.
#[derive(Default)]
struct Told {
    keys: BTreeSet<String>,
    members: BTreeSet<String>,
    /// Increments that were acknowledged, and those of which nobody knows.
    counted: i64,
    unknown: i64,
}

/// Writes to one node after another until it is told to stop.
fn write(number: usize, ports: &[String], stop: &AtomicBool, rounds: &AtomicU64) -> Told {
    let mut told = Told::default();
    let mut client = None;
    for sequence in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let port = &ports[(number + sequence / 16) % ports.len()];
        if client.is_none() || sequence % 16 == 0 {
            client = Client::connect(port).ok();
        }
        let Some(connected) = &mut client else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let (key, member) = (format!("k{number}/{sequence}"), format!("m{number}/{sequence}"));
        let set = connected.ask(&["SET", &key, &key]);
        let is_broken = set.is_err();
        if set.is_ok_and(|said| said == Said::Status("OK".to_owned())) {
            told.keys.insert(key);
        }
        let added = connected.ask(&["SADD", "members", &member]);
        if added.is_ok_and(|said| said == Said::Number(1)) {
            told.members.insert(member);
        }
        match connected.ask(&["INCR", "hits"]) {
            Ok(Said::Number(_)) => told.counted += 1,
            Ok(_) | Err(_) => told.unknown += 1,
        }
        if is_broken {
            client = None;
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_client_of_redis_was_told_is_missing_after_kills() {
    let (mut cluster, ports) = cluster().await;
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let all = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let (ports, stop, rounds, all) = (ports.clone(), stop.clone(), rounds.clone(), all.clone());
            std::thread::spawn(move || {
                let told = write(number, &ports, &stop, &rounds);
                all.lock().unwrap().push(told);
            })
        })
        .collect();
    for kill in 0..common::rounds("ALTHING_REDIS_KILLS", 4) {
        let begun = rounds.load(Ordering::Relaxed);
        while rounds.load(Ordering::Relaxed) < begun + 60 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let victim = usize::try_from(kill).unwrap() % 3;
        cluster.kill(victim);
        tokio::time::sleep(Duration::from_millis(300)).await;
        start(&mut cluster, &ports, victim);
        until_said(&ports[victim], &["SET", "ready", "yes"], &Said::Status("OK".to_owned()));
    }
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    // All at once: what was acknowledged is in the logs.
    (0..3).for_each(|index| cluster.kill(index));
    (0..3).for_each(|index| start(&mut cluster, &ports, index));
    for port in &ports {
        until_said(port, &["SET", "ready", "yes"], &Said::Status("OK".to_owned()));
    }
    let all = std::mem::take(&mut *all.lock().unwrap());
    let (counted, unknown) = all.iter().fold((0, 0), |sum, told| (sum.0 + told.counted, sum.1 + told.unknown));
    for port in &ports {
        let mut client = Client::connect(port).unwrap();
        for key in all.iter().flat_map(|told| &told.keys) {
            assert_eq!(client.ask(&["GET", key]).unwrap(), Said::Text(Some(key.clone())), "at {port}");
        }
        let Said::List(members) = client.ask(&["SMEMBERS", "members"]).unwrap() else { panic!("no list") };
        let members: BTreeSet<_> = members.into_iter().collect();
        for member in all.iter().flat_map(|told| &told.members) {
            assert!(members.contains(&Said::Text(Some(member.clone()))), "{member} is missing at {port}");
        }
        let Said::Text(Some(hits)) = client.ask(&["GET", "hits"]).unwrap() else { panic!("no number") };
        let hits: i64 = hits.parse().unwrap();
        assert!((counted..=counted + unknown).contains(&hits), "{hits} of {counted} and up to {unknown} more");
    }
    assert!(counted > 200, "only {counted} increments were done");
}

const LOCKS: &str = "apiVersion: althing/v1\nkind: Table\nmetadata:\n  name: locks\nspec:\n  guarantee: convergent\n  conditional: paxos\n  shards: 4\n  redisDb: 1\n";

/// What a client is told in the table of locks.
fn in_locks(port: &str, words: &[&str]) -> Said {
    let mut client = Client::connect(port).unwrap();
    assert_eq!(client.ask(&["SELECT", "1"]).unwrap(), Said::Status("OK".to_owned()));
    client.ask(words).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_eight_clients_want_is_taken_by_one_and_outlives_kills() {
    let (mut cluster, ports) = cluster().await;
    let refused = Client::connect(&ports[0]).unwrap().ask(&["SET", "lock", "x", "NX"]).unwrap();
    assert!(matches!(&refused, Said::Error(text) if text.contains("paxos")), "{refused:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), LOCKS).unwrap();
    let apply = ["apply", "--wait", "--endpoint", &cluster.nodes[0].client, "-f"];
    let applied = Command::new(common::binary()).args(apply).arg(file.path()).output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    for port in &ports {
        until_said(port, &["SELECT", "1"], &Said::Status("OK".to_owned()));
        until(|| in_locks(port, &["SET", "ready", "yes"]) == Said::Status("OK".to_owned()));
    }
    let mut holders = Vec::new();
    for round in 0..5 {
        let key = format!("lock{round}");
        let takes = (0..8).map(|client| {
            let (port, key) = (ports[client % 3].clone(), key.clone());
            std::thread::spawn(move || in_locks(&port, &["SET", &key, &client.to_string(), "NX"]))
        });
        let told: Vec<_> = takes.collect::<Vec<_>>().into_iter().map(|take| take.join().unwrap()).collect();
        let taken: Vec<_> = (0..8).filter(|client| told[*client] == Said::Status("OK".to_owned())).collect();
        assert_eq!(taken.len(), 1, "{told:?}");
        holders.push((key, taken[0].to_string()));
    }
    // One holder hands its lock on; all outlive the loss of one node, and then a kill of all.
    let (key, holder) = holders[0].clone();
    assert_eq!(in_locks(&ports[1], &["AL.CAS", &key, "nobody", "x"]), Said::Number(0));
    assert_eq!(in_locks(&ports[1], &["AL.CAS", &key, &holder, "next"]), Said::Number(1));
    holders[0].1 = "next".to_owned();
    cluster.kill(0);
    until(|| in_locks(&ports[1], &["SET", "ready", "yes"]) == Said::Status("OK".to_owned()));
    for (key, holder) in &holders {
        // Its shard may still find out that its coordinator is gone: what it cannot say is asked again, and never does it say yes.
        until(|| {
            let said = in_locks(&ports[2], &["SET", key, "late", "NX"]);
            assert_ne!(said, Said::Status("OK".to_owned()));
            said == Said::Text(None)
        });
        assert_eq!(in_locks(&ports[2], &["GET", key]), Said::Text(Some(holder.clone())));
    }
    (1..3).for_each(|index| cluster.kill(index));
    (0..3).for_each(|index| start(&mut cluster, &ports, index));
    for port in &ports {
        until_said(port, &["SET", "ready", "yes"], &Said::Status("OK".to_owned()));
        until(|| in_locks(port, &["SET", "ready", "yes"]) == Said::Status("OK".to_owned()));
        for (key, holder) in &holders {
            assert_eq!(in_locks(port, &["GET", key]), Said::Text(Some(holder.clone())), "at {port}");
        }
    }
    redis_cli_takes_a_lock(&ports[0]);
}

/// `redis-cli` does the same, where it is installed.
fn redis_cli_takes_a_lock(port: &str) {
    let number = port.rsplit(':').next().unwrap();
    let take = || Command::new("redis-cli").args(["-p", number, "-n", "1", "SET", "cli", "mine", "NX"]).output();
    match take() {
        Ok(first) => {
            assert_eq!(String::from_utf8_lossy(&first.stdout).trim(), "OK");
            assert_eq!(String::from_utf8_lossy(&take().unwrap().stdout).trim(), "");
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}

/// Waits until it holds.
fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not hold in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}
