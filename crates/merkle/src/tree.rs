//! The tree: sums and counts of the entries below every node, in flat arrays, one for each level.
//!
//! A node takes [`BYTES_PER_NODE`] bytes. A tree of depth 3 has 4,369 nodes and takes 87 KB, one of depth 4 has 69,905 and takes
//! 1.4 MB, and the deepest has 1,118,481 and takes 22.4 MB; a depth fits as long as its buckets hold [`BUCKET_KEYS`] keys in the
//! mean, so a tree of more than a few keys takes between 0.3 and 5.4 bytes a key. While it grows it has the next level as well.
//!
//! **Growing.** A sum cannot be taken apart, so a level is added by reading the store once, bucket by bucket
//! ([`Tree::grow`], [`Tree::fill`]), while changes go on: those to buckets that were read already count in the new level
//! too. The same reading shows whether tree and store agree, and the deeper tree is used when all of it was read.
//! **Shrinking** is free.

pub(crate) mod bytes;
mod growth;

use crate::digest::Entry;
use crate::place::{FAN_OUT, MAX_DEPTH, Prefix, nodes};
use growth::Growth;

pub use growth::Filled;

/// Keys in a bucket, in the mean, above which a tree wants to be deeper: listing so many costs about what one comparison of
/// 64 children costs.
pub const BUCKET_KEYS: u64 = 64;
/// A tree wants to be shallower when its buckets would still hold no more than this share of [`BUCKET_KEYS`]: far enough from
/// growing that a few keys more or less do not make it do both in turn.
const SHRINK_SHARE: u64 = 4;
/// Bytes that a node takes: a sum and a count.
pub const BYTES_PER_NODE: usize = 20;
/// Keys of one tree; counts have 32 bits.
pub const MAX_KEYS: u64 = u32::MAX as u64;

/// All that lies below a node.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// The sum of the entries' digests, modulo 2¹²⁸.
    pub sum: u128,
    /// How many entries there are.
    pub count: u64,
}

impl Summary {
    /// What these entries come to.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        entries
            .into_iter()
            .fold(Self::default(), |all, entry| Self { sum: all.sum.wrapping_add(entry.digest), count: all.count + 1 })
    }
}

/// Why a tree did not do what it was asked to. It is unchanged then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TreeError {
    /// An entry was removed from a bucket that has none: tree and store have drifted apart. Correct the bucket.
    #[error("there is nothing to remove at position {0:016x}: read its bucket and correct it")]
    NotThere(u64),
    /// A replacement lies elsewhere than what it replaces: they are not versions of one key.
    #[error("an entry at position {before:016x} was to be replaced by one at {after:016x}, which is another key's")]
    Elsewhere {
        /// Where the replaced entry lies.
        before: u64,
        /// Where its replacement lies.
        after: u64,
    },
    /// The tree counts no further.
    #[error("a tree counts up to {MAX_KEYS} keys: split the shard")]
    Full,
    /// A bucket was filled that is not the next one, or there is none to fill.
    #[error("bucket {0:?} is not the next one to be read")]
    OutOfTurn(Prefix),
    /// An entry that was read for a bucket does not belong there.
    #[error("an entry at position {0:016x} was read for a bucket in which it does not lie")]
    Misplaced(u64),
    /// What was read of a bucket is not what the tree was told. Correct the bucket.
    #[error("bucket {0:?} holds other entries than its tree was told: correct it")]
    Drift(Prefix),
}

/// The sums and counts of one level.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Level {
    sums: Box<[u128]>,
    counts: Box<[u32]>,
}

/// What happens to the node above an entry.
#[derive(Clone, Copy, Debug)]
enum Change {
    Insert(u128),
    Remove(u128),
    Replace { before: u128, after: u128 },
}

impl Level {
    fn new(level: u8) -> Self {
        Self { sums: vec![0; nodes(level)].into(), counts: vec![0; nodes(level)].into() }
    }

    fn apply(&mut self, node: Prefix, change: Change) {
        let index = node.index() as usize;
        let (sum, count) = (&mut self.sums[index], &mut self.counts[index]);
        match change {
            Change::Insert(digest) => (*sum, *count) = (sum.wrapping_add(digest), *count + 1),
            Change::Remove(digest) => (*sum, *count) = (sum.wrapping_sub(digest), *count - 1),
            Change::Replace { before, after } => *sum = sum.wrapping_sub(before).wrapping_add(after),
        }
    }

    fn summary(&self, node: Prefix) -> Summary {
        let index = node.index() as usize;
        Summary { sum: self.sums[index], count: u64::from(self.counts[index]) }
    }

    /// The level above, each node of which is the sum of its children.
    fn above(&self) -> Self {
        let sums = self.sums.chunks(FAN_OUT).map(|children| children.iter().fold(0, |a: u128, b| a.wrapping_add(*b)));
        let counts = self.counts.chunks(FAN_OUT).map(|children| children.iter().sum());
        Self { sums: sums.collect(), counts: counts.collect() }
    }
}

/// A hash tree over the entries of a store.
///
/// * who writes: [`insert`](Self::insert), [`remove`](Self::remove), [`replace`](Self::replace)
/// * who compares: [`root`](Self::root), [`depth`](Self::depth), [`summary`](Self::summary)
/// * who maintains: [`grow`](Self::grow), [`fill`](Self::fill), [`shrink`](Self::shrink), [`check`](Self::check),
///   [`correct`](Self::correct)
/// * who makes checkpoints: [`encode`](Self::encode), [`decode`](Self::decode)
#[derive(Clone, Debug)]
pub struct Tree {
    /// From the root to the buckets.
    levels: Vec<Level>,
    growth: Option<Growth>,
}

impl Tree {
    /// An empty tree of this depth, at most [`MAX_DEPTH`].
    #[must_use]
    pub fn with_depth(depth: u8) -> Self {
        assert!(depth <= MAX_DEPTH, "a tree has at most {MAX_DEPTH} levels below its root, not {depth}");
        Self { levels: (0..=depth).map(Level::new).collect(), growth: None }
    }

    /// An empty tree of the depth that fits so many keys.
    #[must_use]
    pub fn for_keys(keys: u64) -> Self {
        Self::with_depth(fitting(keys))
    }

    /// Levels below the root.
    #[must_use]
    pub fn depth(&self) -> u8 {
        (self.levels.len() - 1) as u8
    }

    /// What all entries come to. Two replicas whose roots are equal hold the same entries, but for a collision of probability 2⁻¹²⁸.
    #[must_use]
    pub fn root(&self) -> Summary {
        self.levels[0].summary(Prefix::ROOT)
    }

    /// What the entries below a node come to; nothing if the tree is not so deep.
    #[must_use]
    pub fn summary(&self, node: Prefix) -> Option<Summary> {
        Some(self.levels.get(usize::from(node.level()))?.summary(node))
    }

    /// The bucket of a position.
    #[must_use]
    pub fn bucket(&self, position: u64) -> Prefix {
        Prefix::of(position, self.depth())
    }

    /// Bytes of memory that it takes, growth included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let growing = self.growth.as_ref().map_or(0, |growth| growth.level.sums.len());
        (self.levels.iter().map(|level| level.sums.len()).sum::<usize>() + growing) * BYTES_PER_NODE
    }

    /// A key has come.
    ///
    /// # Errors
    ///
    /// [`TreeError::Full`].
    pub fn insert(&mut self, entry: Entry) -> Result<(), TreeError> {
        if self.root().count == MAX_KEYS {
            return Err(TreeError::Full);
        }
        self.apply(entry.position, Change::Insert(entry.digest));
        Ok(())
    }

    /// A key has gone.
    ///
    /// # Errors
    ///
    /// [`TreeError::NotThere`] if its bucket is empty. An entry that never came is not noticed in a bucket with others; that shows in
    /// [`check`](Self::check).
    pub fn remove(&mut self, entry: Entry) -> Result<(), TreeError> {
        self.find(entry.position)?;
        self.apply(entry.position, Change::Remove(entry.digest));
        Ok(())
    }

    /// A key has another version.
    ///
    /// # Errors
    ///
    /// [`TreeError::NotThere`] as in [`remove`](Self::remove), [`TreeError::Elsewhere`] if they are not of one key.
    pub fn replace(&mut self, before: Entry, after: Entry) -> Result<(), TreeError> {
        if before.position != after.position {
            return Err(TreeError::Elsewhere { before: before.position, after: after.position });
        }
        self.find(before.position)?;
        self.apply(before.position, Change::Replace { before: before.digest, after: after.digest });
        Ok(())
    }

    /// Whether an entry may lie there, in the buckets and in the level that is being filled.
    fn find(&self, position: u64) -> Result<(), TreeError> {
        let in_bucket = self.leaves().summary(self.bucket(position)).count;
        let in_growth = self.growth.as_ref().and_then(|growth| growth.covered(position));
        if in_bucket == 0 || in_growth.is_some_and(|summary| summary.count == 0) {
            return Err(TreeError::NotThere(position));
        }
        Ok(())
    }

    fn apply(&mut self, position: u64, change: Change) {
        for (level, nodes) in (0..).zip(&mut self.levels) {
            nodes.apply(Prefix::of(position, level), change);
        }
        if let Some(growth) = &mut self.growth {
            growth.apply(position, change);
        }
    }

    fn leaves(&self) -> &Level {
        &self.levels[self.levels.len() - 1]
    }
}

/// The least depth at which buckets hold [`BUCKET_KEYS`] keys or fewer in the mean.
fn fitting(keys: u64) -> u8 {
    (0..MAX_DEPTH).find(|depth| keys <= BUCKET_KEYS * nodes(*depth) as u64).unwrap_or(MAX_DEPTH)
}

#[cfg(test)]
mod tests;
