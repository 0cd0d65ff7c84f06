//! Hashes.

use althing_datatypes::Op;
use althing_datatypes::op::{HashOp, WithValues};
use bytes::Bytes;

use crate::refusal::Refusal;
use crate::run::scan::page;
use crate::run::words::{at, float, int, is};
use crate::run::{Keyed, in_pairs, ok};

type Parsed = Result<Keyed, Refusal>;

fn hash(words: &[Bytes], op: HashOp) -> Parsed {
    Ok(Keyed::plain(at(words, 1)?, Op::Hash(op)))
}

/// `HGET key field`
pub fn hget(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::Get(at(words, 2)?.clone()))
}

/// `HMGET key field...`
pub fn hmget(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::GetMany(words[2..].to_vec()))
}

/// `HGETALL key`
pub fn hgetall(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::GetAll)
}

/// `HKEYS key`
pub fn hkeys(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::Fields)
}

/// `HVALS key`
pub fn hvals(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::Values)
}

/// `HLEN key`
pub fn hlen(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::Len)
}

/// `HEXISTS key field`
pub fn hexists(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::Contains(at(words, 2)?.clone()))
}

/// `HSTRLEN key field`
pub fn hstrlen(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::ValueLength(at(words, 2)?.clone()))
}

fn fields(words: &[Bytes], command: &str) -> Result<Op, Refusal> {
    let pairs = words.get(2..).unwrap_or_default();
    if !pairs.len().is_multiple_of(2) {
        return Err(Refusal::arity(command));
    }
    Ok(Op::Hash(HashOp::Set(pairs.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())))
}

/// `HSET key field value ...`
pub fn hset(words: &[Bytes]) -> Parsed {
    Ok(Keyed::plain(at(words, 1)?, fields(words, "hset")?))
}

/// `HMSET key field value ...`
pub fn hmset(words: &[Bytes]) -> Parsed {
    Ok(Keyed::new(at(words, 1)?, fields(words, "hmset")?, ok))
}

/// `HSETNX key field value`
pub fn hsetnx(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::SetIfAbsent { field: at(words, 2)?.clone(), value: at(words, 3)?.clone() })
}

/// `HDEL key field...`
pub fn hdel(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::Remove(words[2..].to_vec()))
}

/// `HINCRBY key field by`
pub fn hincrby(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::Increment { field: at(words, 2)?.clone(), by: int(at(words, 3)?)? })
}

/// `HINCRBYFLOAT key field by`
pub fn hincrbyfloat(words: &[Bytes]) -> Parsed {
    let by = float(at(words, 3)?)?;
    if by.is_infinite() {
        return Err(Refusal::of("ERR value is NaN or Infinity"));
    }
    hash(words, HashOp::IncrementFloat { field: at(words, 2)?.clone(), by })
}

/// `HRANDFIELD key [count [WITHVALUES]]`
pub fn hrandfield(words: &[Bytes]) -> Parsed {
    let (count, with) = random(words, "withvalues")?;
    Ok(Keyed::new(at(words, 1)?, Op::Hash(HashOp::Random { count, with }), in_pairs))
}

/// The count of a command that draws, and whether values are wanted.
///
/// # Errors
/// A number that is none, or another word than `keyword` after it.
pub fn random(words: &[Bytes], keyword: &str) -> Result<(Option<i64>, WithValues), Refusal> {
    match words.get(2..).unwrap_or_default() {
        [] => Ok((None, WithValues::No)),
        [count] => Ok((Some(drawn(count)?), WithValues::No)),
        [count, with] if is(with, keyword) => {
            let count = drawn(count)?;
            // Redis could not count twice as many in a long.
            if !(-(i64::MAX / 2)..=i64::MAX / 2).contains(&count) {
                return Err(Refusal::of("ERR value is out of range"));
            }
            Ok((Some(count), WithValues::Yes))
        }
        [count, _, ..] => drawn(count).and(Err(Refusal::SYNTAX)),
    }
}

/// How many are drawn; the least number of all has no opposite.
///
/// # Errors
/// If it is no number or has none.
pub fn drawn(word: &[u8]) -> Result<i64, Refusal> {
    let count = int(word)?;
    if count == i64::MIN {
        Err(Refusal::of("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"))
    } else {
        Ok(count)
    }
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count]`
pub fn hscan(words: &[Bytes]) -> Parsed {
    hash(words, HashOp::Scan(page(words)?))
}
