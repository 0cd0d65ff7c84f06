//! What is the case about each shard, from what its leader reports.

use std::collections::BTreeMap;

use althing_manifest::condition::{self, Condition, READY, REPLICATED, Truth};
use althing_manifest::{Phase, Shard, ShardStatus};
use althing_types::{Duration, GroupId, Instant};

use super::draft::Draft;
use super::placement::has_arrived;
use crate::reports::{Configuration, Reports, SILENT_AFTER};

/// How often the sizes of a shard are written at the most, if nothing else about it changes.
pub const SIZES_EVERY: Duration = Duration::from_secs(10);

/// When the sizes of each shard were written last. Losing this costs a few writes.
#[derive(Clone, Debug, Default)]
pub struct Sizes(BTreeMap<GroupId, Instant>);

/// Writes down what is the case about each shard, beginning behind the one with which the last turn ended.
pub fn observe(draft: &mut Draft<'_>, reports: &Reports, now: Instant, sizes: &mut Sizes, from: GroupId) {
    let view = draft.view;
    let serving = || view.shards().filter(|shard| shard.spec.phase == Phase::Serving);
    let behind = serving().filter(|shard| shard.spec.group > from);
    for shard in behind.chain(serving().filter(|shard| shard.spec.group <= from)) {
        let seen = draft.see_shard(shard);
        let status = refreshed(seen, reports, now);
        if status == seen.status {
            continue;
        }
        let plain = ShardStatus { keys: seen.status.keys, bytes: seen.status.bytes, ..status.clone() };
        let are_sizes_due = sizes.0.get(&shard.spec.group).is_none_or(|at| now.since(*at) >= SIZES_EVERY);
        if plain == seen.status && !are_sizes_due {
            continue;
        }
        sizes.0.insert(shard.spec.group, now);
        draft.shard(shard).status = status;
    }
    sizes.0.retain(|group, _| view.shard(*group).is_some());
}

/// The status of a shard as it is reported now. A report of an earlier term than is known says nothing; a joint configuration is
/// waited out.
pub fn refreshed(shard: &Shard, reports: &Reports, now: Instant) -> ShardStatus {
    let mut status = shard.status.clone();
    let leader = reports.leader(now, shard.spec.group).filter(|(_, report)| report.term >= status.term);
    match leader {
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
        None if now.since(reports.began()) < SILENT_AFTER => {}
        None => status.leader = None,
    }
    let seen = Shard { status, ..shard.clone() };
    let mut status = seen.status.clone();
    condition::set(&mut status.conditions, ready(&seen));
    condition::set(&mut status.conditions, replicated(&seen));
    status
}

/// Three binary digits, so that a size is written when it has changed by some part of itself.
fn rounded(size: u64) -> u64 {
    let dropped = (u64::BITS - size.leading_zeros()).saturating_sub(3);
    size >> dropped << dropped
}

fn ready(shard: &Shard) -> Condition {
    let (status, reason, message) = match (&shard.status.leader, shard.status.epoch) {
        (Some(_), _) => (Truth::True, "Serving", ""),
        (None, 0) if shard.spec.replicas.is_empty() => {
            (Truth::False, "NotPlaced", "it waits for nodes to be placed on")
        }
        (None, 0) => (Truth::False, "Founding", "its nodes have not opened it yet"),
        (None, _) => (Truth::False, "NoLeader", "no leader is heard of: most of its replicas may be down or cut off"),
    };
    Condition::new(READY, status, reason, message)
}

fn replicated(shard: &Shard) -> Condition {
    if has_arrived(shard) && !shard.spec.replicas.is_empty() {
        Condition::new(REPLICATED, Truth::True, "Placed", "")
    } else {
        Condition::new(REPLICATED, Truth::False, "Moving", "its replicas are not yet where they are wanted")
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
