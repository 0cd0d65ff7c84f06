//! The node's own time, which never goes back.
//!
//! A monotonic clock does not go back, except where it does: a virtual machine that is moved or resumed, a hypervisor that
//! errs. Everything in a node that waits compares moments, so a clock that were put back by an hour would hold pings,
//! retries and leases up for an hour. The node therefore counts on from where it was: a step back counts as no time at all.
//! A step forward cannot be told from time that has passed, and counts.

use althing_types::{Duration, Instant};

/// A clock that goes on where the host's clock goes back.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyClock {
    /// What the host's clock showed last.
    shown: Instant,
    /// By how much it has gone back, all steps together.
    behind: Duration,
}

impl SteadyClock {
    /// The node's time while the host's clock shows `shown`.
    pub fn read(&mut self, shown: Instant) -> Instant {
        self.behind += self.shown.since(shown);
        self.shown = shown;
        shown + self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_is_put_back_goes_on_from_where_it_was() {
        let mut clock = SteadyClock::default();
        let read = [100, 107, 7, 9, 3, 4].map(|seconds| clock.read(at(seconds)));
        assert_eq!(read, [100, 107, 107, 109, 109, 110].map(at));
    }

    #[test]
    fn a_step_forward_is_time_that_has_passed() {
        let mut clock = SteadyClock::default();
        assert_eq!([5, 3605].map(|seconds| clock.read(at(seconds))), [5, 3605].map(at));
    }
}
