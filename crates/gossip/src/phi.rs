//! The phi accrual failure detector: how surprising it is that nothing was heard of a peer for so long.
//!
//! Hayashibara, Défago, Yared and Katayama, *The φ Accrual Failure Detector* (2004), section IV. The last arrivals are kept
//! in a window; the times between them are taken as normally distributed with the window's mean and variance, and
//!
//! ```text
//! phi(now) = -log10( P_later(now - last arrival) )
//! P_later(t) = 1/(σ√(2π)) ∫ from t of exp(-(x-μ)²/(2σ²)) dx  =  ½ erfc( (t-μ) / (σ√2) )
//! ```
//!
//! A phi of 1 is wrong once in 10 times, of 3 once in 1,000 times. It is a hint for routing and for people and declares
//! nobody dead. What arrives are the datagrams of SWIM, and in a cluster of `n` nodes a given pair talks about once in `n`
//! periods: the larger the cluster, the slower phi is.

use std::collections::VecDeque;

use althing_types::{Duration, Instant};

/// Times between arrivals that are kept: the paper's window size.
const WINDOW: usize = 100;
/// Below this deviation a stream of arrivals is too regular to be believed: no clock and no network is so exact.
const MIN_DEVIATION: Duration = Duration::from_millis(100);
/// Arrivals within this time are one, as a probe and what rides along with it arrive together.
const SAME_ARRIVAL: Duration = Duration::from_millis(10);
/// Beyond this phi says no more; it keeps what is shown short.
pub const MAX_PHI: f64 = 100.0;

/// What is known of the arrivals from one peer.
#[derive(Clone, PartialEq, Debug)]
pub struct PhiAccrual {
    /// The latest times between arrivals, in seconds, the oldest first.
    window: VecDeque<f64>,
    last_arrival: Instant,
}

impl PhiAccrual {
    /// A detector that heard the peer for the first time, and expects it about every `expected`.
    #[must_use]
    pub fn new(now: Instant, expected: Duration) -> Self {
        let expected = expected.as_secs_f64();
        // Two guesses around the expectation, with a deviation of a quarter of it, until there are arrivals.
        Self { window: VecDeque::from([expected * 0.75, expected * 1.25]), last_arrival: now }
    }

    /// Something of the peer arrived.
    pub fn arrival(&mut self, now: Instant) {
        let interval = now.since(self.last_arrival);
        if interval < SAME_ARRIVAL {
            return;
        }
        self.last_arrival = now;
        self.window.push_back(interval.as_secs_f64());
        if self.window.len() > WINDOW {
            self.window.pop_front();
        }
    }

    /// When something of the peer arrived last.
    #[must_use]
    pub const fn last_arrival(&self) -> Instant {
        self.last_arrival
    }

    /// Mean and standard deviation of the window, in seconds.
    fn distribution(&self) -> (f64, f64) {
        let count = self.window.len() as f64;
        let mean = self.window.iter().sum::<f64>() / count;
        let variance = self.window.iter().map(|interval| (interval - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt().max(MIN_DEVIATION.as_secs_f64()))
    }

    /// The suspicion level, from 0 to [`MAX_PHI`].
    #[must_use]
    pub fn phi(&self, now: Instant) -> f64 {
        let (mean, deviation) = self.distribution();
        let elapsed = now.since(self.last_arrival).as_secs_f64();
        let x = (elapsed - mean) / (deviation * std::f64::consts::SQRT_2);
        let ln_later = ln_erfc(x) - std::f64::consts::LN_2;
        (-ln_later / std::f64::consts::LN_10).clamp(0.0, MAX_PHI)
    }
}

/// The natural logarithm of the complementary error function. Far out erfc itself would be zero; its logarithm is not.
fn ln_erfc(x: f64) -> f64 {
    if x < 2.0 { (1.0 - erf_series(x)).ln() } else { -x * x - (x * std::f64::consts::PI.sqrt()).ln() - tail(x).ln() }
}

/// erf(x) = 2/√π · Σ (-1)^n x^(2n+1) / (n! (2n+1)), for |x| that is not large; below -4 it is -1 to the last digit.
fn erf_series(x: f64) -> f64 {
    if x < -4.0 {
        return -1.0;
    }
    let (mut power, mut sum) = (x, x);
    for n in 1..100 {
        power *= -x * x / f64::from(n);
        sum += power / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// The continued fraction 1 + q/(1 + 2q/(1 + 3q/…)) with q = 1/(2x²), of which erfc(x) = exp(-x²) / (x√π · fraction).
fn tail(x: f64) -> f64 {
    let q = 1.0 / (2.0 * x * x);
    (1..=60).rev().fold(1.0, |below, n| 1.0 + f64::from(n) * q / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// A detector with this window, the last arrival at zero.
    fn detector(intervals: &[f64]) -> PhiAccrual {
        PhiAccrual { window: intervals.iter().copied().collect(), last_arrival: Instant::ZERO }
    }

    #[test]
    fn the_error_function_agrees_with_its_table() {
        // Values of erfc from tables, over both ways of working it out and on both sides of where they meet.
        for (x, erfc) in [
            (-1.0, 1.842_700_793),
            (0.0, 1.0),
            (0.5, 0.479_500_122),
            (1.0, 0.157_299_207),
            (1.9, 0.007_209_570_8),
            (2.0, 0.004_677_735),
            (3.0, 2.209_049_7e-5),
            (5.0, 1.537_459_8e-12),
            (10.0, 2.088_487_6e-45),
        ] {
            let found = ln_erfc(x).exp();
            assert!((found / erfc - 1.0).abs() < 1e-4, "erfc({x}) = {erfc}, found {found}");
        }
        assert!((ln_erfc(2.0 - 1e-9) - ln_erfc(2.0)).abs() < 1e-7, "the two ways meet");
    }

    #[test]
    fn phi_is_the_papers_formula() {
        // Mean 1 s, deviation 0.2 s: after the mean half of all arrivals are later, after one more deviation 15.87 %,
        // after two 2.275 %, after three 0.135 %.
        let detector = detector(&[0.8, 1.2]);
        for (millis, later) in [(1_000, 0.5), (1_200, 0.158_655), (1_400, 0.022_750), (1_600, 0.001_349_9)] {
            let expected: f64 = -f64::log10(later);
            let found = detector.phi(at(millis));
            assert!((found - expected).abs() < 1e-3, "after {millis} ms phi is {expected}, found {found}");
        }
    }

    #[test]
    fn phi_only_grows_in_silence_and_ends_at_its_bound() {
        let detector = detector(&[0.9, 1.0, 1.1]);
        let phis: Vec<f64> = (0..200).map(|step| detector.phi(at(step * 100))).collect();
        assert!(phis.windows(2).all(|pair| pair[0] <= pair[1]), "{phis:?}");
        assert!(phis[0] < 0.01);
        assert_eq!(phis[199], MAX_PHI);
    }

    #[test]
    fn an_arrival_calms_it_and_the_window_adapts() {
        let mut detector = PhiAccrual::new(at(0), Duration::from_secs(1));
        assert!(detector.phi(at(3_000)) > 8.0);
        detector.arrival(at(3_000));
        assert!(detector.phi(at(3_000)) < 0.5);
        for beat in 1..=200 {
            detector.arrival(at(3_000 + beat * 5_000));
        }
        assert_eq!(detector.window.len(), WINDOW);
        let now = at(3_000 + 200 * 5_000 + 5_000);
        assert!((detector.phi(now) - 0.301).abs() < 0.01, "5 s of silence are the mean now");
    }

    #[test]
    fn what_arrives_together_is_one_arrival() {
        let mut detector = PhiAccrual::new(at(0), Duration::from_secs(1));
        detector.arrival(at(1_000));
        detector.arrival(at(1_001));
        assert_eq!((detector.window.len(), detector.last_arrival()), (3, at(1_000)));
    }
}
