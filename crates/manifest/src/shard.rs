//! A part of a table with replicas of its own.
//!
//! The control plane writes where the replicas belong (`spec.replicas`); the shard's own leader makes it so and reports, and
//! the control plane writes the report down (`status`). Both stand in one object, so whoever sees one sees the other as it was
//! at the same moment. That decides how a replica is opened:
//!
//! * `status.epoch` is 0: the shard has never been seen alive. The nodes of `spec.replicas` found it, each with all of them as
//!   its first voters. Until it is seen alive the control plane never changes a `spec.replicas` that is not empty.
//! * otherwise: a node that has no replica opens an empty one, and waits for the shard's leader to fill it.

use std::collections::BTreeSet;

use althing_types::{GroupId, NodeId};
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::object::Resource;
use crate::text;

/// The group of the table `default`.
pub const DEFAULT_GROUP: GroupId = GroupId(1);
/// The group of the table `meta`.
pub const META_GROUP: GroupId = GroupId(2);

/// A part of a table.
pub type Shard = Resource<ShardSpec, ShardStatus>;

/// The name of a shard's object.
#[must_use]
pub fn name_of(table: &str, group: GroupId) -> String {
    format!("{table}-{group}")
}

/// What a shard holds, and where its replicas belong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardSpec {
    /// The table that it is a part of.
    pub table: String,
    /// Its Raft group, unique in the cluster and never used again.
    #[serde(with = "text::group_id")]
    pub group: GroupId,
    /// Which keys of the table it holds.
    pub slice: Slice,
    /// The nodes that should hold it. Empty until it has been placed for the first time.
    #[serde(default, with = "text::node_ids")]
    pub replicas: BTreeSet<NodeId>,
    /// The one of them that should lead while it can.
    #[serde(default, with = "text::node_id_option", skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// What it is there for at the moment.
    #[serde(default)]
    pub phase: Phase,
    /// The group of the shard that it was split from. Kept for information once it serves.
    #[serde(default, with = "text::group_id_option", skip_serializing_if = "Option::is_none")]
    pub parent: Option<GroupId>,
}

/// Which keys of its table a shard holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Slice {
    /// Those whose position lies in one of equal parts of all positions.
    Hash(HashSlice),
    /// Those from one key to another.
    Range(RangeSlice),
}

impl Slice {
    /// All keys, of a table that is split by range.
    #[must_use]
    pub const fn all_keys() -> Self {
        Self::Range(RangeSlice { start: Vec::new(), end: None })
    }

    /// One of so many equal parts.
    #[must_use]
    pub const fn part(index: u32, of: u32) -> Self {
        Self::Hash(HashSlice { index, of })
    }
}

/// One of equal parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HashSlice {
    /// Its number, from 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

/// The keys from one to another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RangeSlice {
    /// The least key.
    #[serde(default, with = "text::key")]
    pub start: Vec<u8>,
    /// The first key behind them; `None` if there is no end.
    #[serde(default, with = "text::key_option", skip_serializing_if = "Option::is_none")]
    pub end: Option<Vec<u8>>,
}

impl RangeSlice {
    /// Whether a key lies within.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && self.end.as_deref().is_none_or(|end| key < end)
    }
}

/// What a shard is there for at the moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It serves.
    #[default]
    Serving,
    /// It is one half of a shard that is being split: it gets its data from there, and serves nothing yet.
    Filling,
    /// Its table is deleted, its halves serve in its place, or its split was given up: replicas are dropped, and then the object
    /// is.
    Retiring,
}

impl Phase {
    /// Its name, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Filling => "filling",
            Self::Retiring => "retiring",
        }
    }
}

/// What is the case about a shard: what its leader reported last.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ShardStatus {
    /// Rises whenever the replicas, the slice or the phase change. 0: it has never been seen alive.
    pub epoch: u64,
    /// Replicas that vote.
    #[serde(with = "text::node_ids")]
    pub voters: BTreeSet<NodeId>,
    /// Replicas that are being filled.
    #[serde(with = "text::node_ids", skip_serializing_if = "BTreeSet::is_empty")]
    pub learners: BTreeSet<NodeId>,
    /// The voter that leads, if one is known to.
    #[serde(with = "text::node_id_option", skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// The term in which it leads or was last heard to.
    pub term: u64,
    /// Keys that it holds, rounded.
    pub keys: u64,
    /// Bytes that it holds, rounded.
    pub bytes: u64,
    /// What is the case, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
