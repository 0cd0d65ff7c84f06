//! From where a shard's replicas are to where they should be, one replica at a time.
//!
//! A replacement is four steps: the newcomer is added as a learner, promoted once it has everything, the leader moves away
//! from the replica that goes, and that one is removed. So a shard has its full number of voters at every moment, and one
//! more for a short while. Voters that are dead go before those that live.
//!
//! [`next`] looks at nothing but the present state and the wanted one: whoever executes the steps may crash, forget or change
//! its mind between any two of them. What it must see to: a learner is promoted only when it has all that its leader
//! has, and membership changes of one shard are made one after another.

use std::collections::BTreeSet;

use althing_types::NodeId;

use super::{Actual, Placement};

/// One change of one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Make the shard, which has never been, with these voters at once: it is empty, so that nothing has to be filled.
    Create(BTreeSet<NodeId>),
    /// Give this node a replica that is filled and does not vote.
    AddLearner(NodeId),
    /// Let this learner vote, once it has everything.
    Promote(NodeId),
    /// Let this voter lead.
    TransferLeader(NodeId),
    /// Take away this node's replica, be it a voter or a learner.
    Remove(NodeId),
}

/// Why no safe step leads on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Stuck {
    /// Changes of members need a quorum themselves. Bring dead nodes back, or recover the shard by hand.
    #[error("{alive} of {voters} voters live, which is no quorum: bring a dead node back or recover the shard")]
    NoQuorum {
        /// Voters that live.
        alive: usize,
        /// Voters in all.
        voters: usize,
    },
    /// A node that should get a replica, or has one that should vote, is dead. Plan anew.
    #[error("node {0} is dead: plan anew without it")]
    NewcomerIsDead(NodeId),
    /// The wanted placement is empty or would leave no quorum of living voters. Plan anew.
    #[error("what is wanted would leave no quorum of living voters: plan anew")]
    WouldLoseQuorum,
}

/// Whether so many living voters are a quorum of so many.
#[must_use]
pub const fn is_quorum(alive: usize, voters: usize) -> bool {
    alive > voters / 2
}

/// The next step of a shard; `None` when it is where it should be.
///
/// # Errors
///
/// [`Stuck`] if there is no step that leaves a quorum of living voters, or the node that it is about is dead.
pub fn next(actual: &Actual, wanted: &Placement, is_alive: impl Fn(NodeId) -> bool) -> Result<Option<Step>, Stuck> {
    let alive = actual.voters.iter().filter(|id| is_alive(**id)).count();
    if *actual == Actual::default() {
        return creation(wanted, &is_alive);
    }
    if !is_quorum(alive, actual.voters.len()) {
        return Err(Stuck::NoQuorum { alive, voters: actual.voters.len() });
    }
    if let Some(stray) = actual.learners.iter().find(|id| !wanted.replicas.contains(id)) {
        return Ok(Some(Step::Remove(*stray)));
    }
    if actual.voters.len() > wanted.replicas.len() {
        return removal(actual, wanted, &is_alive).map(Some);
    }
    if let Some(id) = actual.learners.first() {
        return if is_alive(*id) { Ok(Some(Step::Promote(*id))) } else { Err(Stuck::NewcomerIsDead(*id)) };
    }
    if let Some(id) = wanted.replicas.difference(&actual.voters).next() {
        return if is_alive(*id) { Ok(Some(Step::AddLearner(*id))) } else { Err(Stuck::NewcomerIsDead(*id)) };
    }
    let transfer = wanted.leader.filter(|leader| actual.leader != Some(*leader) && is_alive(*leader));
    Ok(transfer.map(Step::TransferLeader))
}

/// Makes a shard that has never been.
fn creation(wanted: &Placement, is_alive: &impl Fn(NodeId) -> bool) -> Result<Option<Step>, Stuck> {
    if wanted.replicas.is_empty() {
        return Ok(None);
    }
    match wanted.replicas.iter().find(|id| !is_alive(**id)) {
        Some(dead) => Err(Stuck::NewcomerIsDead(*dead)),
        None => Ok(Some(Step::Create(wanted.replicas.clone()))),
    }
}

/// Takes away a voter that is not wanted: a dead one first, the leader last and only after it has handed over.
fn removal(actual: &Actual, wanted: &Placement, is_alive: &impl Fn(NodeId) -> bool) -> Result<Step, Stuck> {
    let rank = |id: &&NodeId| (is_alive(**id), actual.leader == Some(**id), **id);
    let victim = actual.voters.difference(&wanted.replicas).min_by_key(rank).ok_or(Stuck::WouldLoseQuorum)?;
    let left: BTreeSet<NodeId> = actual.voters.iter().filter(|id| *id != victim).copied().collect();
    let alive = left.iter().filter(|id| is_alive(**id)).count();
    if !is_quorum(alive, left.len()) {
        return Err(Stuck::WouldLoseQuorum);
    }
    if actual.leader != Some(*victim) || !is_alive(*victim) {
        return Ok(Step::Remove(*victim));
    }
    let staying = || left.iter().filter(|id| wanted.replicas.contains(id) && is_alive(**id)).min();
    let heir = wanted.leader.filter(|id| left.contains(id) && is_alive(*id)).or_else(|| staying().copied());
    heir.map(Step::TransferLeader).ok_or(Stuck::WouldLoseQuorum)
}

/// What the shard looks like after a step.
pub fn apply(actual: &mut Actual, step: &Step) {
    match *step {
        Step::Create(ref voters) => actual.voters = voters.clone(),
        Step::AddLearner(id) => {
            actual.learners.insert(id);
        }
        Step::Promote(id) => {
            actual.learners.remove(&id);
            actual.voters.insert(id);
        }
        Step::TransferLeader(id) => actual.leader = Some(id),
        Step::Remove(id) => {
            actual.learners.remove(&id);
            actual.voters.remove(&id);
            actual.leader = actual.leader.filter(|leader| *leader != id);
        }
    }
}

/// All steps of a shard, in order, and what stopped them if they do not lead to the end.
pub fn all(actual: &Actual, wanted: &Placement, is_alive: impl Fn(NodeId) -> bool) -> (Vec<Step>, Option<Stuck>) {
    let mut state = actual.clone();
    let mut steps = Vec::new();
    loop {
        match next(&state, wanted, &is_alive) {
            Ok(Some(step)) => {
                apply(&mut state, &step);
                steps.push(step);
            }
            Ok(None) => return (steps, None),
            Err(stuck) => return (steps, Some(stuck)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn actual(voters: &[u64], leader: u64) -> Actual {
        Actual { voters: ids(voters), learners: BTreeSet::new(), leader: Some(NodeId(leader)) }
    }

    fn wanted(replicas: &[u64], leader: u64) -> Placement {
        Placement { replicas: ids(replicas), leader: Some(NodeId(leader)) }
    }

    fn steps(actual: &Actual, wanted: &Placement, dead: &[u64]) -> (Vec<Step>, Option<Stuck>) {
        all(actual, wanted, |id| !dead.contains(&id.get()))
    }

    #[test]
    fn a_replacement_adds_promotes_hands_over_and_removes() {
        assert_eq!(
            steps(&actual(&[1, 2, 3], 3), &wanted(&[1, 2, 4], 2), &[]).0,
            [
                Step::AddLearner(NodeId(4)),
                Step::Promote(NodeId(4)),
                Step::TransferLeader(NodeId(2)),
                Step::Remove(NodeId(3)),
            ]
        );
    }

    #[test]
    fn two_replacements_come_one_after_the_other_and_the_dead_goes_first() {
        assert_eq!(
            steps(&actual(&[1, 2, 3], 1), &wanted(&[2, 4, 5], 5), &[3]).0,
            [
                Step::AddLearner(NodeId(4)),
                Step::Promote(NodeId(4)),
                Step::Remove(NodeId(3)),
                Step::AddLearner(NodeId(5)),
                Step::Promote(NodeId(5)),
                Step::TransferLeader(NodeId(5)),
                Step::Remove(NodeId(1)),
            ]
        );
    }

    #[test]
    fn a_shard_that_has_never_been_is_made_at_once() {
        let made = [Step::Create(ids(&[1, 2])), Step::TransferLeader(NodeId(2))];
        assert_eq!(steps(&Actual::default(), &wanted(&[1, 2], 2), &[]), (made.to_vec(), None));
        let newcomer_is_dead = Some(Stuck::NewcomerIsDead(NodeId(2)));
        assert_eq!(steps(&Actual::default(), &wanted(&[1, 2], 1), &[2]), (vec![], newcomer_is_dead));
        assert_eq!(steps(&Actual::default(), &Placement::default(), &[]), (vec![], None));
    }

    #[test]
    fn without_a_quorum_nothing_moves() {
        let (moves, stuck) = steps(&actual(&[1, 2, 3], 1), &wanted(&[1, 4, 5], 1), &[2, 3]);
        assert_eq!((moves, stuck), (vec![], Some(Stuck::NoQuorum { alive: 1, voters: 3 })));
    }

    #[test]
    fn a_learner_that_died_is_not_waited_for() {
        let mut state = actual(&[1, 2, 3], 1);
        state.learners = ids(&[4]);
        assert_eq!(steps(&state, &wanted(&[1, 2, 4], 1), &[4]), (vec![], Some(Stuck::NewcomerIsDead(NodeId(4)))));
        assert_eq!(steps(&state, &wanted(&[1, 2, 3], 1), &[4]), (vec![Step::Remove(NodeId(4))], None));
    }

    #[test]
    fn a_wish_that_kills_the_quorum_is_refused() {
        assert_eq!(steps(&actual(&[1, 2, 3], 1), &wanted(&[3], 1), &[3]).1, Some(Stuck::WouldLoseQuorum));
        assert_eq!(steps(&actual(&[1], 1), &Placement::default(), &[]).1, Some(Stuck::WouldLoseQuorum));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn every_step_keeps_a_quorum_of_the_living_and_the_last_one_arrives(
            voters in prop::collection::btree_set(1_u64..9, 1..6),
            learners in prop::collection::btree_set(1_u64..9, 0..3),
            replicas in prop::collection::btree_set(1_u64..9, 1..6),
            dead in prop::collection::btree_set(1_u64..9, 0..3),
        ) {
            let is_alive = |id: NodeId| !dead.contains(&id.get());
            let set = |ids: &BTreeSet<u64>| ids.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
            let voters = set(&voters);
            let learners: BTreeSet<NodeId> = set(&learners).difference(&voters).copied().collect();
            let leader = voters.iter().copied().find(|id| is_alive(*id));
            let mut state = Actual { voters, learners, leader };
            let replicas = set(&replicas);
            let wanted = Placement { leader: replicas.iter().copied().rfind(|id| is_alive(*id)), replicas };
            let alive = |state: &Actual| state.voters.iter().filter(|id| is_alive(**id)).count();
            let had_quorum = is_quorum(alive(&state), state.voters.len());
            let (fewest, most) = (
                state.voters.len().min(wanted.replicas.len()), state.voters.len().max(wanted.replicas.len() + 1));
            let mut taken = 0;
            let end = loop {
                match next(&state, &wanted, is_alive) {
                    Ok(Some(step)) => {
                        let leads = state.leader;
                        apply(&mut state, &step);
                        if leads.is_some_and(is_alive) {
                            prop_assert!(state.leader.is_some(), "{step:?} took the leader away");
                        }
                    }
                    Ok(None) => break None,
                    Err(stuck) => break Some(stuck),
                }
                taken += 1;
                prop_assert!(taken <= 40, "it goes on for ever");
                prop_assert!(is_quorum(alive(&state), state.voters.len()));
                prop_assert!((fewest..=most).contains(&state.voters.len()));
            };
            let can_end = is_quorum(wanted.replicas.iter().filter(|id| is_alive(**id)).count(), wanted.replicas.len());
            match end {
                None => {
                    prop_assert_eq!((&state.voters, state.learners.len()), (&wanted.replicas, 0));
                    prop_assert!(wanted.leader.is_none() || state.leader == wanted.leader);
                }
                Some(Stuck::NoQuorum { .. }) => prop_assert!(!had_quorum && taken == 0),
                Some(Stuck::NewcomerIsDead(id)) => prop_assert!(wanted.replicas.contains(&id) && !is_alive(id)),
                Some(Stuck::WouldLoseQuorum) => prop_assert!(!can_end),
            }
        }
    }
}
