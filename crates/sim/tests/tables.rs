//! Clusters with a control plane: a table of eight shards on five nodes, two of which were registered later, nodes drained and
//! taken back, silent ones replaced, while machines fail, networks part and clients write. Every shard's history is judged like
//! a table's, and in the end every replica is where it belongs and nowhere else.

#![allow(clippy::disallowed_methods, reason = "which seeds to run is asked of the environment, as other tests do")]

use althing_sim::{Options, run};

/// Seeds that CI runs; others with `ALTHING_TABLE_SEEDS=FROM..TO`.
fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("ALTHING_TABLE_SEEDS").ok().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    given.unwrap_or(0..24)
}

#[test]
fn shards_keep_every_promise_while_their_replicas_move() {
    let (mut writes, mut moved) = (0, 0);
    for seed in seeds() {
        let report = run(Options::with_tables(seed));
        assert!(report.findings.is_empty(), "seed {seed}: {:#?}", report.findings);
        let acknowledged = |operation: &&althing_sim::checker::Operation| operation.acknowledged_revision().is_some();
        writes += report.history.operations.iter().filter(acknowledged).count();
        moved += report.faults.snapshots;
    }
    println!("{writes} writes acknowledged, {moved} snapshots");
    assert!(writes > 0 && moved > 0);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let hash = |seed| run(Options::with_tables(seed)).trace_hash;
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3), hash(4));
}
