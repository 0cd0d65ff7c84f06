use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Scan;

/// What can be asked of a set. Unions, intersections and differences are made of read members by [`crate::combine`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SetOp {
    /// SADD: `Int`, how many are new.
    Add(Vec<Bytes>),
    /// SREM: `Int`, how many were there.
    Remove(Vec<Bytes>),
    /// SISMEMBER: `Int` 1 or 0.
    Contains(Bytes),
    /// SMISMEMBER: `Ints`.
    ContainsMany(Vec<Bytes>),
    /// SCARD: `Int`.
    Len,
    /// SMEMBERS: `Set`.
    Members,
    /// SPOP: without a count `Bytes` or `Nil`, with one `Set`.
    Pop(Option<u64>),
    /// SRANDMEMBER: without a count `Bytes` or `Nil`; with one `List`. A positive count asks for different members, a negative one
    /// for so many that may repeat.
    Random(Option<i64>),
    /// SSCAN: `Page` of a `List`.
    Scan(Scan),
}
