//! Bad days of clusters with a control plane, as scenarios of the library: no promise is broken, and what each is about has
//! happened. `althing sim --scenario NAME --seed N` runs any of them again. More seeds: `ALTHING_CONTROL_SEEDS=0..100`.

#![allow(clippy::disallowed_methods, reason = "which seeds to run is asked of the environment, as other tests do")]

use althing_sim::scenario::{Scenario, library};
use althing_sim::{Report, run};

/// A call that is refused is sent on by what the refusal says. Where replicas move under it, that may be behind, too: so many
/// times at the most, in a network that loses nothing.
const MOST_TRIES: u64 = 12;

/// Runs a scenario with its seeds, or with those that the environment names.
fn reports(name: &str) -> Vec<Report> {
    let text = library::find(name).expect("it is in the library");
    let scenario = Scenario::parse(text).expect("it can be read");
    let given = std::env::var("ALTHING_CONTROL_SEEDS").ok().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let seeds = given.unwrap_or_else(|| scenario.seeds.clone());
    seeds
        .map(|seed| {
            let report = run(scenario.options(seed, None));
            assert!(report.findings.is_empty(), "althing sim --scenario {name} --seed {seed}: {:#?}", report.findings);
            println!("{name} seed {seed}: {} events, {:?}", report.events, report.control);
            report
        })
        .collect()
}

fn total(reports: &[Report], what: impl Fn(&Report) -> u64) -> u64 {
    reports.iter().map(what).sum()
}

#[test]
fn shards_serve_and_nothing_moves_while_the_control_plane_has_no_quorum() {
    for report in reports("meta-without-a-quorum") {
        let control = report.control;
        assert!(control.without_meta >= 2, "seed {}: {control:?}", report.seed);
        assert!(
            control.served_without_meta > 0 && control.writes_without_meta > 0,
            "seed {}: {control:?}",
            report.seed
        );
    }
}

/// A stale map costs a few refusals, never an error that lasts.
#[test]
fn clients_of_stale_routers_are_answered_after_a_few_tries() {
    let reports = reports("stale-routers");
    assert!(total(&reports, |report| report.control.wrong_shards) > 0);
    assert!(total(&reports, |report| report.control.withheld) > 0);
    let most = reports.iter().map(|report| report.control.most_tries).max().unwrap_or_default();
    println!("at most {most} tries of one call");
    assert!(most <= MOST_TRIES, "one call was sent to other nodes {most} times");
}

#[test]
fn shards_that_lose_a_zone_serve_and_are_rebuilt_and_spread_again() {
    for report in reports("a-zone-is-lost") {
        let control = report.control;
        assert!(
            control.spread > 0 && control.rebuilt > 0 && control.stretches > 0,
            "seed {}: {control:?}",
            report.seed
        );
    }
}

#[test]
fn a_hundred_nodes_come_and_go_and_no_write_is_lost() {
    let reports = reports("a-hundred-nodes");
    assert!(total(&reports, |report| report.control.destroyed) > 0);
    assert!(total(&reports, |report| report.faults.crashes + report.faults.kills) > 0);
}

#[test]
fn hints_that_lie_cost_time_and_nothing_else() {
    let reports = reports("hints-that-lie");
    assert!(total(&reports, |report| report.control.lies) > 0);
    assert!(total(&reports, |report| report.control.withheld) > 0);
}

#[test]
fn a_reconciler_may_die_after_every_write() {
    let reports = reports("reconciler-killed-at-every-step");
    assert!(total(&reports, |report| report.faults.triggered) > 20);
}

#[test]
fn shards_are_split_under_load_and_no_write_is_lost() {
    let reports = reports("splits-under-load");
    let splits = total(&reports, |report| report.control.splits);
    println!("{splits} splits, {} calls redirected", total(&reports, |report| report.control.redirected));
    assert!(splits > 0);
}
