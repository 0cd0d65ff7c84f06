//! A world with a control plane: what clients did is judged shard by shard, and in the end replicas must be where they belong.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::Target;
use althing_api::keys::{Keys, shard_keys};
use althing_types::{GroupId, NodeId, TableName};
use bytes::Bytes;

use super::World;
use crate::checker::{self, Judgement};
use crate::history::History;
use crate::host::Stage;
use crate::workload::steward::TABLE;

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
            let judged = checker::judge(&history, &self.ledger.truth(group));
            let broken = judged.broken.into_iter().map(|(check, text)| (check, format!("group {group}: {text}")));
            judgement.broken.extend(broken);
            judgement.undecided += judged.undecided;
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
                Target::Table(name) if *name == TableName::META => None,
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

    /// The shard of a key, by the newest map that any node has.
    fn group_of(&self, key: &Bytes) -> Option<GroupId> {
        let maps = self.hosts.values().filter_map(|host| match &host.stage {
            Stage::Running(process) | Stage::Paused { process, .. } => Some(process.node.map()),
            Stage::Down => None,
        });
        let newest = maps.max_by_key(|map| map.revision())?;
        newest.locate(TABLE, key).map(|shard| shard.spec.group)
    }

    /// What is not as it should be once all is healed and clients have ended; nothing if there is no control plane.
    pub(super) fn unsettled(&self) -> Option<String> {
        let tables = self.options.tables.as_ref()?;
        let mut held: BTreeMap<GroupId, BTreeSet<NodeId>> = BTreeMap::new();
        let mut revisions = BTreeSet::new();
        for (id, host) in &self.hosts {
            let Stage::Running(process) = &host.stage else { return Some(format!("node {id} does not run")) };
            revisions.insert(process.node.map().revision());
            for metrics in process.node.group_metrics() {
                held.entry(metrics.group).or_default().insert(*id);
            }
        }
        if revisions.len() != 1 {
            return Some(format!("maps differ: {revisions:?}"));
        }
        let Some(Stage::Running(process)) = self.hosts.values().next().map(|host| &host.stage) else { return None };
        let map = process.node.map();
        if map.shards().filter(|shard| shard.spec.table == TABLE).count() != tables.shards as usize {
            return Some(format!("table {TABLE} has not all its shards"));
        }
        let nodes = map.nodes().count();
        if nodes as u64 != self.options.nodes + tables.spares {
            return Some(format!("the map has {nodes} nodes"));
        }
        map.shards().find_map(|shard| {
            let (group, wanted) = (shard.spec.group, &shard.spec.replicas);
            let there = held.get(&group).cloned().unwrap_or_default();
            let status = &shard.status;
            (status.voters != *wanted || !status.learners.is_empty() || there != *wanted || status.leader.is_none())
                .then(|| format!("group {group}: wanted on {wanted:?}, held by {there:?}, status {status:?}"))
        })
    }
}
