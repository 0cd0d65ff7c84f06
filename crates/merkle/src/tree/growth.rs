//! Another depth: the next level is filled from the store, or the last one is dropped. And tree against store.

use super::{Change, Level, SHRINK_SHARE, Summary, Tree, TreeError, fitting};
use crate::digest::Entry;
use crate::place::{Prefix, nodes};

/// A level that is being filled, from the left.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    pub(super) level: Level,
    depth: u8,
    /// The number of the bucket, on the level above, that is read next.
    next: u32,
}

impl Growth {
    fn new(depth: u8) -> Self {
        Self { level: Level::new(depth), depth, next: 0 }
    }

    fn has_read(&self, position: u64) -> bool {
        Prefix::of(position, self.depth - 1).index() < self.next
    }

    /// The new bucket of a position, if that was read already.
    pub(super) fn covered(&self, position: u64) -> Option<Summary> {
        self.has_read(position).then(|| self.level.summary(Prefix::of(position, self.depth)))
    }

    /// A change of what was read already; what was not will be read as it is then.
    pub(super) fn apply(&mut self, position: u64, change: Change) {
        if self.has_read(position) {
            self.level.apply(Prefix::of(position, self.depth), change);
        }
    }
}

/// How far a tree has come with its next level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filled {
    /// This bucket is read next.
    Next(Prefix),
    /// The tree has one level more.
    Grown,
}

impl Tree {
    /// The bucket that must be read next for the tree to become as deep as its keys want; nothing if it is. Only one that is
    /// asked begins to grow.
    pub fn grow(&mut self) -> Option<Prefix> {
        if self.growth.is_none() && fitting(self.root().count) > self.depth() {
            self.growth = Some(Growth::new(self.depth() + 1));
        }
        let growth = self.growth.as_ref()?;
        Prefix::new(self.depth(), growth.next)
    }

    /// How many levels it lacks for its buckets to hold what they should. A tree that lacks several is sooner made anew than grown: its
    /// buckets are long, and each is read at once.
    #[must_use]
    pub fn lacking_levels(&self) -> u8 {
        fitting(self.root().count).saturating_sub(self.depth())
    }

    /// All entries of the bucket that [`grow`](Self::grow) named, read with every change that the tree was told of and no other.
    ///
    /// # Errors
    ///
    /// [`TreeError::OutOfTurn`], [`TreeError::Misplaced`]; [`TreeError::Drift`] if the entries are not what the tree was told of:
    /// [`correct`](Self::correct) it and go on.
    pub fn fill(&mut self, bucket: Prefix, entries: &[Entry]) -> Result<Filled, TreeError> {
        let depth = self.depth();
        let next = self.growth.as_ref().and_then(|growth| Prefix::new(depth, growth.next));
        if next != Some(bucket) {
            return Err(TreeError::OutOfTurn(bucket));
        }
        self.check(bucket, entries)?;
        let Some(growth) = &mut self.growth else { return Err(TreeError::OutOfTurn(bucket)) };
        for entry in entries {
            growth.level.apply(Prefix::of(entry.position, depth + 1), Change::Insert(entry.digest));
        }
        growth.next += 1;
        if let Some(next) = Prefix::new(depth, growth.next) {
            return Ok(Filled::Next(next));
        }
        self.levels.extend(self.growth.take().map(|growth| growth.level));
        Ok(Filled::Grown)
    }

    /// Drops levels that its keys do not need, and a growth that they do not want any more. Whether it did.
    pub fn shrink(&mut self) -> bool {
        let wanted = fitting(self.root().count.saturating_mul(SHRINK_SHARE));
        let had = self.levels.len();
        self.levels.truncate(usize::from(wanted) + 1);
        let is_shallower = self.levels.len() < had;
        let outgrown = self.growth.is_some() && fitting(self.root().count) <= self.depth();
        if is_shallower || outgrown {
            self.growth = None;
        }
        is_shallower || outgrown
    }

    /// Whether a bucket's entries, all read from the store, are those that the tree was told of.
    ///
    /// # Errors
    ///
    /// [`TreeError::Drift`], or [`TreeError::Misplaced`] if one lies elsewhere.
    pub fn check(&self, bucket: Prefix, entries: &[Entry]) -> Result<(), TreeError> {
        if bucket.level() != self.depth() {
            return Err(TreeError::OutOfTurn(bucket));
        }
        let is_stray = |entry: &&Entry| !bucket.range().contains(entry.position);
        if let Some(stray) = entries.iter().find(is_stray) {
            return Err(TreeError::Misplaced(stray.position));
        }
        let told = self.leaves().summary(bucket);
        if told == Summary::of(entries) { Ok(()) } else { Err(TreeError::Drift(bucket)) }
    }

    /// Believes the store: these are all the entries of the bucket. A growth begins anew.
    ///
    /// # Errors
    ///
    /// [`TreeError::OutOfTurn`], [`TreeError::Misplaced`] as in [`check`](Self::check), [`TreeError::Full`].
    pub fn correct(&mut self, bucket: Prefix, entries: &[Entry]) -> Result<(), TreeError> {
        match self.check(bucket, entries) {
            Ok(()) => return Ok(()),
            Err(TreeError::Drift(_)) => {}
            Err(error) => return Err(error),
        }
        let (told, found) = (self.leaves().summary(bucket), Summary::of(entries));
        if self.root().count - told.count + found.count > super::MAX_KEYS {
            return Err(TreeError::Full);
        }
        self.growth = None;
        let first = bucket.range().first;
        for (level, nodes) in (0..).zip(&mut self.levels) {
            let index = Prefix::of(first, level).index() as usize;
            nodes.sums[index] = nodes.sums[index].wrapping_sub(told.sum).wrapping_add(found.sum);
            nodes.counts[index] = (u64::from(nodes.counts[index]) - told.count + found.count) as u32;
        }
        Ok(())
    }

    /// Buckets, each of which a scrub may [`check`](Self::check).
    #[must_use]
    pub fn buckets(&self) -> usize {
        nodes(self.depth())
    }
}
