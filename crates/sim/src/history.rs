//! What clients saw: the record that checkers judge.
//!
//! A history speaks of the world's time only, which no client and no node could have read. An operation that was never
//! answered, or whose answer did not say whether it happened, is *unknown*: it may take effect at any moment after
//! its invocation, or never. The client that asked is retired, and a new one goes on in its place, so that each client's
//! operations follow one another.

use althing_types::{Duration, Instant, LeaseId};
use bytes::Bytes;

use crate::checker::Operation;
use crate::checker::watch::WatchRecord;

/// One client. A client that lost track of an operation never comes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(pub u64);

/// All that clients saw in one run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Operations on registers, in the order of their invocation. Every value that is ever written is written once only.
    pub operations: Vec<Operation>,
    /// Watches, in the order in which they were begun.
    pub watches: Vec<WatchRecord>,
    /// Leases, in the order in which they were granted.
    pub leases: Vec<Lease>,
    /// Jumps forward of clocks that counted leases at that moment, in order.
    pub jumps: Vec<LessorJump>,
}

/// The clock of a node that led was put forward: to it so much time has passed for every lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LessorJump {
    /// When.
    pub at: Instant,
    /// By how much.
    pub by: Duration,
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
