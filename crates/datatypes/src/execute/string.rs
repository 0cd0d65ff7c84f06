use bytes::{Bytes, BytesMut};

use super::keys::{Due, deadline};
use super::{Key, Outcome, answer, bytes_or_nil, int, is_reversed, part};
use crate::op::{Existence, GetExpiry, SetAnswer, SetExpiry, StringOp, When};
use crate::{Edit, Kind, MAX_STRING_BYTES, OpError, Reply, View, number};

pub fn execute(op: StringOp, key: &Key<'_, impl View>) -> Outcome {
    match op {
        StringOp::Get => answer(bytes_or_nil(key.string()?)),
        StringOp::Set { value, expiry, condition, answer } => set(key, value, expiry, condition, answer),
        StringOp::GetDelete => {
            let old = key.string()?;
            let edits = old.iter().map(|_| Edit::Delete).collect();
            Ok((bytes_or_nil(old), edits))
        }
        StringOp::GetExpire(expiry) => get_expire(key, expiry),
        StringOp::Append(tail) => append(key, &tail),
        StringOp::Length => answer(int(key.string()?.map_or(0, |string| string.len() as u64))),
        StringOp::SetRange { offset, value } => set_range(key, offset, &value),
        StringOp::GetRange { start, end } if is_reversed(start, end) => {
            key.string().and_then(|_| answer(Reply::Bytes(Bytes::new())))
        }
        StringOp::GetRange { start, end } => {
            let string = key.string()?.unwrap_or_default();
            let part = part(start, end, string.len() as u64);
            answer(Reply::Bytes(string.slice(part.start as usize..part.end as usize)))
        }
        StringOp::Increment(by) => {
            let base = key.string()?;
            let sum = number::add_int(base.as_deref().unwrap_or(b"0"), by)?;
            Ok((Reply::Int(sum), vec![Edit::AddInt(by)]))
        }
        StringOp::IncrementFloat(by) => {
            let base = key.string()?;
            let sum = number::add_float(base.as_deref().unwrap_or(b"0"), by)?;
            Ok((Reply::Bytes(sum), vec![Edit::AddFloat(by)]))
        }
        StringOp::Compare { expected, new } => compare(key, expected.as_ref(), new),
    }
}

fn compare(key: &Key<'_, impl View>, expected: Option<&Bytes>, new: Option<Bytes>) -> Outcome {
    if let Some(new) = &new {
        checked_len(new.len() as u64)?;
    }
    let held = key.string()?;
    if held.as_ref() != expected {
        return answer(Reply::Int(0));
    }
    let edit = match new {
        Some(new) => Some(Edit::PutString(new)),
        None => held.map(|_| Edit::Delete),
    };
    Ok((Reply::Int(1), edit.into_iter().collect()))
}

fn set(key: &Key<'_, impl View>, value: Bytes, expiry: SetExpiry, condition: Existence, answer: SetAnswer) -> Outcome {
    checked_len(value.len() as u64)?;
    let due = match expiry {
        SetExpiry::Clear | SetExpiry::Keep => None,
        SetExpiry::Set(when) => Some(positive(when, key.now_ms)?),
    };
    let old = match answer {
        SetAnswer::Done => None,
        SetAnswer::Old => key.string()?,
    };
    let is_done = condition.is_met(key.kind().is_some());
    let reply = match answer {
        SetAnswer::Done if is_done => Reply::Ok,
        SetAnswer::Done => Reply::Nil,
        SetAnswer::Old => bytes_or_nil(old),
    };
    if !is_done {
        return super::answer(reply);
    }
    if due.is_some_and(|due| due.is_over) {
        return Ok((reply, key.kind().map(|_| Edit::Delete).into_iter().collect()));
    }
    let mut edits = Vec::with_capacity(3);
    // Only the value changes its type: with KEEPTTL, the deadline is that of the other one.
    let kept_deadline = key.deadline_ms();
    let is_other = key.kind().is_some_and(|kind| kind != Kind::String);
    edits.extend(is_other.then_some(Edit::Delete));
    edits.push(Edit::PutString(value));
    match expiry {
        SetExpiry::Clear => edits.push(Edit::Deadline(None)),
        SetExpiry::Keep if is_other => edits.extend(kept_deadline.map(|deadline| Edit::Deadline(Some(deadline)))),
        SetExpiry::Keep => {}
        SetExpiry::Set(_) => edits.extend(due.map(|due| Edit::Deadline(Some(due.at_ms)))),
    }
    Ok((reply, edits))
}

impl Existence {
    /// Whether a key, field or member that is there, or is not, is what was asked for.
    #[must_use]
    pub const fn is_met(self, is_there: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => !is_there,
            Self::Present => is_there,
        }
    }
}

fn get_expire(key: &Key<'_, impl View>, expiry: GetExpiry) -> Outcome {
    let Some(string) = key.string()? else { return answer(Reply::Nil) };
    let edit = match expiry {
        GetExpiry::Keep => None,
        GetExpiry::Persist => key.deadline_ms().map(|_| Edit::Deadline(None)),
        GetExpiry::Set(when) => Some(positive(when, key.now_ms)?.edit()),
    };
    Ok((Reply::Bytes(string), edit.into_iter().collect()))
}

/// An instant that SET and GETEX take: one that does not lie before 1970, or before now if it is a span.
fn positive(when: When, now_ms: i64) -> Result<Due, OpError> {
    let (When::At(asked_ms) | When::In(asked_ms)) = when;
    deadline(when, now_ms).filter(|_| asked_ms > 0).ok_or(OpError::InvalidExpire)
}

fn append(key: &Key<'_, impl View>, tail: &[u8]) -> Outcome {
    let old = key.string()?;
    let head = old.as_deref().unwrap_or_default();
    checked_len(head.len() as u64 + tail.len() as u64)?;
    let len = int((head.len() + tail.len()) as u64);
    if old.is_some() && tail.is_empty() {
        return answer(len);
    }
    let mut whole = BytesMut::with_capacity(head.len() + tail.len());
    whole.extend_from_slice(head);
    whole.extend_from_slice(tail);
    Ok((len, vec![Edit::PutString(whole.freeze())]))
}

fn set_range(key: &Key<'_, impl View>, offset: u64, value: &[u8]) -> Outcome {
    let old = key.string()?.unwrap_or_default();
    if value.is_empty() {
        return answer(int(old.len() as u64));
    }
    let end = checked_len(offset.saturating_add(value.len() as u64))?;
    let mut new = BytesMut::zeroed(old.len().max(end));
    new[..old.len()].copy_from_slice(&old);
    new[end - value.len()..end].copy_from_slice(value);
    Ok((int(new.len() as u64), vec![Edit::PutString(new.freeze())]))
}

/// The length of a string to be, if there may be such a one.
pub fn checked_len(len: u64) -> Result<usize, OpError> {
    usize::try_from(len).ok().filter(|len| *len <= MAX_STRING_BYTES).ok_or(OpError::TooLong)
}
