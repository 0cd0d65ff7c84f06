//! From tables to shards.
//!
//! A group's id is handed out once and never again. Handing out is one write of the cluster's object: the counter rises and a
//! *claim* says for which table. Then slice `i` of that table gets the group `first + i`, whoever makes it and however often
//! the maker dies. Each shard is made only while the cluster's object is still as it was when that was decided, so a claim
//! that is over makes nothing any more. There is one claim at a time; what is left of it when its table goes is lost. A claim
//! for the halves of a shard that is split works the same way (`split`).

use std::collections::BTreeSet;
use std::sync::Arc;

use althing_manifest::table::{Owner, owner};
use althing_manifest::{
    Claim, Cluster, Kind, Life, Phase, Shard, ShardSpec, Slice, Split, Table, cluster, shard::name_of,
};
use althing_types::GroupId;

use super::draft::Draft;
use super::split;
use super::survey::Survey;
use crate::view::{MAX_VIEW_BYTES, View};
use crate::write::Guard;

/// Bytes that a shard's object takes in the view at the most, with ids of 16 digits and seven replicas.
pub const SHARD_BYTES: usize = 1536;

/// Makes the shards that tables lack.
pub fn make_shards(draft: &mut Draft<'_>, survey: &Survey<'_>, cluster: &Cluster) {
    let made = match cluster.status.claim.as_ref() {
        None => 0,
        Some(claim) => match &claim.split {
            None => make_missing(draft, survey, cluster, claim),
            Some(wanted) => split::make_missing(draft, cluster, claim, wanted),
        },
    };
    if made == 0 {
        hand_out(draft, survey, cluster);
    }
}

/// How many slices a table is made with.
const fn slices(table: &Table) -> u64 {
    match table.spec.split {
        Split::Hash => table.spec.shards as u64,
        Split::Range => 1,
    }
}

/// The slices that a table lacks, with their numbers. A table that is split by range lacks one as long as it has none: its
/// further shards come of splits.
pub fn missing(table: &Table, survey: &Survey<'_>) -> Vec<(u64, Slice)> {
    match (owner(table.name()), table.metadata.life) {
        (Owner::Users, Life::Kept) => {}
        (Owner::System, _) | (Owner::Users, Life::Deleting) => return Vec::new(),
    }
    let shards = survey.shards(table.name());
    match table.spec.split {
        Split::Hash => missing_parts(table.spec.shards, shards),
        Split::Range if shards.is_empty() => vec![(0, Slice::all_keys())],
        Split::Range => Vec::new(),
    }
}

fn missing_parts(of: u32, shards: &[&Arc<Shard>]) -> Vec<(u64, Slice)> {
    let mut present = vec![false; of as usize];
    for shard in shards {
        match &shard.spec.slice {
            Slice::Hash(part) if part.of == of && part.index < of => present[part.index as usize] = true,
            Slice::Hash(_) | Slice::Range(_) => {}
        }
    }
    let absent = (0..of).filter(|index| !present[*index as usize]);
    absent.map(|index| (u64::from(index), Slice::part(index, of))).collect()
}

/// Whether shards of a table come with each turn: it has the claim, and not yet all that it is for.
pub fn is_being_made(table: &Table, survey: &Survey<'_>, cluster: &Cluster) -> bool {
    let is_claimed_for = |claim: &Claim| {
        claim.table == table.name() && missing(table, survey).iter().any(|(index, _)| *index < claim.count)
    };
    cluster.status.claim.as_ref().is_some_and(is_claimed_for)
}

/// Whether there is room in the map for so many further shards.
pub fn has_room(view: &View, shards: usize) -> bool {
    has_room_for(view, shards * SHARD_BYTES)
}

/// Whether there is room in the map for so many further bytes.
pub fn has_room_for(view: &View, bytes: usize) -> bool {
    view.bytes() + bytes <= MAX_VIEW_BYTES
}

/// Makes the shards that a claim is for and that are not there yet, and says how many.
fn make_missing(draft: &mut Draft<'_>, survey: &Survey<'_>, cluster: &Cluster, claim: &Claim) -> usize {
    let mut missing = draft.view.table(&claim.table).map_or_else(Vec::new, |table| missing(table, survey));
    missing.retain(|(index, _)| *index < claim.count);
    let count = missing.len();
    for (index, slice) in missing {
        make(draft, cluster, claim, index, slice);
    }
    count
}

fn make(draft: &mut Draft<'_>, cluster: &Cluster, claim: &Claim, index: u64, slice: Slice) {
    let group = GroupId(claim.first + index);
    let name = name_of(&claim.table, group);
    let spec = ShardSpec {
        table: claim.table.clone(),
        group,
        slice,
        replicas: BTreeSet::new(),
        leader: None,
        phase: Phase::Serving,
        parent: None,
    };
    draft.create(Shard::new(&name, spec), vec![as_it_is(cluster)]);
}

/// The cluster, and with it the claim, as it is.
pub fn as_it_is(cluster: &Cluster) -> Guard {
    Guard::of(Kind::Cluster, cluster::NAME, cluster.revision())
}

/// Hands out ids to the next table that lacks shards, and ends a claim that is used up.
fn hand_out(draft: &mut Draft<'_>, survey: &Survey<'_>, cluster: &Cluster) {
    let lacking = draft.view.tables().find_map(|table| {
        let wanted = slices(table);
        let lacks = !missing(table, survey).is_empty() && has_room(draft.view, wanted as usize);
        lacks.then(|| (table.name().to_owned(), wanted))
    });
    let first = cluster.status.next_group;
    let claim = lacking.map(|(table, count)| Claim { table, first, count, split: None });
    if claim != cluster.status.claim {
        let status = &mut draft.cluster().status;
        status.next_group += claim.as_ref().map_or(0, |claim| claim.count);
        status.claim = claim;
    }
}
