//! `kill -9` of leaders under `WATCH`, `MULTI` and `EXEC` of eight clients on a strong table: every increment that was acknowledged
//! counts once, and every transaction was done whole or not at all. `ALTHING_REDIS_KILLS` says how many are killed.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::redis::{Client, Said, cluster_with, start, until_said};

/// The table that a cluster is born with, so that its leader is known.
const TABLE: &str =
    "apiVersion: althing/v1\nkind: Table\nmetadata:\n  name: default\nspec:\n  guarantee: strong\n  redisDb: 0\n";

/// What a client was told of its transactions. Each has a name and a number, which is what the counter was made by it.
#[derive(Default)]
struct Told {
    done: Vec<(String, i64)>,
    unknown: Vec<String>,
    /// Transactions that were refused because a watched key had changed.
    aborted: u64,
}

/// What became of one transaction.
enum Fate {
    Done(i64),
    Aborted,
    /// It was not begun.
    NotDone,
    Unknown,
}

fn is_ok(said: std::io::Result<Said>) -> bool {
    said.is_ok_and(|said| said == Said::Status("OK".to_owned()))
}

/// Reads the counter, and sets it to one more if nobody else has.
fn increment(client: &mut Client, name: &str) -> Fate {
    if !is_ok(client.ask(&["WATCH", "counter"])) {
        return Fate::NotDone;
    }
    let found = match client.ask(&["GET", "counter"]) {
        Ok(Said::Text(found)) => found.map_or(0, |text| text.parse::<i64>().unwrap()),
        Ok(_) | Err(_) => return Fate::NotDone,
    };
    if !is_ok(client.ask(&["MULTI"])) {
        return Fate::NotDone;
    }
    let queued = [vec!["SET", "counter", &(found + 1).to_string()], vec!["SADD", "names", name], vec!["INCR", "total"]]
        .map(|words| client.ask(&words).is_ok());
    if queued.contains(&false) {
        return Fate::NotDone;
    }
    match client.ask(&["EXEC"]) {
        Ok(Said::List(answers)) if answers.len() == 3 => Fate::Done(found + 1),
        // The null array.
        Ok(Said::List(_)) => Fate::Aborted,
        Ok(Said::Error(error)) if !error.starts_with("UNCERTAIN") => Fate::NotDone,
        Ok(_) | Err(_) => Fate::Unknown,
    }
}

/// Increments at one node after another until it is told to stop.
fn work(number: usize, ports: &[String], stop: &AtomicBool, rounds: &AtomicU64) -> Told {
    let (mut told, mut client) = (Told::default(), None);
    for sequence in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if client.is_none() {
            client = Client::connect(&ports[(number + sequence) % ports.len()]).ok();
        }
        let Some(connected) = &mut client else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let name = format!("{number}/{sequence}");
        match increment(connected, &name) {
            Fate::Done(found) => {
                told.done.push((name, found));
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Fate::Aborted => told.aborted += 1,
            Fate::NotDone => client = None,
            Fate::Unknown => {
                told.unknown.push(name);
                client = None;
            }
        }
    }
    told
}

fn number(client: &mut Client, words: &[&str]) -> i64 {
    match client.ask(words).unwrap() {
        Said::Number(number) => number,
        Said::Text(Some(text)) => text.parse().unwrap(),
        other => panic!("{words:?}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_of_clients_of_redis_are_exact_across_kills_of_leaders() {
    let (mut cluster, ports) = cluster_with(TABLE).await;
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..8)
        .map(|number| {
            let (ports, stop, rounds) = (ports.clone(), stop.clone(), rounds.clone());
            std::thread::spawn(move || work(number, &ports, &stop, &rounds))
        })
        .collect();
    for _ in 0..common::rounds("ALTHING_REDIS_KILLS", 4) {
        let begun = rounds.load(Ordering::Relaxed);
        while rounds.load(Ordering::Relaxed) < begun + 40 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let leader = cluster.leader().await;
        cluster.kill(leader);
        tokio::time::sleep(Duration::from_millis(300)).await;
        start(&mut cluster, &ports, leader);
        until_said(&ports[leader], &["SET", "ready", "yes"], &Said::Status("OK".to_owned()));
    }
    stop.store(true, Ordering::Relaxed);
    let told: Vec<Told> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    let done: Vec<&(String, i64)> = told.iter().flat_map(|told| &told.done).collect();
    let numbers: BTreeSet<i64> = done.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers.len(), done.len(), "two transactions were told the same number");
    for port in &ports {
        let mut client = Client::connect(port).unwrap();
        let (counter, total) = (number(&mut client, &["GET", "counter"]), number(&mut client, &["GET", "total"]));
        let Said::List(names) = client.ask(&["SMEMBERS", "names"]).unwrap() else { panic!("no list") };
        let names: BTreeSet<_> = names.into_iter().collect();
        assert_eq!(
            (counter, total),
            (names.len() as i64, names.len() as i64),
            "a transaction was done in part at {port}"
        );
        let is_there = |name: &String| names.contains(&Said::Text(Some(name.clone())));
        assert!(done.iter().all(|(name, _)| is_there(name)), "something acknowledged is missing at {port}");
        let unknown = told.iter().flat_map(|told| &told.unknown).filter(|name| is_there(name)).count();
        assert_eq!(names.len(), done.len() + unknown, "something was done that nobody asked for");
    }
    let aborted: u64 = told.iter().map(|told| told.aborted).sum();
    assert!(done.len() > 100 && aborted > 0, "{} transactions were done and {aborted} aborted", done.len());
}
