//! Each kind of client does real work, and each checker of what they saw is awake: mutants are
//! found by those that should find them.

use std::collections::BTreeSet;

use althing_probe::Mutant;
use althing_sim::history::{Admission, CacheSource, CallEnd, CallRecord, ListStep};
use althing_sim::report::Check;
use althing_sim::{FaultPlan, Options, Report, run};
use althing_types::Duration;

/// Seeds within which each must be found.
const SEEDS: std::ops::Range<u64> = 0..20;

fn ten_seconds(seed: u64, mutant: Option<Mutant>) -> Report {
    let duration = Duration::from_secs(10);
    run(Options { faults: FaultPlan::none(), mutant, duration, ..Options::new(seed) })
}

/// Runs seeds until each of these has found something.
fn assert_awake(mutant: Mutant, checks: &[Check]) {
    let mut found = BTreeSet::new();
    for seed in SEEDS {
        found.extend(ten_seconds(seed, Some(mutant)).findings.iter().map(|finding| finding.check));
        if checks.iter().all(|check| found.contains(check)) {
            return;
        }
    }
    panic!("{mutant:?} should be found by {checks:?}, and was by {found:?}");
}

#[test]
fn every_kind_of_client_does_real_work() {
    let report = ten_seconds(1, None);
    assert_eq!(report.findings, []);
    let history = &report.history;
    let refused = |call: &&CallRecord| matches!(call.end, CallEnd::Refused { .. });
    assert!(history.calls.len() > 1000, "only {} calls", history.calls.len());
    assert!(history.calls.iter().filter(refused).count() > 5, "nothing was refused");
    let appended = |step: &ListStep| matches!(step, ListStep::Append { .. });
    let appends =
        history.transactions.iter().filter(|known| known.returned.is_some() && known.steps.iter().any(appended));
    assert!(appends.count() > 20, "few lists grew");
    assert!(history.tenures.len() > 3, "few locks were held");
    let admitted = history.visits.iter().filter(|visit| visit.admission == Admission::Admitted).count();
    assert!(admitted > 3, "few got through");
    for source in [CacheSource::Listed, CacheSource::Followed, CacheSource::Concluded] {
        assert!(history.caches.iter().any(|cache| cache.source == source), "no copy was {source:?}");
    }
}

#[test]
fn transactions_without_their_comparisons_are_found_by_everybody_whom_they_concern() {
    let by = [Check::Exactness, Check::Bank, Check::Cycles, Check::LostUpdates, Check::Fencing, Check::Linearizability];
    assert_awake(Mutant::IgnoreComparisons, &by);
}

#[test]
fn lists_whose_pages_are_of_different_revisions_are_found() {
    assert_awake(Mutant::ReadPagesNow, &[Check::Exactness, Check::Caches]);
}

#[test]
fn versions_before_that_are_left_out_are_found() {
    assert_awake(Mutant::ForgetVersionsBefore, &[Check::Watches]);
}

#[test]
fn compactions_that_nobody_asked_for_are_found() {
    assert_awake(Mutant::CompactTooMuch, &[Check::Refusals, Check::Watches]);
}

#[test]
fn watch_events_that_are_lost_are_missed_in_what_was_made_of_them() {
    assert_awake(Mutant::LoseWatchEvents, &[Check::Watches, Check::Caches]);
}

#[test]
fn writes_that_are_repeated_are_found_exactly() {
    assert_awake(Mutant::RepeatWrites, &[Check::Exactness]);
}

#[test]
fn leases_that_end_early_let_a_second_holder_in() {
    assert_awake(Mutant::RushClocks, &[Check::Leases, Check::Fencing]);
}
