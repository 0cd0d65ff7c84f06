//! Keys of any type: removal, expiry, copies, and what can be told of them.

use althing_datatypes::op::{Existence, ExpireIf, KeyOp, Precision, When};
use althing_datatypes::{Op, OpError, Reply, Whole};
use bytes::Bytes;

use crate::command::{Answer, Answering};
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::words::{Options, at, int, is};
use crate::run::{Keyed, invalid_expire, refused, wrong_reply};
use crate::wire::Value;

type Parsed = Result<Keyed, Refusal>;

fn key(words: &[Bytes], op: KeyOp) -> Parsed {
    Ok(Keyed::plain(at(words, 1)?, Op::Key(op)))
}

/// `TYPE key`
pub fn kind(words: &[Bytes]) -> Parsed {
    key(words, KeyOp::Kind)
}

/// `TTL key`
pub fn ttl(words: &[Bytes]) -> Parsed {
    key(words, KeyOp::TimeToLive(Precision::Seconds))
}

/// `PTTL key`
pub fn pttl(words: &[Bytes]) -> Parsed {
    key(words, KeyOp::TimeToLive(Precision::Milliseconds))
}

/// `EXPIRETIME key`
pub fn expiretime(words: &[Bytes]) -> Parsed {
    key(words, KeyOp::ExpireTime(Precision::Seconds))
}

/// `PEXPIRETIME key`
pub fn pexpiretime(words: &[Bytes]) -> Parsed {
    key(words, KeyOp::ExpireTime(Precision::Milliseconds))
}

/// `PERSIST key`
pub fn persist(words: &[Bytes]) -> Parsed {
    key(words, KeyOp::Persist)
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub fn expire(words: &[Bytes]) -> Parsed {
    expiring(words, "expire", 1000, When::In)
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub fn pexpire(words: &[Bytes]) -> Parsed {
    expiring(words, "pexpire", 1, When::In)
}

/// `EXPIREAT key seconds [NX | XX | GT | LT]`
pub fn expireat(words: &[Bytes]) -> Parsed {
    expiring(words, "expireat", 1000, When::At)
}

/// `PEXPIREAT key milliseconds [NX | XX | GT | LT]`
pub fn pexpireat(words: &[Bytes]) -> Parsed {
    expiring(words, "pexpireat", 1, When::At)
}

fn expiring(words: &[Bytes], command: &str, milliseconds: i64, when: fn(i64) -> When) -> Parsed {
    let condition = expire_if(&words[3..])?;
    let number = int(at(words, 2)?)?;
    let number = number.checked_mul(milliseconds).ok_or_else(|| invalid_expire(command))?;
    key(words, KeyOp::Expire { when: when(number), condition })
}

fn expire_if(options: &[Bytes]) -> Result<ExpireIf, Refusal> {
    let has = |keyword| options.iter().any(|option| is(option, keyword));
    let (nx, xx, gt, lt) = (has("nx"), has("xx"), has("gt"), has("lt"));
    let known = |option: &&Bytes| ["nx", "xx", "gt", "lt"].iter().any(|keyword| is(option, keyword));
    if let Some(unknown) = options.iter().find(|option| !known(option)) {
        return Err(Refusal::new(format!("ERR Unsupported option {}", crate::refusal::quoted(unknown, 128))));
    }
    if nx && (xx || gt || lt) {
        return Err(Refusal::of("ERR NX and XX, GT or LT options at the same time are not compatible"));
    }
    if gt && lt {
        return Err(Refusal::of("ERR GT and LT options at the same time are not compatible"));
    }
    Ok(match (nx, xx, gt, lt) {
        (true, _, _, _) => ExpireIf::None,
        // No deadline is later than any, so what is later than the present one finds one.
        (_, _, true, _) => ExpireIf::Later,
        (_, true, _, true) => ExpireIf::SomeEarlier,
        (_, false, _, true) => ExpireIf::Earlier,
        (_, true, _, false) => ExpireIf::Some,
        (false, false, false, false) => ExpireIf::Always,
    })
}

/// `DUMP key`
pub fn dump(words: &[Bytes]) -> Parsed {
    key(words, KeyOp::Dump)
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
pub fn restore(words: &[Bytes]) -> Parsed {
    let (mut options, mut condition, mut instant) = (Options::from(words, 4), Existence::Absent, false);
    while let Some(option) = options.pull() {
        if is(option, "replace") {
            condition = Existence::Any;
        } else if is(option, "absttl") {
            instant = true;
        } else if is(option, "idletime") {
            if options.int()? < 0 {
                return Err(Refusal::of("ERR Invalid IDLETIME value, must be >= 0"));
            }
        } else if is(option, "freq") {
            if !(0..=255).contains(&options.int()?) {
                return Err(Refusal::of("ERR Invalid FREQ value, must be >= 0 and <= 255"));
            }
        } else {
            return Err(Refusal::SYNTAX);
        }
    }
    let expiry = match int(at(words, 2)?)? {
        0 => None,
        ttl if ttl < 0 => return Err(Refusal::of("ERR Invalid TTL value, must be >= 0")),
        ttl if instant => Some(When::At(ttl)),
        ttl => Some(When::In(ttl)),
    };
    key(words, KeyOp::Restore { payload: at(words, 3)?.clone(), expiry, condition })
}

fn of_third(words: &[Bytes], op: KeyOp) -> Parsed {
    Ok(Keyed::plain(at(words, 2)?, Op::Key(op)))
}

/// `OBJECT ENCODING key`
pub fn encoding(words: &[Bytes]) -> Parsed {
    of_third(words, KeyOp::Encoding)
}

/// `OBJECT REFCOUNT key`
pub fn refcount(words: &[Bytes]) -> Parsed {
    of_third(words, KeyOp::RefCount)
}

/// `OBJECT IDLETIME key`
pub fn idletime(words: &[Bytes]) -> Parsed {
    of_third(words, KeyOp::IdleTime)
}

/// `OBJECT FREQ key`
pub fn freq(words: &[Bytes]) -> Parsed {
    of_third(words, KeyOp::Frequency)
}

/// How many of the keys an operation was done on.
async fn counted(space: &Keyspace, keys: &[Bytes], op: KeyOp, command: &str) -> Answer {
    let mut sum = 0;
    let operations = keys.iter().map(|key| (key.clone(), Op::Key(op.clone()))).collect();
    for result in space.only(operations).await? {
        match result.map_err(|error| refused(error, command))? {
            Reply::Int(number) => sum += number,
            _ => return Err(wrong_reply()),
        }
    }
    Ok(Value::Int(sum))
}

/// `DEL key...`, `UNLINK`. A key that is named twice is removed once.
pub fn del<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let keys: std::collections::BTreeSet<&Bytes> = words[1..].iter().collect();
        let keys: Vec<Bytes> = keys.into_iter().cloned().collect();
        counted(space, &keys, KeyOp::Delete, "del").await
    })
}

/// `EXISTS key...`, `TOUCH`. A key that is named twice counts twice.
pub fn exists<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(counted(space, &words[1..], KeyOp::Exists, "exists"))
}

/// All of a key.
async fn whole(space: &Keyspace, key: &Bytes, command: &str) -> Result<Option<Whole>, Refusal> {
    match space.ask(key, Op::Key(KeyOp::Whole)).await?.map_err(|error| refused(error, command))? {
        Reply::Whole(whole) => Ok(Some(whole)),
        Reply::Nil => Ok(None),
        _ => Err(wrong_reply()),
    }
}

fn is_done(reply: Result<Reply, OpError>, command: &str) -> Result<bool, Refusal> {
    match reply.map_err(|error| refused(error, command))? {
        Reply::Int(number) => Ok(number == 1),
        _ => Err(wrong_reply()),
    }
}

/// Puts what `from` is to `to`, if that may be there. `None` if `from` is not.
async fn carry(
    space: &Keyspace,
    from: &Bytes,
    to: &Bytes,
    condition: Existence,
    command: &str,
) -> Result<Option<bool>, Refusal> {
    let Some(whole) = whole(space, from, command).await? else { return Ok(None) };
    if from == to {
        return Ok(Some(condition == Existence::Any));
    }
    let replace = Op::Key(KeyOp::Replace { whole: Some(whole), condition });
    is_done(space.ask(to, replace).await?, command).map(Some)
}

/// `RENAME key newkey`: the new one first, then away with the old. What fails in between leaves both.
pub fn rename<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let is_carried = renamed(space, words, Existence::Any, "rename").await?;
        Ok(if is_carried { Value::OK } else { wrong_reply().into() })
    })
}

/// `RENAMENX key newkey`
pub fn renamenx<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let is_carried = renamed(space, words, Existence::Absent, "renamenx").await?;
        Ok(Value::Int(i64::from(is_carried)))
    })
}

async fn renamed(space: &Keyspace, words: &[Bytes], condition: Existence, command: &str) -> Result<bool, Refusal> {
    let (from, to) = (at(words, 1)?, at(words, 2)?);
    let is_carried = carry(space, from, to, condition, command).await?.ok_or(Refusal::NO_SUCH_KEY)?;
    if is_carried && from != to {
        let deleted = space.ask(from, Op::Key(KeyOp::Delete)).await?;
        deleted.map_err(|error| refused(error, command))?;
    }
    Ok(is_carried)
}

/// `COPY source destination [DB index] [REPLACE]`
pub fn copy<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let (mut options, mut condition) = (Options::from(words, 3), Existence::Absent);
        while let Some(option) = options.pull() {
            if is(option, "replace") {
                condition = Existence::Any;
            } else if is(option, "db") {
                if options.int()? != space.table().index.map_or(0, i64::from) {
                    return Err(Refusal::of(
                        "ERR COPY to another database is not supported by Althing: tables are apart",
                    ));
                }
            } else {
                return Err(Refusal::SYNTAX);
            }
        }
        let (from, to) = (at(words, 1)?, at(words, 2)?);
        if from == to {
            return Err(Refusal::of("ERR source and destination objects are the same"));
        }
        let is_carried = carry(space, from, to, condition, "copy").await?;
        Ok(Value::Int(i64::from(is_carried == Some(true))))
    })
}

/// `MEMORY USAGE key [SAMPLES count]`: the bytes of the key and of its value, without what the engine adds.
pub fn memory_usage<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let mut options = Options::from(words, 3);
        while let Some(option) = options.pull() {
            if !is(option, "samples") || options.int()? < 0 {
                return Err(Refusal::SYNTAX);
            }
        }
        let key = at(words, 2)?;
        let found = whole(space, key, "memory|usage").await?;
        Ok(found.map_or(Value::Nil, |whole| Value::count(key.len() + bytes_of(&whole))))
    })
}

fn bytes_of(whole: &Whole) -> usize {
    use althing_datatypes::Content;
    match &whole.content {
        Content::String(data) => data.len(),
        Content::Hash(pairs) => pairs.iter().map(|(field, value)| field.len() + value.len()).sum(),
        Content::Set(members) => members.iter().map(Bytes::len).sum(),
        Content::Sorted(members) => members.iter().map(|(member, _)| member.len() + size_of::<f64>()).sum(),
        // A sketch has 2^14 registers of six bits once it is full.
        Content::Sketch(_) => 12 * 1024,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(line: &str) -> Result<ExpireIf, Refusal> {
        let words: Vec<Bytes> = line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        expire_if(&words)
    }

    #[test]
    fn conditions_on_a_deadline_combine_as_in_redis() {
        assert_eq!(condition(""), Ok(ExpireIf::Always));
        assert_eq!(condition("nx"), Ok(ExpireIf::None));
        assert_eq!(condition("XX"), Ok(ExpireIf::Some));
        assert_eq!(condition("gt xx"), Ok(ExpireIf::Later));
        assert_eq!(condition("lt"), Ok(ExpireIf::Earlier));
        assert_eq!(condition("lt xx"), Ok(ExpireIf::SomeEarlier));
        assert!(condition("nx gt").unwrap_err().text().starts_with("ERR NX and XX"));
        assert!(condition("gt lt").unwrap_err().text().starts_with("ERR GT and LT"));
        assert_eq!(condition("no").unwrap_err().text(), "ERR Unsupported option no");
    }
}
