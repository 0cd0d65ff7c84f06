//! The clock of one node: it starts anywhere and runs a little too fast or too slow, but never back.

use althing_types::{Duration, Instant};
use fastrand::Rng;

use crate::faults::ClockFaults;
use crate::random::{nanos, up_to};

const BILLION: i128 = 1_000_000_000;

/// A clock that is set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Jump {
    /// It shows so much more at once.
    Forward(Duration),
    /// It shows so much less at once.
    Back(Duration),
}

/// A node's monotonic clock as a function of the world's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LocalClock {
    offset: Duration,
    drift_ppm: i32,
}

impl LocalClock {
    /// A clock within the faults' bounds.
    #[must_use]
    pub fn draw(faults: &ClockFaults, rng: &mut Rng) -> Self {
        let limit = i32::try_from(faults.max_drift_ppm).unwrap_or(i32::MAX);
        Self { offset: up_to(faults.max_offset, rng), drift_ppm: rng.i32(-limit..=limit) }
    }

    /// A clock that is far too fast: nobody promises anything with it.
    #[must_use]
    pub const fn rushing() -> Self {
        Self { offset: Duration::ZERO, drift_ppm: 250_000 }
    }

    /// What this clock shows at a moment of the world.
    #[must_use]
    pub fn read(&self, world: Instant) -> Instant {
        let shown = i128::from(world.as_nanos()) * (BILLION + i128::from(self.drift_ppm) * 1000) / BILLION;
        Instant::from_nanos(u64::try_from(shown).unwrap_or(u64::MAX)) + self.offset
    }

    /// How long the world takes while this clock counts `local`.
    #[must_use]
    pub fn world_span(&self, local: Duration) -> Duration {
        let span = i128::from(nanos(local)) * BILLION / (BILLION + i128::from(self.drift_ppm) * 1000);
        Duration::from_nanos(u64::try_from(span).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_counts_more_and_a_slow_one_less() {
        let hour = Instant::ZERO + Duration::from_secs(3600);
        let fast = LocalClock { offset: Duration::from_secs(5), drift_ppm: 1000 };
        assert_eq!(fast.read(hour), Instant::ZERO + Duration::from_millis(3_608_600));
        let slow = LocalClock { offset: Duration::ZERO, drift_ppm: -1000 };
        assert_eq!(slow.read(hour), Instant::ZERO + Duration::from_millis(3_596_400));
        assert!(slow.world_span(Duration::from_secs(1)) > Duration::from_secs(1));
    }

    #[test]
    fn a_span_of_the_world_shows_as_that_span_on_the_clock() {
        let clock = LocalClock { offset: Duration::from_secs(9), drift_ppm: 731 };
        let start = Instant::ZERO + Duration::from_secs(77);
        let span = clock.world_span(Duration::from_millis(25));
        let shown = clock.read(start + span).since(clock.read(start));
        assert!(nanos(shown).abs_diff(25_000_000) < 10, "{shown:?}");
    }
}
