//! Keys that are held decoded, so that a key that is written often is not decoded each time.
//!
//! Which ones go is decided by the second chance (Corbató 1969): keys stand in a ring, and one that was used since the hand
//! last came by is passed over once. Keys that are not written to the engine yet are never dropped: the shard shrinks the cache after
//! it has written.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::keyed::Keyed;
use crate::layout::Label;

/// How many bytes a decoded key takes for each byte of its record, about: trees and lists around small things.
const DECODED_PER_BYTE: usize = 3;
/// What a decoded key takes however small it is.
const SLOT_OVERHEAD_BYTES: usize = 1_024;

/// What the engine holds of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    /// Bytes of the record.
    pub(crate) bytes: usize,
    /// What it says.
    pub(crate) label: Label,
}

/// A decoded key.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Its state.
    pub(crate) state: Keyed,
    /// What the engine holds of it.
    pub(crate) stored: Option<Stored>,
    /// What the record takes at the most, with all that was written since.
    pub(crate) bytes: usize,
    use_: Use,
}

impl Slot {
    /// A key as the engine holds it.
    pub(crate) const fn new(state: Keyed, stored: Option<Stored>, bytes: usize) -> Self {
        Self { state, stored, bytes, use_: Use::Since }
    }
}

/// Whether a slot was used since the hand came by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    Since,
    NotSince,
}

/// The decoded keys.
#[derive(Debug)]
pub(crate) struct Cache {
    slots: BTreeMap<Bytes, Slot>,
    ring: VecDeque<Bytes>,
    bytes: usize,
    limit: usize,
}

impl Cache {
    /// A cache that shrinks to so many bytes.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { slots: BTreeMap::new(), ring: VecDeque::new(), bytes: 0, limit }
    }

    /// The key, if it is there.
    pub(crate) fn get(&mut self, key: &Bytes) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key)?;
        slot.use_ = Use::Since;
        Some(slot)
    }

    /// Adds a key that is not there.
    pub(crate) fn insert(&mut self, key: Bytes, slot: Slot) {
        self.bytes += weight(&key, slot.bytes);
        self.ring.push_back(key.clone());
        self.slots.insert(key, slot);
    }

    /// Notes that a key's record now has so many bytes.
    pub(crate) fn resize(&mut self, key: &Bytes, before: usize, after: usize) {
        self.bytes = self.bytes + weight(key, after) - weight(key, before);
    }

    /// Drops keys until the rest fits. All of them are written.
    pub(crate) fn shrink(&mut self) {
        while self.bytes > self.limit {
            let Some(key) = self.ring.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            match slot.use_ {
                Use::Since => {
                    slot.use_ = Use::NotSince;
                    self.ring.push_back(key);
                }
                Use::NotSince => {
                    self.bytes -= weight(&key, slot.bytes);
                    self.slots.remove(&key);
                }
            }
        }
    }
}

fn weight(key: &Bytes, record: usize) -> usize {
    SLOT_OVERHEAD_BYTES + 2 * key.len() + DECODED_PER_BYTE * record
}
