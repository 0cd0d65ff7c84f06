//! A world with a control plane: what clients did is judged shard by shard, and in the end replicas must be where they belong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use althing_api::Target;
use althing_api::keys::{Keys, shard_keys};
use althing_api::service::{DEFAULT_GROUP, FIRST_SHARD_GROUP};
use althing_consensus::ConfState;
use althing_manifest::{Phase, Shard};
use althing_meta::View;
use althing_types::{Duration, GroupId, Instant, NodeId, TableName};
use bytes::Bytes;

use super::World;
use crate::checker::{self, Judgement};
use crate::history::History;
use crate::host::{End, Stage};
use crate::options::Tables;
use crate::report::{Check, ControlCounts};
use crate::workload::cart::CARTS;
use crate::workload::decided::LOCKS;
use crate::workload::steward::TABLE;

/// Replicas that the table of clients wants.
const REPLICAS: usize = 3;
/// So long after the start the table is founded, and its replicas are spread.
const SPREAD_WITHIN: Duration = Duration::from_secs(5);

impl World {
    /// The table that clients on registers write to.
    pub(super) fn table_of_clients(tables: bool) -> Target {
        if tables { Target::Table(TableName::new(TABLE).expect("the name is a name")) } else { Target::default() }
    }

    /// Judges the history. A table of many shards has a history for each of them.
    pub(super) fn judge(&self) -> Judgement {
        if self.options.tables.is_none() {
            return checker::judge(&self.shared.history, &self.ledger.truth(althing_api::service::DEFAULT_GROUP));
        }
        let mut judgement = Judgement::default();
        for (group, history) in self.histories() {
            // A shard that came of a split has the history of its parent, and only its own keys of it.
            let truth = self.ledger.truth(group).of_keys(|key| self.group_of(key) == Some(group));
            let judged = checker::judge(&history, &truth);
            let broken = judged.broken.into_iter().map(|(check, text)| (check, format!("group {group}: {text}")));
            judgement.broken.extend(broken);
            judgement.undecided += judged.undecided;
        }
        if self.findings.is_empty() {
            judgement.broken.extend(self.judge_carts().into_iter().map(|text| (Check::Carts, text)));
            self.judge_decided(&mut judgement);
        }
        judgement
    }

    fn histories(&self) -> BTreeMap<GroupId, History> {
        let mut histories: BTreeMap<GroupId, History> = BTreeMap::new();
        for operation in &self.shared.history.operations {
            if let Some(group) = self.group_of(&operation.key) {
                histories.entry(group).or_default().operations.push(operation.clone());
            }
        }
        for call in &self.shared.history.calls {
            let group = match &call.target {
                // Whoever reconciles writes there, too, and nobody has recorded that.
                Target::Group(_) => None,
                target if *target != self.table => None,
                Target::Table(_) => match shard_keys(&call.request) {
                    Keys::Single(key) => self.group_of(key),
                    Keys::None | Keys::Many(_) | Keys::Range { .. } => None,
                },
            };
            if let Some(group) = group {
                histories.entry(group).or_default().calls.push(call.clone());
            }
        }
        histories
    }

    /// The newest map that any node has.
    pub(super) fn newest_map(&self) -> Option<&View> {
        let maps = self.hosts.values().filter_map(|host| match &host.stage {
            Stage::Running(process) | Stage::Paused { process, .. } => Some(process.node.map()),
            Stage::Down => None,
        });
        maps.max_by_key(|map| map.revision())
    }

    /// The shard of a key, by the newest map that any node has.
    pub(super) fn group_of(&self, key: &Bytes) -> Option<GroupId> {
        self.newest_map()?.locate(TABLE, key).map(|shard| shard.spec.group)
    }

    /// A replica that is not where the map wants it, or that stands on a machine that is not among the living, or in the zone
    /// of another one while a zone with a living machine has none. The table `default` has the members that clients give it.
    pub(super) fn misplaced(&self, map: &View, alive: &BTreeSet<NodeId>) -> Option<String> {
        let tables = self.options.tables.as_ref()?;
        let zones = zones(map.nodes().map(|node| node.spec.id).filter(|id| alive.contains(id)), tables);
        let wrong = |shard: &Shard| {
            let (wanted, status) = (&shard.spec.replicas, &shard.status);
            if status.voters != *wanted || !status.learners.is_empty() || status.leader.is_none() {
                Some("has not arrived")
            } else if shard.spec.group == DEFAULT_GROUP {
                None
            } else if !wanted.is_subset(alive) {
                Some("counts on machines that are down")
            } else if self::zones(wanted.iter().copied(), tables) < zones.min(wanted.len()) {
                Some("has two replicas in one zone and none in another")
            } else {
                None
            }
        };
        map.shards().find_map(|shard| {
            let what = wrong(shard)?;
            Some(format!(
                "group {} {what}: wanted {:?}, status {:?}",
                shard.spec.group, shard.spec.replicas, shard.status
            ))
        })
    }

    /// What was counted, the processes that still run included.
    pub(super) fn control_counts(&self) -> ControlCounts {
        let mut counts = self.control;
        for host in self.hosts.values() {
            match &host.stage {
                Stage::Running(process) | Stage::Paused { process, .. } => counts.add(&process.node.metrics()),
                Stage::Down => {}
            }
        }
        counts.splits = self.ledger.splits();
        counts
    }

    /// Before anything goes wrong, no two replicas of a shard share a zone if there are zones enough.
    pub(super) fn check_spread(&mut self) {
        let first = self.inflicted.is_empty();
        let Some(tables) = self.options.tables.as_ref().filter(|tables| tables.zones > 0) else { return };
        if !first || self.agenda.now().since(Instant::ZERO) < SPREAD_WITHIN {
            return;
        }
        let Some(map) = self.newest_map() else { return };
        let enough = |voters: &BTreeSet<NodeId>| voters.len().min(tables.zones);
        let crowded = |shard: &&Arc<Shard>| {
            let voters = &shard.status.voters;
            zones(voters.iter().copied(), tables) < enough(&shard.spec.replicas).min(voters.len())
        };
        let shards = map.shards().count() as u64;
        let crowded = map.shards().find(crowded).map(|shard| (shard.spec.group, shard.status.voters.clone()));
        self.control.spread += shards;
        if let Some((group, voters)) = crowded {
            self.find(
                Check::Control,
                format!("before the first fault group {group} has two voters in a zone: {voters:?}"),
            );
        }
    }

    /// A shard that once had as many voters as its table wants never has fewer: a newcomer votes before, or when, another goes.
    pub(super) fn check_voters(&mut self, group: GroupId, index: u64, conf: &ConfState) {
        if self.options.tables.is_none() || group < FIRST_SHARD_GROUP || conf.is_joint() {
            return;
        }
        let (known, most) = self.voters.get(&group).copied().unwrap_or_default();
        if index <= known {
            return;
        }
        let now = conf.voters.len();
        self.voters.insert(group, (index, most.max(now).min(REPLICAS)));
        if now < most {
            let voters = &conf.voters;
            self.find(
                Check::Control,
                format!("group {group} has the voters {voters:?} from entry {index} on, and had {most}"),
            );
        }
    }

    /// Whether a machine may be gone for good: the replicas that are left are a quorum of every configuration that the newest
    /// map or any node knows, and the table `default`, whose members nobody replaces, does not count on it.
    pub(super) fn can_be_destroyed(&self, node: NodeId) -> bool {
        let Some(map) = self.newest_map() else { return false };
        let mut in_force: Vec<(GroupId, BTreeSet<NodeId>)> = Vec::new();
        in_force.extend(map.shards().map(|shard| (shard.spec.group, shard.status.voters.clone())));
        for host in self.nodes.iter().map(|id| &self.hosts[id]) {
            let (Stage::Running(process) | Stage::Paused { process, .. }) = &host.stage else { continue };
            let groups = process.node.group_metrics().map(|metrics| metrics.group);
            in_force.extend(groups.map(|group| (group, process.node.voters(group))));
        }
        let has_kept_all = |id: &NodeId| self.nodes.contains(id) && self.budget.lost() != Some(*id);
        let survives = |(group, voters): &(GroupId, BTreeSet<NodeId>)| {
            let left = voters.iter().filter(|id| **id != node && has_kept_all(id)).count();
            !voters.contains(&node) || (*group != DEFAULT_GROUP && left > voters.len() / 2)
        };
        self.nodes.contains(&node) && in_force.iter().all(survives) && self.all_accept()
    }

    /// Whether all shards were seen alive. Before, nobody but their founders may found them, so most of those must not be lost.
    pub(super) fn is_founded(&self) -> bool {
        let (Some(tables), Some(map)) = (&self.options.tables, self.newest_map()) else { return false };
        incomplete(map, tables).is_none() && map.shards().all(|shard| shard.status.epoch > 0)
    }

    /// Whether every voter of every shard of strings by rounds is known to accept. One that copies has not yet what whoever went before
    /// it had accepted, so the loss of that one is not made good.
    pub(super) fn all_accept(&self) -> bool {
        let accepts = |node: &NodeId, group: GroupId| match self.hosts.get(node).map(|host| &host.stage) {
            Some(Stage::Running(process) | Stage::Paused { process, .. }) => !process.node.copies_registers(group),
            Some(Stage::Down) | None => false,
        };
        let shards = self.shards_of(LOCKS);
        shards.iter().all(|shard| shard.status.voters.iter().all(|node| accepts(node, shard.spec.group)))
    }

    /// A machine is gone for good.
    pub(super) fn destroy(&mut self, node: NodeId) {
        self.control.destroyed += 1;
        self.end_process(node, End::Power);
        self.nodes.retain(|other| *other != node);
    }

    /// What is not as it should be once all is healed and clients have ended; nothing if there is no control plane.
    pub(super) fn unsettled(&self) -> Option<String> {
        let tables = self.options.tables.as_ref()?;
        let mut held: BTreeMap<GroupId, BTreeSet<NodeId>> = BTreeMap::new();
        let mut revisions = BTreeSet::new();
        for id in &self.nodes {
            let Stage::Running(process) = &self.hosts[id].stage else { return Some(format!("node {id} does not run")) };
            revisions.insert(process.node.map().revision());
            for metrics in process.node.group_metrics() {
                held.entry(metrics.group).or_default().insert(*id);
            }
        }
        if revisions.len() != 1 {
            return Some(format!("maps differ: {revisions:?}"));
        }
        let map = self.newest_map()?;
        if let Some(problem) = incomplete(map, tables) {
            return Some(problem);
        }
        let nodes = map.nodes().count();
        if nodes as u64 != self.options.nodes + tables.spares as u64 {
            return Some(format!("the map has {nodes} nodes"));
        }
        let alive: BTreeSet<NodeId> = self.nodes.iter().copied().collect();
        self.misplaced(map, &alive)
            .or_else(|| {
                map.shards().find_map(|shard| {
                    let there = held.get(&shard.spec.group).cloned().unwrap_or_default();
                    let (group, wanted) = (shard.spec.group, &shard.spec.replicas);
                    (there != *wanted).then(|| format!("group {group}: wanted on {wanted:?}, held by {there:?}"))
                })
            })
            .or_else(|| self.unequal_replicas(&[CARTS, LOCKS]))
    }
}

/// What the tables of clients lack.
fn incomplete(map: &View, tables: &Tables) -> Option<String> {
    let shards = || map.shards().filter(|shard| shard.spec.table == TABLE);
    if let Some(shard) = shards().find(|shard| shard.spec.phase != Phase::Serving) {
        return Some(format!("group {} is {}", shard.spec.group, shard.spec.phase.name()));
    }
    for (table, wanted) in [(CARTS, tables.convergent), (LOCKS, tables.decided)] {
        if map.shards().filter(|shard| shard.spec.table == table).count() != wanted {
            return Some(format!("table {table} has not all its shards"));
        }
    }
    let is_whole = if tables.split_kib > 0 { shards().count() > 0 } else { shards().count() == tables.shards };
    (!is_whole).then(|| format!("table {TABLE} has not all its shards"))
}

/// In how many zones nodes stand.
fn zones(nodes: impl Iterator<Item = NodeId>, tables: &Tables) -> usize {
    nodes.map(|id| tables.zone_of(id)).collect::<BTreeSet<_>>().len()
}
