//! What a client asked of one key, and what came of it.

use althing_types::{Instant, Revision};
use bytes::Bytes;

/// One operation on one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Who asked. After an operation with an unknown outcome a client asks nothing more; another takes its place.
    pub client: u64,
    /// Of which key.
    pub key: Bytes,
    /// What was asked.
    pub action: Action,
    /// When it was sent, in the time of the world.
    pub invoked: Instant,
    /// What came of it.
    pub outcome: Outcome,
}

/// What is asked of a key, which holds a value or nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A linearizable read.
    Get,
    /// A write.
    Put(Bytes),
    /// A removal.
    Delete,
    /// A write if the key holds what is expected, else a read: a transaction with one comparison.
    CompareAndSwap {
        /// What is compared.
        expected: Expected,
        /// What is written if it holds.
        new: Bytes,
    },
}

/// What a compare-and-swap compares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expected {
    /// The key does not exist (its create or mod revision is 0).
    Absent,
    /// The value.
    Value(Bytes),
    /// The mod revision.
    ModRevision(Revision),
}

/// What came of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done.
    Done {
        /// When the answer was there.
        returned: Instant,
        /// The revision in the answer's header: for an operation that wrote, its own.
        revision: Revision,
        /// What the answer showed.
        answer: Answer,
    },
    /// It was refused: it did not happen and never will.
    Refused,
    /// Nobody knows: it may take effect at any moment after it was sent, or never.
    Unknown,
}

/// What an answer showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To a get, and to a compare-and-swap that did not find what it expected: what the key holds.
    Held(Option<Version>),
    /// To a put, and to a compare-and-swap that found what it expected.
    Written,
    /// To a delete: it removed a value.
    Deleted,
    /// To a delete: there was none.
    NothingToDelete,
}

/// A value and the revision that wrote it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// The value.
    pub value: Bytes,
    /// Its mod revision.
    pub revision: Revision,
}

impl Operation {
    /// The revision of a write that was acknowledged.
    #[must_use]
    pub fn acknowledged_revision(&self) -> Option<Revision> {
        match &self.outcome {
            Outcome::Done { revision, answer: Answer::Written | Answer::Deleted, .. } => Some(*revision),
            Outcome::Done { answer: Answer::Held(_) | Answer::NothingToDelete, .. }
            | Outcome::Refused
            | Outcome::Unknown => None,
        }
    }
}
