//! The observed-remove set without tombstones: an element is there as long as an event that added it was not seen by a removal.
//!
//! Bieniusa, Zawirski, Preguiça, Shapiro, Baquero, Balegas, Duarte, *An Optimized Conflict-free Replicated Set*, 2012; as a dot
//! store, Almeida, Shoker, Baquero 2018, §7.3. To add an element replaces the events that added it before, so one event is
//! enough for most. A concurrent addition wins over a removal, which removes only what it has seen.

use althing_clock::{Dot, DotContext};

use crate::join::{Delta, Join, Reset, Seen};
use crate::stability::{Stability, Stable};
use crate::store::{DotMap, DotSet};

/// A set of elements, each with the live events that added it.
pub type OrSet<E> = DotMap<E, DotSet>;

impl<E: Ord + Clone> OrSet<E> {
    /// The write `dot`: the element is added.
    #[must_use]
    pub fn add(&self, dot: Dot, element: E) -> Delta<Self> {
        self.update(element, |former| {
            let mut context = DotContext::EMPTY;
            let _ = former.reset(Seen::All, &mut context);
            Delta::new(dot, DotSet::from(dot), context)
        })
    }

    /// Whether the element is there.
    #[must_use]
    pub fn contains(&self, element: &E) -> bool {
        self.get(element).is_some_and(|dots| !dots.is_bottom())
    }

    /// The elements, in order.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = &E> + ExactSizeIterator {
        self.iter().map(|(element, _)| element)
    }
}

impl Stability for DotSet {
    fn settle(&mut self, _: &Stable) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Causal;
    use althing_clock::Actor;

    const A: Actor = Actor::new(1, 1);
    const B: Actor = Actor::new(2, 1);

    #[test]
    fn an_addition_wins_over_a_removal_that_has_not_seen_it() {
        let (mut a, mut b) = (Causal::<OrSet<u8>>::default(), Causal::default());
        a.apply(a.store.add(a.context.next_dot(A), 7));
        b.join(a.clone());
        b.apply(b.store.add(b.context.next_dot(B), 7));
        a.apply(a.store.remove(a.context.next_dot(A), 7, Seen::All));
        a.join(b.clone());
        b.join(a.clone());
        assert_eq!(a, b);
        assert!(a.store.contains(&7));
    }

    #[test]
    fn what_is_removed_leaves_nothing_and_an_old_addition_does_not_bring_it_back() {
        let mut a = Causal::<OrSet<u8>>::default();
        let added = a.store.add(a.context.next_dot(A), 7);
        a.apply(added.clone());
        a.apply(a.store.remove(a.context.next_dot(A), 7, Seen::All));
        assert!(a.store.is_bottom());
        a.apply(added);
        assert!(a.store.is_bottom());
    }

    #[test]
    fn adding_again_keeps_one_dot() {
        let mut a = Causal::<OrSet<u8>>::default();
        (0..5).for_each(|_| a.apply(a.store.add(a.context.next_dot(A), 7)));
        let mut dots = Vec::new();
        a.store.dots(&mut |dot| dots.push(dot));
        assert_eq!(dots, [Dot::new(A, 5)]);
    }
}
