//! The scenarios of the library, over a few seeds each: every one ends as it says, and what it is about really happens.

use std::ops::Range;

use althing_sim::scenario::{Scenario, library};
use althing_sim::{Report, run};

/// Seeds of each that are run here; the rest is for longer tests.
const SEEDS: Range<u64> = 0..2;

fn reports(name: &str) -> Vec<Report> {
    let text = library::find(name).unwrap_or_else(|| panic!("{name} is in the library"));
    let scenario = Scenario::parse(text).expect("a scenario of the library is right");
    let reports: Vec<Report> = SEEDS.map(|seed| run(scenario.options(seed, None))).collect();
    for report in &reports {
        assert_eq!(report.verdict(), scenario.expect, "{name}, seed {}: {:#?}", report.seed, report.findings);
        assert!(report.operations().0 > 50, "{name}, seed {}: hardly anything was done", report.seed);
    }
    reports
}

fn total(reports: &[Report], count: impl Fn(&Report) -> u64) -> u64 {
    reports.iter().map(count).sum()
}

#[test]
fn a_leader_that_stood_still_serves_nobody_until_it_has_heard() {
    assert!(total(&reports("leader-paused-through-its-lease"), |report| report.faults.pauses) >= 6);
}

#[test]
fn half_a_partition_and_a_whole_one_break_no_promise() {
    assert!(total(&reports("split-brain-one-way"), |report| report.faults.one_way) >= 8);
    assert!(total(&reports("split-brain"), |report| report.faults.partitions) >= 6);
}

#[test]
fn power_cuts_in_turn_and_together_lose_nothing_acknowledged() {
    assert!(total(&reports("rolling-power-cuts"), |report| report.faults.crashes) >= 12);
}

#[test]
fn slow_and_full_disks_cost_time_only() {
    assert!(total(&reports("one-slow-disk"), |report| report.faults.slow_disks) >= 4);
    assert!(total(&reports("full-disk"), |report| report.faults.full_disks) >= 8);
}

#[test]
fn what_has_forgotten_what_it_promised_is_refused_and_replaced() {
    let rotten = reports("rotten-log");
    assert_eq!(total(&rotten, |report| report.faults.rot + report.faults.rot_on_read), 4);
    assert_eq!(total(&rotten, |report| report.faults.condemned), 2);
    let backup = reports("yesterdays-backup");
    assert_eq!(total(&backup, |report| report.faults.rolled_back + report.faults.copied), 4);
    assert_eq!(total(&backup, |report| report.faults.condemned), 2);
}

#[test]
fn a_follower_that_needs_a_snapshot_gets_one_while_the_leader_moves() {
    assert!(total(&reports("snapshot-to-a-moving-target"), |report| report.faults.snapshots) >= 1);
}

#[test]
fn members_change_while_the_network_falls_apart() {
    let reports = reports("members-change-in-a-partition");
    assert!(
        total(&reports, |report| report.faults.joined) >= 4 && total(&reports, |report| report.faults.partitions) >= 4
    );
}

#[test]
fn slow_watchers_are_told_what_they_have_missed() {
    let reports = reports("compaction-under-a-slow-watcher");
    assert!(total(&reports, |report| report.history.watches.len() as u64) >= 20);
}

#[test]
fn clocks_that_are_wrong_end_no_lease_early() {
    for name in ["clocks-a-day-apart", "clocks-that-jump"] {
        assert!(total(&reports(name), |report| report.history.leases.len() as u64) >= 10, "{name}");
    }
}

#[test]
fn frames_that_are_late_lost_doubled_and_out_of_order_break_no_promise() {
    reports("swizzle");
    assert!(total(&reports("gray-network"), |report| report.network.dropped) >= 100);
}

#[test]
fn elections_that_kill_the_elected_lose_nothing() {
    assert!(total(&reports("cascade-of-elections"), |report| report.terms) >= 6);
}

#[test]
fn all_faults_at_once_break_no_promise() {
    reports("everything");
}

/// A scenario that is added to the library must be added here.
#[test]
fn every_scenario_of_the_library_is_tested() {
    let here = concat!(include_str!("scenarios.rs"), include_str!("control.rs"), include_str!("convergent.rs"));
    for (name, _) in library::LIBRARY {
        assert!(here.contains(&format!("\"{name}\"")), "{name} is not tested");
    }
}
