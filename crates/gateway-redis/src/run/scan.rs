//! `SCAN` and its kin: over the keys of a table, shard by shard, and over the elements of one key.

use althing_datatypes::op::Scan;
use bytes::Bytes;

use crate::command::Answering;
use crate::keyspace::{Keyspace, Position};
use crate::refusal::Refusal;
use crate::run::words::{Options, at, is};
use crate::wire::Value;

/// How many elements a step looks at if it is not said.
const DEFAULT_COUNT: u64 = 10;
/// How many it looks at, at the most.
const MAX_COUNT: u64 = 10_000;
/// No place where a scan could go on.
const INVALID_CURSOR: Refusal = Refusal::of("ERR invalid cursor");
/// A cursor that this node has not given, or that it has given so long ago that it has forgotten it.
const FORGOTTEN_CURSOR: Refusal =
    Refusal::of("ERR invalid cursor: it was given by another node or too long ago; begin again with 0");

fn cursor(word: &[u8]) -> Result<u64, Refusal> {
    // Redis takes more forms; a cursor that it has given has only digits.
    std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).ok_or(INVALID_CURSOR)
}

fn count(number: i64) -> Result<u64, Refusal> {
    u64::try_from(number).ok().filter(|&number| number > 0).map(|number| number.min(MAX_COUNT)).ok_or(Refusal::SYNTAX)
}

/// The step of a scan of one key: `command key cursor [MATCH pattern] [COUNT count]`.
///
/// # Errors
/// No cursor, or other options.
pub fn page(words: &[Bytes]) -> Result<Scan, Refusal> {
    let (mut options, mut scan) =
        (Options::from(words, 3), Scan { cursor: cursor(at(words, 2)?)?, pattern: None, count: DEFAULT_COUNT });
    while let Some(option) = options.pull() {
        match option {
            option if is(option, "match") => scan.pattern = Some(options.value()?.clone()),
            option if is(option, "count") => scan.count = count(options.int()?)?,
            _ => return Err(Refusal::SYNTAX),
        }
    }
    Ok(scan)
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub fn scan<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let mut options = Options::from(words, 2);
        let (mut pattern, mut kind, mut wanted) = (None, None, DEFAULT_COUNT);
        let from = cursor(at(words, 1)?)?;
        while let Some(option) = options.pull() {
            match option {
                option if is(option, "match") => pattern = Some(options.value()?.clone()),
                option if is(option, "type") => kind = Some(Bytes::from(options.value()?.to_ascii_lowercase())),
                option if is(option, "count") => wanted = count(options.int()?)?,
                _ => return Err(Refusal::SYNTAX),
            }
        }
        let position =
            if from == 0 { Position::default() } else { space.cursors().get(from).ok_or(FORGOTTEN_CURSOR)? };
        let (keys, next) = space.scan(position, wanted, pattern, kind).await?;
        let cursor = next.map_or(0, |next| space.cursors().put(next));
        Ok(Value::Array(vec![Value::text(cursor.to_string()), Value::bulks(keys)]))
    })
}

/// `KEYS pattern`
pub fn keys<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let pattern = at(words, 1)?;
        // Everything fits a lone star, which need not be tried on each key.
        let pattern = (pattern.as_ref() != b"*").then(|| pattern.clone());
        let (mut position, mut all, mut bytes) = (Some(Position::default()), Vec::new(), 0);
        while let Some(from) = position {
            let (keys, next) = space.scan(from, MAX_COUNT, pattern.clone(), None).await?;
            bytes += keys.iter().map(|key| key.len() + size_of::<Bytes>()).sum::<usize>();
            if bytes > MAX_KEYS_BYTES {
                return Err(TOO_MANY_KEYS);
            }
            all.extend(keys);
            position = next;
        }
        Ok(Value::bulks(all))
    })
}

/// Bytes of keys that `KEYS` gathers: an answer stands in memory before it is sent.
const MAX_KEYS_BYTES: usize = 256 * 1024 * 1024;
/// Too many keys for one answer.
const TOO_MANY_KEYS: Refusal = Refusal::of("ERR the table has more keys than one answer may hold: use SCAN");

/// `RANDOMKEY`: a key somewhere in a shard that is drawn; shards of many keys are not drawn more often.
pub fn randomkey<'a>(space: &'a Keyspace, _: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move { Ok(space.random_key().await?.map_or(Value::Nil, Value::Bulk)) })
}

/// `DBSIZE`
pub fn dbsize<'a>(space: &'a Keyspace, _: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move { Ok(Value::Int(i64::try_from(space.size().await?).unwrap_or(i64::MAX))) })
}

/// `FLUSHALL [ASYNC | SYNC]`, `FLUSHDB`: empties the table that the connection stands in.
pub fn flush<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        match words.get(1..).unwrap_or_default() {
            [] => {}
            [how] if is(how, "async") || is(how, "sync") => {}
            [_, ..] => return Err(Refusal::SYNTAX),
        }
        space.flush().await?;
        Ok(Value::OK)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn a_step_of_a_scan_says_where_how_many_and_which() {
        let scan = page(&words("hscan k 7 match a* count 3")).unwrap();
        assert_eq!(scan, Scan { cursor: 7, pattern: Some(Bytes::from_static(b"a*")), count: 3 });
        assert_eq!(page(&words("hscan k x")).unwrap_err(), INVALID_CURSOR);
        assert_eq!(page(&words("hscan k 0 count 0")).unwrap_err(), Refusal::SYNTAX);
        assert_eq!(page(&words("hscan k 0 match")).unwrap_err(), Refusal::SYNTAX);
    }
}
