//! The sets without dots: one that only grows, and one from which an element is removed for ever (Shapiro et al. 2011,
//! specifications 11 and 12).

use std::collections::BTreeSet;

use althing_clock::Coded;
use althing_clock::coded::ascending;
use althing_codec::{DecodeError, Reader, Writer};

use crate::join::{Merge, plain};

/// A set that only grows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GSet<E: Ord>(BTreeSet<E>);

impl<E: Ord + Clone> GSet<E> {
    /// The delta of adding an element.
    #[must_use]
    pub fn add(element: E) -> Self {
        Self(BTreeSet::from([element]))
    }

    /// The elements, in order.
    #[must_use]
    pub const fn elements(&self) -> &BTreeSet<E> {
        &self.0
    }
}

impl<E: Ord> Default for GSet<E> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<E: Ord + Clone> Merge for GSet<E> {
    fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

plain!(impl[E: Ord + Clone] GSet<E>);

impl<E: Ord + Coded> Coded for GSet<E> {
    const NAME: &'static str = "a growing set";

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.0.len() as u64);
        self.0.iter().for_each(|element| element.write(writer));
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut elements: Vec<E> = Vec::new();
        for place in 0..reader.count("a set's elements")? {
            let element = E::read(reader)?;
            ascending(elements.last(), &element, place, "the order of a set's elements")?;
            elements.push(element);
        }
        Ok(Self(elements.into_iter().collect()))
    }
}

/// A set from which what is removed stays removed: adding it again, before or after, here or elsewhere, changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TwoPhaseSet<E: Ord> {
    /// Added and not removed.
    added: GSet<E>,
    removed: GSet<E>,
}

impl<E: Ord + Clone> TwoPhaseSet<E> {
    /// The delta of adding an element.
    #[must_use]
    pub fn add(element: E) -> Self {
        Self { added: GSet::add(element), removed: GSet::default() }
    }

    /// The delta of removing an element. It need not be there; then it never will be.
    #[must_use]
    pub fn remove(element: E) -> Self {
        Self { added: GSet::default(), removed: GSet::add(element) }
    }

    /// The elements, in order.
    #[must_use]
    pub const fn elements(&self) -> &BTreeSet<E> {
        self.added.elements()
    }

    /// What can never be added again, in order.
    #[must_use]
    pub const fn removed(&self) -> &BTreeSet<E> {
        self.removed.elements()
    }
}

impl<E: Ord> Default for TwoPhaseSet<E> {
    fn default() -> Self {
        Self { added: GSet::default(), removed: GSet::default() }
    }
}

impl<E: Ord + Clone> Merge for TwoPhaseSet<E> {
    fn merge(&mut self, other: Self) {
        other.removed.0.iter().for_each(|element| _ = self.added.0.remove(element));
        self.added.0.extend(other.added.0.into_iter().filter(|element| !self.removed.0.contains(element)));
        self.removed.merge(other.removed);
    }
}

plain!(impl[E: Ord + Clone] TwoPhaseSet<E>);

impl<E: Ord + Coded> Coded for TwoPhaseSet<E> {
    const NAME: &'static str = "a two-phase set";

    fn write(&self, writer: &mut Writer) {
        self.added.write(writer);
        self.removed.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (added, removed) = (GSet::<E>::read(reader)?, GSet::<E>::read(reader)?);
        match added.0.iter().position(|element| removed.0.contains(element)) {
            Some(place) => Err(DecodeError::Unknown { field: "a removed element that is there", value: place as u64 }),
            None => Ok(Self { added, removed }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_once_never_comes_back() {
        let mut set = TwoPhaseSet::add(1);
        set.merge(TwoPhaseSet::add(2));
        set.merge(TwoPhaseSet::remove(1));
        set.merge(TwoPhaseSet::add(1));
        set.merge(TwoPhaseSet::remove(3));
        set.merge(TwoPhaseSet::add(3));
        assert!(set.elements().iter().eq(&[2]));
        assert!(set.removed().iter().eq(&[1, 3]));
    }
}
