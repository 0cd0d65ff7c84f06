//! Counting answers until the outcome is certain.

use std::collections::BTreeSet;

use althing_types::NodeId;

use crate::requirement::{Quota, Requirement};

/// Who has answered, and who will not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    requirement: Requirement,
    answered: BTreeSet<NodeId>,
    failed: BTreeSet<NodeId>,
}

/// What the answers so far amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It depends on those who have not answered.
    Open,
    /// The level is reached. It stays so.
    Met,
    /// Too many will not answer.
    OutOfReach,
}

impl Tally {
    /// Nobody has answered yet.
    #[must_use]
    pub const fn new(requirement: Requirement) -> Self {
        Self { requirement, answered: BTreeSet::new(), failed: BTreeSet::new() }
    }

    /// The same answers, measured by another requirement: the replicas are others now.
    #[must_use]
    pub fn measured_by(self, requirement: Requirement) -> Self {
        Self { requirement, ..self }
    }

    /// A node has done what was asked. One that was given up may still answer.
    pub fn answered(&mut self, node: NodeId) {
        self.failed.remove(&node);
        self.answered.insert(node);
    }

    /// A node refused, or cannot be reached. Whoever has answered has.
    pub fn failed(&mut self, node: NodeId) {
        if !self.answered.contains(&node) {
            self.failed.insert(node);
        }
    }

    /// Whether a node has answered.
    #[must_use]
    pub fn has_answered(&self, node: NodeId) -> bool {
        self.answered.contains(&node)
    }

    /// How many have.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.answered.len()
    }

    /// What the answers so far amount to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let having = |quota: &Quota, nodes: &BTreeSet<NodeId>| quota.of.intersection(nodes).count();
        let quotas = &self.requirement.quotas;
        if self.requirement.is_void()
            || quotas.iter().any(|quota| quota.of.len() - having(quota, &self.failed) < quota.needed)
        {
            return Verdict::OutOfReach;
        }
        match quotas.iter().all(|quota| having(quota, &self.answered) >= quota.needed) {
            true => Verdict::Met,
            false => Verdict::Open,
        }
    }
}
