//! What clients saw: the record that checkers judge.
//!
//! A history speaks of the world's time only, which no client and no node could have read. An operation that was never
//! answered, or whose answer did not say whether it happened, is *unknown*: it may take effect at any moment after
//! its invocation, or never. The client that asked is retired, and a new one goes on in its place, so that each client's
//! operations follow one another.

use althing_api::kv::Event;
use althing_types::{Instant, LeaseId, NodeId, Revision, WatchId};
use bytes::Bytes;

/// One client. A client that lost track of an operation never comes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(pub u64);

/// All that clients saw in one run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Operations on registers, in the order of their invocation.
    pub operations: Vec<Operation>,
    /// Watches, in the order in which they were begun.
    pub watches: Vec<Watch>,
    /// Leases, in the order in which they were granted.
    pub leases: Vec<Lease>,
}

/// One operation on one register, which is a key that holds a value or nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Who asked.
    pub client: ClientId,
    /// Which node was asked.
    pub node: NodeId,
    /// Of which register.
    pub key: Bytes,
    /// What was asked.
    pub action: Action,
    /// When.
    pub invoked: Instant,
    /// What came of it.
    pub outcome: Outcome,
}

/// What is asked of a register. Every value that is ever written is written once only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A linearizable read.
    Get,
    /// A write.
    Put(Bytes),
    /// A removal.
    Delete,
    /// A write, if the register holds the expected value (`None`: nothing). Otherwise a read.
    CompareAndSwap {
        /// What it must hold.
        expected: Option<Bytes>,
        /// What it then holds.
        new: Bytes,
    },
}

impl Action {
    /// Whether it can change the register.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::Get => false,
            Self::Put(_) | Self::Delete | Self::CompareAndSwap { .. } => true,
        }
    }
}

/// What came of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It happened, and this was seen.
    Done {
        /// When the answer was there.
        returned: Instant,
        /// What was seen.
        seen: Seen,
        /// The revision in the answer's header: for a write its own.
        revision: Revision,
    },
    /// It did not happen and never will.
    Failed {
        /// When that was known.
        returned: Instant,
    },
    /// It may have happened, or may still.
    Unknown,
}

/// What an answer showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// To `Get`, and to a `CompareAndSwap` that found something else: what the register held.
    Value(Option<Version>),
    /// To `Put` and to a `CompareAndSwap` that found what it expected.
    Written,
    /// To `Delete`: whether there was a value.
    Deleted(Presence),
}

/// Whether a register held a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It did.
    Present,
    /// It did not.
    Absent,
}

/// A value and the revision that wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// The value.
    pub value: Bytes,
    /// The revision.
    pub revision: Revision,
}

/// One watch of a prefix, followed across as many streams as it took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watch {
    /// Who watched.
    pub client: ClientId,
    /// Keys that begin with this.
    pub prefix: Bytes,
    /// From this revision on.
    pub from: Revision,
    /// What came, in order.
    pub seen: Vec<WatchSeen>,
}

/// What a watch showed at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchSeen {
    /// When.
    pub at: Instant,
    /// From which node.
    pub node: NodeId,
    /// What.
    pub what: WatchStep,
}

/// One step in the life of a watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchStep {
    /// It was (re)started on a stream, to go on from this revision.
    Started {
        /// Its id there.
        id: WatchId,
        /// From here on, itself included.
        from: Revision,
    },
    /// One response with events.
    Events {
        /// The table's revision, as the response says.
        revision: Revision,
        /// The events.
        events: Vec<Event>,
    },
    /// All events up to and including this revision have been sent.
    Progress(Revision),
    /// The stream broke; the watch goes on elsewhere.
    Broken,
    /// Its next revision is compacted, so it goes on from this one: what lies between is rightly missing.
    Compacted(Revision),
}

/// One lease, as its holder saw it, with one key attached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Who held it.
    pub client: ClientId,
    /// Its id.
    pub id: LeaseId,
    /// The key that is attached to it, and to nothing else ever.
    pub key: Bytes,
    /// Seconds to live.
    pub ttl_seconds: i64,
    /// What happened to it, in order.
    pub steps: Vec<LeaseStep>,
}

/// One step in the life of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseStep {
    /// It was (re)started by a call that was sent and answered at these moments: it lives at least its time to live
    /// from `sent` on, whatever the clocks that count it say within their drift.
    Alive {
        /// When the call was sent.
        sent: Instant,
        /// When the answer was there.
        answered: Instant,
    },
    /// A linearizable read showed the key.
    KeySeen {
        /// When the read was sent.
        sent: Instant,
        /// When the answer was there.
        answered: Instant,
    },
    /// A linearizable read showed no key.
    KeyGone {
        /// When the read was sent.
        sent: Instant,
        /// When the answer was there.
        answered: Instant,
    },
    /// Its holder asked for it to be revoked; from then on the key may go.
    Revoked {
        /// When the call was sent.
        sent: Instant,
    },
}
