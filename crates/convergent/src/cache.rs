//! Keys that are held decoded, so that a key that is written often is not decoded each time.
//!
//! A key is looked up once for each job; from then on it is a place. Which ones go is decided by the second chance (Corbató 1969):
//! places stand in a ring, and one that was used since the hand last came by is passed over once. Keys that are not written to the
//! engine yet are never dropped: the shard shrinks the cache after it has written.

use std::collections::{BTreeMap, VecDeque};

use althing_merkle::Entry;
use bytes::Bytes;

use crate::keyed::Keyed;
use crate::layout::Label;

/// How many bytes a decoded key takes for each byte of its record, about: trees and lists around small things.
const DECODED_PER_BYTE: usize = 3;
/// What a decoded key takes however small it is.
const SLOT_OVERHEAD_BYTES: usize = size_of::<Slot>() + 256;

/// What the engine holds of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    /// Bytes of the record.
    pub(crate) bytes: usize,
    /// What it says.
    pub(crate) label: Label,
    /// What the hash tree counts it as.
    pub(crate) entry: Entry,
}

/// Whether the engine holds what a slot does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// It does.
    Yes,
    /// It does not: the slot is to be written with the next commit.
    NotYet,
}

/// A decoded key.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Which key.
    pub(crate) key: Bytes,
    /// Its state.
    pub(crate) state: Keyed,
    /// What the engine holds of it.
    pub(crate) stored: Option<Stored>,
    /// Whether that is all.
    pub(crate) written: Written,
    /// What the record takes at the most, with all that was changed since.
    pub(crate) bytes: usize,
    use_: Use,
}

impl Slot {
    /// A key as the engine holds it.
    pub(crate) fn new(key: Bytes, state: Keyed, stored: Option<Stored>) -> Self {
        let bytes = stored.map_or(0, |stored| stored.bytes);
        Self { key, state, stored, written: Written::Yes, bytes, use_: Use::Since }
    }

    fn weight(&self) -> usize {
        SLOT_OVERHEAD_BYTES + 2 * self.key.len() + DECODED_PER_BYTE * self.bytes
    }
}

/// Whether a slot was used since the hand came by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    Since,
    NotSince,
}

/// Where a key is held, until the cache is shrunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(usize);

/// The decoded keys.
#[derive(Debug)]
pub(crate) struct Cache {
    places: BTreeMap<Bytes, Place>,
    slots: Vec<Option<Box<Slot>>>,
    free: Vec<Place>,
    ring: VecDeque<Place>,
    bytes: usize,
    limit: usize,
}

impl Cache {
    /// A cache that shrinks to so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        let (places, slots, free, ring) = (BTreeMap::new(), Vec::new(), Vec::new(), VecDeque::new());
        Self { places, slots, free, ring, bytes: 0, limit }
    }

    /// Where the key is, if it is here.
    pub(crate) fn find(&self, key: &Bytes) -> Option<Place> {
        self.places.get(key).copied()
    }

    /// The key at a place.
    pub(crate) fn slot(&mut self, place: Place) -> &mut Slot {
        let slot = self.slots[place.0].as_mut().expect("a place is used only until the cache is shrunk");
        slot.use_ = Use::Since;
        slot
    }

    /// Adds a key that is not here.
    pub(crate) fn insert(&mut self, slot: Slot) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Place(self.slots.len() - 1)
        });
        self.bytes += slot.weight();
        self.places.insert(slot.key.clone(), place);
        self.ring.push_back(place);
        self.slots[place.0] = Some(Box::new(slot));
        place
    }

    /// Notes how many bytes a key's record has now, at most.
    pub(crate) fn resize(&mut self, place: Place, bytes: usize) {
        let slot = self.slot(place);
        let before = slot.weight();
        slot.bytes = bytes;
        let after = slot.weight();
        self.bytes = self.bytes + after - before;
    }

    /// Drops keys until the rest fits. All of them are written.
    pub(crate) fn shrink(&mut self) {
        while self.bytes > self.limit {
            let Some(place) = self.ring.pop_front() else { return };
            let Some(slot) = self.slots[place.0].as_mut() else { continue };
            match slot.use_ {
                Use::Since => {
                    slot.use_ = Use::NotSince;
                    self.ring.push_back(place);
                }
                Use::NotSince => self.drop_slot(place),
            }
        }
    }

    fn drop_slot(&mut self, place: Place) {
        let Some(slot) = self.slots[place.0].take() else { return };
        assert!(slot.written == Written::Yes, "a key was to be dropped that is not written");
        self.bytes -= slot.weight();
        self.places.remove(&slot.key);
        self.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Bytes {
        Bytes::from(number.to_string())
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes_first() {
        let mut cache = Cache::new(0);
        for number in 0..10 {
            cache.insert(Slot::new(key(number), Keyed::default(), None));
        }
        cache.limit = cache.bytes;
        for number in 10..100 {
            let place = cache.find(&key(3)).expect("it is used all the time");
            cache.slot(place);
            cache.insert(Slot::new(key(number), Keyed::default(), None));
            cache.shrink();
            assert!(cache.bytes <= cache.limit);
        }
        assert_eq!(cache.find(&key(0)), None);
        assert!((9..=10).contains(&cache.places.len()) && cache.slots.len() <= 12);
        assert_eq!(cache.places.len(), cache.ring.len());
        cache.limit = 0;
        cache.shrink();
        assert_eq!((cache.bytes, cache.places.len()), (0, 0));
    }

    #[test]
    fn a_large_record_counts_for_more() {
        let mut cache = Cache::new(0);
        let place = cache.insert(Slot::new(key(1), Keyed::default(), None));
        let small = cache.bytes;
        cache.resize(place, 1_000);
        assert_eq!(cache.bytes, small + 1_000 * DECODED_PER_BYTE);
        cache.resize(place, 0);
        assert_eq!(cache.bytes, small);
    }
}
