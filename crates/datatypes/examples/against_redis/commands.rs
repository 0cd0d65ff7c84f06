//! Operations as the commands that mean them.

use althing_datatypes::op::{
    Bit, BitsOp, Existence, ExpireIf, FieldOp, FieldType, GetExpiry, HashOp, KeyOp, LexBound, LexRange, Order,
    Overflow, Precision, RangeBy, Scan, ScoreBound, ScoreIf, ScoreRange, ScoreWrite, SetAnswer, SetExpiry, SetOp,
    SketchOp, SortedOp, StringOp, Unit, When, WithValues, ZaddAnswer,
};
use althing_datatypes::{Kind, Op};

use crate::Answer;

/// Which parts of an answer stand in an order that means something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Ordered,
    Singles,
    Pairs,
    Page(u8),
}

pub const fn kind_name(kind: Option<Kind>) -> &'static str {
    match kind {
        None => "none",
        Some(Kind::String | Kind::Sketch) => "string",
        Some(Kind::Hash) => "hash",
        Some(Kind::Set) => "set",
        Some(Kind::Sorted) => "zset",
    }
}

struct Words(Vec<Vec<u8>>);

impl Words {
    fn new(command: &str, key: &str) -> Self {
        let mut words: Vec<Vec<u8>> = command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        words.push(key.as_bytes().to_vec());
        Self(words)
    }

    fn with(mut self, word: impl AsRef<[u8]>) -> Self {
        self.0.push(word.as_ref().to_vec());
        self
    }

    fn and(self, words: &str) -> Self {
        words.split(' ').filter(|word| !word.is_empty()).fold(self, Self::with)
    }

    fn all<W: AsRef<[u8]>>(self, words: impl IntoIterator<Item = W>) -> Self {
        words.into_iter().fold(self, Self::with)
    }

    fn scan(self, scan: &Scan) -> Self {
        let words = self.and(&format!("{} COUNT {}", scan.cursor, scan.count));
        match &scan.pattern {
            None => words,
            Some(pattern) => words.with("MATCH").with(pattern),
        }
    }
}

pub fn of(key: &str, op: &Op) -> (Vec<Vec<u8>>, Shape) {
    let words = match op {
        Op::Key(op) => keys(key, op),
        Op::String(op) => string(key, op),
        Op::Bits(op) => bits(key, op),
        Op::Hash(op) => hash(key, op),
        Op::Set(op) => set(key, op),
        Op::Sorted(op) => sorted(key, op),
        Op::Sketch(SketchOp::Add(elements)) => Words::new("PFADD", key).all(elements),
        Op::Sketch(SketchOp::Count | SketchOp::Read | SketchOp::Merge(_)) => Words::new("PFCOUNT", key),
    };
    let shape = match op {
        Op::Hash(HashOp::GetAll) => Shape::Pairs,
        Op::Hash(HashOp::Scan(_)) | Op::Sorted(SortedOp::Scan(_)) => Shape::Page(2),
        Op::Set(SetOp::Scan(_)) => Shape::Page(1),
        Op::Hash(HashOp::Fields | HashOp::Values) | Op::Set(SetOp::Members) => Shape::Singles,
        Op::Key(_) | Op::String(_) | Op::Bits(_) | Op::Hash(_) | Op::Set(_) | Op::Sorted(_) | Op::Sketch(_) => {
            Shape::Ordered
        }
    };
    (words.0, shape)
}

/// What a gateway makes of a reply whose command says it otherwise.
pub fn as_command_answers(op: &Op, answer: Answer) -> Answer {
    match (op, answer) {
        (Op::Sorted(SortedOp::Pop { .. }), Answer::Nil) => Answer::List(Vec::new()),
        (_, answer) => answer,
    }
}

fn when(words: Words, when: When, at: &str, span: &str) -> Words {
    match when {
        When::At(at_ms) => words.and(&format!("{at} {at_ms}")),
        When::In(span_ms) => words.and(&format!("{span} {span_ms}")),
    }
}

const fn existence(existence: Existence) -> &'static str {
    match existence {
        Existence::Any => "",
        Existence::Absent => "NX",
        Existence::Present => "XX",
    }
}

fn keys(key: &str, op: &KeyOp) -> Words {
    match op {
        KeyOp::Exists => Words::new("EXISTS", key),
        KeyOp::Kind => Words::new("TYPE", key),
        KeyOp::Delete => Words::new("DEL", key),
        KeyOp::Expire { when, condition } => {
            let words = match when {
                When::At(at) => Words::new("PEXPIREAT", key).with(at.to_string()),
                When::In(span) => Words::new("PEXPIRE", key).with(span.to_string()),
            };
            words.and(match condition {
                ExpireIf::Always => "",
                ExpireIf::None => "NX",
                ExpireIf::Some => "XX",
                ExpireIf::Later => "GT",
                ExpireIf::Earlier => "LT",
                ExpireIf::SomeEarlier => "LT XX",
            })
        }
        KeyOp::Persist => Words::new("PERSIST", key),
        KeyOp::ExpireTime(Precision::Seconds) => Words::new("EXPIRETIME", key),
        KeyOp::ExpireTime(Precision::Milliseconds) => Words::new("PEXPIRETIME", key),
        KeyOp::TimeToLive(Precision::Seconds) => Words::new("TTL", key),
        KeyOp::TimeToLive(Precision::Milliseconds) => Words::new("PTTL", key),
        KeyOp::Encoding => Words::new("OBJECT ENCODING", key),
        KeyOp::RefCount => Words::new("OBJECT REFCOUNT", key),
        KeyOp::IdleTime => Words::new("OBJECT IDLETIME", key),
        KeyOp::Frequency => Words::new("OBJECT FREQ", key),
        KeyOp::Dump | KeyOp::Whole | KeyOp::Restore { .. } | KeyOp::Replace { .. } => Words::new("DUMP", key),
    }
}

fn string(key: &str, op: &StringOp) -> Words {
    match op {
        // AL.CAS is not Redis's, and is not drawn.
        StringOp::Get | StringOp::Compare { .. } => Words::new("GET", key),
        StringOp::Set { value, expiry, condition, answer } => {
            let words = Words::new("SET", key).with(value).and(existence(*condition));
            let words = match answer {
                SetAnswer::Done => words,
                SetAnswer::Old => words.with("GET"),
            };
            match expiry {
                SetExpiry::Clear => words,
                SetExpiry::Keep => words.with("KEEPTTL"),
                SetExpiry::Set(due) => when(words, *due, "PXAT", "PX"),
            }
        }
        StringOp::GetDelete => Words::new("GETDEL", key),
        StringOp::GetExpire(GetExpiry::Keep) => Words::new("GETEX", key),
        StringOp::GetExpire(GetExpiry::Persist) => Words::new("GETEX", key).with("PERSIST"),
        StringOp::GetExpire(GetExpiry::Set(due)) => when(Words::new("GETEX", key), *due, "PXAT", "PX"),
        StringOp::Append(tail) => Words::new("APPEND", key).with(tail),
        StringOp::Length => Words::new("STRLEN", key),
        StringOp::SetRange { offset, value } => Words::new("SETRANGE", key).with(offset.to_string()).with(value),
        StringOp::GetRange { start, end } => Words::new("GETRANGE", key).and(&format!("{start} {end}")),
        StringOp::Increment(by) => Words::new("INCRBY", key).with(by.to_string()),
        StringOp::IncrementFloat(by) => Words::new("INCRBYFLOAT", key).with(by.to_string()),
    }
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Byte => "BYTE",
        Unit::Bit => "BIT",
    }
}

fn bits(key: &str, op: &BitsOp) -> Words {
    let digit = |bit: &Bit| if *bit == Bit::One { "1" } else { "0" };
    match op {
        BitsOp::Get { offset } => Words::new("GETBIT", key).with(offset.to_string()),
        BitsOp::Set { offset, bit } => Words::new("SETBIT", key).with(offset.to_string()).with(digit(bit)),
        BitsOp::Count(None) => Words::new("BITCOUNT", key),
        BitsOp::Count(Some(range)) => {
            Words::new("BITCOUNT", key).and(&format!("{} {} {}", range.start, range.end, unit(range.unit)))
        }
        BitsOp::Position { bit, start, end, unit: counted } => {
            let words = Words::new("BITPOS", key).with(digit(bit)).all(start.map(|start| start.to_string()));
            match end {
                None => words,
                Some(end) => words.and(&format!("{end} {}", unit(*counted))),
            }
        }
        BitsOp::Field(steps) => steps.iter().fold(Words::new("BITFIELD", key), step),
    }
}

fn step(words: Words, step: &FieldOp) -> Words {
    let field = match step.field() {
        FieldType::Signed(width) => format!("i{}", width.get()),
        FieldType::Unsigned(width) => format!("u{}", width.get()),
    };
    let overflow = |overflow: &Overflow| match overflow {
        Overflow::Wrap => "WRAP",
        Overflow::Saturate => "SAT",
        Overflow::Fail => "FAIL",
    };
    let offset = step.offset();
    match step {
        FieldOp::Get { .. } => words.and(&format!("GET {field} {offset}")),
        FieldOp::Set { value, overflow: on, .. } => {
            words.and(&format!("OVERFLOW {} SET {field} {offset} {value}", overflow(on)))
        }
        FieldOp::Increment { by, overflow: on, .. } => {
            words.and(&format!("OVERFLOW {} INCRBY {field} {offset} {by}", overflow(on)))
        }
    }
}

fn hash(key: &str, op: &HashOp) -> Words {
    match op {
        HashOp::Get(field) => Words::new("HGET", key).with(field),
        HashOp::GetMany(fields) => Words::new("HMGET", key).all(fields),
        HashOp::GetAll => Words::new("HGETALL", key),
        HashOp::Fields => Words::new("HKEYS", key),
        HashOp::Values => Words::new("HVALS", key),
        HashOp::Len => Words::new("HLEN", key),
        HashOp::Contains(field) => Words::new("HEXISTS", key).with(field),
        HashOp::ValueLength(field) => Words::new("HSTRLEN", key).with(field),
        HashOp::Set(pairs) => {
            pairs.iter().fold(Words::new("HSET", key), |words, (field, value)| words.with(field).with(value))
        }
        HashOp::SetIfAbsent { field, value } => Words::new("HSETNX", key).with(field).with(value),
        HashOp::Remove(fields) => Words::new("HDEL", key).all(fields),
        HashOp::Increment { field, by } => Words::new("HINCRBY", key).with(field).with(by.to_string()),
        HashOp::IncrementFloat { field, by } => Words::new("HINCRBYFLOAT", key).with(field).with(by.to_string()),
        HashOp::Random { .. } => Words::new("HRANDFIELD", key),
        HashOp::Scan(scan) => Words::new("HSCAN", key).scan(scan),
    }
}

fn set(key: &str, op: &SetOp) -> Words {
    match op {
        SetOp::Add(members) => Words::new("SADD", key).all(members),
        SetOp::Remove(members) => Words::new("SREM", key).all(members),
        SetOp::Contains(member) => Words::new("SISMEMBER", key).with(member),
        SetOp::ContainsMany(members) => Words::new("SMISMEMBER", key).all(members),
        SetOp::Len => Words::new("SCARD", key),
        SetOp::Members => Words::new("SMEMBERS", key),
        SetOp::Pop(_) => Words::new("SPOP", key),
        SetOp::Random(_) => Words::new("SRANDMEMBER", key),
        SetOp::Scan(scan) => Words::new("SSCAN", key).scan(scan),
    }
}

fn write(words: Words, write: ScoreWrite) -> Words {
    words.and(existence(write.existence)).and(match write.score {
        ScoreIf::Any => "",
        ScoreIf::Greater => "GT",
        ScoreIf::Less => "LT",
    })
}

fn score_bound(bound: ScoreBound) -> String {
    match bound {
        ScoreBound::Inclusive(score) => score.to_string(),
        ScoreBound::Exclusive(score) => format!("({score}"),
    }
}

fn lex_bound(bound: &LexBound) -> Vec<u8> {
    match bound {
        LexBound::Least => b"-".to_vec(),
        LexBound::Inclusive(member) => [b"[", member.as_ref()].concat(),
        LexBound::Exclusive(member) => [b"(", member.as_ref()].concat(),
        LexBound::Greatest => b"+".to_vec(),
    }
}

fn by_score(range: &ScoreRange) -> [Vec<u8>; 2] {
    [score_bound(range.min).into_bytes(), score_bound(range.max).into_bytes()]
}

fn by_lex(range: &LexRange) -> [Vec<u8>; 2] {
    [lex_bound(&range.min), lex_bound(&range.max)]
}

fn sorted(key: &str, op: &SortedOp) -> Words {
    match op {
        SortedOp::Add { members, write: which, answer } => {
            let words = write(Words::new("ZADD", key), *which).and(match answer {
                ZaddAnswer::Added => "",
                ZaddAnswer::Changed => "CH",
            });
            members.iter().fold(words, |words, (score, member)| words.with(score.to_string()).with(member))
        }
        SortedOp::Increment { member, by, write: which } => {
            write(Words::new("ZADD", key), *which).with("INCR").with(by.to_string()).with(member)
        }
        SortedOp::Remove(members) => Words::new("ZREM", key).all(members),
        SortedOp::Len => Words::new("ZCARD", key),
        SortedOp::Score(member) => Words::new("ZSCORE", key).with(member),
        SortedOp::Scores(members) => Words::new("ZMSCORE", key).all(members),
        SortedOp::Rank { member, order: Order::Ascending } => Words::new("ZRANK", key).with(member),
        SortedOp::Rank { member, order: Order::Descending } => Words::new("ZREVRANK", key).with(member),
        SortedOp::Count(range) => Words::new("ZCOUNT", key).all(by_score(range)),
        SortedOp::CountLex(range) => Words::new("ZLEXCOUNT", key).all(by_lex(range)),
        SortedOp::Range { .. } => range(key, op),
        SortedOp::RemoveRange(RangeBy::Index { start, stop }) => {
            Words::new("ZREMRANGEBYRANK", key).and(&format!("{start} {stop}"))
        }
        SortedOp::RemoveRange(RangeBy::Score(range)) => Words::new("ZREMRANGEBYSCORE", key).all(by_score(range)),
        SortedOp::RemoveRange(RangeBy::Lex(range)) => Words::new("ZREMRANGEBYLEX", key).all(by_lex(range)),
        SortedOp::Pop { order: Order::Ascending, count } => Words::new("ZPOPMIN", key).with(count.to_string()),
        SortedOp::Pop { order: Order::Descending, count } => Words::new("ZPOPMAX", key).with(count.to_string()),
        SortedOp::Random { .. } => Words::new("ZRANDMEMBER", key),
        SortedOp::Scan(scan) => Words::new("ZSCAN", key).scan(scan),
    }
}

fn range(key: &str, op: &SortedOp) -> Words {
    let SortedOp::Range { by, order, limit, with } = op else { return Words::new("ZCARD", key) };
    let (mut bounds, form) = match by {
        RangeBy::Index { start, stop } => ([start.to_string().into_bytes(), stop.to_string().into_bytes()], ""),
        RangeBy::Score(range) => (by_score(range), "BYSCORE"),
        RangeBy::Lex(range) => (by_lex(range), "BYLEX"),
    };
    let is_reversed = *order == Order::Descending;
    if is_reversed && !form.is_empty() {
        bounds.reverse();
    }
    let words = Words::new("ZRANGE", key).all(bounds).and(form).and(if is_reversed { "REV" } else { "" });
    let words = match limit {
        None => words,
        Some(limit) => words.and(&format!("LIMIT {} {}", limit.offset, limit.count)),
    };
    words.and(match with {
        WithValues::No => "",
        WithValues::Yes => "WITHSCORES",
    })
}
