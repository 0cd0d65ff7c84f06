//! Deltas that other replicas have not acknowledged: hints, in Dynamo's word. They are kept and sent again until they are.
//!
//! They outlive their coordinator at no cost. Each is in its log, synced before any client was told; so the log is let go only
//! as far as all have acknowledged, and what was not is read back from it after a crash. What is written besides, and
//! never waited for, is now and then how far each other replica has come ([`Acknowledged`]), so that not all of it is sent again.
//!
//! That has bounds: of [`MAX_BYTES`] in memory for one replica of a shard and of [`HintRoom`] for all of them, and of what one shard
//! may keep alive of the log (`limits::MAX_WAL_PINNED_BYTES`). What is beyond is sent once and not kept; a round of repair brings it,
//! soon if the replica is there, or when it is back.

use std::collections::BTreeMap;

use althing_codec::{DecodeError, Reader, Writer};
use althing_convergent::Job;
use althing_probe::Mutant;
use althing_storage::wal::{Record, RecordKind};
use althing_types::{Duration, GroupId, Instant, NodeId};
use bytes::Bytes;

use super::{Waiting, delta_log};
use crate::effects::Effects;
use crate::envelope::{KeyedMessage, Message};
use crate::node::Node;

/// How long a delta may be on its way before it is sent again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Bytes of deltas that are kept for one replica. What is more is forgotten here; repair brings it.
const MAX_BYTES: usize = 32 * 1024 * 1024;
const _: () = assert!(crate::config::DEFAULT_HINT_BYTES >= MAX_BYTES);
/// Bytes that are sent again at one tick.
const AGAIN_BYTES: usize = 1024 * 1024;
/// Bytes of deltas that are logged before it is written how far the others have come: as many are sent again in vain after a crash.
const NOTE_EVERY_BYTES: usize = 1024 * 1024;
/// Replicas in one record of how far they have come: far more than any shard has.
const MAX_REPLICAS: usize = 1024;

const VERSION: u8 = 1;

/// What one replica has not acknowledged, by the names of the deltas.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    deltas: BTreeMap<u64, Sent>,
    bytes: usize,
}

/// How many bytes of hints a node keeps, of all its shards together: a node that is away is away for a thousand of them at once.
#[derive(Debug)]
pub(crate) struct HintRoom {
    taken: usize,
    most: usize,
}

impl HintRoom {
    /// Room for so many bytes.
    pub(crate) const fn new(most: usize) -> Self {
        Self { taken: 0, most }
    }

    /// Bytes that are taken.
    pub(crate) const fn taken(&self) -> usize {
        self.taken
    }

    /// Takes room, if there is enough.
    fn take(&mut self, bytes: usize) -> bool {
        let is_enough = self.taken + bytes <= self.most;
        self.taken += if is_enough { bytes } else { 0 };
        is_enough
    }

    /// What was taken is free again.
    const fn give(&mut self, bytes: usize) {
        self.taken -= bytes;
    }
}

/// Whether a delta is kept until it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    Yes,
    /// There is no room.
    No,
}

#[derive(Debug)]
struct Sent {
    delta: Bytes,
    at: Instant,
    logged: Logged,
}

/// Where a delta stands in this replica's log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Logged {
    /// At this index: it was written here.
    At(u64),
    /// Nowhere: it is a repair, which others can make again.
    Not,
}

impl Outstanding {
    fn keep(&mut self, room: &mut HintRoom, now: Instant, name: u64, delta: Bytes, logged: Logged) -> Kept {
        if self.bytes + delta.len() > MAX_BYTES || !room.take(delta.len()) {
            return Kept::No;
        }
        self.bytes += delta.len();
        self.deltas.insert(name, Sent { delta, at: now, logged });
        Kept::Yes
    }

    fn forget(&mut self, room: &mut HintRoom, name: u64) {
        if let Some(sent) = self.deltas.remove(&name) {
            self.bytes -= sent.delta.len();
            room.give(sent.delta.len());
        }
    }

    /// Nobody is to get them any more.
    pub(super) fn drop_all(self, room: &mut HintRoom) {
        room.give(self.bytes);
    }

    /// Whether a delta of this name waits for its acknowledgement.
    pub(super) fn has(&self, name: u64) -> bool {
        self.deltas.contains_key(&name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    /// How many there are, and their bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.deltas.len() as u64, self.bytes as u64)
    }

    /// The first index of the log that it lacks.
    fn lacks(&self) -> Option<u64> {
        let index = |sent: &Sent| match sent.logged {
            Logged::At(index) => Some(index),
            Logged::Not => None,
        };
        self.deltas.values().filter_map(index).min()
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

/// How far other replicas have come with a replica's own deltas: each has all up to an index of its log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Acknowledged(pub(crate) BTreeMap<NodeId, u64>);

impl Acknowledged {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(2 + 12 * self.0.len());
        writer.u8(VERSION);
        writer.u64(self.0.len() as u64);
        for (node, index) in &self.0 {
            writer.u64(node.get());
            writer.u64(*index);
        }
        writer.finish()
    }

    /// From its bytes.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let found = reader.u8("the version of what was acknowledged")?;
        if found != VERSION {
            let (what, found, known) = ("what was acknowledged", u64::from(found), u64::from(VERSION));
            return Err(DecodeError::Version { what, found, known });
        }
        let count = reader.count("replicas that have acknowledged")?;
        if count > MAX_REPLICAS {
            return Err(DecodeError::Unknown { field: "replicas that have acknowledged", value: count as u64 });
        }
        let mut all = BTreeMap::new();
        for _ in 0..count {
            let node = NodeId(reader.u64("a replica that has acknowledged")?);
            all.insert(node, reader.u64("how far it has")?);
        }
        reader.finish()?;
        Ok(Self(all))
    }

    /// Below this index, or at it, nobody lacks anything, as far as it is known.
    pub(crate) fn by_all(&self) -> u64 {
        self.0.values().min().copied().unwrap_or(0)
    }
}

/// What of the log was found after a start that others may lack.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hints {
    /// Deltas that were written here, by their indices.
    pub(crate) deltas: Vec<(u64, Bytes)>,
    /// How far the others had come.
    pub(crate) acknowledged: Acknowledged,
}

impl Hints {
    /// Bytes that are read back at the most: as many as one replica may lack.
    pub(crate) const MAX_BYTES: usize = MAX_BYTES;
}

impl Node {
    /// Everybody else gets a delta that no client waits for.
    pub(super) fn spread(&mut self, now: Instant, group: GroupId, index: u64, delta: Bytes) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.last_ticket += 1;
        let name = keyed.last_ticket;
        self.spread_as(now, group, name, index, delta);
    }

    /// Everybody else gets a delta under this name, which stands at this index of the log.
    pub(super) fn spread_as(&mut self, now: Instant, group: GroupId, name: u64, index: u64, delta: Bytes) {
        for node in self.audience(group) {
            self.send_delta(now, group, node, name, delta.clone(), Logged::At(index));
        }
        self.note_acknowledged(group, delta.len());
    }

    /// One replica gets what it lacks.
    pub(super) fn repair(&mut self, now: Instant, group: GroupId, node: NodeId, delta: Bytes) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if node == self.shared.config.node {
            let ticket = keyed.ticket(Waiting::Nobody);
            self.agenda.push(group, Job::Join { ticket, delta });
        } else {
            keyed.last_ticket += 1;
            let name = keyed.last_ticket;
            self.send_delta(now, group, node, name, delta, Logged::Not);
        }
    }

    pub(super) fn send_delta(
        &mut self,
        now: Instant,
        group: GroupId,
        node: NodeId,
        name: u64,
        delta: Bytes,
        logged: Logged,
    ) {
        let message = KeyedMessage::Delta { name, delta: delta.clone() };
        self.shared.peers.send(node, &Message::Keyed(group, message));
        if let Some(keyed) = self.keyed.get_mut(&group) {
            let outstanding = keyed.outstanding.entry(node).or_default();
            if outstanding.keep(&mut self.hint_room, now, name, delta, logged) == Kept::No {
                keyed.rounds.forgo(node);
                self.shared.metrics.hints_forgone += 1;
            }
            self.agenda.wake(group);
        }
    }

    /// A replica has a delta, or says that it will never take it.
    pub(super) fn acknowledged(&mut self, group: GroupId, node: NodeId, name: u64) {
        if let Some(outstanding) = self.keyed.get_mut(&group).and_then(|keyed| keyed.outstanding.get_mut(&node)) {
            outstanding.forget(&mut self.hint_room, name);
        }
    }

    /// Whether a replica that is to leave has a write that nobody else has said to have: it was acknowledged at the level ONE, perhaps,
    /// and whoever it can tell must have it first.
    pub(crate) fn owes(&self, group: GroupId) -> bool {
        let Some(keyed) = self.keyed.get(&group) else { return false };
        let audience = self.audience(group);
        let owed = keyed.outstanding.iter().filter(|(node, _)| audience.contains(node));
        let owed: Vec<_> = owed.map(|(_, outstanding)| outstanding).collect();
        let Some(first) = owed.first() else { return false };
        let own = first.deltas.iter().filter(|(_, sent)| sent.logged != Logged::Not);
        own.into_iter().any(|(name, _)| owed.iter().all(|outstanding| outstanding.has(*name)))
    }

    /// What was not acknowledged goes out once more to those who are there; what was meant for who is no replica any more is forgotten.
    pub(super) fn send_again(&mut self, now: Instant, group: GroupId) {
        self.send_found(group);
        if althing_probe::is(Mutant::DropRetries) {
            return;
        }
        if self.keyed.get(&group).is_none_or(|keyed| keyed.outstanding.values().all(Outstanding::is_empty)) {
            return;
        }
        let audience = self.audience(group);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        for (_, outstanding) in keyed.outstanding.extract_if(.., |node, _| !audience.contains(node)) {
            outstanding.drop_all(&mut self.hint_room);
        }
        for (node, outstanding) in &mut keyed.outstanding {
            if !self.shared.peers.is_heard(now, *node) {
                continue;
            }
            for (name, delta) in outstanding.due(now) {
                self.shared.metrics.hints_sent += 1;
                self.shared.peers.send(*node, &Message::Keyed(group, KeyedMessage::Delta { name, delta }));
            }
        }
    }

    /// What was found in the log after a start is kept for those who have not acknowledged it. They are sent it with the next tick.
    fn send_found(&mut self, group: GroupId) {
        let found = self.keyed.get_mut(&group).and_then(|keyed| keyed.found.take());
        let Some(Hints { deltas, acknowledged }) = found else { return };
        let audience = self.audience(group);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let long_ago = Instant::ZERO;
        for (index, delta) in deltas {
            keyed.last_ticket += 1;
            for node in audience.iter().filter(|node| acknowledged.0.get(node).is_none_or(|last| *last < index)) {
                let outstanding = keyed.outstanding.entry(*node).or_default();
                let (name, logged) = (keyed.last_ticket, Logged::At(index));
                match outstanding.keep(&mut self.hint_room, long_ago, name, delta.clone(), logged) {
                    Kept::Yes => self.shared.metrics.hints_found += 1,
                    Kept::No => {
                        keyed.rounds.forgo(*node);
                        self.shared.metrics.hints_forgone += 1;
                    }
                }
            }
        }
        keyed.noted = NOTE_EVERY_BYTES;
        self.note_acknowledged(group, 0);
    }

    /// So many bytes were logged: now and then how far the others have come is logged, too. Nobody waits for that.
    fn note_acknowledged(&mut self, group: GroupId, bytes: usize) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.noted += bytes;
        if keyed.noted < NOTE_EVERY_BYTES {
            return;
        }
        keyed.noted = 0;
        let durable = keyed.durable;
        let audience = self.audience(group);
        let Some(keyed) = self.keyed.get(&group) else { return };
        let has = |node: &NodeId| {
            keyed.outstanding.get(node).and_then(Outstanding::lacks).map_or(durable, |index| durable.min(index - 1))
        };
        let acknowledged = Acknowledged(audience.into_iter().map(|node| (node, has(&node))).collect());
        let (group, payload) = (delta_log(group), acknowledged.encode());
        self.shared.wal.push(Record { group, kind: RecordKind::Acknowledged, index: 0, payload });
    }

    /// From which index on the log of a shard's deltas is kept.
    fn keep_deltas_from(&self, group: GroupId) -> Option<(GroupId, u64)> {
        let keyed = self.keyed.get(&group)?;
        let lacking = keyed.outstanding.values().filter_map(Outstanding::lacks);
        let found = keyed.found.iter().flat_map(|found| found.deltas.first().map(|(index, _)| *index));
        let lacked = lacking.chain(found).filter(|index| *index > keyed.forgone).min();
        let from = (keyed.checkpointed + 1).min(lacked.unwrap_or(u64::MAX));
        Some((delta_log(group), from))
    }

    /// A checkpoint holds what replicas have taken up to an index: the log need hold no more than what others lack.
    pub(crate) fn keyed_checkpointed(
        &mut self,
        spaces: &BTreeMap<althing_types::SpaceId, althing_storage::engine::Applied>,
        out: &mut Effects,
    ) {
        for keyed in self.keyed.values_mut() {
            if let Some(applied) = spaces.get(&keyed.space) {
                keyed.checkpointed = applied.index;
            }
        }
        out.wal_release.extend(self.keyed.keys().filter_map(|group| self.keep_deltas_from(*group)));
    }

    /// The log cannot give its oldest segment back because of a shard's deltas. They are not written again: a checkpoint has them, and
    /// whoever lacks some will have to be repaired if this node crashes.
    pub(crate) fn deltas_pinned(&mut self, group: GroupId) {
        self.shared.wal.want_checkpoint();
        if let Some(keyed) = self.keyed.get_mut(&group) {
            keyed.forgone = keyed.durable;
            self.released.extend(self.keep_deltas_from(group));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_acknowledged_is_read_as_it_was_written(all in proptest::collection::btree_map(any::<u64>(), any::<u64>(), 0..5)) {
            let all = Acknowledged(all.into_iter().map(|(node, index)| (NodeId(node), index)).collect());
            prop_assert_eq!(Acknowledged::decode(all.encode()), Ok(all));
        }

        #[test]
        fn hostile_bytes_are_refused(bytes: Vec<u8>) {
            let _ = Acknowledged::decode(bytes.into());
        }
    }

    #[test]
    fn what_is_lacked_is_the_first_that_was_not_acknowledged_in_any_order() {
        let (mut outstanding, mut room) = (Outstanding::default(), HintRoom::new(100));
        for (name, index) in [(4, 9), (5, 7), (6, 8)] {
            outstanding.keep(&mut room, Instant::ZERO, name, Bytes::from_static(b"d"), Logged::At(index));
        }
        outstanding.keep(&mut room, Instant::ZERO, 7, Bytes::from_static(b"repair"), Logged::Not);
        assert_eq!(outstanding.lacks(), Some(7));
        outstanding.forget(&mut room, 5);
        outstanding.forget(&mut room, 6);
        assert_eq!(outstanding.lacks(), Some(9));
        outstanding.forget(&mut room, 4);
        assert_eq!((outstanding.lacks(), outstanding.is_empty()), (None, false));
        assert_eq!(room.taken(), b"repair".len());
    }

    #[test]
    fn replicas_share_the_room_of_their_node_and_give_back_what_they_took() {
        let mut room = HintRoom::new(10);
        let (mut one, mut other) = (Outstanding::default(), Outstanding::default());
        let keep = |outstanding: &mut Outstanding, name, bytes: usize, room: &mut HintRoom| {
            outstanding.keep(room, Instant::ZERO, name, vec![0; bytes].into(), Logged::At(name))
        };
        assert_eq!(keep(&mut one, 1, 6, &mut room), Kept::Yes);
        assert_eq!(keep(&mut other, 1, 5, &mut room), Kept::No);
        assert_eq!(keep(&mut other, 2, 4, &mut room), Kept::Yes);
        assert_eq!((room.taken(), other.size()), (10, (1, 4)));
        one.forget(&mut room, 1);
        one.forget(&mut room, 1);
        assert_eq!(keep(&mut other, 3, 5, &mut room), Kept::Yes);
        assert_eq!(room.taken(), 9);
        other.drop_all(&mut room);
        assert_eq!(room.taken(), 0);
    }
}
