//! How much repair may cost: bytes and buckets for an interval, as tokens in two purses (Turner, *New Directions in
//! Communications*, 1986: the leaky bucket as a meter).
//!
//! Repair goes on for ever and has time; requests of clients have none. So it is not queued or refused but asked to come back
//! later. A question's answer is not known beforehand, so what was moved is paid afterwards, and a purse may be in debt: then
//! nothing is begun until it is paid. The debt is at most what was begun when there was still something in it.
//!
//! This is not the retry budget of `resilience`, which counts requests and not time, and nothing there meters by time;
//! crates of one floor do not import each other.

use althing_types::{Duration, Instant};

/// Nanoseconds of a second.
const SECOND: u128 = 1_000_000_000;

/// What repair may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Bytes a second, both ways together.
    pub bytes: u64,
    /// Buckets a second that are read from the store.
    pub buckets: u64,
    /// How long a pause may be saved up for: the purses hold what this time brings, and no more.
    pub burst: Duration,
}

/// Two purses, which time fills and repair empties.
#[derive(Clone, Debug)]
pub struct Pace {
    bytes: Purse,
    buckets: Purse,
    seen: Instant,
}

/// Tokens in billionths, so that a nanosecond brings a whole number of them.
#[derive(Clone, Debug)]
struct Purse {
    per_second: u64,
    most: i128,
    level: i128,
}

impl Purse {
    fn new(per_second: u64, burst: Duration) -> Self {
        // At least one token, or a slow purse with a short memory would never hold a whole one.
        let most = (u128::from(per_second) * burst.as_nanos()).max(SECOND) as i128;
        Self { per_second, most, level: most }
    }

    fn fill(&mut self, time: Duration) {
        let more = (u128::from(self.per_second) * time.as_nanos()) as i128;
        self.level = (self.level + more).min(self.most);
    }

    fn spend(&mut self, tokens: u64) {
        self.level -= (u128::from(tokens) * SECOND) as i128;
    }

    fn whole(&self) -> u64 {
        u64::try_from(self.level.max(0) / SECOND as i128).unwrap_or(u64::MAX)
    }

    /// How long until a whole token is there.
    fn wait(&self) -> Option<Duration> {
        let missing = u128::try_from(SECOND as i128 - self.level).unwrap_or(0);
        let nanos = missing.div_ceil(u128::from(self.per_second).max(1));
        (self.per_second > 0 || missing == 0).then(|| Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

/// What may be spent now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Bytes.
    pub bytes: u64,
    /// Buckets.
    pub buckets: u64,
}

impl Pace {
    /// Full purses at `now`.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        let Rate { bytes, buckets, burst } = rate;
        Self { bytes: Purse::new(bytes, burst), buckets: Purse::new(buckets, burst), seen: now }
    }

    /// What may be spent at `now`; if one of both is zero, nothing is to be begun before [`ready_at`](Self::ready_at).
    #[must_use]
    pub fn allowance(&mut self, now: Instant) -> Allowance {
        let time = now.since(self.seen);
        self.bytes.fill(time);
        self.buckets.fill(time);
        self.seen = self.seen.max(now);
        Allowance { bytes: self.bytes.whole(), buckets: self.buckets.whole() }
    }

    /// So much was spent.
    pub fn spend(&mut self, bytes: u64, buckets: u64) {
        self.bytes.spend(bytes);
        self.buckets.spend(buckets);
    }

    /// When something may be begun again, if nothing is spent meanwhile: the moment of the last [`allowance`](Self::allowance)
    /// if it may already, and [`Instant::FAR_FUTURE`] if a rate is zero and its purse is empty.
    #[must_use]
    pub fn ready_at(&self) -> Instant {
        match (self.bytes.wait(), self.buckets.wait()) {
            (Some(bytes), Some(buckets)) => self.seen + bytes.max(buckets),
            (Some(_) | None, None) | (None, Some(_)) => Instant::FAR_FUTURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { bytes: 1_000, buckets: 10, burst: Duration::from_secs(2) };

    #[test]
    fn purses_are_full_at_first_and_never_fuller() {
        let mut pace = Pace::new(RATE, Instant::ZERO);
        let hour = Instant::ZERO + Duration::from_secs(3_600);
        assert_eq!(pace.allowance(hour), Allowance { bytes: 2_000, buckets: 20 });
        assert_eq!(pace.ready_at(), hour);
    }

    #[test]
    fn a_debt_is_paid_before_anything_is_begun() {
        let mut pace = Pace::new(RATE, Instant::ZERO);
        pace.spend(5_000, 1);
        assert_eq!(pace.allowance(Instant::ZERO).bytes, 0);
        assert_eq!(pace.ready_at(), Instant::ZERO + Duration::from_millis(3_001));
        assert_eq!(pace.allowance(Instant::ZERO + Duration::from_secs(3)).bytes, 0);
        assert_eq!(pace.allowance(pace.ready_at()), Allowance { bytes: 1, buckets: 20 });
    }

    #[test]
    fn a_rate_of_zero_lets_one_token_through_and_then_nothing() {
        let mut pace = Pace::new(Rate { buckets: 0, ..RATE }, Instant::ZERO);
        assert_eq!(pace.allowance(Instant::ZERO).buckets, 1);
        pace.spend(0, 1);
        assert_eq!(pace.ready_at(), Instant::FAR_FUTURE);
    }

    proptest! {
        #[test]
        fn in_no_window_is_more_spent_than_the_rate_and_the_burst_and_one_round(
            rounds in prop::collection::vec((0_u64..500, 1_u64..400), 1..200),
        ) {
            let mut pace = Pace::new(RATE, Instant::ZERO);
            let mut now = Instant::ZERO;
            let mut spent = vec![(now, 0_u64)];
            for (wait_ms, bytes) in rounds {
                now += Duration::from_millis(wait_ms);
                let allowance = pace.allowance(now);
                prop_assert_eq!(allowance.bytes == 0 || allowance.buckets == 0, pace.ready_at() > now);
                if pace.ready_at() <= now {
                    pace.spend(bytes, 1);
                    spent.push((now, spent[spent.len() - 1].1 + bytes));
                }
            }
            for from in 0..spent.len() {
                for to in from..spent.len() {
                    let milliseconds = spent[to].0.since(spent[from].0).as_millis() as u64;
                    prop_assert!(spent[to].1 - spent[from].1 <= milliseconds + 2_000 + 400);
                }
            }
        }
    }
}
