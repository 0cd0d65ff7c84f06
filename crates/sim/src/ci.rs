//! The runs that every change must pass: one definition for all tests that go over them.
//!
//! They are short, and there are many: clusters of several sizes, every other one under all faults at once, the rest each
//! under its own swarm. Over them every promise is kept, every kind of fault happens, every rare path is taken
//! (`tests/marks.rs`), and every run is the same in another process (`tests/meta.rs`).

use std::ops::Range;

use althing_types::Duration;

use crate::{FaultPlan, Options};

/// Their seeds.
pub const SEEDS: Range<u64> = 0..120;

/// How long faults go on in each.
pub const DURATION: Duration = Duration::from_secs(6);

/// Nodes of the cluster, by turns.
const NODES: [u64; 5] = [3, 3, 5, 1, 2];

/// One of them.
#[must_use]
pub fn options(seed: u64) -> Options {
    let faults = if seed.is_multiple_of(2) { FaultPlan::all() } else { FaultPlan::swarm(seed) };
    let nodes = NODES[usize::try_from(seed % 5).expect("it is below five")];
    Options { duration: DURATION, faults, nodes, ..Options::new(seed) }
}
