//! Deltas that other replicas have not acknowledged. They are kept and sent again until they are.

use std::collections::BTreeMap;

use althing_convergent::Job;
use althing_probe::Mutant;
use althing_types::{Duration, GroupId, Instant, NodeId};
use bytes::Bytes;

use super::Waiting;
use crate::envelope::{KeyedMessage, Message};
use crate::node::Node;

/// How long a delta may be on its way before it is sent again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Bytes of deltas that are kept for one replica. What is more is forgotten here; repair brings it.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Bytes that are sent again at one tick.
const AGAIN_BYTES: usize = 1024 * 1024;

/// What one replica has not acknowledged, by the names of the deltas.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    deltas: BTreeMap<u64, Sent>,
    bytes: usize,
}

#[derive(Debug)]
struct Sent {
    delta: Bytes,
    at: Instant,
}

impl Outstanding {
    fn keep(&mut self, now: Instant, name: u64, delta: Bytes) {
        if self.bytes + delta.len() <= MAX_BYTES {
            self.bytes += delta.len();
            self.deltas.insert(name, Sent { delta, at: now });
        }
    }

    fn forget(&mut self, name: u64) {
        if let Some(sent) = self.deltas.remove(&name) {
            self.bytes -= sent.delta.len();
        }
    }

    /// What is due, oldest first.
    fn due(&mut self, now: Instant) -> Vec<(u64, Bytes)> {
        let mut due = Vec::new();
        let mut bytes = 0;
        for (name, sent) in self.deltas.iter_mut().filter(|(_, sent)| now.since(sent.at) >= AGAIN_AFTER) {
            if bytes >= AGAIN_BYTES {
                break;
            }
            bytes += sent.delta.len();
            sent.at = now;
            due.push((*name, sent.delta.clone()));
        }
        due
    }
}

impl Node {
    /// Everybody else gets a delta that no client waits for.
    pub(super) fn spread(&mut self, now: Instant, group: GroupId, delta: Bytes) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.last_ticket += 1;
        let name = keyed.last_ticket;
        self.spread_as(now, group, name, delta);
    }

    /// Everybody else gets a delta under this name.
    pub(super) fn spread_as(&mut self, now: Instant, group: GroupId, name: u64, delta: Bytes) {
        for node in self.audience(group) {
            self.send_delta(now, group, node, name, delta.clone());
        }
    }

    /// One replica gets what it lacks.
    pub(super) fn repair(&mut self, now: Instant, group: GroupId, node: NodeId, delta: Bytes) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if node == self.shared.config.node {
            let ticket = keyed.ticket(Waiting::Nobody);
            keyed.jobs.push(Job::Join { ticket, delta });
        } else {
            keyed.last_ticket += 1;
            let name = keyed.last_ticket;
            self.send_delta(now, group, node, name, delta);
        }
    }

    fn send_delta(&mut self, now: Instant, group: GroupId, node: NodeId, name: u64, delta: Bytes) {
        let message = KeyedMessage::Delta { name, delta: delta.clone() };
        self.shared.peers.send(node, &Message::Keyed(group, message));
        if let Some(keyed) = self.keyed.get_mut(&group) {
            keyed.outstanding.entry(node).or_default().keep(now, name, delta);
        }
    }

    /// A replica has a delta, or says that it will never take it.
    pub(super) fn acknowledged(&mut self, group: GroupId, node: NodeId, name: u64) {
        if let Some(outstanding) = self.keyed.get_mut(&group).and_then(|keyed| keyed.outstanding.get_mut(&node)) {
            outstanding.forget(name);
        }
    }

    /// Whether a replica that is to leave has a write that nobody else has said to have: it was acknowledged at the level ONE, perhaps,
    /// and whoever it can tell must have it first.
    pub(crate) fn owes(&self, group: GroupId) -> bool {
        let Some(keyed) = self.keyed.get(&group) else { return false };
        let audience = self.audience(group);
        let mut owed = keyed.outstanding.iter().filter(|(node, _)| audience.contains(node)).map(|(_, one)| &one.deltas);
        let Some(first) = owed.next() else { return false };
        let others: Vec<_> = owed.collect();
        first.keys().any(|name| others.iter().all(|deltas| deltas.contains_key(name)))
    }

    /// What was not acknowledged goes out once more to those who are there; what was meant for who is no replica any more is forgotten.
    pub(super) fn send_again(&mut self, now: Instant, group: GroupId) {
        if althing_probe::is(Mutant::DropRetries) {
            return;
        }
        if self.keyed.get(&group).is_none_or(|keyed| keyed.outstanding.values().all(|one| one.deltas.is_empty())) {
            return;
        }
        let audience = self.audience(group);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.outstanding.retain(|node, _| audience.contains(node));
        for (node, outstanding) in &mut keyed.outstanding {
            if !self.shared.peers.is_heard(now, *node) {
                continue;
            }
            for (name, delta) in outstanding.due(now) {
                self.shared.peers.send(*node, &Message::Keyed(group, KeyedMessage::Delta { name, delta }));
            }
        }
    }
}
