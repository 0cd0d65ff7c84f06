//! Convergent tables on bad days, as scenarios of the library: no promise is broken, and what each is about has happened.
//! `althing sim --scenario NAME --seed N` runs any of them again. More seeds: `ALTHING_CONVERGENT_SEEDS=0..100`.

#![allow(clippy::disallowed_methods, reason = "which seeds to run is asked of the environment, as other tests do")]

use althing_quorum::Level;
use althing_sim::checker::carts::{Action, Operation};
use althing_sim::checker::decided::{self, Said};
use althing_sim::scenario::{Scenario, library};
use althing_sim::{Report, run};

/// Runs a scenario with its seeds, or with those that the environment names.
fn reports(name: &str) -> Vec<Report> {
    let text = library::find(name).expect("it is in the library");
    let scenario = Scenario::parse(text).expect("it can be read");
    let given = std::env::var("ALTHING_CONVERGENT_SEEDS").ok().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let seeds = given.unwrap_or_else(|| scenario.seeds.clone());
    let mut broken = Vec::new();
    let reports: Vec<Report> = seeds
        .map(|seed| {
            let report = run(scenario.options(seed, None));
            let (done, unknown) = report.operations();
            println!(
                "{name} seed {seed}: {} events in {:?}, {done} done, {unknown} unknown, {} at ONE; wiped {}, put back {}, \
                 copied {}, given up {}",
                report.events,
                report.simulated,
                written(&report, Level::One),
                report.faults.wiped,
                report.faults.rolled_back,
                report.faults.copied,
                report.faults.condemned,
            );
            if let Some(finding) = report.findings.first() {
                broken.push(format!("althing sim --scenario {name} --seed {seed}: {finding:.600}"));
            }
            report
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    reports
}

/// Writes that were acknowledged at a level.
fn written(report: &Report, level: Level) -> usize {
    let is_write = |operation: &&Operation| {
        operation.level == level && operation.action != Action::Read && operation.done().is_some()
    };
    report.history.carts.iter().filter(is_write).count()
}

fn total(reports: &[Report], what: impl Fn(&Report) -> u64) -> u64 {
    reports.iter().map(what).sum()
}

#[test]
fn carts_on_both_sides_of_a_partition_are_whole_when_it_is_over() {
    let reports = reports("partitioned-carts");
    assert!(total(&reports, |report| report.faults.partitions) >= 20);
    for level in [Level::One, Level::Quorum, Level::All] {
        assert!(reports.iter().all(|report| written(report, level) > 20), "{level}");
    }
}

#[test]
fn clocks_that_are_an_hour_apart_decide_about_nothing_that_counts() {
    let reports = reports("clocks-an-hour-apart");
    assert!(total(&reports, |report| report.faults.clock_jumps) >= 20);
}

#[test]
fn replicas_move_while_clients_write_and_nothing_is_lost() {
    let reports = reports("convergent-churn");
    assert!(total(&reports, |report| report.control.destroyed) > 0);
    assert!(total(&reports, |report| report.faults.crashes + report.faults.kills) > 0);
}

#[test]
fn directories_that_were_emptied_or_put_back_name_nothing_again_and_take_nothing_along() {
    let reports = reports("wiped-and-restored");
    assert!(total(&reports, |report| report.faults.wiped) > 0);
    assert!(total(&reports, |report| report.faults.rolled_back) > 0);
    assert!(total(&reports, |report| report.faults.condemned) > 0);
}

#[test]
fn deltas_that_were_told_of_are_there_after_power_cuts_and_torn_writes() {
    let reports = reports("torn-deltas");
    assert!(total(&reports, |report| report.faults.crashes) >= 20);
    assert!(total(&reports, |report| report.faults.failed_disks) > 0);
}

#[test]
fn carts_come_through_any_choice_of_faults() {
    reports("carts-in-a-storm");
}

#[test]
fn strings_that_are_decided_by_rounds_are_linearizable_on_every_bad_day() {
    let reports = reports("decided-strings");
    assert!(total(&reports, |report| report.faults.partitions) >= 10);
    assert!(total(&reports, |report| report.faults.crashes + report.faults.kills) >= 20);
    assert!(total(&reports, |report| report.faults.clock_jumps) >= 10);
    for report in &reports {
        let said = |wanted: fn(&decided::Action, &Said) -> bool| {
            let is_wanted = |operation: &&decided::Operation| match &operation.outcome {
                decided::Outcome::Done { said, .. } => wanted(&operation.action, said),
                decided::Outcome::Refused | decided::Outcome::Unknown => false,
            };
            report.history.decided.iter().filter(is_wanted).count()
        };
        let seed = report.seed;
        assert!(said(|action, said| matches!(action, decided::Action::Claim(_)) && *said == Said::Yes) > 10, "{seed}");
        assert!(said(|action, said| matches!(action, decided::Action::Claim(_)) && *said == Said::No) > 10, "{seed}");
        assert!(
            said(|action, said| matches!(action, decided::Action::Compare { .. }) && *said == Said::Yes) > 10,
            "{seed}"
        );
        assert!(said(|action, _| matches!(action, decided::Action::Count(_))) > 20, "{seed}");
    }
}
