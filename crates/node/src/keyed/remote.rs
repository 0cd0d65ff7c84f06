//! What replicas of a convergent shard say to each other, at its receiver.

use althing_convergent::{Job, JoinError};
use althing_types::{GroupId, Instant, NodeId};
use bytes::Bytes;

use super::Waiting;
use super::rounds::{Names, Side};
use crate::effects::Effects;
use crate::envelope::{KeyedMessage, Message};
use crate::node::Node;

/// Names of keys that another replica is told at once. As many as it compares at once.
const NAMED_AT_ONCE: usize = 64;

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
        let Some(keyed) = self.keyed.get_mut(&group) else {
            // A replica that is not here, or not yet. Whoever sent a delta keeps it.
            return;
        };
        match message {
            KeyedMessage::Delta { name, delta } => {
                let ticket = keyed.ticket(Waiting::Taking(from, name));
                keyed.jobs.push(Job::Join { ticket, delta });
            }
            KeyedMessage::Taken { name } => {
                self.acknowledged(group, from, name);
                self.write_taken(group, from, name, out);
            }
            KeyedMessage::Refused { name } => self.acknowledged(group, from, name),
            KeyedMessage::Ask { name, key } => {
                let ticket = keyed.ticket(Waiting::Asked(from, name));
                keyed.jobs.push(Job::Read { ticket, key });
            }
            KeyedMessage::State { name, state } => {
                self.their_state_came(now, group, from, name, &state);
                self.state_came(now, group, from, name, state, out);
            }
            KeyedMessage::Attest { name } => {
                let ticket = keyed.ticket(Waiting::Attested(from, name));
                keyed.jobs.push(Job::Attest { ticket });
            }
            KeyedMessage::Round { request } => self.round_asked(now, group, from, request, out),
            KeyedMessage::Rounded { answer } => self.round_answered(now, group, from, answer, out),
            KeyedMessage::Registers { name, after } => self.registers_asked(group, from, name, after),
            KeyedMessage::Copied { name, standing, registers, after } => {
                self.registers_came(group, from, (name, standing), registers, after);
            }
            KeyedMessage::Filled { .. } => self.with(now, group, out, |group, _| group.values_filled(from)),
            KeyedMessage::Attested { name, delta } => self.attested_came(now, group, name, Side::Theirs, delta),
            KeyedMessage::Name { name, after } => {
                let ticket = keyed.ticket(Waiting::Named(from, name));
                keyed.jobs.push(Job::Names { ticket, after, count: NAMED_AT_ONCE });
            }
            KeyedMessage::Names { name, keys, after } => {
                self.names_came(now, group, name, Names { whose: Side::Theirs, keys, after });
            }
        }
    }

    /// A delta of another replica is durable here, or cannot be joined.
    pub(super) fn taken(&mut self, group: GroupId, from: NodeId, name: u64, result: &Result<(), JoinError>) {
        let message = match result {
            Ok(()) => KeyedMessage::Taken { name },
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
        self.shared.peers.send(to, &Message::Keyed(group, KeyedMessage::State { name, state }));
    }
}
