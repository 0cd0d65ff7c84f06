//! The simulator's own promise: one seed is one run.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use althing_sim::{FaultPlan, Options, Report, Verdict, ci, run};
use althing_types::Duration;

/// What three nodes write to their logs for one entry of some hundred bytes: the zeros of fresh segments, the entry, what
/// small segments repeat, and what pins the log.
const MAX_LOG_BYTES_PER_ENTRY: u64 = 32 * 1024;

fn short(seed: u64) -> Options {
    Options { duration: Duration::from_secs(5), ..Options::new(seed) }
}

fn hash(report: &Report) -> String {
    format!("{:016x}", report.trace_hash)
}

fn assert_kept(report: &Report) {
    assert_eq!(report.verdict(), Verdict::Kept, "seed {}: {:#?}", report.seed, report.findings);
}

#[test]
fn a_run_without_faults_keeps_every_promise_and_does_real_work() {
    let report = run(Options { faults: FaultPlan::none(), ..short(1) });
    assert_kept(&report);
    let (done, unknown) = report.operations();
    assert!(done > 200, "only {done} operations were done");
    assert_eq!(unknown, 0);
    assert_eq!(report.terms, 1, "a calm cluster elects one leader");
    assert!(!report.history.watches.is_empty() && !report.history.leases.is_empty());
}

/// Over all runs of the CI set: every promise is kept, every kind of fault happens, and another process, which runs them at
/// the same time, comes to the same traces.
#[test]
fn runs_under_faults_keep_every_promise_and_are_the_same_in_another_process() {
    let program = std::env::current_exe().expect("a running test has a path");
    let other = Command::new(program)
        .args(["--exact", "prints_the_hashes_of_the_seeds", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can start itself");
    let mut met: BTreeMap<&str, u64> = BTreeMap::new();
    let mut hashes = Vec::new();
    for seed in ci::SEEDS {
        let report = run(ci::options(seed));
        assert_kept(&report);
        hashes.push(hash(&report));
        for (kind, count) in report.faults.kinds() {
            *met.entry(kind).or_default() += count;
        }
    }
    assert!(met.values().all(|count| *count > 0), "{met:?}");
    let output = other.wait_with_output().expect("the other process ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&hashes.join(" ")), "another process says: {text}");
}

/// A node that had been away came back without the commit index that it had known, stood for election with a configuration
/// of two changes ago, was elected by a member that had been removed, and led a term that had a leader.
#[test]
fn a_node_that_starts_again_is_not_elected_by_members_that_have_left() {
    assert_kept(&run(Options::new(1897)));
}

/// The raft crate joined entries to an append that stood at another place of the log, and a follower took each for the one
/// after it.
#[test]
fn entries_are_never_taken_for_those_after_them() {
    assert_kept(&run(Options { nodes: 5, faults: FaultPlan::all(), ..Options::new(5027) }));
}

/// While this was not so, a log that had grown long before a checkpoint was written anew with every sync.
#[test]
fn logs_are_written_a_few_times_over_not_hundreds_of_times() {
    let report = run(Options { faults: FaultPlan::none(), ..short(2) });
    let per_entry = report.log_bytes / report.entries;
    assert!(per_entry < MAX_LOG_BYTES_PER_ENTRY, "{per_entry} bytes per entry on all three nodes together");
}

#[test]
fn different_seeds_are_different_runs() {
    assert_ne!(run(short(1)).trace_hash, run(short(2)).trace_hash);
}

#[test]
#[ignore = "the other process of `runs_under_faults_keep_every_promise_and_are_the_same_in_another_process`"]
fn prints_the_hashes_of_the_seeds() {
    println!("{}", ci::SEEDS.map(|seed| hash(&run(ci::options(seed)))).collect::<Vec<_>>().join(" "));
}
