//! A sorted list that is nearly always empty or of one: a key has one value, an element one dot.

use std::{iter, mem, option, slice, vec};

/// A list whose first item needs no allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Few<T> {
    /// No item.
    #[default]
    None,
    /// One.
    One(T),
    /// At least two.
    Many(Vec<T>),
}

impl<T> Few<T> {
    /// The items.
    #[must_use]
    pub const fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(item) => slice::from_ref(item),
            Self::Many(items) => items.as_slice(),
        }
    }

    /// The items, to be changed in place.
    pub const fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::None => &mut [],
            Self::One(item) => slice::from_mut(item),
            Self::Many(items) => items.as_mut_slice(),
        }
    }

    /// Puts an item before the one at `place`, which is at most the length.
    pub fn insert(&mut self, place: usize, item: T) {
        *self = match mem::take(self) {
            Self::None => Self::One(item),
            Self::One(other) if place == 0 => Self::Many(vec![item, other]),
            Self::One(other) => Self::Many(vec![other, item]),
            Self::Many(mut items) => {
                items.insert(place, item);
                Self::Many(items)
            }
        };
    }

    /// Drops the items that are not wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        match self {
            Self::None => {}
            Self::One(item) => {
                if !wanted(item) {
                    *self = Self::None;
                }
            }
            Self::Many(items) => {
                items.retain(wanted);
                if items.len() < 2 {
                    *self = items.pop().map_or(Self::None, Self::One);
                }
            }
        }
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut items: Vec<T>) -> Self {
        if items.len() < 2 { items.pop().map_or(Self::None, Self::One) } else { Self::Many(items) }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = iter::Chain<option::IntoIter<T>, vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Self::None => (None, Vec::new()),
            Self::One(item) => (Some(item), Vec::new()),
            Self::Many(items) => (None, items),
        };
        one.into_iter().chain(many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_does_what_a_vector_does(steps in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..12)) {
            let (mut few, mut model) = (Few::default(), Vec::new());
            for (item, choice) in steps {
                if choice < 200 {
                    let place = usize::from(choice) % (model.len() + 1);
                    few.insert(place, item);
                    model.insert(place, item);
                } else {
                    few.retain(|kept| kept % 3 != item % 3);
                    model.retain(|kept| kept % 3 != item % 3);
                }
                prop_assert_eq!(few.as_slice(), model.as_slice());
                prop_assert_eq!(&few, &Few::from(model.clone()));
            }
            prop_assert_eq!(few.into_iter().collect::<Vec<_>>(), model);
        }
    }
}
