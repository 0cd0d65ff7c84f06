//! The machine against the oracle, on random logs.

mod common;

use std::sync::Arc;

use althing_api::kv::{KeyRange, RangeRequest};
use althing_strong::{Command, Importer, Machine};
use althing_types::{Revision, SpaceId};
use common::oracle::Oracle;
use common::{apply_in_slices, compact_fully, export, log, new_machine, open, random};
use proptest::collection::vec;
use proptest::prelude::*;

/// The oracle after these commands, having compared every answer and every change with the machine's.
fn follow(machine: &mut Machine, commands: &[Command], slices: &[usize]) -> Oracle {
    let out = apply_in_slices(machine, &log(commands), slices);
    let mut oracle = Oracle::default();
    let mut changes = out.changes.iter();
    assert_eq!(out.results.len(), commands.len());
    for (command, applied) in commands.iter().zip(&out.results) {
        let (expected, events) = oracle.apply(command);
        let result = applied.result.clone().map(|outcome| (outcome.body, outcome.revision));
        assert_eq!(result, expected, "{command:?}");
        if !events.is_empty() {
            let change = changes.next().expect("what has written has a change");
            assert_eq!(change.revision.0, oracle.revision);
            assert_eq!(&change.events[..], &events[..], "{command:?}");
        }
    }
    assert!(changes.next().is_none(), "what has not written has no change");
    oracle
}

/// Every key and count at every revision that can be read.
fn compare_reads(machine: &Machine, oracle: &Oracle, requests: &[RangeRequest]) {
    let reader = machine.reader();
    assert_eq!(reader.revision().0, oracle.revision);
    assert_eq!(reader.compact_revision().0, oracle.compacted);
    let all = (oracle.compacted.max(1)..=oracle.revision).flat_map(|revision| {
        let every = RangeRequest { revision: Some(Revision(revision)), ..RangeRequest::new(KeyRange::all()) };
        [RangeRequest { count_only: true, ..every.clone() }, every]
    });
    for request in all.chain(requests.iter().cloned()) {
        let expected = oracle.check_revision(request.revision).map(|()| oracle.range(&request, oracle.revision));
        let found = reader.range(&request);
        assert_eq!(
            found.as_ref().map(|(found, _)| found).map_err(Clone::clone),
            expected.as_ref().map_err(Clone::clone),
            "{request:?}"
        );
        if let Ok((_, revision)) = found {
            assert!(revision.0 <= oracle.revision && revision.0 > 0);
        }
    }
}

/// The history from the compact revision on is what was told live.
fn compare_history(machine: &Machine, told: &[althing_strong::Change], max_bytes: usize) {
    let reader = machine.reader();
    let compacted = reader.compact_revision();
    let mut from = Revision(compacted.0.max(1));
    let mut found = Vec::new();
    while from <= reader.revision() {
        let history = reader.history(from, reader.revision(), max_bytes).unwrap();
        assert!(history.next > from);
        found.extend(history.changes);
        from = history.next;
    }
    let told: Vec<_> = told.iter().filter(|change| change.revision >= compacted).collect();
    // Of the compact revision itself only what is still the newest of its key is left, without the version before.
    let (told, found): (Vec<_>, Vec<_>) = (
        told.into_iter().filter(|change| change.revision > compacted).collect(),
        found.iter().filter(|change| change.revision > compacted).collect(),
    );
    assert_eq!(found, told);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_answer_is_the_oracles(
        commands in vec(random::command(), 0..40),
        slices in vec(1_usize..9, 1..4),
        requests in vec(random::range(), 0..12),
        steps in 0_usize..3,
    ) {
        let (_engine, mut machine) = new_machine();
        let oracle = follow(&mut machine, &commands, &slices);
        compare_reads(&machine, &oracle, &requests);
        for _ in 0..steps {
            machine.compaction_step().unwrap();
        }
        compare_reads(&machine, &oracle, &requests);
        let leases: Vec<_> = machine.leases().into_iter().map(|lease| (lease.id, lease.ttl_seconds)).collect();
        prop_assert_eq!(leases, oracle.leases.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn slices_and_compaction_progress_show_nowhere(
        commands in vec(random::command(), 0..40),
        slices in vec(1_usize..9, 1..4),
        page_bytes in 1_usize..2000,
    ) {
        let (_engine, mut one) = new_machine();
        let (_engine, mut two) = new_machine();
        let told = apply_in_slices(&mut one, &log(&commands), &[usize::MAX]);
        let entries = log(&commands);
        for slice in entries.chunks(slices[0]) {
            apply_in_slices(&mut two, slice, &slices);
            compact_fully(&mut two);
        }
        prop_assert_eq!(one.reader().hash(), two.reader().hash());
        prop_assert_eq!(one.reader().hash_kv(None), two.reader().hash_kv(None));
        prop_assert_eq!(export(&one, page_bytes), export(&two, page_bytes));
        prop_assert_eq!(one.reader().size_bytes(), two.reader().size_bytes());
        let from = Revision(one.reader().compact_revision().0.max(1));
        prop_assert_eq!(
            one.reader().history(from, Revision(i64::MAX - 1), usize::MAX).map(|history| history.changes.into_iter().filter(|change| change.revision > from).collect::<Vec<_>>()),
            two.reader().history(from, Revision(i64::MAX - 1), usize::MAX).map(|history| history.changes.into_iter().filter(|change| change.revision > from).collect::<Vec<_>>())
        );
        compare_history(&one, &told.changes, page_bytes);
        compare_history(&two, &told.changes, page_bytes);
    }

    #[test]
    fn a_snapshot_is_the_table_and_goes_on_as_it_does(
        before in vec(random::command(), 0..30),
        after in vec(random::command(), 0..10),
        requests in vec(random::range(), 0..8),
        page_bytes in 1_usize..2000,
    ) {
        let (engine, mut machine) = new_machine();
        let commands: Vec<Command> = before.iter().chain(&after).cloned().collect();
        let entries = log(&commands);
        let (first, second) = entries.split_at(before.len());
        apply_in_slices(&mut machine, first, &[5]);
        let mut running = machine.reader().export().unwrap();
        let (applied, head) = (running.applied(), running.next_page(page_bytes).unwrap());

        // The table goes on while the rest is read: nothing of that is in the snapshot.
        let told = apply_in_slices(&mut machine, second, &[2]);
        prop_assert!(!machine.compaction_step().unwrap(), "an export holds the history");
        let rest = std::iter::from_fn(|| running.next_page(page_bytes).unwrap());
        let space = SpaceId(8);
        let mut importer = Importer::new(Arc::clone(&engine) as _, space);
        for page in head.into_iter().chain(rest) {
            importer.page(page).unwrap();
        }
        let summary = importer.finish().unwrap();
        prop_assert_eq!(summary.applied, applied);
        drop(running);

        let mut copy = open(&engine, space);
        prop_assert_eq!(copy.applied(), applied);
        let retold = apply_in_slices(&mut copy, second, &[3]);
        prop_assert_eq!(retold, told);
        compact_fully(&mut copy);
        prop_assert_eq!(copy.reader().hash(), machine.reader().hash());
        prop_assert_eq!(export(&copy, page_bytes), export(&machine, page_bytes));
        for request in &requests {
            prop_assert_eq!(copy.reader().range(request), machine.reader().range(request));
        }
    }

    #[test]
    fn after_a_crash_the_rest_of_the_log_makes_the_same_table(
        commands in vec(random::command(), 1..40),
        checkpoint in 0_usize..40,
        unfinished in 0_usize..40,
        seed: u64,
    ) {
        let (engine, mut machine) = new_machine();
        let entries = log(&commands);
        for (at, slice) in entries.chunks(3).enumerate() {
            apply_in_slices(&mut machine, slice, &[3]);
            machine.compaction_step().unwrap();
            if at == checkpoint / 3 {
                althing_storage::engine::Engine::begin_checkpoint(&*engine).unwrap().finish().unwrap();
            }
            if at == unfinished / 3 {
                drop(althing_storage::engine::Engine::begin_checkpoint(&*engine).unwrap());
            }
        }
        let crashed = Arc::new(engine.crash(seed));
        let mut again = open(&crashed, common::SPACE);
        if again.is_blank() {
            again.bootstrap(&common::members(), "conf".into(), machine_start()).unwrap();
        }
        let from = usize::try_from(again.applied().index).unwrap();
        apply_in_slices(&mut again, &entries[from..], &[4]);
        compact_fully(&mut again);
        compact_fully(&mut machine);
        prop_assert_eq!(again.reader().hash(), machine.reader().hash());
        prop_assert_eq!(again.leases(), machine.leases());
        let count = RangeRequest { count_only: true, ..RangeRequest::new(KeyRange::all()) };
        prop_assert_eq!(again.reader().range(&count), machine.reader().range(&count));
    }
}

fn machine_start() -> althing_storage::engine::Applied {
    althing_storage::engine::Applied { index: 0, term: 1 }
}
