//! Questions that only the leader may answer, and only after a round has confirmed that it still leads: keeping a lease
//! alive, how long it lives, and handing the leadership over.
//!
//! A question is asked again after a change of leader or a silence: asking twice does no harm.

use althing_api::lease::LeaseStatus;
use althing_api::request::Body;
use althing_api::{Answer, ErrorKind};
use althing_probe::{Mark, Mutant};
use althing_strong::lessor::{self, RenewError};
use althing_strong::{Command, Proposal as LogProposal};
use althing_types::{Duration, Instant, LeaseId, NodeId, RequestId};

use super::requests::{fail, respond};
use super::{Group, results};
use crate::context::Context;
use crate::envelope::{Message, Question, Told};
use crate::reads::Reading;

/// How long the leader may be silent before a question is asked again.
const ASK_RETRY: Duration = Duration::from_millis(300);

/// A question of this node's clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    question: Question,
    /// Whether the keys of the lease are wanted, too.
    keys: bool,
    deadline: Instant,
    /// When it was asked last; `None` when nobody was there to ask.
    asked: Option<Instant>,
}

/// A renewal that the lessor has not answered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewing {
    /// The node whose client wants it.
    from: NodeId,
    /// That node's name for it.
    ticket: RequestId,
    lease: LeaseId,
}

impl Group {
    pub(super) fn ask(
        &mut self,
        cx: &mut Context<'_>,
        ticket: RequestId,
        question: Question,
        keys: bool,
        deadline: Instant,
    ) {
        self.asking.insert(ticket, Asking { question, keys, deadline, asked: None });
        self.ask_leader(cx, ticket);
    }

    fn ask_leader(&mut self, cx: &mut Context<'_>, ticket: RequestId) {
        let leader = self.leader();
        let Some(asking) = self.asking.get_mut(&ticket) else { return };
        let (question, deadline) = (asking.question, asking.deadline);
        asking.asked = leader.map(|_| cx.now);
        match leader {
            Some(leader) if leader == cx.shared.node() => {
                self.reads.push(Reading::Question { from: leader, ticket, question, deadline });
            }
            Some(leader) => self.send(cx, leader, &Message::Ask { group: self.id, ticket, question }),
            None => {}
        }
    }

    /// A question from another node. A node that does not lead says nothing: the asker hears of the new leader soon.
    pub(crate) fn asked(&mut self, cx: &mut Context<'_>, from: NodeId, ticket: RequestId, question: Question) {
        if self.is_leader() {
            let deadline = cx.now + ASK_RETRY;
            self.reads.push(Reading::Question { from, ticket, question, deadline });
        }
    }

    pub(super) fn ask_again(&mut self, cx: &mut Context<'_>) {
        let silent = |asking: &Asking| asking.asked.is_none_or(|asked| cx.now.since(asked) >= ASK_RETRY);
        let tickets: Vec<_> = self.asking.iter().filter(|(_, a)| silent(a)).map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            althing_probe::hit(Mark::QuestionRepeated);
            self.ask_leader(cx, ticket);
        }
    }

    pub(super) fn expire_questions(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        for (ticket, asking) in self.asking.extract_if(.., |_, asking| asking.deadline <= now) {
            let error = match asking.asked {
                Some(_) => althing_api::Error::maybe_done(ErrorKind::Timeout),
                None => ErrorKind::Timeout.into(),
            };
            fail(cx, ticket, error);
        }
    }

    /// Leadership is confirmed since the question came.
    pub(super) fn answer_question(
        &mut self,
        cx: &mut Context<'_>,
        from: NodeId,
        ticket: RequestId,
        question: Question,
    ) {
        match question {
            Question::KeepAlive(lease) => {
                // Tickets are unique within the node that gave them only.
                let request = cx.shared.internal_ticket();
                self.renewing.insert(request, Renewing { from, ticket, lease });
                self.lessor.renew(cx.now, lease, request, &mut self.lessor_effects);
                self.lessor_turn(cx);
            }
            Question::TimeToLive(lease) => {
                let told = self.time_to_live(cx.now, lease);
                self.tell(cx, from, ticket, told);
            }
            Question::MoveLeader(to) => {
                let told = self.move_leader(cx, to);
                self.tell(cx, from, ticket, told);
            }
            Question::Membership => {
                let is_member = self.replica.conf_state().contains(from);
                let no_member = Told::NoMember { term: self.replica.term() };
                self.tell(cx, from, ticket, Ok(if is_member { Told::Member } else { no_member }));
            }
        }
    }

    fn time_to_live(&self, now: Instant, lease: LeaseId) -> Result<Told, ErrorKind> {
        let granted = self.reader.lease(lease)?.map(|(granted, _)| granted);
        Ok(match (granted, self.lessor.remaining(now, lease)) {
            (Some(granted_seconds), Some(remaining)) => {
                let remaining_seconds = i64::try_from(remaining.as_secs()).unwrap_or(i64::MAX);
                Told::TimeToLive { remaining_seconds, granted_seconds }
            }
            (Some(_), None) if !self.is_leader() => return Err(ErrorKind::NotLeader),
            (Some(_) | None, None) | (None, Some(_)) => Told::TimeToLive { remaining_seconds: -1, granted_seconds: 0 },
        })
    }

    fn move_leader(&mut self, cx: &mut Context<'_>, to: NodeId) -> Result<Told, ErrorKind> {
        if to == cx.shared.node() && self.is_leader() {
            return Ok(Told::Moved);
        }
        if !self.replica.conf_state().is_voter(to) {
            return Err(ErrorKind::BadLeaderTransferee(to));
        }
        let input = althing_consensus::Input::TransferLeader { to };
        self.offer(input).map_err(results::refusal)?;
        Ok(Told::Moved)
    }

    fn tell(&mut self, cx: &mut Context<'_>, to: NodeId, ticket: RequestId, result: Result<Told, ErrorKind>) {
        if to == cx.shared.node() {
            self.told(cx, ticket, result);
        } else {
            self.send(cx, to, &Message::Told { group: self.id, ticket, result });
        }
    }

    /// The leader has answered.
    pub(crate) fn told(&mut self, cx: &mut Context<'_>, ticket: RequestId, result: Result<Told, ErrorKind>) {
        if result == Err(ErrorKind::NotLeader) {
            return;
        }
        let Some(asking) = self.asking.remove(&ticket) else { return };
        let Some(id) = cx.shared.client_of(ticket) else { return };
        let result = result.and_then(|told| self.told_body(&asking, told));
        let header = self.header(cx, self.reader.revision());
        respond(cx, id, result.map(|body| Answer { header, body }).map_err(althing_api::Error::from));
    }

    fn told_body(&self, asking: &Asking, told: Told) -> Result<Body, ErrorKind> {
        Ok(match (told, asking.question) {
            (Told::KeptAlive { ttl_seconds }, _) => Body::LeaseKeepAlive { ttl_seconds },
            (Told::TimeToLive { remaining_seconds, granted_seconds }, Question::TimeToLive(lease)) if asking.keys => {
                let keys = self.reader.lease(lease)?.map(|(_, keys)| keys).unwrap_or_default();
                Body::LeaseTimeToLive(LeaseStatus { remaining_seconds, granted_seconds, keys })
            }
            (Told::TimeToLive { remaining_seconds, granted_seconds }, _) => {
                Body::LeaseTimeToLive(LeaseStatus { remaining_seconds, granted_seconds, keys: Vec::new() })
            }
            (Told::Moved | Told::Member | Told::NoMember { .. }, _) => Body::MoveLeader,
        })
    }

    pub(super) fn lessor_input(&mut self, cx: &mut Context<'_>, input: lessor::Input<'_>) {
        self.lessor.handle(cx.now, input, &mut self.lessor_effects);
        self.lessor_turn(cx);
    }

    pub(super) fn tick_lessor(&mut self, cx: &mut Context<'_>) {
        if self.lessor.next_deadline().is_some_and(|deadline| deadline <= cx.now) {
            self.lessor_input(cx, lessor::Input::Tick);
        }
    }

    /// Does what the lessor wants: its proposals are made here or not at all, for only the leader's count.
    fn lessor_turn(&mut self, cx: &mut Context<'_>) {
        let mut effects = std::mem::take(&mut self.lessor_effects);
        let mut refused = Vec::new();
        for id in effects.revoke.drain(..) {
            cx.shared.metrics.leases_expired += 1;
            if althing_probe::is(Mutant::FollowerEndsLeases) && !self.is_leader() {
                let (ticket, deadline) = (cx.shared.internal_ticket(), cx.now + ASK_RETRY);
                self.propose(cx, ticket, Command::LeaseRevoke { id }, deadline);
            } else if !self.propose_own(cx, Command::LeaseRevoke { id }) {
                refused.push(lessor::Input::RevokeRefused(id));
            }
        }
        if !effects.checkpoint.is_empty() {
            let remaining = std::mem::take(&mut effects.checkpoint);
            let leases: Vec<_> = remaining.iter().map(|(id, _)| *id).collect();
            if !self.propose_own(cx, Command::LeaseCheckpoint { remaining }) {
                refused.extend(leases.into_iter().map(lessor::Input::CheckpointRefused));
            }
        }
        for input in refused {
            self.lessor.handle(cx.now, input, &mut effects);
        }
        for renewed in effects.renewed.drain(..) {
            self.answer_renewal(cx, renewed);
        }
        self.lessor_effects = effects;
    }

    /// The lessor may answer a renewal late: after the checkpoint that gives the lease its full time back.
    fn answer_renewal(&mut self, cx: &mut Context<'_>, renewed: lessor::Renewed) {
        let Some(Renewing { from, ticket, lease }) = self.renewing.remove(&renewed.request) else { return };
        let result = match renewed.result {
            Ok(ttl_seconds) => Ok(Told::KeptAlive { ttl_seconds }),
            Err(RenewError::NotFound) => Err(ErrorKind::LeaseNotFound(lease)),
            Err(RenewError::NotLeader) => Err(ErrorKind::NotLeader),
        };
        self.tell(cx, from, ticket, result);
    }

    /// Proposes something that nobody waits for, in the term for which it was wanted. Says whether it is in the log.
    pub(crate) fn propose_own(&mut self, cx: &mut Context<'_>, command: Command) -> bool {
        if !self.is_leader() || self.leading.term() != Some(self.replica.term()) {
            return false;
        }
        let ticket = cx.shared.internal_ticket();
        let data = LogProposal { origin: cx.shared.node(), request: ticket, command }.encode();
        self.offer(althing_consensus::Input::Propose { data }).is_ok()
    }
}
