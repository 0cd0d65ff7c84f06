//! How long to wait before the next try: longer each time, and never in step with others.
//!
//! Without jitter all who lost the same peer come back in the same instant, again and again. The three kinds are those of
//! Brooker's *Exponential Backoff And Jitter* (AWS Architecture Blog, 2015).

use althing_types::Duration;

/// How chance enters a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Jitter {
    /// Between nothing and the step: spreads best.
    Full,
    /// Between half of the step and all of it: never at once.
    Equal,
    /// Between the base and three times the last wait: grows by chance, not by count.
    Decorrelated,
}

/// Waits that grow from a base to a cap.
#[derive(Clone, Debug)]
pub struct Backoff {
    jitter: Jitter,
    base: Duration,
    cap: Duration,
    /// The step from which the next wait is drawn; for [`Jitter::Decorrelated`] the last wait.
    step: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// Waits of `base` at first and of `cap` at the most, which is at least `base`.
    #[must_use]
    pub fn new(jitter: Jitter, base: Duration, cap: Duration, seed: u64) -> Self {
        let cap = cap.max(base);
        Self { jitter, base, cap, step: base, random: fastrand::Rng::with_seed(seed) }
    }

    /// It worked: the next wait is short again.
    pub const fn reset(&mut self) {
        self.step = self.base;
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let share = self.random.f64();
        let step = self.step;
        self.step = (step * 2).min(self.cap);
        match self.jitter {
            Jitter::Full => step.mul_f64(share),
            Jitter::Equal => step.mul_f64(share.mul_add(0.5, 0.5)),
            Jitter::Decorrelated => {
                let most = (step * 3).min(self.cap);
                let wait = self.base + (most - self.base).mul_f64(share);
                self.step = wait;
                wait
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Duration = Duration::from_millis(50);
    const CAP: Duration = Duration::from_secs(2);
    const ALL: [Jitter; 3] = [Jitter::Full, Jitter::Equal, Jitter::Decorrelated];

    fn waits(jitter: Jitter, seed: u64) -> Vec<Duration> {
        let mut backoff = Backoff::new(jitter, BASE, CAP, seed);
        (0..30).map(|_| backoff.next_wait()).collect()
    }

    #[test]
    fn waits_grow_and_start_again_after_success() {
        for jitter in ALL {
            let all: Vec<_> = (0..200).map(|seed| waits(jitter, seed)).collect();
            let mean = |at: usize| all.iter().map(|waits| waits[at]).sum::<Duration>() / all.len() as u32;
            assert!(mean(29) > mean(0) * 4, "{jitter:?}: {:?}, {:?}", mean(0), mean(29));
            let mut backoff = Backoff::new(jitter, BASE, CAP, 1);
            for _ in 0..40 {
                backoff.next_wait();
            }
            backoff.reset();
            assert!(backoff.next_wait() <= BASE * 3, "{jitter:?}");
        }
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_the_cap_and_no_two_nodes_wait_alike(seed in any::<u64>()) {
            for jitter in ALL {
                let found = waits(jitter, seed);
                prop_assert!(found.iter().all(|wait| *wait <= CAP));
                let least = match jitter { Jitter::Full => Duration::ZERO, Jitter::Equal => BASE / 2, Jitter::Decorrelated => BASE };
                prop_assert!(found.iter().all(|wait| *wait >= least));
                prop_assert_eq!(&found, &waits(jitter, seed));
                prop_assert_ne!(found, waits(jitter, seed.wrapping_add(1)));
            }
        }
    }
}
