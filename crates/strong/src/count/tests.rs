use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn key(number: u16) -> Bytes {
    Bytes::from(format!("{number:05}"))
}

/// What the machine does after each batch.
fn advance(index: &mut CountIndex, keys: &BTreeSet<Bytes>, revision: Revision, changes: &[(Bytes, i64)]) {
    for overfull in index.advance(revision, changes) {
        let mut builder = CountIndexBuilder::default();
        keys.iter().filter(|key| overfull.keys.contains(key)).for_each(|key| builder.push(key));
        index.cut(&overfull, &builder.into_parts());
    }
}

fn count(index: &CountIndex, keys: &BTreeSet<Bytes>, range: &KeyRange) -> u64 {
    let inner = index.inner(range);
    let whole = inner.as_ref().map_or(0, |inner| inner.count);
    let edges = keys.iter().filter(|key| range.contains(key));
    let edges = edges.filter(|key| inner.as_ref().is_none_or(|inner| !inner.keys.contains(key)));
    whole + edges.count() as u64
}

proptest! {
    #[test]
    fn a_count_is_the_number_of_keys_whatever_came_and_went(
        batches in proptest::collection::vec(
            proptest::collection::vec((any::<bool>(), 0_u16..9000, 1_u16..3000), 1..6),
            1..6,
        ),
        start in 0_u16..9000,
        end in 0_u16..9000,
    ) {
        let mut keys = BTreeSet::new();
        let mut index = CountIndex::empty(Revision::FIRST);
        for (turn, batch) in batches.into_iter().enumerate() {
            let mut changes = Vec::new();
            for (create, number) in batch.into_iter().flat_map(|(create, from, many)| {
                (from..from + many).map(move |number| (create, number))
            }) {
                if create && keys.insert(key(number)) {
                    changes.push((key(number), 1));
                } else if !create && keys.remove(&key(number)) {
                    changes.push((key(number), -1));
                }
            }
            advance(&mut index, &keys, Revision(turn as i64 + 2), &changes);
            prop_assert_eq!(index.total(), keys.len() as u64);
            let biggest = index.groups.iter().flat_map(|group| &group.buckets).map(|bucket| bucket.keys).max();
            prop_assert!(biggest <= Some(MAX_COUNT_BUCKET_KEYS as u64));
        }
        for range in [
            KeyRange { start: key(start), end: RangeEnd::Before(key(end)) },
            KeyRange { start: key(start), end: RangeEnd::Unbounded },
            KeyRange::all(),
        ] {
            let expected = keys.iter().filter(|key| range.contains(key)).count() as u64;
            prop_assert_eq!(count(&index, &keys, &range), expected);
        }
    }
}

#[test]
fn a_bucket_holds_no_more_than_it_may_and_few_keys_need_few_buckets() {
    let mut keys = BTreeSet::new();
    let mut index = CountIndex::empty(Revision::FIRST);
    for number in 0..50_000 {
        keys.insert(key(number));
        advance(&mut index, &keys, Revision::FIRST, &[(key(number), 1)]);
    }
    let buckets = |index: &CountIndex| index.groups.iter().map(|group| group.buckets.len()).sum::<usize>();
    assert!(buckets(&index) <= 50_000 / CUT_BUCKET_KEYS + 1);
    let gone: Vec<(Bytes, i64)> = (0..50_000).filter(|n| n % 1000 != 0).map(|n| (key(n), -1)).collect();
    keys.retain(|key| key.ends_with(b"000"));
    advance(&mut index, &keys, Revision(2), &gone);
    assert_eq!(index.total(), 50);
    assert!(buckets(&index) <= 8, "{} buckets for 50 keys", buckets(&index));
}

#[test]
fn a_reader_keeps_its_copy_while_the_writer_goes_on() {
    let mut index = CountIndex::empty(Revision::FIRST);
    let copy = index.clone();
    index.advance(Revision(2), &[(key(1), 1)]);
    assert_eq!((copy.total(), copy.revision()), (0, Revision::FIRST));
    assert_eq!((index.total(), index.revision()), (1, Revision(2)));
}
