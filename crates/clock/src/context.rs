//! Causal contexts: any set of events, kept as a version vector and the dots above it.
//!
//! ```text
//!          1   2   3   4   5   6   7
//!   a      ●───●───●───●                   vector a:4
//!   b      ●───●       ●       ●   ●       vector b:2, cloud b4 b6 b7
//!   c              ●                       cloud c3
//! ```
//!
//! Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, §7.2 ("Causal context compression"). A delta that
//! overtakes another leaves a hole; when the other one comes, the hole closes, and the dots above move into the vector. That
//! happens at once, always: no cloud holds the dot that follows its actor's entry. So a set of events has one form only,
//! equal sets are equal values with equal bytes, and one context includes another only if its vector does.

use std::collections::BTreeSet;
use std::fmt;

use althing_codec::{DecodeError, Reader, Writer};

use crate::coded::{Coded, ascending};
use crate::dot::{Actor, Dot, DotRange, check_counter};
use crate::vector::{Causality, VersionVector};

/// A set of events.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct DotContext {
    vector: VersionVector,
    /// Dots above the vector, never one that follows it.
    cloud: BTreeSet<Dot>,
}

impl DotContext {
    /// The set without events.
    pub const EMPTY: Self = Self { vector: VersionVector::EMPTY, cloud: BTreeSet::new() };

    /// Whether the event is in the set.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.vector.contains(dot) || (!self.cloud.is_empty() && self.cloud.contains(&dot))
    }

    /// Adds the event; its counter is not zero.
    pub fn insert(&mut self, dot: Dot) {
        let known = self.vector.get(dot.actor);
        if dot.counter == known + 1 {
            self.vector.raise(dot.actor, dot.counter);
            self.close_holes(dot.actor);
        } else if dot.counter > known {
            self.cloud.insert(dot);
        }
    }

    /// The event that this actor would issue next: above all of its events that are known.
    #[must_use]
    pub fn next_dot(&self, actor: Actor) -> Dot {
        let above = self.cloud.range(Dot::new(actor, 0)..=Dot::new(actor, u64::MAX)).next_back();
        let last = above.map_or_else(|| self.vector.get(actor), |dot| dot.counter);
        Dot::new(actor, last.checked_add(1).expect("no counter above Dot::MAX_COUNTER is read from bytes"))
    }

    /// Issues the actor's next event and adds it. Only the replica that writes as this actor may.
    pub fn take_dot(&mut self, actor: Actor) -> Dot {
        let dot = self.next_dot(actor);
        self.insert(dot);
        dot
    }

    /// Adds all events of the other.
    pub fn join(&mut self, other: &Self) {
        self.join_vector(&other.vector);
        other.cloud.iter().for_each(|dot| self.insert(*dot));
    }

    /// Adds all events of a vector.
    pub fn join_vector(&mut self, vector: &VersionVector) {
        self.vector.join(vector);
        if !self.cloud.is_empty() {
            vector.iter().for_each(|(actor, _)| self.close_holes(actor));
        }
    }

    /// Whether all events of the other are in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.vector.descends(&other.vector) && other.cloud.iter().all(|dot| self.contains(*dot))
    }

    /// How this stands to the other.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        Causality::of(self.covers(other), other.covers(self))
    }

    /// The events of this that the other has not, in ranges, by actor and number. As many as this and the other's cloud have
    /// entries at the most, however many events they are.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Vec<DotRange> {
        let mut ranges = Vec::new();
        for (actor, last) in self.vector.iter() {
            let mut first = other.vector.get(actor) + 1;
            for dot in other.cloud.range(Dot::new(actor, first)..=Dot::new(actor, last.max(first))) {
                push_range(&mut ranges, actor, first, dot.counter - 1);
                first = dot.counter + 1;
            }
            push_range(&mut ranges, actor, first, last);
        }
        for dot in self.cloud.iter().filter(|dot| !other.contains(**dot)) {
            push_range(&mut ranges, dot.actor, dot.counter, dot.counter);
        }
        ranges.sort_unstable();
        ranges
    }

    /// What is causally stable: the greatest vector that every one of these contexts covers. No context that joins one of them
    /// from now on lacks any of its events, so whatever is kept only for those that do may go (Baquero, Almeida, Shoker, *Pure
    /// Operation-Based Replicated Data Types*, 2017, §5). Of no contexts at all nothing is known, and nothing stable.
    #[must_use]
    pub fn stable<'a>(contexts: impl IntoIterator<Item = &'a Self>) -> VersionVector {
        let mut contexts = contexts.into_iter();
        let first = contexts.next().map_or(VersionVector::EMPTY, |context| context.vector.clone());
        contexts.fold(first, |mut stable, context| {
            stable.meet(&context.vector);
            stable
        })
    }

    /// Without holes, up to where.
    #[must_use]
    pub const fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// The dots above holes, by actor and number.
    pub fn cloud(&self) -> impl ExactSizeIterator<Item = Dot> + '_ {
        self.cloud.iter().copied()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vector.is_empty() && self.cloud.is_empty()
    }

    /// Moves into the vector what follows it, and drops what it includes by now.
    fn close_holes(&mut self, actor: Actor) {
        let mut known = self.vector.get(actor);
        while let Some(&dot) = self.cloud.range(Dot::new(actor, 0)..=Dot::new(actor, known + 1)).next() {
            self.cloud.remove(&dot);
            known = known.max(dot.counter);
        }
        self.vector.raise(actor, known);
    }
}

fn push_range(ranges: &mut Vec<DotRange>, actor: Actor, first: u64, last: u64) {
    match ranges.last_mut() {
        Some(range) if range.actor == actor && range.last + 1 == first => range.last = last.max(range.last),
        Some(_) | None if first <= last => ranges.push(DotRange { actor, first, last }),
        Some(_) | None => {}
    }
}

impl From<VersionVector> for DotContext {
    fn from(vector: VersionVector) -> Self {
        Self { vector, cloud: BTreeSet::new() }
    }
}

impl From<Dot> for DotContext {
    fn from(dot: Dot) -> Self {
        Self::from_iter([dot])
    }
}

impl FromIterator<Dot> for DotContext {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut context = Self::EMPTY;
        context.extend(dots);
        context
    }
}

impl Extend<Dot> for DotContext {
    fn extend<I: IntoIterator<Item = Dot>>(&mut self, dots: I) {
        dots.into_iter().for_each(|dot| self.insert(dot));
    }
}

impl fmt::Display for DotContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.vector)?;
        self.cloud.iter().try_for_each(|dot| write!(f, " {dot}"))
    }
}

impl fmt::Debug for DotContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DotContext[{self}]")
    }
}

impl Coded for DotContext {
    const NAME: &'static str = "a context";

    fn write(&self, writer: &mut Writer) {
        self.vector.write(writer);
        let mut groups: Vec<(Actor, Vec<u64>)> = Vec::new();
        for dot in &self.cloud {
            match groups.last_mut() {
                Some((actor, counters)) if *actor == dot.actor => counters.push(dot.counter),
                Some(_) | None => groups.push((dot.actor, vec![dot.counter])),
            }
        }
        writer.u64(groups.len() as u64);
        for (actor, counters) in groups {
            actor.write(writer);
            writer.u64(counters.len() as u64);
            let mut below = self.vector.get(actor) + 1;
            for counter in counters {
                writer.u64(counter - below - 1);
                below = counter;
            }
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut context = Self::from(VersionVector::read(reader)?);
        let mut before = None;
        for place in 0..reader.count("a cloud's actors")? {
            let actor = Actor::read(reader)?;
            ascending(before.as_ref(), &actor, place, "a cloud's order")?;
            before = Some(actor);
            context.read_group(actor, reader)?;
        }
        Ok(context)
    }
}

impl DotContext {
    /// The dots of one actor above the vector: each as what lies between it and the one before. The first stands at least two
    /// above the vector, so that the form stays the only one.
    fn read_group(&mut self, actor: Actor, reader: &mut Reader) -> Result<(), DecodeError> {
        let count = reader.count("a cloud's dots")?;
        if count == 0 {
            return Err(DecodeError::Unknown { field: "a cloud's dots", value: 0 });
        }
        let mut below = self.vector.get(actor) + 1;
        for _ in 0..count {
            let gap = reader.u64("a cloud's gap")?;
            below = check_counter(below.saturating_add(1).saturating_add(gap))?;
            self.cloud.insert(Dot::new(actor, below));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{A, B, C, actor, check_coded, context, dot};
    use proptest::prelude::*;

    /// All dots that a context of the samples may have.
    fn dots_of(context: &DotContext) -> BTreeSet<Dot> {
        let actors = [A, B, C, Actor::new(0xa, 2)];
        let all = actors.into_iter().flat_map(|actor| (1..=16).map(move |counter| Dot::new(actor, counter)));
        all.filter(|dot| context.contains(*dot)).collect()
    }

    #[test]
    fn a_hole_closes_when_what_was_overtaken_comes() {
        let mut context = DotContext::EMPTY;
        context.insert(Dot::new(A, 1));
        context.insert(Dot::new(A, 3));
        context.insert(Dot::new(A, 4));
        context.insert(Dot::new(B, 2));
        assert_eq!(context.to_string(), "{a.1:1} (a.1, 3) (a.1, 4) (b.1, 2)");
        assert_eq!(context.next_dot(A), Dot::new(A, 5));
        context.insert(Dot::new(A, 2));
        assert_eq!(context.to_string(), "{a.1:4} (b.1, 2)");
        context.join_vector(&[(B, 1)].into_iter().collect());
        assert_eq!(context.to_string(), "{a.1:4, b.1:2}");
    }

    #[test]
    fn a_difference_names_ranges_however_much_they_hold() {
        let mut mine = DotContext::from(VersionVector::from_iter([(A, 1 << 60), (B, 2)]));
        mine.insert(Dot::new(B, 5));
        let mut theirs = DotContext::from(VersionVector::from_iter([(A, 10)]));
        theirs.insert(Dot::new(A, 20));
        theirs.insert(Dot::new(B, 1));
        let range = |actor, first, last| DotRange { actor, first, last };
        let lacking = vec![range(A, 11, 19), range(A, 21, 1 << 60), range(B, 2, 2), range(B, 5, 5)];
        assert_eq!(mine.difference(&theirs), lacking);
    }

    #[test]
    fn what_is_stable_is_what_all_have_without_holes() {
        let full = DotContext::from(VersionVector::from_iter([(A, 5), (B, 3)]));
        let mut holed = DotContext::from(VersionVector::from_iter([(A, 2), (B, 9), (C, 1)]));
        holed.insert(Dot::new(A, 4));
        assert_eq!(DotContext::stable([&full, &holed]).to_string(), "{a.1:2, b.1:3}");
        assert!(DotContext::stable([]).is_empty(), "of nobody nothing is known");
    }

    proptest! {
        #[test]
        fn a_context_is_a_set_of_dots(a in context(), b in context(), extra in dot()) {
            let (set_a, set_b) = (dots_of(&a), dots_of(&b));
            let mut joined = a.clone();
            joined.join(&b);
            prop_assert_eq!(dots_of(&joined), &set_a | &set_b);
            prop_assert_eq!(a.covers(&b), set_a.is_superset(&set_b));
            prop_assert_eq!(a == b, set_a == set_b, "one set has one form");
            let mut inserted = a.clone();
            inserted.insert(extra);
            prop_assert_eq!(dots_of(&inserted), set_a.iter().copied().chain([extra]).collect::<BTreeSet<_>>());
            let lacking: BTreeSet<Dot> =
                set_a.iter().copied().filter(|dot| a.difference(&b).iter().any(|range| range.contains(*dot))).collect();
            prop_assert_eq!(lacking, &set_a - &set_b);
            let count: u64 = a.difference(&b).iter().map(DotRange::count).sum();
            prop_assert_eq!(count, (&set_a - &set_b).len() as u64);
        }

        #[test]
        fn the_next_dot_is_new_and_above_all(mut a in context(), actor in actor()) {
            let dot = a.next_dot(actor);
            prop_assert!(dots_of(&a).iter().all(|other| other.actor != actor || other.counter < dot.counter));
            prop_assert_eq!(a.take_dot(actor), dot);
            prop_assert!(a.contains(dot));
        }

        #[test]
        fn what_is_stable_is_covered_by_all_and_nothing_greater_is(a in context(), b in context(), c in context()) {
            let stable = DotContext::from(DotContext::stable([&a, &b, &c]));
            prop_assert!([&a, &b, &c].into_iter().all(|context| context.covers(&stable)));
            for actor in [A, B, C] {
                let mut greater = stable.clone();
                greater.insert(Dot::new(actor, stable.vector().get(actor) + 1));
                prop_assert!(![&a, &b, &c].into_iter().all(|context| context.covers(&greater)));
            }
        }

        #[test]
        fn bytes_come_back_as_they_were(value in context(), place: usize, byte: u8) {
            check_coded(&value, place, byte);
        }

        #[test]
        fn hostile_bytes_are_refused(bytes: Vec<u8>) {
            let _ = DotContext::decode(bytes.into());
        }
    }

    #[test]
    fn the_form_is_the_one_in_the_documents() {
        let context = DotContext::from_iter([1, 2, 4, 5, 9].map(|counter| Dot::new(A, counter)));
        let a = [0xa, 0, 0, 0, 0, 0, 0, 0, 1];
        let drawn = [&[1, 1], &a[..], &[2, 1], &a[..], &[3, 0, 0, 3]].concat();
        assert_eq!(&context.encode()[..], drawn);
    }
}
