use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;

use super::string::checked_len;
use super::{Key, Outcome, answer, bytes_or_nil, int, places, random, scan};
use crate::op::{
    LexBound, LexRange, Limit, Order, RangeBy, ScoreBound, ScoreIf, ScoreRange, ScoreWrite, SortedOp, WithValues,
    ZaddAnswer,
};
use crate::{Cut, Edit, Items, Kind, OpError, Reply, View};

pub fn execute(op: SortedOp, key: &Key<'_, impl View>) -> Outcome {
    let view = key.of(Kind::Sorted)?;
    let score = |member: &Bytes| view.and_then(|view| view.sorted_score(member));
    let len = view.map_or(0, View::sorted_len);
    let all = || slice(view, 0..len, Order::Ascending);
    match op {
        SortedOp::Add { members, write, answer } => add(score, members, write, answer),
        SortedOp::Increment { member, by, write } => increment(score(&member), member, by, write),
        SortedOp::Remove(members) => {
            let there: BTreeSet<Bytes> = members.into_iter().filter(|member| score(member).is_some()).collect();
            Ok((int(there.len() as u64), removal(key, there.into_iter(), len)))
        }
        SortedOp::Len => answer(int(len)),
        SortedOp::Score(member) => answer(score(&member).map_or(Reply::Nil, Reply::Float)),
        SortedOp::Scores(members) => answer(Reply::Floats(members.iter().map(score).collect())),
        SortedOp::Rank { member, order } => {
            let rank = view.and_then(|view| view.sorted_rank(&member));
            answer(rank.map_or(Reply::Nil, |rank| match order {
                Order::Ascending => int(rank),
                Order::Descending => int(len - 1 - rank),
            }))
        }
        SortedOp::Count(range) => answer(int(size(&by_score(view, &range)?))),
        SortedOp::CountLex(range) => answer(int(size(&by_lex(view, &range)))),
        SortedOp::Range { by, order, limit, with } => {
            let ranks = limited(ranks(view, &by, order)?, order, limit);
            answer(shown(slice(view, ranks, order), with))
        }
        SortedOp::RemoveRange(by) => {
            let ranks = ranks(view, &by, Order::Ascending)?;
            let count = size(&ranks);
            Ok((int(count), removal(key, slice(view, ranks, Order::Ascending).map(|(member, _)| member), len)))
        }
        SortedOp::Pop { order, count } => {
            let count = count.min(len);
            let ranks = match order {
                Order::Ascending => 0..count,
                Order::Descending => len - count..len,
            };
            let popped: Vec<(Bytes, f64)> = slice(view, ranks, order).collect();
            let edits = removal(key, popped.iter().map(|(member, _)| member.clone()), len);
            Ok((Reply::Scored(popped), edits))
        }
        SortedOp::Random { count: None, .. } => {
            let place = random::one(key.rng(), len).map(|place| place as u64);
            let chosen = place.and_then(|place| slice(view, place..place + 1, Order::Ascending).next());
            answer(bytes_or_nil(chosen.map(|(member, _)| member)))
        }
        SortedOp::Random { count: Some(count), with } => {
            let chosen = random::some(key.rng(), all(), count, |(member, _)| member.len() + size_of::<f64>())?;
            answer(shown(chosen.into_iter(), with))
        }
        SortedOp::Scan(scan) => {
            let (cursor, found) = scan::step(&scan, len, all(), |(member, _)| member);
            answer(Reply::Page { cursor, items: Items::Scored(found) })
        }
    }
}

fn slice<V: View>(view: Option<&V>, ranks: Range<u64>, order: Order) -> impl Iterator<Item = (Bytes, f64)> {
    view.into_iter().flat_map(move |view| view.sorted_slice(ranks.clone(), order))
}

fn shown(members: impl Iterator<Item = (Bytes, f64)>, with: WithValues) -> Reply {
    match with {
        WithValues::No => Reply::List(members.map(|(member, _)| member).collect()),
        WithValues::Yes => Reply::Scored(members.collect()),
    }
}

fn removal(key: &Key<'_, impl View>, members: impl Iterator<Item = Bytes>, len: u64) -> Vec<Edit> {
    let mut edits: Vec<Edit> = members.map(Edit::ScoreRemove).collect();
    if !edits.is_empty() {
        edits.extend(key.after_removal(edits.len() as u64, len));
    }
    edits
}

/// Whether a member that has this score, or is not there, gets the new one.
fn is_written(write: ScoreWrite, old: Option<f64>, new: f64) -> bool {
    let Some(old) = old else { return write.existence.is_met(false) };
    let is_better = match write.score {
        ScoreIf::Any => true,
        ScoreIf::Greater => new > old,
        ScoreIf::Less => new < old,
    };
    write.existence.is_met(true) && is_better
}

fn add(
    score: impl Fn(&Bytes) -> Option<f64>,
    members: Vec<(f64, Bytes)>,
    write: ScoreWrite,
    answer: ZaddAnswer,
) -> Outcome {
    for (score, member) in &members {
        checked_len(member.len() as u64)?;
        if score.is_nan() {
            return Err(OpError::NanSent);
        }
    }
    // What this command has written is there for the members that come later in it.
    let mut written: BTreeMap<Bytes, f64> = BTreeMap::new();
    let (mut added, mut changed) = (0, 0);
    for (new, member) in members {
        let old = written.get(&member).copied().or_else(|| score(&member));
        if !is_written(write, old, new) {
            continue;
        }
        match old {
            None => added += 1,
            Some(old) if old == new => continue,
            Some(_) => changed += 1,
        }
        written.insert(member, new);
    }
    let count = match answer {
        ZaddAnswer::Added => added,
        ZaddAnswer::Changed => added + changed,
    };
    Ok((int(count), written.into_iter().map(|(member, score)| Edit::ScorePut { member, score }).collect()))
}

fn increment(old: Option<f64>, member: Bytes, by: f64, write: ScoreWrite) -> Outcome {
    checked_len(member.len() as u64)?;
    if by.is_nan() {
        return Err(OpError::NanSent);
    }
    let new = old.unwrap_or_default() + by;
    if write.existence.is_met(old.is_some()) && new.is_nan() {
        return Err(OpError::ScoreNotANumber);
    }
    if !is_written(write, old, new) {
        return answer(Reply::Nil);
    }
    Ok((Reply::Float(new), vec![Edit::ScoreAdd { member, by }]))
}

fn size(ranks: &Range<u64>) -> u64 {
    ranks.end.saturating_sub(ranks.start)
}

/// The places of what a range names, counted from the least.
fn ranks(view: Option<&impl View>, by: &RangeBy, order: Order) -> Result<Range<u64>, OpError> {
    match by {
        RangeBy::Index { start, stop } => {
            let len = view.map_or(0, View::sorted_len);
            let places = places(*start, *stop, len);
            Ok(match order {
                Order::Ascending => places,
                Order::Descending => len - places.end..len - places.start,
            })
        }
        RangeBy::Score(range) => by_score(view, range),
        RangeBy::Lex(range) => Ok(by_lex(view, range)),
    }
}

fn by_score(view: Option<&impl View>, range: &ScoreRange) -> Result<Range<u64>, OpError> {
    let (ScoreBound::Inclusive(least) | ScoreBound::Exclusive(least)) = range.min;
    let (ScoreBound::Inclusive(greatest) | ScoreBound::Exclusive(greatest)) = range.max;
    if least.is_nan() || greatest.is_nan() {
        return Err(OpError::NanSent);
    }
    let Some(view) = view else { return Ok(0..0) };
    let start = match range.min {
        ScoreBound::Inclusive(score) => view.sorted_below(Cut::BeforeScore(score)),
        ScoreBound::Exclusive(score) => view.sorted_below(Cut::AfterScore(score)),
    };
    let end = match range.max {
        ScoreBound::Inclusive(score) => view.sorted_below(Cut::AfterScore(score)),
        ScoreBound::Exclusive(score) => view.sorted_below(Cut::BeforeScore(score)),
    };
    Ok(start..end.max(start))
}

fn by_lex(view: Option<&impl View>, range: &LexRange) -> Range<u64> {
    let Some(view) = view else { return 0..0 };
    let start = match &range.min {
        LexBound::Least => 0,
        LexBound::Inclusive(member) => view.sorted_below(Cut::BeforeMember(member)),
        LexBound::Exclusive(member) => view.sorted_below(Cut::AfterMember(member)),
        LexBound::Greatest => view.sorted_len(),
    };
    let end = match &range.max {
        LexBound::Least => 0,
        LexBound::Inclusive(member) => view.sorted_below(Cut::AfterMember(member)),
        LexBound::Exclusive(member) => view.sorted_below(Cut::BeforeMember(member)),
        LexBound::Greatest => view.sorted_len(),
    };
    start..end.max(start)
}

/// LIMIT counts from where the answer begins.
fn limited(ranks: Range<u64>, order: Order, limit: Option<Limit>) -> Range<u64> {
    let Some(limit) = limit else { return ranks };
    let Ok(offset) = u64::try_from(limit.offset) else { return 0..0 };
    let left = size(&ranks).saturating_sub(offset);
    let count = u64::try_from(limit.count).map_or(left, |count| count.min(left));
    match order {
        Order::Ascending => {
            let start = ranks.end - left;
            start..start + count
        }
        Order::Descending => {
            let end = ranks.start + left;
            end - count..end
        }
    }
}
