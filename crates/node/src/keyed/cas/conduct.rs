//! What a proposer wants done, and who asks it for something.

use althing_api::ErrorKind;
use althing_convergent::rounds::{Task, Then, Wish};
use althing_convergent::{Job, Refusal};
use althing_datatypes::Reply;
use althing_paxos::proposer::{Change, Effect, Input, Kind, Outcome};
use althing_paxos::{Answer, Ballot, Request, Value};
use althing_quorum::{Level, Tally};
use althing_types::{Duration, GroupId, Instant, NodeId, RequestId};
use bytes::Bytes;

use super::{Ended, Pending, Ticket, Whose, peer};
use crate::effects::Effects;
use crate::envelope::{KeyedMessage, Message};
use crate::keyed::{Asked, Waiting};
use crate::node::Node;

/// How long a round may take that no client waits for.
const OWN_ROUND: Duration = Duration::from_secs(5);

impl Node {
    /// A client's operation is decided by a round.
    pub(in crate::keyed) fn decide(&mut self, now: Instant, group: GroupId, asked: Asked, out: &mut Effects) {
        let tally = Tally::new(self.requirement(group, Level::Quorum));
        if !self.is_in_reach(now, group, tally) {
            return out.responses.push((asked.id, Err(ErrorKind::ShardUnavailable.into())));
        }
        let kind = if asked.op.is_read() { Kind::Read } else { Kind::Change };
        let Asked { id, key, op, level, deadline, .. } = asked;
        let (whose, wish, computed) = (Whose::Client(id), Wish::Operate(op), Vec::new());
        self.begin_round(now, group, Pending { whose, key, wish, kind, level, deadline, computed }, out);
    }

    /// A round of the node's own.
    pub(super) fn own_round(
        &mut self,
        now: Instant,
        group: GroupId,
        whose: Whose,
        key: Bytes,
        wish: Wish,
        out: &mut Effects,
    ) {
        self.own_round_of(now, group, whose, key, (wish, Kind::Change), out);
    }

    /// A round of the node's own, of this kind.
    pub(super) fn own_round_of(
        &mut self,
        now: Instant,
        group: GroupId,
        whose: Whose,
        key: Bytes,
        (wish, kind): (Wish, Kind),
        out: &mut Effects,
    ) {
        let (deadline, level, computed) = (now + OWN_ROUND, None, Vec::new());
        self.begin_round(now, group, Pending { whose, key, wish, kind, level, deadline, computed }, out);
    }

    fn begin_round(&mut self, now: Instant, group: GroupId, pending: Pending, out: &mut Effects) {
        self.follow_epoch(now, group, out);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.cas.last_request += 1;
        let request = RequestId(keyed.cas.last_request);
        let Pending { ref key, kind, deadline, .. } = pending;
        let input = Input::Begin { request, key: key.clone(), kind, deadline };
        keyed.cas.requests.insert(request, pending);
        self.conduct(now, group, input, out);
    }

    /// Tells the proposer something, and does what it wants.
    pub(super) fn conduct(&mut self, now: Instant, group: GroupId, input: Input, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(proposer) = &mut keyed.cas.proposer else { return };
        let mut effects = Vec::new();
        proposer.handle(now, input, &mut effects);
        // A request that ends with a chosen value ends when that is joined.
        let mut commit = None;
        for effect in effects {
            match effect {
                Effect::Send { to, request } => self.ask_acceptor(group, to.node, request),
                Effect::Compute { request, ballot, current, .. } => self.compute(now, group, request, ballot, current),
                Effect::Chosen { key, version, value } => commit = self.commit(group, key, version, &value),
                Effect::Done { request, result } => {
                    self.settle_doubts(group, request, &result);
                    let ended = Ended { request, result };
                    match commit.take() {
                        Some(ticket) => self.end_with(group, ticket, ended),
                        None => self.finish(now, group, ended, out),
                    }
                }
                Effect::Timer { at, timer } => {
                    if let Some(keyed) = self.keyed.get_mut(&group) {
                        keyed.cas.timers.insert((at, timer));
                    }
                }
                // The log of the group brings the later configuration.
                Effect::Behind { .. } => {}
            }
        }
    }

    fn ask_acceptor(&mut self, group: GroupId, to: NodeId, request: Request) {
        if to != self.shared.node() {
            let message = KeyedMessage::Round { request: request.encode() };
            return self.shared.peers.send(to, &Message::Keyed(group, message));
        }
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let ticket = keyed.ticket(Waiting::Cas(Ticket::Answer(to)));
        self.agenda.push(group, Job::Rounds { ticket, task: Task::Answer { from: peer(to), request } });
    }

    /// A proposer elsewhere asks this acceptor.
    pub(in crate::keyed) fn round_asked(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        request: Bytes,
        out: &mut Effects,
    ) {
        let Ok(request) = Request::decode(request) else {
            self.shared.metrics.frames_refused += 1;
            return;
        };
        self.follow_epoch(now, group, out);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let ticket = keyed.ticket(Waiting::Cas(Ticket::Answer(from)));
        self.agenda.push(group, Job::Rounds { ticket, task: Task::Answer { from: peer(from), request } });
    }

    /// What this acceptor says is durable.
    pub(super) fn acceptor_answered(
        &mut self,
        now: Instant,
        group: GroupId,
        to: NodeId,
        answer: Answer,
        out: &mut Effects,
    ) {
        if to == self.shared.node() {
            return self.conduct(now, group, Input::Answer { from: peer(to), answer }, out);
        }
        let message = KeyedMessage::Rounded { answer: answer.encode() };
        self.shared.peers.send(to, &Message::Keyed(group, message));
    }

    /// An acceptor elsewhere has answered.
    pub(in crate::keyed) fn acceptor_spoke(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        answer: Bytes,
        out: &mut Effects,
    ) {
        match Answer::decode(answer) {
            Ok(answer) => self.conduct(now, group, Input::Answer { from: peer(from), answer }, out),
            Err(_) => self.shared.metrics.frames_refused += 1,
        }
    }

    fn compute(&mut self, now: Instant, group: GroupId, request: RequestId, ballot: Ballot, current: Value) {
        let (now_ms, seed) = (self.shared.wall.at(now), self.shared.rng.u64(..));
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(pending) = keyed.cas.requests.get(&request) else { return };
        let (key, wish) = (pending.key.clone(), pending.wish.clone());
        let ticket = keyed.ticket(Waiting::Cas(Ticket::Compute(request, ballot)));
        let task = Task::Propose { key, wish, current, now_ms, seed };
        self.agenda.push(group, Job::Rounds { ticket, task });
    }

    /// The next value of a register is computed, and its dots are durable.
    pub(super) fn proposed(
        &mut self,
        now: Instant,
        group: GroupId,
        request: RequestId,
        ballot: Ballot,
        (reply, change, then): (Result<Reply, Refusal>, Change, Then),
        out: &mut Effects,
    ) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        match keyed.cas.requests.get_mut(&request) {
            Some(pending) => {
                pending.computed.push((ballot, reply, then));
                self.conduct(now, group, Input::Computed { request, ballot, change }, out);
            }
            // It was given up meanwhile: what was issued for it is nobody's.
            None => self.shared.metrics.expired += 1,
        }
    }

    /// A value is chosen: it is joined here, unless that was done; whoever learns of it first sends it to the others.
    fn commit(&mut self, group: GroupId, key: Bytes, version: Ballot, value: &Value) -> Option<u64> {
        let (Value::Present(delta) | Value::Absent(delta)) = value;
        let keyed = self.keyed.get_mut(&group)?;
        if keyed.cas.joined.get(&key) == Some(&version) {
            return None;
        }
        let delta = delta.clone();
        let waiting = Ticket::Commit { key, version, delta: delta.clone(), ended: None };
        let ticket = keyed.ticket(Waiting::Cas(waiting));
        self.agenda.push(group, Job::Join { ticket, delta });
        Some(ticket)
    }

    fn end_with(&mut self, group: GroupId, ticket: u64, ended: Ended) {
        let waiting = self.keyed.get_mut(&group).and_then(|keyed| keyed.waiting.get_mut(&ticket));
        if let Some(Waiting::Cas(Ticket::Commit { ended: place, .. })) = waiting {
            *place = Some(ended);
        }
    }

    /// What was proposed for a key by this node and was not chosen never will be, once a later round of it has come to its end: then
    /// its dots are given up. Until that is known they are in doubt.
    fn settle_doubts(&mut self, group: GroupId, request: RequestId, result: &Result<Outcome, althing_paxos::Failure>) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(pending) = keyed.cas.requests.get(&request).filter(|pending| pending.kind == Kind::Change) else {
            return;
        };
        let key = pending.key.clone();
        match result {
            Err(_) if pending.computed.is_empty() => {}
            Err(_) => {
                keyed.cas.doubts.insert(key);
            }
            Ok(_) if pending.computed.len() > 1 || pending.wish == Wish::Settle || keyed.cas.doubts.contains(&key) => {
                keyed.cas.doubts.remove(&key);
                let ticket = keyed.ticket(Waiting::Cas(Ticket::Own));
                self.agenda.push(group, Job::Rounds { ticket, task: Task::Resolve { key } });
            }
            Ok(_) => {}
        }
    }
}
