//! What levels promise, for every choice of who answers.

use std::collections::BTreeSet;

use althing_quorum::{Level, Requirement, Sets, Tally, Verdict};
use althing_types::NodeId;
use proptest::prelude::*;

fn nodes(ids: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

/// Nodes 1 to 3 are in the east, all others in the west.
fn zone(node: NodeId) -> &'static str {
    if node.get() <= 3 { "east" } else { "west" }
}

fn verdict(level: Level, sets: &Sets, answered: &BTreeSet<NodeId>, failed: &BTreeSet<NodeId>) -> Verdict {
    let mut tally = Tally::new(Requirement::new(level, sets, zone, "east"));
    failed.iter().for_each(|node| tally.failed(*node));
    answered.iter().for_each(|node| tally.answered(*node));
    tally.verdict()
}

/// Whether a level is reached if exactly these answer.
fn met(level: Level, sets: &Sets, answered: &BTreeSet<NodeId>) -> bool {
    let failed = sets.everybody().difference(answered).copied().collect();
    match verdict(level, sets, answered, &failed) {
        Verdict::Met => true,
        Verdict::OutOfReach => false,
        Verdict::Open => panic!("all have answered or failed"),
    }
}

#[test]
fn levels_ask_for_what_their_names_say() {
    let sets = Sets::of((1..=6).map(NodeId));
    let table = [
        (Level::One, vec![5], true),
        (Level::One, vec![], false),
        (Level::Any, vec![2], true),
        (Level::Quorum, vec![1, 2, 5, 6], true),
        (Level::Quorum, vec![1, 2, 3], false),
        (Level::All, vec![1, 2, 3, 4, 5, 6], true),
        (Level::All, vec![1, 2, 3, 4, 5], false),
        (Level::LocalQuorum, vec![1, 3], true),
        (Level::LocalQuorum, vec![1, 4, 5, 6], false),
        (Level::EachQuorum, vec![1, 3, 5, 6], true),
        (Level::EachQuorum, vec![1, 2, 3, 4], false),
    ];
    for (level, answered, wanted) in table {
        assert_eq!(met(level, &sets, &nodes(answered.clone())), wanted, "{level} by {answered:?}");
    }
}

#[test]
fn a_level_of_a_zone_without_replicas_is_one_of_all() {
    let sets = Sets::of([4, 5, 6].map(NodeId));
    assert!(!met(Level::LocalQuorum, &sets, &nodes([4])));
    assert!(met(Level::LocalQuorum, &sets, &nodes([4, 6])));
}

#[test]
fn during_a_move_both_sets_must_answer() {
    let sets = Sets { current: nodes([1, 2, 3]), incoming: nodes([2, 3, 4]) };
    assert!(met(Level::Quorum, &sets, &nodes([2, 3])));
    assert!(!met(Level::Quorum, &sets, &nodes([1, 2])));
    assert!(met(Level::Quorum, &sets, &nodes([1, 2, 4])));
    assert!(!met(Level::All, &sets, &nodes([1, 2, 3])));
}

#[test]
fn without_replicas_nothing_is_reached() {
    assert!(!met(Level::One, &Sets::default(), &nodes([])));
}

#[test]
fn whoever_was_given_up_may_still_answer_and_an_answer_stays() {
    let mut tally = Tally::new(Requirement::new(Level::All, &Sets::of([NodeId(1), NodeId(2)]), zone, "east"));
    tally.failed(NodeId(2));
    assert_eq!(tally.verdict(), Verdict::OutOfReach);
    tally.answered(NodeId(2));
    tally.failed(NodeId(2));
    assert_eq!((tally.verdict(), tally.answers()), (Verdict::Open, 1));
    tally.answered(NodeId(1));
    assert_eq!(tally.verdict(), Verdict::Met);
}

#[test]
fn levels_are_read_by_their_names() {
    for level in Level::ALL {
        assert_eq!(level.name().to_lowercase().parse(), Ok(level));
    }
    assert!("two".parse::<Level>().is_err());
}

fn some() -> impl Strategy<Value = BTreeSet<NodeId>> {
    prop::collection::btree_set((1..=7_u64).prop_map(NodeId), 0..=7)
}

fn level() -> impl Strategy<Value = Level> {
    prop::sample::select(Level::ALL.to_vec())
}

/// Levels of which any two meet in some replica.
fn meeting() -> impl Strategy<Value = Level> {
    prop::sample::select(vec![Level::Quorum, Level::All])
}

proptest! {
    /// Gifford 1979: what a write at such a level has told, a read at such a level asks somebody who knows. Whoever coordinates may
    /// still know the sets before the move, or those during it, or those after it; only neighbours of these three meet.
    #[test]
    fn reads_meet_writes_also_across_a_step_of_a_move(
        old in some(), new in some(), read in meeting(), write in meeting(), asked in some(), told in some(), steps in (0..3_usize, 0..3_usize)
    ) {
        prop_assume!(!old.is_empty() && !new.is_empty() && steps.0.abs_diff(steps.1) <= 1);
        let views = [Sets::of(old.clone()), Sets { current: old, incoming: new.clone() }, Sets::of(new)];
        if met(write, &views[steps.0], &told) && met(read, &views[steps.1], &asked) {
            prop_assert!(told.intersection(&asked).next().is_some());
        }
    }

    /// More answers never make less of a level, and a verdict that is not open never changes when others answer or fail.
    #[test]
    fn verdicts_are_final(level in level(), sets in (some(), some()), answered in some(), failed in some(), later in some()) {
        let sets = Sets { current: sets.0, incoming: sets.1 };
        let failed: BTreeSet<_> = failed.difference(&answered).copied().collect();
        let before = verdict(level, &sets, &answered, &failed);
        let more: BTreeSet<_> = later.difference(&failed).copied().chain(answered.iter().copied()).collect();
        let after = verdict(level, &sets, &more, &failed);
        match before {
            Verdict::Open => {}
            Verdict::Met | Verdict::OutOfReach => prop_assert_eq!(before, after),
        }
    }
}
