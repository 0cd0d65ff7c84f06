//! The sorted set: elements with scores, in the order of scores.
//!
//! A score is written or incremented. What was written is a register with siblings, of which the latest counts; increments
//! are a counter of fractions on top of it. To write a score replaces the writes and resets the increments that were seen; so
//! concurrent increments add up, and one that a write has not seen is added to what was written. An element is there as long as a
//! write or an increment of it was not seen by a removal.
//!
//! The order by (score, element) is an index beside the state. It is derived: no part of what is joined, encoded or compared.

use althing_clock::{Coded, Dot, DotContext, Timestamp};
use althing_codec::{DecodeError, Reader, Writer};

use crate::counter::FloatCounter;
use crate::join::{Bottoms, Delta, Join, Reset, Seen};
use crate::mv_register::{MvRegister, Sibling};
use crate::number::{NumberError, Quantity, Real};
use crate::stability::{Stability, Stable};
use crate::store::DotMap;

pub mod ranked;

pub use ranked::Ranked;

/// What an element's score is made of: what was written, and the increments since.
pub type Score = (MvRegister<Real>, FloatCounter);

/// The score that users see, if the element is there. A sum beyond all numbers is infinite; an infinite score stays what it is.
fn visible(score: &Score) -> Option<Real> {
    let written = score.0.latest().map(|sibling| sibling.value);
    if written.is_none() && !score.1.is_live() {
        return None;
    }
    let added = score.1.runs().iter().filter_map(|(_, run)| run.counts().ok());
    let sum = added.fold(written.unwrap_or_default().get(), |sum, run| sum + run.get());
    Some(Real::new(sum).expect("what runs count for is finite, so no sum is infinity less infinity"))
}

/// Elements in the order of their scores.
#[derive(Clone, Debug)]
pub struct SortedSet<E: Ord> {
    scores: DotMap<E, Score>,
    index: Ranked<(Real, E)>,
}

impl<E: Ord + Clone> SortedSet<E> {
    /// The element's score, if it is there.
    #[must_use]
    pub fn score(&self, element: &E) -> Option<f64> {
        self.scores.get(element).and_then(visible).map(Real::get)
    }

    /// What the element's score is made of.
    #[must_use]
    pub fn parts(&self, element: &E) -> Option<&Score> {
        self.scores.get(element)
    }

    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The element's place in the order, from 0, if it is there.
    #[must_use]
    pub fn rank(&self, element: &E) -> Option<usize> {
        let score = self.scores.get(element).and_then(visible)?;
        Some(self.index.rank(&(score, element.clone())))
    }

    /// How many elements have a score below this one.
    #[must_use]
    pub fn count_below(&self, score: Real) -> usize {
        self.index.count_while(|(candidate, _)| *candidate < score)
    }

    /// How many elements have a score that is this one or below.
    #[must_use]
    pub fn count_to(&self, score: Real) -> usize {
        self.index.count_while(|(candidate, _)| *candidate <= score)
    }

    /// Elements and scores in order, from this place on. Between [`SortedSet::count_below`] of one score and
    /// [`SortedSet::count_to`] of another lie those in the range.
    pub fn iter_from(&self, rank: usize) -> impl Iterator<Item = (&E, f64)> {
        self.index.iter_from(rank).map(|(score, element)| (element, score.get()))
    }

    /// Elements and scores before this place, in descending order.
    pub fn iter_back_from(&self, rank: usize) -> impl Iterator<Item = (&E, f64)> {
        self.index.iter_back_from(rank).map(|(score, element)| (element, score.get()))
    }

    /// How many there are before the first element for which `below` does not hold. Those for which it holds come first: a
    /// range within one score, by element, is found like this.
    pub fn count_while(&self, below: impl Fn(Real, &E) -> bool) -> usize {
        self.index.count_while(|(score, element)| below(*score, element))
    }

    /// The elements that are there and their scores, by element, from the first after `after`: for walks in steps.
    pub fn iter_by_element<'a>(&'a self, after: Option<&E>) -> impl Iterator<Item = (&'a E, f64)> {
        self.scores.iter_after(after).filter_map(|(element, score)| Some((element, visible(score)?.get())))
    }

    /// The write `dot`: the element has this score, whatever of it was seen.
    #[must_use]
    pub fn write(&self, dot: Dot, time: Timestamp, element: E, score: Real) -> Delta<Self> {
        let delta = self.scores.update(element, |(written, added)| {
            let delta = written.write(dot, Seen::All, Sibling { time, expires: None, value: score });
            let mut context = delta.context;
            let added = added.reset(Seen::All, &mut context);
            Delta::new(dot, (delta.store, added), context)
        });
        delta.map(Self::from)
    }

    /// The write `dot`: the element's score is that much greater; if it is not there, it is added with this score.
    ///
    /// # Errors
    /// [`NumberError`]: the increment is not finite, or the score would not be. Nothing is done.
    pub fn increment(&self, dot: Dot, element: E, by: f64) -> Result<Delta<Self>, NumberError> {
        let former = self.scores.get(&element).and_then(visible).unwrap_or_default();
        former.plus(Real::of(by)?)?;
        let delta = self.scores.try_update(element, |(_, added)| {
            added.increment(dot, by).map(|delta| delta.map(|added| (MvRegister::default(), added)))
        });
        delta.map(|delta| delta.map(Self::from))
    }

    /// The write `dot`: the element is removed, as far as it was seen.
    #[must_use]
    pub fn remove(&self, dot: Dot, element: E, seen: Seen<'_>) -> Delta<Self> {
        self.scores.remove(dot, element, seen).map(Self::from)
    }

    fn rebuild(&mut self) {
        let entries = self.scores.iter();
        self.index = entries.filter_map(|(element, score)| Some((visible(score)?, element.clone()))).collect();
    }
}

impl<E: Ord + Clone> From<DotMap<E, Score>> for SortedSet<E> {
    fn from(scores: DotMap<E, Score>) -> Self {
        let mut set = Self { scores, index: Ranked::default() };
        set.rebuild();
        set
    }
}

impl<E: Ord> Default for SortedSet<E> {
    fn default() -> Self {
        Self { scores: DotMap::default(), index: Ranked::default() }
    }
}

impl<E: Ord> PartialEq for SortedSet<E> {
    fn eq(&self, other: &Self) -> bool {
        self.scores == other.scores
    }
}

impl<E: Ord + Clone> Join for SortedSet<E> {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        self.scores.join(mine, other.scores, theirs);
        self.rebuild();
    }

    fn apply(&mut self, mine: &DotContext, delta: Self, its: &DotContext, bottoms: Bottoms) {
        for (element, part) in delta.scores.into_inner() {
            let before = self.scores.get(&element).and_then(visible);
            let part = DotMap::from_iter([(element.clone(), part)]);
            self.scores.apply(mine, part, its, bottoms);
            let after = self.scores.get(&element).and_then(visible);
            if before == after {
                continue;
            }
            if let Some(score) = before {
                self.index.remove(&(score, element.clone()));
            }
            if let Some(score) = after {
                self.index.insert((score, element));
            }
        }
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.scores.dots(visit);
    }

    fn is_bottom(&self) -> bool {
        self.scores.is_bottom()
    }
}

impl<E: Ord + Clone> Reset for SortedSet<E> {
    fn reset(&self, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        Self::from(self.scores.reset(seen, removed))
    }
}

impl<E: Ord + Clone> Stability for SortedSet<E> {
    fn settle(&mut self, stable: &Stable) {
        self.scores.settle(stable);
    }
}

impl<E: Ord + Clone + Coded> Coded for SortedSet<E> {
    const NAME: &'static str = "a sorted set";

    fn write(&self, writer: &mut Writer) {
        self.scores.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        DotMap::read(reader).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Causal;
    use althing_clock::Actor;

    const A: Actor = Actor::new(1, 1);
    const B: Actor = Actor::new(2, 1);

    type Replica = Causal<SortedSet<&'static str>>;

    fn write(replica: &mut Replica, actor: Actor, element: &'static str, score: f64) {
        let dot = replica.context.next_dot(actor);
        let score = Real::new(score).unwrap();
        replica.apply(replica.store.write(dot, Timestamp::new(dot.counter, 0), element, score));
    }

    fn increment(replica: &mut Replica, actor: Actor, element: &'static str, by: f64) {
        let dot = replica.context.next_dot(actor);
        replica.apply(replica.store.increment(dot, element, by).unwrap());
    }

    fn all(replica: &Replica) -> Vec<(&'static str, f64)> {
        replica.store.iter_from(0).map(|(element, score)| (*element, score)).collect()
    }

    #[test]
    fn elements_stand_in_the_order_of_scores_and_then_by_name() {
        let mut a = Replica::default();
        for (name, score) in [("c", 2.0), ("b", 2.0), ("a", 9.0), ("d", f64::NEG_INFINITY)] {
            write(&mut a, A, name, score);
        }
        assert_eq!(all(&a), [("d", f64::NEG_INFINITY), ("b", 2.0), ("c", 2.0), ("a", 9.0)]);
        increment(&mut a, A, "b", 7.5);
        assert_eq!(a.store.rank(&"b"), Some(3));
        assert_eq!(a.store.rank(&"nobody"), None);
        let score = |score| Real::new(score).unwrap();
        assert_eq!((a.store.count_below(score(2.0)), a.store.count_to(score(9.0))), (1, 3));
        let top: Vec<&str> = a.store.iter_from(2).map(|(element, _)| *element).collect();
        assert_eq!(top, ["a", "b"]);
        let down: Vec<&str> = a.store.iter_back_from(3).map(|(element, _)| *element).collect();
        assert_eq!(down, ["a", "c", "d"]);
        assert_eq!(a.store.count_while(|candidate, element| (candidate, *element) < (score(9.5), "b")), 3);
        let by_element: Vec<&str> = a.store.iter_by_element(Some(&"a")).map(|(element, _)| *element).collect();
        assert_eq!(by_element, ["b", "c", "d"]);
    }

    #[test]
    fn concurrent_increments_add_up_and_one_that_a_write_has_not_seen_is_on_top_of_it() {
        let (mut a, mut b) = (Replica::default(), Replica::default());
        write(&mut a, A, "x", 10.0);
        b.join(a.clone());
        increment(&mut a, A, "x", 1.0);
        increment(&mut b, B, "x", 2.0);
        a.join(b.clone());
        b.join(a.clone());
        assert_eq!(a.store.score(&"x"), Some(13.0));
        write(&mut a, A, "x", 100.0);
        increment(&mut b, B, "x", 0.5);
        a.join(b);
        assert_eq!(a.store.score(&"x"), Some(100.5));
    }

    #[test]
    fn a_removal_leaves_the_increment_that_it_has_not_seen() {
        let (mut a, mut b) = (Replica::default(), Replica::default());
        increment(&mut a, A, "x", 5.0);
        b.join(a.clone());
        increment(&mut b, B, "x", 2.0);
        a.apply(a.store.remove(a.context.next_dot(A), "x", Seen::All));
        assert_eq!((a.store.score(&"x"), a.store.len()), (None, 0));
        a.join(b);
        assert_eq!(all(&a), [("x", 2.0)]);
    }

    #[test]
    fn an_infinite_score_stays_and_increments_that_lead_beyond_numbers_are_refused() {
        let mut a = Replica::default();
        write(&mut a, A, "x", f64::INFINITY);
        assert_eq!(a.store.increment(Dot::new(A, 9), "x", 1.0).err(), Some(NumberError::Overflow));
        write(&mut a, A, "y", f64::MAX);
        assert_eq!(a.store.increment(Dot::new(A, 9), "y", f64::MAX).err(), Some(NumberError::Overflow));
        assert_eq!(a.store.increment(Dot::new(A, 9), "y", f64::NAN).err(), Some(NumberError::NotFinite));
    }
}
