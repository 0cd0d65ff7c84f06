//! Reads, at their coordinator.

use std::collections::BTreeSet;

use althing_api::ErrorKind;
use althing_api::keyed::{Access, KeyedAnswer};
use althing_clock::Coded as _;
use althing_convergent::{Job, evaluate, evaluate_beside};
use althing_datatypes::{Message as _, Op};
use althing_probe::Mutant;
use althing_quorum::Verdict;
use althing_types::{Duration, GroupId, Instant, NodeId, RequestId};
use bytes::Bytes;

use super::count::{Count, Knowledge};
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
    /// Who has said what it has.
    count: Count,
    /// What replicas have said.
    pub(super) states: Vec<(NodeId, Bytes)>,
    pub(super) deadline: Instant,
    pub(super) begun: Instant,
    /// Who was asked.
    asked: BTreeSet<NodeId>,
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

impl Read {
    /// Whether it is to be counted anew.
    pub(super) fn is_outdated(&self, known: Knowledge) -> bool {
        self.count.is_outdated(known)
    }
}

impl Node {
    pub(super) fn keyed_read(&mut self, now: Instant, group: GroupId, asked: Asked, out: &mut Effects) {
        let Asked { id, key, op, level, deadline, sight, .. } = asked;
        let level = level.unwrap_or_else(|| self.table_level(group, Access::Read));
        let mut alone = self.count(group, level);
        if !self.is_in_reach(now, group, alone.likely()) {
            return out.responses.push((id, Err(ErrorKind::ShardUnavailable.into())));
        }
        let (own, known) = (self.shared.node(), self.knowledge(group));
        alone.answered(own, known.logged, known.applied);
        if alone.is_met() && sight == Sight::Whole && !self.sessions.has(id) {
            let (now_ms, seed) = (self.shared.wall.at(now), self.shared.rng.u64(..));
            let Some(keyed) = self.keyed.get_mut(&group) else { return };
            let ticket = keyed.ticket(Waiting::Local(id, deadline));
            return self.agenda.push(group, Job::Execute { ticket, key, op, seen: None, now_ms, seed });
        }
        let (count, mut likely) = (self.count(group, level), alone.likely());
        likely.answered(own);
        // As many as are needed are asked, those that were heard lately first.
        let mut others: Vec<_> = self.replicas_of(group).everybody().into_iter().filter(|node| *node != own).collect();
        others.sort_by_key(|node| !self.shared.peers.is_heard(now, *node));
        let mut asked = BTreeSet::from([own]);
        others.reverse();
        while likely.verdict() != Verdict::Met
            && let Some(node) = others.pop()
        {
            likely.answered(node);
            asked.insert(node);
        }
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let to: Vec<_> = asked.iter().copied().filter(|node| *node != own).collect();
        let read = Read { id, key: key.clone(), op, count, states: Vec::new(), deadline, begun: now, asked, sight };
        let ticket = keyed.ticket(Waiting::Read(Box::new(read)));
        self.agenda.push(group, Job::Read { ticket, key: key.clone() });
        for node in to {
            let message = KeyedMessage::Ask { name: ticket, key: key.clone() };
            self.shared.peers.send(node, &Message::Keyed(group, message));
        }
    }

    /// Reads that take long are asked of everybody.
    pub(super) fn ask_more(&mut self, now: Instant, group: GroupId) {
        let sessions = &mut self.sessions;
        let Some(keyed) = self.keyed.get(&group) else { return };
        let mut lacking = Vec::new();
        for (ticket, waiting) in &keyed.waiting {
            if let Waiting::Read(read) = waiting
                && sessions.asks_again(now, read.id)
            {
                lacking.push((*ticket, read.key.clone()));
            }
        }
        for (ticket, key) in lacking {
            self.ask_again(group, ticket, &key);
        }
        let Some(keyed) = self.keyed.get(&group) else { return };
        let is_slow = |read: &Read| now.since(read.begun) >= HEDGE_AFTER;
        let slow = keyed.waiting.iter().filter(|(_, waiting)| matches!(waiting, Waiting::Read(read) if is_slow(read)));
        let slow: Vec<u64> = slow.map(|(ticket, _)| *ticket).collect();
        slow.into_iter().for_each(|ticket| self.ask_everybody(group, ticket));
    }

    /// A read is asked of whoever was not asked yet.
    fn ask_everybody(&mut self, group: GroupId, ticket: u64) {
        let everybody = self.replicas_of(group).everybody();
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(Waiting::Read(read)) = keyed.waiting.get_mut(&ticket) else { return };
        for node in everybody.into_iter().filter(|node| read.asked.insert(*node)) {
            let message = KeyedMessage::Ask { name: ticket, key: read.key.clone() };
            self.shared.peers.send(node, &Message::Keyed(group, message));
        }
    }

    /// All replicas are asked for a key again.
    fn ask_again(&mut self, group: GroupId, ticket: u64, key: &Bytes) {
        let own = self.shared.node();
        for node in self.replicas_of(group).everybody() {
            if node == own {
                self.agenda.push(group, Job::Read { ticket, key: key.clone() });
            } else {
                let message = KeyedMessage::Ask { name: ticket, key: key.clone() };
                self.shared.peers.send(node, &Message::Keyed(group, message));
            }
        }
    }

    /// The replicas are others than when the read began: it is counted by what is known now, and asked of all.
    pub(super) fn renew_read(&mut self, group: GroupId, ticket: u64, known: Knowledge) {
        let Some(Waiting::Read(read)) = self.keyed.get(&group).and_then(|keyed| keyed.waiting.get(&ticket)) else {
            return;
        };
        let requirement = self.requirement(group, read.count.level());
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(Waiting::Read(read)) = keyed.waiting.get_mut(&ticket) else { return };
        read.count.renew(requirement, known);
        self.ask_everybody(group, ticket);
    }

    /// A replica has said what it has of a key.
    pub(super) fn state_came(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        (ticket, conf): (u64, u64),
        state: Bytes,
        out: &mut Effects,
    ) {
        let known = self.knowledge(group);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(Waiting::Read(read)) = keyed.waiting.get_mut(&ticket) else { return };
        // One that is asked again, as it lacked what a session has seen, has more to say.
        read.states.retain(|(node, _)| *node != from);
        read.states.push((from, state));
        if !read.count.has_answered(from) {
            read.count.answered(from, conf, known.applied);
        }
        if read.count.is_outdated(known) {
            self.renew_read(group, ticket, known);
        }
        if conf > known.applied {
            self.wake(group);
        }
        self.finish_read(now, group, ticket, out);
    }

    /// If enough have answered, the client is.
    pub(super) fn finish_read(&mut self, now: Instant, group: GroupId, ticket: u64, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(Waiting::Read(read)) = keyed.waiting.get(&ticket) else { return };
        let is_met = read.count.is_met() || althing_probe::is(Mutant::ReadFirstAnswer);
        if !is_met || !self.sessions.is_covered(group, read) {
            return;
        }
        if let Some(Waiting::Read(read)) = keyed.waiting.remove(&ticket) {
            self.evaluate_read(now, group, *read, out);
        }
    }

    /// Enough have answered: the client is told what they know together, and each of them what it lacked.
    fn evaluate_read(&mut self, now: Instant, group: GroupId, read: Read, out: &mut Effects) {
        let (now_ms, seed) = (self.shared.wall.at(now), self.shared.rng.u64(..));
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
