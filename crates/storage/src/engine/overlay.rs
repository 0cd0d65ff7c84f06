//! What a batch has written so far, and a scan that sees it on top of what is committed.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;

use super::{Bounds, EngineError, Scan};

/// The writes of an open batch: a value, or `None` for a removed key. The last write of a key stands.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    writes: BTreeMap<Bytes, Option<Bytes>>,
}

/// The direction of a scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    /// Ascending.
    Forward,
    /// Descending.
    Backward,
}

impl Overlay {
    /// Sets a key.
    pub(super) fn put(&mut self, key: Bytes, value: &[u8]) {
        self.writes.insert(key, Some(Bytes::copy_from_slice(value)));
    }

    /// Removes a key.
    pub(super) fn delete(&mut self, key: Bytes) {
        self.writes.insert(key, None);
    }

    /// What the batch has done to a key, if anything.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.writes.get(key)
    }

    /// Whether nothing is written.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// All writes in key order.
    pub(super) fn into_writes(self) -> BTreeMap<Bytes, Option<Bytes>> {
        self.writes
    }

    /// `base`, which runs in `direction` within `bounds`, with the batch's writes on top.
    pub(super) fn over<'a>(&'a self, base: Scan<'a>, bounds: Bounds<'_>, direction: Direction) -> Scan<'a> {
        if self.writes.is_empty() || is_empty(bounds) {
            return base;
        }
        let writes = self.writes.range::<[u8], _>(bounds).map(|(key, value)| (key.clone(), value.clone()));
        match direction {
            Direction::Forward => Box::new(Merge { base: base.peekable(), writes: writes.peekable(), direction }),
            Direction::Backward => {
                Box::new(Merge { base: base.peekable(), writes: writes.rev().peekable(), direction })
            }
        }
    }
}

/// Whether bounds hold no key at all; `BTreeMap::range` panics on some that do not.
pub(super) fn is_empty(bounds: Bounds<'_>) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
    }
}

/// Two sorted iterators as one. On equal keys the write hides the base; a removal hides both.
struct Merge<B: Iterator, W: Iterator> {
    base: Peekable<B>,
    writes: Peekable<W>,
    direction: Direction,
}

impl<B, W> Iterator for Merge<B, W>
where
    B: Iterator<Item = Result<(Bytes, Bytes), EngineError>>,
    W: Iterator<Item = (Bytes, Option<Bytes>)>,
{
    type Item = Result<(Bytes, Bytes), EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.base.peek(), self.writes.peek()) {
                (_, None) | (Some(Err(_)), _) => return self.base.next(),
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(Ok((base, _))), Some((write, _))) => match self.direction {
                    Direction::Forward => base.cmp(write),
                    Direction::Backward => write.cmp(base),
                },
            };
            if order.is_lt() {
                return self.base.next();
            }
            if order.is_eq() {
                self.base.next();
            }
            if let Some((key, Some(value))) = self.writes.next() {
                return Some(Ok((key, value)));
            }
        }
    }
}
