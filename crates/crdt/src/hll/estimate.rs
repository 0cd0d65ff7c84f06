//! From registers to a number, without a table and without a threshold between small and large.
//!
//! Ertl, *New Cardinality Estimation Algorithms for HyperLogLog Sketches*, 2017, §3 (algorithm 6). The raw estimate of 2007 is
//! the harmonic mean of 2^rank; it is biased where many registers are zero, and where many have run full. Ertl replaces
//! both ends of the sum by series, [`sigma`] for the zeros and [`tau`] for the full ones, and the bias is gone.
//!
//! Only sums, products and square roots are used, which every processor rounds alike: replicas with equal sketches answer
//! the same number.

use super::{MAX_RANK, REGISTERS};

/// How many elements lead to these registers, of which `histogram[r]` have rank `r`.
pub(super) fn estimate(histogram: &[u32; MAX_RANK as usize + 1]) -> u64 {
    /// α∞ = 1 / (2 ln 2).
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let all = REGISTERS as f64;
    let (full, ranks) = histogram.split_last().expect("it has an entry for each rank");
    let start = all * tau(1.0 - f64::from(*full) / all);
    let weighed = ranks[1..].iter().rev().fold(start, |sum, count| (sum + f64::from(*count)) / 2.0);
    let mean = weighed + all * sigma(f64::from(ranks[0]) / all);
    (ALPHA * all * all / mean).round() as u64
}

/// σ(x) = x + Σ x^(2^k) 2^(k-1) over k ≥ 1: what zeros stand for.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut sum, mut weight) = (x, 1.0);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight *= 2.0;
        if sum <= before {
            return sum;
        }
    }
}

/// τ(x) = (1 - x - Σ (1 - x^(2^-k))² 2^-k over k ≥ 1) / 3: what full registers stand for.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut sum, mut weight) = (1.0 - x, 1.0);
    loop {
        x = x.sqrt();
        weight /= 2.0;
        let before = sum;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum >= before {
            return sum / 3.0;
        }
    }
}
