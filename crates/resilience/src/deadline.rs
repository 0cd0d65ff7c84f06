//! Deadlines that travel.
//!
//! Two nodes share no clock, so what travels is not a moment but the time that is left: each hop takes off what it has spent
//! and an allowance for the way, and the next one counts from when it received it. The way itself is not seen by
//! either, which is what the allowance is for. So a deadline can only shrink, and work for a caller that has given up
//! ends everywhere by itself.

use althing_types::{Duration, Instant};

/// The time that is left, as it is written on the wire: whole microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Remaining(u64);

impl Remaining {
    /// So many microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// In microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// As a duration.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

/// When the caller gives up, on this node's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// A caller that waits for as long as it takes.
    pub const NEVER: Self = Self(Instant::FAR_FUTURE);

    /// `timeout` from now.
    #[must_use]
    pub fn after(now: Instant, timeout: Duration) -> Self {
        Self(now + timeout)
    }

    /// At this moment.
    #[must_use]
    pub const fn until(at: Instant) -> Self {
        Self(at)
    }

    /// What has just been received.
    #[must_use]
    pub fn received(now: Instant, remaining: Remaining) -> Self {
        Self(now + Duration::from_micros(remaining.0))
    }

    /// The moment itself.
    #[must_use]
    pub const fn at(self) -> Instant {
        self.0
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(self, now: Instant) -> bool {
        now >= self.0
    }

    /// What is left; zero once it has passed.
    #[must_use]
    pub const fn remaining(self, now: Instant) -> Duration {
        self.0.since(now)
    }

    /// The sooner of this and `timeout` from now: a part of the work may have less time, never more.
    #[must_use]
    pub fn within(self, now: Instant, timeout: Duration) -> Self {
        Self(self.0.min(now + timeout))
    }

    /// What the next hop is told, with `way` taken off for getting there and back. `None` if nothing would be left: it
    /// need not be asked.
    #[must_use]
    pub fn travel(self, now: Instant, way: Duration) -> Option<Remaining> {
        let left = self.remaining(now).checked_sub(way)?;
        let micros = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        (micros > 0).then_some(Remaining(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_caller_without_a_deadline_waits_for_ever() {
        assert!(!Deadline::NEVER.has_passed(Instant::from_nanos(u64::MAX - 1)));
        assert!(Deadline::NEVER.travel(Instant::ZERO, Duration::from_secs(1)).is_some());
    }

    #[test]
    fn nobody_is_asked_when_nothing_would_be_left() {
        let deadline = Deadline::after(Instant::ZERO, Duration::from_millis(5));
        assert_eq!(deadline.travel(Instant::ZERO, Duration::from_millis(5)), None);
        assert_eq!(deadline.travel(Instant::ZERO + Duration::from_secs(9), Duration::ZERO), None);
        assert_eq!(deadline.travel(Instant::ZERO, Duration::from_millis(4)), Some(Remaining::from_micros(1_000)));
    }

    proptest! {
        /// Each hop has a clock of its own and spends some time; the way takes at least nothing.
        #[test]
        fn a_deadline_never_grows_at_a_hop(
            timeout_us in 1_u64..10_000_000,
            hops in prop::collection::vec((0_u64..1_u64 << 60, 0_u64..1_000_000, 0_u64..10_000, 0_u64..10_000), 1..8),
        ) {
            let mut remaining = Some(Remaining(timeout_us));
            let mut spent_us = 0;
            for (clock, work_us, way_us, allowance_us) in hops {
                let Some(received) = remaining else { break };
                let arrived = Instant::from_nanos(clock);
                let deadline = Deadline::received(arrived, received);
                let part = deadline.within(arrived, Duration::from_micros(timeout_us * 2));
                prop_assert!(part <= deadline);
                let now = arrived + Duration::from_micros(work_us);
                remaining = deadline.travel(now, Duration::from_micros(allowance_us));
                spent_us += work_us + way_us;
                if let Some(next) = remaining {
                    prop_assert!(next.0 + work_us + allowance_us <= received.0);
                    prop_assert!(next.0 + spent_us <= timeout_us + spent_us - work_us);
                }
            }
        }
    }
}
