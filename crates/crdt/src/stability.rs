//! Causal stability: what may be forgotten once everybody has seen it.
//!
//! A write is stable when all replicas of the shard, of the present and the pending map, have taken it ([`DotContext::stable`];
//! Baquero, Almeida, Shoker, *Pure Operation-Based Replicated Data Types*, 2017, §5). There, messages arrive in causal order,
//! so that nothing concurrent to a stable event can still come. Here deltas overtake each other: a replica may have written
//! something before it saw the event, and its delta may still be on its way. So an event is **settled** when all have seen it,
//! and all have seen what anybody had written by then ([`Cut`]). That says little where little is kept:
//!
//! | type | what goes | why then |
//! |---|---|---|
//! | [`crate::LwwRegister`] | the mark that it was deleted, once its event is settled | all have taken it, and all that was written before somebody had seen it; what is written after has a greater time, as long as clocks follow what they see |
//! | [`crate::counter::Counter`] | runs that a reset has taken back in full, of actors that are no more and whose last event is settled | no increment of theirs is unseen; the run of a living actor goes without this, at its next increment |
//! | [`crate::DotMap`], [`crate::SortedSet`], pairs | what goes within, and keys of which nothing is left | |
//! | sets, maps, registers, flags | nothing | what is removed leaves no trace but in the context; a live dot is what tells a removal from news, however old it is |
//! | [`crate::GCounter`], [`crate::GSet`], [`crate::TwoPhaseSet`], [`crate::Hll`] | nothing | they are made of what has happened |
//!
//! A delta that is kept for a replica may go once that replica has taken its writes, whatever its type
//! ([`crate::Causal::has`]). What only its context covers has perhaps not been taken: see [`crate::Delta`].

use althing_clock::{Actor, Dot, DotContext, VersionVector};

/// Follows what all replicas have taken, and says what is settled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cut {
    /// What all had seen at the last look that counts, each when it reported.
    seen: VersionVector,
    /// What anybody had by then, and so all that was written without having seen it.
    written: DotContext,
    settled: VersionVector,
}

impl Cut {
    /// Looks at what the replicas have taken as they reported it, one report of each replica of the present and the pending
    /// map, and says what is settled. A look at part of the replicas would say too much.
    ///
    /// What a replica wrote that is gone, and that none of the others has, is not seen here: before it no longer counts, its deltas
    /// that are kept anywhere (hints) must have been delivered, or be thrown away.
    pub fn look<'a>(&mut self, taken: impl IntoIterator<Item = &'a DotContext, IntoIter: Clone>) -> &VersionVector {
        let taken = taken.into_iter();
        let stable = DotContext::stable(taken.clone());
        if DotContext::from(stable.clone()).covers(&self.written) {
            self.settled.join(&self.seen);
            self.seen = stable;
            self.written = DotContext::EMPTY;
            taken.for_each(|taken| self.written.join(taken));
        }
        &self.settled
    }
}

/// What nobody will ever contradict.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stable {
    /// What is settled ([`Cut::look`]).
    pub vector: VersionVector,
    /// Actors that will never write again, and the last event of each: replicas that are gone, former generations. A promise
    /// of the caller, who must know that no event above exists anywhere.
    pub retired: VersionVector,
}

impl Stable {
    /// Whether this event is settled.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.vector.contains(dot)
    }

    /// Whether all replicas have seen all events that this actor will ever have.
    #[must_use]
    pub fn is_complete(&self, actor: Actor) -> bool {
        let last = self.retired.get(actor);
        last > 0 && self.vector.contains(Dot::new(actor, last))
    }
}

/// A state that keeps something only for those who have not seen all.
///
/// Settling is not a write: it needs no dot and no delta. Replicas may settle at different times; joins between those that have and
/// those that have not come to the same value. Deltas whose writes were taken add nothing; from then on they must be ignored, which
/// is the caller's part ([`crate::Causal::has`]).
pub trait Stability {
    /// Forgets what nobody needs any more.
    fn settle(&mut self, stable: &Stable);
}

impl<A: Stability, B: Stability> Stability for (A, B) {
    fn settle(&mut self, stable: &Stable) {
        self.0.settle(stable);
        self.1.settle(stable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_settled_when_all_have_seen_it_and_what_was_written_before_that() {
        let (a, b) = (Actor::new(1, 1), Actor::new(2, 1));
        let (mut left, mut right) = (DotContext::EMPTY, DotContext::EMPTY);
        let mut cut = Cut::default();
        let event = left.take_dot(a);
        let unseen = right.take_dot(b);
        right.insert(event);
        // Both have seen a's event; but what b wrote before it had is not yet at the left.
        assert!(!cut.look([&left, &right]).contains(event));
        assert!(!cut.look([&left, &right]).contains(event));
        left.insert(unseen);
        assert!(cut.look([&left, &right]).contains(event));
        assert!(!cut.look([&left, &right]).contains(Dot::new(b, 2)));
    }
}
