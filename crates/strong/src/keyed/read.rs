//! Reads of keyed values.

use althing_api::ErrorKind;
use althing_api::keyed::{KeyedAnswer, KeyedRequest, Moment, Step, Watched};
use althing_api::keys::Keys;
use althing_api::kv::{KeyRange, RangeEnd, RangeRequest};
use althing_datatypes::{Kind, View as _, glob};
use althing_types::Revision;
use bytes::Bytes;

use super::transact::{self, Ran, Write};
use super::{Deadline, MAX_DUE, MAX_DUE_BYTES, MAX_SCANNED, container};
use crate::error::StrongError;
use crate::range::Visit;
use crate::reader::Reader;
use crate::{check, layout};

impl Reader {
    /// Answers what is asked of keyed values without changing them, and the revision that it was read at. What would change
    /// something is refused.
    pub fn keyed(&self, request: &KeyedRequest, moment: Moment) -> Result<(KeyedAnswer, Revision), ErrorKind> {
        match request {
            KeyedRequest::Operate { key, operation, .. } => {
                // One key takes no view of the engine.
                let (found, revision) = self.range(&RangeRequest::new(KeyRange::single(key.clone())))?;
                let value = found.kvs.first().map(|kv| &kv.value);
                Ok((transact::look(value, operation, moment)?.ok_or_else(changes)?, revision))
            }
            KeyedRequest::Transact { watches, steps, .. } => match self.run(watches, steps, moment)? {
                (Ran::Done(done), revision) => Ok((only_read(done.transacted())?, revision)),
                (Ran::Aborted, revision) => Ok((KeyedAnswer::Aborted, revision)),
            },
            KeyedRequest::Scan { after, limit, pattern, kind } => {
                let page =
                    Page { after: after.as_ref(), limit: *limit, pattern: pattern.as_ref(), kind: kind.as_ref() };
                self.page(&page, moment.now_ms)
            }
            KeyedRequest::Count => {
                self.shared.admit(&Keys::None)?;
                Ok((KeyedAnswer::Count(self.key_count()), self.revision()))
            }
            KeyedRequest::Flush => Err(changes()),
            KeyedRequest::Series { .. } => {
                let reason = "what is asked of a strong table at once is a transaction";
                Err(ErrorKind::Unsupported(reason.to_owned()))
            }
            KeyedRequest::Siblings { .. } | KeyedRequest::Put { .. } | KeyedRequest::InSession { .. } => {
                let reason = "a strong table has no concurrent values, and every read of it sees all writes before";
                Err(ErrorKind::Unsupported(reason.to_owned()))
            }
        }
    }

    /// The keys that are to be removed now, with what was noted of them; those that are due first come first.
    pub fn due(&self, now_ms: i64) -> Result<Vec<Deadline>, ErrorKind> {
        let mut due = Vec::new();
        if self.shared.least_deadline_ms() > now_ms {
            return Ok(due);
        }
        let moment = self.moment()?;
        let (source, span, mut bytes) = (moment.source(), layout::deadline_span(now_ms), 0);
        for item in moment.view.scan(self.space, span.bounds()) {
            let (key, _) = item.map_err(StrongError::from)?;
            let deadline = layout::deadline_of(&key)?;
            bytes += source.current(&deadline.key)?.map_or(0, |current| current.value_bytes);
            due.push(deadline);
            if due.len() == MAX_DUE || bytes > MAX_DUE_BYTES {
                break;
            }
        }
        Ok(due)
    }

    fn run(&self, watches: &[Watched], steps: &[Step], moment: Moment) -> Result<(Ran, Revision), ErrorKind> {
        check::keyed(watches, steps)?;
        self.shared.admit(&Keys::of_steps(watches, steps))?;
        let seen = self.moment()?;
        let ran = transact::run(&seen.source(), watches, steps, moment).map_err(ErrorKind::from)?;
        Ok((ran, seen.state.revision))
    }

    fn page(&self, page: &Page<'_>, now_ms: i64) -> Result<(KeyedAnswer, Revision), ErrorKind> {
        self.shared.admit(&Keys::None)?;
        let start = page.after.map(|after| Bytes::from([&after[..], &[0]].concat())).unwrap_or_default();
        let limit = (page.limit as usize).clamp(1, MAX_SCANNED);
        let seen = self.moment()?;
        let source = seen.source();
        let (mut keys, mut looked_at, mut last) = (Vec::new(), 0, None);
        source.each_current(&KeyRange { start, end: RangeEnd::Unbounded }, |key, current| {
            looked_at += 1;
            if page.pattern.is_none_or(|pattern| glob::matches(pattern, &key)) {
                let value = container::decode(&source.key_value(key.clone(), current)?.value);
                let is_over = value.deadline_ms().is_some_and(|deadline| deadline <= now_ms);
                if !is_over && page.kind.is_none_or(|name| value.kind().is_some_and(|kind| name == name_of(kind))) {
                    keys.push(key.clone());
                }
            }
            if looked_at < limit {
                return Ok(Visit::GoOn);
            }
            last = Some(key);
            Ok(Visit::Stop)
        })?;
        Ok((KeyedAnswer::Page { keys, after: last }, seen.state.revision))
    }
}

/// Which keys a page shows.
struct Page<'a> {
    after: Option<&'a Bytes>,
    limit: u32,
    pattern: Option<&'a Bytes>,
    kind: Option<&'a Bytes>,
}

/// The name of a kind of value, as a scan asks for it. A sketch is a string there.
const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::String | Kind::Sketch => "string",
        Kind::Hash => "hash",
        Kind::Set => "set",
        Kind::Sorted => "zset",
    }
}

fn changes() -> ErrorKind {
    ErrorKind::InvalidArgument("what changes a key goes through the log".to_owned())
}

/// The answer, if nothing is to be written.
fn only_read((answer, writes): (KeyedAnswer, Vec<Write>)) -> Result<KeyedAnswer, ErrorKind> {
    if writes.is_empty() { Ok(answer) } else { Err(changes()) }
}
