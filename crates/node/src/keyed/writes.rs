//! Writes, at their coordinator.

use althing_api::ErrorKind;
use althing_api::keyed::{Access, KeyedAnswer};
use althing_convergent::{Job, Leaves, Refusal};
use althing_datatypes::{Message as _, OpError, Reply};
use althing_probe::Mutant;
use althing_quorum::{Tally, Verdict};
use althing_types::{GroupId, Instant, NodeId, RequestId};
use bytes::Bytes;

use super::count::{Count, Knowledge};
use super::hints::Logged;
use super::{Asked, Waiting};
use crate::effects::Effects;
use crate::node::Node;

/// A write that a client waits for.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: RequestId,
    /// Who has it durably.
    count: Count,
    /// What was written, and where it stands in the log.
    written: Option<(u64, Bytes)>,
    pub(super) deadline: Instant,
    /// What the client will be told, since it is durable here.
    reply: Option<KeyedAnswer>,
}

impl Write {
    /// Whether it is to be counted anew.
    pub(super) fn is_outdated(&self, known: Knowledge) -> bool {
        self.count.is_outdated(known)
    }
}

impl Node {
    pub(super) fn keyed_write(&mut self, now: Instant, group: GroupId, asked: Asked, out: &mut Effects) {
        let Asked { id, key, op, level, deadline, seen, .. } = asked;
        let level = level.unwrap_or_else(|| self.table_level(group, Access::Write));
        let count = self.count(group, level);
        if !self.is_in_reach(now, group, count.likely()) {
            // Nothing is done where it is known beforehand that it would not be enough.
            return out.responses.push((id, Err(ErrorKind::ShardUnavailable.into())));
        }
        let (now_ms, seed) = (self.shared.wall.at(now), self.shared.rng.u64(..));
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if althing_probe::every(Mutant::ExecuteTwice, 20) {
            let ticket = keyed.ticket(Waiting::Nobody);
            let (key, op, seen) = (key.clone(), op.clone(), seen.clone());
            self.agenda.push(group, Job::Execute { ticket, key, op, seen, now_ms, seed });
        }
        let write = Write { id, count, written: None, deadline, reply: None };
        let ticket = keyed.ticket(Waiting::Write(Box::new(write)));
        self.agenda.push(group, Job::Execute { ticket, key, op, seen, now_ms, seed });
    }

    /// Whether those that were heard lately are enough. A hint, which only decides whether it is tried.
    pub(super) fn is_in_reach(&self, now: Instant, group: GroupId, mut likely: Tally) -> bool {
        for node in self.replicas_of(group).everybody() {
            if node == self.shared.node() || self.shared.peers.is_heard(now, node) {
                likely.answered(node);
            }
        }
        likely.verdict() == Verdict::Met
    }

    /// What a client asked for was done on this replica, and is durable.
    pub(super) fn executed(
        &mut self,
        now: Instant,
        group: GroupId,
        (ticket, index): (u64, u64),
        reply: Result<Reply, Refusal>,
        delta: Option<(Bytes, Leaves)>,
        out: &mut Effects,
    ) {
        let (own, known) = (self.shared.node(), self.knowledge(group));
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let reply = answer_of(reply);
        let id = keyed.waiting.get(&ticket).and_then(Waiting::client);
        match (reply, delta) {
            (Ok(reply), Some((delta, leaves))) => {
                if let Some(Waiting::Write(write)) = keyed.waiting.get_mut(&ticket) {
                    write.count.answered(own, known.logged, known.applied);
                    write.reply = Some(reply);
                }
                match leaves {
                    Leaves::AtOnce => {}
                    Leaves::OnceDurable => self.send_write(now, group, (ticket, index), delta),
                }
                self.recount_write(now, group, ticket, known);
                self.finish_write(group, ticket, out);
            }
            // It has changed nothing, so there is nothing that others must have.
            (Ok(reply), None) => {
                keyed.waiting.remove(&ticket);
                if let Some(id) = id {
                    self.keyed_answer(id, reply, out);
                }
            }
            (Err(error), _) => {
                keyed.waiting.remove(&ticket);
                out.responses.extend(id.map(|id| (id, Err(error.into()))));
            }
        }
    }

    /// A write that was executed here goes to the others. Perhaps it is not durable here yet; what they say of it counts all the same.
    pub(super) fn send_write(&mut self, now: Instant, group: GroupId, (ticket, index): (u64, u64), delta: Bytes) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if let Some(Waiting::Write(write)) = keyed.waiting.get_mut(&ticket) {
            write.written = Some((index, delta.clone()));
        }
        self.spread_as(now, group, ticket, index, delta);
    }

    /// Another replica has a write durably.
    pub(super) fn write_taken(
        &mut self,
        now: Instant,
        group: GroupId,
        by: NodeId,
        (ticket, conf): (u64, u64),
        out: &mut Effects,
    ) {
        let known = self.knowledge(group);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(Waiting::Write(write)) = keyed.waiting.get_mut(&ticket) else { return };
        write.count.answered(by, conf, known.applied);
        self.recount_write(now, group, ticket, known);
        if conf > known.applied {
            // It may sleep, for all that it has heard.
            self.wake(group);
        }
        self.finish_write(group, ticket, out);
    }

    /// Counts a write anew if the replicas are others than when it was counted last.
    fn recount_write(&mut self, now: Instant, group: GroupId, ticket: u64, known: Knowledge) {
        let waiting = self.keyed.get(&group).and_then(|keyed| keyed.waiting.get(&ticket));
        if matches!(waiting, Some(Waiting::Write(write)) if write.is_outdated(known)) {
            self.renew_write(now, group, ticket, known);
        }
    }

    /// The replicas are others than when the write began: it is counted by what is known now, and whoever is new is sent it.
    pub(super) fn renew_write(&mut self, now: Instant, group: GroupId, ticket: u64, known: Knowledge) {
        let Some(Waiting::Write(write)) = self.keyed.get(&group).and_then(|keyed| keyed.waiting.get(&ticket)) else {
            return;
        };
        let requirement = self.requirement(group, write.count.level());
        let audience = self.audience(group);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(Waiting::Write(write)) = keyed.waiting.get_mut(&ticket) else { return };
        write.count.renew(requirement, known);
        let Some((index, delta)) = write.written.clone() else { return };
        let count = &write.count;
        let is_new = |node: &NodeId| {
            !count.has_answered(*node) && keyed.outstanding.get(node).is_none_or(|sent| !sent.has(ticket))
        };
        let newcomers: Vec<_> = audience.into_iter().filter(is_new).collect();
        for node in newcomers {
            self.send_delta(now, group, node, ticket, delta.clone(), Logged::At(index));
        }
    }

    pub(super) fn finish_write(&mut self, group: GroupId, ticket: u64, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(Waiting::Write(write)) = keyed.waiting.get_mut(&ticket) else { return };
        if !write.count.is_met() && !althing_probe::is(Mutant::AcknowledgeAlone) {
            return;
        }
        if let (id, Some(reply)) = (write.id, write.reply.take()) {
            keyed.waiting.remove(&ticket);
            self.keyed_answer(id, reply, out);
        }
    }
}

/// What a client is told of an operation.
pub(super) fn answer_of(reply: Result<Reply, Refusal>) -> Result<KeyedAnswer, ErrorKind> {
    match reply {
        Ok(reply) => Ok(KeyedAnswer::Operated(Ok::<_, OpError>(reply).encode())),
        Err(Refusal::Op(error)) => Ok(KeyedAnswer::Refused(Err::<Reply, _>(error).encode())),
        Err(Refusal::Reread { siblings }) => Ok(KeyedAnswer::Reread(siblings as u64)),
        Err(refusal @ (Refusal::TooLarge { .. } | Refusal::KeyTooLong { .. })) => {
            Err(ErrorKind::InvalidArgument(refusal.to_string()))
        }
        Err(refusal @ Refusal::BadRegister) => Err(ErrorKind::Storage(refusal.to_string())),
    }
}
