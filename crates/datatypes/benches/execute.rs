//! How fast one core executes operations on a plain value and applies their edits.
//!
//! `cargo bench -p althing-datatypes --bench execute`

#![allow(missing_docs, clippy::disallowed_methods, reason = "a benchmark is all about real time")]

use std::hint::black_box;
use std::time::Instant;

use althing_datatypes::op::{
    Existence, HashOp, Order, RangeBy, ScoreWrite, SetAnswer, SetExpiry, SetOp, SketchOp, SortedOp, StringOp,
    WithValues, ZaddAnswer,
};
use althing_datatypes::{Message, Op, Value, execute};
use bytes::Bytes;

const OPERATIONS: u32 = 200_000;
/// Elements of the collections, once they are full.
const ELEMENTS: u32 = 10_000;
const ROUNDS: u32 = 5;

fn name(number: u32) -> Bytes {
    Bytes::from(format!("element:{:08}", number.wrapping_mul(2_654_435_761) % ELEMENTS))
}

fn set() -> Op {
    let (expiry, condition, answer) = (SetExpiry::Clear, Existence::Any, SetAnswer::Done);
    StringOp::Set { value: vec![b'x'; 100].into(), expiry, condition, answer }.into()
}

fn add(number: u32) -> Op {
    let members = vec![(f64::from(number.wrapping_mul(40_503) % 65_536), name(number))];
    SortedOp::Add { members, write: ScoreWrite::ALWAYS, answer: ZaddAnswer::Added }.into()
}

/// Runs operations on one value, and says how many nanoseconds one takes in the best round.
fn measure(what: &str, operation: impl Fn(u32) -> Op) {
    let mut value = Value::default();
    let best = (0..ROUNDS).map(|_| {
        let operations: Vec<Op> = (0..OPERATIONS).map(&operation).collect();
        let begin = Instant::now();
        for (seed, op) in operations.into_iter().enumerate() {
            let (reply, edits) = execute(op, &value, 1, seed as u64).expect("no operation here fails");
            value.apply(&edits, 1).expect("edits fit the value that they were made for");
            black_box(reply);
        }
        begin.elapsed().as_nanos() / u128::from(OPERATIONS)
    });
    println!("{what:<32} {:>6} ns", best.min().unwrap_or_default());
}

fn codec() {
    let best = (0..ROUNDS).map(|_| {
        let op = set();
        let begin = Instant::now();
        for _ in 0..OPERATIONS {
            black_box(Op::decode(&black_box(&op).encode()).expect("it was just written"));
        }
        begin.elapsed().as_nanos() / u128::from(OPERATIONS)
    });
    println!("{:<32} {:>6} ns", "SET written and read as bytes", best.min().unwrap_or_default());
}

fn main() {
    measure("SET of 100 bytes", |_| set());
    measure("INCR", |_| StringOp::Increment(1).into());
    measure("INCRBYFLOAT", |_| StringOp::IncrementFloat(0.5).into());
    measure("HSET among 10,000", |number| HashOp::Set(vec![(name(number), Bytes::from_static(b"value"))]).into());
    measure("SADD among 10,000", |number| SetOp::Add(vec![name(number)]).into());
    measure("ZADD among 10,000", add);
    measure("ZADD, ZRANK, ZRANGE of 10", |number| match number % 3 {
        0 => add(number),
        1 => SortedOp::Rank { member: name(number), order: Order::Ascending }.into(),
        _ => {
            let start = i64::from(number % 5_000);
            let by = RangeBy::Index { start, stop: start + 9 };
            SortedOp::Range { by, order: Order::Descending, limit: None, with: WithValues::Yes }.into()
        }
    });
    measure("PFADD", |number| SketchOp::Add(vec![name(number)]).into());
    codec();
}
