//! What is the case about each shard, from what its leader reports.

use std::collections::BTreeMap;

use althing_manifest::condition::{self, Condition, READY, REPLICATED, SPLITTING, Truth};
use althing_manifest::{Phase, Shard, ShardStatus};
use althing_types::{Duration, GroupId, Instant, NodeId};

use super::draft::Draft;
use super::placement::{Scene, has_arrived};
use super::split;
use crate::reports::{Configuration, GroupReport, SILENT_AFTER};

/// How often the sizes of a shard are written at the most, if nothing else about it changes.
pub const SIZES_EVERY: Duration = Duration::from_secs(10);

/// When the sizes of each shard were written last. Losing this costs a few writes.
#[derive(Clone, Debug, Default)]
pub struct Sizes(BTreeMap<GroupId, Instant>);

/// Writes down what is the case about each shard, beginning behind the one with which the last turn ended.
pub fn observe(draft: &mut Draft<'_>, scene: &Scene<'_>, sizes: &mut Sizes, from: GroupId) {
    let (view, now) = (draft.view, scene.now);
    let (until, behind): (Vec<_>, Vec<_>) = view.shards().partition(|shard| shard.spec.group <= from);
    for shard in behind.into_iter().chain(until) {
        let seen = draft.see_shard(shard);
        let goes = seen.spec.phase == Phase::Retiring;
        if goes || is_as_reported(seen, scene) {
            continue;
        }
        let status = refreshed(seen, scene);
        if status == seen.status {
            continue;
        }
        let plain = ShardStatus { keys: seen.status.keys, bytes: seen.status.bytes, ..status.clone() };
        let are_sizes_due = sizes.0.get(&shard.spec.group).is_none_or(|at| now.since(*at) >= SIZES_EVERY);
        if plain == seen.status && !are_sizes_due {
            continue;
        }
        sizes.0.insert(shard.spec.group, now);
        let came = came_all_the_same(seen, &status);
        let edited = draft.shard(shard);
        if came {
            edited.spec.replicas = status.voters.clone();
            edited.spec.leader = edited.spec.leader.filter(|leader| status.voters.contains(leader));
            edited.metadata.generation = shard.metadata.generation + 1;
        }
        edited.status = status;
    }
    sizes.0.retain(|group, _| view.shard(*group).is_some());
}

/// Whether a newcomer that was given up votes now. What is wanted was decided without it: the shard's leader, once it knows that meta has
/// seen the newcomer, would take it out again, and nothing has come in its place. So it stays until that is decided anew, and the
/// leader hears of both at once.
fn came_all_the_same(shard: &Shard, status: &ShardStatus) -> bool {
    let is_new = |voter: &&NodeId| !shard.status.voters.contains(voter);
    status.voters.iter().filter(is_new).any(|voter| !shard.spec.replicas.contains(voter))
}

/// Whether a shard that is led says already what its leader reports: the usual case, told without copying anything.
fn is_as_reported(shard: &Shard, scene: &Scene<'_>) -> bool {
    let status = &shard.status;
    let Some((node, report)) = leader(shard, scene) else { return false };
    let says = |new: (Truth, &str, &str), about| {
        condition::get(&status.conditions, about).is_some_and(|old| (old.status, old.reason.as_str()) == (new.0, new.1))
    };
    (status.leader, status.term) == (Some(node), report.term)
        && (status.keys, status.bytes) == (rounded(report.keys), rounded(report.bytes))
        && status.voters == report.voters
        && status.learners == report.learners
        && says(ready(shard), READY)
        && says(replicated(shard), REPLICATED)
        && condition::get(&status.conditions, SPLITTING) == split::progress(shard, scene).as_ref()
}

fn leader<'a>(shard: &Shard, scene: &Scene<'a>) -> Option<(NodeId, &'a GroupReport)> {
    scene.reports.leader(scene.now, shard.spec.group)
}

/// The status of a shard as it is reported now. A report of an earlier term than is known says nothing; a joint configuration is
/// waited out.
pub fn refreshed(shard: &Shard, scene: &Scene<'_>) -> ShardStatus {
    let mut status = shard.status.clone();
    match leader(shard, scene).filter(|(_, report)| report.term >= status.term) {
        Some((node, report)) => {
            status.leader = Some(node);
            status.term = report.term;
            status.keys = rounded(report.keys);
            status.bytes = rounded(report.bytes);
            let is_new = (&status.voters, &status.learners) != (&report.voters, &report.learners);
            if report.configuration == Configuration::Simple && is_new {
                status.voters = report.voters.clone();
                status.learners = report.learners.clone();
                status.epoch += 1;
            }
        }
        None if scene.now.since(scene.reports.began()) < SILENT_AFTER => {}
        None => status.leader = None,
    }
    let seen = Shard { status, ..shard.clone() };
    let mut status = seen.status.clone();
    for (about, (truth, reason, message)) in [(READY, ready(&seen)), (REPLICATED, replicated(&seen))] {
        condition::set(&mut status.conditions, Condition::new(about, truth, reason, message));
    }
    condition::clear(&mut status.conditions, SPLITTING);
    if let Some(progress) = split::progress(shard, scene) {
        condition::set(&mut status.conditions, progress);
    }
    status
}

/// Three binary digits, so that a size is written when it has changed by some part of itself.
fn rounded(size: u64) -> u64 {
    let dropped = (u64::BITS - size.leading_zeros()).saturating_sub(3);
    size >> dropped << dropped
}

/// Whether it does what it is for, the reason, and the message that belongs to the reason.
fn ready(shard: &Shard) -> (Truth, &'static str, &'static str) {
    match (&shard.status.leader, shard.status.epoch) {
        (Some(_), _) if shard.spec.phase == Phase::Filling => {
            (Truth::True, "Filling", "it gets its data from the shard that is being split")
        }
        (Some(_), _) => (Truth::True, "Serving", ""),
        (None, 0) if shard.spec.replicas.is_empty() => {
            (Truth::False, "NotPlaced", "it waits for nodes to be placed on")
        }
        (None, 0) => (Truth::False, "Founding", "its nodes have not opened it yet"),
        (None, _) => (Truth::False, "NoLeader", "no leader is heard of: most of its replicas may be down or cut off"),
    }
}

/// The same about its replicas.
fn replicated(shard: &Shard) -> (Truth, &'static str, &'static str) {
    if has_arrived(shard) && !shard.spec.replicas.is_empty() {
        (Truth::True, "Placed", "")
    } else {
        (Truth::False, "Moving", "its replicas are not yet where they are wanted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_three_digits() {
        let pairs = [(0, 0), (1, 1), (7, 7), (9, 8), (1_000, 896), (1_025, 1_024), (u64::MAX, 7 << 61)];
        for (size, wanted) in pairs {
            assert_eq!(rounded(size), wanted);
        }
    }
}
