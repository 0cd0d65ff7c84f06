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
