//! Proposals on their way to a leader, and results on their way back.

use althing_api::request::Body;
use althing_api::{Answer, Error, ErrorKind};
use althing_consensus::Refused;
use althing_probe::{Mark, Mutant};
use althing_storage::engine::Applied;
use althing_strong::{AppliedResult, ApplyOutput, LeaseChange, Stage as Bounded};
use althing_types::{NodeId, RequestId};

use super::requests::{fail, respond};
use super::{Group, Leading};
use crate::context::Context;
use crate::envelope::{Forward, Message};
use crate::proposals::{Proposal, Stage};
use crate::reads::Reading;

impl Group {
    /// Hands a proposal that nobody has to the leader, if there is one.
    pub(super) fn submit(&mut self, cx: &mut Context<'_>, ticket: RequestId) {
        let Some(proposal) = self.proposals.get(ticket) else { return };
        let term = self.replica.term();
        let (data, membership) = (proposal.data.clone(), proposal.membership);
        match self.leader() {
            Some(leader) if leader == cx.shared.node() => {
                self.proposals.set_stage(ticket, Stage::Sent { term });
                if let Err(error) = self.propose_here(data, membership) {
                    self.refused(cx, term, ticket, error);
                }
            }
            Some(leader) => {
                let forward = Forward { group: self.id, term, ticket, membership, data };
                self.send(cx, leader, &Message::Forward(forward));
                self.proposals.set_stage(ticket, Stage::Sent { term });
            }
            None => self.proposals.set_stage(ticket, Stage::Waiting),
        }
    }

    pub(super) fn submit_waiting(&mut self, cx: &mut Context<'_>) {
        for ticket in self.proposals.waiting() {
            self.submit(cx, ticket);
        }
    }

    fn propose_here(&mut self, data: bytes::Bytes, membership: bool) -> Result<(), ErrorKind> {
        if membership {
            return self.propose_membership(data);
        }
        let input = althing_consensus::Input::Propose { data };
        self.offer(input).map_err(refusal)
    }

    /// A proposal from another node.
    pub(crate) fn forwarded(&mut self, cx: &mut Context<'_>, from: NodeId, forward: Forward) {
        let (group, term, ticket) = (self.id, forward.term, forward.ticket);
        let result = if self.is_leader() && self.replica.term() == term {
            self.propose_here(forward.data, forward.membership)
        } else {
            althing_probe::hit(Mark::ForwardRefused);
            Err(ErrorKind::NotLeader)
        };
        if let Err(error) = result {
            self.send(cx, from, &Message::Refused { group, term, ticket, error });
        }
    }

    /// It was not proposed in this term and never will be. For want of leadership, and where a change of the members waits
    /// for the one before it, it is sent again with the next tick: a node may apply a change, and say so, before its leader.
    ///
    /// A refusal may come late, when the proposal has long been sent for another term, and may even stand in that leader's
    /// log: then sending it again would apply it twice.
    pub(crate) fn refused(&mut self, cx: &mut Context<'_>, term: u64, ticket: RequestId, error: ErrorKind) {
        let Some(proposal) = self.proposals.get(ticket) else { return };
        if proposal.stage != (Stage::Sent { term }) {
            althing_probe::hit(Mark::RefusalTooLate);
            if !althing_probe::is(Mutant::BelieveLateRefusal) {
                return;
            }
        }
        if matches!(error, ErrorKind::NotLeader | ErrorKind::Unhealthy) {
            self.proposals.set_stage(ticket, Stage::Waiting);
        } else if self.proposals.remove(ticket).is_some() {
            fail(cx, ticket, error);
        }
    }

    /// Entries have been applied: their clients are answered, leases counted, watches fed, reads served.
    pub(crate) fn applied(&mut self, cx: &mut Context<'_>, applied: Applied, output: ApplyOutput) {
        let new_term = applied.term > self.applied.term;
        self.applied = applied;
        let committed = if althing_probe::is(Mutant::ApplyUncommitted) { self.replica.commit() } else { u64::MAX };
        self.step(althing_consensus::Input::Applied { index: applied.index.min(committed) });
        cx.shared.metrics.applied_entries += output.results.len() as u64;
        for result in output.results {
            self.answer(cx, result);
        }
        if new_term {
            self.proposals.term_applied(applied.term);
            self.submit_waiting(cx);
        }
        self.feed_lessor(cx, &output.leases);
        self.feed_watches(cx, &output.changes, output.compacted);
        if let Some(bounds) = output.bounds {
            self.tell_bounds(cx, bounds);
        }
        if output.members_changed {
            self.members_changed(cx);
        }
        self.serve_reads(cx);
    }

    fn answer(&mut self, cx: &mut Context<'_>, result: AppliedResult) {
        if result.origin != cx.shared.node() {
            return;
        }
        let Some(proposal) = self.take_proposal(result.request) else { return };
        let Some(id) = cx.shared.client_of(result.request) else { return };
        match result.result {
            Ok(_) if proposal.physical => {
                self.compacting.insert(id);
            }
            Ok(outcome) => {
                let header = self.header(cx, outcome.revision);
                respond(cx, id, Ok(Answer { header, body: outcome.body }));
            }
            Err(kind) => respond(cx, id, Err(kind.into())),
        }
    }

    fn take_proposal(&mut self, ticket: RequestId) -> Option<Proposal> {
        if althing_probe::is(Mutant::LeakProposals) {
            return self.proposals.get(ticket).cloned();
        }
        let proposal = self.proposals.remove(ticket)?;
        if matches!(proposal.stage, Stage::Sent { term } if term < self.replica.term()) {
            althing_probe::hit(Mark::AnswerAfterElection);
        }
        Some(proposal)
    }

    /// All that compaction allows has been given back.
    pub(crate) fn compaction_finished(&mut self, cx: &mut Context<'_>) {
        let header = self.header(cx, self.reader.revision());
        for id in std::mem::take(&mut self.compacting) {
            respond(cx, id, Ok(Answer { header, body: Body::Compact }));
        }
    }

    fn feed_lessor(&mut self, cx: &mut Context<'_>, changes: &[LeaseChange]) {
        use althing_strong::lessor::Input;
        if let Leading::Elected { term } = self.leading
            && self.applied.term == term
        {
            self.leading = Leading::Serving { term };
            let leases = self.reader.lease_records().unwrap_or_default();
            return self.lessor_input(cx, Input::BecameLeader(&leases));
        }
        for change in changes {
            let input = match *change {
                LeaseChange::Granted { id, ttl_seconds } => Input::Granted { id, ttl_seconds },
                LeaseChange::Revoked(id) => Input::Revoked(id),
                LeaseChange::Checkpointed { id, remaining_seconds } => Input::Checkpointed { id, remaining_seconds },
            };
            self.lessor_input(cx, input);
        }
    }

    /// Serves the reads whose index is applied.
    pub(super) fn serve_reads(&mut self, cx: &mut Context<'_>) {
        let applied = if althing_probe::is(Mutant::ReadBeforeApply) { u64::MAX } else { self.applied.index };
        for reading in self.reads.take_applied(applied) {
            match reading {
                Reading::Client { ticket, request, .. } => {
                    if let Some(id) = cx.shared.client_of(ticket) {
                        self.read(cx, id, *request);
                    }
                }
                Reading::Question { from, ticket, question, .. } => self.answer_question(cx, from, ticket, question),
            }
        }
    }

    /// What has waited too long for an answer asks again.
    pub(super) fn retry(&mut self, cx: &mut Context<'_>) {
        self.reads.retry(cx.now, false);
        if althing_probe::is(Mutant::ResendOnSilence) {
            self.proposals.term_applied(u64::MAX);
        }
        self.submit_waiting(cx);
        self.ask_again(cx);
    }

    /// What has waited past its deadline is given up. As in etcd the reason is the time, also where there is no leader: who
    /// wants to be told that at once requires one.
    pub(super) fn expire(&mut self, cx: &mut Context<'_>) {
        for (ticket, proposal) in self.proposals.expire(cx.now) {
            althing_probe::hit(Mark::ProposalExpired);
            let error = match proposal.stage {
                Stage::Waiting => Error::not_done(ErrorKind::Timeout),
                Stage::Sent { .. } => Error::maybe_done(ErrorKind::Timeout),
            };
            fail(cx, ticket, error);
        }
        for reading in self.reads.expire(cx.now) {
            if let Reading::Client { ticket, .. } = reading {
                fail(cx, ticket, ErrorKind::Timeout);
            }
        }
        self.expire_questions(cx);
    }

    /// The client no longer waits. What it proposed goes on; only the answer is dropped.
    pub(crate) fn cancel(&mut self, cx: &mut Context<'_>, id: RequestId) {
        let ticket = cx.shared.ticket(id);
        self.reads.cancel(ticket);
        self.asking.remove(&ticket);
        self.compacting.remove(&id);
    }

    /// The replica goes away: everybody who waits is told.
    pub(crate) fn stop(&mut self, cx: &mut Context<'_>, why: &str) {
        // What a sealed shard has not answered comes after the seal in its log, if at all, and does nothing there.
        let is_sealed = self.bounds().is_some_and(|bounds| matches!(bounds.stage, Bounded::Sealed(_)));
        for (ticket, proposal) in self.proposals.take_all() {
            let error = match proposal.stage {
                Stage::Waiting => Error::not_done(ErrorKind::Stopped),
                Stage::Sent { .. } if is_sealed => Error::not_done(ErrorKind::Stopped),
                Stage::Sent { .. } => Error::maybe_done(ErrorKind::Stopped),
            };
            fail(cx, ticket, error);
        }
        for reading in self.reads.take_all() {
            if let Reading::Client { ticket, .. } = reading {
                fail(cx, ticket, ErrorKind::Stopped);
            }
        }
        for ticket in std::mem::take(&mut self.asking).into_keys() {
            fail(cx, ticket, Error::maybe_done(ErrorKind::Stopped));
        }
        self.hub_input(cx, althing_strong::watch::Input::Gone(why.to_owned()));
    }
}

/// A refusal of the replica in the words of the tables.
pub(super) fn refusal(refused: Refused) -> ErrorKind {
    match refused {
        // A leader that hands over will soon be a follower: what it refuses goes to its successor.
        Refused::NotLeader { .. } | Refused::Transferring { .. } => ErrorKind::NotLeader,
        Refused::TooLarge { bytes, limit } => ErrorKind::RequestTooLarge { bytes, limit },
        Refused::Overloaded => ErrorKind::Overloaded,
        Refused::ConfChangePending => ErrorKind::Unhealthy,
        Refused::InvalidConfChange { reason } => ErrorKind::InvalidArgument(reason),
        Refused::NotVoter { node } => ErrorKind::BadLeaderTransferee(node),
    }
}
