//! Steps of HSCAN, SSCAN and ZSCAN, which keep nothing in mind between two calls.
//!
//! What is scanned may change between the steps, and any replica may be asked for the next one. A place in a sequence would
//! skip elements after a removal; so the sequence is the order of the elements' hashes, and the cursor is a hash. Nothing is kept in
//! that order: each step looks at all elements and takes the least hashes from its cursor on. Steps of a large collection
//! are therefore large as well, so that all steps together look at each element a bounded number of times.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::glob;
use crate::op::Scan;

/// Elements of a collection that is shown whole in one step, whatever was asked for: Redis does so with its compact forms.
const MAX_WHOLE: u64 = 128;
/// Steps of a whole scan, about, and at the most: so often is each element looked at.
const MAX_STEPS: u64 = 64;
/// Bits of a cursor: JavaScript's clients hold cursors in floats.
const CURSOR_BITS: u32 = 52;

/// The elements of one step, and where the next begins; 0 after the last.
pub fn step<T>(scan: &Scan, len: u64, elements: impl Iterator<Item = T>, name: impl Fn(&T) -> &Bytes) -> (u64, Vec<T>) {
    let fits = |element: &T| scan.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, name(element)));
    if len <= MAX_WHOLE {
        return (0, elements.filter(fits).collect());
    }
    let wanted = usize::try_from(scan.count.max(len.div_ceil(MAX_STEPS)).max(1)).unwrap_or(usize::MAX);
    let placed = elements.map(|element| (place(name(&element)), element));
    let mut ahead: Vec<(u64, T)> = placed.filter(|(place, _)| *place >= scan.cursor).collect();
    let mut cursor = 0;
    if wanted < ahead.len() {
        let (_, (last, _), _) = ahead.select_nth_unstable_by_key(wanted - 1, |(place, _)| *place);
        // Elements of one hash are shown together: a cursor cannot point between them.
        cursor = *last + 1;
        ahead.retain(|(place, _)| *place < cursor);
    }
    (cursor, ahead.into_iter().map(|(_, element)| element).filter(fits).collect())
}

/// Where an element stands; never 0, which is where a scan begins and ends.
fn place(name: &[u8]) -> u64 {
    (xxh3_64(name) >> (u64::BITS - CURSOR_BITS)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn scan(cursor: u64, count: u64) -> Scan {
        Scan { cursor, pattern: None, count }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_there_all_the_time_is_shown_whatever_comes_and_goes(
            stays in proptest::collection::btree_set(0_u32..5_000, 0..1_500),
            comes in proptest::collection::vec(proptest::collection::btree_set(5_000_u32..6_000, 0..300), 1..8),
            count in 1_u64..200,
        ) {
            let (mut cursor, mut shown, mut steps) = (0, BTreeSet::new(), 0);
            loop {
                let now: Vec<Bytes> = stays.iter().chain(&comes[steps % comes.len()]).map(|n| n.to_string().into()).collect();
                let (next, found) = step(&scan(cursor, count), now.len() as u64, now.into_iter(), |name| name);
                shown.extend(found);
                steps += 1;
                prop_assert!(steps <= 200, "a scan ends");
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
            for number in stays {
                prop_assert!(shown.contains(&Bytes::from(number.to_string())));
            }
        }
    }

    #[test]
    fn steps_are_about_as_large_as_asked_and_show_nothing_twice() {
        let all: Vec<Bytes> = (0..1_000).map(|n| Bytes::from(format!("field:{n}"))).collect();
        let (mut cursor, mut shown) = (0, Vec::new());
        loop {
            let (next, found) = step(&scan(cursor, 100), 1_000, all.iter().cloned(), |name| name);
            assert!((100..=102).contains(&found.len()) || next == 0);
            shown.extend(found);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(shown.len(), 1_000);
        assert_eq!(shown.into_iter().collect::<BTreeSet<_>>().len(), 1_000);
    }
}
