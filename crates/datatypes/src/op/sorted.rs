use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Existence, Scan, WithValues};

/// What can be asked of a sorted set. It is in the order of scores, and of members where scores are equal. Unions,
/// intersections and differences are made of read members by [`crate::combine`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum SortedOp {
    /// ZADD without INCR: `Int`.
    Add {
        /// Scores and members, in the order of the command: the last of one member counts.
        members: Vec<(f64, Bytes)>,
        /// Which members are written at all.
        write: ScoreWrite,
        /// What is counted.
        answer: ZaddAnswer,
    },
    /// ZINCRBY, ZADD with INCR: `Float`, the new score, or `Nil` if the conditions were not met.
    Increment {
        /// Whose score.
        member: Bytes,
        /// What is added.
        by: f64,
        /// Whether it is done at all.
        write: ScoreWrite,
    },
    /// ZREM: `Int`, how many were there.
    Remove(Vec<Bytes>),
    /// ZCARD: `Int`.
    Len,
    /// ZSCORE: `Float` or `Nil`.
    Score(Bytes),
    /// ZMSCORE: `Floats`.
    Scores(Vec<Bytes>),
    /// ZRANK, ZREVRANK: `Int` or `Nil`.
    Rank {
        /// Whose.
        member: Bytes,
        /// From which end.
        order: Order,
    },
    /// ZCOUNT: `Int`.
    Count(ScoreRange),
    /// ZLEXCOUNT: `Int`.
    CountLex(LexRange),
    /// ZRANGE, ZREVRANGE, ZRANGEBYSCORE, ZREVRANGEBYSCORE, ZRANGEBYLEX, ZREVRANGEBYLEX: `List`, or `Scored` with scores. Bounds
    /// are the lower and the upper one whatever the order: gateways turn round those of the REV forms.
    Range {
        /// Which members.
        by: RangeBy,
        /// From which end. Indexes count from it.
        order: Order,
        /// LIMIT; not with indexes.
        limit: Option<Limit>,
        /// What is answered.
        with: WithValues,
    },
    /// ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX: `Int`, how many.
    RemoveRange(RangeBy),
    /// ZPOPMIN, ZPOPMAX: `Scored`, at the most so many (one without a count).
    Pop {
        /// `Ascending` takes the least, `Descending` the greatest.
        order: Order,
        /// How many.
        count: u64,
    },
    /// ZRANDMEMBER: without a count `Bytes` or `Nil`; with one `List`, or `Scored` with values. A positive count asks for different
    /// members, a negative one for so many that may repeat.
    Random {
        /// How many.
        count: Option<i64>,
        /// Whether with scores; only with a count.
        with: WithValues,
    },
    /// ZSCAN: `Page` of `Scored`.
    Scan(Scan),
}

/// Which scores ZADD writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScoreWrite {
    /// NX, XX: of which members.
    pub existence: Existence,
    /// GT, LT: of members that are there. Those that are not are added all the same.
    pub score: ScoreIf,
}

impl ScoreWrite {
    /// All of them.
    pub const ALWAYS: Self = Self { existence: Existence::Any, score: ScoreIf::Any };
}

/// How a new score must stand to the present one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ScoreIf {
    /// In any way.
    Any,
    /// GT: it is greater.
    Greater,
    /// LT: it is less.
    Less,
}

/// What ZADD counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ZaddAnswer {
    /// Members that are new.
    Added,
    /// CH: members that are new or have another score.
    Changed,
}

/// From which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Order {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// One end of a range of scores, which may be infinite.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum ScoreBound {
    /// The score belongs to the range.
    Inclusive(f64),
    /// `(`: it does not.
    Exclusive(f64),
}

/// A range of scores.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScoreRange {
    /// The lower end.
    pub min: ScoreBound,
    /// The upper end.
    pub max: ScoreBound,
}

/// One end of a range of members whose scores are equal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LexBound {
    /// `-`: before all members.
    Least,
    /// `[`: the member belongs to the range.
    Inclusive(Bytes),
    /// `(`: it does not.
    Exclusive(Bytes),
    /// `+`: after all members.
    Greatest,
}

/// A range of members.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LexRange {
    /// The lower end.
    pub min: LexBound,
    /// The upper end.
    pub max: LexBound,
}

/// Which members of a sorted set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum RangeBy {
    /// By their places in the order asked for; both inclusive, from the end if negative.
    Index {
        /// The first.
        start: i64,
        /// The last.
        stop: i64,
    },
    /// BYSCORE.
    Score(ScoreRange),
    /// BYLEX.
    Lex(LexRange),
}

/// LIMIT: a part of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// How many are left out first. A negative one leaves nothing.
    pub offset: i64,
    /// How many are shown; a negative one shows all.
    pub count: i64,
}
