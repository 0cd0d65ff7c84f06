//! What is going to happen, in order of time.
//!
//! A heap of (time, sequence): events of the same moment happen in the order in which they were entered, so nothing
//! ever depends on how the heap breaks a tie.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use althing_types::{Duration, Instant};

/// An event that is due.
#[derive(Debug)]
pub struct Due<E> {
    /// When.
    pub at: Instant,
    /// Its number among all events that were ever entered.
    pub sequence: u64,
    /// What.
    pub event: E,
}

/// Events to come, and the present.
#[derive(Debug)]
pub struct Agenda<E> {
    now: Instant,
    next_sequence: u64,
    heap: BinaryHeap<Entry>,
    /// The events themselves, which are large: the heap moves only their places.
    events: Vec<Option<E>>,
    free: Vec<usize>,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { now: Instant::ZERO, next_sequence: 0, heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new() }
    }
}

impl<E> Agenda<E> {
    /// The present: when the last event was due.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Enters an event that is due in `delay` from now.
    pub fn after(&mut self, delay: Duration, event: E) {
        self.at(self.now + delay, event);
    }

    /// Enters an event that is due at a moment; a moment that has passed means now.
    pub fn at(&mut self, at: Instant, event: E) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(event);
        self.heap.push(Entry { at: at.max(self.now), sequence: self.next_sequence, place });
        self.next_sequence += 1;
    }

    /// The next event; time goes on to it.
    pub fn take_next(&mut self) -> Option<Due<E>> {
        let Entry { at, sequence, place } = self.heap.pop()?;
        self.now = at;
        self.free.push(place);
        let event = self.events[place].take().expect("an entry of the heap has an event in its place");
        Some(Due { at, sequence, event })
    }

    /// Events to come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

/// The heap gives its greatest, so the order is turned round: the earliest is the greatest.
#[derive(Debug)]
struct Entry {
    at: Instant,
    sequence: u64,
    place: usize,
}

impl Entry {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.sequence)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_entered() {
        let mut agenda = Agenda::default();
        agenda.after(Duration::from_secs(2), "c");
        agenda.after(Duration::from_secs(1), "a");
        agenda.after(Duration::from_secs(1), "b");
        let mut order = Vec::new();
        while let Some(due) = agenda.take_next() {
            order.push(due.event);
        }
        assert_eq!(order, ["a", "b", "c"]);
        assert_eq!(agenda.now(), Instant::ZERO + Duration::from_secs(2));
    }

    #[test]
    fn time_never_goes_back() {
        let mut agenda = Agenda::default();
        agenda.after(Duration::from_secs(2), 1);
        assert_eq!(agenda.take_next().map(|due| due.event), Some(1));
        agenda.at(Instant::ZERO, 2);
        assert_eq!(agenda.take_next().map(|due| due.at), Some(Instant::ZERO + Duration::from_secs(2)));
    }
}
