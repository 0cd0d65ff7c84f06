//! Ranges of sorted sets: by place, by score, by member.

use althing_datatypes::op::{LexBound, LexRange, Limit, Order, RangeBy, ScoreBound, ScoreRange, SortedOp, WithValues};
use althing_datatypes::{Content, Op, Reply};
use bytes::Bytes;

use super::sorted;
use crate::command::Answering;
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::words::{Options, at, float, int};
use crate::run::{Keyed, refused, wrong_reply};
use crate::wire::Value;

type Parsed = Result<Keyed, Refusal>;

/// No range of scores.
const BAD_SCORES: Refusal = Refusal::of("ERR min or max is not a float");
/// No range of members.
const BAD_MEMBERS: Refusal = Refusal::of("ERR min or max not valid string range item");

fn score_bound(word: &[u8]) -> Result<ScoreBound, Refusal> {
    match word.strip_prefix(b"(") {
        Some(score) => float(score).map(ScoreBound::Exclusive),
        None => float(word).map(ScoreBound::Inclusive),
    }
    .map_err(|_| BAD_SCORES)
}

fn scores(min: &[u8], max: &[u8]) -> Result<ScoreRange, Refusal> {
    Ok(ScoreRange { min: score_bound(min)?, max: score_bound(max)? })
}

fn lex_bound(word: &Bytes) -> Result<LexBound, Refusal> {
    match word.first() {
        Some(b'-') if word.len() == 1 => Ok(LexBound::Least),
        Some(b'+') if word.len() == 1 => Ok(LexBound::Greatest),
        Some(b'[') => Ok(LexBound::Inclusive(word.slice(1..))),
        Some(b'(') => Ok(LexBound::Exclusive(word.slice(1..))),
        Some(_) | None => Err(BAD_MEMBERS),
    }
}

fn members(min: &Bytes, max: &Bytes) -> Result<LexRange, Refusal> {
    Ok(LexRange { min: lex_bound(min)?, max: lex_bound(max)? })
}

/// What a range is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Index,
    Score,
    Lex,
}

impl By {
    /// The range between two words, which the REV forms give the upper one first.
    fn between(self, first: &Bytes, second: &Bytes, order: Order) -> Result<RangeBy, Refusal> {
        let (min, max) = match order {
            Order::Ascending => (first, second),
            Order::Descending => (second, first),
        };
        match self {
            Self::Index => Ok(RangeBy::Index { start: int(first)?, stop: int(second)? }),
            Self::Score => scores(min, max).map(RangeBy::Score),
            Self::Lex => members(min, max).map(RangeBy::Lex),
        }
    }
}

/// Which options a command of ranges takes besides its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// `ZRANGE`: by anything, from either end.
    Any,
    /// `ZRANGESTORE`: as that, but answers with a count.
    Store,
    /// The older commands, whose names say it.
    Fixed(By, Order),
}

/// A range as it was asked for: bounds at `place`, options after them.
fn range(words: &[Bytes], place: usize, form: Form) -> Result<SortedOp, Refusal> {
    let (mut by, mut order) = match form {
        Form::Any | Form::Store => (By::Index, Order::Ascending),
        Form::Fixed(by, order) => (by, order),
    };
    let (mut limit, mut with) = (None, WithValues::No);
    let mut options = Options::from(words, place + 2);
    let is_free = !matches!(form, Form::Fixed(..));
    while let Some(option) = options.pull() {
        match option.to_ascii_lowercase().as_slice() {
            b"withscores" if form != Form::Store => with = WithValues::Yes,
            b"limit" => limit = Some(Limit { offset: options.int()?, count: options.int()? }),
            b"byscore" if is_free => by = By::Score,
            b"bylex" if is_free => by = By::Lex,
            b"rev" if is_free => order = Order::Descending,
            _ => return Err(Refusal::SYNTAX),
        }
    }
    if limit.is_some() && by == By::Index {
        return Err(Refusal::of(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if with == WithValues::Yes && by == By::Lex {
        return Err(Refusal::of("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
    }
    let by = by.between(at(words, place)?, at(words, place + 1)?, order)?;
    Ok(SortedOp::Range { by, order, limit, with })
}

/// `ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub fn zrange(words: &[Bytes]) -> Parsed {
    sorted(words, range(words, 2, Form::Any)?)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub fn zrevrange(words: &[Bytes]) -> Parsed {
    sorted(words, range(words, 2, Form::Fixed(By::Index, Order::Descending))?)
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub fn zrangebyscore(words: &[Bytes]) -> Parsed {
    sorted(words, range(words, 2, Form::Fixed(By::Score, Order::Ascending))?)
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub fn zrevrangebyscore(words: &[Bytes]) -> Parsed {
    sorted(words, range(words, 2, Form::Fixed(By::Score, Order::Descending))?)
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub fn zrangebylex(words: &[Bytes]) -> Parsed {
    sorted(words, range(words, 2, Form::Fixed(By::Lex, Order::Ascending))?)
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub fn zrevrangebylex(words: &[Bytes]) -> Parsed {
    sorted(words, range(words, 2, Form::Fixed(By::Lex, Order::Descending))?)
}

/// `ZCOUNT key min max`
pub fn zcount(words: &[Bytes]) -> Parsed {
    sorted(words, SortedOp::Count(scores(at(words, 2)?, at(words, 3)?)?))
}

/// `ZLEXCOUNT key min max`
pub fn zlexcount(words: &[Bytes]) -> Parsed {
    sorted(words, SortedOp::CountLex(members(at(words, 2)?, at(words, 3)?)?))
}

fn remove(words: &[Bytes], by: By) -> Parsed {
    sorted(words, SortedOp::RemoveRange(by.between(at(words, 2)?, at(words, 3)?, Order::Ascending)?))
}

/// `ZREMRANGEBYRANK key start stop`
pub fn zremrangebyrank(words: &[Bytes]) -> Parsed {
    remove(words, By::Index)
}

/// `ZREMRANGEBYSCORE key min max`
pub fn zremrangebyscore(words: &[Bytes]) -> Parsed {
    remove(words, By::Score)
}

/// `ZREMRANGEBYLEX key min max`
pub fn zremrangebylex(words: &[Bytes]) -> Parsed {
    remove(words, By::Lex)
}

/// `ZRANGESTORE destination source start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]`
pub fn zrangestore<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let SortedOp::Range { by, order, limit, .. } = range(words, 3, Form::Store)? else { return Err(wrong_reply()) };
        let op = Op::Sorted(SortedOp::Range { by, order, limit, with: WithValues::Yes });
        let members = match space.ask(&words[2], op).await?.map_err(|error| refused(error, "zrangestore"))? {
            Reply::Scored(members) => members,
            Reply::Nil => Vec::new(),
            _ => return Err(wrong_reply()),
        };
        let count = Value::count(members.len());
        let content = (!members.is_empty()).then_some(Content::Sorted(members));
        space.replace(&words[1], content, None).await?;
        Ok(count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn the_bounds_of_a_reversed_range_are_turned_round() {
        let expected =
            RangeBy::Score(ScoreRange { min: ScoreBound::Exclusive(1.0), max: ScoreBound::Inclusive(f64::INFINITY) });
        for line in ["zrange k +inf (1 byscore rev", "zrevrangebyscore k +inf (1"] {
            let parsed =
                if line.starts_with("zrange ") { zrange(&words(line)) } else { zrevrangebyscore(&words(line)) };
            let Op::Sorted(SortedOp::Range { by, order, .. }) = parsed.unwrap().op else { panic!("{line}") };
            assert_eq!((by, order), (expected.clone(), Order::Descending), "{line}");
        }
    }

    #[test]
    fn each_mistake_in_a_range_is_told_in_rediss_words() {
        for (line, text) in [
            (
                "zrange k 0 1 limit 0 1",
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ),
            ("zrange k [a [b bylex withscores", "ERR syntax error, WITHSCORES not supported in combination with BYLEX"),
            ("zrange k a b byscore", "ERR min or max is not a float"),
            ("zrange k a b bylex", "ERR min or max not valid string range item"),
            ("zrange k a b", "ERR value is not an integer or out of range"),
            ("zrange k 0 1 limit 0", "ERR syntax error"),
        ] {
            assert_eq!(zrange(&words(line)).unwrap_err().text(), text, "{line}");
        }
    }
}
