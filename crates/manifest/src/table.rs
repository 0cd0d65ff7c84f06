//! A named set of keys with a guarantee.

use serde::{Deserialize, Serialize};

use althing_quorum::Level;

use crate::condition::Condition;
use crate::object::Resource;

/// The table that clients reach if they name none.
pub const DEFAULT: &str = "default";
/// The table of the objects themselves.
pub const META: &str = "meta";
/// Characters of a table's name at the most: what fits into a label of DNS.
pub const MAX_NAME_CHARS: usize = 63;
/// Shards of a table at the most: with three replicas each, what fifty nodes still hold easily.
pub const MAX_SHARDS: u32 = 4096;
/// The greatest number by which clients of Redis select a table.
pub const MAX_REDIS_DB: u32 = 15;
/// Size at which a range shard is split, if its table says nothing else.
pub const DEFAULT_SPLIT_BYTES: u64 = 64 * 1024 * 1024;
/// The least size at which a range shard may be split: below, a table would have more shards than keys are worth.
pub const MIN_SPLIT_BYTES: u64 = 16 * 1024;
/// The greatest size at which a range shard is split: above, moving one shard takes too long to plan with.
pub const MAX_SPLIT_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// A named set of keys with a guarantee.
pub type Table = Resource<TableSpec, TableStatus>;

/// What the owner of a table wants of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TableSpec {
    /// What clients may rely on.
    pub guarantee: Guarantee,
    /// Shards of a table that is split by hash, fixed for ever; 1 for one that is split by range, which finds its own number.
    pub shards: u32,
    /// Replicas of each shard: 1, 3, 5 or 7.
    pub replicas: u32,
    /// How keys are dealt to shards.
    pub split: Split,
    /// Size at which a shard is split, in bytes; only with [`Split::Range`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_bytes: Option<u64>,
    /// How many replicas a read asks if it says nothing else; only with [`Guarantee::Convergent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_level: Option<Level>,
    /// How many replicas have a write durably before it is acknowledged, if it says nothing else; only with
    /// [`Guarantee::Convergent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_level: Option<Level>,
    /// What becomes of writes that must not succeed twice; only with [`Guarantee::Convergent`].
    #[serde(skip_serializing_if = "Conditional::is_refuse")]
    pub conditional: Conditional,
    /// The number by which clients of Redis select the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_db: Option<u32>,
}

impl Default for TableSpec {
    fn default() -> Self {
        Self {
            guarantee: Guarantee::Strong,
            shards: 1,
            replicas: 3,
            split: Split::Hash,
            split_bytes: None,
            read_level: None,
            write_level: None,
            conditional: Conditional::Refuse,
            redis_db: None,
        }
    }
}

/// What becomes of writes to a convergent table that must not succeed twice: "if it is not there", "if it is still this".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Conditional {
    /// They are refused, since two sides of a partition would both say yes.
    #[default]
    Refuse,
    /// Every write of a string is decided by a round of Paxos among most of its replicas.
    Paxos,
}

impl Conditional {
    /// Its name, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Paxos => "paxos",
        }
    }

    /// Whether it is what a table has that says nothing.
    #[must_use]
    pub const fn is_refuse(&self) -> bool {
        matches!(self, Self::Refuse)
    }
}

/// What clients of a table may rely on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Guarantee {
    /// Linearizable reads and writes: one Raft group per shard.
    #[default]
    Strong,
    /// Replicas that have seen the same writes are equal; no leader.
    Convergent,
    /// A total order of records per partition.
    Stream,
    /// Large values that survive the loss of some of their pieces.
    Blob,
}

impl Guarantee {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Strong, Self::Convergent, Self::Stream, Self::Blob];

    /// Its name, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Convergent => "convergent",
            Self::Stream => "stream",
            Self::Blob => "blob",
        }
    }

    /// Whether this version of the program keeps it.
    #[must_use]
    pub const fn built(self) -> Built {
        match self {
            Self::Strong | Self::Convergent => Built::Yes,
            Self::Stream | Self::Blob => Built::NotYet,
        }
    }
}

/// Whether something is there in this version of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Built {
    /// It is.
    Yes,
    /// It is planned.
    NotYet,
}

/// How keys are dealt to shards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Split {
    /// By a hash of the key: even, into a fixed number of shards.
    #[default]
    Hash,
    /// By key: neighbours stay together, and a shard that has grown too large is cut in two.
    Range,
}

impl Split {
    /// Its name, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Range => "range",
        }
    }
}

/// What is the case about a table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TableStatus {
    /// The generation of the spec that this status is about.
    pub observed_generation: u64,
    /// Shards that there are.
    pub shards: u64,
    /// Those that have a leader now.
    pub ready_shards: u64,
    /// What is the case, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Whose a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Its users made it.
    Users,
    /// It came with the cluster, and cannot be made or deleted.
    System,
}

/// Whose the table of this name is.
#[must_use]
pub fn owner(name: &str) -> Owner {
    match name {
        DEFAULT | META => Owner::System,
        _ => Owner::Users,
    }
}
