use super::{Key, Outcome, answer, yes_or_no};
use crate::dump;
use crate::op::{Existence, ExpireIf, KeyOp, Precision, When};
use crate::{Content, Edit, Kind, MAX_STRING_BYTES, OpError, Reply, View, Whole, number};

pub fn execute(op: KeyOp, key: &Key<'_, impl View>) -> Outcome {
    match op {
        KeyOp::Exists => answer(yes_or_no(key.kind().is_some())),
        KeyOp::Kind => answer(Reply::Kind(key.kind())),
        KeyOp::Delete => Ok((yes_or_no(key.kind().is_some()), delete(key))),
        KeyOp::Expire { when, condition } => expire(key, when, condition),
        KeyOp::Persist => {
            let edit = key.deadline_ms().map(|_| Edit::Deadline(None));
            Ok((yes_or_no(edit.is_some()), edit.into_iter().collect()))
        }
        KeyOp::TimeToLive(precision) => answer(time(key, precision, key.now_ms)),
        KeyOp::ExpireTime(precision) => answer(time(key, precision, 0)),
        KeyOp::Encoding => answer(key.kind().map_or(Reply::Nil, |kind| Reply::Bytes(encoding(key.view, kind).into()))),
        KeyOp::RefCount => answer(key.kind().map_or(Reply::Nil, |_| Reply::Int(1))),
        KeyOp::IdleTime => answer(key.kind().map_or(Reply::Nil, |_| Reply::Int(0))),
        KeyOp::Frequency => key.kind().map_or(answer(Reply::Nil), |_| Err(OpError::NoFrequency)),
        KeyOp::Dump => answer(whole(key).map_or(Reply::Nil, |whole| Reply::Bytes(dump::write(&whole.content)))),
        KeyOp::Restore { payload, expiry, condition } => restore(key, &payload, expiry, condition),
        KeyOp::Whole => answer(whole(key).map_or(Reply::Nil, Reply::Whole)),
        KeyOp::Replace { whole, condition } => {
            let is_done = condition.is_met(key.kind().is_some());
            if !is_done {
                return answer(Reply::Int(0));
            }
            Ok((Reply::Int(1), replace(key, whole)?))
        }
    }
}

/// An instant at which a key expires, and whether it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Whether it has come.
    pub is_over: bool,
}

impl Due {
    /// What it means for a key that is there.
    pub fn edit(self) -> Edit {
        if self.is_over { Edit::Delete } else { Edit::Deadline(Some(self.at_ms)) }
    }
}

/// The instant, unless it is beyond what can be said.
pub fn deadline(when: When, now_ms: i64) -> Option<Due> {
    let at_ms = match when {
        When::At(at_ms) => at_ms,
        When::In(span_ms) => now_ms.checked_add(span_ms)?,
    };
    Some(Due { at_ms, is_over: at_ms <= now_ms })
}

fn delete(key: &Key<'_, impl View>) -> Vec<Edit> {
    key.kind().map(|_| Edit::Delete).into_iter().collect()
}

fn expire(key: &Key<'_, impl View>, when: When, condition: ExpireIf) -> Outcome {
    let due = deadline(when, key.now_ms).ok_or(OpError::InvalidExpire)?;
    let present = key.deadline_ms();
    let is_met = match condition {
        ExpireIf::Always => true,
        ExpireIf::None => present.is_none(),
        ExpireIf::Some => present.is_some(),
        ExpireIf::Later => present.is_some_and(|present| due.at_ms > present),
        ExpireIf::Earlier => present.is_none_or(|present| due.at_ms < present),
        ExpireIf::SomeEarlier => present.is_some_and(|present| due.at_ms < present),
    };
    if key.kind().is_none() || !is_met {
        return answer(Reply::Int(0));
    }
    Ok((Reply::Int(1), vec![due.edit()]))
}

/// The deadline as a span from `origin_ms`.
fn time(key: &Key<'_, impl View>, precision: Precision, origin_ms: i64) -> Reply {
    const NO_DEADLINE: i64 = -1;
    const NO_KEY: i64 = -2;
    let span = key.deadline_ms().map(|deadline| deadline.saturating_sub(origin_ms).max(0));
    Reply::Int(match (key.kind(), span, precision) {
        (None, _, _) => NO_KEY,
        (Some(_), None, _) => NO_DEADLINE,
        (Some(_), Some(span), Precision::Seconds) => span.saturating_add(500) / 1000,
        (Some(_), Some(span), Precision::Milliseconds) => span,
    })
}

/// All of the key. `None` if there is none.
fn whole(key: &Key<'_, impl View>) -> Option<Whole> {
    let view = key.view;
    let content = match key.kind()? {
        Kind::String => Content::String(view.string().unwrap_or_default()),
        Kind::Hash => Content::Hash(view.hash_iter().collect()),
        Kind::Set => Content::Set(view.set_iter().collect()),
        Kind::Sorted => Content::Sorted(view.sorted_slice(0..view.sorted_len(), crate::op::Order::Ascending).collect()),
        Kind::Sketch => Content::Sketch(view.sketch().unwrap_or_default().into_owned()),
    };
    Some(Whole { content, deadline_ms: key.deadline_ms() })
}

fn restore(key: &Key<'_, impl View>, payload: &[u8], expiry: Option<When>, condition: Existence) -> Outcome {
    if !condition.is_met(key.kind().is_some()) {
        return Err(OpError::BusyKey);
    }
    let due = match expiry {
        None => None,
        Some(when) => Some(deadline(when, key.now_ms).ok_or(OpError::InvalidExpire)?),
    };
    let content = dump::read(payload).ok_or(OpError::BadPayload)?;
    let edits = match due {
        Some(due) if due.is_over => delete(key),
        due => replace(key, Some(Whole { content, deadline_ms: due.map(|due| due.at_ms) }))?,
    };
    Ok((Reply::Ok, edits))
}

/// The edits that make a key what it shall be. What has no elements, or has expired, is no key.
fn replace(key: &Key<'_, impl View>, whole: Option<Whole>) -> Result<Vec<Edit>, OpError> {
    let mut edits = delete(key);
    let alive = whole.filter(|whole| whole.deadline_ms.is_none_or(|deadline| deadline > key.now_ms));
    let Some(Whole { content, deadline_ms }) = alive else { return Ok(edits) };
    if !content.is_sound() {
        return Err(OpError::NanSent);
    }
    let before = edits.len();
    match content {
        Content::String(string) => {
            super::string::checked_len(string.len() as u64)?;
            edits.push(Edit::PutString(string));
        }
        Content::Hash(fields) => {
            edits.extend(fields.into_iter().map(|(field, value)| Edit::HashPut { field, value }));
        }
        Content::Set(members) => edits.extend(members.into_iter().map(Edit::SetAdd)),
        Content::Sorted(members) => {
            edits.extend(members.into_iter().map(|(member, score)| Edit::ScorePut { member, score }));
        }
        Content::Sketch(sketch) => edits.push(Edit::SketchMerge(sketch)),
    }
    if edits.len() > before {
        edits.extend(deadline_ms.map(|deadline| Edit::Deadline(Some(deadline))));
    }
    Ok(edits)
}

impl Content {
    /// Whether all its scores are numbers, and all its strings as short as they must be: what comes from outside may be otherwise.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let fits = |string: &bytes::Bytes| string.len() <= MAX_STRING_BYTES;
        match self {
            Self::String(string) => fits(string),
            Self::Hash(fields) => fields.iter().all(|(field, value)| fits(field) && fits(value)),
            Self::Set(members) => members.iter().all(fits),
            Self::Sorted(members) => members.iter().all(|(member, score)| fits(member) && !score.is_nan()),
            Self::Sketch(_) => true,
        }
    }
}

/// What Redis 7.0 with its default configuration would call the form of this value.
fn encoding(view: &impl View, kind: Kind) -> &'static str {
    const MAX_EMBEDDED: usize = 44;
    const MAX_LISTED: usize = 64;
    let is_short = |bytes: &[u8]| bytes.len() <= MAX_LISTED;
    match kind {
        Kind::String => match view.string().unwrap_or_default() {
            string if number::parse_int(&string).is_some() => "int",
            string if string.len() <= MAX_EMBEDDED => "embstr",
            _ => "raw",
        },
        Kind::Hash if view.hash_len() > 512 => "hashtable",
        Kind::Hash if view.hash_iter().all(|(field, value)| is_short(&field) && is_short(&value)) => "listpack",
        Kind::Hash => "hashtable",
        Kind::Set if view.set_len() > 512 => "hashtable",
        Kind::Set if view.set_iter().all(|member| number::parse_int(&member).is_some()) => "intset",
        Kind::Set => "hashtable",
        Kind::Sorted if view.sorted_len() > 128 => "skiplist",
        Kind::Sorted => {
            let mut members = view.sorted_slice(0..view.sorted_len(), crate::op::Order::Ascending);
            if members.all(|(member, _)| is_short(&member)) { "listpack" } else { "skiplist" }
        }
        Kind::Sketch => "raw",
    }
}
