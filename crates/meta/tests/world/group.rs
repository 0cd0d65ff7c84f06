//! Groups: founded by the nodes that the map names, led by one of their voters, and moved by their leader.

use std::collections::BTreeSet;

use althing_manifest::{DEFAULT_GROUP, Phase, Shard};
use althing_meta::{Configuration, GroupReport, Part, View};
use althing_placement::plan::steps::{self, is_quorum};
use althing_placement::{Actual, Placement};
use althing_types::{GroupId, NodeId};

use super::World;
use super::split::Content;

/// A group as it really is.
#[derive(Clone, Debug)]
pub struct Group {
    pub founders: BTreeSet<NodeId>,
    pub actual: Actual,
    pub term: u64,
    pub content: Content,
    /// The fewest replicas that its table has wanted of it.
    pub least: usize,
    /// How many it has, without one that is to go since another came.
    pub size: usize,
}

impl Group {
    pub fn founded(founders: BTreeSet<NodeId>, content: Content) -> Self {
        let actual = Actual { voters: founders.clone(), learners: BTreeSet::new(), leader: None };
        let size = actual.voters.len();
        Self { founders, actual, term: 1, content, least: usize::MAX, size }
    }

    pub fn report_of(&self, id: NodeId, group: GroupId, map: &View) -> GroupReport {
        let part = if self.actual.leader == Some(id) { Part::Leads } else { Part::Holds };
        GroupReport {
            part,
            configuration: Configuration::Simple,
            term: self.term,
            applied: 1,
            keys: self.term * 100,
            bytes: self.content.bytes(),
            voters: self.actual.voters.clone(),
            learners: self.actual.learners.clone(),
            stage: self.content.stage(group, map),
            middle: self.content.middle(group, map).filter(|_| part == Part::Leads),
        }
    }

    fn names(&self, id: NodeId) -> bool {
        self.actual.voters.contains(&id) || self.actual.learners.contains(&id)
    }
}

fn names(shard: &Shard, id: NodeId) -> bool {
    [&shard.spec.replicas, &shard.status.voters, &shard.status.learners].iter().any(|ids| ids.contains(&id))
}

impl World {
    /// A node opens what its map names it for, and drops what it does not. What it is still a member of, as its group's leader
    /// tells it, it does not drop.
    pub fn open_and_drop(&mut self, id: NodeId) {
        let process = self.processes.get_mut(&id).expect("it is there");
        let map = &process.map;
        if map.cluster().is_none() {
            return;
        }
        let stays = |group: &GroupId| map.shard(*group).filter(|shard| shard.spec.phase != Phase::Retiring);
        let groups = &mut self.groups;
        process.holds.retain(|group| match stays(group) {
            Some(shard) => names(shard, id) || groups[group].names(id),
            None => false,
        });
        for shard in map.shards().filter(|shard| shard.spec.phase != Phase::Retiring && names(shard, id)) {
            let found = || Group::founded(shard.spec.replicas.clone(), Content::of(shard));
            let group = groups.entry(shard.spec.group).or_insert_with(found);
            if shard.status.epoch == 0 {
                assert_eq!(group.founders, shard.spec.replicas, "founders of {} disagree", shard.name());
            }
            process.holds.insert(shard.spec.group);
        }
    }

    /// Each group elects a leader if it can and must, and its leader takes a step towards what its own map wants.
    pub fn step_groups(&mut self, lag: u32) {
        let all: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in all {
            self.elect(group);
            if self.rng.u32(0..100) >= lag {
                self.conform(group);
                self.split(group);
            }
        }
    }

    fn holds(&self, id: NodeId, group: GroupId) -> bool {
        self.is_up(id) && self.processes[&id].holds.contains(&group)
    }

    fn elect(&mut self, group: GroupId) {
        let state = &self.groups[&group];
        let voters = &state.actual.voters;
        let alive: Vec<NodeId> = voters.iter().copied().filter(|id| self.holds(*id, group)).collect();
        let leads = state.actual.leader.filter(|leader| alive.contains(leader));
        let can_lead = is_quorum(alive.len(), voters.len());
        let next = if can_lead { leads.or_else(|| self.rng.choice(&alive).copied()) } else { None };
        let state = self.groups.get_mut(&group).expect("it is there");
        state.term += u64::from(next.is_some() && next != leads);
        state.actual.leader = next;
    }

    fn conform(&mut self, group: GroupId) {
        let state = &self.groups[&group];
        let Some(leader) = state.actual.leader else { return };
        let Some(shard) = self.processes[&leader].map.shard(group) else { return };
        let is_told = shard.status.voters == state.actual.voters && shard.status.term == state.term;
        if shard.spec.phase == Phase::Retiring || shard.status.epoch == 0 || !is_told {
            return;
        }
        let wanted = Placement { replicas: shard.spec.replicas.clone(), leader: shard.spec.leader };
        let Ok(Some(step)) = steps::next(&state.actual, &wanted, |id| self.is_up(id)) else { return };
        let can = match &step {
            steps::Step::Promote(id) | steps::Step::TransferLeader(id) => self.holds(*id, group),
            steps::Step::AddLearner(_) | steps::Step::Remove(_) => true,
            steps::Step::Create(_) => false,
        };
        if can {
            let state = self.groups.get_mut(&group).expect("it is there");
            let replaces = state.actual.voters.iter().any(|voter| !wanted.replicas.contains(voter));
            state.term += u64::from(matches!(step, steps::Step::TransferLeader(_)));
            steps::apply(&mut state.actual, &step);
            if !replaces {
                state.size = state.actual.voters.len();
            }
            self.check_voters(group);
        }
    }
}

impl World {
    /// Somebody adds a member to the group of the table `default` with etcd's member API.
    pub fn add_default_member(&mut self, id: NodeId) {
        self.processes.get_mut(&id).expect("it is there").holds.insert(DEFAULT_GROUP);
        self.groups.get_mut(&DEFAULT_GROUP).expect("it is there").actual.voters.insert(id);
    }
}
