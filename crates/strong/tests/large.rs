//! Tables with more keys than a bucket of the count index holds, and readers beside the writer.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use althing_api::ErrorKind;
use althing_api::kv::*;
use althing_strong::{ApplyOutput, Command, Machine};
use althing_types::Revision;
use bytes::Bytes;
use common::{apply_in_slices, compact_fully, entry, keys, new_machine};

fn key(number: usize) -> Bytes {
    Bytes::from(format!("{number:06}"))
}

fn put(number: usize) -> Operation {
    let value = PutValue::Set(Bytes::from(number.to_string()));
    Operation::Put(PutRequest { key: key(number), value, lease: PutLease::Set(None), prev_kv: false })
}

fn delete(from: usize, to: usize) -> Operation {
    let keys = keys(&key(from), RangeEnd::Before(key(to)));
    Operation::DeleteRange(DeleteRangeRequest { keys, prev_kv: false })
}

/// Creates, updates and removes stretches of keys, one transaction a revision.
fn churn(rng: &mut fastrand::Rng) -> Command {
    let from = rng.usize(0..20_000);
    let success = match rng.u8(0..5) {
        0 => vec![delete(from, from + rng.usize(0..3000))],
        _ => (from..from + 100).map(put).collect(),
    };
    Command::Txn(TxnRequest { compare: Vec::new(), success, failure: Vec::new() })
}

fn count(machine: &Machine, keys: &KeyRange, at: Revision) -> u64 {
    let request = RangeRequest { count_only: true, revision: Some(at), ..RangeRequest::new(keys.clone()) };
    machine.reader().range(&request).unwrap().0.count
}

#[test]
fn counts_are_exact_now_and_at_every_revision_that_can_be_read() {
    let mut rng = fastrand::Rng::with_seed(11);
    let (engine, mut machine) = new_machine();
    let mut index = 0;
    for round in 0..12 {
        let entries: Vec<_> = (0..60).map(|at| entry(index + at + 1, churn(&mut rng))).collect();
        index += 60;
        apply_in_slices(&mut machine, &entries, &[7, 1, 30]);
        let now = machine.revision();
        if round % 4 == 3 {
            let compact = entry(index + 1, Command::Compact { revision: Revision(now.0 - 25) });
            index += 1;
            apply_in_slices(&mut machine, &[compact], &[1]);
            compact_fully(&mut machine);
        }
        let oldest = machine.reader().compact_revision().0.max(1);
        for _ in 0..40 {
            let (start, end) = (rng.usize(0..21_000), rng.usize(0..21_000));
            let end = if rng.u8(0..4) == 0 { RangeEnd::Unbounded } else { RangeEnd::Before(key(end)) };
            let keys = keys(&key(start), end);
            let at = Revision(rng.i64(oldest.max(now.0 - 80)..=now.0));
            let every = RangeRequest { revision: Some(at), ..RangeRequest::new(keys.clone()) };
            let visited = machine.reader().range(&every).unwrap().0.kvs.len() as u64;
            assert_eq!(count(&machine, &keys, at), visited, "{keys:?} at {at} of {now}");
        }
    }
    let again = common::open(&engine, common::SPACE);
    let (all, now) = (KeyRange::all(), machine.revision());
    assert_eq!(count(&again, &all, now), count(&machine, &all, now));
    assert!(count(&machine, &all, now) > 2000, "the test has keys in many buckets");
}

#[test]
fn pages_at_one_revision_are_one_state_while_writes_go_on() {
    let mut rng = fastrand::Rng::with_seed(5);
    let (_engine, mut machine) = new_machine();
    let entries: Vec<_> = (1..=200).map(|index| entry(index, churn(&mut rng))).collect();
    apply_in_slices(&mut machine, &entries, &[50]);
    let at = machine.revision();
    let whole = RangeRequest { revision: Some(at), ..RangeRequest::new(KeyRange::all()) };
    let whole = machine.reader().range(&whole).unwrap().0.kvs;

    let mut request = RangeRequest { limit: 300, revision: Some(at), ..RangeRequest::new(KeyRange::all()) };
    let (mut paged, mut index) = (Vec::new(), 200);
    loop {
        let (page, _) = machine.reader().range(&request).unwrap();
        assert_eq!(page.count, (whole.len() - paged.len()) as u64, "the count is of what was not paged yet");
        paged.extend(page.kvs);
        assert_eq!(page.more, paged.len() < whole.len());
        if !page.more {
            break;
        }
        request.keys.start = [&paged[paged.len() - 1].key[..], &[0]].concat().into();
        index += 1;
        apply_in_slices(&mut machine, &[entry(index, churn(&mut rng))], &[1]);
    }
    assert_eq!(paged, whole);
}

/// Pairs of keys are always written together, now to the same value, now removed. Readers beside the writer see both or none
/// in each answer, and a revision that fits.
#[test]
fn readers_beside_the_writer_see_whole_revisions() {
    let (_engine, mut machine) = new_machine();
    let reader = machine.reader();
    let done = AtomicBool::new(false);
    let pair = |round: usize| {
        let put = |key: &'static str| {
            let value = PutValue::Set(Bytes::from(vec![round as u8; 300]));
            Operation::Put(PutRequest { key: key.into(), value, lease: PutLease::Set(None), prev_kv: false })
        };
        let remove = DeleteRangeRequest { keys: keys(b"a", RangeEnd::Before("c".into())), prev_kv: false };
        let success = if round % 3 == 2 { vec![Operation::DeleteRange(remove)] } else { vec![put("a"), put("b")] };
        Command::Txn(TxnRequest { compare: Vec::new(), success, failure: Vec::new() })
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = Revision(0);
                while !done.load(Ordering::SeqCst) {
                    let both = RangeRequest::new(keys(b"a", RangeEnd::Before("c".into())));
                    let (found, at) = reader.range(&both).unwrap();
                    assert!(at >= last);
                    assert!(found.kvs.is_empty() || found.kvs[0].value == found.kvs[1].value);
                    let (one, at_one) = reader.range(&RangeRequest::new(KeyRange::single("a"))).unwrap();
                    assert!(at_one >= at);
                    let then = RangeRequest { revision: Some(at_one), ..RangeRequest::new(KeyRange::single("a")) };
                    match reader.range(&then) {
                        Ok((then, _)) => assert_eq!(then.kvs, one.kvs, "the answer is the table's at its revision"),
                        Err(error) => assert!(matches!(error, ErrorKind::Compacted { .. }), "{error}"),
                    }
                    last = at_one;
                }
            });
        }
        for round in 0..3000_usize {
            let index = machine.applied().index + 1;
            let mut slice = vec![entry(index, pair(round))];
            if round % 50 == 49 {
                let revision = Revision(machine.revision().0 - 5);
                slice.push(entry(index + 1, Command::Compact { revision }));
            }
            machine.apply(&slice, &mut ApplyOutput::default()).unwrap();
            machine.compaction_step().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}
