//! How long to wait before a peer is called again.

use std::time::Duration;

/// Doubling waits with jitter, so that nodes which lost the same peer do not all come back in the same instant.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// Waits for a peer across a network.
    #[must_use]
    pub fn network(seed: u64) -> Self {
        Self::between(Duration::from_millis(50), Duration::from_secs(2), seed)
    }

    /// Waits for a peer on this machine, where a refused connection costs next to nothing.
    #[must_use]
    pub fn loopback(seed: u64) -> Self {
        Self::between(Duration::from_millis(10), Duration::from_millis(100), seed)
    }

    fn between(first: Duration, most: Duration, seed: u64) -> Self {
        Self { first, most, next: first, random: fastrand::Rng::with_seed(seed) }
    }

    /// The peer was reached: the next wait is short again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next wait: between half of the step and all of it.
    pub fn next_wait(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.most);
        step.mul_f64(self.random.f64().mul_add(0.5, 0.5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_again_after_success() {
        let mut backoff = Backoff::network(1);
        let waits: Vec<_> = (0..20).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] <= Duration::from_millis(50) && waits[0] >= Duration::from_millis(25));
        assert!(waits[10..].iter().all(|wait| *wait <= Duration::from_secs(2) && *wait >= Duration::from_secs(1)));
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(50));
    }

    #[test]
    fn two_nodes_do_not_wait_alike() {
        let waits = |seed| {
            let mut backoff = Backoff::loopback(seed);
            (0..5).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
    }
}
