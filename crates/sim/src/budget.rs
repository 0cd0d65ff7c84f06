//! The fault budget: what the faults may take away without taking more than the store can lose.
//!
//! A node that is down, slow, cut off or stands still costs progress only, so any number of them may be at once. What a
//! node has synced is another matter: entries that it has acknowledged and votes that it has given. A machine whose synced
//! bytes have rotted, or that was wiped, put back or lied to by its disk, is *lost* from then on: it must never vote again,
//! its member is removed, and another one is added under a new id. The contract is that the voters that are left are a
//! quorum of every configuration that anybody acts on. The budget therefore allows
//!
//! * one lost machine at a time, until it is gone, no configuration counts it any more, and the voters are as many as
//!   before;
//! * none where the voters that are left, and have a machine, are no quorum.
//!
//! That a lost machine never votes is not for the budget to see to, but for the store. Where it cannot, because nobody
//! could tell the machine from a sound one, the world does (docs/simulation.md). A fault that would take more is withheld,
//! and counted.

use std::collections::BTreeSet;

use althing_types::{Duration, Instant, NodeId};

/// How near the faults came to what the store can survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Faults that were withheld because they would have taken more than the store can lose.
    pub withheld: u64,
    /// Losses after which the voters that were left were just a quorum of some configuration.
    pub tight: u64,
    /// For how long that was so, all together.
    pub tight_for: Duration,
    /// Connections of lost machines that nobody could have told from sound ones, and that the world held back.
    pub spared: u64,
}

/// The voters of a configuration.
pub type Voters = BTreeSet<NodeId>;

/// What the budget sees of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The world's time.
    pub now: Instant,
    /// Every configuration that some machine in use acts on.
    pub in_force: &'a [Voters],
    /// The machines in use.
    pub machines: &'a [NodeId],
}

/// What is left after a loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Margin {
    /// In some configuration just a quorum.
    Tight,
    /// More.
    Ample,
}

/// Why a fault is withheld.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// One is lost already, be it the same one.
    #[error("node {0} is lost and has not been replaced yet")]
    AnotherIsLost(NodeId),
    /// Too few would be left.
    #[error("the voters that are left would be no quorum")]
    NoQuorum,
}

/// What is left without `node`.
pub fn margin_without(node: NodeId, sight: Sight<'_>) -> Result<Margin, Reason> {
    let mut margin = Margin::Ample;
    for voters in sight.in_force {
        let left = voters.iter().filter(|voter| **voter != node && sight.machines.contains(voter)).count();
        let quorum = voters.len() / 2 + 1;
        if left < quorum {
            return Err(Reason::NoQuorum);
        }
        if left == quorum && voters.contains(&node) {
            margin = Margin::Tight;
        }
    }
    Ok(margin)
}

/// A machine that is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Loss {
    node: NodeId,
    since: Instant,
    margin: Margin,
}

/// What may still be lost.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Voters of the cluster when it was born.
    voters: usize,
    loss: Option<Loss>,
    tally: Tally,
}

impl Budget {
    /// That of a cluster which was born with so many voters.
    #[must_use]
    pub fn new(voters: usize) -> Self {
        Self { voters, loss: None, tally: Tally::default() }
    }

    /// Whether `node` may lose what it had synced, and what is left then.
    pub fn judge(&mut self, node: NodeId, sight: Sight<'_>) -> Result<Margin, Reason> {
        self.settle(sight);
        match self.loss {
            Some(loss) => Err(Reason::AnotherIsLost(loss.node)),
            None => margin_without(node, sight),
        }
    }

    /// The node has lost it.
    pub fn lose(&mut self, node: NodeId, margin: Margin, now: Instant) {
        if self.loss.is_none() {
            self.tally.tight += u64::from(margin == Margin::Tight);
            self.loss = Some(Loss { node, since: now, margin });
        }
    }

    /// The node has lost nothing after all.
    pub fn recover(&mut self, node: NodeId, now: Instant) {
        if self.loss.is_some_and(|loss| loss.node == node) {
            self.forget(now);
        }
    }

    /// A lost machine that has been replaced is no loss any more.
    pub fn settle(&mut self, sight: Sight<'_>) {
        let Some(Loss { node, .. }) = self.loss else { return };
        let is_counted = sight.in_force.iter().any(|voters| voters.contains(&node));
        let is_whole = sight.in_force.iter().all(|voters| voters.len() >= self.voters);
        if !is_counted && is_whole && !sight.in_force.is_empty() && !sight.machines.contains(&node) {
            self.forget(sight.now);
        }
    }

    /// Who is lost.
    #[must_use]
    pub fn lost(&self) -> Option<NodeId> {
        self.loss.map(|loss| loss.node)
    }

    /// A fault was withheld.
    pub fn withhold(&mut self) {
        self.tally.withheld += 1;
    }

    /// A connection was held back.
    pub fn spare(&mut self) {
        self.tally.spared += 1;
    }

    fn forget(&mut self, now: Instant) {
        if let Some(loss) = self.loss.take().filter(|loss| loss.margin == Margin::Tight) {
            self.tally.tight_for += now.since(loss.since);
        }
    }

    /// How near it came.
    #[must_use]
    pub fn close(mut self, now: Instant) -> Tally {
        self.forget(now);
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 6] = [NodeId(1), NodeId(2), NodeId(3), NodeId(4), NodeId(5), NodeId(6)];

    fn voters(ids: impl IntoIterator<Item = u64>) -> Voters {
        ids.into_iter().map(NodeId).collect()
    }

    fn sight<'a>(in_force: &'a [Voters], machines: &'a [NodeId]) -> Sight<'a> {
        Sight { now: Instant::ZERO + Duration::from_secs(7), in_force, machines }
    }

    #[test]
    fn of_one_or_two_voters_none_may_be_lost() {
        for count in 1..=2 {
            let (mut budget, in_force) = (Budget::new(count), [voters(1..=count as u64)]);
            assert_eq!(budget.judge(NodeId(1), sight(&in_force, &NODES[..count])), Err(Reason::NoQuorum));
        }
    }

    #[test]
    fn of_three_voters_one_may_be_lost_and_of_five_one_with_a_margin() {
        let margin = |count: usize| {
            let in_force = [voters(1..=count as u64)];
            Budget::new(count).judge(NodeId(1), sight(&in_force, &NODES[..count]))
        };
        assert_eq!([margin(3), margin(4), margin(5)], [Ok(Margin::Tight), Ok(Margin::Tight), Ok(Margin::Ample)]);
    }

    #[test]
    fn every_configuration_in_force_counts_and_so_does_every_machine_that_is_missing() {
        let mut budget = Budget::new(3);
        let in_force = [voters(1..=3), voters(1..=4)];
        assert_eq!(budget.judge(NodeId(1), sight(&in_force, &NODES[..4])), Ok(Margin::Tight));
        assert_eq!(budget.judge(NodeId(1), sight(&in_force, &NODES[..3])), Err(Reason::NoQuorum));
    }

    #[test]
    fn a_loss_lasts_until_the_machine_is_replaced() {
        let mut budget = Budget::new(3);
        budget.lose(NodeId(1), Margin::Tight, Instant::ZERO);
        let refused = Err(Reason::AnotherIsLost(NodeId(1)));
        // Still a member; removed without a successor; its successor known to one only; and replaced.
        assert_eq!(budget.judge(NodeId(2), sight(&[voters(1..=3)], &NODES[..3])), refused);
        assert_eq!(budget.judge(NodeId(2), sight(&[voters(2..=3)], &NODES[1..3])), refused);
        assert_eq!(budget.judge(NodeId(2), sight(&[voters(2..=3), voters(2..=4)], &NODES[1..4])), refused);
        assert_eq!(budget.judge(NodeId(2), sight(&[voters(2..=4)], &NODES[1..4])), Ok(Margin::Tight));
        let tally = budget.close(Instant::FAR_FUTURE);
        assert_eq!((tally.tight, tally.tight_for), (1, Duration::from_secs(7)));
    }

    #[test]
    fn a_loss_that_was_none_is_taken_back() {
        let mut budget = Budget::new(3);
        budget.lose(NodeId(1), Margin::Tight, Instant::ZERO);
        budget.recover(NodeId(2), Instant::ZERO);
        assert_eq!(budget.lost(), Some(NodeId(1)));
        budget.recover(NodeId(1), Instant::ZERO);
        assert_eq!(budget.lost(), None);
    }
}
