//! Stretches: times in which nothing changes of who is up and who hears whom.
//!
//! In a cluster with a control plane two promises can be judged by them, whatever the stretch began with:
//!
//! * a shard with a quorum serves, be the control plane's quorum lost or not: of the writes that clients try some must be
//!   acknowledged;
//! * while the control plane has no quorum, its objects do not change: nobody is declared dead, and nothing is moved.
//!
//! A third is judged when the last fault is long past: every replica that was on a machine that is down is elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::service::META_GROUP;
use althing_types::{Duration, GroupId, Instant, NodeId, Revision};

use super::{Event, Phase, World};
use crate::checker::{Action, Outcome};
use crate::faults::DiskFaults;
use crate::host::directory::Standing;
use crate::host::{DiskSpace, Stage};
use crate::random::Chance;
use crate::report::Check;
use crate::workload::steward::TABLE;

/// Shorter stretches are not judged.
const JUDGED: Duration = Duration::from_secs(5);
/// After so long in a stretch, leaders are elected and messages of the time before have come: it is judged from there on.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Writes to a shard that must have been tried before it is judged that none was acknowledged.
const TRIES: u64 = 12;
/// What was tried in the last moments of a stretch may be answered after it.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1500);
/// So long after the grace replicas must have been rebuilt: each step takes a report, a decision, and a snapshot.
const REBUILT_WITHIN: Duration = Duration::from_secs(14);

/// Whether a group can decide anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Quorum {
    /// Some voter hears, and is heard by, a majority.
    Is,
    /// None does.
    Lost,
}

/// What became of the writes to a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Tried {
    acknowledged: u64,
    /// They had time enough and were not.
    failed: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Stretch {
    since: Instant,
    meta: Quorum,
    /// The newest map, once all that was under way has come, if the control plane has no quorum.
    noted: Option<Revision>,
    /// Shards that have a quorum.
    able: BTreeSet<GroupId>,
}

impl World {
    /// Something has changed of who is up and who hears whom, or is about to.
    pub(super) fn next_stretch(&mut self) {
        if self.options.tables.is_none() {
            return;
        }
        if let Some(stretch) = self.stretch.take() {
            self.judge_stretch(&stretch);
        }
        if self.phase != Phase::Safety {
            return;
        }
        let now = self.agenda.now();
        let Some(map) = self.newest_map() else { return };
        let shards = map.shards().filter(|shard| shard.spec.table == TABLE).map(|shard| shard.spec.group);
        let all = |group: &GroupId| self.quorums(*group).iter().all(|quorum| *quorum == Quorum::Is);
        let able = shards.filter(all).collect();
        // Before the control plane knows of itself there is nothing to lose.
        let meta = self.quorums(META_GROUP);
        let is_lost = !meta.is_empty() && meta.iter().all(|quorum| *quorum == Quorum::Lost);
        let meta = if is_lost { Quorum::Lost } else { Quorum::Is };
        if meta == Quorum::Lost {
            self.agenda.after(SETTLED_AFTER, Event::Note(now));
        }
        self.stretch = Some(Stretch { since: now, meta, noted: None, able });
    }

    /// The control plane has had no quorum for a while: what it last said is noted.
    pub(super) fn note(&mut self, since: Instant) {
        let revision = self.newest_map().map(althing_meta::View::revision);
        if let Some(stretch) = self.stretch.as_mut().filter(|stretch| stretch.since == since) {
            stretch.noted = revision;
        }
    }

    /// Whether a group has a quorum, by what the newest map says of its voters and by what each of its replicas does: where the
    /// group is just being moved these differ.
    fn quorums(&self, group: GroupId) -> Vec<Quorum> {
        let shard = self.newest_map().and_then(|map| map.shard(group));
        let told = shard.map(|shard| shard.status.voters.clone());
        let held = self.hosts.values().filter_map(|host| match &host.stage {
            Stage::Running(process) => Some(process.node.voters(group)),
            Stage::Paused { .. } | Stage::Down => None,
        });
        let known = told.into_iter().chain(held).filter(|voters| !voters.is_empty());
        known.map(|voters| self.quorum(&voters)).collect()
    }

    fn quorum(&self, voters: &BTreeSet<NodeId>) -> Quorum {
        let runs = |id: &&NodeId| {
            let host = self.hosts.get(id).filter(|host| host.standing == Standing::Sound);
            matches!(host.map(|host| &host.stage), Some(Stage::Running(_)))
        };
        let running: Vec<NodeId> = voters.iter().filter(runs).copied().collect();
        let hear =
            |one: NodeId, two: NodeId| one == two || (self.network.is_open(one, two) && self.network.is_open(two, one));
        let reached = |from: &NodeId| running.iter().filter(|to| hear(*from, **to)).count();
        let most = running.iter().map(reached).max().unwrap_or_default();
        if most > voters.len() / 2 { Quorum::Is } else { Quorum::Lost }
    }

    /// Whether nothing is slow, full, lost on its way, held back or told wrongly: then whoever has a quorum serves.
    fn is_fair(&self) -> bool {
        let is_well = |id: &NodeId| {
            let host = &self.hosts[id];
            host.slow_by.is_zero() && host.starved_by.is_zero() && host.disk_space == DiskSpace::Ample
        };
        let faults = &self.options.faults;
        faults.network.drop == Chance::NEVER
            && faults.disk == DiskFaults::CALM
            && !self.network.is_clogged()
            && self.hearsay.is_honest()
            && self.nodes.iter().all(is_well)
    }

    fn judge_stretch(&mut self, stretch: &Stretch) {
        let now = self.agenda.now();
        let newest = self.newest_map().map(althing_meta::View::revision);
        if let (Some(noted), Some(newest)) = (stretch.noted, newest)
            && newest != noted
        {
            let since = stretch.since;
            return self.find(
                Check::Control,
                format!("the control plane has had no quorum since {since:?}, and its objects went from revision {noted} to {newest}"),
            );
        }
        if now.since(stretch.since) < JUDGED || !self.is_fair() {
            return;
        }
        self.judge_service(stretch, now);
    }

    fn judge_service(&mut self, stretch: &Stretch, now: Instant) {
        let from = stretch.since + SETTLED_AFTER;
        let mut tried: BTreeMap<GroupId, Tried> = BTreeMap::new();
        for operation in self.shared.history.operations.iter().rev().take_while(|operation| operation.invoked >= from) {
            let Some(group) = self.group_of(&operation.key) else { continue };
            if operation.action == Action::Get {
                continue;
            }
            let tried = tried.entry(group).or_default();
            match operation.outcome {
                Outcome::Done { .. } => tried.acknowledged += 1,
                Outcome::Refused | Outcome::Unknown => {
                    tried.failed += u64::from(now.since(operation.invoked) >= ANSWERED_WITHIN);
                }
            }
        }
        self.control.stretches += 1;
        for group in &stretch.able {
            let Tried { acknowledged, failed } = tried.get(group).copied().unwrap_or_default();
            if stretch.meta == Quorum::Lost {
                self.control.served_without_meta += u64::from(acknowledged > 0);
                self.control.writes_without_meta += acknowledged;
                self.control.failed_without_meta += failed;
            }
            if failed >= TRIES && acknowledged == 0 {
                let (since, meta) = (stretch.since, stretch.meta);
                return self.find(
                    Check::Service,
                    format!(
                        "since {since:?} shard {group} has a quorum (the control plane's: {meta:?}), {failed} writes \
                         were tried, and none was acknowledged"
                    ),
                );
            }
        }
        self.control.without_meta += u64::from(stretch.meta == Quorum::Lost);
    }

    /// All is about to be healed. If the last fault is long past, what was on machines that are down is elsewhere by now.
    pub(super) fn check_rebuilt(&mut self) {
        let Some(tables) = self.options.tables.clone() else { return };
        let quiet = self.stretch.as_ref().map(|stretch| self.agenda.now().since(stretch.since));
        let is_due = quiet.is_some_and(|quiet| quiet >= tables.grace + REBUILT_WITHIN);
        let is_whole =
            self.stretch.as_ref().is_some_and(|stretch| stretch.meta == Quorum::Is) && !self.network.is_cut();
        if !is_due || !is_whole || !self.is_fair() || !tables.pace.every.is_zero() {
            return;
        }
        self.control.rebuilt += 1;
        let alive = |id: &NodeId| matches!(self.hosts[id].stage, Stage::Running(_));
        let alive: BTreeSet<NodeId> = self.nodes.iter().copied().filter(alive).collect();
        let Some(map) = self.newest_map() else { return };
        if let Some(why) = self.misplaced(map, &alive) {
            self.find(Check::Control, format!("{quiet:?} after the last fault, before all was healed: {why}"));
        }
    }
}
