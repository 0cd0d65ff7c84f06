//! Faults at moments of their own, one kind per run: what the store makes of each.

use althing_sim::clocks::Jump;
use althing_sim::faults::Fault;
use althing_sim::{FaultPlan, Options, Report, Verdict, run};
use althing_types::{Duration, NodeId};

const VICTIM: NodeId = NodeId(2);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A calm run of eight seconds in which only this happens, at these milliseconds.
fn only(seed: u64, faults: &[(u64, Fault)]) -> Report {
    let schedule = faults.iter().map(|(at, fault)| (ms(*at), fault.clone())).collect();
    let faults = FaultPlan { schedule, ..FaultPlan::none() };
    let report = run(Options { faults, duration: ms(8000), ..Options::new(seed) });
    assert_eq!(report.verdict(), Verdict::Kept, "{:#?}", report.findings);
    report
}

/// The machine was found out, its member removed, and another one added.
fn assert_replaced(report: &Report) {
    let counts = report.faults;
    assert_eq!((counts.condemned, counts.left, counts.joined), (1, 1, 1), "{counts:?}");
    assert_eq!((report.budget.tight, report.budget.spared), (1, 0), "{:?}", report.budget);
    assert!(report.budget.tight_for < ms(10_000), "it took {:?}", report.budget.tight_for);
}

#[test]
fn a_log_that_has_rotted_is_refused_and_its_member_is_replaced() {
    for seed in 0..6 {
        let report = only(
            seed,
            &[
                (3000, Fault::Rot { node: VICTIM, seed: 7 }),
                (3010, Fault::Kill(VICTIM)),
                (3200, Fault::Restart(VICTIM)),
            ],
        );
        assert_eq!(report.faults.rot, 1);
        assert_replaced(&report);
    }
}

#[test]
fn a_log_that_is_read_wrongly_once_is_refused_and_read_again() {
    for seed in 0..6 {
        let wrong = Fault::RotOnRead { node: VICTIM, seed: 7 };
        let report = only(seed, &[(3000, wrong), (3010, Fault::Kill(VICTIM)), (3200, Fault::Restart(VICTIM))]);
        assert_eq!((report.faults.rot_on_read, report.faults.condemned, report.faults.restarts), (1, 0, 1));
    }
}

#[test]
fn an_emptied_directory_is_refused_and_its_member_is_replaced() {
    let report = only(1, &[(3000, Fault::Wipe(VICTIM)), (3200, Fault::Restart(VICTIM))]);
    assert_replaced(&report);
}

#[test]
fn a_directory_that_is_put_back_is_refused_and_its_member_is_replaced() {
    let again = [(1010, Fault::Kill(VICTIM)), (1050, Fault::Restart(VICTIM))];
    let back = [(4000, Fault::RollBack(VICTIM)), (4100, Fault::Restart(VICTIM))];
    let report = only(1, &[&[(1000, Fault::KeepImage(VICTIM))], &again[..], &back[..]].concat());
    assert_eq!(report.faults.rolled_back, 1);
    assert_replaced(&report);
}

/// Nobody could tell a backup of the run that the others saw last from what was restarted: the budget withholds it.
#[test]
fn a_directory_that_nobody_could_tell_is_not_put_back() {
    let report = only(1, &[(1000, Fault::KeepImage(VICTIM)), (4000, Fault::RollBack(VICTIM))]);
    assert_eq!((report.faults.rolled_back, report.budget.withheld), (0, 1));
}

#[test]
fn a_second_machine_on_a_copy_is_refused_and_the_first_one_goes_on() {
    let again = [(1010, Fault::Kill(VICTIM)), (1050, Fault::Restart(VICTIM))];
    let copied = [(3000, Fault::Copy(VICTIM)), (6000, Fault::Unplug(VICTIM))];
    let report = only(1, &[&[(1000, Fault::KeepImage(VICTIM))], &again[..], &copied[..]].concat());
    assert_eq!((report.faults.copied, report.faults.condemned, report.faults.joined), (1, 0, 0));
}

#[test]
fn a_disk_that_loses_syncs_is_given_up_when_the_power_fails_and_not_before() {
    let lying = (2000, Fault::LoseSyncs(VICTIM));
    let killed = [(3000, Fault::Kill(VICTIM)), (3100, Fault::Restart(VICTIM))];
    let honest = (5000, Fault::KeepSyncs(VICTIM));
    let report =
        only(1, &[std::slice::from_ref(&lying), &killed[..], &[honest, (6000, Fault::Crash(VICTIM))][..]].concat());
    assert_eq!((report.faults.lost_syncs, report.faults.condemned, report.faults.crashes), (1, 0, 1));
    let report = only(1, &[lying, (4000, Fault::Crash(VICTIM)), (4100, Fault::Restart(VICTIM))]);
    assert_replaced(&report);
}

#[test]
fn one_machine_is_lost_at_a_time_and_none_of_two() {
    let both = [(3000, Fault::Wipe(VICTIM)), (3001, Fault::Wipe(NodeId(3))), (3200, Fault::Restart(VICTIM))];
    let report = only(1, &both);
    assert_eq!((report.faults.wiped, report.budget.withheld), (1, 1));
    let schedule = both.iter().map(|(at, fault)| (ms(*at), fault.clone())).collect();
    let faults = FaultPlan { schedule, ..FaultPlan::none() };
    let report = run(Options { faults, nodes: 2, duration: ms(4000), ..Options::new(1) });
    assert_eq!((report.faults.wiped, report.verdict()), (0, Verdict::Kept), "{:?}", report.findings);
}

/// A node that led with a clock that was put back by hours would otherwise keep dead leases, and hold back its pings, as long.
#[test]
fn clocks_that_are_set_stop_nothing() {
    let jump = |at, node, jump| (at, Fault::JumpClock { node: NodeId(node), jump });
    let hours = Duration::from_secs(7200);
    let jumps: Vec<_> = (1..=3)
        .flat_map(|node| {
            [jump(1000 * node, node, Jump::Forward(hours * 2)), jump(4000 + 500 * node, node, Jump::Back(hours))]
        })
        .collect();
    let report = only(1, &jumps);
    assert_eq!((report.faults.clock_jumps, report.history.jumps.len(), report.terms), (6, 1, 1));
    let late = report.history.operations.iter().filter(|operation| operation.invoked.as_nanos() > 6_000_000_000);
    assert!(late.filter(|operation| operation.acknowledged_revision().is_some()).count() > 50);
}

#[test]
fn nodes_that_are_clogged_and_starved_lose_nothing() {
    let clogged: Vec<_> = (1..=3).map(|node| (2000 + 100 * node, Fault::Clog(NodeId(node)))).collect();
    let unclogged: Vec<_> = (1..=3).map(|node| (5000 - 300 * node, Fault::Unclog(NodeId(node)))).collect();
    let slow = |at, by| (at, Fault::SlowNode { node: VICTIM, by: ms(by) });
    let report = only(1, &[&clogged[..], &unclogged[..], &[slow(5500, 80), slow(7000, 0)]].concat());
    assert_eq!(
        (report.faults.clogs, report.faults.slow_nodes, report.network.dropped, report.network.cut),
        (3, 1, 0, 0)
    );
    assert!(report.network.held > 20, "{:?}", report.network);
}

/// What chance inflicts in a run makes the same run again as a schedule.
#[test]
fn what_was_inflicted_makes_the_same_run_again() {
    for (seed, nodes) in [(3, 3), (4, 5), (5, 3)] {
        let options = || Options { nodes, duration: ms(6000), faults: FaultPlan::all(), ..Options::new(seed) };
        let first = run(options());
        let again = run(Options { faults: FaultPlan::all().replaying(first.inflicted.clone()), ..options() });
        assert_eq!(first.inflicted, again.inflicted);
        assert_eq!(first.history, again.history);
        assert_eq!((first.entries, first.terms, first.network), (again.entries, again.terms, again.network));
    }
}
