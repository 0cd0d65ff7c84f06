//! A circuit breaker: a side that does not answer is left alone for a while, then asked once.
//!
//! ```text
//!            too many failures                    the time is up
//!  Closed ──────────────────────► Open until t ───────────────────► HalfOpen: one probe
//!    ▲                              ▲                                   │     │
//!    │                              └──────── the probe fails ──────────┘     │
//!    └──────────────────────────────────────── the probe succeeds ────────────┘
//! ```
//!
//! Nygard, *Release It!*, ch. 5. Two signs open it: several failures in a row, which a dead peer shows at once, and a share of
//! failures over a window, which shows a peer that is sick. Each probe that fails makes the next wait longer ([`Backoff`]).

use althing_types::{Duration, Instant};

use crate::backoff::Backoff;

/// Parts of the window: the oldest is forgotten at a time.
const PARTS: usize = 10;

/// What opens a breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerConfig {
    /// Failures in a row that open it; above zero.
    pub consecutive_failures: u32,
    /// The share of failures over the window that opens it, in percent. Above 100: never.
    pub failure_percent: u32,
    /// Calls that the window must have seen before its share counts.
    pub min_calls: u32,
    /// The window.
    pub window: Duration,
    /// A probe that has not reported for so long has failed.
    pub probe_timeout: Duration,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The other side is there, whatever it said.
    Success,
    /// It did not answer, or not in time.
    Failure,
}

/// The right to call once. What became of it is to be told; it cannot be told twice.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a call that was allowed must be reported"]
pub struct Permit {
    /// The state in which it was given: what a later one learns from it is old news.
    epoch: u64,
}

/// What one sees of a breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Calls pass.
    Closed,
    /// None pass before this moment.
    Open {
        /// When the next probe may go.
        until: Instant,
    },
    /// One probe may pass, or is on its way.
    HalfOpen,
}

impl State {
    /// Its number on a metrics page: 0 closed, 1 half open, 2 open.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open { .. } => 2,
        }
    }
}

/// What a breaker remembers in each state.
#[derive(Debug)]
enum Inner {
    Closed { in_a_row: u32, window: Window },
    Open { until: Instant },
    HalfOpen { probing_since: Instant },
}

/// A breaker before one peer.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    wait: Backoff,
    inner: Inner,
    epoch: u64,
    opened: u64,
}

impl Breaker {
    /// A closed breaker. `wait` says how long it stays open, each time in a row.
    #[must_use]
    pub const fn new(config: BreakerConfig, wait: Backoff) -> Self {
        let inner = Inner::Closed { in_a_row: 0, window: Window::EMPTY };
        Self { config, wait, inner, epoch: 0, opened: 0 }
    }

    /// The right to call now, or when to ask again.
    pub fn permit(&mut self, now: Instant) -> Result<Permit, Instant> {
        let probe_at = match self.inner {
            Inner::Closed { .. } => return Ok(Permit { epoch: self.epoch }),
            Inner::Open { until } => until,
            Inner::HalfOpen { probing_since } => probing_since + self.config.probe_timeout,
        };
        if now < probe_at {
            return Err(probe_at);
        }
        self.enter(Inner::HalfOpen { probing_since: now });
        Ok(Permit { epoch: self.epoch })
    }

    /// What became of a call.
    pub fn report(&mut self, now: Instant, permit: Permit, outcome: Outcome) {
        let Permit { epoch } = permit;
        if epoch != self.epoch {
            return;
        }
        match (&mut self.inner, outcome) {
            (Inner::Closed { in_a_row, window }, Outcome::Success) => {
                *in_a_row = 0;
                window.count(now, self.config.window, outcome);
            }
            (Inner::Closed { in_a_row, window }, Outcome::Failure) => {
                *in_a_row += 1;
                window.count(now, self.config.window, outcome);
                if *in_a_row >= self.config.consecutive_failures || window.is_bad(&self.config) {
                    self.open(now);
                }
            }
            (Inner::HalfOpen { .. }, Outcome::Success) => {
                self.wait.reset();
                self.enter(Inner::Closed { in_a_row: 0, window: Window::EMPTY });
            }
            (Inner::HalfOpen { .. }, Outcome::Failure) => self.open(now),
            (Inner::Open { .. }, Outcome::Success | Outcome::Failure) => {
                unreachable!("no permit is given while it is open, and those before are of another epoch")
            }
        }
    }

    /// What one sees of it.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.inner {
            Inner::Closed { .. } => State::Closed,
            Inner::Open { until } => State::Open { until },
            Inner::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// How often it has opened.
    #[must_use]
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    fn open(&mut self, now: Instant) {
        self.opened += 1;
        let until = now + self.wait.next_wait();
        self.enter(Inner::Open { until });
    }

    fn enter(&mut self, inner: Inner) {
        self.epoch += 1;
        self.inner = inner;
    }
}

/// Calls and failures of the last while, in parts that are forgotten one at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Window {
    parts: [Part; PARTS],
    /// The number of the newest part, counted from the start of the clock.
    newest: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    calls: u32,
    failures: u32,
}

impl Window {
    const EMPTY: Self = Self { parts: [Part { calls: 0, failures: 0 }; PARTS], newest: 0 };

    fn count(&mut self, now: Instant, length: Duration, outcome: Outcome) {
        let nanos = (length.as_nanos() as u64 / PARTS as u64).max(1);
        let number = now.as_nanos() / nanos;
        let stale = number.saturating_sub(self.newest).min(PARTS as u64);
        for ago in 0..stale {
            self.parts[((number - ago) % PARTS as u64) as usize] = Part { calls: 0, failures: 0 };
        }
        self.newest = self.newest.max(number);
        let part = &mut self.parts[(self.newest % PARTS as u64) as usize];
        part.calls = part.calls.saturating_add(1);
        if outcome == Outcome::Failure {
            part.failures = part.failures.saturating_add(1);
        }
    }

    fn is_bad(&self, config: &BreakerConfig) -> bool {
        let sum = |of: fn(&Part) -> u32| self.parts.iter().map(|part| u64::from(of(part))).sum::<u64>();
        let (calls, failures) = (sum(|part| part.calls), sum(|part| part.failures));
        calls >= u64::from(config.min_calls.max(1)) && failures * 100 >= calls * u64::from(config.failure_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Jitter;
    use proptest::prelude::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        consecutive_failures: 3,
        failure_percent: 50,
        min_calls: 10,
        window: Duration::from_secs(1),
        probe_timeout: Duration::from_secs(5),
    };

    fn breaker() -> Breaker {
        Breaker::new(CONFIG, Backoff::new(Jitter::Equal, Duration::from_secs(1), Duration::from_secs(8), 1))
    }

    fn at_ms(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn call(breaker: &mut Breaker, ms: u64, outcome: Outcome) {
        let permit = breaker.permit(at_ms(ms)).expect("it lets calls pass");
        breaker.report(at_ms(ms), permit, outcome);
    }

    fn opened() -> (Breaker, Instant) {
        let mut breaker = breaker();
        (0..3).for_each(|ms| call(&mut breaker, ms, Outcome::Failure));
        let State::Open { until } = breaker.state() else { panic!("{breaker:?}") };
        (breaker, until)
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_good_probe_closes_it() {
        let (mut breaker, until) = opened();
        assert_eq!(breaker.permit(at_ms(3)), Err(until));
        let probe = breaker.permit(until).expect("the time is up");
        assert_eq!(breaker.state(), State::HalfOpen);
        assert!(breaker.permit(until).is_err(), "one probe at a time");
        breaker.report(until, probe, Outcome::Success);
        assert_eq!((breaker.state(), breaker.opened()), (State::Closed, 1));
    }

    #[test]
    fn a_success_between_them_starts_the_row_anew_and_the_share_decides() {
        let mut breaker = breaker();
        for ms in 0..9 {
            let outcome = if ms % 2 == 0 { Outcome::Failure } else { Outcome::Success };
            call(&mut breaker, ms, outcome);
        }
        assert_eq!(breaker.state(), State::Closed, "too few calls to judge by their share");
        call(&mut breaker, 9, Outcome::Failure);
        assert!(matches!(breaker.state(), State::Open { .. }));
    }

    #[test]
    fn failures_of_long_ago_are_forgotten() {
        for (last_ms, is_open) in [(900, true), (2_000, false)] {
            let mut breaker = breaker();
            for ms in 0..5 {
                call(&mut breaker, ms * 100, Outcome::Failure);
                call(&mut breaker, ms * 100 + 1, Outcome::Success);
            }
            call(&mut breaker, last_ms, Outcome::Failure);
            assert_eq!(matches!(breaker.state(), State::Open { .. }), is_open, "after {last_ms} ms");
        }
    }

    #[test]
    fn probes_that_fail_make_it_wait_longer_and_one_that_is_silent_has_failed() {
        let (mut breaker, mut until) = opened();
        let mut waits = Vec::new();
        for _ in 0..4 {
            let probe = breaker.permit(until).expect("the time is up");
            breaker.report(until, probe, Outcome::Failure);
            let State::Open { until: next } = breaker.state() else { panic!("{breaker:?}") };
            waits.push(next.since(until));
            until = next;
        }
        assert!(waits[3] > waits[0] * 2, "{waits:?}");
        let silent = breaker.permit(until).expect("the time is up");
        let later = until + CONFIG.probe_timeout;
        assert_eq!(breaker.permit(until + Duration::from_secs(1)), Err(later));
        let second = breaker.permit(later).expect("the silent one has failed");
        breaker.report(later, silent, Outcome::Success);
        assert_eq!(breaker.state(), State::HalfOpen, "what it says now is old news");
        breaker.report(later, second, Outcome::Success);
        assert_eq!(breaker.state(), State::Closed);
    }

    proptest! {
        /// Callers come at any time and report at any time, or never.
        #[test]
        fn there_are_never_two_probes_at_a_time(steps in prop::collection::vec((0_u64..3_000, 0_u8..4), 1..300)) {
            let mut breaker = breaker();
            let mut now = Instant::ZERO;
            let mut held: Vec<Permit> = Vec::new();
            let mut probe_since: Option<Instant> = None;
            for (after_ms, what) in steps {
                now += Duration::from_millis(after_ms);
                let before = breaker.state();
                match what {
                    0 | 1 => if let Ok(permit) = breaker.permit(now) {
                        if before != State::Closed {
                            let recent = probe_since.is_some_and(|since| now < since + CONFIG.probe_timeout);
                            prop_assert!(!(before == State::HalfOpen && recent));
                            if let State::Open { until } = before {
                                prop_assert!(now >= until);
                            }
                            probe_since = Some(now);
                        }
                        held.push(permit);
                    },
                    outcome => if !held.is_empty() {
                        let permit = held.remove(held.len() / 2);
                        let outcome = if outcome == 2 { Outcome::Success } else { Outcome::Failure };
                        breaker.report(now, permit, outcome);
                    },
                }
            }
        }
    }
}
