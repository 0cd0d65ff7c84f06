//! Failing runs are shrunk to small ones that still fail in the same way.

use althing_probe::Mutant;
use althing_sim::report::{Check, Verdict};
use althing_sim::scenario::{Base, Scenario};
use althing_sim::shrink::{Shrunk, shrink};
use althing_sim::{Report, run};
use althing_types::Duration;

/// Runs that a shrink may take here: fewer than the command line allows.
const RUNS: u32 = 120;

fn worst() -> Scenario {
    Scenario { base: Base::All, nodes: 5, duration: Duration::from_secs(6), ..Scenario::default() }
}

/// The first seed that fails by one of the checks.
fn failing(mutant: Mutant, by: &[Check]) -> Report {
    let reports = (0..20).map(|seed| run(worst().options(seed, Some(mutant))));
    let mut fails = reports.filter(|report| report.findings.first().is_some_and(|finding| by.contains(&finding.check)));
    fails.next().expect("it fails within the seeds")
}

fn shrunk(mutant: Mutant, by: &[Check]) -> (Report, Shrunk) {
    let report = failing(mutant, by);
    let shrunk =
        shrink(&worst(), &report, Some(mutant), RUNS, &mut |_| {}).expect("a recorded run fails like the run itself");
    (report, shrunk)
}

#[test]
fn a_failing_run_is_shrunk_to_few_faults_and_fails_by_the_same_check() {
    let mutant = Mutant::AcknowledgeBeforeSync;
    let (report, small) = shrunk(mutant, &[Check::Ledger, Check::LostWrites, Check::Recovery]);
    let check = report.findings[0].check;
    let text = small.scenario.to_toml();
    let again = Scenario::parse(&text).expect("what is written can be read");
    let replayed = run(again.options(report.seed, Some(mutant)));
    assert_eq!(replayed.verdict(), Verdict::Broken, "{text}");
    assert!(replayed.findings.iter().any(|finding| finding.check == check), "{:?}\n{text}", replayed.findings);
    assert_eq!(replayed.trace_hash, small.report.trace_hash, "a file is the same run");
    assert!(small.scenario.scenes.len() * 4 <= small.faults_before, "{:#?}", small.words());
    assert!(small.runs <= RUNS);
}

#[test]
fn what_needs_no_fault_is_shrunk_to_none() {
    let (_, small) = shrunk(Mutant::SkipEntries, &[Check::Ledger]);
    assert!(small.scenario.scenes.is_empty(), "{:#?}", small.words());
    assert!(small.scenario.nodes < 5, "{:#?}", small.words());
}

#[test]
fn one_failure_always_shrinks_to_the_same_scenario() {
    let report = failing(Mutant::RepeatWrites, &[Check::Linearizability, Check::LostWrites]);
    let once = || shrink(&worst(), &report, Some(Mutant::RepeatWrites), 25, &mut |_| {}).map(|small| small.scenario);
    assert_eq!(once(), once());
}
