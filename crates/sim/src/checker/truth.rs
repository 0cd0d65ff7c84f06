//! The table's history as a replica holds it in the end.

use std::collections::BTreeMap;

use althing_api::kv::Event;
use althing_types::Revision;
use bytes::Bytes;

/// Every event from `first` on, by revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truth {
    first: Revision,
    changes: BTreeMap<Revision, Vec<Event>>,
}

impl Truth {
    /// The history from `first` on, below which it is compacted. Each change is its revision and its events in order.
    #[must_use]
    pub fn new(first: Revision, changes: impl IntoIterator<Item = (Revision, Vec<Event>)>) -> Self {
        Self { first, changes: changes.into_iter().collect() }
    }

    /// What it says of some keys. Revisions stay, though nothing of these keys happened in them.
    #[must_use]
    pub fn of_keys(mut self, holds: impl Fn(&Bytes) -> bool) -> Self {
        self.changes.values_mut().for_each(|events| events.retain(|event| holds(&event.kv.key)));
        self
    }

    /// The first revision that is known.
    #[must_use]
    pub const fn first(&self) -> Revision {
        self.first
    }

    /// The last revision.
    #[must_use]
    pub fn last(&self) -> Revision {
        self.changes.last_key_value().map_or(self.first, |(revision, _)| *revision)
    }

    /// The events of one revision.
    #[must_use]
    pub fn at(&self, revision: Revision) -> &[Event] {
        self.changes.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// Every revision with its events, in order.
    pub fn changes(&self) -> impl Iterator<Item = (Revision, &[Event])> {
        self.changes.iter().map(|(revision, events)| (*revision, events.as_slice()))
    }

    /// All events from `from` on, in order.
    pub fn since(&self, from: Revision) -> impl Iterator<Item = &Event> {
        self.changes.range(from..).flat_map(|(_, events)| events)
    }
}
