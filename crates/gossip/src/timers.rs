//! What is due when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use althing_types::{Duration, Instant};

use crate::identity::Identity;

/// What happens at a deadline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    /// Something of SWIM itself.
    Swim(foca::Timer<Identity>),
    /// News is sent to a few members.
    Spread,
    /// Everything is exchanged with another member.
    PushPull,
    /// A seed is asked again, as nobody is known.
    Join,
    /// A member that another one holds for dead has had its time to refute it.
    Suspicion {
        /// The life that is suspected.
        identity: Identity,
        /// Its incarnation then.
        incarnation: u16,
    },
}

#[derive(Clone, Debug)]
struct Entry {
    at: Instant,
    sequence: u64,
    timer: Timer,
}

impl Entry {
    const fn order(&self) -> (Instant, u64) {
        (self.at, self.sequence)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// A heap of deadlines; equal ones in the order in which they were set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl Timers {
    pub fn set(&mut self, at: Instant, timer: Timer) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, timer }));
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next one that is due.
    pub fn pop(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.timer)
    }

    /// Moves all deadlines by as much as the next one is late, if that is `tolerance` or more, and says by how much.
    ///
    /// A process that was stopped, or a machine that was asleep, finds every deadline passed at once while the answers to
    /// its probes wait unread: it would suspect whom it had just asked. Time in which it did not run does not count.
    pub fn forgive(&mut self, now: Instant, tolerance: Duration) -> Option<Duration> {
        let late = now.since(self.next()?);
        if late < tolerance {
            return None;
        }
        let moved = |Reverse(entry): Reverse<Entry>| Reverse(Entry { at: entry.at + late, ..entry });
        self.heap = std::mem::take(&mut self.heap).into_iter().map(moved).collect();
        Some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn deadlines_come_in_order_and_equal_ones_as_they_were_set() {
        let mut timers = Timers::default();
        timers.set(at(2), Timer::PushPull);
        timers.set(at(1), Timer::Join);
        timers.set(at(1), Timer::Spread);
        assert_eq!(timers.pop(at(0)), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop(at(1))).collect();
        assert_eq!(due, [Timer::Join, Timer::Spread]);
        assert_eq!(timers.next(), Some(at(2)));
    }

    #[test]
    fn time_in_which_the_node_did_not_run_does_not_count() {
        let mut timers = Timers::default();
        timers.set(at(10), Timer::Join);
        timers.set(at(12), Timer::PushPull);
        assert_eq!(timers.forgive(at(10), Duration::from_secs(1)), None, "that is in time");
        assert_eq!(timers.forgive(at(30), Duration::from_secs(1)), Some(Duration::from_secs(20)));
        assert_eq!(timers.pop(at(30)), Some(Timer::Join));
        assert_eq!((timers.pop(at(30)), timers.next()), (None, Some(at(32))));
    }
}
