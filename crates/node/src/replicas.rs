//! Replicas that come to this node and leave it while it runs.
//!
//! ```text
//!            open                    Done::Opened
//!   none ──────────► opening ─────────────────────► held
//!     ▲    record Held, Work::Open                    │ close
//!     │                                               ▼ records GroupDropped, Gone; once durable, Work::Close
//!     └───────────────────────────────────────────  closing
//!                     Done::Closed
//! ```
//!
//! The record stands in the log before anything that the replica writes, and the applier works in order, so a crash at any
//! moment leaves either the replica or nothing of it. A group that leaves comes back only after [`Done::Closed`]: nothing that was
//! under way for the old replica can be taken for the new one's.
//!
//! [`Done::Closed`]: crate::Done::Closed

use std::collections::{BTreeMap, BTreeSet};

use althing_api::ErrorKind;
use althing_consensus::HardState;
use althing_probe::Mark;
use althing_storage::wal::{Record, RecordKind};
use althing_types::{GroupId, Instant};

use crate::config::GroupConfig;
use crate::context::Context;
use crate::effects::{Effects, Work};
use crate::group::{Group, GroupLog};
use crate::input::GroupState;
use crate::keyed::{Keyed, delta_log};
use crate::node::Node;
use crate::presence::{Content, Presence, Promise, ReplicaBirth};
use crate::route::Homeless;

/// Stands for a persist number of a replica that goes.
pub(crate) const CLOSING: u64 = u64::MAX;

/// Replicas between two states, and what those that are gone had promised.
#[derive(Debug, Default)]
pub(crate) struct Comings {
    opening: BTreeSet<GroupId>,
    closing: BTreeSet<GroupId>,
    graves: BTreeMap<GroupId, Promise>,
    /// Groups whose shards are no more. No replica of them comes again.
    retired: BTreeSet<GroupId>,
}

/// Why a replica leaves its node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Farewell {
    /// Its group goes on without it, and may want it back.
    Left,
    /// The same, as its leader of this term has said.
    LeftBehind(u64),
    /// Its shard is no more.
    Retired,
}

impl Comings {
    pub(crate) fn new(graves: BTreeMap<GroupId, Promise>, retired: BTreeSet<GroupId>) -> Self {
        Self { graves, retired, ..Self::default() }
    }

    /// Whether the node has had a replica of the group that is gone.
    pub(crate) fn is_grave(&self, group: GroupId) -> bool {
        self.graves.contains_key(&group)
    }

    /// Whether the group's shard is no more, whatever the map says.
    pub(crate) fn is_retired(&self, group: GroupId) -> bool {
        self.retired.contains(&group)
    }

    /// Whether the group is on its way in or out.
    pub(crate) fn is_moving(&self, group: GroupId) -> bool {
        self.opening.contains(&group) || self.closing.contains(&group)
    }
}

impl Node {
    /// A replica comes to this node.
    pub(crate) fn open_replica(&mut self, group: GroupId, birth: ReplicaBirth, content: Content, out: &mut Effects) {
        let space = self.shared.new_space();
        let promise = self.comings.graves.get(&group).copied().unwrap_or_default();
        let payload = Presence::Held { space, birth: birth.clone(), promise, content }.encode();
        self.shared.wal.push(Record { group, kind: RecordKind::Replica, index: 0, payload });
        out.work.push(Work::Open { group, space, birth, content });
        self.comings.opening.insert(group);
    }

    /// The applier has opened it.
    pub(crate) fn opened(&mut self, now: Instant, state: GroupState, out: &mut Effects) {
        let id = state.group;
        if !self.comings.opening.remove(&id) {
            return;
        }
        let mut log = GroupLog::born(state.applied);
        if let Some(promise) = self.comings.graves.remove(&id) {
            althing_probe::hit(Mark::ReplicaCameBack);
            log.bind(promise);
        }
        let hard_state = log.recovered.hard_state;
        let mut state = state;
        if let Some(state) = state.keyed.take() {
            self.keyed.insert(id, Keyed::new(state, self.shared.last_name()));
            self.agenda.wake(id);
        }
        let config = GroupConfig { id, hibernate: true, quota_bytes: None };
        let group = Group::new(&self.shared.config, &config, log, state);
        let mut group = group.expect("a replica that was born this moment contradicts nothing");
        if self.keyed.contains_key(&id) {
            group.keep_values_beside();
        }
        if hard_state != HardState::default() {
            let payload = hard_state.encode();
            self.shared.wal.push(Record { group: id, kind: RecordKind::HardState, index: 0, payload });
        }
        out.wal_release.push(group.release());
        self.groups.insert(id, group);
        self.wake(id);
        self.with(now, id, out, |group, cx| group.begin(cx));
    }

    /// The replica leaves this node with all that it has.
    pub(crate) fn close_replica(&mut self, now: Instant, id: GroupId, farewell: Farewell, out: &mut Effects) {
        let Some(mut group) = self.groups.remove(&id) else { return };
        group.stop(&mut Context { now, shared: &mut self.shared, out }, "the table's replica has left this node");
        let promise = match farewell {
            Farewell::Left | Farewell::Retired => group.leave(),
            Farewell::LeftBehind(term) => group.leave().at_least(term),
        };
        self.close_keyed(id, out);
        althing_probe::hit(Mark::ReplicaLeft);
        self.shared.wal.forget(id);
        self.shared.wal.forget(delta_log(id));
        let presence = match farewell {
            Farewell::Left | Farewell::LeftBehind(_) => Presence::Gone(promise),
            Farewell::Retired => Presence::Retired,
        };
        let gone = presence.encode();
        let dropped = Record { group: id, kind: RecordKind::GroupDropped, index: 0, payload: bytes::Bytes::new() };
        self.shared.wal.push(Record { group: delta_log(id), ..dropped.clone() });
        self.shared.wal.push(dropped);
        self.shared.wal.push(Record { group: id, kind: RecordKind::Replica, index: 0, payload: gone });
        // What it has may go only when the log remembers that it does.
        self.shared.wal.wait(id, CLOSING);
        match farewell {
            Farewell::Left | Farewell::LeftBehind(_) => {
                self.comings.graves.insert(id, promise);
            }
            Farewell::Retired => {
                self.comings.retired.insert(id);
            }
        }
        self.comings.closing.insert(id);
        self.end_lent(id);
        for (stream, _) in self.streams.extract_if(.., |_, group| *group == id) {
            self.homeless.insert(stream, Homeless::Refused(ErrorKind::ShardUnavailable));
        }
    }

    /// The log remembers that a replica goes.
    pub(crate) fn may_close(&self, group: GroupId, out: &mut Effects) {
        if self.comings.closing.contains(&group) {
            out.work.push(Work::Close { group });
        }
    }

    /// The applier has closed it.
    pub(crate) fn closed(&mut self, group: GroupId) {
        self.comings.closing.remove(&group);
    }
}
