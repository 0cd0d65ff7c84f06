//! Linearizable reads: the ReadIndex protocol (Ongaro, Consensus: Bridging Theory and Practice, section 6.4), batched.
//!
//! Reads that arrive while a round is under way wait for the next one, so the cost of a round is shared by all that came
//! meanwhile. A round is asked of the leader under a context that nobody else uses; when its index comes back, its reads are
//! done as soon as that index is applied here. Raft may drop a round in silence (no leader, a leader that has not yet
//! committed in its term, a lost message); then the same reads start a new one.

use std::collections::{BTreeMap, VecDeque};

use althing_probe::Mark;
use althing_types::{Duration, Instant, NodeId, RequestId};

use crate::envelope::Question;

/// Rounds of one group under way at the same time.
pub const MAX_READ_ROUNDS: usize = 2;
/// How long a round may take before its reads start a new one.
pub const READ_RETRY: Duration = Duration::from_millis(100);

/// What waits for a confirmed index.
#[derive(Clone, Debug)]
pub enum Reading {
    /// A client's read.
    Client {
        /// Of which request.
        ticket: RequestId,
        /// What is asked.
        request: Box<althing_api::Request>,
        /// When the client no longer waits.
        deadline: Instant,
    },
    /// A question to the leader, which this node is or was.
    Question {
        /// Who asks.
        from: NodeId,
        /// Names the answer.
        ticket: RequestId,
        /// The question.
        question: Question,
        /// When nobody waits any more.
        deadline: Instant,
    },
}

impl Reading {
    fn deadline(&self) -> Instant {
        match self {
            Self::Client { deadline, .. } | Self::Question { deadline, .. } => *deadline,
        }
    }

    fn ticket(&self) -> RequestId {
        match self {
            Self::Client { ticket, .. } | Self::Question { ticket, .. } => *ticket,
        }
    }
}

#[derive(Debug)]
struct Round {
    started: Instant,
    reads: Vec<Reading>,
}

/// The linearizable reads of one group.
#[derive(Debug, Default)]
pub struct Reads {
    next_context: u64,
    collecting: Vec<Reading>,
    rounds: BTreeMap<u64, Round>,
    /// Confirmed, in the order of confirmation: the index to wait for, and the reads.
    confirmed: VecDeque<(u64, Vec<Reading>)>,
}

impl Reads {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.collecting.len()
            + self.rounds.values().map(|round| round.reads.len()).sum::<usize>()
            + self.confirmed.iter().map(|(_, reads)| reads.len()).sum::<usize>()
    }

    /// Whether the leader is to be asked anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.collecting.is_empty() && self.rounds.is_empty() && self.confirmed.is_empty()
    }

    /// Adds a read; its round starts with the end of the turn.
    pub fn push(&mut self, reading: Reading) {
        self.collecting.push(reading);
    }

    /// Starts a round if there is something to read and not too many are under way: the context to ask the leader with.
    pub fn start_round(&mut self, now: Instant) -> Option<u64> {
        if self.collecting.is_empty() || self.rounds.len() >= MAX_READ_ROUNDS {
            return None;
        }
        self.next_context += 1;
        let reads = std::mem::take(&mut self.collecting);
        self.rounds.insert(self.next_context, Round { started: now, reads });
        Some(self.next_context)
    }

    /// A round has come back with the index that its reads must see.
    pub fn confirm(&mut self, context: u64, index: u64) {
        if let Some(round) = self.rounds.remove(&context) {
            self.confirmed.push_back((index, round.reads));
        }
    }

    /// Takes the reads that may be done once `applied` is applied.
    pub fn take_applied(&mut self, applied: u64) -> Vec<Reading> {
        let mut done = Vec::new();
        while self.confirmed.front().is_some_and(|(index, _)| *index <= applied) {
            done.extend(self.confirmed.pop_front().map(|(_, reads)| reads).unwrap_or_default());
        }
        done
    }

    /// Rounds that have taken too long start anew; with `all`, every one (the leader has changed).
    pub fn retry(&mut self, now: Instant, all: bool) {
        let late = |round: &Round| all || now.since(round.started) >= READ_RETRY;
        let contexts: Vec<_> =
            self.rounds.iter().filter(|(_, round)| late(round)).map(|(context, _)| *context).collect();
        for context in contexts {
            if let Some(round) = self.rounds.remove(&context) {
                althing_probe::hit(Mark::ReadRetried);
                self.collecting.extend(round.reads);
            }
        }
    }

    /// Takes out the reads that `gone` says nobody waits for.
    fn take_if(&mut self, gone: impl Fn(&Reading) -> bool) -> Vec<Reading> {
        let mut taken = Vec::new();
        let lists = self.rounds.values_mut().map(|round| &mut round.reads);
        let lists = lists.chain(self.confirmed.iter_mut().map(|(_, reads)| reads));
        for reads in lists.chain([&mut self.collecting]) {
            taken.extend(reads.extract_if(.., |reading| gone(reading)));
        }
        taken
    }

    /// Takes out the reads whose deadline has passed.
    pub fn expire(&mut self, now: Instant) -> Vec<Reading> {
        self.take_if(|reading| reading.deadline() <= now)
    }

    /// Forgets a read.
    pub fn cancel(&mut self, ticket: RequestId) {
        self.take_if(|reading| matches!(reading, Reading::Client { .. }) && reading.ticket() == ticket);
    }

    /// Takes out all.
    pub fn take_all(&mut self) -> Vec<Reading> {
        self.take_if(|_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ticket: u64) -> Reading {
        let question = Question::MoveLeader(NodeId(1));
        Reading::Question { from: NodeId(1), ticket: RequestId(ticket), question, deadline: Instant::from_nanos(1000) }
    }

    #[test]
    fn reads_that_come_during_rounds_share_the_next_one() {
        let mut reads = Reads::default();
        let mut contexts = Vec::new();
        for ticket in 0..4 {
            reads.push(read(ticket));
            contexts.extend(reads.start_round(Instant::ZERO));
        }
        assert_eq!(contexts.len(), MAX_READ_ROUNDS);
        reads.confirm(contexts[0], 7);
        assert_eq!(reads.take_applied(6).len(), 0);
        assert_eq!(reads.take_applied(7).len(), 1);
        assert!(reads.start_round(Instant::ZERO).is_some());
        assert_eq!(reads.len(), 3);
    }

    #[test]
    fn a_round_that_nobody_answers_starts_anew_under_another_context() {
        let mut reads = Reads::default();
        reads.push(read(1));
        let first = reads.start_round(Instant::ZERO).unwrap();
        reads.retry(Instant::ZERO + READ_RETRY, false);
        let second = reads.start_round(Instant::ZERO + READ_RETRY).unwrap();
        assert_ne!(first, second);
        reads.confirm(first, 5);
        assert!(reads.take_applied(5).is_empty(), "an answer to the abandoned round confirms nothing");
        reads.confirm(second, 6);
        assert_eq!(reads.take_applied(6).len(), 1);
    }
}
