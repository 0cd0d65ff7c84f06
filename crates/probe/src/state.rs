//! What a thread has counted, and which mistake it makes.

use std::marker::PhantomData;

use crate::{Mark, Mutant};

/// How often each mark was hit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hits([u64; Mark::ALL.len()]);

impl Default for Hits {
    fn default() -> Self {
        Self([0; Mark::ALL.len()])
    }
}

impl Hits {
    /// How often this one was.
    #[must_use]
    pub const fn of(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// Every mark and how often it was hit, in the order of [`Mark::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Mark, u64)> + '_ {
        Mark::ALL.iter().map(|mark| (*mark, self.of(*mark)))
    }

    /// Marks that were not hit.
    pub fn missing(&self) -> impl Iterator<Item = Mark> + '_ {
        self.iter().filter(|(_, hits)| *hits == 0).map(|(mark, _)| mark)
    }
}

impl std::ops::AddAssign<&Self> for Hits {
    fn add_assign(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum += more;
        }
    }
}

/// While it lives, its thread makes a mistake. It cannot leave that thread.
#[derive(Debug)]
#[must_use = "the mistake ends with the guard"]
pub struct Guard(PhantomData<*const ()>);

#[cfg(debug_assertions)]
mod armed {
    use std::cell::Cell;
    use std::marker::PhantomData;

    use super::{Guard, Hits};
    use crate::{Mark, Mutant};

    thread_local! {
        static HITS: [Cell<u64>; Mark::ALL.len()] = const { [const { Cell::new(0) }; Mark::ALL.len()] };
        static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
        static CHANCES: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn hit(mark: Mark) {
        HITS.with(|hits| {
            let cell = &hits[mark as usize];
            cell.set(cell.get() + 1);
        });
    }

    pub(super) fn take() -> Hits {
        HITS.with(|hits| Hits(std::array::from_fn(|index| hits[index].take())))
    }

    pub(super) fn is(mutant: Mutant) -> bool {
        MUTANT.get() == Some(mutant)
    }

    pub(super) fn every(mutant: Mutant, nth: u64) -> bool {
        if !is(mutant) {
            return false;
        }
        let chances = CHANCES.get() + 1;
        CHANCES.set(chances);
        chances.is_multiple_of(nth)
    }

    pub(super) fn activate(mutant: Mutant) -> Guard {
        let before = MUTANT.replace(Some(mutant));
        assert_eq!(before, None, "a thread makes one mistake at a time");
        CHANCES.set(0);
        Guard(PhantomData)
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            MUTANT.set(None);
        }
    }
}

/// Notes that this thread has come along here.
#[inline]
pub fn hit(mark: Mark) {
    #[cfg(debug_assertions)]
    armed::hit(mark);
    #[cfg(not(debug_assertions))]
    let _ = mark;
}

/// What this thread has counted since the last call.
#[must_use]
pub fn take() -> Hits {
    #[cfg(debug_assertions)]
    return armed::take();
    #[cfg(not(debug_assertions))]
    Hits::default()
}

/// Whether this thread makes this mistake.
#[inline]
#[must_use]
pub fn is(mutant: Mutant) -> bool {
    #[cfg(debug_assertions)]
    return armed::is(mutant);
    #[cfg(not(debug_assertions))]
    {
        let _ = mutant;
        false
    }
}

/// Whether this thread makes this mistake now: at each `nth` chance, counted since it was switched on. For mistakes that would
/// be noticed by their very frequency.
#[inline]
#[must_use]
pub fn every(mutant: Mutant, nth: u64) -> bool {
    #[cfg(debug_assertions)]
    return armed::every(mutant, nth);
    #[cfg(not(debug_assertions))]
    {
        let _ = (mutant, nth);
        false
    }
}

impl Mutant {
    /// Switches the mistake on for this thread, until the guard is dropped.
    ///
    /// # Panics
    /// If another one is on, or in a build without debug assertions, which cannot make any: ask [`crate::ARMED`] first.
    pub fn activate(self) -> Guard {
        #[cfg(debug_assertions)]
        return armed::activate(self);
        #[cfg(not(debug_assertions))]
        panic!("a build without debug assertions has no mutant {self}")
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MARK: Mark = Mark::ALL[0];
    const MUTANT: Mutant = Mutant::ALL[0];

    #[test]
    fn marks_are_counted_once_each_and_taken_once() {
        hit(MARK);
        hit(MARK);
        let hits = take();
        assert_eq!((hits.of(MARK), hits.missing().count()), (2, Mark::ALL.len() - 1));
        assert_eq!(take(), Hits::default());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "that threads do not mix shows only with two of them")]
    fn threads_count_for_themselves_and_make_their_own_mistakes() {
        let _guard = MUTANT.activate();
        hit(MARK);
        let other = std::thread::spawn(|| (take(), is(MUTANT))).join().unwrap();
        assert_eq!(other, (Hits::default(), false));
        assert_eq!(take().of(MARK), 1);
    }

    #[test]
    fn a_mistake_ends_with_its_guard() {
        assert!(!is(MUTANT));
        let guard = MUTANT.activate();
        assert!(is(MUTANT));
        let nth: Vec<bool> = (0..6).map(|_| every(MUTANT, 3)).collect();
        assert_eq!(nth, [false, false, true, false, false, true]);
        drop(guard);
        assert!(!is(MUTANT) && !every(MUTANT, 1));
    }

    #[test]
    fn every_name_is_given_once_and_finds_what_it_names() {
        let mutants: BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        let marks: BTreeSet<_> = Mark::ALL.iter().map(|mark| mark.name()).collect();
        assert_eq!((mutants.len(), marks.len()), (Mutant::ALL.len(), Mark::ALL.len()));
        assert!(Mutant::ALL.iter().all(|mutant| Mutant::named(mutant.name()) == Some(*mutant)));
        assert_eq!(Mark::named("nothing"), None);
    }
}
