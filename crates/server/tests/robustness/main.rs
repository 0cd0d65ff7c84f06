//! Three real processes under `kill -9`, SIGSTOP, full disks and restarts, while clients work over the wire; what the clients
//! saw is judged by the simulator's own checkers. etcd's robustness tests are the model.
//!
//! ```text
//!   seed ─┬─ faults ──► Nemesis ──► three `althing server`, each with its data on a small tmpfs
//!         └─ clients ─► registers, bank, leases, watches, compaction ── gRPC ──► the same three
//!                              │
//!                          Recorder ── History ──┐
//!   at the end: the table's history, read ───────┴─► judge (linearizability, revisions, lost writes, watches, leases)
//!               from all three ── Truth            + bank + equal replicas
//! ```
//!
//! Unlike in the simulator a seed fixes only what is drawn (faults, their order and length, what clients ask), not how the
//! processes answer, so a failing run leaves its history behind: one JSON line for each thing that happened.
//!
//! `ALTHING_ROBUST_SECONDS` says for how long there are faults (the default is small enough for every run of the tests),
//! `ALTHING_ROBUST_SEED` which are drawn, `ALTHING_ROBUST_OUT` the directory that a failing run's history is written to.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod archive;
mod artifact;
mod bank;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod disks;
mod evidence;
mod finish;
mod leases;
mod nemesis;
mod recorder;
mod registers;
mod run;
mod watches;
mod wire;

use run::Plan;

/// Faults, traffic, healing and judgement. See the module's documentation for the variables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_is_kept_while_processes_are_killed_stopped_and_out_of_space() {
    let seconds = common::rounds("ALTHING_ROBUST_SECONDS", 15);
    let seed = common::rounds("ALTHING_ROBUST_SEED", 1);
    println!("seed {seed}, {seconds} s");
    let (evidence, mut findings, counts) = run::run(&Plan::with_faults(seed, seconds)).await;
    findings.extend(evidence.judge());
    println!("{counts}");
    if !findings.is_empty() {
        let path = artifact::write(seed, &evidence, &findings);
        panic!(
            "seed {seed}: {} findings, the first: {}\nthe history is in {}; again: ALTHING_ROBUST_SEED={seed} \
             ALTHING_ROBUST_SECONDS={seconds} cargo test -p althing-server --test robustness",
            findings.len(),
            findings[0],
            path.display()
        );
    }
    counts.assert_that_something_happened();
}
