//! Where scans of tables stand.
//!
//! A scan goes on above a key, and a cursor of Redis is a number. So the gateway keeps, for each number that it has given out, where
//! to go on: a bounded list, from which the oldest falls when it is full. A cursor that has
//! fallen, or comes of another node, is refused with what to do. Numbers begin at a random place of each node, so that one of
//! another node's is not taken for one of its own.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use althing_types::GroupId;
use bytes::Bytes;

/// Scans that may be under way at a time on one node.
pub const MAX_CURSORS: usize = 16_384;

/// Where a scan goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// In this shard; none at the very beginning.
    pub shard: Option<GroupId>,
    /// Above this key.
    pub after: Option<Bytes>,
}

/// The cursors of one node.
#[derive(Debug)]
pub struct Cursors(Mutex<Given>);

#[derive(Debug)]
struct Given {
    next: u64,
    positions: BTreeMap<u64, Position>,
}

impl Cursors {
    /// None yet; `seed` says where numbers begin.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Below 2^62, so that clients that read a signed number do, with room for as many again.
        Self(Mutex::new(Given { next: (seed >> 2) | 1, positions: BTreeMap::new() }))
    }

    /// The number for a position.
    pub fn put(&self, position: Position) -> u64 {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = given.next;
        given.next += 1;
        if given.positions.len() >= MAX_CURSORS {
            given.positions.pop_first();
        }
        given.positions.insert(number, position);
        number
    }

    /// The position of a number. It stays, so that a client whose answer was lost may ask again.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Position> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).positions.get(&number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_cursor_falls_when_there_are_too_many() {
        let cursors = Cursors::new(u64::MAX);
        let position = Position { shard: Some(GroupId(7)), after: Some(Bytes::from_static(b"k")) };
        let first = cursors.put(position.clone());
        assert_eq!(cursors.get(first), Some(position.clone()));
        assert!(first <= 1 << 62, "a signed number holds it");
        for _ in 0..MAX_CURSORS {
            cursors.put(position.clone());
        }
        assert_eq!(cursors.get(first), None);
        assert_eq!(cursors.get(0), None);
    }
}
