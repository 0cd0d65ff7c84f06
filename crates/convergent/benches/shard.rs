//! How many jobs one core does for a shard: as the coordinator of a write, as a replica that joins its delta, and as one that is read.
//!
//! `cargo bench -p althing-convergent [-- KEYS]`: on the model engine and on the one that servers use, in batches of 64 jobs, over so many
//! keys with values of 16 bytes. Without a log below: its share of a write is measured elsewhere.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark reads the clock and may panic")]

use std::sync::Arc;
use std::time::Instant;

use althing_clock::Actor;
use althing_convergent::{Job, Outcome, Shard, ShardConfig, evaluate};
use althing_datatypes::Op;
use althing_datatypes::op::{Existence, HashOp, SetAnswer, SetExpiry, SetOp, StringOp};
use althing_storage::engine::Engine;
use althing_storage::engine::lsm::{LsmEngine, LsmOptions};
use althing_storage::engine::model::ModelEngine;
use althing_types::{ClusterId, NodeId, SpaceId};
use bytes::Bytes;

const BATCH: usize = 64;
/// Writes to the few keys that are written all the time. A power of two.
const HOT_WRITES: u64 = 1 << 15;
const NOW_MS: i64 = 1_700_000_000_000;
/// Members and fields that collections have, which are as many as the keys by this.
const ELEMENTS: u64 = 16;
/// Node ids are random numbers of 64 bits.
const NODES: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];

fn key(prefix: &str, number: u64) -> Bytes {
    Bytes::from(format!("{prefix}:{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn word(number: u64) -> Bytes {
    Bytes::from(format!("{number:016}"))
}

fn set(number: u64) -> (Bytes, Op) {
    let (expiry, condition, answer) = (SetExpiry::Clear, Existence::Any, SetAnswer::Done);
    (key("string", number), Op::String(StringOp::Set { value: word(number), expiry, condition, answer }))
}

fn get(number: u64) -> (Bytes, Op) {
    (key("string", number), Op::String(StringOp::Get))
}

fn incr(number: u64) -> (Bytes, Op) {
    (key("counter", number), Op::String(StringOp::Increment(1)))
}

fn sadd(number: u64) -> (Bytes, Op) {
    (key("set", number / ELEMENTS), Op::Set(SetOp::Add(vec![word(number)])))
}

fn hset(number: u64) -> (Bytes, Op) {
    (key("hash", number / ELEMENTS), Op::Hash(HashOp::Set(vec![(word(number % ELEMENTS), word(number))])))
}

fn report(what: &str, count: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:52} {:>12.0}/s {:>10.2} us each", count as f64 / seconds, seconds * 1e6 / count as f64);
}

struct Bench {
    engine: Arc<dyn Engine>,
    coordinator: Shard,
    replica: Shard,
    keys: u64,
}

impl Bench {
    fn new(engine: Arc<dyn Engine>, keys: u64, spaces: [u64; 2], unwritten_bytes: usize) -> Self {
        let open = |space, node| {
            let config = ShardConfig { cache_bytes: 64 * 1024 * 1024, unwritten_bytes, ..ShardConfig::default() };
            Shard::open(Arc::clone(&engine), SpaceId(space), Actor::new(node, 1), config).unwrap()
        };
        let (coordinator, replica) = (open(spaces[0], NODES[0]), open(spaces[1], NODES[1]));
        Self { engine, coordinator, replica, keys }
    }

    /// Every key once, in an order that is not theirs, and then what came of it on the other replica.
    fn run(&mut self, what: &str, op: impl Fn(u64) -> (Bytes, Op)) {
        // An odd step meets every number below a power of two.
        let number = |place: u64| place.wrapping_mul(0x9e37_79b1) % self.keys;
        let jobs = (0..self.keys).map(|place| {
            let (key, op) = op(number(place));
            Job::Execute { ticket: place, key, op, seen: None, now_ms: NOW_MS, seed: place }
        });
        let jobs: Vec<Job> = jobs.collect();
        let mut out = Vec::with_capacity(jobs.len());
        let start = Instant::now();
        work(&mut self.coordinator, jobs, &mut out);
        report(&format!("{what} by its coordinator"), out.len(), start);
        let mut deltas: Vec<Bytes> = Vec::with_capacity(out.len());
        for outcome in out.drain(..) {
            let Outcome::Executed { reply, delta, .. } = outcome else { panic!("every job executes") };
            reply.unwrap();
            deltas.extend(delta);
        }
        if !deltas.is_empty() {
            let bytes: usize = deltas.iter().map(Bytes::len).sum();
            println!("{:52} {:>12.1} bytes", format!("{what}: a delta"), bytes as f64 / deltas.len() as f64);
            let jobs = deltas.into_iter().map(|delta| Job::Join { ticket: 0, delta }).collect();
            let start = Instant::now();
            work(&mut self.replica, jobs, &mut out);
            report(&format!("{what} joined by another replica"), out.len(), start);
        }
        self.settle();
    }

    /// Reads of two replicas, and their evaluation.
    fn reads(&mut self) {
        let jobs = |keys| (0..keys).map(|number| Job::Read { ticket: number, key: get(number).0 }).collect();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let start = Instant::now();
        work(&mut self.coordinator, jobs(self.keys), &mut left);
        report("a state for a quorum read", left.len(), start);
        work(&mut self.replica, jobs(self.keys), &mut right);
        let start = Instant::now();
        let op = get(0).1;
        let mut bytes = 0;
        for pair in left.iter().zip(&right) {
            let (Outcome::State { state: left, .. }, Outcome::State { state: right, .. }) = pair else {
                panic!("states")
            };
            bytes += left.len();
            let read = evaluate(&op, &[left.clone(), right.clone()], NOW_MS, 0).unwrap();
            assert!(read.missing.iter().all(Option::is_none), "the replicas are equal");
        }
        report("GET evaluated on two states", left.len(), start);
        println!("{:52} {:>12.1} bytes", "a state", bytes as f64 / left.len() as f64);
    }

    fn settle(&mut self) {
        self.coordinator.write().unwrap();
        self.replica.write().unwrap();
        self.engine.begin_checkpoint().unwrap().finish().unwrap();
        while self.engine.maintain().unwrap() {}
    }
}

fn work(shard: &mut Shard, jobs: Vec<Job>, out: &mut Vec<Outcome>) {
    let mut jobs = jobs.into_iter();
    loop {
        let batch: Vec<Job> = jobs.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return;
        }
        shard.work(batch, out).unwrap();
    }
}

/// Keys that are written all the time, as shards write them and as they would if they wrote each batch to the engine.
fn hot(engine: &Arc<dyn Engine>) {
    for (how, unwritten_bytes, space) in [("late", ShardConfig::default().unwritten_bytes, 11), ("each batch", 0, 21)] {
        let spaces = [space, space + 1];
        let mut bench = Bench::new(Arc::clone(engine), HOT_WRITES, spaces, unwritten_bytes);
        bench.run(&format!("SET, 16 keys, written {how}"), |number| set(number % 16));
        bench.run(&format!("INCR, 1 key, written {how}"), |_| incr(0));
        bench.run(&format!("SADD, 1 key of 4096, written {how}"), |number| {
            (key("set", 0), Op::Set(SetOp::Add(vec![word(number % 4096)])))
        });
    }
}

fn measure(engine: Arc<dyn Engine>, keys: u64) {
    hot(&engine);
    let mut bench = Bench::new(engine, keys, [1, 2], ShardConfig::default().unwritten_bytes);
    bench.run("SET, new", set);
    bench.run("SET, over", set);
    bench.run("GET", get);
    bench.run("INCR, new", incr);
    bench.run("INCR, on", incr);
    bench.run("SADD", sadd);
    bench.run("HSET", hset);
    bench.reads();
    let size = bench.coordinator.size();
    println!("{:52} {:>12.1} bytes", "a key and its record, on average", size.bytes as f64 / size.keys as f64);
}

fn main() {
    let keys = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(1_u64 << 18);
    let keys = keys.next_power_of_two();
    println!("the model engine, {keys} keys");
    measure(Arc::new(ModelEngine::new()), keys);
    println!("lsm-tree, {keys} keys");
    let dir = tempfile::tempdir().unwrap();
    let options = LsmOptions::new(ClusterId(1), NodeId(1));
    measure(Arc::new(LsmEngine::open(dir.path(), &options).unwrap()), keys);
}
