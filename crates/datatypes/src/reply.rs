use althing_crdt::Hll;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Kind;

/// What an operation answers. Each operation says which of these; gateways know how their protocol writes it.
///
/// Replies do not nest, so that no bytes from outside can make a reader recurse.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing is there, or a condition was not met.
    Nil,
    /// It was done.
    Ok,
    /// A number; also yes (1) and no (0).
    Int(i64),
    /// A score.
    Float(f64),
    /// A string.
    Bytes(Bytes),
    /// The type of a key, if there is a key.
    Kind(Option<Kind>),
    /// Strings that may be missing, in the order in which they were asked for.
    Array(Vec<Option<Bytes>>),
    /// Strings in an order that means something, or that may repeat.
    List(Vec<Bytes>),
    /// Strings that are all different, in no order that means something.
    Set(Vec<Bytes>),
    /// Fields and their values.
    Pairs(Vec<(Bytes, Bytes)>),
    /// Members and their scores.
    Scored(Vec<(Bytes, f64)>),
    /// Numbers that may be missing, in the order in which they were asked for.
    Ints(Vec<Option<i64>>),
    /// Scores that may be missing, in the order in which they were asked for.
    Floats(Vec<Option<f64>>),
    /// A step of a scan.
    Page {
        /// Where to go on; 0 after the last step.
        cursor: u64,
        /// What was found.
        items: Items,
    },
    /// A sketch.
    Sketch(#[serde(with = "crate::sketch")] Hll),
    /// All of a key.
    Whole(Whole),
}

/// What a step of a scan shows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Items {
    /// Of a hash.
    Pairs(Vec<(Bytes, Bytes)>),
    /// Of a set.
    List(Vec<Bytes>),
    /// Of a sorted set.
    Scored(Vec<(Bytes, f64)>),
}

/// All of a key, in a form that can be put elsewhere.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Whole {
    /// The value.
    pub content: Content,
    /// When it expires, in milliseconds since 1970.
    pub deadline_ms: Option<i64>,
}

/// A value in full.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Content {
    /// A string or a number.
    String(Bytes),
    /// Fields and their values.
    Hash(Vec<(Bytes, Bytes)>),
    /// Members.
    Set(Vec<Bytes>),
    /// Members and their scores.
    Sorted(Vec<(Bytes, f64)>),
    /// A sketch.
    Sketch(#[serde(with = "crate::sketch")] Hll),
}
