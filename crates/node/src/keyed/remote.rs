//! What replicas of a convergent shard say to each other, at its receiver.

use althing_convergent::{Job, JoinError};
use althing_types::{GroupId, Instant, NodeId};
use bytes::Bytes;

use super::Waiting;
use super::rounds::PLANTED_AT_ONCE;
use crate::effects::Effects;
use crate::envelope::{KeyedMessage, Message};
use crate::node::Node;

impl Node {
    /// Another replica says something of a shard.
    pub(crate) fn keyed_message(
        &mut self,
        now: Instant,
        from: NodeId,
        group: GroupId,
        message: KeyedMessage,
        out: &mut Effects,
    ) {
        if let KeyedMessage::Taken { name, .. } | KeyedMessage::Refused { name } = message
            && self.lodged_taken(group, from, name)
        {
            return;
        }
        let Some(keyed) = self.keyed.get_mut(&group) else {
            // A replica that is not here, or not yet. Whoever sent a delta keeps it; whoever wants to compare need not wait.
            if let KeyedMessage::Attest { name } = message
                && !self.groups.contains_key(&group)
            {
                self.shared.peers.send(from, &Message::Keyed(group, KeyedMessage::Absent { name }));
            }
            return;
        };
        match message {
            KeyedMessage::Delta { name, delta } => {
                let ticket = keyed.ticket(Waiting::Taking(from, name));
                self.agenda.push(group, Job::Join { ticket, delta });
            }
            KeyedMessage::Taken { name, conf } => {
                self.acknowledged(group, from, name);
                self.write_taken(now, group, from, (name, conf), out);
            }
            KeyedMessage::Refused { name } => self.acknowledged(group, from, name),
            KeyedMessage::Ask { name, key } => {
                let ticket = keyed.ticket(Waiting::Asked(from, name));
                self.agenda.push(group, Job::Read { ticket, key });
            }
            KeyedMessage::State { name, conf, state } => {
                self.state_came(now, group, from, (name, conf), state, out);
            }
            KeyedMessage::Attest { name } => {
                let applied = self.knowledge(group).applied;
                self.asked(group, Waiting::Attested(from, name, applied), |ticket| Job::Attest { ticket });
            }
            KeyedMessage::Round { request } => self.round_asked(now, group, from, request, out),
            KeyedMessage::Rounded { answer } => self.acceptor_spoke(now, group, from, answer, out),
            KeyedMessage::Registers { name, after } => self.registers_asked(group, from, name, after),
            KeyedMessage::Copied { name, standing, registers, after } => {
                self.registers_came(group, from, (name, standing), registers, after);
            }
            KeyedMessage::Compare { name, question } => {
                self.asked(group, Waiting::Differs(from, name), |ticket| Job::Respond { ticket, question });
            }
            KeyedMessage::Want { name, wants } => {
                self.asked(group, Waiting::Wanted(from, name), |ticket| Job::States { ticket, wants });
            }
            KeyedMessage::Filled { standing, .. } => self.filled(group, from, standing),
            absent @ KeyedMessage::Absent { .. } => self.round_absent(now, group, from, &absent),
            KeyedMessage::Attested { .. } | KeyedMessage::Differs { .. } | KeyedMessage::States { .. } => {
                self.round_answered(now, group, from, message);
            }
        }
    }

    /// A job for another replica.
    fn asked(&mut self, group: GroupId, waiting: Waiting, job: impl FnOnce(u64) -> Job) {
        if let Some(keyed) = self.keyed.get_mut(&group) {
            let ticket = keyed.ticket(waiting);
            self.agenda.push(group, job(ticket));
        }
    }

    /// The hash tree of this replica is not there yet: it is made, and whoever has asked asks again.
    pub(super) fn plant(&mut self, group: GroupId) {
        self.asked(group, Waiting::Planting, |ticket| Job::Plant { ticket, budget: PLANTED_AT_ONCE });
    }

    /// A delta of another replica is durable here, or cannot be joined.
    pub(super) fn taken(&mut self, group: GroupId, from: NodeId, name: u64, result: &Result<(), JoinError>) {
        let message = match result {
            Ok(()) => KeyedMessage::Taken { name, conf: self.knowledge(group).logged },
            // It is sent again, and by then there may be room.
            Err(JoinError::TooManyGaps { .. }) => return,
            Err(JoinError::Decode(_) | JoinError::UnknownOwnEvent { .. } | JoinError::NotForOthers) => {
                self.shared.metrics.frames_refused += 1;
                KeyedMessage::Refused { name }
            }
        };
        self.shared.peers.send(from, &Message::Keyed(group, message));
    }

    pub(super) fn tell_state(&mut self, group: GroupId, to: NodeId, name: u64, state: Bytes) {
        let conf = self.knowledge(group).logged;
        self.shared.peers.send(to, &Message::Keyed(group, KeyedMessage::State { name, conf, state }));
    }
}
