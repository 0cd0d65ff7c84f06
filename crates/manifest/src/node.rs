//! A process that holds replicas.

use althing_types::NodeId;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::object::Resource;
use crate::text;

/// Characters of a node's name at the most.
pub const MAX_NAME_CHARS: usize = 64;
/// The capacity of a usual node, in hundredths of itself.
pub const USUAL_CAPACITY: u32 = 100;
/// The greatest capacity: a node that holds a hundred times what a usual one does.
pub const MAX_CAPACITY: u32 = 10_000;

/// A process that holds replicas. Its object has the node's name.
pub type Node = Resource<NodeSpec, NodeStatus>;

/// What is wanted of a node, and where it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSpec {
    /// Its id. A data directory that was lost comes back under another.
    #[serde(with = "text::node_id")]
    pub id: NodeId,
    /// Where other nodes reach it, as URLs; the node says so itself.
    #[serde(default)]
    pub peer_urls: Vec<String>,
    /// Where clients reach it, as URLs; the node says so itself.
    #[serde(default)]
    pub client_urls: Vec<String>,
    /// What fails together with it: a rack, a datacenter. Empty: the zone of all that name none. The node says so itself.
    #[serde(default)]
    pub zone: String,
    /// How much it holds beside others, in hundredths of a usual node. At 0 it is emptied.
    #[serde(default = "usual_capacity")]
    pub capacity: u32,
    /// Whether it gets replicas.
    #[serde(default)]
    pub schedule: Schedule,
}

fn usual_capacity() -> u32 {
    USUAL_CAPACITY
}

impl NodeSpec {
    /// A usual node without addresses.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            zone: String::new(),
            capacity: USUAL_CAPACITY,
            schedule: Schedule::Active,
        }
    }
}

/// Whether a node gets replicas.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Schedule {
    /// It gets its share.
    #[default]
    Active,
    /// It keeps what it has and gets nothing new. Until it is active again or drained, replicas are repaired but not balanced.
    Cordoned,
    /// It is emptied, so that it can be taken away.
    Drain,
}

impl Schedule {
    /// Its name, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Drain => "drain",
        }
    }
}

/// What is the case about a node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeStatus {
    /// Whether the control plane hears of it.
    pub liveness: Liveness,
    /// Shards that want it to hold a replica or that have one on it.
    pub replicas: u64,
    /// Shards that it leads.
    pub leaders: u64,
    /// The version of the program that it runs.
    pub version: String,
    /// What is the case, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Whether the control plane hears of a node. It decides where replicas are built, never whether data is right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Liveness {
    /// It does.
    Up,
    /// It did, and does not any more.
    Silent,
    /// It never has.
    #[default]
    Unknown,
}

impl Liveness {
    /// Its name, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }
}
