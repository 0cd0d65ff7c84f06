//! How many keys a range has, without visiting them.
//!
//! ```text
//!   groups ──▶ buckets: first key, number of keys up to the next bucket's first
//!   count(range) = whole buckets within it  +  the keys of the two that it cuts, which the reader visits
//! ```
//!
//! The index holds the counts of one revision and one key per bucket of at most [`MAX_COUNT_BUCKET_KEYS`] keys, so it is
//! small beside the data and bounded by it. A copy costs one pointer per group: readers take one and keep
//! it while the writer goes on. A reader whose view is newer adds what the revisions between have changed.
//!
//! The index only counts. Which keys a bucket holds is in the engine: whoever splits a bucket brings the boundaries.

use std::sync::Arc;

use althing_api::kv::{KeyRange, RangeEnd};
use althing_types::Revision;
use althing_types::limits::MAX_COUNT_BUCKET_KEYS;
use bytes::Bytes;

/// Keys in a bucket that was just cut.
pub const CUT_BUCKET_KEYS: usize = MAX_COUNT_BUCKET_KEYS / 2;
/// Keys of two neighbours that become one bucket when a removal has shrunk one of them.
const MERGE_BUCKET_KEYS: u64 = MAX_COUNT_BUCKET_KEYS as u64 / 4;
/// Buckets in a group before it is cut.
const MAX_GROUP_BUCKETS: usize = 128;

#[derive(Clone, Debug)]
struct Bucket {
    /// Where it begins; the first one begins with the empty key.
    first: Bytes,
    keys: u64,
}

#[derive(Clone, Debug)]
struct Group {
    keys: u64,
    buckets: Vec<Bucket>,
}

impl Group {
    fn of(buckets: Vec<Bucket>) -> Self {
        Self { keys: buckets.iter().map(|bucket| bucket.keys).sum(), buckets }
    }

    fn first(&self) -> &Bytes {
        &self.buckets[0].first
    }
}

/// The counts of one revision. There is always one bucket at least.
#[derive(Clone, Debug)]
pub struct CountIndex {
    revision: Revision,
    groups: Arc<Vec<Arc<Group>>>,
}

/// The whole buckets of a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inner {
    /// From the first of them to the end of the last.
    pub keys: KeyRange,
    /// Keys in them.
    pub count: u64,
}

/// A bucket that holds too many keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overfull {
    /// The range of the bucket.
    pub keys: KeyRange,
}

/// A place: group and bucket.
type Place = (usize, usize);

impl CountIndex {
    /// The index of no keys at all.
    #[must_use]
    pub fn empty(revision: Revision) -> Self {
        let bucket = Bucket { first: Bytes::new(), keys: 0 };
        Self { revision, groups: Arc::new(vec![Arc::new(Group::of(vec![bucket]))]) }
    }

    /// Whose counts these are.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// All keys.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.groups.iter().map(|group| group.keys).sum()
    }

    /// The whole buckets of a range, if there are any.
    #[must_use]
    pub fn inner(&self, keys: &KeyRange) -> Option<Inner> {
        let from = self.at_or_above(&keys.start);
        let to = match &keys.end {
            RangeEnd::Single => return None,
            // The bucket that holds the end, or begins with it, is the first that is not whole.
            RangeEnd::Before(end) => self.holding(end),
            RangeEnd::Unbounded => (self.groups.len(), 0),
        };
        if from >= to {
            return None;
        }
        let end = if to.0 < self.groups.len() {
            RangeEnd::Before(self.bucket(to).first.clone())
        } else {
            RangeEnd::Unbounded
        };
        let keys = KeyRange { start: self.bucket(from).first.clone(), end };
        Some(Inner { keys, count: self.sum(from, to) })
    }

    /// The bucket that holds the key with so many keys below it, given that there is one, and the keys before the bucket.
    #[must_use]
    pub fn bucket_of(&self, rank: u64) -> (KeyRange, u64) {
        let mut before = 0;
        let mut place = (0, 0);
        while self.next(place).0 < self.groups.len() && before + self.bucket(place).keys <= rank {
            before += self.bucket(place).keys;
            place = self.next(place);
        }
        (self.keys_of(place), before)
    }

    /// Brings the index to `revision`, where each of these keys was created (1) or removed (-1) in between. Answers the
    /// buckets to be cut with [`CountIndex::cut`].
    pub fn advance(&mut self, revision: Revision, changes: &[(Bytes, i64)]) -> Vec<Overfull> {
        self.revision = revision;
        let mut overfull = Vec::new();
        for (key, change) in changes {
            let (group_at, bucket_at) = self.holding(key);
            let group = Arc::make_mut(&mut Arc::make_mut(&mut self.groups)[group_at]);
            group.keys = group.keys.wrapping_add_signed(*change);
            let bucket = &mut group.buckets[bucket_at];
            bucket.keys = bucket.keys.wrapping_add_signed(*change);
            if *change > 0 && bucket.keys == MAX_COUNT_BUCKET_KEYS as u64 + 1 {
                overfull.push(bucket.first.clone());
            }
            if *change < 0 {
                self.merge((group_at, bucket_at));
            }
        }
        // A bucket may have joined its neighbour since: two of the list may be one now.
        let mut cuts: Vec<Overfull> = overfull.into_iter().filter_map(|first| self.overfull(&first)).collect();
        cuts.sort_unstable_by(|a, b| a.keys.start.cmp(&b.keys.start));
        cuts.dedup();
        cuts
    }

    /// Replaces a bucket by those that begin with these keys, with so many keys each; the first begins where the bucket
    /// begins.
    pub fn cut(&mut self, overfull: &Overfull, parts: &[(Bytes, u64)]) {
        let (group_at, bucket_at) = self.holding(&overfull.keys.start);
        let groups = Arc::make_mut(&mut self.groups);
        let group = Arc::make_mut(&mut groups[group_at]);
        let mut buckets: Vec<Bucket> =
            parts.iter().map(|(first, keys)| Bucket { first: first.clone(), keys: *keys }).collect();
        let Some(head) = buckets.first_mut() else { return };
        head.first = group.buckets[bucket_at].first.clone();
        group.buckets.splice(bucket_at..=bucket_at, buckets);
        *group = Group::of(std::mem::take(&mut group.buckets));
        if group.buckets.len() > MAX_GROUP_BUCKETS {
            let halves = group.buckets.chunks(MAX_GROUP_BUCKETS / 2).map(|half| Arc::new(Group::of(half.to_vec())));
            let halves: Vec<_> = halves.collect();
            groups.splice(group_at..=group_at, halves);
        }
    }

    /// A bucket with few keys joins its left neighbour in the group; so does the group's only one, across groups.
    fn merge(&mut self, (group_at, bucket_at): Place) {
        let groups = Arc::make_mut(&mut self.groups);
        if bucket_at > 0 {
            let group = Arc::make_mut(&mut groups[group_at]);
            let keys = group.buckets[bucket_at].keys;
            if keys == 0 || keys + group.buckets[bucket_at - 1].keys <= MERGE_BUCKET_KEYS {
                group.buckets.remove(bucket_at);
                group.buckets[bucket_at - 1].keys += keys;
            }
        } else if group_at > 0 && groups[group_at].buckets.len() == 1 {
            let keys = groups[group_at].keys;
            let left = Arc::make_mut(&mut groups[group_at - 1]);
            let last = left.buckets.last_mut().expect("a group has a bucket");
            if keys == 0 || keys + last.keys <= MERGE_BUCKET_KEYS {
                last.keys += keys;
                left.keys += keys;
                groups.remove(group_at);
            }
        }
    }

    /// The bucket that begins with a key, if it holds too many.
    fn overfull(&self, first: &Bytes) -> Option<Overfull> {
        let place = self.holding(first);
        if self.bucket(place).keys <= MAX_COUNT_BUCKET_KEYS as u64 {
            return None;
        }
        Some(Overfull { keys: self.keys_of(place) })
    }

    /// From where a bucket begins to where the next one does.
    fn keys_of(&self, place: Place) -> KeyRange {
        let next = self.next(place);
        let end = if next.0 < self.groups.len() {
            RangeEnd::Before(self.bucket(next).first.clone())
        } else {
            RangeEnd::Unbounded
        };
        KeyRange { start: self.bucket(place).first.clone(), end }
    }

    fn bucket(&self, (group, bucket): Place) -> &Bucket {
        &self.groups[group].buckets[bucket]
    }

    fn next(&self, (group, bucket): Place) -> Place {
        if bucket + 1 < self.groups[group].buckets.len() { (group, bucket + 1) } else { (group + 1, 0) }
    }

    /// The bucket that a key falls into.
    fn holding(&self, key: &[u8]) -> Place {
        let group = self.groups.partition_point(|group| *group.first() <= *key).saturating_sub(1);
        let buckets = &self.groups[group].buckets;
        (group, buckets.partition_point(|bucket| bucket.first <= *key).saturating_sub(1))
    }

    /// The first bucket that begins at a key or above.
    fn at_or_above(&self, key: &[u8]) -> Place {
        let place = self.holding(key);
        if self.bucket(place).first >= *key { place } else { self.next(place) }
    }

    fn sum(&self, from: Place, to: Place) -> u64 {
        let within = |group: usize, start: usize, end: usize| -> u64 {
            self.groups[group].buckets[start..end].iter().map(|bucket| bucket.keys).sum()
        };
        if from.0 == to.0 {
            return within(from.0, from.1, to.1);
        }
        let head = within(from.0, from.1, self.groups[from.0].buckets.len());
        let middle: u64 = self.groups[from.0 + 1..to.0].iter().map(|group| group.keys).sum();
        let tail = if to.0 < self.groups.len() { within(to.0, 0, to.1) } else { 0 };
        head + middle + tail
    }
}

/// Builds an index from all keys in order.
#[derive(Debug)]
pub struct CountIndexBuilder {
    buckets: Vec<Bucket>,
}

impl Default for CountIndexBuilder {
    fn default() -> Self {
        Self { buckets: vec![Bucket { first: Bytes::new(), keys: 0 }] }
    }
}

impl CountIndexBuilder {
    /// The next key.
    pub fn push(&mut self, key: &Bytes) {
        let last = self.buckets.last_mut().expect("there is always one bucket");
        if last.keys < CUT_BUCKET_KEYS as u64 {
            last.keys += 1;
        } else {
            // A copy: the key may share the buffer of a whole block of the engine.
            self.buckets.push(Bucket { first: Bytes::copy_from_slice(key), keys: 1 });
        }
    }

    /// The first key and the number of keys of each bucket.
    #[must_use]
    pub fn into_parts(self) -> Vec<(Bytes, u64)> {
        self.buckets.into_iter().map(|bucket| (bucket.first, bucket.keys)).collect()
    }

    /// The index, as of `revision`.
    #[must_use]
    pub fn finish(self, revision: Revision) -> CountIndex {
        let groups = self.buckets.chunks(MAX_GROUP_BUCKETS / 2).map(|chunk| Arc::new(Group::of(chunk.to_vec())));
        CountIndex { revision, groups: Arc::new(groups.collect()) }
    }
}

#[cfg(test)]
mod tests;
