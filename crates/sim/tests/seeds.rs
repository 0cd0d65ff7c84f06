//! Runs that found a bug, kept: each went wrong once, and goes well since.

use althing_sim::{Options, ci, run};

fn goes_well(name: &str, options: Options) {
    let report = run(options);
    assert!(report.findings.is_empty(), "{name}: {:#?}", report.findings);
}

#[test]
fn a_leader_of_an_earlier_term_does_not_take_a_replica_that_came_back_for_the_first_one() {
    goes_well("seed 220 of the tables", ci::table_options(220));
}
