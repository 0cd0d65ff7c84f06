//! What a node keeps in memory, as far as it could grow without end.

use std::collections::BTreeMap;

use althing_api::cluster::Member;
use althing_consensus::ConfState;
use althing_types::{GroupId, SpaceId};

use crate::node::Node;

/// How much a node keeps. Each part has a limit, or cannot be more than what the host has given to the node and not got
/// back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    /// Streams of watches that are known.
    pub streams: usize,
    /// Bytes of events that the fullest stream has been given and has not taken.
    pub stream_bytes: usize,
    /// Proposals, reads and questions that wait for an answer.
    pub pending: usize,
    /// Bytes of proposals that wait for an answer.
    pub pending_bytes: usize,
    /// Bytes of log in memory, of the group that has most.
    pub log_bytes: usize,
    /// Batches on their way to the log.
    pub wal_in_flight: usize,
    /// Pages of snapshots that are read and not sent, of the transfer that has most.
    pub pages: usize,
    /// Snapshots that clients download.
    pub downloads: usize,
}

impl Footprint {
    /// The first part of which there is more than a limit allows: its name, how much there is, and the limit.
    #[must_use]
    pub fn exceeds(&self, limits: &Self) -> Option<(&'static str, usize, usize)> {
        let parts = [
            ("streams", self.streams, limits.streams),
            ("bytes of events in one stream", self.stream_bytes, limits.stream_bytes),
            ("requests", self.pending, limits.pending),
            ("bytes of proposals", self.pending_bytes, limits.pending_bytes),
            ("bytes of log", self.log_bytes, limits.log_bytes),
            ("batches on their way to the log", self.wal_in_flight, limits.wal_in_flight),
            ("pages of a snapshot", self.pages, limits.pages),
            ("downloads", self.downloads, limits.downloads),
        ];
        parts.into_iter().find(|(_, has, limit)| has > limit)
    }
}

impl Node {
    /// The spaces of each group: where it stands, and what a snapshot is filling.
    #[must_use]
    pub fn spaces(&self) -> BTreeMap<GroupId, Vec<SpaceId>> {
        self.groups.iter().map(|(id, group)| (*id, group.spaces())).collect()
    }

    /// The space of the values that converge beside a group, if it has a replica with such values here.
    #[must_use]
    pub fn keyed_space(&self, group: GroupId) -> Option<SpaceId> {
        self.keyed.get(&group).map(crate::keyed::Keyed::space)
    }

    /// What the node keeps in memory.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        Footprint {
            streams: self.streams.len().max(self.groups.values().map(|group| group.hub.stream_count()).sum()),
            stream_bytes: self.groups.values().map(|group| group.hub.most_buffered_bytes()).max().unwrap_or(0),
            pending: self.groups.values().map(|group| group.pending()).sum(),
            pending_bytes: self.groups.values().map(|group| group.pending_bytes()).sum(),
            log_bytes: self.groups.values().map(|group| group.replica.log_bytes()).max().unwrap_or(0),
            wal_in_flight: self.shared.wal.in_flight(),
            pages: self.groups.values().map(|group| group.most_pages()).max().unwrap_or(0),
            downloads: self.downloads.len(),
        }
    }

    /// The members' table as this node has applied it, for the simulator.
    #[must_use]
    pub fn members(&self, group: GroupId) -> Vec<Member> {
        self.groups.get(&group).and_then(|group| group.reader().members().ok()).unwrap_or_default()
    }

    /// The Raft configuration by which a group counts votes now, for the simulator.
    #[must_use]
    pub fn conf_state(&self, group: GroupId) -> Option<&ConfState> {
        self.groups.get(&group).map(|group| group.replica.conf_state())
    }
}
