use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Existence, When};
use crate::Whole;

/// What can be asked of a key of any type. RENAME, COPY and the commands that store what they compute are composed of
/// [`KeyOp::Whole`] and [`KeyOp::Replace`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum KeyOp {
    /// EXISTS, TOUCH: `Int` 1 or 0.
    Exists,
    /// TYPE: `Kind`.
    Kind,
    /// DEL, UNLINK: `Int` 1 or 0.
    Delete,
    /// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT: `Int` 1 if it was done, 0 if not. A deadline that has passed deletes the key.
    Expire {
        /// The new deadline.
        when: When,
        /// How it must stand to the deadline that is there.
        condition: ExpireIf,
    },
    /// PERSIST: `Int` 1 if there was a deadline, which is gone then.
    Persist,
    /// TTL, PTTL: `Int`; -1 without a deadline, -2 without a key.
    TimeToLive(Precision),
    /// EXPIRETIME, PEXPIRETIME: `Int`; -1 without a deadline, -2 without a key.
    ExpireTime(Precision),
    /// OBJECT ENCODING: `Bytes`, the name that Redis would give to the form of such a value, or `Nil`.
    Encoding,
    /// OBJECT REFCOUNT: `Int` 1, or `Nil`.
    RefCount,
    /// OBJECT IDLETIME: `Int` 0, or `Nil`: when a key was last read is not kept.
    IdleTime,
    /// OBJECT FREQ: an error as under every policy but LFU, or `Nil`.
    Frequency,
    /// DUMP: `Bytes`, a payload of [`crate::dump`], or `Nil`.
    Dump,
    /// RESTORE: `Ok`.
    Restore {
        /// What DUMP answered.
        payload: Bytes,
        /// The deadline, if it is to have one. One that has passed leaves no key.
        expiry: Option<When>,
        /// `Any` with REPLACE, else `Absent`: [`crate::OpError::BusyKey`] if there is a key.
        condition: Existence,
    },
    /// All of the key in a form that can be put elsewhere: `Whole`, or `Nil`.
    Whole,
    /// Makes the key be exactly this, or nothing: `Int` 1 if it was done, 0 if the condition was not met.
    Replace {
        /// What it shall be.
        whole: Option<Whole>,
        /// What it must have been.
        condition: Existence,
    },
}

/// How a new deadline must stand to the present one: NX, XX, GT, LT of EXPIRE, in the combinations that mean something.
/// No deadline is later than any.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExpireIf {
    /// In any way.
    Always,
    /// NX: there is none.
    None,
    /// XX: there is one.
    Some,
    /// GT, alone or with XX: it is later than the one that is there.
    Later,
    /// LT: it is earlier, or there is none.
    Earlier,
    /// LT and XX: it is earlier than the one that is there.
    SomeEarlier,
}

/// The unit of an instant or a span in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Precision {
    /// Seconds, rounded to the nearest.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}
