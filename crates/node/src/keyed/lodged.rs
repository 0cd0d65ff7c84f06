//! Writes that a node has taken for a shard of which it has no replica, because none could be reached: level ANY, and no other.
//!
//! Such a write is made blindly ([`althing_convergent::write_blindly`]) under an actor of this run of the node, synced in a log of its own
//! beside those of the replicas, and then acknowledged. It is handed to the replicas until most of them have it durably; repair
//! does the rest. After a crash it is read back from the log.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest};
use althing_api::{Call, ErrorKind, Request};
use althing_convergent::{Blind, names, write_blindly};
use althing_datatypes::{Message as _, Op, OpError};
use althing_quorum::Level;
use althing_storage::wal::{Record, RecordKind};
use althing_types::{Duration, GroupId, Instant, NodeId, RequestId};
use bytes::Bytes;

use super::cas::Course;
use crate::context::names_before;
use crate::effects::Effects;
use crate::envelope::{KeyedMessage, Message};
use crate::node::Node;
use crate::peers::Hope;

/// Marks the log of what is lodged for a group, which is beside that of its replica's deltas, if this node has one.
const LODGED_LOG: u64 = 1 << 62;
/// Marks the names of lodged deltas among those of a coordinator.
const LODGED_NAME: u64 = 1 << 63;
/// How long until a lodged write is sent again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Bytes that are lodged on a node at the most. What is beyond is refused.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Deltas of one shard that are on their way at once.
const SENT_AT_ONCE: usize = 256;

/// The name of the log of what is lodged for a group.
const fn lodged_log(group: GroupId) -> GroupId {
    GroupId(group.0 | LODGED_LOG)
}

/// The group for which something is lodged in a log, if it is such a log.
pub(crate) const fn group_of_lodged(log: GroupId) -> Option<GroupId> {
    match log.0 & LODGED_LOG {
        0 => None,
        _ => Some(GroupId(log.0 & !LODGED_LOG)),
    }
}

/// What is lodged on a node.
#[derive(Debug, Default)]
pub(crate) struct Lodgings {
    groups: BTreeMap<GroupId, Lodged>,
    bytes: usize,
}

/// What is lodged for one shard.
#[derive(Debug, Default)]
struct Lodged {
    /// By their indices in the log.
    deltas: BTreeMap<u64, Guest>,
    /// The last index that was given.
    last_index: u64,
    /// The last event of this run's actor.
    last_event: u64,
}

/// A write that is lodged.
#[derive(Debug)]
struct Guest {
    delta: Bytes,
    stage: Stage,
    /// Who has it durably.
    taken: BTreeSet<NodeId>,
}

/// How far a lodged write is.
#[derive(Debug)]
enum Stage {
    /// It is not durable yet; then its client is told.
    Coming(RequestId, KeyedAnswer),
    /// It is to be handed over, and was sent at this moment, if ever.
    Here(Option<Instant>),
}

impl Lodgings {
    /// What the log has.
    pub(crate) fn recovered(found: BTreeMap<GroupId, Vec<(u64, Bytes)>>) -> Self {
        let mut lodgings = Self::default();
        for (group, deltas) in found {
            let lodged = lodgings.groups.entry(group).or_default();
            for (index, delta) in deltas {
                lodgings.bytes += delta.len();
                lodged.last_index = lodged.last_index.max(index);
                lodged.deltas.insert(index, Guest { delta, stage: Stage::Here(None), taken: BTreeSet::new() });
            }
        }
        lodgings
    }

    /// How many writes wait to be handed over.
    pub(crate) fn len(&self) -> usize {
        self.groups.values().map(|lodged| lodged.deltas.len()).sum()
    }
}

impl Node {
    /// If this is a write of level ANY for whose shard nobody is there, it is lodged here. Otherwise it is given back.
    pub(crate) fn lodge(
        &mut self,
        now: Instant,
        id: RequestId,
        group: GroupId,
        call: Call,
        out: &mut Effects,
    ) -> Option<Call> {
        let (key, operations, level) = match &call.request {
            Request::Keyed(KeyedRequest::Operate { key, operation, access: Access::Write, level }) => {
                (key, std::slice::from_ref(operation), *level)
            }
            Request::Keyed(KeyedRequest::Series { key, operations, access: Access::Write, write_level, .. }) => {
                (key, operations.as_slice(), *write_level)
            }
            _ => return Some(call),
        };
        let level = level.unwrap_or_else(|| self.table_level(group, Access::Write));
        let is_gone = |node: &NodeId| matches!(self.shared.peers.hope(now, *node), Hope::Doubtful(_));
        let replicas = self.placed_replicas(group);
        if level != Level::Any || replicas.is_empty() || !replicas.iter().all(is_gone) {
            return Some(call);
        }
        let mut ops = Vec::with_capacity(operations.len());
        for operation in operations {
            let Ok(op) = Op::decode(operation) else {
                let error = ErrorKind::InvalidArgument("the operation does not parse".to_owned());
                out.responses.push((id, Err(error.into())));
                return None;
            };
            ops.push(match self.course(group, &op, Some(level)) {
                Course::Refuse(reason) => Err(ErrorKind::Unsupported(reason.to_owned())),
                // What reads wants to know what only replicas do.
                Course::Converge if op.is_read() => return Some(call),
                Course::Converge => Ok(op),
                // Nobody decides alone.
                Course::Decide | Course::Unknown => return Some(call),
            });
        }
        let ids = match &call.request {
            Request::Keyed(KeyedRequest::Series { key, .. }) => match self.series_apart(id, group, key, ops.len()) {
                Some(ids) => ids,
                None => return Some(call),
            },
            _ => vec![id],
        };
        for (id, op) in ids.into_iter().zip(ops) {
            if let Err(error) = op.and_then(|op| self.lodge_write(now, id, group, key, op)) {
                out.responses.push((id, Err(error.into())));
            }
        }
        None
    }

    fn lodge_write(
        &mut self,
        now: Instant,
        id: RequestId,
        group: GroupId,
        key: &Bytes,
        op: Op,
    ) -> Result<(), ErrorKind> {
        if self.lodgings.bytes >= MAX_BYTES {
            return Err(ErrorKind::Overloaded);
        }
        let (now_ms, seed) = (self.shared.wall.at(now), self.shared.rng.u64(..));
        let actor = names::lodged(self.shared.node().get(), self.shared.config.incarnation);
        let lodged = self.lodgings.groups.entry(group).or_default();
        let Blind { reply, delta, last } = write_blindly((actor, lodged.last_event), key, op, now_ms, seed)
            .map_err(|refusal| ErrorKind::InvalidArgument(refusal.to_string()))?;
        // A removal of what is not known here would be acknowledged and do nothing.
        let delta = delta.ok_or(ErrorKind::ShardUnavailable)?;
        lodged.last_event = last;
        // An acknowledgement may come that is for what an earlier run has handed over.
        lodged.last_index = lodged.last_index.max(names_before(self.shared.config.incarnation)) + 1;
        let index = lodged.last_index;
        let answer = KeyedAnswer::Operated(Ok::<_, OpError>(reply).encode());
        let guest = Guest { delta: delta.clone(), stage: Stage::Coming(id, answer), taken: BTreeSet::new() };
        lodged.deltas.insert(index, guest);
        self.lodgings.bytes += delta.len();
        self.shared.metrics.lodged += 1;
        let log = lodged_log(group);
        self.shared.wal.push(Record { group: log, kind: RecordKind::Delta, index, payload: delta });
        self.shared.wal.wait(log, index);
        Ok(())
    }

    /// Where the map says that a shard's replicas are.
    fn placed_replicas(&self, group: GroupId) -> BTreeSet<NodeId> {
        let shard = self.control.view.shard(group);
        shard.map(|shard| shard.status.voters.clone()).unwrap_or_default()
    }

    /// The log has what is lodged for a shard up to an index: the clients are told.
    pub(crate) fn lodged_persisted(&mut self, group: GroupId, index: u64, out: &mut Effects) {
        let Some(lodged) = self.lodgings.groups.get_mut(&group) else { return };
        let mut told = Vec::new();
        for guest in lodged.deltas.range_mut(..=index).map(|(_, guest)| guest) {
            match std::mem::replace(&mut guest.stage, Stage::Here(None)) {
                Stage::Coming(id, answer) => told.push((id, answer)),
                before @ Stage::Here(_) => guest.stage = before,
            }
        }
        told.into_iter().for_each(|(id, answer)| self.keyed_answer(id, answer, out));
    }

    /// What is lodged is sent to the replicas that are there.
    pub(crate) fn tick_lodged(&mut self, now: Instant) {
        let groups: Vec<_> = self.lodgings.groups.keys().copied().collect();
        for group in groups {
            let replicas = self.placed_replicas(group);
            let Some(lodged) = self.lodgings.groups.get_mut(&group) else { continue };
            for (index, guest) in lodged.deltas.iter_mut().take(SENT_AT_ONCE) {
                let is_due = match &guest.stage {
                    Stage::Coming(..) => false,
                    Stage::Here(sent) => sent.is_none_or(|sent| now.since(sent) >= AGAIN_AFTER),
                };
                if !is_due {
                    continue;
                }
                guest.stage = Stage::Here(Some(now));
                for node in replicas.difference(&guest.taken) {
                    let message = KeyedMessage::Delta { name: LODGED_NAME | index, delta: guest.delta.clone() };
                    self.shared.peers.send(*node, &Message::Keyed(group, message));
                }
            }
        }
    }

    /// A replica has a delta durably, or says that it will never take it. Whether that was a lodged one.
    pub(super) fn lodged_taken(&mut self, group: GroupId, by: NodeId, name: u64) -> bool {
        if name & LODGED_NAME == 0 {
            return false;
        }
        let (index, replicas) = (name & !LODGED_NAME, self.placed_replicas(group));
        let Some(lodged) = self.lodgings.groups.get_mut(&group) else { return true };
        let Some(guest) = lodged.deltas.get_mut(&index) else { return true };
        guest.taken.insert(by);
        if guest.taken.intersection(&replicas).count() <= replicas.len() / 2 {
            return true;
        }
        self.lodgings.bytes -= guest.delta.len();
        lodged.deltas.remove(&index);
        let from = lodged.deltas.keys().next().map_or(lodged.last_index + 1, |first| *first);
        self.released.push((lodged_log(group), from));
        true
    }

    /// The log cannot give its oldest segment back because of what is lodged for a shard: that is written again, at the end.
    pub(crate) fn lodged_pinned(&mut self, group: GroupId) {
        let Some(lodged) = self.lodgings.groups.get(&group) else { return };
        let log = lodged_log(group);
        for (index, guest) in &lodged.deltas {
            let payload = guest.delta.clone();
            self.shared.wal.push(Record { group: log, kind: RecordKind::Delta, index: *index, payload });
        }
        self.shared.wal.rewritten(log);
    }
}
