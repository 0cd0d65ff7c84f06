//! How many requests at once are worth having: an adaptive limit on what is in flight.
//!
//! A server that takes in more than it can do does not do more, it only answers later; with clients that give up and ask
//! again it soon does nothing of use. What tells a queue that does good (a burst, the company that shares an fsync) from one
//! that only stands there is, after CoDel (Nichols and Jacobson, *Controlling Queue Delay*, ACM Queue 2012), the *least*
//! delay of a while: if even the luckiest request waited, there is a standing queue.
//!
//! ```text
//!   queueing delay = least delay of the window - base          base: the least delay without a queue
//!
//!   above target:  limit = n × (base + target) ÷ least delay   n: in flight when that request was let in
//!   below target:  limit + an eighth of it, if it was used
//! ```
//!
//! * By Little's law n ÷ delay is what the server does in a second, so the first line is what would wait just as long as it may.
//!   It is a property of the one request and does not depend on the limit of today: answers to what was let in long ago
//!   bring the limit to the same place, never further down.
//! * The base is the least delay seen, as in Vegas and BBR, and is learnt anew, also upwards, from requests that found no more
//!   than [`LimitConfig::floor`] before them: there is no queue of one's own making then. So a slower disk or a longer way
//!   first brings the limit down to the floor and then makes it greater, as it must.
//! * The form "limit times a gradient of delays" is that of Netflix's `concurrency-limits`; a fixed allowance above the
//!   base stands here in place of a ratio, because group commit makes delays that differ by a factor daily life.

use althing_types::{Duration, Instant};

/// How the limit is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitConfig {
    /// Where it begins.
    pub initial: usize,
    /// It is never lower; above zero.
    pub floor: usize,
    /// It is never higher.
    pub ceiling: usize,
    /// The standing queue that is put up with, as a delay.
    pub target: Duration,
    /// The least time between two changes.
    pub window: Duration,
    /// Answers that a window must have seen.
    pub min_answers: u32,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            initial: 1_024,
            floor: 32,
            ceiling: 16_384,
            target: Duration::from_millis(100),
            window: Duration::from_millis(100),
            min_answers: 8,
        }
    }
}

/// One over the share by which the limit grows at a time.
const GROWTH: usize = 8;
/// One over the weight of a new base above the known one.
const BASE_WEIGHT: u32 = 4;

/// What the present window has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Window {
    began: Instant,
    answers: u32,
    least_delay: Duration,
    /// How many were in flight when the request with that delay was let in, itself included.
    in_flight_then: usize,
    most_in_flight: usize,
}

impl Window {
    const fn begin(now: Instant) -> Self {
        Self { began: now, answers: 0, least_delay: Duration::MAX, in_flight_then: 0, most_in_flight: 0 }
    }
}

/// An adaptive limit on requests in flight.
#[derive(Clone, Debug)]
pub struct Limit {
    config: LimitConfig,
    limit: usize,
    base: Option<Duration>,
    /// The least delay of the last window.
    delay: Duration,
    window: Window,
}

impl Limit {
    /// A limit that has seen nothing.
    #[must_use]
    pub fn new(config: LimitConfig) -> Self {
        let limit = config.initial.clamp(config.floor, config.ceiling);
        Self { config, limit, base: None, delay: Duration::ZERO, window: Window::begin(Instant::ZERO) }
    }

    /// How many may be in flight.
    #[must_use]
    pub const fn get(&self) -> usize {
        self.limit
    }

    /// The least delay without a queue, as far as is known.
    #[must_use]
    pub fn base(&self) -> Duration {
        self.base.unwrap_or(Duration::ZERO)
    }

    /// The least delay of the last window.
    #[must_use]
    pub const fn delay(&self) -> Duration {
        self.delay
    }

    /// A request was let in; with it, so many are in flight.
    pub const fn admitted(&mut self, in_flight: usize) {
        if in_flight > self.window.most_in_flight {
            self.window.most_in_flight = in_flight;
        }
    }

    /// A request is answered that was let in `delay` ago, when with it `in_flight_then` were in flight.
    pub fn answered(&mut self, now: Instant, delay: Duration, in_flight_then: usize) {
        self.window.answers += 1;
        if delay < self.window.least_delay {
            (self.window.least_delay, self.window.in_flight_then) = (delay, in_flight_then);
        }
        let is_over = now.since(self.window.began) >= self.config.window;
        if is_over && self.window.answers >= self.config.min_answers {
            self.change();
            self.window = Window::begin(now);
        }
    }

    /// Draws the conclusion of a window.
    fn change(&mut self) {
        let Window { least_delay, in_flight_then, most_in_flight, .. } = self.window;
        self.delay = least_delay;
        let is_used = most_in_flight * 2 >= self.limit;
        let base = self.learn(least_delay, in_flight_then);
        let wanted = base + self.config.target;
        let next = if least_delay > wanted {
            let useful = in_flight_then as f64 * wanted.as_secs_f64() / least_delay.as_secs_f64();
            self.limit.min(useful as usize)
        } else if is_used {
            self.limit + (self.limit / GROWTH).max(1)
        } else {
            self.limit
        };
        self.limit = next.clamp(self.config.floor, self.config.ceiling);
    }

    fn learn(&mut self, delay: Duration, in_flight_then: usize) -> Duration {
        let has_no_queue = in_flight_then <= self.config.floor;
        let base = match self.base {
            None => delay,
            Some(known) if delay <= known => delay,
            Some(known) if has_no_queue => known + (delay - known) / BASE_WEIGHT,
            Some(known) => known,
        };
        self.base = Some(base);
        base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A window in which so many were in flight and all took so long.
    fn window(limit: &mut Limit, now: &mut Instant, delay: Duration, in_flight: usize) {
        limit.admitted(in_flight);
        *now += limit.config.window;
        for _ in 0..limit.config.min_answers {
            limit.answered(*now, delay, in_flight);
        }
    }

    #[test]
    fn a_limit_that_is_used_grows_and_one_that_is_not_stays() {
        let mut limit = Limit::new(LimitConfig::default());
        let mut now = Instant::ZERO;
        window(&mut limit, &mut now, ms(3), 10);
        assert_eq!(limit.get(), 1_024);
        window(&mut limit, &mut now, ms(3), 1_024);
        assert_eq!((limit.get(), limit.base()), (1_152, ms(3)));
    }

    #[test]
    fn a_standing_queue_brings_it_to_what_would_wait_just_long_enough() {
        let mut limit = Limit::new(LimitConfig::default());
        let mut now = Instant::ZERO;
        window(&mut limit, &mut now, ms(10), 10);
        window(&mut limit, &mut now, ms(1_100), 1_024);
        assert_eq!(limit.get(), 1_024 / 10);
    }

    #[test]
    fn a_longer_way_is_learnt_where_there_is_no_queue() {
        let mut limit = Limit::new(LimitConfig::default());
        let mut now = Instant::ZERO;
        window(&mut limit, &mut now, ms(2), 10);
        // The way takes 300 ms now, and there is always more to do than is let in.
        for _ in 0..60 {
            let in_flight = limit.get();
            window(&mut limit, &mut now, ms(300), in_flight);
        }
        assert!(limit.base() > ms(190) && limit.get() > 64, "{limit:?}");
    }

    proptest! {
        #[test]
        fn it_keeps_its_bounds_and_the_base_is_a_delay_that_was_seen(
            delays in prop::collection::vec((0_u64..5_000, 0_usize..20_000), 1..100),
        ) {
            let mut limit = Limit::new(LimitConfig::default());
            let mut now = Instant::ZERO;
            let (mut least, mut most) = (u64::MAX, 0);
            for (delay_ms, in_flight) in delays {
                window(&mut limit, &mut now, ms(delay_ms), in_flight);
                (least, most) = (least.min(delay_ms), most.max(delay_ms));
                prop_assert!((32..=16_384).contains(&limit.get()));
                prop_assert!((ms(least)..=ms(most)).contains(&limit.base()));
            }
        }
    }
}
