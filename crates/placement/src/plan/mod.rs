//! Shards dealt to nodes: which nodes should hold each, with as few copies as can be, and by which steps to get there.
//!
//! [`plan`] takes where replicas are and who is there, and gives back, in this order of precedence:
//!
//! 1. **Zones.** The rule of [`crate::spread`] holds for each shard; under [`Spread::Must`] no zone holds two replicas.
//! 2. **Balance.** Each node holds its fair share, rounded down or up. The fair share is the mean of all replicas by
//!    capacity, except where zones force another: one node alone in a zone that must hold a replica of each shard holds them all.
//!    So a node is never more than one replica above the mean unless its zone or its capacity makes it.
//! 3. **Few copies.** Of all placements that keep 1 and 2, it is one with the fewest replicas on nodes that did not have them. It is
//!    found as a flow of least cost ([`flow`]), so this is exact.
//! 4. **Leaders.** No chain of transfers would make the numbers of leaders per node more even ([`leaders`]).
//!
//! Replicas on draining and dead nodes go away once others have taken their places. Where there are too few places, those
//! replicas stay and the plan says so ([`Shortfall`]): a placement never has fewer replicas than can be had.
//!
//! The placement is what a control plane writes down as wanted. [`steps`] leads there from whatever is the case, one
//! replica at a time and never without a quorum; it can be asked anew after each step, crash or change of mind.

pub mod flow;
pub mod leaders;
pub mod shares;
pub mod steps;

use std::collections::{BTreeMap, BTreeSet};

use althing_types::NodeId;

use crate::node::{Node, ShardId};
use crate::spread::{Members, quotas};
use flow::Problem;
pub use steps::Step;

/// What a node is to the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It gets replicas.
    Active,
    /// It serves what it holds, gets nothing new and is to be emptied.
    Draining,
    /// It is gone for longer than one waits for: what it held is rebuilt elsewhere.
    Dead,
}

/// A node, and what it is to the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// The node.
    pub node: Node,
    /// What it is to the plan. A node that a shard names and that no host is counts as dead.
    pub state: State,
}

impl Host {
    /// A node that gets replicas.
    #[must_use]
    pub const fn active(node: Node) -> Self {
        Self { node, state: State::Active }
    }
}

/// How strictly replicas are kept in different zones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// No two replicas of a shard in one zone, even if it has fewer replicas for it.
    Must,
    /// As evenly over zones as their nodes allow.
    Prefer,
}

/// What is wanted of all shards that are planned together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Replicas of each shard.
    pub replicas: usize,
    /// How strictly they are kept in different zones.
    pub spread: Spread,
}

/// Where the replicas of a shard are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Actual {
    /// Replicas that vote.
    pub voters: BTreeSet<NodeId>,
    /// Replicas that are still being filled.
    pub learners: BTreeSet<NodeId>,
    /// The voter that leads, if one does.
    pub leader: Option<NodeId>,
}

/// Where the replicas of a shard should be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Placement {
    /// The nodes that should hold it.
    pub replicas: BTreeSet<NodeId>,
    /// The one of them that should lead. `None` if all of them are dead.
    pub leader: Option<NodeId>,
}

impl From<Placement> for Actual {
    fn from(placement: Placement) -> Self {
        Self { voters: placement.replicas, learners: BTreeSet::new(), leader: placement.leader }
    }
}

/// Fewer places than replicas that are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{wanted} replicas are wanted and there are places for {possible}: add active nodes in {zones}")]
pub struct Shortfall {
    /// Replicas that the policy wants.
    pub wanted: usize,
    /// Replicas that active nodes can hold.
    pub possible: usize,
    /// What kind of node is missing.
    pub zones: Missing,
}

/// What kind of node is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// Any.
    Anywhere,
    /// One in a zone that has none yet.
    FurtherZones,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anywhere => "any zone",
            Self::FurtherZones => "further zones",
        })
    }
}

/// Where everything should be, and the way there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// For each shard where it should be.
    pub placements: BTreeMap<ShardId, Placement>,
    /// For each shard that is not there yet its steps, in order. Shards are independent of each other.
    pub moves: BTreeMap<ShardId, Vec<Step>>,
    /// Shards for which no safe step leads on, and why.
    pub stuck: BTreeMap<ShardId, steps::Stuck>,
    /// Replicas that have to be filled from others. Those of new shards are not: they are empty.
    pub copies: usize,
    /// If the policy cannot be met with the nodes there are.
    pub shortfall: Option<Shortfall>,
}

/// Plans where shards should be and how they get there.
///
/// A learner counts as held, so a plan that is made anew in the middle of a move goes on with it as far as balance lets it. A
/// control plane that remembers the last plan's placements hands them in (`Actual::from`), and leads from the true state
/// to the new ones by [`steps::next`].
#[must_use]
pub fn plan(current: &BTreeMap<ShardId, Actual>, hosts: &[Host], policy: &Policy) -> Plan {
    let states = states(hosts);
    let is_alive = |id: NodeId| !matches!(states.get(&id), None | Some(State::Dead));
    let (placements, shortfall) = place(current, hosts, policy, &states);
    let mut plan = Plan { placements, moves: BTreeMap::new(), stuck: BTreeMap::new(), copies: 0, shortfall };
    for (shard, actual) in current {
        let placement = &plan.placements[shard];
        let (moves, stuck) = steps::all(actual, placement, is_alive);
        plan.copies += moves.iter().filter(|step| matches!(step, Step::AddLearner(_))).count();
        if !moves.is_empty() {
            plan.moves.insert(*shard, moves);
        }
        if let Some(stuck) = stuck {
            plan.stuck.insert(*shard, stuck);
        }
    }
    plan
}

/// The placements of [`plan`] alone, for whoever finds the way there one step at a time.
#[must_use]
pub fn placements(
    current: &BTreeMap<ShardId, Actual>,
    hosts: &[Host],
    policy: &Policy,
) -> BTreeMap<ShardId, Placement> {
    place(current, hosts, policy, &states(hosts)).0
}

/// What each node is to the plan; of two hosts with one id the first counts.
fn states(hosts: &[Host]) -> BTreeMap<NodeId, State> {
    hosts.iter().rev().map(|host| (host.node.id, state_of(host))).collect()
}

/// A node without capacity is to be emptied, as if it were drained.
fn state_of(host: &Host) -> State {
    match host.state {
        State::Active if host.node.capacity == 0 => State::Draining,
        State::Active | State::Draining | State::Dead => host.state,
    }
}

fn place(
    current: &BTreeMap<ShardId, Actual>,
    hosts: &[Host],
    policy: &Policy,
    states: &BTreeMap<NodeId, State>,
) -> (BTreeMap<ShardId, Placement>, Option<Shortfall>) {
    let active = hosts.iter().filter(|host| states.get(&host.node.id) == Some(&State::Active));
    let members = Members::new(active.map(|host| host.node.clone()));
    let possible = match policy.spread {
        Spread::Must => policy.replicas.min(members.zones().len()),
        Spread::Prefer => policy.replicas.min(members.nodes().len()),
    };
    let members = members.without_lone_zones();
    let sizes: Vec<usize> = members.zones().iter().map(Vec::len).collect();
    let quotas = quotas(&sizes, possible);
    let held: Vec<Vec<usize>> = current
        .values()
        .map(|actual| actual.voters.union(&actual.learners).filter_map(|id| members.index_of(*id)).collect())
        .collect();
    let problem = Problem {
        ids: current.keys().copied().collect(),
        shares: shares::shares(&members, &quotas, current.len(), possible),
        members: &members,
        quotas,
        replicas: possible,
        held,
    };
    let zones = match policy.spread {
        Spread::Must => Missing::FurtherZones,
        Spread::Prefer => Missing::Anywhere,
    };
    let wanted = policy.replicas;
    let shortfall = (possible < wanted).then_some(Shortfall { wanted, possible, zones });
    let mut placements: BTreeMap<ShardId, Placement> = BTreeMap::new();
    for ((shard, actual), nodes) in current.iter().zip(flow::solve(&problem)) {
        let mut replicas: BTreeSet<NodeId> = nodes.into_iter().map(|node| members.nodes()[node].id).collect();
        retain(&mut replicas, actual, hosts, policy, states);
        placements.insert(*shard, Placement { replicas, leader: actual.leader });
    }
    // A shard without a quorum keeps its leader whatever is wished. If it were counted among the others, each plan would make room
    // for a transfer that never comes, and the next one would take it back.
    let can_move = |shard: &ShardId| has_quorum(&current[shard], states);
    let (mut moving, mut stuck): (BTreeMap<_, _>, BTreeMap<_, _>) =
        placements.into_iter().partition(|(shard, _)| can_move(shard));
    leaders::balance(&mut moving, states);
    leaders::balance(&mut stuck, states);
    moving.append(&mut stuck);
    (moving, shortfall)
}

/// Whether a shard can change at all: it has never been, or most of its voters live.
fn has_quorum(actual: &Actual, states: &BTreeMap<NodeId, State>) -> bool {
    let is_alive = |id: &&NodeId| !matches!(states.get(*id), None | Some(State::Dead));
    let alive = actual.voters.iter().filter(is_alive).count();
    *actual == Actual::default() || steps::is_quorum(alive, actual.voters.len())
}

/// Where there are too few places, a voter on a draining node stays rather than none, and one on a dead node too, since it may
/// come back; but of the dead only so many that the living are a quorum.
fn retain(
    replicas: &mut BTreeSet<NodeId>,
    actual: &Actual,
    hosts: &[Host],
    policy: &Policy,
    states: &BTreeMap<NodeId, State>,
) {
    let zone_of = |id: NodeId| hosts.iter().find(|host| host.node.id == id).map(|host| &host.node.zone);
    for wanted in [State::Draining, State::Dead] {
        for id in &actual.voters {
            let state = states.get(id).copied().unwrap_or(State::Dead);
            if state != wanted || replicas.len() >= policy.replicas {
                continue;
            }
            let shares_a_zone =
                || zone_of(*id).is_some() && replicas.iter().any(|other| zone_of(*other) == zone_of(*id));
            let fits = match policy.spread {
                Spread::Must => !shares_a_zone(),
                Spread::Prefer => true,
            };
            let is_alive = |id: &&NodeId| !matches!(states.get(*id), None | Some(State::Dead));
            let alive = replicas.iter().filter(is_alive).count() + usize::from(wanted == State::Draining);
            if fits && steps::is_quorum(alive, replicas.len() + 1) {
                replicas.insert(*id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
