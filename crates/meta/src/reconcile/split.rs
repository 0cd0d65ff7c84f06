//! A shard of a range table that has outgrown its size is replaced by two halves.
//!
//! The halves are groups of their own, founded empty where the shard is, and the shard's leader fills them while it goes on
//! serving. Then it is sealed, gives them the rest and activates them. All that is the work of the groups; here it is decided
//! that it is to be done, where, and from when on requests go to the halves.
//!
//! | what is the case | the next step |
//! |---|---|
//! | a leader says that its shard is too large, and names the key in the middle | two ids are handed out, for a split at this key |
//! | the ids are handed out | the halves that are missing are made, in the phase of filling |
//! | the leaders of both halves say that they serve | the shard retires: with this one write, requests go to the halves |
//! | the shard retires, or is gone | each half comes into the phase of serving, and is moved as others are |
//! | the shard's leader says that it cannot fill the halves that it has | they retire, and the split begins anew without them |
//!
//! From the handing out on until the shard retires, neither it nor its halves are moved. Handing the shard over and giving the
//! split up exclude each other, whoever decides by whatever old reports: the one is done only if the halves are as they were when it
//! was decided, and the other only if the shard is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use althing_manifest::condition::{self, Condition, SPLITTING, Truth};
use althing_manifest::shard::{RangeSlice, name_of};
use althing_manifest::table::{DEFAULT_SPLIT_BYTES, MAX_SHARDS, Owner, owner};
use althing_manifest::{Claim, Cluster, Kind, Life, Phase, Shard, ShardSpec, Slice, Split, SplitClaim, Table, text};
use althing_probe::Mutant;
use althing_types::{GroupId, NodeId};
use bytes::Bytes;

use super::draft::Draft;
use super::placement::{Scene, has_arrived};
use super::retire::let_go;
use super::tables::{SHARD_BYTES, as_it_is, has_room_for};
use crate::reports::Stage;
use crate::view::View;
use crate::write::Guard;

/// Splits that a node takes part in at the same time. Each copies all that a shard holds to every node that it is on, beside what
/// clients write. Shards that grow alike would otherwise be split all at once, and slow clients and each other down.
pub const MAX_SPLITS_PER_NODE: usize = 1;
/// Bytes of a key at which a shard is split at the most. It stands in the objects of both halves, which travel with the map. A shard
/// whose middle is a longer key is not split.
pub const MAX_SPLIT_KEY_BYTES: usize = 1024;

/// The reason of the condition of a shard that serves nothing any more, and whose halves do not yet.
pub const SEALED: &str = "Sealed";

fn filling(view: &View) -> impl Iterator<Item = &Arc<Shard>> {
    view.shards().filter(|shard| shard.spec.phase == Phase::Filling)
}

/// Whether a shard stays where it is for the sake of a split. Halves to which no requests go yet are not placed at all.
pub fn is_frozen(shard: &Shard, scene: &Scene<'_>) -> bool {
    let group = shard.spec.group;
    let claim = scene.cluster.status.claim.as_ref().and_then(|claim| claim.split.as_ref());
    match shard.spec.phase {
        Phase::Serving => {
            claim.is_some_and(|claim| claim.parent == group) || scene.view.children(group).next().is_some()
        }
        Phase::Filling | Phase::Retiring => false,
    }
}

/// What lies below a key and what lies from there on, if both are something.
fn cut(slice: &Slice, at: &[u8]) -> Option<[Slice; 2]> {
    let Slice::Range(RangeSlice { start, end }) = slice else { return None };
    let is_inside = start.as_slice() < at && end.as_deref().is_none_or(|end| at < end);
    let left = RangeSlice { start: start.clone(), end: Some(at.to_vec()) };
    let right = RangeSlice { start: at.to_vec(), end: end.clone() };
    is_inside.then_some([Slice::Range(left), Slice::Range(right)])
}

/// Whether shards of a table are split.
fn is_split(table: &Table) -> bool {
    let is_kept = matches!((owner(table.name()), table.metadata.life), (Owner::Users, Life::Kept));
    is_kept && table.spec.split == Split::Range
}

/// Makes the halves that two ids are handed out for and that are not there yet, and says how many. None if there is nothing to
/// be split any more; then the ids are lost.
pub fn make_missing(draft: &mut Draft<'_>, cluster: &Cluster, claim: &Claim, wanted: &SplitClaim) -> usize {
    let view = draft.view;
    let Some(parent) = claimed_parent(view, claim, wanted) else { return 0 };
    let Some(slices) = cut(&parent.spec.slice, &wanted.at) else { return 0 };
    let groups = [GroupId(claim.first), GroupId(claim.first + 1)];
    let Some((replicas, leader)) = place(parent, groups.map(|group| view.shard(group))) else { return 0 };
    let mut made = 0;
    for (group, slice) in groups.into_iter().zip(slices).filter(|(group, _)| view.shard(*group).is_none()) {
        let spec = ShardSpec {
            table: claim.table.clone(),
            group,
            slice,
            replicas: replicas.clone(),
            leader,
            phase: Phase::Filling,
            parent: Some(wanted.parent),
        };
        let name = name_of(&claim.table, group);
        // Both are made of the same shard: with the first one, whoever sees a later shard sees that one as well.
        draft.create(Shard::new(&name, spec), vec![as_it_is(cluster), guard(parent)]);
        made += 1;
    }
    made
}

fn guard(shard: &Shard) -> Guard {
    Guard::of(Kind::Shard, shard.name(), shard.revision())
}

fn claimed_parent<'a>(view: &'a View, claim: &Claim, wanted: &SplitClaim) -> Option<&'a Arc<Shard>> {
    view.table(&claim.table).filter(|table| is_split(table))?;
    view.shard(wanted.parent).filter(|parent| parent.spec.phase == Phase::Serving)
}

/// Where the halves of a shard are founded, given those that are made already: both on the same nodes.
fn place(parent: &Shard, made: [Option<&Arc<Shard>>; 2]) -> Option<(BTreeSet<NodeId>, Option<NodeId>)> {
    match made {
        [None, None] if has_arrived(parent) => Some((parent.status.voters.clone(), parent.spec.leader)),
        [None, None] | [Some(_), Some(_)] => None,
        [Some(half), None] | [None, Some(half)] => match half.spec.phase {
            Phase::Filling => Some((half.spec.replicas.clone(), half.spec.leader)),
            Phase::Serving | Phase::Retiring => None,
        },
    }
}

/// Takes the next steps with every shard whose halves are there.
pub fn carry_on(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let mut halves: BTreeMap<GroupId, Vec<&Arc<Shard>>> = BTreeMap::new();
    for half in
        filling(scene.view).filter(|half| scene.view.table(&half.spec.table).is_some_and(|table| is_split(table)))
    {
        halves.entry(half.spec.parent.unwrap_or_default()).or_default().push(half);
    }
    for (parent, halves) in halves {
        match scene.view.shard(parent).filter(|parent| parent.spec.phase == Phase::Serving) {
            Some(parent) => hand_over_or_give_up(draft, scene, parent, &halves),
            None => halves.into_iter().filter(|half| stage(half, scene) == Some(Stage::Serving)).for_each(|half| {
                let half = draft.shard(half);
                half.spec.phase = Phase::Serving;
                half.metadata.generation += 1;
                half.status.epoch += 1;
            }),
        }
    }
}

fn stage(shard: &Shard, scene: &Scene<'_>) -> Option<Stage> {
    scene.reports.leader(scene.now, shard.spec.group).map(|(_, report)| report.stage)
}

fn hand_over_or_give_up(draft: &mut Draft<'_>, scene: &Scene<'_>, parent: &Shard, halves: &[&Arc<Shard>]) {
    let is_stuck = match stage(parent, scene) {
        Some(Stage::Stuck) => true,
        Some(Stage::Serving | Stage::Filling | Stage::Sealed) => false,
        None => althing_probe::is(Mutant::GiveUpInSilence),
    };
    let is_early = stage(parent, scene) == Some(Stage::Sealed) && althing_probe::is(Mutant::HandOverEarly);
    let serves = |half: &&Arc<Shard>| stage(half, scene) == Some(Stage::Serving) || is_early;
    match halves {
        [left, right] if serves(left) && serves(right) => hand_over(draft, parent, [left, right]),
        [_, _] if !is_stuck => {}
        [half] if is_awaited(half, scene.cluster) => {}
        halves => {
            for half in halves {
                let_go(draft, half);
                draft.require(half, parent);
            }
        }
    }
}

/// Whether the other half of a shard may still be made.
fn is_awaited(half: &Shard, cluster: &Cluster) -> bool {
    let claim = cluster.status.claim.as_ref().and_then(|claim| claim.split.as_ref());
    claim.is_some_and(|claim| Some(claim.parent) == half.spec.parent)
}

/// From this write on requests go to the halves.
fn hand_over(draft: &mut Draft<'_>, parent: &Shard, halves: [&Arc<Shard>; 2]) {
    let_go(draft, parent);
    halves.into_iter().for_each(|half| draft.require(parent, half));
    let message = format!("{} serve what it held", names(halves));
    let conditions = &mut draft.shard(parent).status.conditions;
    condition::set(conditions, Condition::new(SPLITTING, Truth::False, "HandedOver", message));
}

fn names<'a>(halves: impl IntoIterator<Item = &'a Arc<Shard>>) -> String {
    let names: Vec<&str> = halves.into_iter().map(|half| half.name()).collect();
    names.join(" and ")
}

/// How far the split of a shard is, for people. What was the case stays while nobody says anything.
pub fn progress(shard: &Shard, scene: &Scene<'_>) -> Option<Condition> {
    let mut halves = scene.view.children(shard.spec.group).peekable();
    halves.peek()?;
    let names = names(halves);
    let yes = |reason, message| Some(Condition::new(SPLITTING, Truth::True, reason, message));
    match stage(shard, scene) {
        Some(Stage::Serving | Stage::Filling) => yes("Filling", format!("it fills {names}, and serves meanwhile")),
        Some(Stage::Sealed) => yes(SEALED, format!("it serves nothing any more; {names} will in a moment")),
        Some(Stage::Stuck) => yes("Stuck", format!("it cannot fill {names} from where they are: they are made anew")),
        None => condition::get(&shard.status.conditions, SPLITTING).cloned(),
    }
}

/// A shard that is to be split.
struct Candidate<'a> {
    bytes: u64,
    shard: &'a Shard,
    at: &'a Bytes,
}

/// Hands out ids for the halves of the largest shard that is too large, if there is nothing else to hand out.
pub fn begin(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    if draft.see_claim().is_some() {
        return;
    }
    let busy = busy_nodes(scene.view);
    let is_free = |shard: &Shard| shard.status.voters.is_disjoint(&busy);
    let tables = scene.view.tables().filter(|table| is_split(table));
    let largest = tables
        .filter(|table| scene.routed(table).take(MAX_SHARDS as usize).count() < MAX_SHARDS as usize)
        .flat_map(|table| scene.routed(table).filter_map(|shard| candidate(draft, table, shard, scene)))
        .filter(|candidate| is_free(candidate.shard))
        .max_by_key(|candidate| (candidate.bytes, Reverse(candidate.shard.spec.group)));
    let Some(Candidate { shard, at, .. }) = largest else { return };
    let status = &mut draft.cluster().status;
    status.claim = Some(Claim {
        table: shard.spec.table.clone(),
        first: status.next_group,
        count: 2,
        split: Some(SplitClaim { parent: shard.spec.group, at: at.to_vec() }),
    });
    status.next_group += 2;
}

/// The nodes that take part in as many splits as they may.
fn busy_nodes(view: &View) -> BTreeSet<NodeId> {
    let mut splits: BTreeMap<NodeId, usize> = BTreeMap::new();
    for parent in view.parents().filter_map(|parent| view.shard(parent)) {
        for node in &parent.status.voters {
            *splits.entry(*node).or_default() += 1;
        }
    }
    splits.retain(|_, splits| *splits >= MAX_SPLITS_PER_NODE);
    splits.into_keys().collect()
}

/// A shard, if it is to be split: it is too large, where it belongs, and not about to be moved.
fn candidate<'a>(draft: &Draft<'_>, table: &Table, shard: &'a Shard, scene: &Scene<'a>) -> Option<Candidate<'a>> {
    let (_, report) = scene.reports.leader(scene.now, shard.spec.group)?;
    let at = report.middle.as_ref()?;
    let most = table.spec.split_bytes.unwrap_or(DEFAULT_SPLIT_BYTES);
    let is_too_large = report.stage == Stage::Serving && report.bytes >= most;
    let is_settled =
        shard.spec.phase == Phase::Serving && has_arrived(shard) && draft.see_shard(shard).spec == shard.spec;
    // Halves that were given up must be gone, so that nobody takes them for the new ones.
    let mut others = scene.survey.shards(table.name()).iter();
    let has_halves = others.any(|other| other.spec.parent == Some(shard.spec.group));
    let slices = cut(&shard.spec.slice, at)?;
    let has_room = at.len() <= MAX_SPLIT_KEY_BYTES && has_room_for(scene.view, slices.iter().map(bytes_of).sum());
    let bytes = report.bytes;
    (is_too_large && is_settled && !has_halves && has_room).then_some(Candidate { bytes, shard, at })
}

/// Bytes that the object of a shard with such a slice takes at the most.
fn bytes_of(slice: &Slice) -> usize {
    SHARD_BYTES
        + match slice {
            Slice::Hash(_) => 0,
            Slice::Range(RangeSlice { start, end }) => {
                text::escape(start).len() + end.as_deref().map_or(0, |end| text::escape(end).len())
            }
        }
}

#[cfg(test)]
mod tests;
