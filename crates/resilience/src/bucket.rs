//! A token bucket as one moment: when it would be full again.
//!
//! The virtual scheduling algorithm (ITU-T I.371, "GCRA") needs neither a counter nor a timer: taking a token pushes the
//! moment at which the bucket is full by the time that one token takes to come back, and a token is there as long as that
//! moment lies no further ahead than the whole bucket. All in integers, so nothing is lost to rounding.

use althing_types::{Duration, Instant};

/// At most `burst` at once and one per `interval` in the long run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenBucket {
    interval: Duration,
    burst: u32,
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens, of which one comes back every `interval`. Both are above zero.
    ///
    /// # Panics
    /// If one is zero.
    #[must_use]
    pub const fn new(interval: Duration, burst: u32) -> Self {
        assert!(!interval.is_zero() && burst > 0, "a bucket has tokens, and they come back");
        Self { interval, burst, full_at: Instant::ZERO }
    }

    /// Takes `tokens` if they are there.
    pub fn take(&mut self, now: Instant, tokens: u32) -> bool {
        let full_at = self.full_at.max(now) + self.interval * tokens;
        let fits = full_at.since(now) <= self.interval * self.burst;
        if fits {
            self.full_at = full_at;
        }
        fits
    }

    /// How long until `tokens` are there if nobody else takes any. `None` if there never are so many.
    #[must_use]
    pub fn wait(&self, now: Instant, tokens: u32) -> Option<Duration> {
        let ahead = self.full_at.since(now) + self.interval * tokens;
        (tokens <= self.burst).then(|| ahead.saturating_sub(self.interval * self.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_burst_and_what_comes_back_in_it(
            interval_us in 1_u64..1_000,
            burst in 1_u32..20,
            steps in prop::collection::vec((0_u64..5_000, 1_u32..4), 1..200),
        ) {
            let interval = Duration::from_micros(interval_us);
            let mut bucket = TokenBucket::new(interval, burst);
            let mut now = Instant::from_nanos(1_000_000);
            let mut taken: Vec<(Instant, u32)> = Vec::new();
            for (after_us, tokens) in steps {
                now += Duration::from_micros(after_us);
                let wait = bucket.wait(now, tokens);
                let got = bucket.take(now, tokens);
                prop_assert_eq!(got, wait == Some(Duration::ZERO));
                if got {
                    taken.push((now, tokens));
                } else if let Some(wait) = wait {
                    prop_assert!(bucket.clone().take(now + wait, tokens), "after the wait they are there");
                }
            }
            for from in 0..taken.len() {
                let mut sum = 0;
                for (at, tokens) in &taken[from..] {
                    sum += u64::from(*tokens);
                    let back = at.since(taken[from].0).as_nanos() / interval.as_nanos();
                    prop_assert!(sum <= u64::from(burst) + back as u64);
                }
            }
        }
    }

    #[test]
    fn more_than_the_bucket_holds_never_comes() {
        assert_eq!(TokenBucket::new(Duration::from_secs(1), 3).wait(Instant::ZERO, 4), None);
    }
}
