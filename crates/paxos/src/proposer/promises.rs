//! Promises that were given together with an acceptance: the next round of the same proposer begins with phase 2.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::ballot::Ballot;
use crate::register::Accepted;

/// Keys for which promises are kept; the oldest goes first. One that is gone costs its next round a round trip.
pub const MAX_PROMISES: usize = 1_024;

/// What a quorum has accepted, and the ballot that it has promised beyond.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promise {
    pub next: Ballot,
    pub current: Accepted,
}

/// The promises of a proposer.
#[derive(Debug, Default)]
pub struct Promises {
    kept: BTreeMap<Bytes, Promise>,
    /// In order of age; those whose promise was taken or replaced meanwhile are passed over.
    ages: VecDeque<(Bytes, Ballot)>,
}

impl Promises {
    /// Keeps one, in the place of an older one for the key.
    pub fn keep(&mut self, key: Bytes, promise: Promise) {
        self.ages.push_back((key.clone(), promise.next));
        self.kept.insert(key, promise);
        while self.kept.len() > MAX_PROMISES || self.ages.len() > 2 * MAX_PROMISES {
            let Some((key, next)) = self.ages.pop_front() else { return };
            if self.kept.get(&key).is_some_and(|promise| promise.next == next) {
                self.kept.remove(&key);
            }
        }
    }

    /// Takes the promise for a key, if there is one: it is good for one round.
    pub fn take(&mut self, key: &[u8]) -> Option<Promise> {
        self.kept.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use althing_types::NodeId;

    use super::*;
    use crate::register::Value;

    #[test]
    fn the_oldest_promises_go_first_and_no_more_are_kept_than_the_limit() {
        let mut promises = Promises::default();
        let key = |number: usize| Bytes::from(number.to_string());
        let next = |counter| Ballot { counter, node: NodeId(1), incarnation: 1 };
        for number in 0..3 * MAX_PROMISES {
            let current =
                Accepted { ballot: Ballot::ZERO, version: Ballot::ZERO, parent: Ballot::ZERO, value: Value::NEVER };
            promises.keep(key(number), Promise { next: next(number as u64), current });
            if number % 2 == 0 {
                promises.take(&key(number));
            }
        }
        assert!(promises.kept.len() <= MAX_PROMISES && promises.ages.len() <= 2 * MAX_PROMISES);
        assert_eq!(promises.take(&key(1)), None);
        assert!(promises.take(&key(3 * MAX_PROMISES - 1)).is_some());
    }
}
