//! What is asked of tables of keyed values, one key at a time: strings, counters, hashes, sets and whatever else a key may hold.
//!
//! What can be done to a value is the business of gateways, which speak of it to clients, and of state machines, which do it. In
//! between it travels as bytes: a node that only hands a call on need not know.

use althing_quorum::Level;
use bytes::Bytes;

/// Whether an operation may change its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// It does not.
    Read,
    /// It may.
    Write,
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
}

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
}

impl KeyedRequest {
    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        match self {
            Self::Operate { access: Access::Read, .. } | Self::Scan { .. } | Self::Count => true,
            Self::Operate { access: Access::Write, .. } | Self::Flush => false,
        }
    }
}
