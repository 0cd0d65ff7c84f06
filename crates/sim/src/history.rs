//! What clients saw: the record that checkers judge.
//!
//! A history speaks of the world's time only, which no client and no node could have read. An operation that was never
//! answered, or whose answer did not say whether it happened, is *unknown*: it may take effect at any moment after
//! its invocation, or never. The client that asked is retired, and a new one goes on in its place, so that each client's
//! operations follow one another.

use althing_api::Target;
use althing_api::error::ErrorKind;
use althing_api::kv::{KeyRange, KeyValue};
use althing_api::request::{Answer, Request};
use althing_types::{Duration, Instant, LeaseId, Revision};
use bytes::Bytes;

use crate::checker::watch::WatchRecord;
use crate::checker::{Operation, carts, decided};

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
    /// Every call of every client, in the order in which they were sent.
    pub calls: Vec<CallRecord>,
    /// Transactions on lists, in the order in which they were sent; those without steps did nothing.
    pub transactions: Vec<Transaction>,
    /// Locks that were held, in the order in which their holders learned of it.
    pub tenures: Vec<Tenure>,
    /// What reached the resource outside of the store, in order.
    pub visits: Vec<Visit>,
    /// What clients kept of the table at some revision.
    pub caches: Vec<Cache>,
    /// Operations on the convergent table, in the order of their invocation.
    pub carts: Vec<carts::Operation>,
    /// Operations on strings that are decided by rounds, in the order of their invocation.
    pub decided: Vec<decided::Operation>,
}

/// The clock of a node that led was put forward: to it so much time has passed for every lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LessorJump {
    /// When.
    pub at: Instant,
    /// By how much.
    pub by: Duration,
}

/// One call, word for word, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallRecord {
    /// Of which table.
    pub target: Target,
    /// When it was sent.
    pub invoked: Instant,
    /// What was asked.
    pub request: Request,
    /// What came of it.
    pub end: CallEnd,
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallEnd {
    /// It was answered.
    Answered {
        /// When the answer was there.
        returned: Instant,
        /// The answer.
        answer: Answer,
    },
    /// It was refused: it did not happen and never will.
    Refused {
        /// When the refusal was there.
        returned: Instant,
        /// Why.
        why: ErrorKind,
    },
    /// Nobody knows: it may take effect at any moment after it was sent, or never.
    Unknown,
}

/// A transaction on lists, each of which only ever grows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Who asked.
    pub client: ClientId,
    /// When it was sent.
    pub invoked: Instant,
    /// When its answer was there; `None` if nobody knows whether it happened.
    pub returned: Option<Instant>,
    /// What it did, in order.
    pub steps: Vec<ListStep>,
}

/// One step of a transaction on lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListStep {
    /// It saw this list; `None` if nobody was told what it saw.
    Read {
        /// Which list.
        key: Bytes,
        /// Its elements.
        seen: Option<Vec<u64>>,
    },
    /// It put one more element at the end. No element is ever put twice.
    Append {
        /// Which list.
        key: Bytes,
        /// The element.
        element: u64,
    },
}

/// The time for which one client held a lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenure {
    /// Who held it.
    pub client: ClientId,
    /// Which lock.
    pub lock: Bytes,
    /// The key that stood for this holder.
    pub key: Bytes,
    /// The fencing token: the create revision of `key`.
    pub token: Revision,
    /// When the call was sent whose answer told the holder so.
    pub requested: Instant,
    /// When that answer was there.
    pub acquired: Instant,
    /// Seconds that its lease lives without being kept alive.
    pub ttl_seconds: i64,
    /// What happened to the lease, in order, from its grant on.
    pub steps: Vec<LeaseStep>,
}

/// A write that reached the resource outside of the store, with the token of its sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Visit {
    /// Who sent it.
    pub client: ClientId,
    /// The lock that guards what was written.
    pub lock: Bytes,
    /// The token.
    pub token: Revision,
    /// When it arrived.
    pub at: Instant,
    /// What the resource did.
    pub admission: Admission,
}

/// What a resource does with a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It lets it take effect.
    Admitted,
    /// It refuses it, because it has seen a greater token.
    TurnedAway,
}

/// What a client kept of a range of keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    /// Which keys.
    pub keys: KeyRange,
    /// As of which revision.
    pub revision: Revision,
    /// How it came by it.
    pub source: CacheSource,
    /// What it kept, in the order of the keys.
    pub content: Vec<KeyValue>,
}

/// How a client came by what it kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheSource {
    /// It read all keys, page by page, at the revision of the first page.
    Listed,
    /// It listed, then followed a watch as far as this revision.
    Followed,
    /// The same, and the run has ended: it had the time to see everything.
    Concluded,
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
