//! How a table's keys are split into shards.
//!
//! *By hash.* Shard `i` of `n` holds the positions `p` with `⌊p · n / 2⁶⁴⌋ = i`: equal parts of the line, in order. For a
//! power of two that is the position's first bits. With twice as many shards, shard `i` becomes `2i` and `2i + 1`, and nothing
//! else moves. The key's slot in a scheme with numbered slots (Redis has 16,384) can stand for its position when it is
//! shifted to the top bits: slots are then parts of the same line.
//!
//! *By range.* A shard holds the keys from one boundary to the next. [`points`] finds boundaries for a shard that has grown
//! too large, from a sample of its keys and their sizes.

use crate::hash;
use crate::ring::ranges::Range;

/// Why a key space cannot be split so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SplitError {
    /// Of nothing there is no part.
    #[error("a table has at least one shard, not 0: set `shards` to 1 or more")]
    NoShards,
}

/// A key space that is split by hash into so many shards, numbered from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashSplit {
    shards: u32,
}

impl HashSplit {
    /// A split into `shards` equal parts.
    ///
    /// # Errors
    ///
    /// [`SplitError::NoShards`] if there are none.
    pub const fn new(shards: u32) -> Result<Self, SplitError> {
        if shards == 0 {
            return Err(SplitError::NoShards);
        }
        Ok(Self { shards })
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shards(self) -> u32 {
        self.shards
    }

    /// The shard of a key.
    #[must_use]
    pub fn shard(self, key: &[u8]) -> u32 {
        self.shard_at(hash::position(key))
    }

    /// The shard of a position.
    #[must_use]
    pub const fn shard_at(self, position: u64) -> u32 {
        ((position as u128 * self.shards as u128) >> 64) as u32
    }

    /// The positions of a shard. `None` for a number that no shard has.
    #[must_use]
    pub const fn range(self, shard: u32) -> Option<Range> {
        if shard >= self.shards {
            return None;
        }
        let (start, end) = (start_of(shard, self.shards), start_of(shard + 1, self.shards));
        Some(Range { first: start as u64, last: (end - 1) as u64 })
    }
}

/// The lowest position whose shard is not below `shard`; 2⁶⁴ for the number behind the last.
const fn start_of(shard: u32, shards: u32) -> u128 {
    ((shard as u128) << 64).div_ceil(shards as u128)
}

/// One key of a sample, and the bytes that it stands for: its own and those of the keys up to the next of the sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Bytes from this key to the next sample's.
    pub bytes: u64,
}

/// Boundaries that cut a range shard into `parts`, from samples in ascending order of keys: each is the least key of the part
/// to its right, ascending. Fewer boundaries come out if there are too few keys to cut between.
///
/// Each boundary stands where the bytes to its left come nearest to its part of the total, so it is off by at most half
/// of the largest sample, and a part is larger than `total / parts` by at most that of one sample. A boundary is never the
/// first key (the part to its left would be empty), and is shortened as far as it still separates ([`separator`]).
#[must_use]
pub fn points(samples: &[Sample<'_>], parts: u32) -> Vec<Vec<u8>> {
    let total: u128 = samples.iter().map(|sample| u128::from(sample.bytes)).sum();
    let parts = samples.len().min(parts as usize);
    let mut points = Vec::new();
    let mut cut = 0;
    let mut left = 0_u128;
    for part in 1..parts {
        // Each part has at least one sample, and leaves one for each that follows.
        let (least, most) = (cut + 1, samples.len() - (parts - part));
        let wanted = total * part as u128;
        while cut < most {
            // Both in units of 1 / parts of a byte, so that nothing is rounded.
            let (without, with) = (left * parts as u128, (left + u128::from(samples[cut].bytes)) * parts as u128);
            if cut >= least && with.abs_diff(wanted) > without.abs_diff(wanted) {
                break;
            }
            left += u128::from(samples[cut].bytes);
            cut += 1;
        }
        points.push(separator(samples[cut - 1].key, samples[cut].key));
    }
    points
}

/// The shortest key that is above `left` and not above `right`: a beginning of `right`. Given `left` below `right`.
#[must_use]
pub fn separator(left: &[u8], right: &[u8]) -> Vec<u8> {
    let common = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    right[..right.len().min(common + 1)].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(shards: u32) -> HashSplit {
        HashSplit::new(shards).expect("it is not zero")
    }

    #[test]
    fn keys_stay_in_their_shards_for_ever() {
        let keys: [&[u8]; 5] = [b"", b"a", b"b", b"user/17", b"\xff\x00"];
        let shards = |count| keys.map(|key| split(count).shard(key));
        assert_eq!(shards(1), [0; 5]);
        assert_eq!(shards(64), [20, 21, 56, 51, 61]);
        assert_eq!(shards(100), [32, 33, 88, 79, 95]);
        assert_eq!(shards(16_384), [5_346, 5_509, 14_492, 13_099, 15_723]);
    }

    #[test]
    fn nothing_cannot_be_split_into_no_shards() {
        assert_eq!(HashSplit::new(0), Err(SplitError::NoShards));
    }

    #[test]
    fn a_power_of_two_takes_the_first_bits() {
        assert_eq!(split(16_384).shard_at(0x1234_5678_9abc_def0), 0x1234_5678 >> 18);
        assert_eq!(split(4).range(3), Some(Range { first: 3 << 62, last: u64::MAX }));
        assert_eq!(split(4).range(4), None);
        assert_eq!(split(1).range(0), Some(Range::ALL));
    }

    #[test]
    fn a_numbered_slot_is_a_part_of_the_line() {
        for slot in [0_u64, 1, 8_191, 8_192, 16_383] {
            assert_eq!(u64::from(split(16_384).shard_at(slot << 50)), slot);
        }
    }

    #[test]
    fn separators_are_as_short_as_can_be() {
        for (left, right, wanted) in
            [("a", "b", "b"), ("apple", "apricot", "apr"), ("app", "apple", "appl"), ("", "x", "x")]
        {
            assert_eq!(separator(left.as_bytes(), right.as_bytes()), wanted.as_bytes());
        }
    }

    #[test]
    fn one_large_value_stands_alone() {
        let samples = [("a", 1), ("b", 1_000), ("c", 1)].map(|(key, bytes)| Sample { key: key.as_bytes(), bytes });
        assert_eq!(points(&samples, 2).len(), 1);
        assert_eq!(points(&samples, 3), [b"b".to_vec(), b"c".to_vec()]);
        assert_eq!(points(&samples[..1], 2), Vec::<Vec<u8>>::new(), "one key cannot be cut");
        assert_eq!(points(&samples, 1), Vec::<Vec<u8>>::new());
        assert_eq!(points(&[], 4), Vec::<Vec<u8>>::new());
    }

    proptest! {
        #[test]
        fn a_shards_range_is_exactly_what_it_holds(shards in 1_u32..5_000, position in any::<u64>()) {
            let split = split(shards);
            let shard = split.shard_at(position);
            prop_assert!(split.range(shard).is_some_and(|range| range.contains(position)));
            let range = split.range(shard).expect("it is a shard");
            prop_assert_eq!((split.shard_at(range.first), split.shard_at(range.last)), (shard, shard));
            prop_assert!(range.size().abs_diff((1 << 64) / u128::from(shards)) <= 1);
        }

        #[test]
        fn twice_as_many_shards_halve_each(shards in 1_u32..5_000, position in any::<u64>()) {
            prop_assert_eq!(split(shards * 2).shard_at(position) / 2, split(shards).shard_at(position));
        }

        #[test]
        fn parts_are_as_even_as_the_samples_allow(sizes in prop::collection::vec(1_u64..1_000, 1..60), parts in 1_u32..8) {
            let keys: Vec<Vec<u8>> = (0..sizes.len()).map(|index| format!("key/{index:05}").into_bytes()).collect();
            let samples: Vec<Sample> = keys.iter().zip(&sizes).map(|(key, bytes)| Sample { key, bytes: *bytes }).collect();
            let points = points(&samples, parts);
            prop_assert!(points.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(points.len(), (parts as usize - 1).min(samples.len() - 1));
            let (total, largest) = (sizes.iter().sum::<u64>(), sizes.iter().max().copied().unwrap_or(0));
            let mut held = vec![0; points.len() + 1];
            for sample in &samples {
                held[points.partition_point(|point| point.as_slice() <= sample.key)] += sample.bytes;
            }
            let most = held.iter().max().copied().unwrap_or(0);
            prop_assert!(held.iter().all(|bytes| *bytes > 0), "{:?}", held);
            if points.len() + 1 == parts as usize {
                prop_assert!(most <= total / u64::from(parts) + largest + 1, "{:?}", held);
            }
        }
    }
}
