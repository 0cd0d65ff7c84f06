//! Who must answer for a level to be reached.

use std::collections::{BTreeMap, BTreeSet};

use althing_types::NodeId;

use crate::level::Level;

/// The replicas of a key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sets {
    /// Those that it has, and has until a move is over.
    pub current: BTreeSet<NodeId>,
    /// Those that it will have, during a move. Empty otherwise.
    pub incoming: BTreeSet<NodeId>,
}

impl Sets {
    /// The replicas of a key that is not moved.
    #[must_use]
    pub fn of(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        Self { current: nodes.into_iter().collect(), incoming: BTreeSet::new() }
    }

    /// Everybody in either set: whom a write is sent to.
    #[must_use]
    pub fn everybody(&self) -> BTreeSet<NodeId> {
        self.current.union(&self.incoming).copied().collect()
    }
}

/// So many of these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Quota {
    pub(crate) of: BTreeSet<NodeId>,
    pub(crate) needed: usize,
}

/// Who must answer: so many of each of some sets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    pub(crate) quotas: Vec<Quota>,
}

/// More than half.
const fn majority(of: usize) -> usize {
    of / 2 + 1
}

impl Requirement {
    /// What a level asks of these replicas, given the zone of each and the coordinator's own.
    ///
    /// A level of the local zone falls back on all zones if no replica is in it: a promise about nobody would be none.
    #[must_use]
    pub fn new<'a>(level: Level, sets: &Sets, zone: impl Fn(NodeId) -> &'a str, local: &str) -> Self {
        let sets = [&sets.current, &sets.incoming].into_iter().filter(|set| !set.is_empty());
        let quotas = sets.flat_map(|set| match level {
            Level::One | Level::Any => vec![Quota { of: set.clone(), needed: 1 }],
            Level::Quorum => vec![most_of(set.clone())],
            Level::All => vec![Quota { of: set.clone(), needed: set.len() }],
            Level::LocalQuorum => {
                let near: BTreeSet<_> = set.iter().copied().filter(|node| zone(*node) == local).collect();
                vec![most_of(if near.is_empty() { set.clone() } else { near })]
            }
            Level::EachQuorum => {
                let mut zones: BTreeMap<&str, BTreeSet<NodeId>> = BTreeMap::new();
                for node in set {
                    zones.entry(zone(*node)).or_default().insert(*node);
                }
                zones.into_values().map(most_of).collect()
            }
        });
        Self { quotas: quotas.collect() }
    }

    /// Whether nobody can fulfil it, whoever answers: there are no replicas.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.quotas.is_empty()
    }
}

fn most_of(set: BTreeSet<NodeId>) -> Quota {
    let needed = majority(set.len());
    Quota { of: set, needed }
}
