//! Counters that can be reset: each actor adds up its own increments in a run, and a reset raises the base of every run that
//! was seen.
//!
//! ```text
//!   run of     start   total, as of      base, as of       counts
//!   a          a1      12    a7          5     a3          7       reset at a3; 7 since then
//!   b          b2      -4    b9          -4    b9          0       reset in full
//! ```
//!
//! A run has one writer, so of two totals the one of the greater version is the later, and includes the other; a base is a
//! total that somebody has seen when he reset the counter. Both join by their greatest version, for themselves. An increment
//! that the reset had not seen is in the total and not in the base: it survives, and so does nothing else. (A counter whose
//! actors' increments were a single dotted value could not do that: what is concurrent to the removal carries along what the
//! removal had seen. Almeida, Shoker, Baquero 2018, §7.3, say so of their causal counter.)
//!
//! When an actor finds its own run reset in full, it begins a new one with its next increment and drops the old: only
//! it could still have added to it. So a counter that is reset again and again has one run for each actor, and fractions do
//! not lose their precision to what was counted long ago.

use std::cmp::Ordering;

use althing_clock::{Coded, Dot, DotContext};
use althing_codec::{DecodeError, Reader, Writer};

use crate::join::{Delta, Join, Merge, Reset, Seen};
use crate::number::{NumberError, Quantity, Real, Whole};
use crate::stability::{Stability, Stable};
use crate::store::DotFun;

/// A counter of whole numbers, up and down.
pub type PnCounter = Counter<Whole>;

/// A counter of fractions. The sum is taken in the order of actors, so that replicas with the same runs agree to the last bit.
pub type FloatCounter = Counter<Real>;

/// A total, and as of which event of the run's actor.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Mark<N> {
    /// The counter of the actor's event that made this total; zero before the first.
    version: u64,
    total: N,
}

impl<N: Quantity> Mark<N> {
    fn merge(&mut self, other: Self) {
        let order = self.version.cmp(&other.version).then_with(|| self.total.order(other.total));
        if order == Ordering::Less {
            *self = other;
        }
    }
}

/// What one actor has added up.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Run<N> {
    now: Mark<N>,
    base: Mark<N>,
}

impl<N: Quantity> Run<N> {
    /// What it counts for.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]
    pub fn counts(&self) -> Result<N, NumberError> {
        self.now.total.minus(self.base.total)
    }

    /// Whether it has an increment that no reset has taken back.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.now.version > self.base.version
    }
}

impl<N: Quantity> Merge for Run<N> {
    fn merge(&mut self, other: Self) {
        self.now.merge(other.now);
        self.base.merge(other.base);
    }
}

/// A counter that can be reset.
#[derive(Clone, PartialEq, Debug)]
pub struct Counter<N>(DotFun<Run<N>>);

impl<N: Quantity> Counter<N> {
    /// What it stands at: the sum of all runs above their bases.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]: concurrent increments have added up to more than there are numbers.
    pub fn value(&self) -> Result<N::Value, NumberError> {
        self.sum()?.value()
    }

    /// The same before it is cut to what users see.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]
    pub fn sum(&self) -> Result<N, NumberError> {
        self.0.as_slice().iter().try_fold(N::default(), |sum, (_, run)| sum.plus(run.counts()?))
    }

    /// Whether it was incremented since all resets, if only by zero: then it is there, whatever it stands at.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.as_slice().iter().any(|(_, run)| run.is_live())
    }

    /// The runs, by the dot that began each.
    #[must_use]
    pub const fn runs(&self) -> &[(Dot, Run<N>)] {
        self.0.as_slice()
    }

    /// The write `dot`: an increment, or a decrement if `by` is below zero.
    ///
    /// # Errors
    /// [`NumberError`]: the increment is not a finite number, or what the counter stands at here would overflow. Nothing is done.
    pub fn increment(&self, dot: Dot, by: N::Value) -> Result<Delta<Self>, NumberError> {
        let by = N::of(by)?;
        self.sum()?.plus(by)?.value()?;
        let mut context = DotContext::EMPTY;
        let (mut start, mut run) = (dot, Run::default());
        for (candidate, own) in self.0.as_slice().iter().filter(|(candidate, _)| candidate.actor == dot.actor) {
            if own.is_live() && own.now.version < dot.counter {
                (start, run) = (*candidate, *own);
            } else if !own.is_live() {
                context.insert(*candidate);
            }
        }
        context.insert(start);
        run.now = Mark { version: dot.counter, total: run.now.total.plus(by)? };
        Ok(Delta::new(dot, Self(DotFun::from((start, run))), context))
    }
}

impl<N> Default for Counter<N> {
    fn default() -> Self {
        Self(DotFun::default())
    }
}

impl<N: Quantity> Join for Counter<N> {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        self.0.join(mine, other.0, theirs);
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.0.dots(visit);
    }

    fn is_bottom(&self) -> bool {
        self.0.is_bottom()
    }
}

impl<N: Quantity> Reset for Counter<N> {
    /// Raises the base of every run to where it stands. A run whose latest increment was not seen is left as it is: how far it
    /// stood at what was seen is not known any more.
    fn reset(&self, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        let mut store = DotFun::default();
        for (start, run) in self.0.as_slice() {
            if run.is_live() && seen.contains(Dot::new(start.actor, run.now.version)) {
                store.insert(*start, Run { now: run.now, base: run.now });
                removed.insert(*start);
            }
        }
        Self(store)
    }
}

impl<N: Quantity> Stability for Counter<N> {
    fn settle(&mut self, stable: &Stable) {
        self.0.retain(|start, run| run.is_live() || !stable.is_complete(start.actor));
    }
}

impl<N: Quantity> Coded for Mark<N> {
    const NAME: &'static str = "a counter's mark";

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.version);
        if self.version > 0 {
            self.total.write(writer);
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let version = reader.u64("the version of a counter's mark")?;
        if version > Dot::MAX_COUNTER {
            return Err(DecodeError::Unknown { field: "the version of a counter's mark", value: version });
        }
        let total = if version > 0 { N::read(reader)? } else { N::default() };
        Ok(Self { version, total })
    }
}

impl<N: Quantity> Coded for Run<N> {
    const NAME: &'static str = "a counter's run";

    fn write(&self, writer: &mut Writer) {
        self.now.write(writer);
        self.base.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { now: Mark::read(reader)?, base: Mark::read(reader)? })
    }
}

impl<N: Quantity> Coded for Counter<N> {
    const NAME: &'static str = "a counter";

    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        DotFun::read(reader).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Causal;
    use althing_clock::Actor;

    const A: Actor = Actor::new(1, 1);
    const B: Actor = Actor::new(2, 1);

    type Replica<N> = Causal<Counter<N>>;

    fn increment<N: Quantity>(replica: &mut Replica<N>, actor: Actor, by: N::Value) -> Delta<Counter<N>> {
        let delta = replica.store.increment(replica.context.next_dot(actor), by).unwrap();
        replica.apply(delta.clone());
        delta
    }

    fn reset<N: Quantity>(replica: &mut Replica<N>, actor: Actor) -> Delta<Counter<N>> {
        let delta = Delta::reset(replica.context.next_dot(actor), &replica.store, Seen::All);
        replica.apply(delta.clone());
        delta
    }

    #[test]
    fn a_reset_takes_back_what_it_has_seen_and_an_unseen_increment_survives_it_alone() {
        let (mut a, mut b) = (Replica::<Whole>::default(), Replica::default());
        let five = increment(&mut a, A, 5);
        b.apply(five);
        let reset = reset(&mut b, B);
        let three = increment(&mut a, A, 3);
        assert_eq!((a.store.value(), b.store.value()), (Ok(8), Ok(0)));
        assert!(!b.store.is_live());
        a.apply(reset);
        b.apply(three);
        assert_eq!(a, b);
        assert_eq!(a.store.value(), Ok(3));
        assert!(a.store.is_live());
    }

    #[test]
    fn two_resets_of_the_same_increments_take_them_back_once() {
        let (mut a, mut b) = (Replica::<Whole>::default(), Replica::default());
        b.apply(increment(&mut a, A, 5));
        let (at_a, at_b) = (reset(&mut a, A), reset(&mut b, B));
        a.apply(at_b);
        b.apply(at_a);
        assert_eq!(a, b);
        assert_eq!(a.store.value(), Ok(0));
    }

    #[test]
    fn an_actor_begins_anew_when_all_of_its_run_was_taken_back() {
        let mut a = Replica::<Whole>::default();
        let mut old = Vec::new();
        for round in 0..10 {
            old.push(increment(&mut a, A, i64::MAX));
            assert_eq!(a.store.value(), Ok(i64::MAX), "round {round}");
            old.push(reset(&mut a, A));
            assert_eq!(a.store.runs().len(), 1);
        }
        let mut late = Replica::default();
        old.into_iter().rev().for_each(|delta| late.apply(delta));
        assert_eq!(late, a);
    }

    #[test]
    fn a_context_resets_the_runs_whose_last_increment_it_has_seen() {
        let mut a = Replica::<Whole>::default();
        increment(&mut a, A, 5);
        increment(&mut a, B, 10);
        let seen = a.context.clone();
        increment(&mut a, A, 1);
        let dot = a.context.next_dot(B);
        a.apply(Delta::reset(dot, &a.store.clone(), Seen::Context(&seen)));
        assert_eq!(a.store.value(), Ok(6), "B's run was seen to its end, A's was not");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut a = Replica::<Whole>::default();
        increment(&mut a, A, i64::MAX);
        assert_eq!(a.store.increment(Dot::new(A, 2), 1), Err(NumberError::Overflow));
        assert!(a.store.increment(Dot::new(A, 2), -1).is_ok());
        let mut b = Replica::default();
        a.apply(increment(&mut b, B, i64::MAX));
        assert_eq!(a.store.value(), Err(NumberError::Overflow), "each fitted for itself");
        assert_eq!(a.store.sum(), Ok(Whole(2 * i128::from(i64::MAX))));
        let x = Counter::<Real>::default();
        assert_eq!(x.increment(Dot::new(A, 1), f64::NAN), Err(NumberError::NotFinite));
        assert_eq!(x.increment(Dot::new(A, 1), f64::NEG_INFINITY), Err(NumberError::NotFinite));
    }

    #[test]
    fn fractions_add_up_to_the_same_bits_everywhere_and_keep_their_precision_after_a_reset() {
        let (mut a, mut b) = (Replica::<Real>::default(), Replica::default());
        let mut deltas = Vec::new();
        for by in [0.1, 0.2, 0.3] {
            deltas.push(increment(&mut a, A, by));
            deltas.push(increment(&mut b, B, -by / 3.0));
        }
        deltas.iter().for_each(|delta| a.apply(delta.clone()));
        deltas.iter().rev().for_each(|delta| b.apply(delta.clone()));
        assert_eq!(a.store.value().map(f64::to_bits), b.store.value().map(f64::to_bits));
        increment(&mut a, A, 1e18);
        reset(&mut a, A);
        increment(&mut a, A, 0.25);
        assert_eq!(a.store.value(), Ok(0.25));
    }

    #[test]
    fn a_dead_run_of_an_actor_that_is_gone_is_forgotten() {
        let mut a = Replica::<Whole>::default();
        increment(&mut a, A, 5);
        increment(&mut a, B, 7);
        reset(&mut a, B);
        increment(&mut a, B, 1);
        let vector = a.taken.vector().clone();
        a.store.settle(&Stable { vector: vector.clone(), retired: Default::default() });
        assert_eq!(a.store.runs().len(), 2);
        a.store.settle(&Stable { vector, retired: [(A, 1)].into_iter().collect() });
        assert_eq!(a.store.runs().len(), 1);
        assert_eq!(a.store.value(), Ok(1));
    }
}
