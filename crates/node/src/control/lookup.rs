//! What the map says of a call: whose it is, and who has it.

use std::collections::BTreeSet;

use althing_api::keys::{Keys, cross_shard, cross_shard_watch, shard_keys};
use althing_api::kv::{KeyRange, RangeEnd};
use althing_api::service::{DEFAULT_GROUP, Target};
use althing_api::{Call, ErrorKind, Request};
use althing_meta::Taken;
use althing_probe::{Mark, Mutant};
use althing_types::{GroupId, Instant, NodeId, TableName};
use bytes::Bytes;

use crate::node::Node;

impl Node {
    /// The group that a call belongs to.
    pub(crate) fn locate(&self, call: &Call) -> Result<GroupId, ErrorKind> {
        match &call.target {
            Target::Group(group) => Ok(*group),
            Target::Table(name) if self.control.is_absent() => without_map(name),
            Target::Table(name) => self.locate_in(name, &call.request),
        }
    }

    fn locate_in(&self, name: &TableName, request: &Request) -> Result<GroupId, ErrorKind> {
        let mut shards = self.control.view.locate_range(name.as_str(), &[], None);
        match (shards.next(), shards.next()) {
            (Some(shard), None) => Ok(shard.spec.group),
            (None, _) => self.no_shard(name),
            (Some(_), Some(_)) => self.locate_keys(name, shard_keys(request), || cross_shard(request)),
        }
    }

    /// The one shard that holds all keys of a watch.
    pub(crate) fn locate_watch(&self, name: &TableName, keys: &KeyRange) -> Result<GroupId, ErrorKind> {
        let mut shards = self.control.view.locate_range(name.as_str(), &[], None);
        match (shards.next(), shards.next()) {
            (Some(shard), None) => Ok(shard.spec.group),
            (None, _) => self.no_shard(name),
            (Some(_), Some(_)) => self.locate_keys(name, Keys::of(keys), cross_shard_watch),
        }
    }

    /// The one shard of a table with many that holds all these keys.
    fn locate_keys(
        &self,
        name: &TableName,
        keys: Keys<'_>,
        crossing: impl Fn() -> ErrorKind,
    ) -> Result<GroupId, ErrorKind> {
        let (keys, ranges) = match keys {
            Keys::None => return Err(crossing()),
            Keys::Single(key) => (BTreeSet::from([key]), Vec::new()),
            Keys::Many(keys) => (keys, Vec::new()),
            Keys::Range { ranges, keys } => (keys, ranges),
        };
        let (view, table) = (&self.control.view, name.as_str());
        let mut groups = BTreeSet::new();
        for key in keys {
            groups.insert(view.locate(table, key).ok_or(ErrorKind::ShardUnavailable)?.spec.group);
        }
        if althing_probe::every(Mutant::RouteAstray, 50) {
            let beside = view.locate_range(table, &[], None).map(|shard| shard.spec.group);
            groups = beside.filter(|group| !groups.contains(group)).take(1).collect();
        }
        for range in ranges {
            let end = match &range.end {
                RangeEnd::Before(end) => Some(end.as_ref()),
                RangeEnd::Single | RangeEnd::Unbounded => None,
            };
            groups.extend(view.locate_range(table, &range.start, end).map(|shard| shard.spec.group));
        }
        match (groups.pop_first(), groups.is_empty()) {
            (Some(group), true) => Ok(group),
            (Some(_), false) => Err(crossing()),
            (None, _) => Err(ErrorKind::ShardUnavailable),
        }
    }

    /// The group of something that is asked of a whole table.
    pub(crate) fn locate_whole(&self, target: &Target) -> Result<GroupId, ErrorKind> {
        let name = match target {
            Target::Group(group) => return Ok(*group),
            Target::Table(name) => name,
        };
        if self.control.is_absent() {
            return without_map(name);
        }
        let mut shards = self.control.view.locate_range(name.as_str(), &[], None);
        match (shards.next(), shards.next()) {
            (Some(shard), None) => Ok(shard.spec.group),
            (Some(_), Some(_)) => Err(ErrorKind::CrossShard(format!(
                "table {name} has many shards, each with revisions of its own: there is no one to watch or to download"
            ))),
            (None, _) => self.no_shard(name),
        }
    }

    /// Why there is no shard: there is no such table, or it is not ready.
    fn no_shard(&self, name: &TableName) -> Result<GroupId, ErrorKind> {
        match self.control.view.table(name.as_str()) {
            // Until the control plane has made its objects there is the default table all the same.
            None if name.as_str() == althing_manifest::table::DEFAULT => Ok(DEFAULT_GROUP),
            None => Err(ErrorKind::UnknownTable(name.clone())),
            Some(_) => Err(ErrorKind::ShardUnavailable),
        }
    }

    /// The shard's epoch in this node's map; 0 if it is not there.
    pub(crate) fn epoch_of(&self, group: GroupId) -> u64 {
        self.control.view.shard(group).map_or(0, |shard| shard.status.epoch)
    }

    /// The shard's entry in this node's map; nothing if it is not there.
    pub(crate) fn entry_of(&self, group: GroupId) -> Bytes {
        self.control.view.entry(group).map(|entry| entry.encode()).unwrap_or_default()
    }

    /// Takes a newer entry of a shard from another node.
    pub(crate) fn adopt_entry(&mut self, current: &Bytes) {
        if current.is_empty() {
            return;
        }
        match althing_meta::Entry::decode(current.clone()) {
            Ok(entry) => match self.control.view.adopt(&entry) {
                Taken::Changed => althing_probe::hit(Mark::EntryAdopted),
                Taken::Known | Taken::Gap => {}
            },
            Err(_) => self.shared.metrics.frames_refused += 1,
        }
    }

    /// Whether this node has a replica of the group that may answer clients: a voter, or a learner that clients were told of.
    pub(crate) fn serves(&self, group: GroupId) -> bool {
        let Some(held) = self.groups.get(&group) else { return false };
        self.control.is_absent() || held.is_for_clients(self.shared.node())
    }

    /// A node that has a replica of the group and has not been tried: of those of whom there is most to hope the leader, or any.
    /// Who leads is known from the map, and without meta it stays what it was: a leader that died is not asked again and again.
    pub(crate) fn replica_for(&self, now: Instant, group: GroupId, tried: &[NodeId]) -> Option<NodeId> {
        let shard = self.control.view.shard(group)?;
        let own = self.shared.node();
        let status = &shard.status;
        let named = if status.voters.is_empty() { &shard.spec.replicas } else { &status.voters };
        let leader = status.leader.filter(|leader| named.contains(leader));
        let candidates = leader.into_iter().chain(named.iter().copied());
        let candidates = candidates.filter(|node| *node != own && !tried.contains(node));
        candidates.min_by_key(|node| self.shared.peers.hope(now, *node))
    }
}

/// What a node without a control plane knows of tables.
fn without_map(name: &TableName) -> Result<GroupId, ErrorKind> {
    match name.as_str() {
        althing_manifest::table::DEFAULT => Ok(DEFAULT_GROUP),
        _ => Err(ErrorKind::UnknownTable(name.clone())),
    }
}
