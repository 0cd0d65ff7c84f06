//! A retry budget: retries are at most a share of the requests, whoever makes them.
//!
//! When a server is slow, each of three layers that tries three times turns one request into twenty-seven. A backoff only
//! spreads those; a budget prevents them (*Site Reliability Engineering*, ch. 21, "Client-Side Throttling" and "Deciding to
//! Retry"; Finagle's `RetryBudget`). Every request pays a fraction of a retry in, every retry takes one out, and the purse
//! is small: savings from quiet hours must not be spent in the first second of trouble.

/// What one retry costs, in the unit of the purse.
const RETRY: u64 = 1_000;

/// Whether an operation may be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryBudget {
    per_request: u64,
    most: u64,
    purse: u64,
}

impl RetryBudget {
    /// At most `permille` retries per thousand requests, and `reserve` beside that: the purse begins with so many and never
    /// holds more, so that one who asks seldom may still try again.
    #[must_use]
    pub const fn new(permille: u32, reserve: u32) -> Self {
        let most = reserve as u64 * RETRY;
        Self { per_request: permille as u64, most, purse: most }
    }

    /// A request was made for the first time.
    pub fn request(&mut self) {
        self.purse = (self.purse + self.per_request).min(self.most);
    }

    /// Whether it may be tried again; if so, that is paid for. A retry pays nothing in.
    #[must_use]
    pub fn retry(&mut self) -> bool {
        match self.purse.checked_sub(RETRY) {
            Some(rest) => {
                self.purse = rest;
                true
            }
            None => false,
        }
    }

    /// Retries that are there now.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.purse / RETRY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn when_everything_fails_a_tenth_is_added_and_no_more() {
        let mut budget = RetryBudget::new(100, 10);
        let mut retries = 0;
        for _ in 0..10_000 {
            budget.request();
            while budget.retry() {
                retries += 1;
            }
        }
        assert_eq!(retries, 10_000 / 10 + 9, "the first request finds the purse full");
    }

    proptest! {
        #[test]
        fn in_no_window_are_there_more_retries_than_the_share_and_the_reserve(
            permille in 0_u32..1_000,
            reserve in 0_u32..20,
            steps in prop::collection::vec(any::<bool>(), 1..300),
        ) {
            let mut budget = RetryBudget::new(permille, reserve);
            let (mut requests, mut retries) = (vec![0_u64], vec![0_u64]);
            for is_request in steps {
                let (mut request, mut retry) = (0, 0);
                if is_request {
                    budget.request();
                    request = 1;
                } else {
                    retry = u64::from(budget.retry());
                }
                requests.push(requests[requests.len() - 1] + request);
                retries.push(retries[retries.len() - 1] + retry);
            }
            for from in 0..requests.len() {
                for to in from..requests.len() {
                    let asked = requests[to] - requests[from];
                    let most = asked * u64::from(permille) / 1_000 + u64::from(reserve) + 1;
                    prop_assert!(retries[to] - retries[from] <= most);
                }
            }
        }
    }
}
