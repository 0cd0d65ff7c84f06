//! Sorted sets: what is asked of one. [`range`] reads the bounds of ranges, [`algebra`] is what is made of several, [`pops`]
//! take from the first of several.

pub mod algebra;
pub mod pops;
pub mod range;

use althing_datatypes::Op;
use althing_datatypes::op::{Existence, Order, ScoreIf, ScoreWrite, SortedOp, ZaddAnswer};
use bytes::Bytes;

use crate::refusal::Refusal;
use crate::run::hashes::random;
use crate::run::scan::page;
use crate::run::words::{Options, at, float, positive};
use crate::run::{Keyed, one_scored};

type Parsed = Result<Keyed, Refusal>;

pub(crate) fn sorted(words: &[Bytes], op: SortedOp) -> Parsed {
    Ok(Keyed::plain(at(words, 1)?, Op::Sorted(op)))
}

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member ...`
pub fn zadd(words: &[Bytes]) -> Parsed {
    let mut options = Options::from(words, 2);
    let (mut nx, mut xx, mut gt, mut lt, mut changed, mut increment) = (0, 0, 0, 0, 0, 0);
    loop {
        let flags = [
            ("nx", &mut nx),
            ("xx", &mut xx),
            ("gt", &mut gt),
            ("lt", &mut lt),
            ("ch", &mut changed),
            ("incr", &mut increment),
        ];
        let mut found = false;
        for (keyword, flag) in flags {
            if options.take(keyword) {
                (*flag, found) = (1, true);
            }
        }
        if !found {
            break;
        }
    }
    let pairs = options.rest();
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(Refusal::SYNTAX);
    }
    if nx + xx > 1 {
        return Err(Refusal::of("ERR XX and NX options at the same time are not compatible"));
    }
    if gt + lt + nx > 1 {
        return Err(Refusal::of("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    if increment == 1 && pairs.len() > 2 {
        return Err(Refusal::of("ERR INCR option supports a single increment-element pair"));
    }
    let existence = match (nx, xx) {
        (1, _) => Existence::Absent,
        (_, 1) => Existence::Present,
        _ => Existence::Any,
    };
    let score = match (gt, lt) {
        (1, _) => ScoreIf::Greater,
        (_, 1) => ScoreIf::Less,
        _ => ScoreIf::Any,
    };
    let write = ScoreWrite { existence, score };
    let scores = pairs.chunks_exact(2).map(|pair| Ok((float(&pair[0])?, pair[1].clone())));
    let mut members: Vec<(f64, Bytes)> = scores.collect::<Result<_, Refusal>>()?;
    if increment == 1
        && let Some((by, member)) = members.pop()
    {
        return sorted(words, SortedOp::Increment { member, by, write });
    }
    let answer = if changed == 1 { ZaddAnswer::Changed } else { ZaddAnswer::Added };
    sorted(words, SortedOp::Add { members, write, answer })
}

/// `ZINCRBY key by member`
pub fn zincrby(words: &[Bytes]) -> Parsed {
    let (by, member) = (float(at(words, 2)?)?, at(words, 3)?.clone());
    sorted(words, SortedOp::Increment { member, by, write: ScoreWrite::ALWAYS })
}

/// `ZREM key member...`
pub fn zrem(words: &[Bytes]) -> Parsed {
    sorted(words, SortedOp::Remove(words[2..].to_vec()))
}

/// `ZCARD key`
pub fn zcard(words: &[Bytes]) -> Parsed {
    sorted(words, SortedOp::Len)
}

/// `ZSCORE key member`
pub fn zscore(words: &[Bytes]) -> Parsed {
    sorted(words, SortedOp::Score(at(words, 2)?.clone()))
}

/// `ZMSCORE key member...`
pub fn zmscore(words: &[Bytes]) -> Parsed {
    sorted(words, SortedOp::Scores(words[2..].to_vec()))
}

/// `ZRANK key member`
pub fn zrank(words: &[Bytes]) -> Parsed {
    sorted(words, SortedOp::Rank { member: at(words, 2)?.clone(), order: Order::Ascending })
}

/// `ZREVRANK key member`
pub fn zrevrank(words: &[Bytes]) -> Parsed {
    sorted(words, SortedOp::Rank { member: at(words, 2)?.clone(), order: Order::Descending })
}

/// `ZPOPMIN key [count]`
pub fn zpopmin(words: &[Bytes]) -> Parsed {
    pop(words, Order::Ascending)
}

/// `ZPOPMAX key [count]`
pub fn zpopmax(words: &[Bytes]) -> Parsed {
    pop(words, Order::Descending)
}

fn pop(words: &[Bytes], order: Order) -> Parsed {
    match words.get(2..).unwrap_or_default() {
        [] => Ok(Keyed::new(at(words, 1)?, Op::Sorted(SortedOp::Pop { order, count: 1 }), one_scored)),
        [count] => {
            let count = positive(count)?;
            sorted(words, SortedOp::Pop { order, count })
        }
        [_, _, ..] => Err(Refusal::SYNTAX),
    }
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`
pub fn zrandmember(words: &[Bytes]) -> Parsed {
    let (count, with) = random(words, "withscores")?;
    sorted(words, SortedOp::Random { count, with })
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`
pub fn zscan(words: &[Bytes]) -> Parsed {
    sorted(words, SortedOp::Scan(page(words)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Parsed {
        zadd(&line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect::<Vec<_>>())
    }

    #[test]
    fn options_of_zadd_that_contradict_each_other_are_told() {
        for (line, text) in [
            ("zadd k nx xx 1 a", "ERR XX and NX options at the same time are not compatible"),
            ("zadd k gt lt 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
            ("zadd k nx gt 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
            ("zadd k incr 1 a 2 b", "ERR INCR option supports a single increment-element pair"),
            ("zadd k 1", "ERR syntax error"),
            ("zadd k nx ch", "ERR syntax error"),
            ("zadd k nan a", "ERR value is not a valid float"),
            ("zadd k 1 a x b", "ERR value is not a valid float"),
        ] {
            assert_eq!(parse(line).unwrap_err().text(), text, "{line}");
        }
    }

    #[test]
    fn zadd_with_incr_is_an_increment() {
        let op = parse("zadd k XX incr 2 a").unwrap().op;
        let write = ScoreWrite { existence: Existence::Present, score: ScoreIf::Any };
        assert_eq!(op, Op::Sorted(SortedOp::Increment { member: Bytes::from_static(b"a"), by: 2.0, write }));
    }
}
