//! Members, alarms and the state of one node.

use althing_types::{NodeId, Revision};

/// A member of the cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its name; empty until it has started for the first time.
    pub name: String,
    /// Where other nodes reach it, as URLs.
    pub peer_urls: Vec<String>,
    /// Where clients reach it, as URLs; empty until it has started for the first time.
    pub client_urls: Vec<String>,
    /// Whether it receives the log without a vote.
    pub is_learner: bool,
}

/// What an alarm says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AlarmKind {
    /// The table's quota is used up: writes that add are refused, removal and compaction go on.
    NoSpace,
    /// A replica's data differs from the others' or fails its checksum.
    Corrupt,
}

impl std::fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "NOSPACE",
            Self::Corrupt => "CORRUPT",
        })
    }
}

/// An alarm that is raised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Alarm {
    /// The member that raised it.
    pub member: NodeId,
    /// What it says.
    pub kind: AlarmKind,
}

/// What to do with alarms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AlarmAction {
    /// List those of this member (`NONE`: all) and kind (`None`: all).
    Get,
    /// Raise one.
    Activate,
    /// Lower those of this member (`NONE`: all).
    Deactivate,
}

/// How one node stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NodeStatus {
    /// Bytes on disk of the engine, as seen last.
    pub db_size_bytes: u64,
    /// Bytes of logical data in use.
    pub db_size_in_use_bytes: u64,
    /// The quota in bytes.
    pub db_size_quota_bytes: u64,
    /// The leader that it follows, or `NONE`.
    pub leader: NodeId,
    /// Index of the last entry known committed.
    pub raft_index: u64,
    /// Term.
    pub raft_term: u64,
    /// Index of the last entry applied.
    pub raft_applied_index: u64,
    /// Alarms and troubles, in words.
    pub errors: Vec<String>,
    /// Whether this node is a learner.
    pub is_learner: bool,
}

/// The hash of a table's history between two revisions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HashKv {
    /// The hash.
    pub hash: u32,
    /// Up to and including this revision.
    pub hash_revision: Revision,
    /// What was compacted when the hash was made; hashes are comparable only if this agrees.
    pub compact_revision: Revision,
}
