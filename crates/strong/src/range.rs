//! Reads of one consistent state: a view of the engine, or a batch that is being written.
//!
//! A read of the present walks `current`, which has one record per key; a read of the past walks `history`, where a key's
//! versions lie newest first. Values are fetched last, for what is answered only: filters, sorting and the limit work on
//! the numbers alone, unless it is values that are sorted.

use std::cmp::Ordering;

use althing_api::ErrorKind;
use althing_api::kv::{KeyRange, KeyValue, RangeEnd, RangeRequest, RangeResponse, SortOrder, SortTarget};
use althing_storage::engine::Read;
use althing_types::{LeaseId, Revision, SpaceId};
use bytes::Bytes;

use crate::count::CountIndex;
use crate::error::StrongError;
use crate::layout::{self, Current, RevisionRecord, Span, Version, VersionBody, VersionId};
use crate::machine::recent::Recent;

/// Versions of one key that a scan passes one by one before it seeks past them.
const VERSIONS_BEFORE_SEEK: usize = 8;
/// How many revisions of history cost about as much to look through as one key of the past costs to visit.
const REVISIONS_PER_KEY: u64 = 4;

/// One consistent state.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) read: &'a dyn Read,
    pub(crate) space: SpaceId,
    /// The revision of the state.
    pub(crate) revision: Revision,
    /// Its compact revision.
    pub(crate) compacted: Revision,
    /// Counts as of that revision or an earlier one.
    pub(crate) index: &'a CountIndex,
    /// What was written last, for the writer.
    pub(crate) recent: Option<&'a Recent>,
}

/// A key that a range holds, perhaps still without its value.
struct Found {
    kv: KeyValue,
    value: Place,
}

/// Where the value of a found key is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    History(VersionId),
}

/// Which way to walk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Ascending,
    Descending,
}

impl Source<'_> {
    /// Whether a read at this revision can be answered. One below zero counts as compacted once anything was.
    pub(crate) fn check_revision(&self, requested: Option<Revision>) -> Result<(), ErrorKind> {
        match requested {
            Some(requested) if requested > self.revision => {
                Err(ErrorKind::FutureRevision { requested, current: self.revision })
            }
            Some(requested) if requested < self.compacted => {
                Err(ErrorKind::Compacted { requested, oldest: self.compacted })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Answers a range whose revision was checked.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, StrongError> {
        let at = request.revision.filter(|revision| revision.0 > 0).unwrap_or(self.revision);
        if request.count_only {
            return Ok(RangeResponse { count: self.count(&request.keys, at)?, ..RangeResponse::default() });
        }
        let shape = Shape::of(request, at == self.revision);
        let mut found = self.find(&request.keys, at, shape)?;
        let seen = found.len() as u64;
        let count = if seen < shape.wanted as u64 { seen } else { self.count(&request.keys, at)? };

        found.retain(|found| passes(request, &found.kv));
        if let (Some((target, order)), Sorting::Afterwards | Sorting::OfTheFirst) = (request.sort, shape.sorting) {
            if target == SortTarget::Value {
                self.load(&mut found)?;
            }
            found.sort_by(|a, b| in_order(compare_by(target, &a.kv, &b.kv), order));
        }
        let more = request.limit > 0 && found.len() as u64 > request.limit;
        if more {
            found.truncate(request.limit as usize);
        }
        if !request.keys_only {
            self.load(&mut found)?;
        }
        let kvs = found.into_iter().map(|found| stripped(found.kv, request.keys_only)).collect();
        Ok(RangeResponse { kvs, more, count })
    }

    /// The newest version of a key that exists.
    pub(crate) fn current(&self, key: &[u8]) -> Result<Option<Current>, StrongError> {
        if let Some(known) = self.recent.and_then(|recent| recent.get(key)) {
            return Ok(known.clone());
        }
        self.read.get(self.space, &layout::current_key(key))?.map(Current::decode).transpose()
    }

    /// The whole version that a `current` record tells of.
    pub(crate) fn key_value(&self, key: Bytes, mut current: Current) -> Result<KeyValue, StrongError> {
        let value = match current.inline.take() {
            Some(value) => value,
            None => self.value(&key, current.version_id)?,
        };
        Ok(current.into_key_value(key, value))
    }

    /// The version of a key that was the newest at a revision, if the key existed.
    pub(crate) fn version_at(&self, key: &Bytes, at: Revision) -> Result<Option<KeyValue>, StrongError> {
        let end = layout::history_after(&layout::history_key(key, VersionId::default()));
        let span = Span { start: layout::history_key(key, VersionId { main: at, sub: u32::MAX }), end };
        let Some(item) = self.read.scan(self.space, span.bounds()).next() else { return Ok(None) };
        let (history_key, record) = item?;
        let main = layout::history_version(&history_key)?.main;
        Ok(Version::decode(record)?.into_key_value(key.clone(), main))
    }

    /// Calls `visit` for each key of a range as it is now, in order, until it says to stop.
    pub(crate) fn each_current(
        &self,
        keys: &KeyRange,
        mut visit: impl FnMut(Bytes, Current) -> Result<Visit, StrongError>,
    ) -> Result<(), StrongError> {
        let span = layout::current_span(keys);
        if span.is_empty() {
            return Ok(());
        }
        for item in self.read.scan(self.space, span.bounds()) {
            let (key, record) = item?;
            match visit(layout::key_of_current(&key), Current::decode(record)?)? {
                Visit::GoOn => {}
                Visit::Stop => break,
            }
        }
        Ok(())
    }

    /// The keys attached to a lease, in order.
    pub(crate) fn attached(&self, lease: LeaseId) -> Result<Vec<Bytes>, StrongError> {
        let span = layout::attachment_span(lease);
        let scan = self.read.scan(self.space, span.bounds());
        scan.map(|item| Ok(layout::key_of_attachment(&item?.0))).collect()
    }

    fn value(&self, key: &[u8], id: VersionId) -> Result<Bytes, StrongError> {
        let record = self.read.get(self.space, &layout::history_key(key, id))?;
        let version = record.map(Version::decode).transpose()?;
        match version.map(|version| version.body) {
            Some(VersionBody::Put { value, .. }) => Ok(value),
            Some(VersionBody::Tombstone) | None => {
                Err(StrongError::Inconsistent(format!("the version {}.{} of a key is missing", id.main, id.sub)))
            }
        }
    }

    fn load(&self, found: &mut [Found]) -> Result<(), StrongError> {
        for found in found {
            if let Place::History(id) = found.value {
                found.kv.value = self.value(&found.kv.key, id)?;
                found.value = Place::Here;
            }
        }
        Ok(())
    }

    /// The first keys of a range, at least as many as are wanted if there are so many.
    fn find(&self, keys: &KeyRange, at: Revision, shape: Shape) -> Result<Vec<Found>, StrongError> {
        if at == self.revision { self.find_now(keys, shape) } else { self.find_then(keys, at, shape.wanted) }
    }

    fn find_now(&self, keys: &KeyRange, shape: Shape) -> Result<Vec<Found>, StrongError> {
        if keys.end == RangeEnd::Single {
            let current = self.current(&keys.start)?;
            return Ok(current.into_iter().map(|current| found_now(keys.start.clone(), current)).collect());
        }
        let span = layout::current_span(keys);
        if span.is_empty() {
            return Ok(Vec::new());
        }
        let scan = match shape.walk {
            Walk::Ascending => self.read.scan(self.space, span.bounds()),
            Walk::Descending => self.read.scan_reverse(self.space, span.bounds()),
        };
        let mut found = Vec::new();
        for item in scan.take(shape.wanted) {
            let (key, record) = item?;
            found.push(found_now(layout::key_of_current(&key), Current::decode(record)?));
        }
        Ok(found)
    }

    fn find_then(&self, keys: &KeyRange, at: Revision, wanted: usize) -> Result<Vec<Found>, StrongError> {
        let mut found = Vec::new();
        self.each_then(keys, at, |key, id, version| {
            if let Some(kv) = version.into_key_value(key, id.main) {
                found.push(Found { kv, value: Place::Here });
            }
            Ok(if found.len() < wanted { Visit::GoOn } else { Visit::Stop })
        })?;
        Ok(found)
    }

    /// Calls `visit` for the version of each key of a range that was the newest at a revision, tombstones included.
    fn each_then(
        &self,
        keys: &KeyRange,
        at: Revision,
        mut visit: impl FnMut(Bytes, VersionId, Version) -> Result<Visit, StrongError>,
    ) -> Result<(), StrongError> {
        let mut span = layout::history_span(keys);
        'seek: while !span.is_empty() {
            let mut group: Option<(Bytes, Progress)> = None;
            for item in self.read.scan(self.space, span.bounds()) {
                let (history_key, record) = item?;
                let same = group
                    .as_ref()
                    .is_some_and(|(key, _)| layout::history_group(key) == layout::history_group(&history_key));
                let progress = match &mut group {
                    Some((_, progress)) if same => progress,
                    _ => &mut group.insert((history_key.clone(), Progress::Newer(0))).1,
                };
                let id = layout::history_version(&history_key)?;
                match *progress {
                    Progress::Newer(_) if id.main <= at => {
                        *progress = Progress::Older(0);
                        let key = layout::history_table_key(&history_key)?;
                        match visit(key, id, Version::decode(record)?)? {
                            Visit::GoOn => {}
                            Visit::Stop => return Ok(()),
                        }
                    }
                    Progress::Newer(passed) if passed == VERSIONS_BEFORE_SEEK => {
                        let key = layout::history_table_key(&history_key)?;
                        span.start = layout::history_key(&key, VersionId { main: at, sub: u32::MAX });
                        continue 'seek;
                    }
                    Progress::Older(passed) if passed == VERSIONS_BEFORE_SEEK => {
                        span.start = layout::history_after(&history_key);
                        continue 'seek;
                    }
                    Progress::Newer(ref mut passed) | Progress::Older(ref mut passed) => *passed += 1,
                }
            }
            break;
        }
        Ok(())
    }

    /// How many keys a range held at a revision.
    pub(crate) fn count(&self, keys: &KeyRange, at: Revision) -> Result<u64, StrongError> {
        if keys.end == RangeEnd::Single {
            let exists = if at == self.revision {
                self.current(&keys.start)?.is_some()
            } else {
                self.version_at(&keys.start, at)?.is_some()
            };
            return Ok(u64::from(exists));
        }
        let now = self.count_now(keys)?;
        if at == self.revision {
            return Ok(now);
        }
        let distance = (self.revision.0 - at.0) as u64;
        if distance / REVISIONS_PER_KEY > now {
            return self.count_then(keys, at);
        }
        self.minus(now, self.net(keys, at, self.revision)?)
    }

    /// The index's whole buckets, brought from its revision to this state's, and the keys before and after them.
    fn count_now(&self, keys: &KeyRange) -> Result<u64, StrongError> {
        // History at or below the compact revision may have been removed: then it cannot correct the index.
        if self.index.revision() < self.revision && self.index.revision() < self.compacted {
            return self.count_current(keys);
        }
        let Some(inner) = self.index.inner(keys) else { return self.count_current(keys) };
        let before = KeyRange { start: keys.start.clone(), end: RangeEnd::Before(inner.keys.start.clone()) };
        let after = match &inner.keys.end {
            RangeEnd::Before(end) => KeyRange { start: end.clone(), end: keys.end.clone() },
            RangeEnd::Single | RangeEnd::Unbounded => {
                KeyRange { start: Bytes::new(), end: RangeEnd::Before(Bytes::new()) }
            }
        };
        let edges = self.count_current(&before)? + self.count_current(&after)?;
        let net = self.net(&inner.keys, self.index.revision(), self.revision)?;
        Ok(edges + self.minus(inner.count, -net)?)
    }

    fn count_current(&self, keys: &KeyRange) -> Result<u64, StrongError> {
        let span = layout::current_span(keys);
        if span.is_empty() {
            return Ok(0);
        }
        self.read.scan(self.space, span.bounds()).try_fold(0, |count, item| Ok(item.map(|_| count + 1)?))
    }

    fn count_then(&self, keys: &KeyRange, at: Revision) -> Result<u64, StrongError> {
        let mut count = 0;
        self.each_then(keys, at, |_, _, version| {
            count += u64::from(version.body != VersionBody::Tombstone);
            Ok(Visit::GoOn)
        })?;
        Ok(count)
    }

    /// What the revisions above `from`, up to and including `to`, have added to the keys of a range.
    fn net(&self, keys: &KeyRange, from: Revision, to: Revision) -> Result<i64, StrongError> {
        let span = layout::revision_span(VersionId::after(from), VersionId::after(to));
        let mut net = 0;
        if span.is_empty() {
            return Ok(net);
        }
        for item in self.read.scan(self.space, span.bounds()) {
            let record = RevisionRecord::decode(item?.1)?;
            if keys.contains(&record.key) {
                net += record.deed.net();
            }
        }
        Ok(net)
    }

    fn minus(&self, count: u64, net: i64) -> Result<u64, StrongError> {
        count
            .checked_add_signed(-net)
            .ok_or_else(|| StrongError::Inconsistent(format!("{count} keys less {net} at revision {}", self.revision)))
    }
}

/// Whether to visit more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    GoOn,
    Stop,
}

/// Where a walk through the versions of one key is, and how many it has passed there.
#[derive(Clone, Copy)]
enum Progress {
    /// Above the revision wanted.
    Newer(usize),
    /// Below the version found.
    Older(usize),
}

/// How a range is walked.
#[derive(Clone, Copy)]
struct Shape {
    walk: Walk,
    /// Keys to find; one more than the limit, so that it shows whether there are more.
    wanted: usize,
    sorting: Sorting,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sorting {
    /// The walk finds the keys in the order asked for.
    ByWalk,
    /// All keys are needed first.
    Afterwards,
    /// Only the first keys are wanted, and they are sorted among themselves.
    OfTheFirst,
}

impl Shape {
    /// Without filters, an order by key needs no more than the limit; any other order, and every filter, needs all.
    fn of(request: &RangeRequest, present: bool) -> Self {
        let filtered = request.min_mod_revision.is_some()
            || request.max_mod_revision.is_some()
            || request.min_create_revision.is_some()
            || request.max_create_revision.is_some();
        let (walk, sorting) = match request.sort {
            None | Some((SortTarget::Key, SortOrder::Ascending)) => (Walk::Ascending, Sorting::ByWalk),
            Some((SortTarget::Key, SortOrder::Descending)) if present => (Walk::Descending, Sorting::ByWalk),
            Some((_, SortOrder::AscendingWithinLimit)) => (Walk::Ascending, Sorting::OfTheFirst),
            Some(_) => (Walk::Ascending, Sorting::Afterwards),
        };
        let wanted = if request.limit == 0 || filtered || sorting == Sorting::Afterwards {
            usize::MAX
        } else {
            usize::try_from(request.limit).unwrap_or(usize::MAX).saturating_add(1)
        };
        Self { walk, wanted, sorting }
    }
}

fn found_now(key: Bytes, mut current: Current) -> Found {
    let (value, place) = match current.inline.take() {
        Some(value) => (value, Place::Here),
        None => (Bytes::new(), Place::History(current.version_id)),
    };
    Found { kv: current.into_key_value(key, value), value: place }
}

fn stripped(mut kv: KeyValue, keys_only: bool) -> KeyValue {
    if keys_only {
        kv.value = Bytes::new();
    }
    kv
}

pub(crate) fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    let within = |revision: Revision, min: Option<Revision>, max: Option<Revision>| {
        min.is_none_or(|min| revision >= min) && max.is_none_or(|max| revision <= max)
    };
    within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(kv.create_revision, request.min_create_revision, request.max_create_revision)
}

/// Keys that compare equal stay in key order.
fn compare_by(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

const fn in_order(ordering: Ordering, order: SortOrder) -> Ordering {
    match order {
        SortOrder::Ascending | SortOrder::AscendingWithinLimit => ordering,
        SortOrder::Descending => ordering.reverse(),
    }
}
