//! Two halves of a cluster of real processes, with clients of Redis on both sides that go on writing while no frame passes between
//! them; afterwards every node says the same, and all of it is there.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use common::Cluster;
use common::redis::{Client, Said, until_said};

/// Both halves can write: one replica is enough.
const TABLE: &str = "apiVersion: althing/v1\nkind: Table\nmetadata:\n  name: carts\nspec:\n  guarantee: convergent\n  shards: 4\n  \
                     redisDb: 0\n  readLevel: one\n  writeLevel: one\n";
/// Nodes.
const NODES: usize = 4;
/// Rounds of writes that each client makes while the cluster is cut, at least.
const ROUNDS_APART: u64 = 40;

/// A cluster whose nodes take cuts, and where its clients of Redis connect.
async fn cluster() -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::prepare(NODES);
    let ports: Vec<_> = (0..NODES).map(|_| format!("127.0.0.1:{}", common::free_port())).collect();
    for (index, port) in ports.iter().enumerate() {
        let mut command = cluster.command(index);
        command.args(["--allow-cut", "--listen-redis", port]);
        cluster.start_command(index, command);
    }
    cluster.wait_until_serving().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TABLE).unwrap();
    let path = file.path().display().to_string();
    althing(&cluster, &["apply", "--wait", "-f", &path]);
    for port in &ports {
        until_said(port, &["SET", "ready", "yes"], &Said::Status("OK".to_owned()));
    }
    (cluster, ports)
}

/// Runs a command against the cluster.
fn althing(cluster: &Cluster, words: &[&str]) {
    let done =
        Command::new(common::binary()).args(words).args(["--endpoints", &cluster.nodes[0].client]).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// What a client was told.
#[derive(Default)]
struct Told {
    members: BTreeSet<String>,
    fields: BTreeSet<String>,
    counted: i64,
    /// Increments of which nobody knows.
    unknown: i64,
}

/// A client that writes to one node.
struct Writer {
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Told>,
}

impl Writer {
    fn start(number: usize, port: &str, stop: &Arc<AtomicBool>) -> Self {
        let (port, stop, rounds) = (port.to_owned(), Arc::clone(stop), Arc::<AtomicU64>::default());
        let counter = Arc::clone(&rounds);
        let thread = std::thread::spawn(move || write(number, &port, &stop, &counter));
        Self { rounds, thread }
    }
}

fn write(number: usize, port: &str, stop: &AtomicBool, rounds: &AtomicU64) -> Told {
    let mut told = Told::default();
    let mut client = Client::connect(port).unwrap();
    for sequence in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{number}/{sequence}");
        if client.ask(&["SADD", "members", &name]).unwrap() == Said::Number(1) {
            told.members.insert(name.clone());
        }
        if client.ask(&["HSET", "fields", &name, "1"]).unwrap() == Said::Number(1) {
            told.fields.insert(name);
        }
        match client.ask(&["INCR", "hits"]).unwrap() {
            Said::Number(_) => told.counted += 1,
            _ => told.unknown += 1,
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// Waits until every client has made so many rounds more.
fn until_written(writers: &[Writer], more: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let goals: Vec<_> = writers.iter().map(|writer| writer.rounds.load(Ordering::Relaxed) + more).collect();
    for (writer, goal) in writers.iter().zip(goals) {
        while writer.rounds.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < deadline, "a client does not come on");
            sleep(Duration::from_millis(5));
        }
    }
}

/// All that a node says of what was written.
fn said(port: &str) -> Option<(Said, BTreeSet<Said>, BTreeSet<Said>)> {
    let mut client = Client::connect(port).ok()?;
    let mut list = |words: &[&str]| match client.ask(words) {
        Ok(Said::List(list)) => Some(list.into_iter().collect()),
        Ok(_) | Err(_) => None,
    };
    let (members, fields) = (list(&["SMEMBERS", "members"])?, list(&["HKEYS", "fields"])?);
    Some((client.ask(&["GET", "hits"]).ok()?, members, fields))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_halves_that_were_cut_apart_while_clients_wrote_on_both_come_together_with_all_of_it() {
    let (cluster, ports) = cluster().await;
    let stop = Arc::<AtomicBool>::default();
    let writers: Vec<_> = ports.iter().enumerate().map(|(number, port)| Writer::start(number, port, &stop)).collect();
    until_written(&writers, 10);
    althing(&cluster, &["cut", "n1", "n2"]);
    // Whoever waited for the other side has given it up after these.
    until_written(&writers, 5);
    until_said(&ports[0], &["SET", "side", "left"], &Said::Status("OK".to_owned()));
    until_said(&ports[3], &["SET", "side", "right"], &Said::Status("OK".to_owned()));
    until_written(&writers, ROUNDS_APART);
    let sides = [0, 3].map(|index: usize| Client::connect(&ports[index]).unwrap().ask(&["GET", "side"]).unwrap());
    assert_eq!(sides, ["left", "right"].map(|side| Said::Text(Some(side.to_owned()))), "the cut is none");
    althing(&cluster, &["heal"]);
    until_written(&writers, 10);
    stop.store(true, Ordering::Relaxed);
    let all: Vec<_> = writers.into_iter().map(|writer| writer.thread.join().unwrap()).collect();

    let deadline = Instant::now() + Duration::from_secs(60);
    let (hits, members, fields) = loop {
        let each: Vec<_> = ports.iter().map(|port| said(port)).collect();
        if let Some(Some(first)) = each.first()
            && each.iter().all(|other| other.as_ref() == Some(first))
            && is_whole(first, &all)
        {
            break first.clone();
        }
        let hits: Vec<_> = each.iter().map(|said| said.as_ref().map(|said| said.0.clone())).collect();
        assert!(Instant::now() < deadline, "the nodes do not come to the same: hits {hits:?}");
        sleep(Duration::from_millis(100));
    };
    let (counted, unknown) = all.iter().fold((0, 0), |sum, told| (sum.0 + told.counted, sum.1 + told.unknown));
    let Said::Text(Some(hits)) = hits else { panic!("no number: {hits:?}") };
    let hits: i64 = hits.parse().unwrap();
    assert!((counted..=counted + unknown).contains(&hits), "{hits} of {counted} and up to {unknown} more");
    assert!(members.len() > 200 && fields.len() > 200, "only {} members were added", members.len());
}

/// Whether all that clients were told of is there.
fn is_whole((_, members, fields): &(Said, BTreeSet<Said>, BTreeSet<Said>), all: &[Told]) -> bool {
    let has = |set: &BTreeSet<Said>, name: &String| set.contains(&Said::Text(Some(name.clone())));
    all.iter().all(|told| {
        told.members.iter().all(|name| has(members, name)) && told.fields.iter().all(|name| has(fields, name))
    })
}
