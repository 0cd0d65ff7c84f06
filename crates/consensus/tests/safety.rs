//! Random lives of a group. The invariants are checked at every step; after that all is healed, and the group must come
//! to agree.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use althing_consensus::{Role, conf_change};
use support::chaos::Chaos;

/// Lives by default, and the steps of each. What a failing one prints is its seed.
const LIVES: u64 = 300;
const STEPS: usize = 3_000;

fn live(seed: u64) -> Chaos {
    let mut chaos = Chaos::new(seed);
    for step in 0..STEPS {
        chaos.step();
        if step % 100 == 0 {
            chaos.world.check();
        }
    }
    chaos
}

#[test]
fn random_lives_keep_the_invariants_and_end_in_agreement() {
    let mut totals = Totals::default();
    for seed in 0..LIVES {
        println!("seed {seed}");
        let mut chaos = live(seed);
        chaos.agree();
        totals.add(&chaos);
    }
    // A test of nothing would pass as well.
    println!("{totals:?}");
    assert!(totals.leaders > LIVES as usize * 2, "lives have elections: {totals:?}");
    assert!(totals.entries > LIVES * 20, "lives have entries: {totals:?}");
    assert!(totals.conf_changes > LIVES as usize, "lives have changes of the configuration: {totals:?}");
    assert!(totals.snapshots > LIVES / 2, "lives have snapshots: {totals:?}");
    assert!(totals.reads > LIVES as usize, "lives have reads: {totals:?}");
    assert!(totals.hibernations > LIVES / 4, "lives have sleep: {totals:?}");
}

#[derive(Default, Debug)]
struct Totals {
    leaders: usize,
    entries: u64,
    conf_changes: usize,
    snapshots: u64,
    reads: usize,
    hibernations: u64,
}

impl Totals {
    fn add(&mut self, chaos: &Chaos) {
        let world = &chaos.world;
        let committed = world.oracle.committed();
        self.leaders += world.oracle.leaders();
        self.entries += committed;
        self.conf_changes += world.oracle.history(committed).iter().filter(|e| conf_change(e).is_ok()).count();
        for node in world.nodes.values() {
            self.snapshots += node.replica.metrics().snapshots_installed;
            self.hibernations += node.replica.metrics().hibernations;
            self.reads += node.answered.len();
        }
    }
}

#[test]
fn whoever_leads_has_a_vote() {
    for seed in 1_000..1_020 {
        for (id, node) in live(seed).world.nodes {
            if let Role::Leader { .. } = node.replica.role() {
                assert!(node.replica.conf_state().is_voter(id), "seed {seed}: node {id} leads without a vote");
            }
        }
    }
}
