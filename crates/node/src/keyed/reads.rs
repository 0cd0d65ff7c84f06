//! Reads, at their coordinator.

use althing_api::ErrorKind;
use althing_api::keyed::{Access, KeyedAnswer};
use althing_clock::Coded as _;
use althing_convergent::{Job, evaluate, evaluate_beside};
use althing_datatypes::{Message as _, Op};
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
    pub(super) key: Bytes,
    pub(super) op: Op,
    tally: Tally,
    /// What replicas have said.
    pub(super) states: Vec<(NodeId, Bytes)>,
    pub(super) deadline: Instant,
    pub(super) begun: Instant,
    /// Who was not asked yet.
    spare: Vec<NodeId>,
    sight: Sight,
}

/// What a read sees of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// All.
    Whole,
    /// What is there beside a string: that there is none, a round has said.
    Beside,
    /// Concurrent values, one by one.
    Siblings,
}

impl Node {
    pub(super) fn keyed_read(&mut self, now: Instant, group: GroupId, asked: Asked, out: &mut Effects) {
        let Asked { id, key, op, level, deadline, sight, .. } = asked;
        let level = level.unwrap_or_else(|| self.table_level(group, Access::Read));
        let tally = Tally::new(self.requirement(group, level));
        if !self.is_in_reach(now, group, &tally) {
            return out.responses.push((id, Err(ErrorKind::ShardUnavailable.into())));
        }
        let own = self.shared.node();
        let mut alone = tally.clone();
        alone.answered(own);
        if alone.verdict() == Verdict::Met && sight == Sight::Whole && !self.sessions.has(id) {
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
        let read = Read { id, key: key.clone(), op, tally, states: Vec::new(), deadline, begun: now, spare: others, sight };
        let ticket = keyed.ticket(Waiting::Read(read));
        keyed.jobs.push(Job::Read { ticket, key: key.clone() });
        for node in asked {
            let message = KeyedMessage::Ask { name: ticket, key: key.clone() };
            self.shared.peers.send(node, &Message::Keyed(group, message));
        }
    }

    /// Reads that take long are asked of everybody.
    pub(super) fn ask_more(&mut self, now: Instant, group: GroupId) {
        let mut again = Vec::new();
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        for (ticket, waiting) in &mut keyed.waiting {
            let Waiting::Read(read) = waiting else { continue };
            if self.sessions.asks_again(now, read.id) {
                again.push((*ticket, read.key.clone()));
            }
            if now.since(read.begun) >= HEDGE_AFTER {
                for node in read.spare.drain(..) {
                    let message = KeyedMessage::Ask { name: *ticket, key: read.key.clone() };
                    self.shared.peers.send(node, &Message::Keyed(group, message));
                }
            }
        }
        for (ticket, key) in again {
            self.ask_everybody(group, ticket, &key);
        }
    }

    /// All replicas are asked for a key again.
    fn ask_everybody(&mut self, group: GroupId, ticket: u64, key: &Bytes) {
        let own = self.shared.node();
        for node in self.replicas_of(group).everybody() {
            if node == own {
                let Some(keyed) = self.keyed.get_mut(&group) else { return };
                keyed.jobs.push(Job::Read { ticket, key: key.clone() });
            } else {
                let message = KeyedMessage::Ask { name: ticket, key: key.clone() };
                self.shared.peers.send(node, &Message::Keyed(group, message));
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
        // One that is asked again, as it lacked what a session has seen, has more to say.
        read.states.retain(|(node, _)| *node != from);
        read.tally.answered(from);
        read.states.push((from, state));
        if read.tally.verdict() != Verdict::Met || !self.sessions.is_covered(group, read) {
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
        let evaluated = match read.sight {
            Sight::Whole | Sight::Siblings => evaluate(&read.op, &states, now_ms, seed),
            Sight::Beside => evaluate_beside(&read.op, &states, now_ms, seed),
        };
        match evaluated {
            Ok(evaluated) => {
                let answer = match (&evaluated.reply, read.sight) {
                    (_, Sight::Siblings) => KeyedAnswer::Siblings {
                        values: evaluated.state.siblings().cloned().collect(),
                        context: evaluated.context.encode(),
                    },
                    (Ok(_), Sight::Whole | Sight::Beside) => KeyedAnswer::Operated(evaluated.reply.encode()),
                    (Err(_), Sight::Whole | Sight::Beside) => KeyedAnswer::Refused(evaluated.reply.encode()),
                };
                self.sessions.see(group, read.id, &evaluated.known);
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
