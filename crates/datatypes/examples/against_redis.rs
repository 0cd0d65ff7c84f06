//! Runs random operations on a plain value and on a real `redis-server` side by side, and stops where they answer otherwise.
//!
//! ```text
//! redis-server --port 17391 --save '' --appendonly no &
//! cargo run -p althing-datatypes --example against_redis -- 127.0.0.1:17391 [operations] [seed]
//! ```
//!
//! What is random, what depends on the time, and forms of payloads are left out, and so are strings made of sketches, which here are a
//! type of their own. Answers whose order means nothing are sorted before they are compared.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use althing_datatypes::op::{HashOp, StringOp};
use althing_datatypes::{Items, Op, OpError, Reply, Value, execute};
use bytes::Bytes;

#[path = "against_redis/commands.rs"]
mod commands;
#[path = "against_redis/draw.rs"]
mod draw;

/// What both sides answer, in one form.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// Nothing.
    Nil,
    /// A number.
    Int(i64),
    /// A string, escaped.
    Text(String),
    /// An error.
    Error(String),
    /// Many.
    List(Vec<Answer>),
}

struct Redis(BufReader<TcpStream>);

impl Redis {
    fn call(&mut self, command: &[Vec<u8>]) -> std::io::Result<Answer> {
        let mut out = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            out.extend(format!("${}\r\n", word.len()).into_bytes());
            out.extend(word);
            out.extend(b"\r\n");
        }
        self.0.get_mut().write_all(&out)?;
        self.answer()
    }

    fn answer(&mut self) -> std::io::Result<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().map_err(std::io::Error::other);
        Ok(match kind {
            "+" => Answer::Text(rest.to_owned()),
            "-" => Answer::Error(rest.to_owned()),
            ":" => Answer::Int(number()?),
            "$" | "*" if number()? < 0 => Answer::Nil,
            "$" => {
                let mut bytes = vec![0; number()? as usize + 2];
                self.0.read_exact(&mut bytes)?;
                Answer::Text(bytes[..bytes.len() - 2].escape_ascii().to_string())
            }
            "*" => Answer::List((0..number()?).map(|_| self.answer()).collect::<Result<_, _>>()?),
            other => return Err(std::io::Error::other(format!("an answer of the kind {other}"))),
        })
    }
}

fn text(bytes: &Bytes) -> Answer {
    Answer::Text(bytes.escape_ascii().to_string())
}

fn pairs(pairs: Vec<(Bytes, Bytes)>) -> Answer {
    Answer::List(pairs.iter().flat_map(|(field, value)| [text(field), text(value)]).collect())
}

fn score(score: f64) -> Answer {
    Answer::Text(althing_datatypes::number::score_text(score))
}

fn scored(members: Vec<(Bytes, f64)>) -> Answer {
    Answer::List(members.iter().flat_map(|(member, number)| [text(member), score(*number)]).collect())
}

fn ours(outcome: &Result<Reply, OpError>) -> Answer {
    match outcome.clone() {
        Err(error @ (OpError::WrongType | OpError::NotASketch)) => Answer::Error(error.to_string()),
        Err(OpError::InvalidExpire) => Answer::Error("ERR invalid expire time".to_owned()),
        Err(error) => Answer::Error(format!("ERR {error}")),
        Ok(Reply::Nil) => Answer::Nil,
        Ok(Reply::Ok) => Answer::Text("OK".to_owned()),
        Ok(Reply::Int(number)) => Answer::Int(number),
        Ok(Reply::Float(number)) => score(number),
        Ok(Reply::Bytes(bytes)) => text(&bytes),
        Ok(Reply::Kind(kind)) => Answer::Text(commands::kind_name(kind).to_owned()),
        Ok(Reply::Array(items)) => {
            Answer::List(items.iter().map(|item| item.as_ref().map_or(Answer::Nil, text)).collect())
        }
        Ok(Reply::List(items) | Reply::Set(items)) => Answer::List(items.iter().map(text).collect()),
        Ok(Reply::Pairs(items)) => pairs(items),
        Ok(Reply::Scored(items)) => scored(items),
        Ok(Reply::Ints(items)) => {
            Answer::List(items.iter().map(|item| item.map_or(Answer::Nil, Answer::Int)).collect())
        }
        Ok(Reply::Floats(items)) => Answer::List(items.iter().map(|item| item.map_or(Answer::Nil, score)).collect()),
        Ok(Reply::Page { cursor, items }) => {
            let items = match items {
                Items::Pairs(items) => pairs(items),
                Items::List(items) => Answer::List(items.iter().map(text).collect()),
                Items::Scored(items) => scored(items),
            };
            Answer::List(vec![Answer::Text(cursor.to_string()), items])
        }
        Ok(Reply::Sketch(_) | Reply::Whole(_)) => Answer::Nil,
    }
}

/// Sorts what has no order, as often as pairs go together.
fn settled(answer: Answer, order: commands::Shape) -> Answer {
    let width = match order {
        commands::Shape::Ordered => return answer,
        commands::Shape::Singles | commands::Shape::Page(1) => 1,
        commands::Shape::Pairs | commands::Shape::Page(_) => 2,
    };
    match (answer, order) {
        (Answer::List(items), commands::Shape::Page(width)) => {
            let inner = if width == 1 { commands::Shape::Singles } else { commands::Shape::Pairs };
            Answer::List(items.into_iter().map(|item| settled(item, inner)).collect())
        }
        (Answer::List(items), _) => {
            let mut groups: Vec<Vec<Answer>> = items.chunks(width).map(<[Answer]>::to_vec).collect();
            groups.sort_by_key(|group| format!("{group:?}"));
            Answer::List(groups.into_iter().flatten().collect())
        }
        (other, _) => other,
    }
}

/// Whether only the rounding is another: 80-bit floats have 19 digits, and decimals here have more.
fn is_rounded(op: &Op, mine: &Answer, theirs: &Answer) -> bool {
    const EPSILON: f64 = 1e-17;
    let is_fraction = matches!(op, Op::String(StringOp::IncrementFloat(_)) | Op::Hash(HashOp::IncrementFloat { .. }));
    let (Answer::Text(mine), Answer::Text(theirs)) = (mine, theirs) else { return false };
    let (Ok(left), Ok(right)) = (mine.parse::<f64>(), theirs.parse::<f64>()) else { return false };
    is_fraction && mine != theirs && (left - right).abs() <= left.abs() * EPSILON
}

fn run(redis: &mut Redis, operations: u64, seed: u64) -> std::io::Result<Option<String>> {
    redis.call(&[b"FLUSHALL".to_vec()])?;
    let Answer::List(time) = redis.call(&[b"TIME".to_vec()])? else { return Err(std::io::Error::other("no time")) };
    let Some(Answer::Text(seconds)) = time.first() else { return Err(std::io::Error::other("no time")) };
    let now_ms = seconds.parse::<i64>().map_err(std::io::Error::other)? * 1_000;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut keys: BTreeMap<&str, Value> = BTreeMap::new();
    let mut errors = 0_u64;
    for step in 0..operations {
        let (name, op): (&'static str, Op) = draw::operation(&mut rng, now_ms);
        let (command, shape) = commands::of(name, &op);
        let value = keys.entry(name).or_default();
        let outcome = execute(op.clone(), value, now_ms, step).map(|(reply, edits)| {
            value.apply(&edits, now_ms).expect("edits fit the value that they were made for");
            reply
        });
        errors += u64::from(outcome.is_err());
        let mine = commands::as_command_answers(&op, ours(&outcome));
        let mine = settled(mine, shape);
        let mut theirs = settled(redis.call(&command)?, shape);
        if let Answer::Error(text) = &mut theirs
            && text.starts_with("ERR invalid expire time")
        {
            *text = "ERR invalid expire time".to_owned();
        }
        if is_rounded(&op, &mine, &theirs) {
            redis.call(&[b"DEL".to_vec(), name.as_bytes().to_vec()])?;
            *value = Value::default();
        } else if mine != theirs {
            let words: Vec<String> = command.iter().map(|word| word.escape_ascii().to_string()).collect();
            return Ok(Some(format!(
                "step {step}: {}\n  here:  {mine:?}\n  redis: {theirs:?}\n  {op:?}",
                words.join(" ")
            )));
        }
    }
    println!("{operations} operations with seed {seed} answered alike, {errors} of them by errors");
    Ok(None)
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:6379".to_owned());
    let mut number = |otherwise| arguments.next().and_then(|word| word.parse().ok()).unwrap_or(otherwise);
    let (operations, seed) = (number(100_000), number(1));
    let mut redis = Redis(BufReader::new(TcpStream::connect(address)?));
    match run(&mut redis, operations, seed)? {
        None => Ok(()),
        Some(difference) => Err(std::io::Error::other(difference)),
    }
}
