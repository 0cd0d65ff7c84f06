//! Jobs about many keys, a page at a time.
//!
//! They walk through what is written in the engine, so what earlier jobs of the batch have changed is written first.

use std::ops::Bound;

use althing_datatypes::glob;
use bytes::Bytes;

use super::{Mark, Shard};
use crate::error::ConvergentError;
use crate::job::{Outcome, Page, Rest, ScanRequest};
use crate::layout;

/// Keys that one page looks at, at most: the replica does nothing else meanwhile.
pub const MAX_PAGE_KEYS: usize = 10_000;

impl Shard {
    /// A page of the keys.
    pub(super) fn scan(&mut self, request: &ScanRequest) -> Result<Page, ConvergentError> {
        self.commit()?;
        let (after, count) = (after(request.after.as_ref()), request.count.clamp(1, MAX_PAGE_KEYS));
        let end = layout::end(layout::KEYS_PREFIX);
        let view = self.engine.view();
        let mut records = view.scan(self.space, (as_bound(&after), Bound::Excluded(&end)));
        let mut page = Page::default();
        for record in records.by_ref().take(count) {
            let (key, value) = record?;
            let name = layout::name(&key);
            page.next = Some(name.clone());
            let Some(kind) = layout::decode_label(value)?.shown(request.now_ms) else { continue };
            let is_wanted = request.kind.is_none_or(|wanted| wanted == kind)
                && request.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, &name));
            if is_wanted {
                page.keys.push((name, kind));
            }
        }
        if records.next().transpose()?.is_none() {
            page.next = None;
        }
        Ok(page)
    }

    /// The names of the next keys of which anything is held, whether or not it can be seen: at most `count`, and none after the last. For
    /// whoever compares replicas as a whole.
    ///
    /// # Errors
    /// If the engine fails, or holds what does not parse.
    pub fn names_after(&mut self, from: Option<&Bytes>, count: usize) -> Result<Vec<Bytes>, ConvergentError> {
        self.commit()?;
        self.names(&after(from), &layout::end(layout::KEYS_PREFIX), count.clamp(1, MAX_PAGE_KEYS))
    }

    /// Removes a page of keys.
    pub(super) fn flush(
        &mut self,
        ticket: u64,
        from: Option<&Bytes>,
        budget: usize,
        now_ms: i64,
        out: &mut Vec<Outcome>,
    ) -> Result<Option<Bytes>, ConvergentError> {
        self.commit()?;
        let budget = budget.clamp(1, MAX_PAGE_KEYS);
        let names = self.names(&after(from), &layout::end(layout::KEYS_PREFIX), budget)?;
        for name in &names {
            if self.is_by_rounds(name)? {
                self.due(ticket, name, out);
                continue;
            }
            let delta = self.delete(name, now_ms)?;
            self.removed(ticket, delta, out);
        }
        Ok(names.last().filter(|_| names.len() == budget).cloned())
    }

    /// Removes what is due, and drops what others have reset of this replica's counters.
    pub(super) fn tend(
        &mut self,
        ticket: u64,
        now_ms: i64,
        budget: usize,
        out: &mut Vec<Outcome>,
    ) -> Result<Rest, ConvergentError> {
        self.commit()?;
        let budget = budget.clamp(1, MAX_PAGE_KEYS);
        let end = layout::deadline(now_ms.saturating_sub(self.config.skew_ms()).saturating_add(1), b"");
        let due = self.names(&Bound::Included(layout::DEADLINES_PREFIX.to_vec()), &end, budget)?;
        let mut by_rounds = 0;
        for name in &due {
            if self.is_by_rounds(name)? {
                by_rounds += 1;
                self.due(ticket, name, out);
                continue;
            }
            let delta = self.delete(name, now_ms)?;
            self.removed(ticket, delta, out);
        }
        let end = layout::end(layout::MARKS_PREFIX);
        let start = Bound::Included(layout::MARKS_PREFIX.to_vec());
        let marked = self.names(&start, &end, budget - due.len())?;
        for name in &marked {
            let place = self.place(name)?;
            let delta = self.edit_unasked(place, now_ms, |editor| editor.forget());
            self.marks.insert(name.clone(), Mark::Clear);
            self.removed(ticket, delta, out);
        }
        // What rounds are to remove is still there: it is looked at again when they have had time.
        if due.len() + marked.len() == budget && by_rounds == 0 {
            return Ok(Rest::Some);
        }
        self.look_for_due()?;
        Ok(Rest::None)
    }

    /// Looks when there is something to tend.
    pub(super) fn look_for_due(&mut self) -> Result<(), ConvergentError> {
        self.commit()?;
        let first = |prefix: &'static [u8]| -> Result<Option<Bytes>, ConvergentError> {
            let view = self.engine.view();
            let end = layout::end(prefix);
            let mut records = view.scan(self.space, (Bound::Included(prefix), Bound::Excluded(&end[..])));
            Ok(records.next().transpose()?.map(|(key, _)| key))
        };
        self.due_ms = match first(layout::MARKS_PREFIX)? {
            Some(_) => Some(i64::MIN),
            None => first(layout::DEADLINES_PREFIX)?
                .and_then(|key| Some(layout::deadline_of(&key)?.saturating_add(self.config.skew_ms()))),
        };
        Ok(())
    }

    /// The names of the keys whose records lie within bounds.
    fn names(&self, start: &Bound<Vec<u8>>, end: &[u8], count: usize) -> Result<Vec<Bytes>, ConvergentError> {
        let view = self.engine.view();
        let records = view.scan(self.space, (as_bound(start), Bound::Excluded(end))).take(count);
        records.map(|record| Ok(layout::name(&record?.0))).collect()
    }

    fn removed(&self, ticket: u64, delta: Option<Bytes>, out: &mut Vec<Outcome>) {
        out.extend(delta.map(|delta| Outcome::Removed { ticket, index: self.index, delta }));
    }
}

/// Where the record of the last key stood, for records of this kind.
pub(super) fn bound_after(name: Option<&Bytes>, record: fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    name.map(|name| record(name))
}

/// From where the records of keys after this one begin.
fn after(name: Option<&Bytes>) -> Bound<Vec<u8>> {
    name.map_or_else(|| Bound::Included(layout::KEYS_PREFIX.to_vec()), |name| Bound::Excluded(layout::key(name)))
}

fn as_bound(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}
