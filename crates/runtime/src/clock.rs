//! The machine's clocks.

use std::time::{Instant as StdInstant, SystemTime, UNIX_EPOCH};

use althing_env::Clock;
use althing_types::{Instant, WallTime};

/// Monotonic time since the clock was made, and the system's wall time.
#[derive(Clone, Copy, Debug)]
pub struct RealClock {
    start: StdInstant,
}

impl RealClock {
    /// A clock that starts at zero now. Instants of two clocks must not be mixed: make one per process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's monotonic clock")]
    pub fn start() -> Self {
        Self { start: StdInstant::now() }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's wall clock")]
    fn wall(&self) -> WallTime {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_never_goes_back() {
        let clock = RealClock::start();
        let mut last = clock.now();
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn wall_time_is_after_this_was_written() {
        assert!(RealClock::start().wall().0 > 1_700_000_000_000);
    }
}
