//! One request from its beginning to its end, over as many ballots as it takes.

use std::collections::{BTreeMap, BTreeSet};

use althing_probe::{Mutant, is};
use althing_types::{Duration, Instant, RequestId};
use bytes::Bytes;

use super::promises::Promise;
use super::{Change, Effect, Failure, Kind, Outcome, Pending, Reason, Shared, Timer};
use crate::ballot::{Ballot, Peer};
use crate::config::Stage;
use crate::message::{Ask, Request, Word};
use crate::register::{Accepted, Value};

/// Doublings of a backoff; more would pass any maximum.
const MAX_DOUBLINGS: u32 = 16;

/// Whether a round goes on.
#[derive(Debug)]
pub enum Step {
    /// It does.
    On,
    /// It is over.
    Over(Result<Outcome, Failure>),
}

/// What an acceptor has said of the register.
#[derive(Clone, Debug)]
struct Seen {
    accepted: Option<Accepted>,
    floor: Ballot,
}

/// What a quorum has said of the register, in sum.
#[derive(Clone, Debug)]
struct Current {
    version: Ballot,
    parent: Ballot,
    value: Value,
    /// The ballot at which it was accepted last, if it was.
    ballot: Option<Ballot>,
    certainty: Certainty,
}

/// Whether it is known to be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Certainty {
    /// A quorum has accepted it at one ballot.
    Chosen,
    /// Perhaps: a round has to finish it.
    Open,
}

/// What an acceptance is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// A change of this request, made now or in an earlier try.
    Change,
    /// To finish what was found, for a read or a comparison that failed.
    Keep,
    /// To make every acceptor know that the key is absent.
    Absence,
}

/// What became of changes that were sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// One is what was found, or what that was made from: finishing the one finishes the other.
    Applied,
    /// None is in what was found, and the round's ballot keeps them out of what comes.
    NotApplied,
    /// One may have come before.
    Unknown,
}

#[derive(Debug)]
enum Phase {
    /// Standing back.
    Waiting,
    Reading {
        seen: BTreeMap<Peer, Seen>,
    },
    Preparing {
        promised: BTreeMap<Peer, Seen>,
        refused: BTreeSet<Peer>,
    },
    Computing {
        current: Current,
    },
    Accepting {
        ask: Ask,
        accepted: Accepted,
        purpose: Purpose,
        yes: BTreeSet<Peer>,
        refused: BTreeSet<Peer>,
    },
    Erasing {
        answered: BTreeSet<Peer>,
    },
}

/// A change that was sent.
#[derive(Clone, Debug)]
struct Sent {
    version: Ballot,
    value: Value,
}

/// A request that is under way.
#[derive(Debug)]
pub struct Round {
    key: Bytes,
    request: RequestId,
    kind: Kind,
    deadline: Instant,
    ballot: Ballot,
    phase: Phase,
    /// Changes that were sent: one of them may have been applied, or may yet be.
    own: Vec<Sent>,
    conflicts: u32,
    timer: u64,
}

impl Round {
    pub fn new(key: Bytes, pending: Pending) -> Self {
        let Pending { request, kind, deadline } = pending;
        let (ballot, phase) = (Ballot::ZERO, Phase::Waiting);
        Self { key, request, kind, deadline, ballot, phase, own: Vec::new(), conflicts: 0, timer: 0 }
    }

    pub const fn request(&self) -> RequestId {
        self.request
    }

    /// Begins, or begins again with another set.
    pub fn begin(&mut self, now: Instant, shared: &mut Shared, out: &mut Vec<Effect>) -> Step {
        if now >= self.deadline {
            return self.give_up(Reason::Deadline);
        }
        match self.kind {
            Kind::Read => {
                self.ballot = shared.ballots.issue();
                self.phase = Phase::Reading { seen: BTreeMap::new() };
                self.ask_all(now, shared, out);
                Step::On
            }
            Kind::Change => match shared.promises.take(&self.key) {
                Some(Promise { next, current }) => {
                    self.ballot = next;
                    let Accepted { ballot, version, parent, value } = current;
                    self.compute(
                        now,
                        shared,
                        Current { version, parent, value, ballot: Some(ballot), certainty: Certainty::Open },
                        out,
                    )
                }
                None => self.prepare(now, shared, out),
            },
            Kind::Forget if shared.config.stage() == Stage::Moving => Step::Over(Err(Failure::NotDone(Reason::Moving))),
            Kind::Forget => {
                // It would be below the floor.
                shared.promises.take(&self.key);
                self.prepare(now, shared, out)
            }
        }
    }

    fn prepare(&mut self, now: Instant, shared: &mut Shared, out: &mut Vec<Effect>) -> Step {
        self.ballot = shared.ballots.issue();
        self.phase = Phase::Preparing { promised: BTreeMap::new(), refused: BTreeSet::new() };
        self.ask_all(now, shared, out);
        Step::On
    }

    /// Asks those that have not answered yet.
    fn ask_all(&mut self, now: Instant, shared: &Shared, out: &mut Vec<Effect>) {
        let (ask, answered): (Ask, BTreeSet<Peer>) = match &self.phase {
            Phase::Waiting | Phase::Computing { .. } => return,
            Phase::Reading { seen } => (Ask::Read, seen.keys().copied().collect()),
            Phase::Preparing { promised, refused } => {
                (Ask::Prepare, promised.keys().copied().chain(refused.iter().copied()).collect())
            }
            Phase::Accepting { ask, yes, refused, .. } => (ask.clone(), yes | refused),
            Phase::Erasing { answered } => (Ask::Erase, answered.clone()),
        };
        for to in shared.config.peers().into_iter().filter(|peer| !answered.contains(peer)) {
            let (epoch, key, ask) = (shared.config.epoch(), self.key.clone(), ask.clone());
            out.push(Effect::Send { to, request: Request { epoch, key, ballot: self.ballot, ask } });
        }
        self.set_timer(now + shared.settings.resend, out);
    }

    fn set_timer(&mut self, at: Instant, out: &mut Vec<Effect>) {
        self.timer += 1;
        let timer = Timer { request: self.request, number: self.timer };
        out.push(Effect::Timer { at: at.min(self.deadline), timer });
    }

    pub fn timer(&mut self, now: Instant, shared: &mut Shared, number: u64, out: &mut Vec<Effect>) -> Step {
        if now >= self.deadline {
            return match self.phase {
                // The absence is chosen and every acceptor has it: whoever has not forgotten it yet will be asked again.
                Phase::Erasing { .. } => Step::Over(Ok(Outcome::Forgotten)),
                Phase::Waiting
                | Phase::Reading { .. }
                | Phase::Preparing { .. }
                | Phase::Computing { .. }
                | Phase::Accepting { .. } => self.give_up(Reason::Deadline),
            };
        }
        if number != self.timer {
            return Step::On;
        }
        match &self.phase {
            Phase::Waiting => self.prepare(now, shared, out),
            Phase::Reading { seen } if shared.config.is_quorum(|peer| seen.contains_key(&peer)) => {
                // A quorum has answered and is not of one mind; who is silent may stay so.
                self.prepare(now, shared, out)
            }
            Phase::Reading { .. } | Phase::Preparing { .. } | Phase::Accepting { .. } | Phase::Erasing { .. } => {
                self.ask_all(now, shared, out);
                Step::On
            }
            Phase::Computing { .. } => {
                self.set_timer(self.deadline, out);
                Step::On
            }
        }
    }

    pub fn answer(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        from: Peer,
        ballot: Ballot,
        word: Word,
        out: &mut Vec<Effect>,
    ) -> Step {
        if ballot != self.ballot {
            return Step::On;
        }
        match (&mut self.phase, word) {
            (_, Word::WrongEpoch { current }) => {
                if current > shared.config.epoch() {
                    out.push(Effect::Behind { epoch: current });
                }
                return Step::On;
            }
            (Phase::Reading { seen }, Word::Value { accepted, floor }) => {
                seen.insert(from, Seen { accepted, floor });
                return self.have_read(now, shared, out);
            }
            (Phase::Preparing { promised, .. }, Word::Promised { accepted, floor }) => {
                promised.insert(from, Seen { accepted, floor });
                return self.have_promises(now, shared, out);
            }
            (Phase::Accepting { yes, .. }, Word::Accepted) => {
                yes.insert(from);
                return self.have_accepted(now, shared, out);
            }
            (Phase::Erasing { answered }, Word::Erased | Word::Refused { .. }) => {
                answered.insert(from);
                let is_over = shared.config.is_all(|peer| answered.contains(&peer));
                return if is_over { Step::Over(Ok(Outcome::Forgotten)) } else { Step::On };
            }
            (Phase::Preparing { refused, .. } | Phase::Accepting { refused, .. }, Word::Refused { promised }) => {
                refused.insert(from);
                shared.ballots.see(promised);
            }
            // An answer of a phase that is over.
            (
                Phase::Waiting
                | Phase::Reading { .. }
                | Phase::Preparing { .. }
                | Phase::Computing { .. }
                | Phase::Accepting { .. }
                | Phase::Erasing { .. },
                Word::Value { .. } | Word::Promised { .. } | Word::Accepted | Word::Erased | Word::Refused { .. },
            ) => return Step::On,
        }
        self.have_refusals(now, shared, out)
    }

    fn have_read(&mut self, now: Instant, shared: &mut Shared, out: &mut Vec<Effect>) -> Step {
        let Phase::Reading { seen } = &self.phase else { return Step::On };
        if let Some(current) = agreed(shared, seen) {
            return self.found(current, out);
        }
        let has_all = shared.config.is_all(|peer| seen.contains_key(&peer));
        if has_all { self.prepare(now, shared, out) } else { Step::On }
    }

    fn have_promises(&mut self, now: Instant, shared: &mut Shared, out: &mut Vec<Effect>) -> Step {
        let Phase::Preparing { promised, .. } = &self.phase else { return Step::On };
        if !shared.config.is_quorum(|peer| promised.contains_key(&peer)) {
            return Step::On;
        }
        let current = highest(shared, promised);
        match self.kind {
            Kind::Read if current.certainty == Certainty::Chosen => self.found(current, out),
            Kind::Read => self.propose(now, shared, current, Purpose::Keep, out),
            Kind::Change => self.compute(now, shared, current, out),
            Kind::Forget if current.value.present().is_some() => {
                // Somebody has written it: there is nothing to forget, and nothing was done.
                Step::Over(Ok(Outcome::Kept { version: current.version, value: current.value }))
            }
            Kind::Forget => self.propose(now, shared, current, Purpose::Absence, out),
        }
    }

    /// A value that is chosen and needs no acceptance.
    fn found(&mut self, current: Current, out: &mut Vec<Effect>) -> Step {
        let Current { version, value, .. } = current;
        self.chosen(version, &value, out);
        Step::Over(Ok(Outcome::Kept { version, value }))
    }

    /// Tells of what is chosen, unless that is that there never was anything.
    fn chosen(&self, version: Ballot, value: &Value, out: &mut Vec<Effect>) {
        if *value != Value::NEVER {
            out.push(Effect::Chosen { key: self.key.clone(), version, value: value.clone() });
        }
    }

    /// What a change is made of, unless an earlier try of it is there, or may be below.
    fn compute(&mut self, now: Instant, shared: &mut Shared, current: Current, out: &mut Vec<Effect>) -> Step {
        match self.fate(&current) {
            Fate::Applied => return self.propose(now, shared, current, Purpose::Change, out),
            Fate::Unknown if !is(Mutant::PaxosRetrySuperseded) => return self.give_up(Reason::Superseded),
            Fate::Unknown | Fate::NotApplied => {}
        }
        let (version, value) = (current.version, current.value.clone());
        self.phase = Phase::Computing { current };
        out.push(Effect::Compute { request: self.request, ballot: self.ballot, version, current: value });
        self.set_timer(self.deadline, out);
        Step::On
    }

    /// What became of the changes that were sent, given what was found: its version was made from its parent, and from nothing
    /// that lies between.
    fn fate(&self, current: &Current) -> Fate {
        let Current { version, parent, .. } = current;
        if self.own.iter().any(|sent| sent.version == *version || sent.version == *parent) {
            return Fate::Applied;
        }
        if self.own.iter().any(|sent| sent.version < *parent) { Fate::Unknown } else { Fate::NotApplied }
    }

    pub fn computed(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        ballot: Ballot,
        change: Change,
        out: &mut Vec<Effect>,
    ) -> Step {
        let is_asked = ballot == self.ballot && matches!(self.phase, Phase::Computing { .. });
        if !is_asked {
            return Step::On;
        }
        let Phase::Computing { current } = std::mem::replace(&mut self.phase, Phase::Waiting) else { return Step::On };
        let value = match change {
            // Unless something was sent before, which may still be chosen until what was found is accepted above it.
            Change::Keep if self.own.is_empty() && current.certainty == Certainty::Chosen => {
                return self.found(current, out);
            }
            Change::Keep => return self.propose(now, shared, current, Purpose::Keep, out),
            Change::Write(value) => Value::Present(value),
            Change::Delete(remains) => Value::Absent(remains),
        };
        self.own.push(Sent { version: ballot, value: value.clone() });
        let next = Current { version: ballot, parent: current.version, value, ..current };
        self.propose(now, shared, next, Purpose::Change, out)
    }

    /// Phase 2: has this accepted at the round's ballot.
    fn propose(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        current: Current,
        purpose: Purpose,
        out: &mut Vec<Effect>,
    ) -> Step {
        let Current { version, parent, value, ballot, .. } = current;
        // If the last one was of this proposer too, it is likely to go on: the next promise comes along.
        let goes_on = ballot.is_some_and(|ballot| ballot.node == shared.ballots.node());
        let next = (purpose == Purpose::Change && goes_on).then(|| shared.ballots.issue());
        let ask = Ask::Accept { version, parent, value: value.clone(), next };
        let accepted = Accepted { ballot: self.ballot, version, parent, value };
        let (yes, refused) = (BTreeSet::new(), BTreeSet::new());
        self.phase = Phase::Accepting { ask, accepted, purpose, yes, refused };
        self.ask_all(now, shared, out);
        Step::On
    }

    fn have_accepted(&mut self, now: Instant, shared: &mut Shared, out: &mut Vec<Effect>) -> Step {
        let Phase::Accepting { ask, accepted, purpose, yes, .. } = &self.phase else { return Step::On };
        let needs_all = *purpose == Purpose::Absence && !is(Mutant::PaxosEraseWithQuorum);
        let is_chosen = if needs_all {
            shared.config.is_all(|peer| yes.contains(&peer))
        } else {
            shared.config.is_quorum(|peer| yes.contains(&peer))
        };
        if !is_chosen {
            return Step::On;
        }
        let (accepted, purpose) = (accepted.clone(), *purpose);
        if let Ask::Accept { next: Some(next), .. } = ask {
            shared.promises.keep(self.key.clone(), Promise { next: *next, current: accepted.clone() });
        }
        let Accepted { version, parent, value, .. } = accepted;
        self.chosen(version, &value, out);
        match purpose {
            Purpose::Change => {
                let is_chained = |sent: &&Sent| sent.version == version || sent.version == parent;
                let sent = self.own.iter().find(is_chained).expect("a change that is finished was sent").clone();
                Step::Over(Ok(Outcome::Changed { version: sent.version, value: sent.value }))
            }
            Purpose::Keep => Step::Over(Ok(Outcome::Kept { version, value })),
            Purpose::Absence => {
                self.phase = Phase::Erasing { answered: BTreeSet::new() };
                self.ask_all(now, shared, out);
                Step::On
            }
        }
    }

    /// Whether so many have refused that this ballot comes to nothing.
    fn have_refusals(&mut self, now: Instant, shared: &mut Shared, out: &mut Vec<Effect>) -> Step {
        let (Phase::Preparing { refused, .. } | Phase::Accepting { refused, .. }) = &self.phase else {
            return Step::On;
        };
        let needs_all = matches!(self.phase, Phase::Accepting { purpose: Purpose::Absence, .. });
        let can_be =
            if needs_all { refused.is_empty() } else { shared.config.is_quorum(|peer| !refused.contains(&peer)) };
        if can_be {
            return Step::On;
        }
        self.conflicts += 1;
        self.phase = Phase::Waiting;
        let settings = shared.settings;
        let most = settings.backoff.saturating_mul(1 << self.conflicts.min(MAX_DOUBLINGS)).min(settings.max_backoff);
        let nanos = shared.random.u64(0..=u64::try_from(most.as_nanos()).unwrap_or(u64::MAX));
        self.set_timer(now + Duration::from_nanos(nanos), out);
        Step::On
    }

    fn give_up(&self, reason: Reason) -> Step {
        let failure = if self.own.is_empty() { Failure::NotDone(reason) } else { Failure::MaybeDone(reason) };
        Step::Over(Err(failure))
    }
}

/// What a quorum has accepted at one ballot, if there is one: it is chosen, and nothing later was when the first of them answered.
fn agreed(shared: &Shared, seen: &BTreeMap<Peer, Seen>) -> Option<Current> {
    seen.values().find_map(|one| {
        let ballot = ballot(one);
        let is_same = |peer: Peer| seen.get(&peer).is_some_and(|other| self::ballot(other) == ballot);
        shared.config.is_quorum(is_same).then(|| current(one, floor(seen), Certainty::Chosen))
    })
}

/// What was accepted at the highest ballot: if anything below the round's ballot was chosen, it is this (*Paxos Made Simple*, P2c).
fn highest(shared: &Shared, promised: &BTreeMap<Peer, Seen>) -> Current {
    let top = promised.values().max_by_key(|seen| ballot(seen)).expect("a quorum is not empty");
    let is_same = |peer: Peer| promised.get(&peer).is_some_and(|other| ballot(other) == ballot(top));
    let certainty = if shared.config.is_quorum(is_same) { Certainty::Chosen } else { Certainty::Open };
    current(top, floor(promised), certainty)
}

fn ballot(seen: &Seen) -> Option<Ballot> {
    seen.accepted.as_ref().map(|accepted| accepted.ballot)
}

/// The highest floor: what an absence without a trace has for a version, for anything may have been and gone up to there.
fn floor(seen: &BTreeMap<Peer, Seen>) -> Ballot {
    seen.values().map(|seen| seen.floor).max().unwrap_or(Ballot::ZERO)
}

fn current(seen: &Seen, floor: Ballot, certainty: Certainty) -> Current {
    match seen.accepted.clone() {
        Some(Accepted { ballot, version, parent, value }) => {
            Current { version, parent, value, ballot: Some(ballot), certainty }
        }
        // Whatever came before the floor is unknown: nothing lies between it and its parent.
        None => Current { version: floor, parent: floor, value: Value::NEVER, ballot: None, certainty },
    }
}
