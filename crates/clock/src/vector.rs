//! Version vectors: for each actor, how many of its events are known, without holes.
//!
//! Fidge 1988 and Mattern 1989 for events; Parker et al. 1983 for versions of data. `{a:3, b:1}` is the set of dots
//! `a1 a2 a3 b1`. Ordered by inclusion the vectors form a lattice: the join is the greater of each entry, the meet the lesser.

use std::fmt;

use althing_codec::{DecodeError, Reader, Writer};

use crate::coded::{Coded, ascending};
use crate::dot::{Actor, Dot, read_counter};

/// Entries of a vector that is read from bytes. A shard has tens of actors, one more for every replica that is placed or
/// loses its store; a vector of more than this is a mistake or an attack.
pub const MAX_ACTORS: usize = 65_536;

/// How two sets of events stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Causality {
    /// The other includes this one, and more.
    Before,
    /// They are the same.
    Equal,
    /// This one includes the other, and more.
    After,
    /// Each has what the other has not.
    Concurrent,
}

impl Causality {
    /// From whether this includes the other, and the other this.
    #[must_use]
    pub const fn of(includes: bool, is_included: bool) -> Self {
        match (includes, is_included) {
            (true, true) => Self::Equal,
            (true, false) => Self::After,
            (false, true) => Self::Before,
            (false, false) => Self::Concurrent,
        }
    }
}

/// For each actor how many of its events are known. An actor without an entry has zero; no entry is zero.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VersionVector(Vec<(Actor, u64)>);

impl VersionVector {
    /// The vector of nothing.
    pub const EMPTY: Self = Self(Vec::new());

    /// How many events of this actor are known.
    #[must_use]
    pub fn get(&self, actor: Actor) -> u64 {
        self.find(actor).map_or(0, |place| self.0[place].1)
    }

    /// Whether the event is known.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        dot.counter <= self.get(dot.actor)
    }

    /// Knows at least so many events of this actor from now on.
    pub fn raise(&mut self, actor: Actor, counter: u64) {
        match self.find(actor) {
            Ok(place) => self.0[place].1 = self.0[place].1.max(counter),
            Err(place) if counter > 0 => self.0.insert(place, (actor, counter)),
            Err(_) => {}
        }
    }

    /// The actor's next event, known from now on.
    pub fn increment(&mut self, actor: Actor) -> Dot {
        let counter = self.get(actor) + 1;
        self.raise(actor, counter);
        Dot::new(actor, counter)
    }

    /// How this stands to the other.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        Causality::of(self.descends(other), other.descends(self))
    }

    /// Whether this includes the other; equal vectors do.
    #[must_use]
    pub fn descends(&self, other: &Self) -> bool {
        let mut mine = self.0.iter();
        other.0.iter().all(|(actor, counter)| {
            let entry = mine.find(|(candidate, _)| candidate >= actor);
            entry.is_some_and(|(candidate, known)| candidate == actor && known >= counter)
        })
    }

    /// Includes all that the other does: the least upper bound of both.
    pub fn join(&mut self, other: &Self) {
        let mut place = 0;
        let mut missing = Vec::new();
        for &(actor, counter) in &other.0 {
            while self.0.get(place).is_some_and(|(candidate, _)| *candidate < actor) {
                place += 1;
            }
            match self.0.get_mut(place) {
                Some((candidate, known)) if *candidate == actor => *known = (*known).max(counter),
                Some(_) | None => missing.push((actor, counter)),
            }
        }
        if !missing.is_empty() {
            self.0.append(&mut missing);
            self.0.sort_unstable_by_key(|(actor, _)| *actor);
        }
    }

    /// Keeps only what the other includes as well: the greatest lower bound of both.
    pub fn meet(&mut self, other: &Self) {
        self.0.retain_mut(|(actor, counter)| {
            *counter = other.get(*actor).min(*counter);
            *counter > 0
        });
    }

    /// The entries, by actor.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Actor, u64)> + '_ {
        self.0.iter().copied()
    }

    /// How many actors are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, actor: Actor) -> Result<usize, usize> {
        self.0.binary_search_by_key(&actor, |(candidate, _)| *candidate)
    }
}

impl FromIterator<(Actor, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (Actor, u64)>>(entries: I) -> Self {
        let mut vector = Self::EMPTY;
        entries.into_iter().for_each(|(actor, counter)| vector.raise(actor, counter));
        vector
    }
}

impl fmt::Display for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (place, (actor, counter)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{actor}:{counter}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionVector{self}")
    }
}

impl Coded for VersionVector {
    const NAME: &'static str = "a version vector";

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.0.len() as u64);
        for (actor, counter) in &self.0 {
            actor.write(writer);
            writer.u64(*counter);
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let count = reader.count("a version vector's actors")?;
        if count > MAX_ACTORS {
            return Err(DecodeError::Unknown { field: "a version vector's actors", value: count as u64 });
        }
        let mut entries: Vec<(Actor, u64)> = Vec::new();
        for place in 0..count {
            let actor = Actor::read(reader)?;
            ascending(entries.last().map(|(last, _)| last), &actor, place, "a version vector's order")?;
            entries.push((actor, read_counter(reader)?));
        }
        Ok(Self(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{A, B, C, check_coded, vector};
    use proptest::prelude::*;

    fn join(left: &VersionVector, right: &VersionVector) -> VersionVector {
        let mut joined = left.clone();
        joined.join(right);
        joined
    }

    /// Three processes and their messages, as in Mattern's figures: the vector of each event, and what is concurrent.
    #[test]
    fn events_of_three_processes_have_the_vectors_of_the_textbook() {
        let mut processes = [VersionVector::EMPTY, VersionVector::EMPTY, VersionVector::EMPTY];
        let names = [A, B, C];
        let mut event = |at: usize, received: Option<&VersionVector>| {
            received.into_iter().for_each(|message| processes[at].join(message));
            processes[at].increment(names[at]);
            processes[at].clone()
        };
        let a1 = event(0, None);
        let b1 = event(1, None);
        let b2 = event(1, Some(&a1));
        let c1 = event(2, None);
        let c2 = event(2, Some(&b2));
        let a2 = event(0, None);
        assert_eq!(b2.to_string(), "{a.1:1, b.1:2}");
        assert_eq!(c2.to_string(), "{a.1:1, b.1:2, c.1:2}");
        assert_eq!(a2.to_string(), "{a.1:2}");
        assert_eq!(a1.compare(&c2), Causality::Before);
        assert_eq!(c2.compare(&b1), Causality::After);
        assert_eq!(b1.compare(&a1), Causality::Concurrent);
        assert_eq!(a2.compare(&c2), Causality::Concurrent);
        assert_eq!(c1.compare(&c1), Causality::Equal);
    }

    proptest! {
        #[test]
        fn comparison_is_a_partial_order(a in vector(), b in vector(), c in vector()) {
            prop_assert!(a.descends(&a));
            prop_assert_eq!(a.descends(&b) && b.descends(&a), a == b);
            prop_assert!(!(a.descends(&b) && b.descends(&c)) || a.descends(&c));
            let converse = match a.compare(&b) {
                Causality::Before => Causality::After,
                Causality::After => Causality::Before,
                same @ (Causality::Equal | Causality::Concurrent) => same,
            };
            prop_assert_eq!(b.compare(&a), converse);
        }

        #[test]
        fn the_join_is_the_least_upper_bound_and_the_meet_the_greatest_lower(
            a in vector(), b in vector(), c in vector(),
        ) {
            let joined = join(&a, &b);
            prop_assert!(joined.descends(&a) && joined.descends(&b));
            prop_assert_eq!(c.descends(&a) && c.descends(&b), c.descends(&joined));
            let mut met = a.clone();
            met.meet(&b);
            prop_assert!(a.descends(&met) && b.descends(&met));
            prop_assert_eq!(a.descends(&c) && b.descends(&c), met.descends(&c));
            prop_assert_eq!(&joined, &join(&b, &a));
            prop_assert_eq!(join(&joined, &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &a), a);
        }

        #[test]
        fn bytes_come_back_as_they_were(value in vector(), place: usize, byte: u8) {
            check_coded(&value, place, byte);
        }

        #[test]
        fn hostile_bytes_are_refused(bytes: Vec<u8>) {
            let _ = VersionVector::decode(bytes.into());
        }
    }

    #[test]
    fn the_form_is_the_one_in_the_documents() {
        let bytes = VersionVector::from_iter([(A, 3), (B, 300)]).encode();
        let drawn = [1, 2, 0xa, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0xb, 0, 0, 0, 0, 0, 0, 0, 1, 0xac, 2];
        assert_eq!(&bytes[..], drawn);
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused_before_anything_is_allocated() {
        assert!(VersionVector::decode(vec![1, 0xff, 0xff, 0xff, 0xff, 0x0f].into()).is_err());
    }
}
