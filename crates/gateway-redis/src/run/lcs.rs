//! `LCS`: the longest common subsequence of two strings, by the table of Wagner and Fischer (*The string-to-string
//! correction problem*, 1974).

use althing_datatypes::op::StringOp;
use althing_datatypes::{Op, Reply};
use bytes::Bytes;

use crate::command::Answering;
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::words::{Options, is};
use crate::run::wrong_reply;
use crate::wire::Value;

/// Cells of the table, of four bytes each. Two strings of four KiB fill it, and a client's patience.
const MAX_CELLS: usize = 16 * 1024 * 1024;

/// What is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Sequence,
    Length,
    Ranges,
}

/// A stretch that both strings have: where it begins in each, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Match {
    first: usize,
    second: usize,
    length: usize,
}

/// The subsequence and the stretches that it is made of, the last first.
struct Common {
    sequence: Vec<u8>,
    matches: Vec<Match>,
}

fn common(a: &[u8], b: &[u8]) -> Common {
    let width = b.len() + 1;
    let mut table = vec![0u32; (a.len() + 1) * width];
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            table[i * width + j] = if a[i - 1] == b[j - 1] {
                table[(i - 1) * width + j - 1] + 1
            } else {
                table[(i - 1) * width + j].max(table[i * width + j - 1])
            };
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut found = Common { sequence: Vec::new(), matches: Vec::<Match>::new() };
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            found.sequence.push(a[i]);
            match found.matches.last_mut() {
                Some(last) if last.first == i + 1 && last.second == j + 1 => {
                    *last = Match { first: i, second: j, length: last.length + 1 };
                }
                Some(_) | None => found.matches.push(Match { first: i, second: j, length: 1 }),
            }
        } else if table[(i - 1) * width + j] > table[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    found.sequence.reverse();
    found
}

/// `LCS key key [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]`
pub fn lcs<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let (mut options, mut with_length, mut min_length, mut has_length) = (Options::from(words, 3), false, 0, false);
        let mut form = Form::Sequence;
        while let Some(option) = options.pull() {
            if is(option, "idx") {
                form = Form::Ranges;
            } else if is(option, "len") {
                has_length = true;
            } else if is(option, "withmatchlen") {
                with_length = true;
            } else if is(option, "minmatchlen") {
                // A negative length is met by all.
                min_length = usize::try_from(options.int()?).unwrap_or(0);
            } else {
                return Err(Refusal::SYNTAX);
            }
        }
        if has_length && form == Form::Ranges {
            return Err(Refusal::of("ERR If you want both the length and indexes, please just use IDX."));
        }
        let form = if has_length { Form::Length } else { form };
        let [a, b] = strings(space, words).await?;
        if (a.len() + 1).saturating_mul(b.len() + 1) > MAX_CELLS {
            return Err(Refusal::of("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
        }
        let found = common(&a, &b);
        Ok(match form {
            Form::Sequence => Value::Bulk(Bytes::from(found.sequence)),
            Form::Length => Value::count(found.sequence.len()),
            Form::Ranges => ranges(&found, min_length, with_length),
        })
    })
}

async fn strings(space: &Keyspace, words: &[Bytes]) -> Result<[Bytes; 2], Refusal> {
    let found = space.each_of(&words[1..3], Op::String(StringOp::Get)).await?;
    let string = |result| match result {
        Ok(Reply::Bytes(data)) => Ok(data),
        Ok(Reply::Nil) => Ok(Bytes::new()),
        Ok(_) => Err(wrong_reply()),
        Err(_) => Err(Refusal::of("ERR The specified keys must contain string values")),
    };
    let strings: Vec<Bytes> = found.into_iter().map(string).collect::<Result<_, _>>()?;
    strings.try_into().map_err(|_| wrong_reply())
}

fn ranges(found: &Common, min_length: usize, with_length: bool) -> Value {
    let range = |start: usize, length: usize| Value::Array(vec![Value::count(start), Value::count(start + length - 1)]);
    let matches = found.matches.iter().filter(|found| found.length >= min_length).map(|found| {
        let mut parts = vec![range(found.first, found.length), range(found.second, found.length)];
        if with_length {
            parts.push(Value::count(found.length));
        }
        Value::Array(parts)
    });
    Value::Map(vec![
        (Value::word("matches"), Value::Array(matches.collect())),
        (Value::word("len"), Value::count(found.sequence.len())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_common_subsequence_is_found_with_its_stretches() {
        let found = common(b"ohmytext", b"mynewtext");
        assert_eq!(found.sequence, b"mytext");
        let expected = [Match { first: 4, second: 5, length: 4 }, Match { first: 2, second: 0, length: 2 }];
        assert_eq!(found.matches, expected);
        assert!(common(b"", b"a").sequence.is_empty());
    }
}
