//! Errors that say whether the operation happened and what to do next.

use std::fmt;

use althing_types::{LeaseId, NodeId, Revision, TableName};

/// Whether the operation took effect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It did not and will not. It may be sent again.
    NotDone,
    /// It may have, or may still. Read before sending it again, unless it is idempotent.
    MaybeDone,
}

/// What went wrong, in the words of the tables. Gateways map each to their protocol's code and text.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum ErrorKind {
    /// The revision is compacted; read at a later one.
    #[error("revision {requested} has been compacted; the oldest that can be read is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The compact revision: the least that can still be read.
        oldest: Revision,
    },
    /// The revision is not written yet.
    #[error("revision {requested} is in the future; the table stands at {current}")]
    FutureRevision {
        /// What was asked for.
        requested: Revision,
        /// The present.
        current: Revision,
    },
    /// The key of a write, read or comparison is empty.
    #[error("the key is empty")]
    EmptyKey,
    /// The key is longer than `MAX_KEY_BYTES`.
    #[error("the key has {bytes} bytes, more than {limit}")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A put that keeps the value also gives one.
    #[error("a value is given although the present one is to be kept")]
    ValueProvided,
    /// A put that keeps the lease also gives one.
    #[error("a lease is given although the present one is to be kept")]
    LeaseProvided,
    /// A put keeps what a key has that does not exist.
    #[error("the key does not exist, so there is nothing to keep")]
    KeyNotFound,
    /// A transaction writes one key twice.
    #[error("the transaction writes one key twice")]
    DuplicateKey,
    /// A transaction has more than `MAX_TXN_OPS` operations, or nests deeper than `MAX_TXN_DEPTH`.
    #[error("the transaction has more than {limit} operations")]
    TooManyOperations {
        /// The limit.
        limit: usize,
    },
    /// The request is larger than `MAX_REQUEST_BYTES`.
    #[error("the request has {bytes} bytes, more than {limit}")]
    RequestTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A field has a value outside its range.
    #[error("{0}")]
    InvalidArgument(String),
    /// No such lease.
    #[error("there is no lease {0}")]
    LeaseNotFound(LeaseId),
    /// A lease with this id exists.
    #[error("lease {0} exists already")]
    LeaseExists(LeaseId),
    /// The time to live is above `MAX_LEASE_TTL_SECONDS`.
    #[error("a lease of {0} seconds is too long")]
    LeaseTtlTooLarge(i64),
    /// The quota is used up.
    #[error("the table's quota is used up; remove or compact, then lower the alarm")]
    NoSpace,
    /// A replica is corrupt; the table refuses writes until the alarm is lowered.
    #[error("the table is marked corrupt; see `althing status`")]
    Corrupt,
    /// Too much is asked at once; wait and send again.
    #[error("too many requests; wait and send again")]
    Overloaded,
    /// There is no leader now; wait for one.
    #[error("there is no leader")]
    NoLeader,
    /// The deadline passed.
    #[error("the request timed out")]
    Timeout,
    /// The leader changed while the request was under way.
    #[error("the leader changed")]
    LeaderChanged,
    /// This node is stopping or has stopped.
    #[error("the node is stopping")]
    Stopped,
    /// The call must go to the leader, and this node is not.
    #[error("this node is not the leader")]
    NotLeader,
    /// The node cannot take the leadership: it is no voter or not there.
    #[error("{0} cannot become the leader")]
    BadLeaderTransferee(NodeId),
    /// No such member.
    #[error("there is no member {0}")]
    MemberNotFound(NodeId),
    /// The member exists.
    #[error("member {0} exists already")]
    MemberExists(NodeId),
    /// A member has this peer URL.
    #[error("another member has this peer URL")]
    PeerUrlExists,
    /// A URL is not one.
    #[error("{0:?} is not a URL")]
    BadUrl(String),
    /// The member to promote is no learner.
    #[error("member {0} is not a learner")]
    NotLearner(NodeId),
    /// The learner has not caught up.
    #[error("learner {0} has not caught up with the leader")]
    LearnerNotReady(NodeId),
    /// One more learner than is allowed.
    #[error("there are too many learners")]
    TooManyLearners,
    /// The change would leave a cluster without a healthy quorum.
    #[error("the change would leave too few healthy members")]
    Unhealthy,
    /// Serves neither this call nor its kind, by design; says why.
    #[error("{0}")]
    Unsupported(String),
    /// This node is a learner, which does not serve this call.
    #[error("a learner does not serve this")]
    Learner,
    /// There is no such table; create it or name another.
    #[error("there is no table {0}")]
    UnknownTable(TableName),
    /// The shard that was asked does not hold the key (any more). Nodes say it to each other: who routed the request takes
    /// the newer map and sends it again; no client sees it unless that fails for as long as it waits.
    #[error("this shard does not hold the key; ask for the newer map and send it again")]
    WrongShard,
    /// No replica of the shard can be reached now; wait and send again.
    #[error("no replica of the shard can be reached")]
    ShardUnavailable,
    /// The request touches keys of several shards, which its kind cannot; says why and what to do instead.
    #[error("{0}")]
    CrossShard(String),
    /// What was asked for is planned and not built yet; names it.
    #[error("{0}: not built yet")]
    NotBuilt(String),
    /// The disk or the engine failed; the node stops.
    #[error("the storage failed: {0}")]
    Storage(String),
}

/// An error of one request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether the operation took effect.
    pub outcome: Outcome,
}

impl Error {
    /// An error of an operation that has not happened and will not.
    #[must_use]
    pub const fn not_done(kind: ErrorKind) -> Self {
        Self { kind, outcome: Outcome::NotDone }
    }

    /// An error of an operation that may have happened.
    #[must_use]
    pub const fn maybe_done(kind: ErrorKind) -> Self {
        Self { kind, outcome: Outcome::MaybeDone }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::not_done(kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::NotDone => write!(f, "{} (not done)", self.kind),
            Outcome::MaybeDone => write!(f, "{} (maybe done)", self.kind),
        }
    }
}

impl std::error::Error for Error {}
