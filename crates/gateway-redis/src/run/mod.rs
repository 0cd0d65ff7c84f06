//! What commands on data mean: their words become operations of the data types, and replies become answers. A file per type.

pub mod althing;
pub mod bits;
pub mod geo;
pub mod hashes;
pub mod keys;
pub mod lcs;
pub mod scan;
pub mod sets;
pub mod sketches;
pub mod sort;
pub mod sorted;
pub mod strings;
pub mod words;

use althing_datatypes::{Items, Kind, Op, OpError, Reply};
use bytes::Bytes;

use crate::refusal::Refusal;
use crate::wire::Value;
use crate::wire::number::format_float;

/// One operation on one key, and how its reply is said.
#[derive(Clone, Debug)]
pub struct Keyed {
    /// The key.
    pub key: Bytes,
    /// The operation.
    pub op: Op,
    /// How the reply is said.
    pub say: fn(Reply) -> Value,
}

impl Keyed {
    /// An operation whose reply is said as it is.
    #[must_use]
    pub fn plain(key: &Bytes, op: Op) -> Self {
        Self::new(key, op, plain)
    }

    /// An operation whose reply is said in a way of its own.
    #[must_use]
    pub fn new(key: &Bytes, op: Op, say: fn(Reply) -> Value) -> Self {
        Self { key: key.clone(), op, say }
    }
}

/// The node answered something else than was asked: it is broken, or of another version.
const WRONG_REPLY: Refusal = Refusal::of("ERR the node answered another question than was asked");

/// A reply of a kind that the operation does not have.
pub fn wrong_reply() -> Refusal {
    WRONG_REPLY
}

/// A reply as it is: yes and no are numbers, members with scores pairs.
#[must_use]
pub fn plain(reply: Reply) -> Value {
    match reply {
        Reply::Nil => Value::Nil,
        Reply::Ok => Value::OK,
        Reply::Int(number) => Value::Int(number),
        Reply::Float(number) => Value::Float(number),
        Reply::Bytes(data) => Value::Bulk(data),
        Reply::Kind(kind) => Value::status(kind.map_or("none", kind_name)),
        Reply::Array(items) => Value::Array(items.into_iter().map(Value::optional).collect()),
        Reply::List(items) => Value::bulks(items),
        Reply::Set(items) => Value::Set(items.into_iter().map(Value::Bulk).collect()),
        Reply::Pairs(pairs) => Value::Map(bulk_pairs(pairs)),
        Reply::Scored(members) => Value::Pairs(scored(members)),
        Reply::Ints(items) => Value::Array(items.into_iter().map(|item| item.map_or(Value::Nil, Value::Int)).collect()),
        Reply::Floats(items) => {
            Value::Array(items.into_iter().map(|item| item.map_or(Value::Nil, Value::Float)).collect())
        }
        Reply::Page { cursor, items } => page(cursor, items),
        Reply::Sketch(_) | Reply::Whole(_) => WRONG_REPLY.into(),
    }
}

/// As [`plain`], with fields and values as a list of pairs, which RESP3 nests.
#[must_use]
pub fn in_pairs(reply: Reply) -> Value {
    match reply {
        Reply::Pairs(pairs) => Value::Pairs(bulk_pairs(pairs)),
        other => plain(other),
    }
}

/// 1 where something was done, 0 where its condition was not met.
#[must_use]
pub fn done(reply: Reply) -> Value {
    match reply {
        Reply::Ok => Value::Int(1),
        Reply::Nil => Value::Int(0),
        other => plain(other),
    }
}

/// `OK`, whatever was counted.
#[must_use]
pub fn ok(reply: Reply) -> Value {
    match reply {
        Reply::Int(_) | Reply::Ok => Value::OK,
        other => plain(other),
    }
}

/// The one pair of a pop without a count, which is not nested.
#[must_use]
pub fn one_scored(reply: Reply) -> Value {
    match reply {
        Reply::Scored(members) => {
            Value::Array(scored(members).into_iter().flat_map(|(member, score)| [member, score]).collect())
        }
        other => plain(other),
    }
}

/// The name of a type, as `TYPE` says it. A sketch is a string there.
#[must_use]
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String | Kind::Sketch => "string",
        Kind::Hash => "hash",
        Kind::Set => "set",
        Kind::Sorted => "zset",
    }
}

fn bulk_pairs(pairs: Vec<(Bytes, Bytes)>) -> Vec<(Value, Value)> {
    pairs.into_iter().map(|(field, value)| (Value::Bulk(field), Value::Bulk(value))).collect()
}

/// Members with their scores.
#[must_use]
pub fn scored(members: Vec<(Bytes, f64)>) -> Vec<(Value, Value)> {
    members.into_iter().map(|(member, score)| (Value::Bulk(member), Value::Float(score))).collect()
}

fn page(cursor: u64, items: Items) -> Value {
    let items = match items {
        Items::List(items) => items,
        Items::Pairs(pairs) => pairs.into_iter().flat_map(|(field, value)| [field, value]).collect(),
        Items::Scored(members) => {
            members.into_iter().flat_map(|(member, score)| [member, Bytes::from(format_float(score))]).collect()
        }
    };
    Value::Array(vec![Value::text(cursor.to_string()), Value::bulks(items)])
}

/// Why an operation was not done, in Redis's words. `command` is named where Redis names it.
#[must_use]
pub fn refused(error: OpError, command: &str) -> Refusal {
    match error {
        OpError::InvalidExpire => invalid_expire(command),
        OpError::WrongType | OpError::NotASketch | OpError::BusyKey => Refusal::new(error.to_string()),
        OpError::NotAnInteger
        | OpError::FieldNotAnInteger
        | OpError::NotAFloat
        | OpError::FieldNotAFloat
        | OpError::Overflow
        | OpError::NotFinite
        | OpError::ScoreNotANumber
        | OpError::NanSent
        | OpError::InfiniteSent
        | OpError::TooLong
        | OpError::BitOffset
        | OpError::OutOfRange
        | OpError::BadPayload
        | OpError::NoFrequency => Refusal::new(format!("ERR {error}")),
    }
}

/// A deadline that cannot be.
#[must_use]
pub fn invalid_expire(command: &str) -> Refusal {
    Refusal::new(format!("ERR invalid expire time in '{command}' command"))
}
