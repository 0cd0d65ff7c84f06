//! Strings and counters.

use althing_datatypes::op::{Existence, GetExpiry, SetAnswer, SetExpiry, StringOp, When};
use althing_datatypes::{Op, Reply};
use bytes::Bytes;

use crate::command::Answering;
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::words::{Options, at, float, int, is};
use crate::run::{Keyed, done, invalid_expire, wrong_reply};
use crate::tables::TableKind;
use crate::wire::Value;

type Parsed = Result<Keyed, Refusal>;

fn string(words: &[Bytes], op: StringOp) -> Parsed {
    Ok(Keyed::plain(at(words, 1)?, Op::String(op)))
}

/// `GET key`
pub fn get(words: &[Bytes]) -> Parsed {
    string(words, StringOp::Get)
}

/// `GETDEL key`
pub fn getdel(words: &[Bytes]) -> Parsed {
    string(words, StringOp::GetDelete)
}

/// `STRLEN key`
pub fn strlen(words: &[Bytes]) -> Parsed {
    string(words, StringOp::Length)
}

/// `APPEND key value`
pub fn append(words: &[Bytes]) -> Parsed {
    string(words, StringOp::Append(at(words, 2)?.clone()))
}

/// `GETRANGE key start end`, `SUBSTR`
pub fn getrange(words: &[Bytes]) -> Parsed {
    string(words, StringOp::GetRange { start: int(at(words, 2)?)?, end: int(at(words, 3)?)? })
}

/// `SETRANGE key offset value`
pub fn setrange(words: &[Bytes]) -> Parsed {
    let offset = u64::try_from(int(at(words, 2)?)?).map_err(|_| Refusal::of("ERR offset is out of range"))?;
    string(words, StringOp::SetRange { offset, value: at(words, 3)?.clone() })
}

/// `INCR key`
pub fn incr(words: &[Bytes]) -> Parsed {
    string(words, StringOp::Increment(1))
}

/// `DECR key`
pub fn decr(words: &[Bytes]) -> Parsed {
    string(words, StringOp::Increment(-1))
}

/// `INCRBY key by`
pub fn incrby(words: &[Bytes]) -> Parsed {
    string(words, StringOp::Increment(int(at(words, 2)?)?))
}

/// `DECRBY key by`
pub fn decrby(words: &[Bytes]) -> Parsed {
    let by = int(at(words, 2)?)?.checked_neg().ok_or(Refusal::of("ERR decrement would overflow"))?;
    string(words, StringOp::Increment(by))
}

/// `INCRBYFLOAT key by`
pub fn incrbyfloat(words: &[Bytes]) -> Parsed {
    string(words, StringOp::IncrementFloat(float(at(words, 2)?)?))
}

/// A string that is set whatever was there.
fn put(value: &Bytes) -> StringOp {
    StringOp::Set { value: value.clone(), expiry: SetExpiry::Clear, condition: Existence::Any, answer: SetAnswer::Done }
}

/// `SETNX key value`
pub fn setnx(words: &[Bytes]) -> Parsed {
    let StringOp::Set { value, expiry, answer, .. } = put(at(words, 2)?) else { return Err(wrong_reply()) };
    let op = StringOp::Set { value, expiry, answer, condition: Existence::Absent };
    Ok(Keyed::new(at(words, 1)?, Op::String(op), done))
}

/// `GETSET key value`
pub fn getset(words: &[Bytes]) -> Parsed {
    let (value, answer) = (at(words, 2)?.clone(), SetAnswer::Old);
    string(words, StringOp::Set { value, expiry: SetExpiry::Clear, condition: Existence::Any, answer })
}

/// `SETEX key seconds value`
pub fn setex(words: &[Bytes]) -> Parsed {
    expiring(words, "setex", Unit::Seconds)
}

/// `PSETEX key milliseconds value`
pub fn psetex(words: &[Bytes]) -> Parsed {
    expiring(words, "psetex", Unit::Milliseconds)
}

fn expiring(words: &[Bytes], command: &str, unit: Unit) -> Parsed {
    let expiry = SetExpiry::Set(unit.span(int(at(words, 2)?)?, command)?);
    let value = at(words, 3)?.clone();
    string(words, StringOp::Set { value, expiry, condition: Existence::Any, answer: SetAnswer::Done })
}

/// What a deadline is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// As EX and EXAT.
    Seconds,
    /// As PX and PXAT.
    Milliseconds,
}

impl Unit {
    fn milliseconds(self, number: i64) -> Option<i64> {
        match self {
            Self::Seconds => number.checked_mul(1000),
            Self::Milliseconds => Some(number),
        }
    }

    /// A span that is not over at once.
    fn span(self, number: i64, command: &str) -> Result<When, Refusal> {
        let milliseconds = self.milliseconds(number).filter(|&milliseconds| milliseconds > 0);
        milliseconds.map(When::In).ok_or_else(|| invalid_expire(command))
    }

    /// An instant after 1970.
    fn instant(self, number: i64, command: &str) -> Result<When, Refusal> {
        let milliseconds = self.milliseconds(number).filter(|&milliseconds| milliseconds > 0);
        milliseconds.map(When::At).ok_or_else(|| invalid_expire(command))
    }
}

/// The deadline that an option of SET or GETEX gives, if it is one of those.
fn deadline(option: &[u8], options: &mut Options<'_>, command: &str) -> Result<Option<When>, Refusal> {
    let (unit, is_instant) = match option.to_ascii_lowercase().as_slice() {
        b"ex" => (Unit::Seconds, false),
        b"px" => (Unit::Milliseconds, false),
        b"exat" => (Unit::Seconds, true),
        b"pxat" => (Unit::Milliseconds, true),
        _ => return Ok(None),
    };
    let number = options.int()?;
    let when = if is_instant { unit.instant(number, command) } else { unit.span(number, command) };
    when.map(Some)
}

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
pub fn set(words: &[Bytes]) -> Parsed {
    let (mut expiry, mut condition, mut answer) = (None, Existence::Any, SetAnswer::Done);
    let mut options = Options::from(words, 3);
    while let Some(option) = options.pull() {
        if is(option, "get") {
            answer = SetAnswer::Old;
        } else if is(option, "nx") && condition != Existence::Present {
            condition = Existence::Absent;
        } else if is(option, "xx") && condition != Existence::Absent {
            condition = Existence::Present;
        } else if expiry.is_some() {
            return Err(Refusal::SYNTAX);
        } else if is(option, "keepttl") {
            expiry = Some(SetExpiry::Keep);
        } else {
            let when = deadline(option, &mut options, "set")?.ok_or(Refusal::SYNTAX)?;
            expiry = Some(SetExpiry::Set(when));
        }
    }
    let (value, expiry) = (at(words, 2)?.clone(), expiry.unwrap_or(SetExpiry::Clear));
    string(words, StringOp::Set { value, expiry, condition, answer })
}

/// `GETEX key [PERSIST | EX s | PX ms | EXAT s | PXAT ms]`
pub fn getex(words: &[Bytes]) -> Parsed {
    let mut options = Options::from(words, 2);
    let expiry = match options.pull() {
        None => GetExpiry::Keep,
        Some(option) if is(option, "persist") => GetExpiry::Persist,
        Some(option) => GetExpiry::Set(deadline(option, &mut options, "getex")?.ok_or(Refusal::SYNTAX)?),
    };
    options.end()?;
    string(words, StringOp::GetExpire(expiry))
}

/// `MGET key...`: what is not a string is nothing.
pub fn mget<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let found = space.only(words[1..].iter().map(|key| (key.clone(), Op::String(StringOp::Get))).collect()).await?;
        let value = |result| match result {
            Ok(Reply::Bytes(data)) => Ok(Value::Bulk(data)),
            Ok(Reply::Nil) | Err(althing_datatypes::OpError::WrongType) => Ok(Value::Nil),
            Ok(_) => Err(wrong_reply()),
            Err(error) => Err(crate::run::refused(error, "mget")),
        };
        found.into_iter().map(value).collect::<Result<_, _>>().map(Value::Array)
    })
}

/// The keys and values of MSET; the last value of a key counts.
fn assignments(words: &[Bytes]) -> Result<Vec<(Bytes, Bytes)>, Refusal> {
    let pairs = &words[1..];
    if !pairs.len().is_multiple_of(2) {
        return Err(Refusal::arity(if is(&words[0], "msetnx") { "msetnx" } else { "mset" }));
    }
    let last = pairs.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    Ok(last.collect::<std::collections::BTreeMap<_, _>>().into_iter().collect())
}

fn writes(pairs: Vec<(Bytes, Bytes)>) -> Vec<(Bytes, Op)> {
    pairs.into_iter().map(|(key, value)| (key, Op::String(put(&value)))).collect()
}

/// `MSET key value ...`
pub fn mset<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        for result in space.each(writes(assignments(words)?)).await? {
            result.map_err(|error| crate::run::refused(error, "mset"))?;
        }
        Ok(Value::OK)
    })
}

/// `MSETNX key value ...`: looks whether any is there, then writes. On convergent tables nothing would hold the keys in between.
pub fn msetnx<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        if space.table().kind == TableKind::Convergent {
            return Err(Refusal::of("ERR MSETNX needs agreement on several keys at once: use a strong table"));
        }
        let pairs = assignments(words)?;
        let keys: Vec<Bytes> = pairs.iter().map(|(key, _)| key.clone()).collect();
        if space.count_existing(&keys).await? > 0 {
            return Ok(Value::Int(0));
        }
        for result in space.each(writes(pairs)).await? {
            result.map_err(|error| crate::run::refused(error, "msetnx"))?;
        }
        Ok(Value::Int(1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Parsed {
        let words: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        match words[0].as_ref() {
            b"set" => set(&words),
            b"getex" => getex(&words),
            b"setex" => setex(&words),
            _ => decrby(&words),
        }
    }

    #[test]
    fn options_of_set_that_contradict_each_other_are_a_syntax_error() {
        for line in [
            "set k v nx xx",
            "set k v ex 1 px 1",
            "set k v ex 1 keepttl",
            "set k v no",
            "set k v ex",
            "getex k ex 1 px",
        ] {
            assert_eq!(parse(line).unwrap_err(), Refusal::SYNTAX, "{line}");
        }
    }

    #[test]
    fn a_deadline_that_cannot_be_is_refused_by_the_commands_name() {
        for line in ["set k v ex 0", "set k v px -1", "set k v exat 9223372036854775807"] {
            assert_eq!(parse(line).unwrap_err().text(), "ERR invalid expire time in 'set' command", "{line}");
        }
        assert_eq!(parse("setex k 0 v").unwrap_err().text(), "ERR invalid expire time in 'setex' command");
    }

    #[test]
    fn the_least_number_cannot_be_subtracted() {
        assert_eq!(parse("decrby k -9223372036854775808").unwrap_err().text(), "ERR decrement would overflow");
    }
}
