//! How fast the machine applies and its reader reads, on the engine that servers use.
//!
//! `cargo bench -p althing-strong [-- KEYS]`: one number per line, with its unit. Without a log below: the WAL's share of a
//! write is measured elsewhere.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark reads the clock and may panic")]

use std::sync::Arc;
use std::time::Instant;

use althing_api::kv::{KeyRange, PutLease, PutRequest, PutValue, RangeEnd, RangeRequest};
use althing_storage::engine::lsm::{LsmEngine, LsmOptions};
use althing_storage::engine::{Applied, Engine};
use althing_strong::{ApplyOutput, Command, LogEntry, Machine, MachineConfig, Proposal};
use althing_types::{ClusterId, NodeId, RequestId, SpaceId};
use bytes::Bytes;

const SLICE: usize = 64;

fn key(number: u64) -> Bytes {
    // Spread over the key space, as names are.
    Bytes::from(format!("/registry/pods/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn put(index: u64, number: u64, value_bytes: usize) -> LogEntry {
    let value = PutValue::Set(Bytes::from(vec![index as u8; value_bytes]));
    let request = PutRequest { key: key(number), value, lease: PutLease::Set(None), prev_kv: false };
    let proposal = Proposal { origin: NodeId(1), request: RequestId(index), command: Command::Put(request) };
    LogEntry { index, term: 1, data: proposal.encode(), conf_state: None }
}

fn report(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:52} {:>12.0}/s {:>10.2} us each", count as f64 / seconds, seconds * 1e6 / count as f64);
}

struct Bench {
    engine: Arc<LsmEngine>,
    machine: Machine,
    index: u64,
}

impl Bench {
    fn puts(&mut self, what: &str, numbers: impl Iterator<Item = u64>, value_bytes: usize) {
        let entries: Vec<LogEntry> =
            (self.index + 1..).zip(numbers).map(|(index, number)| put(index, number, value_bytes)).collect();
        self.index += entries.len() as u64;
        let start = Instant::now();
        let mut out = ApplyOutput::default();
        for (turn, slice) in entries.chunks(SLICE).enumerate() {
            out = ApplyOutput::default();
            self.machine.apply(slice, &mut out).unwrap();
            if turn % 8192 == 8191 {
                self.settle();
            }
        }
        report(what, entries.len() as u64, start);
        assert!(out.results.iter().all(|result| result.result.is_ok()));
        self.settle();
    }

    fn settle(&mut self) {
        self.engine.begin_checkpoint().unwrap().finish().unwrap();
        while self.engine.maintain().unwrap() {}
    }
}

fn main() {
    let keys = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(1_000_000_u64);
    let dir = tempfile::tempdir().unwrap();
    let options = LsmOptions::new(ClusterId(1), NodeId(1));
    let engine = Arc::new(LsmEngine::open(dir.path(), &options).unwrap());
    let config = MachineConfig { quota_bytes: u64::MAX };
    let space = SpaceId(1);
    let mut machine = Machine::open(Arc::clone(&engine) as _, space, config).unwrap();
    machine.bootstrap(&[], Bytes::new(), Applied { index: 0, term: 1 }).unwrap();
    let mut bench = Bench { engine, machine, index: 0 };

    bench.puts("puts of new keys, 100 bytes, slices of 64", 0..keys, 100);
    bench.puts("puts of present keys, 100 bytes, slices of 64", (0..keys / 5).map(|n| n * 5), 100);
    bench.puts("puts of present keys, 1000 bytes, slices of 64", (0..keys / 10).map(|n| n * 10), 1000);
    reads(&bench.machine, keys);
    paging(&bench.machine);

    let start = Instant::now();
    let again = Machine::open(Arc::clone(&bench.engine) as _, space, config).unwrap();
    report("keys counted when the machine opens", keys, start);
    drop(again);
    compaction(&mut bench);
}

fn reads(machine: &Machine, keys: u64) {
    let reader = machine.reader();
    for (what, number) in [("point reads, value in `current`", 1), ("point reads, value in `history`", 10)] {
        let start = Instant::now();
        for turn in 0..100_000_u64 {
            let request =
                RangeRequest::new(KeyRange::single(key(turn.wrapping_mul(7919) % (keys / 10) * 10 + number % 10)));
            assert_eq!(reader.range(&request).unwrap().0.kvs.len(), 1);
        }
        report(what, 100_000, start);
    }
    let start = Instant::now();
    for turn in 0..5_000_u64 {
        let keys = KeyRange { start: key(turn), end: RangeEnd::Unbounded };
        let request = RangeRequest { limit: 100, ..RangeRequest::new(keys) };
        reader.range(&request).unwrap();
    }
    report("ranges of 100 keys with count", 5_000, start);
    let start = Instant::now();
    let past = Some(althing_types::Revision(reader.revision().0 - 1000));
    for turn in 0..1_000_u64 {
        let keys = KeyRange { start: key(turn), end: RangeEnd::Unbounded };
        reader.range(&RangeRequest { limit: 100, revision: past, ..RangeRequest::new(keys) }).unwrap();
    }
    report("ranges of 100 keys, 1000 revisions ago, with count", 1_000, start);
    let start = Instant::now();
    for turn in 0..5_000_u64 {
        let keys = KeyRange { start: key(turn), end: RangeEnd::Unbounded };
        reader.range(&RangeRequest { count_only: true, ..RangeRequest::new(keys) }).unwrap();
    }
    report("counts", 5_000, start);
}

/// All keys in pages of 500 at one revision, as a list of Kubernetes does it.
fn paging(machine: &Machine) {
    let reader = machine.reader();
    let revision = Some(reader.revision());
    let mut request = RangeRequest { limit: 500, revision, ..RangeRequest::new(KeyRange::all()) };
    let (mut pages, mut seen) = (0, 0);
    let start = Instant::now();
    loop {
        let (page, _) = reader.range(&request).unwrap();
        pages += 1;
        seen += page.kvs.len() as u64;
        let Some(last) = page.kvs.last().filter(|_| page.more) else { break };
        request.keys.start = [&last.key[..], &[0]].concat().into();
    }
    report("pages of 500 keys with count", pages, start);
    report("keys paged through", seen, start);
}

fn compaction(bench: &mut Bench) {
    let revision = bench.machine.revision();
    let command = Command::Compact { revision };
    let proposal = Proposal { origin: NodeId(1), request: RequestId(0), command };
    bench.index += 1;
    let entry = LogEntry { index: bench.index, term: 1, data: proposal.encode(), conf_state: None };
    bench.machine.apply(&[entry], &mut ApplyOutput::default()).unwrap();
    let start = Instant::now();
    let mut steps = 1;
    let mut slowest = 0.0_f64;
    loop {
        let step = Instant::now();
        if !bench.machine.compaction_step().unwrap() {
            break;
        }
        steps += 1;
        slowest = slowest.max(step.elapsed().as_secs_f64());
    }
    report("compaction steps", steps, start);
    report("revisions compacted", revision.0 as u64, start);
    println!("{:52} {:>12.2} ms", "slowest compaction step", slowest * 1e3);
}
