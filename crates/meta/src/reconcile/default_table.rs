//! The table `default`, as long as nobody has changed its spec: its members are managed with etcd's member API.
//!
//! Whatever voters its group's leader reports are wanted from then on, so the control plane and the member API never work
//! against each other. Only if one of them is drained or gone, that one is replaced by another node, in the usual steps. Where
//! there is no other node, one that is gone stays a member, since it may come back, and one that is drained leaves as long as
//! enough stay.

use std::collections::BTreeSet;

use althing_manifest::{DEFAULT_GROUP, Phase, Shard};
use althing_types::NodeId;

use super::draft::Draft;
use super::placement::{Scene, has_failed, want};
use super::repair::{Loads, repair};
use super::standing::Standing;
use super::{shards, steps};
use crate::reports::Configuration;

/// Voters that must stay for a drained one to leave without another in its place: what bears the loss of one.
const MIN_VOTERS: usize = 3;

/// Adopts what is reported, or wants one replica elsewhere.
pub fn adopt(draft: &mut Draft<'_>, scene: &Scene<'_>, loads: &Loads) {
    let Some(shard) = scene.view.shard(DEFAULT_GROUP) else { return };
    let Some((_, report)) = scene.reports.leader(scene.now, DEFAULT_GROUP) else { return };
    let is_told = report.configuration == Configuration::Simple && report.term >= shard.status.term;
    if !is_told || shard.spec.phase != Phase::Serving {
        return;
    }
    // What is wanted and what is the case are written as one, so that the group's leader can tell a wish from news that the
    // control plane has not seen yet.
    let status = shards::refreshed(shard, scene);
    let voters = &report.voters;
    let is_left = |id: &NodeId| scene.members.get(*id).is_some() && scene.members.is_left(*id);
    let wanted = if !voters.iter().any(is_left) {
        voters.clone()
    } else if let Some(base) = base(shard, voters, scene) {
        steps::next(base, &target(shard, base, scene, loads), scene.members)
    } else {
        return;
    };
    if wanted != shard.spec.replicas {
        let leader = shard.spec.leader.filter(|leader| wanted.contains(leader));
        want(draft, shard, wanted, leader);
        draft.shard(shard).status = status;
    }
}

/// Where the voters belong if some of them must go.
fn target(shard: &Shard, base: &BTreeSet<NodeId>, scene: &Scene<'_>, loads: &Loads) -> BTreeSet<NodeId> {
    let target = repair(DEFAULT_GROUP, base, shard.spec.replicas.len(), scene.members, loads);
    let leaves = |id: &NodeId| scene.members.standing(*id) == Standing::Leaving;
    let stay: BTreeSet<NodeId> = target.iter().copied().filter(|id| !leaves(id)).collect();
    if stay.len() >= MIN_VOTERS { stay } else { target }
}

/// Where the next step begins; `None` while one is under way.
fn base<'a>(shard: &'a Shard, voters: &'a BTreeSet<NodeId>, scene: &Scene<'_>) -> Option<&'a BTreeSet<NodeId>> {
    let mut newcomers = shard.spec.replicas.difference(voters);
    let has_arrived = *voters == shard.spec.replicas;
    (has_arrived || newcomers.any(|id| has_failed(*id, scene))).then_some(voters)
}
