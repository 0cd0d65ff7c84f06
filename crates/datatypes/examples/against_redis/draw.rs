//! Random operations on a few keys, fields and members, so that they meet.

use althing_datatypes::Op;
use althing_datatypes::op::{
    Bit, BitRange, BitsOp, Existence, ExpireIf, FieldOp, FieldType, GetExpiry, HashOp, KeyOp, LexBound, LexRange,
    Limit, Order, Overflow, Precision, RangeBy, Scan, ScoreBound, ScoreIf, ScoreRange, ScoreWrite, SetAnswer,
    SetExpiry, SetOp, SketchOp, SortedOp, StringOp, Unit, When, WithValues, ZaddAnswer,
};
use bytes::Bytes;
use fastrand::Rng;

/// Keys by what they mostly hold; the members of `l` have equal scores, and `m` holds anything.
const KEYS: [&str; 8] = ["s", "n", "h", "e", "z", "l", "p", "m"];

pub fn operation(rng: &mut Rng, now_ms: i64) -> (&'static str, Op) {
    let key = KEYS[rng.usize(..KEYS.len())];
    let kind = match key {
        "s" => rng.u8(0..2),
        "n" => 0,
        "h" => 2,
        "e" => 3,
        "z" => 4,
        "p" => 5,
        "l" => 7,
        _ => rng.u8(0..6),
    };
    let kind = if rng.u8(..12) == 0 { 6 } else { kind };
    let op = match kind {
        0 => Op::String(string(rng, now_ms, key == "n")),
        1 => Op::Bits(bits(rng)),
        2 => Op::Hash(hash(rng)),
        3 => Op::Set(set(rng)),
        4 => Op::Sorted(sorted(rng)),
        5 if key == "p" => Op::Sketch(sketch(rng)),
        5 => Op::Sketch(SketchOp::Count),
        7 => Op::Sorted(lexical(rng)),
        _ => Op::Key(keys(rng, now_ms)),
    };
    (key, op)
}

fn one<T: Clone>(rng: &mut Rng, all: &[T]) -> T {
    all[rng.usize(..all.len())].clone()
}

fn word(rng: &mut Rng) -> Bytes {
    one(rng, &["a", "b", "c", "ab", "abc", "d", "e", "1", "2", "10", "3"]).into()
}

fn words(rng: &mut Rng) -> Vec<Bytes> {
    (0..rng.usize(1..5)).map(|_| word(rng)).collect()
}

fn value(rng: &mut Rng) -> Bytes {
    let texts = [
        "",
        "a",
        "hello world",
        "0",
        "1",
        "-7",
        "41",
        "9223372036854775807",
        "-9223372036854775808",
        "3.5",
        "-0.25",
        "1e2",
        "10.1",
        "007",
        "+1",
        " 1",
        "1 ",
        "nan",
        "a string that is longer than forty-four bytes is not embedded",
    ];
    if rng.u8(..6) == 0 {
        return (0..rng.usize(..12)).map(|_| one(rng, &[0, 0xff, 0x0f, 0x80, 0x01])).collect();
    }
    one(rng, &texts).into()
}

fn place(rng: &mut Rng) -> i64 {
    if rng.u8(..20) == 0 { one(rng, &[i64::MAX, i64::MIN + 1, 1_000, -1_000]) } else { rng.i64(-8..12) }
}

fn number(rng: &mut Rng) -> i64 {
    if rng.u8(..12) == 0 { one(rng, &[i64::MAX, i64::MIN + 1, 1 << 40]) } else { rng.i64(-20..30) }
}

/// Sums of these have few enough digits for 80-bit floats to be as exact as decimals.
fn fraction(rng: &mut Rng) -> f64 {
    one(rng, &[0.5, -0.25, 3.0, -1.0, 0.125, 100.0, 0.0])
}

fn existence(rng: &mut Rng) -> Existence {
    one(rng, &[Existence::Any, Existence::Any, Existence::Any, Existence::Absent, Existence::Present])
}

fn when(rng: &mut Rng, now_ms: i64) -> When {
    const FAR_MS: i64 = 1_000_000_000;
    one(
        rng,
        &[
            When::At(now_ms + FAR_MS),
            When::At(now_ms + 2 * FAR_MS),
            When::At(now_ms + 3 * FAR_MS + 499),
            When::At(1_000),
            When::At(0),
            When::In(-1),
            When::In(i64::MAX),
        ],
    )
}

fn string(rng: &mut Rng, now_ms: i64, is_number: bool) -> StringOp {
    match if is_number { one(rng, &[0, 1, 10, 10, 11, 11]) } else { rng.u8(0..12) } {
        0 => StringOp::Get,
        1 | 2 => StringOp::Set {
            value: value(rng),
            expiry: match rng.u8(0..4) {
                0 => SetExpiry::Keep,
                1 => SetExpiry::Set(when(rng, now_ms)),
                _ => SetExpiry::Clear,
            },
            condition: existence(rng),
            answer: one(rng, &[SetAnswer::Done, SetAnswer::Old]),
        },
        3 => StringOp::GetDelete,
        4 => StringOp::GetExpire(match rng.u8(0..3) {
            0 => GetExpiry::Keep,
            1 => GetExpiry::Persist,
            _ => GetExpiry::Set(when(rng, now_ms)),
        }),
        5 => StringOp::Append(value(rng)),
        6 => StringOp::Length,
        7 => StringOp::SetRange { offset: rng.u64(..20), value: value(rng) },
        8 | 9 => StringOp::GetRange { start: place(rng), end: place(rng) },
        10 => StringOp::Increment(number(rng)),
        _ => StringOp::IncrementFloat(fraction(rng)),
    }
}

fn unit(rng: &mut Rng) -> Unit {
    one(rng, &[Unit::Byte, Unit::Bit])
}

fn bit(rng: &mut Rng) -> Bit {
    one(rng, &[Bit::Zero, Bit::One])
}

fn field(rng: &mut Rng) -> FieldOp {
    let is_signed = rng.bool();
    let width = one(rng, &[1, 2, 5, 8, 13, 31, 32, 33, 62, 63, if is_signed { 64 } else { 63 }]);
    let field = FieldType::try_from((is_signed, width)).expect("these are widths");
    let offset = rng.u64(..100);
    let overflow = one(rng, &[Overflow::Wrap, Overflow::Saturate, Overflow::Fail]);
    match rng.u8(..3) {
        0 => FieldOp::Get { field, offset },
        // Of very low numbers Redis 7.0 forgets the sign when it saturates.
        1 => FieldOp::Set { field, offset, value: number(rng).max(-(1 << 40)), overflow },
        _ => FieldOp::Increment { field, offset, by: number(rng), overflow },
    }
}

fn bits(rng: &mut Rng) -> BitsOp {
    match rng.u8(0..6) {
        0 => BitsOp::Get { offset: rng.u64(..120) },
        1 => BitsOp::Set { offset: rng.u64(..120), bit: bit(rng) },
        2 => BitsOp::Count(rng.bool().then(|| BitRange { start: place(rng), end: place(rng), unit: unit(rng) })),
        3 => BitsOp::Position { bit: bit(rng), start: None, end: None, unit: Unit::Byte },
        4 => {
            let end = rng.bool().then(|| place(rng));
            // The command takes a unit only behind an end.
            let unit = if end.is_some() { unit(rng) } else { Unit::Byte };
            BitsOp::Position { bit: bit(rng), start: Some(place(rng)), end, unit }
        }
        _ => BitsOp::Field((0..rng.usize(1..4)).map(|_| field(rng)).collect()),
    }
}

fn scan(rng: &mut Rng) -> Scan {
    Scan { cursor: 0, pattern: rng.bool().then(|| one(rng, &["*", "a*", "?", "[0-9]*"]).into()), count: 1_000 }
}

fn hash(rng: &mut Rng) -> HashOp {
    match rng.u8(0..15) {
        0 => HashOp::Get(word(rng)),
        1 => HashOp::GetMany(words(rng)),
        2 => HashOp::GetAll,
        3 => HashOp::Fields,
        4 => HashOp::Values,
        5 => HashOp::Len,
        6 => HashOp::Contains(word(rng)),
        7 => HashOp::ValueLength(word(rng)),
        8 | 9 => HashOp::Set((0..rng.usize(1..4)).map(|_| (word(rng), value(rng))).collect()),
        10 => HashOp::SetIfAbsent { field: word(rng), value: value(rng) },
        11 => HashOp::Remove(words(rng)),
        12 => HashOp::Increment { field: word(rng), by: number(rng) },
        13 => HashOp::IncrementFloat { field: word(rng), by: fraction(rng) },
        _ => HashOp::Scan(scan(rng)),
    }
}

fn set(rng: &mut Rng) -> SetOp {
    match rng.u8(0..8) {
        0 | 1 => SetOp::Add(words(rng)),
        2 => SetOp::Remove(words(rng)),
        3 => SetOp::Contains(word(rng)),
        4 => SetOp::ContainsMany(words(rng)),
        5 => SetOp::Len,
        6 => SetOp::Members,
        _ => SetOp::Scan(scan(rng)),
    }
}

fn sketch(rng: &mut Rng) -> SketchOp {
    if rng.bool() { SketchOp::Add(if rng.u8(..4) == 0 { Vec::new() } else { words(rng) }) } else { SketchOp::Count }
}

fn score(rng: &mut Rng) -> f64 {
    one(rng, &[1.0, 2.0, 3.0, -1.5, 2.25, 1e20, 3.1, f64::INFINITY, f64::NEG_INFINITY, 0.0, 5.0])
}

fn write(rng: &mut Rng) -> ScoreWrite {
    let existence = existence(rng);
    // NX excludes the others.
    let score = match existence {
        Existence::Absent => ScoreIf::Any,
        Existence::Any | Existence::Present => one(rng, &[ScoreIf::Any, ScoreIf::Any, ScoreIf::Greater, ScoreIf::Less]),
    };
    ScoreWrite { existence, score }
}

fn score_bound(rng: &mut Rng) -> ScoreBound {
    let score = score(rng);
    if rng.bool() { ScoreBound::Inclusive(score) } else { ScoreBound::Exclusive(score) }
}

fn lex_bound(rng: &mut Rng) -> LexBound {
    match rng.u8(..6) {
        0 => LexBound::Least,
        1 => LexBound::Greatest,
        2 | 3 => LexBound::Inclusive(word(rng)),
        _ => LexBound::Exclusive(word(rng)),
    }
}

fn sorted(rng: &mut Rng) -> SortedOp {
    let order = one(rng, &[Order::Ascending, Order::Descending]);
    let by_score = |rng: &mut Rng| ScoreRange { min: score_bound(rng), max: score_bound(rng) };
    let by_index = |rng: &mut Rng| RangeBy::Index { start: place(rng), stop: place(rng) };
    match rng.u8(0..18) {
        0..=3 => SortedOp::Add {
            members: (0..rng.usize(1..4)).map(|_| (score(rng), word(rng))).collect(),
            write: write(rng),
            answer: one(rng, &[ZaddAnswer::Added, ZaddAnswer::Changed]),
        },
        4 => SortedOp::Increment { member: word(rng), by: score(rng), write: write(rng) },
        5 => SortedOp::Remove(words(rng)),
        6 => SortedOp::Len,
        7 => SortedOp::Score(word(rng)),
        8 => SortedOp::Scores(words(rng)),
        9 => SortedOp::Rank { member: word(rng), order },
        10 => SortedOp::Count(by_score(rng)),
        11 | 12 => SortedOp::Range {
            by: by_index(rng),
            order,
            limit: None,
            with: one(rng, &[WithValues::No, WithValues::Yes]),
        },
        13 | 14 => SortedOp::Range {
            by: RangeBy::Score(by_score(rng)),
            order,
            limit: rng.bool().then(|| Limit { offset: rng.i64(-1..5), count: rng.i64(-1..5) }),
            with: one(rng, &[WithValues::No, WithValues::Yes]),
        },
        15 => SortedOp::RemoveRange(if rng.bool() { by_index(rng) } else { RangeBy::Score(by_score(rng)) }),
        16 => SortedOp::Pop { order, count: rng.u64(..3) },
        _ => SortedOp::Scan(scan(rng)),
    }
}

/// Ranges of members mean something only where all scores are equal: a key of its own has such.
fn lexical(rng: &mut Rng) -> SortedOp {
    let range = LexRange { min: lex_bound(rng), max: lex_bound(rng) };
    match rng.u8(..6) {
        0 | 1 => SortedOp::Add {
            members: words(rng).into_iter().map(|member| (0.0, member)).collect(),
            write: ScoreWrite::ALWAYS,
            answer: ZaddAnswer::Added,
        },
        2 => SortedOp::CountLex(range),
        3 => SortedOp::RemoveRange(RangeBy::Lex(range)),
        _ => SortedOp::Range {
            by: RangeBy::Lex(range),
            order: one(rng, &[Order::Ascending, Order::Descending]),
            limit: rng.bool().then(|| Limit { offset: rng.i64(-1..5), count: rng.i64(-1..5) }),
            with: WithValues::No,
        },
    }
}

fn keys(rng: &mut Rng, now_ms: i64) -> KeyOp {
    let conditions =
        [ExpireIf::Always, ExpireIf::None, ExpireIf::Some, ExpireIf::Later, ExpireIf::Earlier, ExpireIf::SomeEarlier];
    match rng.u8(0..10) {
        1 => KeyOp::Kind,
        2 => KeyOp::Delete,
        3..=5 => KeyOp::Expire { when: when(rng, now_ms), condition: one(rng, &conditions) },
        6 => KeyOp::Persist,
        7 => KeyOp::ExpireTime(one(rng, &[Precision::Seconds, Precision::Milliseconds])),
        8 => KeyOp::Frequency,
        _ => KeyOp::Exists,
    }
}
