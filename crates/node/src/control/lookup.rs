//! What the map says of a call: whose it is, and who has it.

use althing_api::service::{DEFAULT_GROUP, Target};
use althing_api::{Call, ErrorKind, Request};
use althing_types::{GroupId, Instant, NodeId};
use bytes::Bytes;

use crate::node::Node;

impl Node {
    /// The group that a call belongs to.
    pub(crate) fn locate(&self, call: &Call) -> Result<GroupId, ErrorKind> {
        match &call.target {
            Target::Group(group) => Ok(*group),
            Target::Table(name) if self.control.is_absent() => match name.as_str() {
                althing_manifest::table::DEFAULT => Ok(althing_api::service::DEFAULT_GROUP),
                _ => Err(ErrorKind::UnknownTable(name.clone())),
            },
            Target::Table(name) => self.locate_in(name, &call.request),
        }
    }

    /// The group of something that is asked of a whole table.
    pub(crate) fn locate_whole(&self, target: &Target) -> Result<GroupId, ErrorKind> {
        let name = match target {
            Target::Group(group) => return Ok(*group),
            Target::Table(name) => name,
        };
        if self.control.is_absent() {
            return self.locate(&Call { target: target.clone(), ..Call::new(Request::Status) });
        }
        let mut shards = self.control.view.locate_range(name.as_str(), &[], None);
        match (shards.next(), shards.next()) {
            (Some(shard), None) => Ok(shard.spec.group),
            (Some(_), Some(_)) => Err(ErrorKind::CrossShard(format!(
                "table {name} has many shards, and this is asked of all of them; ask of single keys"
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
            Ok(entry) => {
                self.control.view.adopt(&entry);
            }
            Err(_) => self.shared.metrics.frames_refused += 1,
        }
    }

    /// Whether this node has a replica of the group that may answer clients: a voter, or a learner that clients were told of.
    pub(crate) fn serves(&self, group: GroupId) -> bool {
        let Some(held) = self.groups.get(&group) else { return false };
        self.control.is_absent() || held.is_for_clients(self.shared.node())
    }

    /// A node that has a replica of the group and has not been tried: its leader, or any that was heard of lately, or any.
    pub(crate) fn replica_for(&self, now: Instant, group: GroupId, tried: &[NodeId]) -> Option<NodeId> {
        let shard = self.control.view.shard(group)?;
        let own = self.shared.node();
        let status = &shard.status;
        let named = if status.voters.is_empty() { &shard.spec.replicas } else { &status.voters };
        let leader = status.leader.filter(|leader| named.contains(leader));
        let candidates = leader.into_iter().chain(named.iter().copied());
        let mut candidates = candidates.filter(|node| *node != own && !tried.contains(node));
        let first = candidates.clone().next();
        candidates.find(|node| self.shared.peers.is_heard(now, *node)).or(first)
    }
}
