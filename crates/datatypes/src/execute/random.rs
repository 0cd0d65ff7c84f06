//! Choosing elements by a seed.

use althing_types::limits::MAX_FRAME_BYTES;
use fastrand::Rng;

use crate::{MAX_RANDOM, OpError};

/// Bytes of random elements, which may repeat, in one answer: it must fit into a frame, whatever surrounds them.
const MAX_RANDOM_BYTES: usize = MAX_FRAME_BYTES / 2;

/// The place of one of `len` elements.
pub fn one(mut rng: Rng, len: u64) -> Option<usize> {
    (len > 0).then(|| rng.u64(0..len) as usize)
}

/// At the most so many elements, all different: a shuffle (Durstenfeld 1964) that stops early.
pub fn distinct<T>(mut rng: Rng, elements: impl Iterator<Item = T>, count: u64) -> Vec<T> {
    let mut all: Vec<T> = elements.collect();
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(all.len());
    for place in 0..count {
        let other = rng.usize(place..all.len());
        all.swap(place, other);
    }
    all.truncate(count);
    all
}

/// So many different elements, or so many that may repeat if the count is negative. `weight` is an element's bytes.
///
/// # Errors
/// [`OpError::OutOfRange`]
pub fn some<T: Clone>(
    mut rng: Rng,
    elements: impl Iterator<Item = T>,
    count: i64,
    weight: impl Fn(&T) -> usize,
) -> Result<Vec<T>, OpError> {
    if count >= 0 {
        return Ok(distinct(rng, elements, count.unsigned_abs()));
    }
    let all: Vec<T> = elements.collect();
    if all.is_empty() {
        return Ok(all);
    }
    if count.unsigned_abs() > MAX_RANDOM {
        return Err(OpError::OutOfRange);
    }
    let chosen: Vec<&T> = (0..count.unsigned_abs()).map(|_| &all[rng.usize(0..all.len())]).collect();
    let bytes: usize = chosen.iter().map(|element| weight(element)).sum();
    if bytes > MAX_RANDOM_BYTES { Err(OpError::OutOfRange) } else { Ok(chosen.into_iter().cloned().collect()) }
}
