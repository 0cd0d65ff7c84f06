//! What an engine does per second, on one writer and one reader: `cargo bench -p althing-storage --bench engine`.
//!
//! Keys are those of a table: 24 bytes after the space's id, values of 100 bytes. Every figure is the plain mean of one
//! run; compare runs on a quiet machine only.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::hint::black_box;
use std::ops::Bound::{Included, Unbounded};
use std::time::{Duration, Instant};

use althing_storage::engine::lsm::{LsmEngine, LsmOptions};
use althing_storage::engine::model::ModelEngine;
use althing_storage::engine::{Applied, Engine};
use althing_types::{ClusterId, NodeId, SpaceId};

const KEYS: u64 = 200_000;
const READS: u64 = 100_000;
const SCANS: u64 = 5_000;
const SCAN_ITEMS: usize = 100;
const SPACE: SpaceId = SpaceId(1);

fn main() {
    // `cargo test --benches` only wants to see that it builds and starts.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = LsmOptions::new(ClusterId(1), NodeId(1));
    let lsm = LsmEngine::open(dir.path(), &options).expect("a new engine");
    run("lsm", &lsm);
    run("model", &ModelEngine::new());
}

fn run(name: &str, engine: &dyn Engine) {
    println!("{name}");
    let mut index = 0;
    for per_batch in [1, 100] {
        let spent = write(engine, per_batch, &mut index);
        report(&format!("write, {per_batch} a batch"), KEYS, spent);
    }
    reads(engine, "in memory");
    let begun = Instant::now();
    engine.begin_checkpoint().expect("a cut").finish().expect("a checkpoint");
    println!("  {:<34} {:>9} ms", "checkpoint", begun.elapsed().as_millis());
    reads(engine, "from a new table");
    let begun = Instant::now();
    while engine.maintain().expect("maintenance") {}
    println!("  {:<34} {:>9} ms", "compaction", begun.elapsed().as_millis());
    reads(engine, "after compaction");
    stalls(engine, &mut index);
    bulk_load(engine);
    println!("  {:?}", engine.stats());
}

fn write(engine: &dyn Engine, per_batch: u64, index: &mut u64) -> Duration {
    let mut rng = fastrand::Rng::with_seed(per_batch);
    let value = [7; 100];
    let begun = Instant::now();
    for _ in 0..KEYS / per_batch {
        *index += 1;
        let mut batch = engine.begin(SPACE);
        for _ in 0..per_batch {
            batch.put(&key(rng.u64(..KEYS)), &value);
        }
        batch.commit(Applied { index: *index, term: 1 }).expect("a commit");
    }
    begun.elapsed()
}

fn reads(engine: &dyn Engine, place: &str) {
    let mut rng = fastrand::Rng::with_seed(3);
    let begun = Instant::now();
    let mut found = 0;
    for _ in 0..READS {
        found += u64::from(engine.get(SPACE, &key(rng.u64(..KEYS))).expect("a read").is_some());
    }
    report(&format!("get {place} ({}% hit)", found * 100 / READS), READS, begun.elapsed());

    let begun = Instant::now();
    for _ in 0..READS {
        let absent = [&key(rng.u64(..KEYS))[..], b"absent"].concat();
        black_box(engine.get(SPACE, &absent).expect("a read"));
    }
    report(&format!("get {place} (absent)"), READS, begun.elapsed());

    let begun = Instant::now();
    for _ in 0..SCANS {
        let start = key(rng.u64(..KEYS));
        let view = engine.view();
        black_box(view.scan(SPACE, (Included(&start), Unbounded)).take(SCAN_ITEMS).count());
    }
    report(&format!("scan of {SCAN_ITEMS} {place}"), SCANS, begun.elapsed());
}

/// The longest that a reader and the writer wait while a checkpoint is made durable and tables are compacted.
fn stalls(engine: &dyn Engine, index: &mut u64) {
    let (mut longest_get, mut longest_commit) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..5 {
        write(engine, 100, index);
        let cut = engine.begin_checkpoint().expect("a cut");
        std::thread::scope(|scope| {
            let background = scope.spawn(move || {
                cut.finish().expect("a checkpoint");
                while engine.maintain().expect("maintenance") {}
            });
            for number in 0.. {
                let begun = Instant::now();
                black_box(engine.get(SPACE, &key(number % KEYS)).expect("a read"));
                longest_get = longest_get.max(begun.elapsed());
                let begun = Instant::now();
                *index += 1;
                let mut batch = engine.begin(SPACE);
                batch.put(&key(number % KEYS), b"small");
                batch.commit(Applied { index: *index, term: 1 }).expect("a commit");
                longest_commit = longest_commit.max(begun.elapsed());
                if background.is_finished() {
                    break;
                }
            }
        });
    }
    println!("  {:<34} {:>9.2} ms", "longest get in the background's way", longest_get.as_secs_f64() * 1e3);
    println!("  {:<34} {:>9.2} ms", "longest commit, likewise", longest_commit.as_secs_f64() * 1e3);
}

/// A snapshot that is installed: large batches into a new space, a checkpoint, and the space dropped again.
fn bulk_load(engine: &dyn Engine) {
    let space = SpaceId(2);
    let begun = Instant::now();
    for page in 0..200_u64 {
        let mut batch = engine.begin(space);
        for item in 0..1000 {
            batch.put(&key(page * 1000 + item), &[9; 1000]);
        }
        batch.commit(Applied::default()).expect("a commit");
    }
    engine.begin_checkpoint().expect("a cut").finish().expect("a checkpoint");
    let seconds = begun.elapsed().as_secs_f64();
    println!("  {:<34} {:>9.0} MB/s", "bulk load with its checkpoint", 200.0 * 1.024 / seconds);
    engine.drop_space(space).expect("a drop");
    engine.begin_checkpoint().expect("a cut").finish().expect("a checkpoint");
    let begun = Instant::now();
    while engine.maintain().expect("maintenance") {}
    println!("  {:<34} {:>9} ms", "removal of the dropped space", begun.elapsed().as_millis());
}

fn report(what: &str, count: u64, spent: Duration) {
    let rate = count as f64 / spent.as_secs_f64();
    println!("  {what:<34} {rate:>9.0}/s  {:>7.2} µs", spent.as_secs_f64() * 1e6 / count as f64);
}

fn key(number: u64) -> [u8; 24] {
    let mut key = *b"t/users/0000000000000000";
    let digits = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    key[8..].copy_from_slice(digits.as_bytes());
    key
}
