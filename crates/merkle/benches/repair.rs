//! A million keys of which a hundred differ: bytes, rounds and time. And what the tree costs.
//!
//! `cargo bench -p althing-merkle --bench repair`

#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark is all about real time")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use althing_merkle::{Entry, Next, Page, Range, Reply, Request, Secret, Session, SessionId, Tree, answer};

const KEYS: u64 = 1_000_000;
/// A key of 20 bytes and a value of 100.
const ENTRY_BYTES: u64 = 120;

struct Replica {
    secret: Secret,
    tree: Tree,
    entries: BTreeMap<u64, Entry>,
}

impl Replica {
    fn new(version: impl Fn(u64) -> u64) -> Self {
        let (secret, mut tree) = (Secret::new([1; 32]), Tree::for_keys(KEYS));
        let mut entries = BTreeMap::new();
        for key in 0..KEYS {
            let entry = secret.entry(format!("user/{key:015}").as_bytes(), &version(key).to_le_bytes());
            tree.insert(entry).unwrap();
            entries.insert(entry.position, entry);
        }
        Self { secret, tree, entries }
    }

    fn read(&self, range: Range, limit: usize) -> Page {
        let mut found = self.entries.range(range.first..=range.last).map(|(_, entry)| *entry);
        let entries: Vec<Entry> = found.by_ref().take(limit).collect();
        let through = if found.next().is_some() { entries.last().unwrap().position } else { range.last };
        Page { entries, through }
    }
}

/// Bytes both ways, rounds, and keys to repair.
fn session(ours: &Replica, theirs: &Replica, max_bytes: usize) -> (u64, u64, usize) {
    let (mut session, opening) = Session::open(SessionId(1), &ours.tree, &ours.secret);
    let (mut bytes, mut rounds, mut found) = (0, 0, 0);
    let mut request = Some(opening);
    while let Some(sent) = request {
        let sent = sent.encode();
        rounds += 1;
        bytes += sent.len() as u64;
        let reply = match answer(&theirs.tree, &theirs.secret, Request::decode(sent).unwrap()) {
            Reply::Now(answer) => answer,
            Reply::Read(mut pending) => {
                while let Some((range, limit)) = pending.wants() {
                    pending.supply(theirs.read(range, limit));
                }
                pending.finish()
            }
        };
        bytes += reply.encode().len() as u64;
        session.handle(reply).unwrap();
        request = loop {
            match session.next(&ours.tree, max_bytes) {
                Next::Read(range, limit) => session.supply(&ours.read(range, limit)),
                Next::Send(request) => break Some(request),
                Next::Wait | Next::Done => break None,
            }
        };
        let findings = session.take_findings();
        found += findings.send.len() + findings.ask.len();
    }
    (bytes, rounds, found)
}

fn main() {
    let start = Instant::now();
    let ours = Replica::new(|_| 1);
    println!("built with its store in {:?}; the tree takes {} bytes", start.elapsed(), ours.tree.memory_bytes());
    for changed in [0, 1, 100, 10_000] {
        let is_changed = |key: u64| key * changed / KEYS != (key + 1) * changed / KEYS;
        let theirs = Replica::new(|key| if is_changed(key) { 2 } else { 1 });
        for max_bytes in [4_096, 65_536] {
            let start = Instant::now();
            let (bytes, rounds, found) = session(&ours, &theirs, max_bytes);
            let took = start.elapsed();
            let whole = bytes + found as u64 * ENTRY_BYTES;
            let share = whole as f64 * 100.0 / (KEYS * ENTRY_BYTES) as f64;
            println!(
                "{changed:>6} differ, {max_bytes:>6} bytes a question: {bytes:>8} bytes in {rounds:>4} rounds, {took:>10.1?}; \
                 with the {found} states that move {whole:>9} bytes, {share:.3} % of everything"
            );
        }
    }
    updates(&ours);
}

fn updates(replica: &Replica) {
    let mut tree = replica.tree.clone();
    let start = Instant::now();
    for key in 0..KEYS {
        black_box(replica.secret.entry(format!("user/{key:015}").as_bytes(), &key.to_le_bytes()));
    }
    println!("an entry's position and digest: {:.0?} each", start.elapsed() / KEYS as u32);
    let start = Instant::now();
    for entry in replica.entries.values() {
        tree.replace(*entry, Entry { digest: entry.digest ^ 1, ..*entry }).unwrap();
    }
    println!("a change of the tree: {:.0?} each", start.elapsed() / KEYS as u32);
    let start = Instant::now();
    black_box(tree.commitment(&replica.secret));
    println!("a commitment: {:.1?}", start.elapsed());
}
