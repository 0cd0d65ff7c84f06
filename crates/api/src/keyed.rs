//! What is asked of tables of keyed values, one key at a time: strings, counters, hashes, sets and whatever else a key may hold.
//!
//! What can be done to a value is the business of gateways, which speak of it to clients, and of state machines, which do it. In
//! between it travels as bytes: a node that only hands a call on need not know.

use althing_quorum::Level;
use althing_types::Revision;
use bytes::Bytes;

use crate::Error;

/// Whether an operation may change its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// It does not.
    Read,
    /// It may.
    Write,
}

/// When operations happen, and what is random in them. Who proposes them says it, so that all replicas do the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Decides what is random.
    pub seed: u64,
}

impl Moment {
    /// The seed of one operation of several, by its place among them.
    #[must_use]
    pub const fn seed_of(self, place: usize) -> u64 {
        // An odd number far from any small one: seeds of neighbours have nothing in common.
        self.seed.wrapping_add((place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// A key that a transaction rests on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Watched {
    /// Which.
    pub key: Bytes,
    /// The revision of its last change; zero if there must be no such key.
    pub revision: Revision,
}

/// One operation of a transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Step {
    /// The key.
    pub key: Bytes,
    /// The operation, as the crate `datatypes` writes it.
    pub operation: Bytes,
}

/// What is asked of a shard of such a table.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeyedRequest {
    /// An operation on one key.
    Operate {
        /// The key.
        key: Bytes,
        /// The operation, as the crate `datatypes` writes it.
        operation: Bytes,
        /// Whether it may change the key.
        access: Access,
        /// How many replicas must have answered; `None` for what the table says.
        level: Option<Level>,
    },
    /// The keys of the shard that answers, in their order, a page at a time.
    Scan {
        /// Only keys above this one.
        after: Option<Bytes>,
        /// Keys that are looked at, at the most. A page may have fewer that fit, or none, and not be the last.
        limit: u32,
        /// Only keys that fit this glob.
        pattern: Option<Bytes>,
        /// Only keys that hold this kind of value: `string`, `hash`, `set` or `zset`.
        kind: Option<Bytes>,
    },
    /// How many keys the shard has.
    Count,
    /// Removes every key of the shard.
    Flush,
    /// All concurrent values of a string, and what whoever reads them has seen.
    Siblings {
        /// The key.
        key: Bytes,
        /// How many replicas must have answered; `None` for what the table says.
        level: Option<Level>,
    },
    /// Writes a string in the place of what its writer has seen; what he has not seen stays beside it.
    Put {
        /// The key.
        key: Bytes,
        /// The string.
        value: Bytes,
        /// What `Siblings` has answered for a context.
        context: Bytes,
        /// How many replicas must have it; `None` for what the table says.
        level: Option<Level>,
    },
    /// A request about one key by somebody who wants to see what he has seen before and what he has written, whichever replica he asks.
    InSession {
        /// What the last answer has said of what he has seen; empty at the beginning. At most [`MAX_TOKEN_BYTES`].
        token: Bytes,
        /// The request; none of this kind.
        request: Box<KeyedRequest>,
    },
    /// Operations on one key that a client asks for at once, one after the other: each is begun before the next and answered by itself,
    /// and those of other clients may come between. It saves the ways that each would go alone. At most [`MAX_SERIES`].
    Series {
        /// The key.
        key: Bytes,
        /// The operations, as the crate `datatypes` writes them. On a table whose replicas agree on no order, a read is seen to be
        /// after the writes before it, but perhaps after those behind it too: whoever minds does not ask for these together.
        operations: Vec<Bytes>,
        /// Whether any of them may change the key.
        access: Access,
        /// How many replicas must have answered a read; `None` for what the table says.
        read_level: Option<Level>,
        /// How many replicas must have a write; `None` for what the table says.
        write_level: Option<Level>,
    },
    /// Operations that happen together, if no watched key has changed: none sees or leaves a part of it. What one of them is refused
    /// does not stop the others. Only tables whose replicas agree on an order can do it.
    Transact {
        /// What must not have changed.
        watches: Vec<Watched>,
        /// What is done, in this order.
        steps: Vec<Step>,
        /// Whether any of it may change its key.
        access: Access,
        /// When it happens; `None` for when the node takes it.
        moment: Option<Moment>,
    },
}

/// Bytes of a session's token at the most: some sixty for each shard that it has seen, and more where a replica lacks something.
pub const MAX_TOKEN_BYTES: usize = 256 * 1024;

/// Operations of one [series](KeyedRequest::Series) at the most: some of them on each of many connections must not be more than a node
/// lets wait.
pub const MAX_SERIES: usize = 64;

/// What is answered.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeyedAnswer {
    /// To `Operate`: the reply. In either case the bytes are a result of both, as the crate `datatypes` writes it.
    Operated(Bytes),
    /// To `Operate`: why the value does not allow it. Nothing was done.
    Refused(Bytes),
    /// To `Scan`.
    Page {
        /// Keys that fit.
        keys: Vec<Bytes>,
        /// Where the next page goes on; `None` if this is the last.
        after: Option<Bytes>,
    },
    /// To `Count`.
    Count(u64),
    /// To `Flush`: how many keys were removed.
    Flushed(u64),
    /// To `Siblings`.
    Siblings {
        /// The values; none if there is no string.
        values: Vec<Bytes>,
        /// What has been seen, for `Put`.
        context: Bytes,
    },
    /// To a write: nothing was done, for so many concurrent values wait that its writer has not seen. Read them, and write
    /// with the context of that.
    Reread(u64),
    /// To `InSession`.
    InSession {
        /// The answer to the request; none of this kind.
        answer: Box<KeyedAnswer>,
        /// What has been seen now.
        token: Bytes,
    },
    /// To `Series`: what each came to; none of these is of this kind.
    Series(Vec<Result<KeyedAnswer, Error>>),
    /// To `Transact`: it was done.
    Transacted {
        /// What each step came to: a result of a reply or a refusal, as the crate `datatypes` writes it.
        replies: Vec<Bytes>,
        /// For each step the revision at which its key was changed last before all this; zero if there was no such key.
        revisions: Vec<Revision>,
    },
    /// To `Transact`: a watched key has changed, so nothing was done.
    Aborted,
}

impl KeyedRequest {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Operate { access: Access::Read, .. }
            | Self::Series { access: Access::Read, .. }
            | Self::Transact { access: Access::Read, .. }
            | Self::Scan { .. }
            | Self::Siblings { .. }
            | Self::Count => true,
            Self::Operate { access: Access::Write, .. }
            | Self::Series { access: Access::Write, .. }
            | Self::Transact { access: Access::Write, .. }
            | Self::Put { .. }
            | Self::Flush => false,
            Self::InSession { request, .. } => request.is_read_only(),
        }
    }

    /// The key that it is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Operate { key, .. }
            | Self::Series { key, .. }
            | Self::Siblings { key, .. }
            | Self::Put { key, .. } => Some(key),
            Self::InSession { request, .. } => request.key(),
            Self::Scan { .. } | Self::Count | Self::Flush | Self::Transact { .. } => None,
        }
    }

    /// The bytes of what it brings, about: what waits for an answer is counted by them.
    #[must_use]
    pub fn weight(&self) -> usize {
        let key = self.key().map_or(0, Bytes::len);
        match self {
            Self::Operate { operation, .. } => key + operation.len(),
            Self::Series { operations, .. } => key + operations.iter().map(Bytes::len).sum::<usize>(),
            Self::Put { value, context, .. } => key + value.len() + context.len(),
            Self::InSession { token, request } => token.len() + request.weight(),
            Self::Transact { watches, steps, .. } => {
                let watched = watches.iter().map(|watched| watched.key.len()).sum::<usize>();
                watched + steps.iter().map(|step| step.key.len() + step.operation.len()).sum::<usize>()
            }
            Self::Scan { .. } | Self::Count | Self::Flush | Self::Siblings { .. } => key,
        }
    }
}
