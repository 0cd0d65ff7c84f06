//! What an operation answers, and what it changes.
//!
//! One file for each type. Every operation is a function of what is seen, so each ends in one of three ways: an answer alone, an
//! answer with edits, or an error and nothing else.

use std::ops::Range;

use bytes::Bytes;

use crate::{Edit, Kind, Op, OpError, Reply, View};

mod bits;
mod field;
mod hash;
mod keys;
mod random;
mod scan;
mod set;
mod sketch;
mod sorted;
mod string;

/// An answer, and the edits that make it true.
pub type Outcome = Result<(Reply, Vec<Edit>), OpError>;

/// Executes an operation on what is seen of its key: what Redis 7.0 would answer, and what is to change for that. Nothing is
/// changed by this itself. A key whose deadline has come is not there.
///
/// `now_ms` is the time in milliseconds since 1970; `rng_seed` decides what is random, and nothing else does.
///
/// # Errors
/// [`OpError`]; nothing is to be changed then.
pub fn execute(op: Op, view: &impl View, now_ms: i64, rng_seed: u64) -> Outcome {
    let key = Key::new(view, now_ms, rng_seed);
    let (reply, mut edits) = match op {
        Op::Key(op) => keys::execute(op, &key),
        Op::String(op) => string::execute(op, &key),
        Op::Bits(op) => bits::execute(op, &key),
        Op::Hash(op) => hash::execute(op, &key),
        Op::Set(op) => set::execute(op, &key),
        Op::Sorted(op) => sorted::execute(op, &key),
        Op::Sketch(op) => sketch::execute(op, &key),
    }?;
    // What has expired is only hidden. Whoever writes there makes a new key, which must not inherit anything.
    let makes_new = key.life == Life::Expired && edits.first().is_some_and(|first| *first != Edit::Delete);
    if makes_new {
        edits.insert(0, Edit::Delete);
    }
    Ok((reply, edits))
}

/// A key as an operation sees it.
struct Key<'a, V> {
    view: &'a V,
    life: Life,
    now_ms: i64,
    rng_seed: u64,
}

/// Whether there is a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// There is none.
    Absent,
    /// There is one, but its time is over.
    Expired,
    /// There is one.
    Live(Kind),
}

impl<'a, V: View> Key<'a, V> {
    fn new(view: &'a V, now_ms: i64, rng_seed: u64) -> Self {
        let life = match (view.kind(), view.deadline_ms()) {
            (None, _) => Life::Absent,
            (Some(_), Some(deadline)) if deadline <= now_ms => Life::Expired,
            (Some(kind), _) => Life::Live(kind),
        };
        Self { view, life, now_ms, rng_seed }
    }

    fn kind(&self) -> Option<Kind> {
        match self.life {
            Life::Absent | Life::Expired => None,
            Life::Live(kind) => Some(kind),
        }
    }

    fn deadline_ms(&self) -> Option<i64> {
        self.kind().and_then(|_| self.view.deadline_ms())
    }

    /// The view, if the key is of this type; nothing, if there is no key.
    fn of(&self, kind: Kind) -> Result<Option<&'a V>, OpError> {
        match self.kind() {
            None => Ok(None),
            Some(found) if found == kind => Ok(Some(self.view)),
            Some(_) => Err(OpError::WrongType),
        }
    }

    fn string(&self) -> Result<Option<Bytes>, OpError> {
        Ok(self.of(Kind::String)?.and_then(View::string))
    }

    /// What belongs behind the removal of `removed` of `len` elements: a key that is left empty takes its deadline with it.
    fn after_removal(&self, removed: u64, len: u64) -> Option<Edit> {
        (removed >= len && self.deadline_ms().is_some()).then_some(Edit::Deadline(None))
    }

    fn rng(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.rng_seed)
    }
}

/// Answers without changing anything.
fn answer(reply: Reply) -> Outcome {
    Ok((reply, Vec::new()))
}

fn int(number: u64) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn yes_or_no(is_so: bool) -> Reply {
    Reply::Int(i64::from(is_so))
}

fn bytes_or_nil(bytes: Option<Bytes>) -> Reply {
    bytes.map_or(Reply::Nil, Reply::Bytes)
}

/// A part of a string of `len` bytes or bits, given by its first and last, which count from the end if negative. What begins before
/// the string begins with it; so does what ends before it, as GETRANGE, BITCOUNT and BITPOS have it.
fn part(start: i64, end: i64, len: u64) -> Range<u64> {
    span(from_end(start, len).max(0), from_end(end, len).max(0), len)
}

/// Whether a part ends before it begins, both told from the end: GETRANGE and BITCOUNT find nothing there, while BITPOS looks at what
/// [`part`] says.
const fn is_reversed(start: i64, end: i64) -> bool {
    start < 0 && end < 0 && start > end
}

/// Places in a sequence of `len`, given by the first and the last, which count from the end if negative. What ends before the
/// sequence is empty, as ZRANGE has it.
fn places(start: i64, stop: i64, len: u64) -> Range<u64> {
    span(from_end(start, len).max(0), from_end(stop, len), len)
}

fn from_end(place: i64, len: u64) -> i64 {
    if place < 0 { place.saturating_add_unsigned(len) } else { place }
}

fn span(start: i64, end: i64, len: u64) -> Range<u64> {
    let end = u64::try_from(end).map_or(0, |end| end.saturating_add(1)).min(len);
    let start = start.unsigned_abs();
    if start < end { start..end } else { 0..0 }
}

#[cfg(test)]
mod tests;
