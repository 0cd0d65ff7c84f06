//! Random lives of a group. The invariants are checked at every step; after that all is healed, and the group must come
//! to agree.

mod support;

use althing_consensus::{Role, conf_change};
use althing_types::NodeId;
use support::chaos::Chaos;

/// Lives by default, and the steps of each. What a failing one prints is its seed.
const LIVES: u64 = 150;
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

fn agree(chaos: &mut Chaos) {
    chaos.heal();
    let world = &mut chaos.world;
    let leader = world.leader().expect("a healed group has a leader");
    world.propose(leader, "last").expect("a healed group takes proposals");
    world.read(leader, u64::MAX);
    world.settle();
    world.check();
    let replica = &world.nodes[&leader].replica;
    let (last, conf) = (replica.last_index(), replica.conf_state().clone());
    assert!(!conf.is_joint(), "a joint configuration is left");
    assert!(world.nodes[&leader].answered.contains(&u64::MAX), "a healed group answers reads");
    for id in conf.members() {
        let node = &world.nodes[&id];
        assert_eq!(node.machine.applied.index, last, "node {id} has applied everything");
        assert_eq!(node.machine.history, world.oracle.history(last), "node {id} has applied what everybody has");
        assert_eq!(node.machine.conf_state, conf, "node {id} knows who is a member");
    }
}

#[test]
fn random_lives_keep_the_invariants_and_end_in_agreement() {
    let mut totals = Totals::default();
    for seed in 0..LIVES {
        println!("seed {seed}");
        let mut chaos = live(seed);
        agree(&mut chaos);
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
fn removed_members_never_lead() {
    for seed in 0..20 {
        let chaos = live(1_000 + seed);
        for node in chaos.world.nodes.values() {
            let voter = node.replica.conf_state().voters.iter().chain(&node.replica.conf_state().voters_outgoing);
            let ids: Vec<NodeId> = voter.copied().collect();
            if let Role::Leader { .. } = node.replica.role() {
                assert!(ids.contains(&node.id), "seed {seed}: node {} leads without a vote", node.id);
            }
        }
    }
}
