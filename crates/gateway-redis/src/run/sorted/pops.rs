//! Pops of the first of several sorted sets that has members, at once or as soon as one has some.

use std::time::Duration;

use althing_datatypes::op::{Order, SortedOp};
use althing_datatypes::{Op, OpError, Reply};
use bytes::Bytes;

use crate::command::Answering;
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::words::{Options, at, float, int, is};
use crate::run::{refused, scored, wrong_reply};
use crate::wire::Value;

/// The longest time that may be waited, in seconds: as many milliseconds as a signed number holds (Redis's own).
const MAX_TIMEOUT_SECONDS: f64 = 9_223_372_036_854_775.0;

/// What is popped, of which keys, and how it is said.
#[derive(Clone, Debug)]
pub struct Pop {
    /// The keys, in the order in which they are tried.
    pub keys: Vec<Bytes>,
    order: Order,
    count: u64,
    say: fn(&Bytes, Vec<(Bytes, f64)>) -> Value,
}

/// What is done with a key that holds something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Otherwise {
    /// The client is told.
    Tell,
    /// The next key is tried: so it is while one waits.
    PassOver,
}

impl Pop {
    /// Tries each key once. `None` if none of them has a member.
    ///
    /// # Errors
    /// If the node could not do it, or a key holds something else and that is to be told.
    pub async fn attempt(&self, space: &Keyspace, otherwise: Otherwise) -> Result<Option<Value>, Refusal> {
        for key in &self.keys {
            let op = SortedOp::Pop { order: self.order, count: self.count };
            // It brings nothing, so it wakes nobody: those that wait would wake each other for ever.
            let coming = space.start(key.clone(), &Op::Sorted(op));
            match (space.operated(coming.await)?, otherwise) {
                (Ok(Reply::Scored(members)), _) if members.is_empty() => {}
                (Ok(Reply::Scored(members)), _) => return Ok(Some((self.say)(key, members))),
                (Ok(_), _) => return Err(wrong_reply()),
                (Err(OpError::WrongType), Otherwise::PassOver) => {}
                (Err(error), Otherwise::Tell | Otherwise::PassOver) => return Err(refused(error, "zmpop")),
            }
        }
        Ok(None)
    }
}

/// A pop that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The pop.
    pub pop: Pop,
    /// For how long; `None` is for ever.
    pub timeout: Option<Duration>,
}

/// Seconds as they are given, with a fraction; 0 is for ever.
fn timeout(word: &[u8]) -> Result<Option<Duration>, Refusal> {
    let seconds = float(word).map_err(|_| Refusal::of("ERR timeout is not a float or out of range"))?;
    if seconds < 0.0 {
        return Err(Refusal::of("ERR timeout is negative"));
    }
    if seconds > MAX_TIMEOUT_SECONDS {
        return Err(Refusal::of("ERR timeout is out of range"));
    }
    Ok((seconds > 0.0).then(|| Duration::from_secs_f64(seconds)))
}

/// `[key, member, score]`
fn say_one(key: &Bytes, members: Vec<(Bytes, f64)>) -> Value {
    let member = scored(members).into_iter().flat_map(|(member, score)| [member, score]);
    Value::Array(std::iter::once(Value::Bulk(key.clone())).chain(member).collect())
}

/// `[key, [[member, score], ...]]`
fn say_all(key: &Bytes, members: Vec<(Bytes, f64)>) -> Value {
    let members = scored(members).into_iter().map(|(member, score)| Value::Array(vec![member, score]));
    Value::Array(vec![Value::Bulk(key.clone()), Value::Array(members.collect())])
}

/// `numkeys key... MIN | MAX [COUNT count]`, from a place on.
fn several(words: &[Bytes], place: usize) -> Result<Pop, Refusal> {
    let number = int(at(words, place)?).ok().filter(|&number| number > 0);
    let number = number.ok_or(Refusal::of("ERR numkeys should be greater than 0"))?;
    let rest = words.get(place + 1..).unwrap_or_default();
    let keys = usize::try_from(number).ok().and_then(|number| rest.get(..number)).ok_or(Refusal::SYNTAX)?;
    let mut options = Options::from(rest, keys.len());
    let order = match options.value()? {
        word if is(word, "min") => Order::Ascending,
        word if is(word, "max") => Order::Descending,
        _ => return Err(Refusal::SYNTAX),
    };
    let mut count = 1;
    if options.take("count") {
        let number = int(options.value()?).ok().and_then(|number| u64::try_from(number).ok());
        count = number.filter(|&number| number > 0).ok_or(Refusal::of("ERR count should be greater than 0"))?;
    }
    options.end()?;
    Ok(Pop { keys: keys.to_vec(), order, count, say: say_all })
}

/// `ZMPOP numkeys key... MIN | MAX [COUNT count]`: of the first key that has members.
pub fn zmpop<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let pop = several(words, 1)?;
        Ok(pop.attempt(space, Otherwise::Tell).await?.unwrap_or(Value::NilArray))
    })
}

/// `BZMPOP timeout numkeys key... MIN | MAX [COUNT count]`
///
/// # Errors
/// In Redis's words.
pub fn bzmpop(words: &[Bytes]) -> Result<Waiting, Refusal> {
    let timeout = timeout(at(words, 1)?)?;
    Ok(Waiting { pop: several(words, 2)?, timeout })
}

fn bzpop(words: &[Bytes], order: Order) -> Result<Waiting, Refusal> {
    let (last, rest) = words.split_last().ok_or(Refusal::SYNTAX)?;
    let pop = Pop { keys: rest.get(1..).unwrap_or_default().to_vec(), order, count: 1, say: say_one };
    Ok(Waiting { pop, timeout: timeout(last)? })
}

/// `BZPOPMIN key... timeout`
///
/// # Errors
/// In Redis's words.
pub fn bzpopmin(words: &[Bytes]) -> Result<Waiting, Refusal> {
    bzpop(words, Order::Ascending)
}

/// `BZPOPMAX key... timeout`
///
/// # Errors
/// In Redis's words.
pub fn bzpopmax(words: &[Bytes]) -> Result<Waiting, Refusal> {
    bzpop(words, Order::Descending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn a_time_is_in_seconds_and_zero_is_for_ever() {
        assert_eq!(timeout(b"0"), Ok(None));
        assert_eq!(timeout(b"0.25"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(timeout(b"-1").unwrap_err().text(), "ERR timeout is negative");
        assert_eq!(timeout(b"x").unwrap_err().text(), "ERR timeout is not a float or out of range");
        for long in ["1e300", "inf", "9223372036854778"] {
            assert_eq!(timeout(long.as_bytes()).unwrap_err().text(), "ERR timeout is out of range", "{long}");
        }
        assert!(timeout(b"9223372036854770").is_ok());
    }

    #[test]
    fn the_words_of_a_pop_of_several_are_those_of_redis() {
        let text = |line: &str| several(&words(line), 1).unwrap_err().text().to_owned();
        for line in ["zmpop 0 a min", "zmpop x a min", "zmpop -1 a min", "zmpop 1.5 a min"] {
            assert_eq!(text(line), "ERR numkeys should be greater than 0", "{line}");
        }
        for line in ["zmpop 1 a", "zmpop 2 a min", "zmpop 1 a mid", "zmpop 1 a min x", "zmpop 1 a min count"] {
            assert_eq!(text(line), "ERR syntax error", "{line}");
        }
        assert_eq!(text("zmpop 9223372036854775807 a min"), "ERR syntax error");
        for line in ["zmpop 1 a min count 0", "zmpop 1 a max count x", "zmpop 1 a max count -1"] {
            assert_eq!(text(line), "ERR count should be greater than 0", "{line}");
        }
        assert_eq!(text("zmpop 1 a min count 1 count 2"), "ERR syntax error");
        assert_eq!(several(&words("zmpop 2 a b MAX COUNT 3"), 1).unwrap().keys, words("a b"));
    }
}
