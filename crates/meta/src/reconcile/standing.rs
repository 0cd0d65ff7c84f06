//! What each node is to placement, from what is wanted of it and when it was last heard.

use std::collections::BTreeMap;

use althing_manifest::{Schedule, Shard};
use althing_placement::Node as Place;
use althing_placement::plan::{Host, State};
use althing_types::{Duration, Instant, NodeId};

use crate::reports::Reports;
use crate::view::View;

/// What a node is to placement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// It is up and gets its share.
    Active,
    /// It keeps what it has and gets nothing new: it is cordoned, silent for less than the grace, or was not heard yet.
    Resting,
    /// It is to be emptied.
    Leaving,
    /// It has been silent for the grace: what it held is rebuilt elsewhere.
    Gone,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// What it is to placement.
    pub standing: Standing,
    /// Where it stands, and its capacity.
    pub place: Place,
}

/// All nodes, by id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members(BTreeMap<NodeId, Member>);

/// Whether replicas may be moved for balance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Every node is active, leaving or gone: replicas go where a plan of the whole says.
    Balance,
    /// Some node rests, and may soon be active again or gone: replicas that must go elsewhere do, others stay.
    Repair,
}

impl Members {
    /// Of a view.
    pub fn of(view: &View, reports: &Reports, now: Instant) -> Self {
        let grace = view.cluster().map_or(u64::MAX, |cluster| cluster.spec.node_grace_seconds);
        let grace = Duration::from_secs(grace);
        let member = |node: &althing_manifest::Node| {
            let id = node.spec.id;
            let is_up = reports.is_up(now, id);
            let is_gone = !is_up && now.since(reports.last_heard(id)) >= grace;
            let standing = match (is_gone, node.spec.schedule, is_up) {
                (true, _, _) => Standing::Gone,
                (false, Schedule::Drain, _) => Standing::Leaving,
                (false, Schedule::Cordoned, _) | (false, Schedule::Active, false) => Standing::Resting,
                (false, Schedule::Active, true) if node.spec.capacity == 0 => Standing::Leaving,
                (false, Schedule::Active, true) => Standing::Active,
            };
            let place = Place::new(id, &node.spec.zone).with_capacity(node.spec.capacity);
            (id, Member { standing, place })
        };
        Self(view.nodes().map(|node| member(node)).collect())
    }

    /// Nodes that are up and get their share, for tests.
    #[cfg(test)]
    pub fn of_active(ids: impl IntoIterator<Item = NodeId>) -> Self {
        let member = |id| (id, Member { standing: Standing::Active, place: Place::new(id, "") });
        Self(ids.into_iter().map(member).collect())
    }

    /// What a node is to placement. One without an object is gone.
    pub fn standing(&self, id: NodeId) -> Standing {
        self.0.get(&id).map_or(Standing::Gone, |member| member.standing)
    }

    /// A node.
    pub fn get(&self, id: NodeId) -> Option<&Member> {
        self.0.get(&id)
    }

    /// All nodes that stand so.
    pub fn those(&self, standing: Standing) -> impl Iterator<Item = &Member> {
        self.0.values().filter(move |member| member.standing == standing)
    }

    /// Whether replicas may be moved for balance.
    pub fn mode(&self) -> Mode {
        if self.those(Standing::Resting).next().is_none() { Mode::Balance } else { Mode::Repair }
    }

    /// All nodes as a plan sees them. Given that none rests.
    pub fn hosts(&self) -> Vec<Host> {
        let state = |standing| match standing {
            Standing::Active | Standing::Resting => State::Active,
            Standing::Leaving => State::Draining,
            Standing::Gone => State::Dead,
        };
        self.0.values().map(|member| Host { node: member.place.clone(), state: state(member.standing) }).collect()
    }

    /// Whether what is on a node is to go elsewhere.
    pub fn is_left(&self, id: NodeId) -> bool {
        match self.standing(id) {
            Standing::Leaving | Standing::Gone => true,
            Standing::Active | Standing::Resting => false,
        }
    }
}

/// All nodes that a shard names in any way.
pub fn named_by(shard: &Shard) -> impl Iterator<Item = NodeId> {
    let all = shard.spec.replicas.union(&shard.status.voters).chain(&shard.status.learners);
    let mut all: Vec<NodeId> = all.copied().collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
}
