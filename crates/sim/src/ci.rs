//! The runs that every change must pass: one definition for all tests that go over them.
//!
//! They are short, and there are many: clusters of several sizes, about every other one under all faults at once, the rest each
//! under its own swarm, and a few under one kind of fault again and again. Over them every promise is kept, every kind of
//! fault happens, every rare path is taken (`tests/marks.rs`), and every run is the same in another process
//! (`tests/meta.rs`).

use std::ops::Range;

use althing_types::Duration;

use crate::faults::Episodes;
use crate::{FaultPlan, Options};

/// Their seeds.
pub const SEEDS: Range<u64> = 0..120;

/// Their seeds where a mistake is looked for. Most are noticed by the first of them; those that need two rare things at once get
/// more tries, so that not every change of the simulator hides one of them.
pub const MUTANT_SEEDS: Range<u64> = 0..400;

/// Their seeds in clusters with a control plane.
pub const TABLE_SEEDS: Range<u64> = 0..60;

/// Their seeds where a mistake of the control plane is looked for.
pub const TABLE_MUTANT_SEEDS: Range<u64> = 0..40;

/// The same in longer runs ([`Options::with_tables`]), for mistakes that need a replica to leave a node and to come back at a bad
/// moment.
pub const LONG_TABLE_MUTANT_SEEDS: Range<u64> = 0..300;

/// Seeds of the scenario `splits-under-load` where a mistake of splits is looked for.
pub const SPLIT_MUTANT_SEEDS: Range<u64> = 0..24;

/// Seeds of the scenarios in which a mistake of convergent tables is looked for.
pub const CONVERGENT_MUTANT_SEEDS: Range<u64> = 0..40;

/// How long faults go on in each.
pub const DURATION: Duration = Duration::from_secs(6);

/// Nodes of the cluster, by turns.
const NODES: [u64; 5] = [3, 3, 5, 1, 2];

/// What goes wrong in one of them: everything, a swarm of its own, or in some of those with three nodes one thing again and
/// again, which goes deeper than chance does in so short a time.
fn faults(seed: u64) -> FaultPlan {
    let (ms, calm) = (Duration::from_millis, FaultPlan::none());
    match seed % 20 {
        // Leaders that are cut off before they know it.
        6 => FaultPlan { partitions: Episodes::new(ms(450), ms(250), ms(400)), ..calm },
        // Disks that are read back before anything has settled.
        16 => FaultPlan {
            network: FaultPlan::all().network,
            disk: FaultPlan::all().disk,
            crashes: Episodes::new(ms(350), ms(10), ms(150)),
            ..calm
        },
        even if even % 2 == 0 => FaultPlan::all(),
        _ => FaultPlan::swarm(seed),
    }
}

/// One of them.
#[must_use]
pub fn options(seed: u64) -> Options {
    let faults = faults(seed);
    let nodes = NODES[usize::try_from(seed % 5).expect("it is below five")];
    Options { duration: DURATION, faults, nodes, ..Options::new(seed) }
}

/// One of them in a cluster with a control plane. Replicas move all the time; every other one has the seed's own swarm of faults,
/// the rest lose power and connections again and again, and are told wrongly who is up.
#[must_use]
pub fn table_options(seed: u64) -> Options {
    let (ms, secs) = (Duration::from_millis, Duration::from_secs);
    let options = Options { duration: secs(12), ..Options::with_tables(seed) };
    if seed.is_multiple_of(2) {
        return options;
    }
    let faults = FaultPlan {
        crashes: Episodes::new(ms(1200), ms(50), secs(5)),
        kills: Episodes::new(ms(2500), ms(50), ms(800)),
        partitions: Episodes::new(ms(1500), ms(300), ms(1500)),
        lies: Episodes::new(secs(2), ms(300), secs(2)),
        withheld_maps: Episodes::new(secs(2), ms(500), secs(6)),
        withheld_reports: Episodes::new(secs(5), secs(1), secs(7)),
        ..FaultPlan::none()
    };
    Options { faults, ..options }
}
