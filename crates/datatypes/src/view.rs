use std::borrow::Cow;
use std::ops::Range;

use althing_crdt::Hll;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::op::Order;

/// The type of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A string, or a number.
    String,
    /// Fields with values.
    Hash,
    /// Members.
    Set,
    /// Members with scores.
    Sorted,
    /// A HyperLogLog. Redis calls it a string.
    Sketch,
}

/// A place between the members of a sorted set, which are in the order of (score, member).
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Cut<'a> {
    /// Before all members whose score is not below this.
    BeforeScore(f64),
    /// After all members whose score is not above this.
    AfterScore(f64),
    /// Where scores are equal: before all members that are not below this.
    BeforeMember(&'a [u8]),
    /// Where scores are equal: after all members that are not above this.
    AfterMember(&'a [u8]),
}

/// Reading a key's value, piece by piece: what is not asked for need not be fetched.
///
/// The parts of other types than the key's read as empty. A key that has expired is shown as it is; [`crate::execute()`] knows what to
/// do. A view whose reads can fail answers anything then, remembers the failure, and its host throws the result away.
pub trait View {
    /// The type, or none if there is no key. A hash, set or sorted set without elements is no key.
    fn kind(&self) -> Option<Kind>;

    /// When it expires, in milliseconds since 1970.
    fn deadline_ms(&self) -> Option<i64>;

    /// The string, with everything that was added to it; none if it is of another type.
    fn string(&self) -> Option<Bytes>;

    /// How many fields there are.
    fn hash_len(&self) -> u64;

    /// A field's value, with everything that was added to it.
    fn hash_get(&self, field: &[u8]) -> Option<Bytes>;

    /// All fields with their values, always in the same order.
    fn hash_iter(&self) -> impl Iterator<Item = (Bytes, Bytes)> + '_;

    /// How many members there are.
    fn set_len(&self) -> u64;

    /// Whether this is a member.
    fn set_contains(&self, member: &[u8]) -> bool;

    /// All members, always in the same order.
    fn set_iter(&self) -> impl Iterator<Item = Bytes> + '_;

    /// How many members there are.
    fn sorted_len(&self) -> u64;

    /// A member's score.
    fn sorted_score(&self, member: &[u8]) -> Option<f64>;

    /// How many members stand before this one.
    fn sorted_rank(&self, member: &[u8]) -> Option<u64>;

    /// How many members stand before the cut.
    fn sorted_below(&self, cut: Cut<'_>) -> u64;

    /// The members at these places, counted from the least whatever the order: `2..5` descending are those at 4, 3 and 2. The range
    /// lies within the length.
    fn sorted_slice(&self, ranks: Range<u64>, order: Order) -> impl Iterator<Item = (Bytes, f64)> + '_;

    /// The sketch.
    fn sketch(&self) -> Option<Cow<'_, Hll>>;
}
