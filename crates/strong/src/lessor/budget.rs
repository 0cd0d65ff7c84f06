//! How fast revocations may be proposed.

use althing_types::{Duration, Instant};

/// What may be saved up while nothing expires.
const BURST: Duration = Duration::from_millis(500);

/// Time that may be spent on revocations: it comes in as time passes, and each costs its share of a second.
pub(super) struct Budget {
    cost: Duration,
    saved: Duration,
    counted_to: Instant,
}

impl Budget {
    /// A budget for `per_second` revocations, with all that may be saved up.
    pub(super) fn new(now: Instant, per_second: u32) -> Self {
        Self { cost: Duration::from_secs(1) / per_second.max(1), saved: BURST, counted_to: now }
    }

    /// Pays for one revocation if it can.
    pub(super) fn pay(&mut self, now: Instant) -> bool {
        self.saved = (self.saved + now.since(self.counted_to)).min(BURST.max(self.cost));
        self.counted_to = self.counted_to.max(now);
        match self.saved.checked_sub(self.cost) {
            Some(rest) => {
                self.saved = rest;
                true
            }
            None => false,
        }
    }

    /// When it can pay for the next one.
    pub(super) fn ready_at(&self) -> Instant {
        self.counted_to + self.cost.saturating_sub(self.saved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pays_at_its_rate_and_saves_up_half_a_second() {
        let mut now = Instant::from_nanos(1);
        let mut budget = Budget::new(now, 100);
        let mut paid = |now| (0..1000).take_while(|_| budget.pay(now)).count();
        assert_eq!(paid(now), 50);
        now += Duration::from_millis(25);
        assert_eq!(paid(now), 2);
        now += Duration::from_millis(25);
        assert_eq!(paid(now), 3);
        now += Duration::from_secs(60);
        assert_eq!(paid(now), 50);
        assert_eq!(budget.ready_at(), now + Duration::from_millis(10));
    }
}
