use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Existence, When};

/// What can be asked of a string. LCS is computed by gateways of two strings that were read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum StringOp {
    /// GET, MGET: `Bytes` or `Nil`.
    Get,
    /// SET, SETEX, PSETEX, SETNX, GETSET, MSET: by `answer`.
    Set {
        /// The new string.
        value: Bytes,
        /// What becomes of the deadline.
        expiry: SetExpiry,
        /// What must have been there.
        condition: Existence,
        /// What is answered.
        answer: SetAnswer,
    },
    /// GETDEL: `Bytes` or `Nil`.
    GetDelete,
    /// GETEX: `Bytes` or `Nil`.
    GetExpire(GetExpiry),
    /// APPEND: `Int`, the new length.
    Append(Bytes),
    /// STRLEN: `Int`.
    Length,
    /// SETRANGE: `Int`, the new length.
    SetRange {
        /// Where the first byte goes. What is missing before it becomes zeros.
        offset: u64,
        /// What is written over. Nothing is done if it is empty.
        value: Bytes,
    },
    /// GETRANGE, SUBSTR: `Bytes`. From the end if negative, both inclusive.
    GetRange {
        /// The first byte.
        start: i64,
        /// The last byte.
        end: i64,
    },
    /// INCR, INCRBY, DECR, DECRBY: `Int`, the new number.
    Increment(i64),
    /// INCRBYFLOAT: `Bytes`, the new number as text.
    IncrementFloat(f64),
    /// AL.CAS: `Int` 1 if the string was what was expected, and is now the new one, whose deadline is the old one's; else 0.
    Compare {
        /// What must be there; `None` is no key.
        expected: Option<Bytes>,
        /// What is to be there; `None` is no key.
        new: Option<Bytes>,
    },
}

/// What SET makes of the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SetExpiry {
    /// There is none afterwards.
    Clear,
    /// KEEPTTL: it stays as it is.
    Keep,
    /// EX, PX, EXAT, PXAT.
    Set(When),
}

/// What SET answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SetAnswer {
    /// `Ok` if it was done, `Nil` if the condition was not met. (For SETNX, gateways say 1 and 0.)
    Done,
    /// GET: the old string as `Bytes`, or `Nil`, whether it was done or not.
    Old,
}

/// What GETEX makes of the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum GetExpiry {
    /// It stays as it is.
    Keep,
    /// PERSIST: there is none afterwards.
    Persist,
    /// EX, PX, EXAT, PXAT.
    Set(When),
}
