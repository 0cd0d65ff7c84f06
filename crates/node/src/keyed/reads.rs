//! Reads, at their coordinator.

use althing_api::ErrorKind;
use althing_api::keyed::{Access, KeyedAnswer};
use althing_convergent::{Job, evaluate};
use althing_datatypes::{Message as _, Op};
use althing_probe::Mutant;
use althing_quorum::{Tally, Verdict};
use althing_types::{Duration, GroupId, Instant, NodeId, RequestId};
use bytes::Bytes;

use super::{Asked, Waiting};
use crate::effects::Effects;
use crate::envelope::{KeyedMessage, Message};
use crate::node::Node;

/// How long the replicas that were asked first may take before the others are asked as well.
const HEDGE_AFTER: Duration = Duration::from_millis(100);

/// A read that a client waits for.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) id: RequestId,
    key: Bytes,
    op: Op,
    tally: Tally,
    /// What replicas have said.
    states: Vec<(NodeId, Bytes)>,
    pub(super) deadline: Instant,
    begun: Instant,
    /// Who was not asked yet.
    spare: Vec<NodeId>,
}

impl Node {
    pub(super) fn keyed_read(&mut self, now: Instant, group: GroupId, asked: Asked, out: &mut Effects) {
        let Asked { id, key, op, level, deadline } = asked;
        let level = level.unwrap_or_else(|| self.table_level(group, Access::Read));
        let tally = Tally::new(self.requirement(group, level));
        if !self.is_in_reach(now, group, &tally) {
            return out.responses.push((id, Err(ErrorKind::ShardUnavailable.into())));
        }
        let own = self.shared.node();
        let mut alone = tally.clone();
        alone.answered(own);
        if alone.verdict() == Verdict::Met {
            let (now_ms, seed) = (self.wall.at(now), self.shared.rng.u64(..));
            let Some(keyed) = self.keyed.get_mut(&group) else { return };
            let ticket = keyed.ticket(Waiting::Local(id, deadline));
            return keyed.jobs.push(Job::Execute { ticket, key, op, seen: None, now_ms, seed });
        }
        // As many as are needed are asked, those that were heard lately first.
        let mut others: Vec<_> = self.replicas_of(group).everybody().into_iter().filter(|node| *node != own).collect();
        others.sort_by_key(|node| !self.shared.peers.is_heard(now, *node));
        let mut asked = Vec::new();
        others.reverse();
        while alone.verdict() != Verdict::Met
            && let Some(node) = others.pop()
        {
            alone.answered(node);
            asked.push(node);
        }
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let read = Read { id, key: key.clone(), op, tally, states: Vec::new(), deadline, begun: now, spare: others };
        let ticket = keyed.ticket(Waiting::Read(read));
        keyed.jobs.push(Job::Read { ticket, key: key.clone() });
        for node in asked {
            let message = KeyedMessage::Ask { name: ticket, key: key.clone() };
            self.shared.peers.send(node, &Message::Keyed(group, message));
        }
    }

    /// Reads that take long are asked of everybody.
    pub(super) fn ask_more(&mut self, now: Instant, group: GroupId) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        for (ticket, waiting) in &mut keyed.waiting {
            let Waiting::Read(read) = waiting else { continue };
            if now.since(read.begun) >= HEDGE_AFTER {
                for node in read.spare.drain(..) {
                    let message = KeyedMessage::Ask { name: *ticket, key: read.key.clone() };
                    self.shared.peers.send(node, &Message::Keyed(group, message));
                }
            }
        }
    }

    /// A replica has said what it has of a key.
    pub(super) fn state_came(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        ticket: u64,
        state: Bytes,
        out: &mut Effects,
    ) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(Waiting::Read(read)) = keyed.waiting.get_mut(&ticket) else { return };
        if read.tally.has_answered(from) {
            return;
        }
        read.tally.answered(from);
        read.states.push((from, state));
        if read.tally.verdict() != Verdict::Met && !althing_probe::is(Mutant::ReadFirstAnswer) {
            return;
        }
        if let Some(Waiting::Read(read)) = keyed.waiting.remove(&ticket) {
            self.evaluate_read(now, group, read, out);
        }
    }

    /// Enough have answered: the client is told what they know together, and each of them what it lacked.
    fn evaluate_read(&mut self, now: Instant, group: GroupId, read: Read, out: &mut Effects) {
        let (now_ms, seed) = (self.wall.at(now), self.shared.rng.u64(..));
        let (nodes, states): (Vec<_>, Vec<_>) = read.states.into_iter().unzip();
        match evaluate(&read.op, &states, now_ms, seed) {
            Ok(evaluated) => {
                let answer = match &evaluated.reply {
                    Ok(_) => KeyedAnswer::Operated(evaluated.reply.encode()),
                    Err(_) => KeyedAnswer::Refused(evaluated.reply.encode()),
                };
                self.keyed_answer(read.id, answer, out);
                for (node, delta) in nodes.into_iter().zip(evaluated.missing) {
                    if let Some(delta) = delta {
                        self.repair(now, group, node, delta);
                    }
                }
            }
            Err(error) => {
                out.responses.push((read.id, Err(ErrorKind::Storage(error.to_string()).into())));
            }
        }
    }
}
