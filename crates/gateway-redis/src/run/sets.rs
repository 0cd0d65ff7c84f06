//! Sets, and what is made of several.

use std::collections::BTreeSet;

use althing_datatypes::combine::{self, SetRule};
use althing_datatypes::op::SetOp;
use althing_datatypes::{Content, Op, OpError, Reply};
use bytes::Bytes;

use crate::command::{Answer, Answering};
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::hashes::drawn;
use crate::run::scan::page;
use crate::run::words::{Options, at, int, positive};
use crate::run::{Keyed, refused, wrong_reply};
use crate::wire::Value;

type Parsed = Result<Keyed, Refusal>;

fn set(words: &[Bytes], op: SetOp) -> Parsed {
    Ok(Keyed::plain(at(words, 1)?, Op::Set(op)))
}

/// `SADD key member...`
pub fn sadd(words: &[Bytes]) -> Parsed {
    set(words, SetOp::Add(words[2..].to_vec()))
}

/// `SREM key member...`
pub fn srem(words: &[Bytes]) -> Parsed {
    set(words, SetOp::Remove(words[2..].to_vec()))
}

/// `SISMEMBER key member`
pub fn sismember(words: &[Bytes]) -> Parsed {
    set(words, SetOp::Contains(at(words, 2)?.clone()))
}

/// `SMISMEMBER key member...`
pub fn smismember(words: &[Bytes]) -> Parsed {
    set(words, SetOp::ContainsMany(words[2..].to_vec()))
}

/// `SCARD key`
pub fn scard(words: &[Bytes]) -> Parsed {
    set(words, SetOp::Len)
}

/// `SMEMBERS key`
pub fn smembers(words: &[Bytes]) -> Parsed {
    set(words, SetOp::Members)
}

/// `SPOP key [count]`
pub fn spop(words: &[Bytes]) -> Parsed {
    let count = match words.get(2..).unwrap_or_default() {
        [] => None,
        [count] => Some(positive(count)?),
        [_, _, ..] => return Err(Refusal::SYNTAX),
    };
    set(words, SetOp::Pop(count))
}

/// `SRANDMEMBER key [count]`
pub fn srandmember(words: &[Bytes]) -> Parsed {
    let count = match words.get(2..).unwrap_or_default() {
        [] => None,
        [count] => Some(drawn(count)?),
        [_, _, ..] => return Err(Refusal::SYNTAX),
    };
    set(words, SetOp::Random(count))
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
pub fn sscan(words: &[Bytes]) -> Parsed {
    set(words, SetOp::Scan(page(words)?))
}

type Members = BTreeSet<Bytes>;

async fn read(rule: SetRule, space: &Keyspace, keys: &[Bytes], command: &str) -> Result<Members, Refusal> {
    let found = space.each_of(keys, Op::Set(SetOp::Members)).await?;
    let sets = found.into_iter().map(|result| members(result, command)).collect::<Result<Vec<_>, _>>()?;
    Ok(combine::sets(rule, sets))
}

async fn answer(rule: SetRule, space: &Keyspace, keys: &[Bytes], command: &str) -> Answer {
    let members = read(rule, space, keys, command).await?;
    Ok(Value::Set(members.into_iter().map(Value::Bulk).collect()))
}

async fn store(rule: SetRule, space: &Keyspace, words: &[Bytes], command: &str) -> Answer {
    let members = read(rule, space, &words[2..], command).await?;
    let count = Value::count(members.len());
    let content = (!members.is_empty()).then(|| Content::Set(members.into_iter().collect()));
    space.replace(&words[1], content, None).await?;
    Ok(count)
}

fn members(result: Result<Reply, OpError>, command: &str) -> Result<Members, Refusal> {
    match result {
        Ok(Reply::Set(members) | Reply::List(members)) => Ok(members.into_iter().collect()),
        Ok(Reply::Nil) => Ok(Members::new()),
        Ok(_) => Err(wrong_reply()),
        Err(error) => Err(refused(error, command)),
    }
}

/// `SUNION key...`
pub fn sunion<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(answer(SetRule::Union, space, &words[1..], "sunion"))
}

/// `SINTER key...`
pub fn sinter<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(answer(SetRule::Intersection, space, &words[1..], "sinter"))
}

/// `SDIFF key...`
pub fn sdiff<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(answer(SetRule::Difference, space, &words[1..], "sdiff"))
}

/// `SUNIONSTORE destination key...`
pub fn sunionstore<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(store(SetRule::Union, space, words, "sunionstore"))
}

/// `SINTERSTORE destination key...`
pub fn sinterstore<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(store(SetRule::Intersection, space, words, "sinterstore"))
}

/// `SDIFFSTORE destination key...`
pub fn sdiffstore<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(store(SetRule::Difference, space, words, "sdiffstore"))
}

/// The keys that follow their number, and what follows them.
///
/// # Errors
/// A number that is none, or below one, or above what follows.
pub fn counted(words: &[Bytes], place: usize) -> Result<(&[Bytes], Options<'_>), Refusal> {
    let number =
        int(at(words, place)?).ok().and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0);
    let number = number.ok_or(Refusal::of("ERR numkeys should be greater than 0"))?;
    let rest = words.get(place + 1..).unwrap_or_default();
    let keys = rest.get(..number).ok_or(Refusal::of("ERR Number of keys can't be greater than number of args"))?;
    Ok((keys, Options::from(rest, number)))
}

/// What `LIMIT` allows; zero is no limit.
///
/// # Errors
/// Another word, or a number that is none or negative.
pub fn limit(options: &mut Options<'_>) -> Result<usize, Refusal> {
    let mut limit = 0;
    while options.take("limit") {
        let number = options.int().ok().and_then(|number| usize::try_from(number).ok());
        limit = number.ok_or(Refusal::of("ERR LIMIT can't be negative"))?;
    }
    options.end()?;
    Ok(if limit == 0 { usize::MAX } else { limit })
}

/// `SINTERCARD numkeys key... [LIMIT limit]`
pub fn sintercard<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let (keys, mut options) = counted(words, 1)?;
        let limit = limit(&mut options)?;
        let members = read(SetRule::Intersection, space, keys, "sintercard").await?;
        Ok(Value::count(members.len().min(limit)))
    })
}

/// `SMOVE source destination member`: into the one, then out of the other.
pub fn smove<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let (source, destination, member) = (&words[1], &words[2], &words[3]);
        let refuse = |error| refused(error, "smove");
        // Redis looks at both types before it changes either.
        let contains = Op::Set(SetOp::Contains(member.clone()));
        let mut found = space.each_of(&words[1..3], contains).await?.into_iter();
        let in_source = found.next().ok_or_else(wrong_reply)?.map_err(refuse)?;
        if in_source == Reply::Int(0) {
            return Ok(Value::Int(0));
        }
        found.next().ok_or_else(wrong_reply)?.map_err(refuse)?;
        if source == destination {
            return Ok(Value::Int(1));
        }
        // First into the destination: what fails in between leaves the member in both, never in none.
        space.ask(destination, Op::Set(SetOp::Add(vec![member.clone()]))).await?.map_err(refuse)?;
        space.ask(source, Op::Set(SetOp::Remove(vec![member.clone()]))).await?.map_err(refuse)?;
        Ok(Value::Int(1))
    })
}
