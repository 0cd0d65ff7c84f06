//! Writes, at their coordinator.

use althing_api::ErrorKind;
use althing_api::keyed::{Access, KeyedAnswer};
use althing_convergent::{Job, Refusal};
use althing_datatypes::{Message as _, OpError, Reply};
use althing_quorum::{Tally, Verdict};
use althing_types::{GroupId, Instant, NodeId, RequestId};
use bytes::Bytes;

use super::{Asked, Waiting};
use crate::effects::Effects;
use crate::node::Node;

/// A write that a client waits for.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: RequestId,
    /// Who has it durably.
    tally: Tally,
    pub(super) deadline: Instant,
    /// What the client will be told, since it is durable here.
    reply: Option<KeyedAnswer>,
}

impl Node {
    pub(super) fn keyed_write(&mut self, now: Instant, group: GroupId, asked: Asked, out: &mut Effects) {
        let Asked { id, key, op, level, deadline, seen, .. } = asked;
        let level = level.unwrap_or_else(|| self.table_level(group, Access::Write));
        let tally = Tally::new(self.requirement(group, level));
        if !self.is_in_reach(now, group, &tally) {
            // Nothing is done where it is known beforehand that it would not be enough.
            return out.responses.push((id, Err(ErrorKind::ShardUnavailable.into())));
        }
        let (now_ms, seed) = (self.wall.at(now), self.shared.rng.u64(..));
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let ticket = keyed.ticket(Waiting::Write(Write { id, tally, deadline, reply: None }));
        keyed.jobs.push(Job::Execute { ticket, key, op, seen, now_ms, seed });
    }

    /// Whether those that were heard lately are enough. A hint, which only decides whether it is tried.
    pub(super) fn is_in_reach(&self, now: Instant, group: GroupId, tally: &Tally) -> bool {
        let mut likely = tally.clone();
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
        ticket: u64,
        reply: Result<Reply, Refusal>,
        delta: Option<Bytes>,
        out: &mut Effects,
    ) {
        let own = self.shared.node();
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let reply = answer_of(reply);
        let id = keyed.waiting.get(&ticket).and_then(Waiting::client);
        match (reply, delta) {
            (Ok(reply), Some(delta)) => {
                if let Some(Waiting::Write(write)) = keyed.waiting.get_mut(&ticket) {
                    write.tally.answered(own);
                    write.reply = Some(reply);
                }
                self.spread_as(now, group, ticket, delta);
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

    /// Another replica has a write durably.
    pub(super) fn write_taken(&mut self, group: GroupId, by: NodeId, ticket: u64, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if let Some(Waiting::Write(write)) = keyed.waiting.get_mut(&ticket) {
            write.tally.answered(by);
            self.finish_write(group, ticket, out);
        }
    }

    fn finish_write(&mut self, group: GroupId, ticket: u64, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(Waiting::Write(write)) = keyed.waiting.get_mut(&ticket) else { return };
        if write.tally.verdict() != Verdict::Met {
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
