//! A sorted list that knows places: what is the fifth, and which place has this?
//!
//! The items stand in chunks of a few hundred, so that a place is the sum of the chunks before it and a search in one. For a
//! million items that is a walk over some thousand lengths; a tree with counts in its nodes would save that walk and cost
//! every insertion.

/// Items at which a chunk is cut into two.
const MAX_CHUNK: usize = 512;

/// Distinct items in ascending order.
#[derive(Clone, Debug)]
pub struct Ranked<T> {
    /// None is empty; all of one are below all of the next.
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Ranked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Ord> Ranked<T> {
    /// How many items there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an item, unless it is there.
    pub fn insert(&mut self, item: T) {
        let place = self.chunk_of(&item).min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(place) else {
            self.chunks.push(vec![item]);
            self.len = 1;
            return;
        };
        let Err(within) = chunk.binary_search(&item) else { return };
        chunk.insert(within, item);
        self.len += 1;
        if chunk.len() > MAX_CHUNK {
            let upper = chunk.split_off(MAX_CHUNK / 2);
            self.chunks.insert(place + 1, upper);
        }
    }

    /// Takes an item out, if it is there.
    pub fn remove(&mut self, item: &T) {
        let place = self.chunk_of(item);
        let Some(chunk) = self.chunks.get_mut(place) else { return };
        let Ok(within) = chunk.binary_search(item) else { return };
        chunk.remove(within);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(place);
        }
    }

    /// How many items are below this one, which need not be there.
    #[must_use]
    pub fn rank(&self, item: &T) -> usize {
        self.count_while(|candidate| candidate < item)
    }

    /// How many items there are before the first that is not `below`. What is below comes first.
    pub fn count_while(&self, below: impl Fn(&T) -> bool) -> usize {
        let place = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&below));
        let before: usize = self.chunks[..place].iter().map(Vec::len).sum();
        before + self.chunks.get(place).map_or(0, |chunk| chunk.partition_point(&below))
    }

    /// The items from this place on, ascending.
    pub fn iter_from(&self, rank: usize) -> impl Iterator<Item = &T> {
        let (place, within) = self.locate(rank);
        self.chunks[place..].iter().flatten().skip(within)
    }

    /// The items before this place, descending.
    pub fn iter_back_from(&self, rank: usize) -> impl Iterator<Item = &T> {
        let (place, within) = self.locate(rank);
        let partly = self.chunks.get(place).map_or(&[][..], |chunk| &chunk[..within]);
        partly.iter().rev().chain(self.chunks[..place].iter().rev().flat_map(|chunk| chunk.iter().rev()))
    }

    /// The chunk that has this place, and where in it; after the last chunk if there are fewer items.
    fn locate(&self, rank: usize) -> (usize, usize) {
        let (mut place, mut within) = (0, rank);
        while let Some(chunk) = self.chunks.get(place).filter(|chunk| within >= chunk.len()) {
            within -= chunk.len();
            place += 1;
        }
        (place, within)
    }

    /// The first chunk that does not end below the item.
    fn chunk_of(&self, item: &T) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last < item))
    }
}

impl<T: Ord> FromIterator<T> for Ranked<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items: Vec<T> = items.into_iter().collect();
        items.sort_unstable();
        items.dedup();
        let len = items.len();
        let mut chunks = Vec::with_capacity(len.div_ceil(MAX_CHUNK / 2));
        let mut items = items.into_iter();
        loop {
            let chunk: Vec<T> = items.by_ref().take(MAX_CHUNK / 2).collect();
            if chunk.is_empty() {
                return Self { chunks, len };
            }
            chunks.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn check(ranked: &Ranked<u16>, model: &BTreeSet<u16>) {
        assert_eq!(ranked.len(), model.len());
        assert!(ranked.iter_from(0).eq(model.iter()));
        assert!(ranked.chunks.iter().all(|chunk| (1..=MAX_CHUNK).contains(&chunk.len())));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn it_does_what_an_ordered_set_does_and_knows_places(
            first in proptest::collection::vec(0_u16..4_000, 0..2_500),
            steps in proptest::collection::vec((0_u16..4_000, 0_u8..3), 0..1_500),
            from in 0_usize..3_000,
        ) {
            let mut ranked: Ranked<u16> = first.iter().copied().collect();
            let mut model: BTreeSet<u16> = first.into_iter().collect();
            check(&ranked, &model);
            for (item, what) in steps {
                if what == 0 {
                    ranked.remove(&item);
                    model.remove(&item);
                } else {
                    ranked.insert(item);
                    model.insert(item);
                }
                prop_assert_eq!(ranked.rank(&item), model.range(..item).count());
            }
            check(&ranked, &model);
            prop_assert!(ranked.iter_from(from).eq(model.iter().skip(from)));
            let before: Vec<&u16> = model.iter().take(from).collect();
            prop_assert!(ranked.iter_back_from(from).eq(before.into_iter().rev()));
        }
    }
}
