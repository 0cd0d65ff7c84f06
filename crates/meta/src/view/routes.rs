//! From a key to the shard that holds it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use althing_manifest::shard::{HashSlice, RangeSlice};
use althing_manifest::{Shard, Slice};
use althing_placement::split::HashSplit;
use althing_types::GroupId;

/// The shards of one table to which requests go, by what they hold.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Slices of a table that is split by hash, by their number. A slot is empty while its shard is not made yet. Should several
    /// claim one, they stand in the order of their groups and the last one has it, so that views do not depend on the way by
    /// which they came about.
    parts: Vec<Vec<Arc<Shard>>>,
    /// Slices of a table that is split by range, by their least key and, where a split is half known, by their group.
    ranges: BTreeMap<(Vec<u8>, GroupId), Arc<Shard>>,
}

impl Routes {
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.parts.iter().all(Vec::is_empty)
    }

    /// Puts a shard where it belongs.
    pub fn insert(&mut self, shard: &Arc<Shard>) {
        match &shard.spec.slice {
            Slice::Hash(HashSlice { index, of }) => {
                if index >= of || *of > althing_manifest::table::MAX_SHARDS {
                    return;
                }
                if self.parts.len() != *of as usize {
                    self.parts = vec![Vec::new(); *of as usize];
                }
                let slot = &mut self.parts[*index as usize];
                let place = slot.partition_point(|other| other.spec.group < shard.spec.group);
                slot.insert(place, Arc::clone(shard));
            }
            Slice::Range(RangeSlice { start, .. }) => {
                self.ranges.insert((start.clone(), shard.spec.group), Arc::clone(shard));
            }
        }
    }

    /// Takes a shard away.
    pub fn remove(&mut self, shard: &Shard) {
        match &shard.spec.slice {
            Slice::Hash(HashSlice { index, .. }) => {
                let Some(slot) = self.parts.get_mut(*index as usize) else { return };
                slot.retain(|other| other.spec.group != shard.spec.group);
            }
            Slice::Range(RangeSlice { start, .. }) => {
                self.ranges.remove(&(start.clone(), shard.spec.group));
            }
        }
    }

    /// The shard that holds a key.
    pub fn locate(&self, key: &[u8]) -> Option<&Arc<Shard>> {
        if let Ok(split) = HashSplit::new(self.parts.len() as u32) {
            return self.parts[split.shard(key) as usize].last();
        }
        self.before(key).find(|shard| contains(shard, key))
    }

    /// Ranges that begin at or before a key, the nearest first; a range that a split has made smaller does not hide its parent's
    /// elder, so those with the same beginning are looked at from the latest group on.
    fn before(&self, key: &[u8]) -> impl Iterator<Item = &Arc<Shard>> {
        let upper = Bound::Included((key.to_vec(), GroupId(u64::MAX)));
        self.ranges.range((Bound::Unbounded, upper)).rev().map(|(_, shard)| shard)
    }

    /// The shards that hold keys from one to another.
    pub fn overlapping<'a>(&'a self, start: &'a [u8], end: Option<&'a [u8]>) -> impl Iterator<Item = &'a Arc<Shard>> {
        let of_parts = self.parts.iter().filter_map(|slot| slot.last());
        let of_ranges = self.ranges.values().filter(move |shard| match &shard.spec.slice {
            Slice::Hash(_) => false,
            Slice::Range(range) => {
                let begins_before = end.is_none_or(|end| range.start.as_slice() < end);
                begins_before && range.end.as_deref().is_none_or(|last| start < last)
            }
        });
        of_parts.chain(of_ranges)
    }
}

fn contains(shard: &Shard, key: &[u8]) -> bool {
    match &shard.spec.slice {
        Slice::Hash(_) => false,
        Slice::Range(range) => range.contains(key),
    }
}
