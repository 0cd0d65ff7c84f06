//! How fast the world turns: simulated seconds per real second, for five nodes without faults.
//!
//! `cargo bench -p althing-sim` prints the best of a few runs, because anything else that runs on the machine only slows
//! them down.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::time::Instant;

use althing_sim::random::Latency;
use althing_sim::workload::WorkloadOptions;
use althing_sim::{FaultPlan, Options, Report, Verdict, run};
use althing_types::Duration;

/// As in the server, so that what is measured here is what `althing sim` does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUNS: u64 = 5;

/// One client that asks something about four times per second, and one watch.
fn light() -> WorkloadOptions {
    WorkloadOptions {
        register_clients: 1,
        lease_clients: 0,
        watch_clients: 1,
        keepers: 0,
        bank_clients: 0,
        list_clients: 0,
        lock_clients: 0,
        range_clients: 0,
        controllers: 0,
        reflectors: 0,
        compactors: 0,
        think: Latency::even(Duration::from_millis(200), Duration::from_millis(100)),
        ..WorkloadOptions::default()
    }
}

/// Ten clients on registers that rest for 15 ms on average, and all the others as usual.
fn heavy() -> WorkloadOptions {
    let think = Latency::even(Duration::ZERO, Duration::from_millis(30));
    WorkloadOptions { register_clients: 10, registers: 64, hot_percent: 2, think, ..WorkloadOptions::default() }
}

fn measure(name: &str, workload: &WorkloadOptions, simulated: Duration) {
    let mut best = 0.0_f64;
    let mut last = None;
    for seed in 0..RUNS {
        let options = Options {
            nodes: 5,
            duration: simulated,
            faults: FaultPlan::none(),
            workload: workload.clone(),
            ..Options::new(seed)
        };
        let begun = Instant::now();
        let report = run(options);
        best = best.max(report.simulated.as_secs_f64() / begun.elapsed().as_secs_f64());
        assert_eq!(report.verdict(), Verdict::Kept, "{:?}", report.findings);
        last = Some(report);
    }
    let report: Report = last.expect("there was at least one run");
    let seconds = report.simulated.as_secs_f64();
    println!(
        "{name:<6} {best:>7.0} simulated s per s   {:>6.0} operations/s  {:>6.0} entries/s  {:>6.0} events/s",
        report.operations().0 as f64 / seconds,
        report.entries as f64 / seconds,
        report.events as f64 / seconds,
    );
}

fn main() {
    measure("light", &light(), Duration::from_secs(300));
    measure("heavy", &heavy(), Duration::from_secs(20));
}
