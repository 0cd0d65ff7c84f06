//! What can be asked of one key, by type.
//!
//! An operation is what a command *means*, after a gateway has read its words: numbers are numbers, contradictory options
//! cannot be said, and what several commands share is one operation (SETEX is a [`StringOp::Set`] with an expiry). Commands of
//! many keys are composed by their gateway of operations on each.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

mod bits;
mod conflict;
mod hash;
mod keys;
mod set;
mod sketch;
mod sorted;
mod string;

pub use bits::{Bit, BitRange, BitsOp, FieldOp, FieldType, FieldWidthError, Overflow, Unit, Width};
pub use conflict::Conflict;
pub use hash::HashOp;
pub use keys::{ExpireIf, KeyOp, Precision};
pub use set::SetOp;
pub use sketch::SketchOp;
pub use sorted::{
    LexBound, LexRange, Limit, Order, RangeBy, ScoreBound, ScoreIf, ScoreRange, ScoreWrite, SortedOp, ZaddAnswer,
};
pub use string::{GetExpiry, SetAnswer, SetExpiry, StringOp};

/// Everything that can be asked of one key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Of any key, whatever its type.
    Key(KeyOp),
    /// Of a string or a number.
    String(StringOp),
    /// Of a string's bits.
    Bits(BitsOp),
    /// Of a hash.
    Hash(HashOp),
    /// Of a set.
    Set(SetOp),
    /// Of a sorted set.
    Sorted(SortedOp),
    /// Of a HyperLogLog.
    Sketch(SketchOp),
}

/// Which state of a key (or of a field, or of a member) a write asks for. What asks for one needs compare-and-set to mean
/// anything between replicas: see [`Conflict::Conditional`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Existence {
    /// Either.
    Any,
    /// It must not be there: NX.
    Absent,
    /// It must be there: XX.
    Present,
}

/// An instant at which a key is to expire. Both forms are in milliseconds: gateways multiply seconds, and refuse those that do not
/// fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum When {
    /// Milliseconds since 1970.
    At(i64),
    /// Milliseconds from the time at which the operation is executed.
    In(i64),
}

/// One step of a scan of a hash, set or sorted set.
///
/// A collection that is small is shown whole, whatever `count` says. A greater one is shown in the order of its elements' hashes,
/// and the cursor is the hash to go on with: elements that are there all the time are shown, whatever comes and goes meanwhile.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scan {
    /// Where to go on: 0 at the beginning, then what the last step's [`crate::Reply::Page`] says.
    pub cursor: u64,
    /// Shows only elements (or fields) that fit this pattern: see [`crate::glob`].
    pub pattern: Option<Bytes>,
    /// How many elements a step looks at, about; a hint.
    pub count: u64,
}

/// Whether the values of randomly chosen fields are wanted beside them (or the scores of members).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WithValues {
    /// The fields alone.
    No,
    /// Each with its value: WITHVALUES, WITHSCORES.
    Yes,
}

macro_rules! into_op {
    ($($group:ident($op:ty)),*) => {
        $(impl From<$op> for Op {
            fn from(op: $op) -> Self {
                Self::$group(op)
            }
        })*
    };
}

into_op!(Key(KeyOp), String(StringOp), Bits(BitsOp), Hash(HashOp), Set(SetOp), Sorted(SortedOp), Sketch(SketchOp));
