//! The wall clock, as the host has shown it last.

use althing_types::{Instant, WallTime};

/// What the wall clock showed, and when. It is good enough for deadlines of keys and for the order in which siblings are shown;
/// nothing that must be right rests on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wall {
    shown: WallTime,
    when: Instant,
}

impl Wall {
    pub(crate) fn set(&mut self, now: Instant, shown: WallTime) {
        *self = Self { shown, when: now };
    }

    /// Milliseconds since 1970.
    pub(crate) fn at(&self, now: Instant) -> i64 {
        let since = now.since(self.when).as_nanos() / 1_000_000;
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        i64::try_from(self.shown.0.saturating_add(since)).unwrap_or(i64::MAX)
    }
}
