//! `kill -9` of leaders under clients of Redis on a strong table: every increment by `WATCH`, `MULTI` and `EXEC` that was
//! acknowledged counts once, every transaction was done whole or not at all, and what clients were told of single keys is
//! linearizable. `ALTHING_REDIS_KILLS` says how many are killed.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use althing_sim::checker::linearizability::{self, Verdict};
use althing_sim::checker::{Action, Answer, Expected, Operation, Outcome, Version};
use althing_types::{Instant, Revision};
use common::Cluster;
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

/// Kills whoever leads, again and again, as soon as clients have got on since the last time.
async fn kill_leaders(cluster: &mut Cluster, ports: &[String], rounds: &AtomicU64) {
    for _ in 0..common::rounds("ALTHING_REDIS_KILLS", 4) {
        let begun = rounds.load(Ordering::Relaxed);
        while rounds.load(Ordering::Relaxed) < begun + 40 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let leader = cluster.leader().await;
        cluster.kill(leader);
        tokio::time::sleep(Duration::from_millis(300)).await;
        start(cluster, ports, leader);
        until_said(&ports[leader], &["SET", "ready", "yes"], &Said::Status("OK".to_owned()));
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
    kill_leaders(&mut cluster, &ports, &rounds).await;
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

/// A client that notes what it asks and what it is told.
struct Register<'a> {
    ports: &'a [String],
    begun: std::time::Instant,
    client: u64,
    sequence: u64,
    seen: Vec<Operation>,
}

/// A value that nobody else writes. The checker wants the revision of each value as well, and clients of Redis are told none: so each
/// value has the one that its own number makes.
fn version(number: u64) -> Version {
    Version { value: number.to_string().into(), revision: Revision(number as i64 + 2) }
}

fn held(said: std::io::Result<Said>) -> Option<Option<Version>> {
    match said {
        Ok(Said::Text(text)) => Some(text.map(|text| version(text.parse().unwrap()))),
        Ok(_) | Err(_) => None,
    }
}

impl Register<'_> {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.begun.elapsed().as_nanos()).unwrap())
    }

    fn note(&mut self, key: &str, action: Action, invoked: Instant, told: Option<(Revision, Answer)>) {
        let returned = self.now();
        let outcome = told.map_or(Outcome::Unknown, |(revision, answer)| Outcome::Done { returned, revision, answer });
        let key = bytes::Bytes::copy_from_slice(key.as_bytes());
        self.seen.push(Operation { client: self.client, key, action, invoked, outcome });
    }

    /// Asks for one thing; `false` if the connection is of no use any more.
    fn turn(&mut self, client: &mut Client) -> bool {
        self.sequence += 1;
        let (key, new) = (["a", "b"][(self.sequence / 3) as usize % 2], version(self.client << 32 | self.sequence));
        let (text, invoked) = (String::from_utf8(new.value.to_vec()).unwrap(), self.now());
        match (self.sequence + self.client) % 3 {
            0 => {
                let said = held(client.ask(&["GET", key]));
                let is_told = said.is_some();
                if let Some(held) = said {
                    let revision = held.as_ref().map_or(Revision(1), |version| version.revision);
                    self.note(key, Action::Get, invoked, Some((revision, Answer::Held(held))));
                }
                is_told
            }
            1 => {
                let is_told = is_ok(client.ask(&["SET", key, &text]));
                self.note(key, Action::Put(new.value), invoked, is_told.then_some((new.revision, Answer::Written)));
                is_told
            }
            _ => self.swap(client, key, &text, new),
        }
    }

    fn swap(&mut self, client: &mut Client, key: &str, text: &str, new: Version) -> bool {
        if !is_ok(client.ask(&["WATCH", key])) {
            return false;
        }
        let Some(found) = held(client.ask(&["GET", key])) else { return false };
        if !is_ok(client.ask(&["MULTI"])) || client.ask(&["SET", key, text]).is_err() {
            return false;
        }
        let invoked = self.now();
        let expected = found.map_or(Expected::Absent, |version| Expected::Value(version.value));
        let action = Action::CompareAndSwap { expected, new: new.value };
        match client.ask(&["EXEC"]) {
            Ok(Said::List(answers)) if answers.is_empty() => true,
            Ok(Said::List(_)) => {
                self.note(key, action, invoked, Some((new.revision, Answer::Written)));
                true
            }
            Ok(_) | Err(_) => {
                self.note(key, action, invoked, None);
                false
            }
        }
    }

    fn run(mut self, stop: &AtomicBool, rounds: &AtomicU64) -> Vec<Operation> {
        let mut client = None;
        while !stop.load(Ordering::Relaxed) {
            if client.is_none() {
                // Whoever does not know what became of its operation asks nothing more.
                self.client += 100;
                client = Client::connect(&self.ports[self.client as usize % self.ports.len()]).ok();
            }
            let Some(connected) = &mut client else { continue };
            if self.turn(connected) {
                rounds.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            } else {
                client = None;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.seen
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_of_redis_are_told_is_linearizable_across_kills_of_leaders() {
    let (mut cluster, ports) = cluster_with(TABLE).await;
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begun = std::time::Instant::now();
    let workers: Vec<_> = (0..4)
        .map(|client| {
            let (ports, stop, rounds) = (ports.clone(), stop.clone(), rounds.clone());
            let run = move || {
                let register = Register { ports: &ports, begun, client, sequence: 0, seen: Vec::new() };
                register.run(&stop, &rounds)
            };
            std::thread::spawn(run)
        })
        .collect();
    kill_leaders(&mut cluster, &ports, &rounds).await;
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Operation> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    assert!(seen.len() > 100, "only {} operations", seen.len());
    assert_eq!(linearizability::check(&seen, 2_000_000), Verdict::Linearizable);
}
