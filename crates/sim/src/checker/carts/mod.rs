//! Convergent tables: what is acknowledged stays until somebody has seen it and replaces it, whatever the network and the clocks did.
//!
//! Nobody can say in which order concurrent writes of such a table happened, so no order is searched for. Instead every value, every
//! element and every field that clients write is written once, and an element that is there or missing speaks for itself:
//!
//! * [`elements`]: sets, hashes and sorted sets: no added element is lost, none that was removed comes back, a read that meets a write sees it;
//! * [`numbers`]: counters stand between what was acknowledged and what was tried;
//! * [`values`]: strings are kept side by side until a write has seen them;
//! * [`events`]: the same once more by the dots of the replicas: what is alive in the end is what no delta has removed.
//!
//! A write that only one replica has acknowledged may go with that replica, if its machine is gone for good.

use std::collections::BTreeSet;
use std::fmt;

use althing_clock::Dot;
use althing_quorum::Level;
use althing_types::{Instant, NodeId};
use bytes::Bytes;

pub mod elements;
pub mod events;
pub mod numbers;
pub mod values;

/// Replicas of each key.
const REPLICAS: usize = 3;

/// What a key is used for, by the letter that it begins with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// A number that is only added to.
    Sum,
    /// A number that is added to, and deleted.
    Tally,
    /// A set.
    Set,
    /// A hash.
    Hash,
    /// A sorted set.
    Sorted,
    /// A string that expires.
    Brief,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Text, Self::Sum, Self::Tally, Self::Set, Self::Hash, Self::Sorted, Self::Brief];

    /// The letter.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Text => 's',
            Self::Sum => 'n',
            Self::Tally => 'm',
            Self::Set => 't',
            Self::Hash => 'h',
            Self::Sorted => 'z',
            Self::Brief => 'e',
        }
    }

    /// Of a key; `None` if no client would write it.
    #[must_use]
    pub fn of(key: &[u8]) -> Option<Self> {
        let first = char::from(*key.first()?);
        Self::ALL.into_iter().find(|kind| kind.letter() == first)
    }
}

/// What is asked of one key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// A write of a value that nobody else writes.
    Put(Bytes),
    /// So much more, always above zero.
    Count(i64),
    /// An element, field or member that nobody else adds.
    Add(Bytes),
    /// A field that all clients write, with a value that nobody else writes.
    Share(Bytes),
    /// An element goes, if it is there.
    Remove(Bytes),
    /// All goes that is there.
    Delete,
    /// All goes in so many milliseconds.
    Expire(i64),
    /// What is there?
    Read,
}

/// What an answer showed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Shown {
    /// To a write: how many it says that it added or removed.
    Done(i64),
    /// The value, if there is one.
    Value(Option<Bytes>),
    /// The number; none is zero.
    Number(i64),
    /// The elements.
    Elements(BTreeSet<Bytes>),
}

/// What came of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done.
    Done {
        /// When the answer was there.
        returned: Instant,
        /// What it showed.
        shown: Shown,
    },
    /// It was refused: it did not happen and never will.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// One operation on one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Which node was asked.
    pub node: NodeId,
    /// Of which key.
    pub key: Bytes,
    /// What.
    pub action: Action,
    /// How many replicas must have answered.
    pub level: Level,
    /// When it was sent, in the time of the world.
    pub invoked: Instant,
    /// What came of it.
    pub outcome: Outcome,
}

impl Operation {
    /// When its answer was there, if it was done.
    #[must_use]
    pub fn done(&self) -> Option<Instant> {
        match &self.outcome {
            Outcome::Done { returned, .. } => Some(*returned),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }

    /// What it showed, if it was done.
    #[must_use]
    pub fn shown(&self) -> Option<&Shown> {
        match &self.outcome {
            Outcome::Done { shown, .. } => Some(shown),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }

    /// Whether it may have happened at or after a moment: it was not refused, and was not over before it.
    fn may_follow(&self, moment: Instant) -> bool {
        match &self.outcome {
            Outcome::Done { returned, .. } => *returned >= moment,
            Outcome::Refused => false,
            Outcome::Unknown => true,
        }
    }

    fn is_refused(&self) -> bool {
        self.outcome == Outcome::Refused
    }
}

/// What all replicas of a key hold in the end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Final {
    /// The events that are alive.
    pub dots: BTreeSet<Dot>,
    /// Strings that stand side by side.
    pub siblings: Vec<Bytes>,
    /// Elements of a set, fields of a hash, members of a sorted set.
    pub elements: BTreeSet<Bytes>,
    /// The string as a number, if it is one.
    pub number: Option<i64>,
}

/// Whether machines are gone for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Losses {
    /// None is.
    None,
    /// Some are.
    Some,
}

impl Losses {
    /// Whether a write that was acknowledged at a level survives them.
    #[must_use]
    fn spare(self, level: Level) -> bool {
        match self {
            Self::None => true,
            Self::Some => answers(level) > 1,
        }
    }
}

/// How many replicas have answered at a level that clients here use.
const fn answers(level: Level) -> usize {
    match level {
        Level::One | Level::Any => 1,
        Level::Quorum | Level::LocalQuorum | Level::EachQuorum => REPLICAS / 2 + 1,
        Level::All => REPLICAS,
    }
}

/// Whether a read and a write at these levels meet on a replica.
const fn meet(read: Level, write: Level) -> bool {
    answers(read) + answers(write) > REPLICAS
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation<'a> {
    /// It was acknowledged, is not there in the end, and nobody can have removed it.
    Lost(&'a Operation),
    /// It was refused, and is there.
    RefusedAndDone(&'a Operation),
    /// It was removed by somebody who had seen it, and is there.
    Resurrected {
        /// Which element.
        element: Bytes,
        /// Who had removed it.
        removal: &'a Operation,
    },
    /// A read does not show an acknowledged write that it met.
    Missed {
        /// The read.
        read: &'a Operation,
        /// What it should have seen.
        write: &'a Operation,
    },
    /// Something is there that nobody wrote.
    FromNowhere {
        /// Where.
        key: Bytes,
        /// What.
        found: Bytes,
    },
    /// A counter stands where it cannot.
    Miscounted {
        /// Which one.
        key: Bytes,
        /// When it was read; `None` for the end.
        read: Option<&'a Operation>,
        /// Where it stands.
        stands_at: i64,
        /// What was acknowledged.
        least: i64,
        /// What was tried.
        most: i64,
    },
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(write) => write!(f, "{write:?} is lost"),
            Self::RefusedAndDone(write) => write!(f, "{write:?} was refused and happened"),
            Self::Resurrected { element, removal } => write!(f, "{element:?} is back after {removal:?}"),
            Self::Missed { read, write } => write!(f, "{read:?} does not show {write:?}"),
            Self::FromNowhere { key, found } => write!(f, "{found:?} stands in {key:?}, and nobody wrote it"),
            Self::Miscounted { key, read, stands_at, least, most } => {
                write!(f, "{key:?} stands at {stands_at}, and should at {least} to {most}; read: {read:?}")
            }
        }
    }
}
