//! The same seed gives the same trace, in this process and in another.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::process::Command;

use althing_codec::checksum::crc32c;
use support::chaos::Chaos;

const SEEDS: u64 = 10;
const STEPS: usize = 2_000;

fn trace(seed: u64) -> String {
    let mut chaos = Chaos::new(seed);
    for _ in 0..STEPS {
        chaos.step();
    }
    chaos.heal();
    chaos.world.trace
}

fn digests() -> String {
    (0..SEEDS)
        .map(|seed| {
            let trace = trace(seed);
            format!("seed {seed}: {} bytes, {:08x}", trace.len(), crc32c(trace.as_bytes()))
        })
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_by_byte() {
    for seed in 0..SEEDS {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}

#[test]
fn another_process_comes_to_the_same_traces() {
    let program = std::env::current_exe().unwrap();
    let child =
        Command::new(program).args(["--exact", "print_the_digests", "--ignored", "--nocapture"]).output().unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    let digests = digests();
    assert!(said.contains(&digests), "the other process said {said}, and this one has {digests}");
}

#[test]
#[ignore = "the other process of another_process_comes_to_the_same_traces"]
fn print_the_digests() {
    println!("{}", digests());
}
