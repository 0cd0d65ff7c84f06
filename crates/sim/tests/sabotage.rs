//! Hosts that do their work wrongly on purpose: every one of them is found out within a few seeds, and by whom.

use althing_sim::options::Sabotage;
use althing_sim::report::Check;
use althing_sim::{FaultPlan, Options, run};
use althing_types::Duration;

/// Seeds within which each must be found.
const SEEDS: std::ops::Range<u64> = 0..40;

/// What broke first in the first seed in which anything broke.
fn found(sabotage: Sabotage) -> Option<(u64, Check)> {
    SEEDS.into_iter().find_map(|seed| {
        let duration = Duration::from_secs(6);
        let report = run(Options { faults: FaultPlan::all(), sabotage, duration, ..Options::new(seed) });
        report.findings.first().map(|finding| (seed, finding.check))
    })
}

fn assert_found(sabotage: Sabotage, by: &[Check]) {
    let found = found(sabotage);
    assert!(found.is_some_and(|(_, check)| by.contains(&check)), "{sabotage:?} was found so: {found:?}");
}

#[test]
fn writes_that_are_acknowledged_before_they_are_durable_are_found() {
    let by = [Check::Ledger, Check::LostWrites, Check::Crash, Check::Recovery];
    assert_found(Sabotage::AcknowledgeBeforeSync, &by);
}

#[test]
fn checkpoints_that_are_reported_before_they_are_durable_are_found() {
    assert_found(Sabotage::ReportCheckpointEarly, &[Check::Recovery, Check::Ledger, Check::Crash]);
}

#[test]
fn votes_that_are_forgotten_are_found() {
    assert_found(Sabotage::ForgetVotes, &[Check::Ledger, Check::Recovery, Check::Crash]);
}

#[test]
fn reads_without_a_read_index_are_found() {
    assert_found(Sabotage::ReadWithoutReadIndex, &[Check::Linearizability]);
}

#[test]
fn writes_that_are_repeated_are_found() {
    assert_found(Sabotage::RepeatWrites, &[Check::Linearizability, Check::LostWrites]);
}

#[test]
fn entries_that_are_left_out_are_found() {
    assert_found(Sabotage::SkipEntries, &[Check::Ledger]);
}

#[test]
fn watch_events_that_are_lost_are_found() {
    assert_found(Sabotage::LoseWatchEvents, &[Check::Watches]);
}

#[test]
fn leases_that_end_early_are_found() {
    assert_found(Sabotage::RushClocks, &[Check::Leases]);
}
