use althing_crdt::Hll;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One primitive change of a key: what an operation amounts to, once it has seen the value. Edits are applied in their order, all
/// or none.
///
/// They say what was *meant*, so that concurrent ones can be joined: an increment is an addition and never the new number; a
/// removal names what was seen. Edits of another type than the key's come only after [`Edit::Delete`]. A collection
/// that is left without elements is no key any more, and [`Edit::Deadline`] with `None` then goes with it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Edit {
    /// All of the key that was seen is gone, with its deadline.
    Delete,
    /// The deadline, in milliseconds since 1970.
    Deadline(Option<i64>),
    /// The string becomes this; what was added to it is gone with it. The deadline stays.
    PutString(Bytes),
    /// The number that the string is becomes so much more; nothing counts as 0.
    AddInt(i64),
    /// The number that the string is becomes so much more; nothing counts as 0. Finite.
    AddFloat(f64),
    /// The field becomes this; what was added to it is gone with it.
    HashPut {
        /// Which.
        field: Bytes,
        /// What.
        value: Bytes,
    },
    /// The field is gone.
    HashRemove(Bytes),
    /// The number that the field is becomes so much more; nothing counts as 0.
    HashAddInt {
        /// Which.
        field: Bytes,
        /// What is added.
        by: i64,
    },
    /// The number that the field is becomes so much more; nothing counts as 0.
    HashAddFloat {
        /// Which.
        field: Bytes,
        /// What is added: finite.
        by: f64,
    },
    /// The member is in the set.
    SetAdd(Bytes),
    /// The member is not in the set.
    SetRemove(Bytes),
    /// The member has this score; what was added to it is gone with it.
    ScorePut {
        /// Which.
        member: Bytes,
        /// Its score: not NaN.
        score: f64,
    },
    /// The member's score becomes so much more; nothing counts as 0.
    ScoreAdd {
        /// Which.
        member: Bytes,
        /// What is added: not NaN.
        by: f64,
    },
    /// The member is not in the sorted set.
    ScoreRemove(Bytes),
    /// The sketch becomes that of both; there is a key even if it is empty.
    SketchMerge(#[serde(with = "crate::sketch")] Hll),
}
