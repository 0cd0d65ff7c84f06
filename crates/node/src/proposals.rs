//! Proposals of this node: from a client's write to its answer.
//!
//! A proposal is bound to the term that it was sent in: its leader proposes it in that term or refuses it. So there are
//! only three ways on:
//! * it is applied here: the client gets its result;
//! * the leader refuses it: it has not happened, and is sent again when there is a leader;
//! * an entry of a later term is applied here first: then no log that can still win holds it, so it never will be
//!   applied, and it is sent again.
//!
//! In every case but a passed deadline the client learns exactly what happened, and a change of leader costs it time,
//! not an error.

use std::collections::BTreeMap;

use althing_probe::Mark;
use althing_types::{Instant, RequestId};
use bytes::Bytes;

/// Where a proposal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nobody has it: there was no leader, or it was refused.
    Waiting,
    /// A leader of this term has been sent it.
    Sent {
        /// The term.
        term: u64,
    },
}

/// One proposal that waits for its result.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// What to propose.
    pub data: Bytes,
    /// Whether it changes the membership.
    pub membership: bool,
    /// Whether the client wants to wait for the space that a compaction gives back.
    pub physical: bool,
    /// When the client no longer waits.
    pub deadline: Instant,
    /// Where it is.
    pub stage: Stage,
}

/// The proposals of one group.
#[derive(Debug, Default)]
pub struct Proposals {
    pending: BTreeMap<RequestId, Proposal>,
    waiting: usize,
    bytes: usize,
}

impl Proposals {
    /// How many wait for their result.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Bytes of those that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one that nobody has yet.
    pub fn insert(&mut self, ticket: RequestId, proposal: Proposal) {
        self.bytes += proposal.data.len();
        self.waiting += usize::from(proposal.stage == Stage::Waiting);
        self.pending.insert(ticket, proposal);
    }

    /// Takes one out, with its result or without.
    pub fn remove(&mut self, ticket: RequestId) -> Option<Proposal> {
        let proposal = self.pending.remove(&ticket)?;
        self.bytes -= proposal.data.len();
        self.waiting -= usize::from(proposal.stage == Stage::Waiting);
        Some(proposal)
    }

    /// One that waits.
    #[must_use]
    pub fn get(&self, ticket: RequestId) -> Option<&Proposal> {
        self.pending.get(&ticket)
    }

    /// Notes where one is.
    pub fn set_stage(&mut self, ticket: RequestId, stage: Stage) {
        if let Some(proposal) = self.pending.get_mut(&ticket) {
            self.waiting -= usize::from(proposal.stage == Stage::Waiting);
            self.waiting += usize::from(stage == Stage::Waiting);
            proposal.stage = stage;
        }
    }

    /// An entry of `term` has been applied: whatever was sent in an earlier term and is still here never will be.
    pub fn term_applied(&mut self, term: u64) {
        for proposal in self.pending.values_mut() {
            if let Stage::Sent { term: sent } = proposal.stage
                && sent < term
            {
                althing_probe::hit(Mark::ProposalOutlived);
                proposal.stage = Stage::Waiting;
                self.waiting += 1;
            }
        }
    }

    /// Takes out those that a leader of `term` or an earlier one was sent: a snapshot has taken the place of their results.
    pub fn take_sent_up_to(&mut self, term: u64) -> Vec<RequestId> {
        let sent = |p: &Proposal| matches!(p.stage, Stage::Sent { term: sent } if sent <= term);
        let tickets: Vec<_> = self.pending.iter().filter(|(_, p)| sent(p)).map(|(ticket, _)| *ticket).collect();
        for ticket in &tickets {
            self.remove(*ticket);
        }
        tickets
    }

    /// Those that nobody has, oldest first.
    #[must_use]
    pub fn waiting(&self) -> Vec<RequestId> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let waiting = self.pending.iter().filter(|(_, proposal)| proposal.stage == Stage::Waiting);
        waiting.map(|(ticket, _)| *ticket).collect()
    }

    /// Takes out those whose deadline has passed.
    pub fn expire(&mut self, now: Instant) -> Vec<(RequestId, Proposal)> {
        let expired: Vec<_> =
            self.pending.iter().filter(|(_, p)| p.deadline <= now).map(|(ticket, _)| *ticket).collect();
        expired.into_iter().filter_map(|ticket| self.remove(ticket).map(|proposal| (ticket, proposal))).collect()
    }

    /// Takes out all.
    pub fn take_all(&mut self) -> BTreeMap<RequestId, Proposal> {
        self.waiting = 0;
        self.bytes = 0;
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(stage: Stage) -> Proposal {
        let deadline = Instant::from_nanos(100);
        Proposal { data: Bytes::from_static(b"data"), membership: false, physical: false, deadline, stage }
    }

    #[test]
    fn what_an_earlier_term_was_sent_waits_again_once_a_later_term_is_applied() {
        let mut proposals = Proposals::default();
        proposals.insert(RequestId(1), proposal(Stage::Sent { term: 3 }));
        proposals.insert(RequestId(2), proposal(Stage::Sent { term: 4 }));
        proposals.term_applied(4);
        assert_eq!(proposals.waiting(), vec![RequestId(1)]);
        proposals.set_stage(RequestId(1), Stage::Sent { term: 4 });
        assert!(proposals.waiting().is_empty());
        assert_eq!(proposals.bytes(), 8);
    }

    #[test]
    fn a_deadline_takes_a_proposal_out() {
        let mut proposals = Proposals::default();
        proposals.insert(RequestId(1), proposal(Stage::Waiting));
        assert!(proposals.expire(Instant::from_nanos(99)).is_empty());
        assert_eq!(proposals.expire(Instant::from_nanos(100)).len(), 1);
        assert_eq!((proposals.len(), proposals.bytes()), (0, 0));
    }
}
