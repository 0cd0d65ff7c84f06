//! The clock of one node: it starts anywhere, runs a little too fast or too slow, and may be set while it runs.

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
    /// It shows so much less at once; never less than nothing.
    Back(Duration),
}

/// A node's clock as a function of the world's time. It is monotonic but for jumps back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LocalClock {
    /// When it was last set or changed its pace, in the world's time.
    since: Instant,
    /// What it showed then.
    shown: Instant,
    drift_ppm: i32,
}

impl LocalClock {
    /// A clock within the faults' bounds.
    #[must_use]
    pub fn draw(faults: &ClockFaults, rng: &mut Rng) -> Self {
        let limit = i32::try_from(faults.max_drift_ppm).unwrap_or(i32::MAX);
        let shown = Instant::ZERO + up_to(faults.max_offset, rng);
        Self { since: Instant::ZERO, shown, drift_ppm: rng.i32(-limit..=limit) }
    }

    /// A clock that is far too fast: nobody promises anything with it.
    #[must_use]
    pub const fn rushing() -> Self {
        Self { since: Instant::ZERO, shown: Instant::ZERO, drift_ppm: 250_000 }
    }

    /// What this clock shows at a moment of the world, which is not before it was last set.
    #[must_use]
    pub fn read(&self, world: Instant) -> Instant {
        let gone = i128::from(nanos(world.since(self.since))) * (BILLION + i128::from(self.drift_ppm) * 1000) / BILLION;
        self.shown + Duration::from_nanos(u64::try_from(gone).unwrap_or(u64::MAX))
    }

    /// How long the world takes while this clock counts `local`.
    #[must_use]
    pub fn world_span(&self, local: Duration) -> Duration {
        let span = i128::from(nanos(local)) * BILLION / (BILLION + i128::from(self.drift_ppm) * 1000);
        Duration::from_nanos(u64::try_from(span).unwrap_or(u64::MAX))
    }

    /// Sets the clock.
    pub fn jump(&mut self, now: Instant, jump: Jump) {
        let shown = self.read(now);
        self.since = now;
        self.shown = match jump {
            Jump::Forward(by) => shown + by,
            Jump::Back(by) => Instant::ZERO + shown.since(Instant::ZERO + by),
        };
    }

    /// From now on it is wrong by so many parts per million.
    pub fn drift(&mut self, now: Instant, ppm: i32) {
        (self.shown, self.since) = (self.read(now), now);
        self.drift_ppm = ppm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn clock(offset_seconds: u64, drift_ppm: i32) -> LocalClock {
        LocalClock { since: Instant::ZERO, shown: at(offset_seconds * 1000), drift_ppm }
    }

    #[test]
    fn a_fast_clock_counts_more_and_a_slow_one_less() {
        assert_eq!(clock(5, 1000).read(at(3_600_000)), at(3_608_600));
        assert_eq!(clock(0, -1000).read(at(3_600_000)), at(3_596_400));
        assert!(clock(0, -1000).world_span(Duration::from_secs(1)) > Duration::from_secs(1));
    }

    #[test]
    fn a_span_of_the_world_shows_as_that_span_on_the_clock() {
        let clock = clock(9, 731);
        let start = at(77_000);
        let span = clock.world_span(Duration::from_millis(25));
        let shown = clock.read(start + span).since(clock.read(start));
        assert!(nanos(shown).abs_diff(25_000_000) < 10, "{shown:?}");
    }

    #[test]
    fn a_clock_that_is_set_goes_on_from_there() {
        let mut clock = clock(100, 0);
        clock.jump(at(1000), Jump::Forward(Duration::from_secs(60)));
        assert_eq!(clock.read(at(3000)), at(163_000));
        clock.jump(at(3000), Jump::Back(Duration::from_secs(150)));
        assert_eq!(clock.read(at(4000)), at(14_000));
        clock.jump(at(4000), Jump::Back(Duration::from_secs(3600)));
        assert_eq!(clock.read(at(5000)), at(1000), "a clock does not show less than nothing");
    }

    #[test]
    fn a_change_of_pace_moves_nothing_at_once() {
        let mut clock = clock(0, 1000);
        clock.drift(at(1_000_000), -1000);
        assert_eq!(clock.read(at(1_000_000)), at(1_001_000));
        assert_eq!(clock.read(at(2_000_000)), at(2_000_000));
    }
}
