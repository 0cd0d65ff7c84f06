//! The proposer: coordinates rounds, one at a time for each key, the others waiting in line.
//!
//! ```text
//!              ┌────────────── conflict, another epoch ◄────────────┐
//!              ▼                                                    │
//!   Waiting ─► Preparing ─► Computing ─► Accepting ─► (Erasing) ─► done
//!   (backoff)      ▲            ▲
//!   Reading ───────┘            └─ a promise kept from the round before
//! ```
//!
//! All randomness is a seed's: how long a proposer stands back after a conflict, so that two that duel stop duelling.

use std::collections::{BTreeMap, VecDeque};

use althing_types::{Duration, Instant, NodeId, RequestId};
use bytes::Bytes;

use crate::ballot::{Ballot, Ballots, Peer};
use crate::config::Config;
use crate::message::{Answer, Request};
use crate::register::Value;

mod promises;
mod round;

use promises::Promises;
use round::{Round, Step};

/// Requests that wait for one key while another round is under way: more are refused, the key is too hot for rounds.
pub const MAX_WAITING_PER_KEY: usize = 64;

/// What a request wants of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Its value, linearizable.
    Read,
    /// To change it by what [`Effect::Compute`] is answered.
    Change,
    /// To have it forgotten by all acceptors, if it is absent. It needs every acceptor, and no move under way.
    Forget,
}

/// What becomes of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It stays: a comparison has failed, or there is nothing to do.
    Keep,
    /// It becomes this.
    Write(Bytes),
    /// The key becomes absent; the bytes say what is removed, for the commit.
    Delete(Bytes),
}

/// What a proposer is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A request, whose id is not in use.
    Begin {
        /// Its id.
        request: RequestId,
        /// The key.
        key: Bytes,
        /// What it wants.
        kind: Kind,
        /// When it is given up.
        deadline: Instant,
    },
    /// The answer to [`Effect::Compute`].
    Computed {
        /// The request.
        request: RequestId,
        /// The ballot of the effect; answers to earlier ones are ignored.
        ballot: Ballot,
        /// What becomes of the value.
        change: Change,
    },
    /// An acceptor has answered.
    Answer {
        /// Which.
        from: Peer,
        /// What.
        answer: Answer,
    },
    /// A timer has come.
    Timer(Timer),
    /// The map has a new entry of the shard. An older one is ignored.
    Configure(Config),
}

/// A timer of a request. One that was overtaken by what happened since is recognised by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timer {
    /// The request.
    pub request: RequestId,
    /// Which of its timers.
    pub number: u64,
}

/// What a proposer wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send this.
    Send {
        /// To whom.
        to: Peer,
        /// What.
        request: Request,
    },
    /// Say what becomes of the value, by [`Input::Computed`]. A request may ask more than once; what was said before for an
    /// earlier ballot was not, or cannot be shown to have been, applied, and only the last answer counts.
    Compute {
        /// The request.
        request: RequestId,
        /// The version that the next value will have.
        ballot: Ballot,
        /// The version of the value.
        version: Ballot,
        /// The value.
        current: Value,
    },
    /// This was chosen, by whomever it was proposed. Commit it before what follows; perhaps it is committed already.
    Chosen {
        /// The key.
        key: Bytes,
        /// Its version.
        version: Ballot,
        /// The value.
        value: Value,
    },
    /// The request is over.
    Done {
        /// Which.
        request: RequestId,
        /// With what.
        result: Result<Outcome, Failure>,
    },
    /// Come back then.
    Timer {
        /// When.
        at: Instant,
        /// With this.
        timer: Timer,
    },
    /// An acceptor goes by a later epoch of the map: fetch it. The rounds go on with it.
    Behind {
        /// The epoch.
        epoch: u64,
    },
}

/// How a request ended well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The value is this and was read or kept.
    Kept {
        /// Its version.
        version: Ballot,
        /// The value.
        value: Value,
    },
    /// The change was applied, once, and made it this.
    Changed {
        /// Its version.
        version: Ballot,
        /// The value.
        value: Value,
    },
    /// All acceptors have forgotten the key, or those that did not answer in time will be asked by a later request.
    Forgotten,
}

/// Why a request ended without an outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing was done, and nothing will be.
    #[error("not done: {0}")]
    NotDone(Reason),
    /// The change may have been applied, or may yet be. Read the key to know.
    #[error("maybe done: {0}")]
    MaybeDone(Reason),
}

/// What came in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// The deadline passed without a quorum.
    #[error("the deadline passed before a quorum had answered; try again")]
    Deadline,
    /// Somebody else's value came after a try whose fate is unknown.
    #[error("another change came after one whose fate is unknown; read the key and decide")]
    Superseded,
    /// Too many wait for this key.
    #[error("{MAX_WAITING_PER_KEY} requests wait for this key; try again later")]
    Busy,
    /// Nothing is forgotten while a replica moves.
    #[error("a replica of the shard moves; try again when that is over")]
    Moving,
}

/// How long a proposer waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Until a question is sent again to those that have not answered.
    pub resend: Duration,
    /// After the first conflict, at most; twice as long after each further one.
    pub backoff: Duration,
    /// After any conflict, at most.
    pub max_backoff: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resend: Duration::from_millis(100),
            backoff: Duration::from_millis(10),
            max_backoff: Duration::from_millis(500),
        }
    }
}

/// What rounds share.
#[derive(Debug)]
struct Shared {
    ballots: Ballots,
    config: Config,
    settings: Settings,
    promises: Promises,
    random: fastrand::Rng,
}

/// The rounds of one key.
#[derive(Debug)]
struct Line {
    active: Round,
    waiting: VecDeque<Pending>,
}

/// A request that has not begun.
#[derive(Clone, Copy, Debug)]
struct Pending {
    request: RequestId,
    kind: Kind,
    deadline: Instant,
}

/// The proposer of one replica of a shard.
#[derive(Debug)]
pub struct Proposer {
    shared: Shared,
    lines: BTreeMap<Bytes, Line>,
    keys: BTreeMap<RequestId, Bytes>,
}

impl Proposer {
    /// A proposer on `node` in a run that there was not before.
    #[must_use]
    pub fn new(node: NodeId, incarnation: u64, config: Config, settings: Settings, seed: u64) -> Self {
        let ballots = Ballots::new(node, incarnation);
        let random = fastrand::Rng::with_seed(seed);
        let shared = Shared { ballots, config, settings, promises: Promises::default(), random };
        Self { shared, lines: BTreeMap::new(), keys: BTreeMap::new() }
    }

    /// Requests that are not over.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.keys.len()
    }

    /// Something has happened.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Begin { request, key, kind, deadline } => {
                self.begin(now, key, Pending { request, kind, deadline }, out);
            }
            Input::Computed { request, ballot, change } => {
                self.step(now, request, out, |round, shared, out| round.computed(now, shared, ballot, change, out));
            }
            Input::Answer { from, answer } => self.answer(now, from, answer, out),
            Input::Timer(timer) => self.timer(now, timer, out),
            Input::Configure(config) => self.configure(now, config, out),
        }
    }

    fn begin(&mut self, now: Instant, key: Bytes, pending: Pending, out: &mut Vec<Effect>) {
        let request = pending.request;
        match self.lines.get_mut(&key) {
            Some(line) if line.waiting.len() >= MAX_WAITING_PER_KEY => {
                out.push(Effect::Done { request, result: Err(Failure::NotDone(Reason::Busy)) });
            }
            Some(line) => {
                line.waiting.push_back(pending);
                self.keys.insert(request, key);
                out.push(Effect::Timer { at: pending.deadline, timer: Timer { request, number: 0 } });
            }
            None => {
                self.keys.insert(request, key.clone());
                self.activate(now, key, pending, VecDeque::new(), out);
            }
        }
    }

    /// Begins a request, and those behind it for as long as they end at once.
    fn activate(
        &mut self,
        now: Instant,
        key: Bytes,
        pending: Pending,
        waiting: VecDeque<Pending>,
        out: &mut Vec<Effect>,
    ) {
        let active = Round::new(key.clone(), pending);
        self.lines.insert(key, Line { active, waiting });
        self.step(now, pending.request, out, |round, shared, out| round.begin(now, shared, out));
    }

    /// Lets the round of a request do something, and begins the next one of its key if it is over.
    fn step(
        &mut self,
        now: Instant,
        request: RequestId,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Round, &mut Shared, &mut Vec<Effect>) -> Step,
    ) {
        let Some(key) = self.keys.get(&request) else { return };
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.active.request() != request {
            return;
        }
        let Step::Over(result) = act(&mut line.active, &mut self.shared, out) else { return };
        out.push(Effect::Done { request, result });
        let Some(key) = self.keys.remove(&request) else { return };
        let Some(Line { mut waiting, .. }) = self.lines.remove(&key) else { return };
        if let Some(next) = waiting.pop_front() {
            self.activate(now, key, next, waiting, out);
        }
    }

    fn answer(&mut self, now: Instant, from: Peer, answer: Answer, out: &mut Vec<Effect>) {
        let Some(line) = self.lines.get(&answer.key) else { return };
        let request = line.active.request();
        self.step(now, request, out, |round, shared, out| {
            round.answer(now, shared, from, answer.ballot, answer.word, out)
        });
    }

    fn timer(&mut self, now: Instant, timer: Timer, out: &mut Vec<Effect>) {
        let Timer { request, number } = timer;
        let Some(line) = self.keys.get(&request).and_then(|key| self.lines.get_mut(key)) else { return };
        if line.active.request() == request {
            return self.step(now, request, out, |round, shared, out| round.timer(now, shared, number, out));
        }
        // It has waited in line all its time.
        line.waiting.retain(|pending| pending.request != request);
        self.keys.remove(&request);
        out.push(Effect::Done { request, result: Err(Failure::NotDone(Reason::Deadline)) });
    }

    fn configure(&mut self, now: Instant, config: Config, out: &mut Vec<Effect>) {
        if config.epoch() <= self.shared.config.epoch() {
            return;
        }
        self.shared.config = config;
        // Promises were made to another set.
        self.shared.promises = Promises::default();
        let active: Vec<RequestId> = self.lines.values().map(|line| line.active.request()).collect();
        for request in active {
            self.step(now, request, out, |round, shared, out| round.begin(now, shared, out));
        }
    }
}

#[cfg(test)]
mod tests;
