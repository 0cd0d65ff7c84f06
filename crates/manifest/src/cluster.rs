//! The cluster as a whole.

use althing_types::GroupId;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::object::Resource;
use crate::text;

/// The name of the one object of its kind.
pub const NAME: &str = "cluster";

/// The first group that is handed out: those below are the system's.
pub const FIRST_FREE_GROUP: u64 = 16;

/// The cluster as a whole.
pub type Cluster = Resource<ClusterSpec, ClusterStatus>;

/// What the owner of a cluster wants of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Replicas of the table `meta`: 1, 3 or 5.
    pub meta_replicas: u32,
    /// Seconds that a silent node keeps its replicas before they are rebuilt elsewhere.
    pub node_grace_seconds: u64,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self { meta_replicas: 3, node_grace_seconds: 300 }
    }
}

/// What is the case about a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterStatus {
    /// The next group id that is handed out. All below are used or lost, and never used again.
    pub next_group: u64,
    /// Group ids that are handed out to a table and of which not all are used yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// What is the case, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Default for ClusterStatus {
    fn default() -> Self {
        Self { next_group: FIRST_FREE_GROUP, claim: None, conditions: Vec::new() }
    }
}

/// Group ids that are handed out to the shards of one table: slice number `i` has the group `first + i`. It stands in the same
/// object as the counter, so handing out is one write, and whoever goes on after a crash finds the same ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// The table.
    pub table: String,
    /// The first id.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// They are for the two shards that one of the table's shards is split into; absent if they are for slices that the table
    /// lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitClaim>,
}

impl Claim {
    /// Whether a group is among those that are handed out.
    #[must_use]
    pub const fn holds(&self, group: GroupId) -> bool {
        group.get() >= self.first && group.get() - self.first < self.count
    }
}

/// What two handed out ids are for: the group `first` gets what lies before a key of the shard that is split, and `first + 1`
/// what lies from there on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SplitClaim {
    /// The group of the shard that is split.
    #[serde(with = "text::group_id")]
    pub parent: GroupId,
    /// The first key of the second half.
    #[serde(with = "text::key")]
    pub at: Vec<u8>,
}
