use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Scan, WithValues};

/// What can be asked of a hash.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum HashOp {
    /// HGET: `Bytes` or `Nil`.
    Get(Bytes),
    /// HMGET: `Array`, in the order of the fields asked for.
    GetMany(Vec<Bytes>),
    /// HGETALL: `Pairs`.
    GetAll,
    /// HKEYS: `List`.
    Fields,
    /// HVALS: `List`.
    Values,
    /// HLEN: `Int`.
    Len,
    /// HEXISTS: `Int` 1 or 0.
    Contains(Bytes),
    /// HSTRLEN: `Int`.
    ValueLength(Bytes),
    /// HSET, HMSET: `Int`, how many fields are new.
    Set(Vec<(Bytes, Bytes)>),
    /// HSETNX: `Int` 1 if it was done.
    SetIfAbsent {
        /// Which field.
        field: Bytes,
        /// Its value, if it has none.
        value: Bytes,
    },
    /// HDEL: `Int`, how many were there.
    Remove(Vec<Bytes>),
    /// HINCRBY: `Int`, the new number.
    Increment {
        /// Which field.
        field: Bytes,
        /// What is added.
        by: i64,
    },
    /// HINCRBYFLOAT: `Bytes`, the new number as text.
    IncrementFloat {
        /// Which field.
        field: Bytes,
        /// What is added.
        by: f64,
    },
    /// HRANDFIELD: without a count `Bytes` or `Nil`; with one `List`, or `Pairs` with values. A positive count asks for different
    /// fields, a negative one for so many that may repeat.
    Random {
        /// How many.
        count: Option<i64>,
        /// Whether with values; only with a count.
        with: WithValues,
    },
    /// HSCAN: `Page` of `Pairs`.
    Scan(Scan),
}
