//! One group on one node: its Raft replica, and everything that stands around it.

mod ask;
mod conform;
mod confs;
mod keyed;
mod membership;
mod quota;
mod raft;
mod requests;
mod results;
mod snapshot;
mod space;
mod watches;

use std::collections::{BTreeMap, BTreeSet};

use althing_api::Header;
use althing_consensus::{ConfState, Config, HardState, LogPosition, Recovered, RecoveryError, Replica, Role};
use althing_probe::Mark;
use althing_storage::engine::Applied;
use althing_strong::Reader;
use althing_strong::lessor::{self, Lessor, LessorConfig};
use althing_strong::watch::{Hub, HubConfig};
use althing_types::{GroupId, Instant, NodeId, RequestId, Revision, SpaceId, StreamId};
use bytes::Bytes;

use crate::config::{GroupConfig, HIBERNATE_AFTER_TICKS, NodeConfig};
use crate::context::Context;
use crate::envelope::Message;
use crate::input::GroupState;
use crate::metrics::GroupMetrics;
use crate::presence::Promise;
use crate::proposals::Proposals;
use crate::reads::Reads;
use crate::transfer::{Incoming, Outgoing};

use self::ask::{Asking, Renewing};
use self::conform::{Transfers, Values};
use self::confs::Confs;
use self::membership::Publication;
use self::space::SpaceAlarm;

/// What the log gave back of one group.
#[derive(Debug, Default)]
pub struct GroupLog {
    /// Hard state, truncation and entries; the configuration and the applied index come from the engine.
    pub recovered: Recovered,
    /// The space that the group stands on, if a snapshot has ever moved it.
    pub space: Option<SpaceId>,
    /// What an earlier replica of the group on this node has promised.
    pub promise: Promise,
}

/// A group as its node drives it.
pub(crate) struct Group {
    pub id: GroupId,
    pub replica: Replica,
    effects: althing_consensus::Effects,
    space: SpaceId,
    reader: Reader,
    applied: Applied,
    proposals: Proposals,
    reads: Reads,
    asking: BTreeMap<RequestId, Asking>,
    /// Renewals that the lessor has not answered yet.
    renewing: BTreeMap<RequestId, Renewing>,
    /// Compactions whose clients wait for the space.
    compacting: BTreeSet<RequestId>,
    pub hub: Hub,
    hub_effects: althing_strong::watch::Effects,
    lessor: Lessor,
    lessor_effects: lessor::Effects,
    leading: Leading,
    transfers: Transfers,
    values: Values,
    outgoing: BTreeMap<NodeId, Outgoing>,
    incoming: Option<Incoming>,
    /// The space that an installed snapshot has filled, until the log has recorded it.
    retired: Option<(u64, SpaceId)>,
    publication: Publication,
    space_alarm: SpaceAlarm,
    /// The hard state, if it has changed since the log has it.
    unwritten: Option<HardState>,
    /// What this node was told that the table's quota should be, in bytes.
    quota: Option<u64>,
    /// When it proposed that last.
    quota_proposed: Option<Instant>,
    /// When it last proposed to remove what has expired.
    expiry_proposed: Option<Instant>,
    /// When there was last a leader.
    leader_seen: Instant,
    /// What an earlier replica of the group on this node has promised.
    promise: Promise,
    /// What its group has said to it, counted.
    heard: u64,
    /// Which changes of the configuration it has seen.
    confs: Confs,
    /// Whether the replica was handed anything since the last flush.
    touched: bool,
}

/// Whether the lessor counts leases down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leading {
    /// Another node leads, or none.
    No,
    /// This node leads, and has not yet applied an entry of its own term.
    Elected { term: u64 },
    /// This node leads and knows all leases.
    Serving { term: u64 },
}

impl Leading {
    fn term(self) -> Option<u64> {
        match self {
            Self::No => None,
            Self::Elected { term } | Self::Serving { term } => Some(term),
        }
    }
}

impl Group {
    pub(crate) fn new(
        config: &NodeConfig,
        group: &GroupConfig,
        log: GroupLog,
        state: GroupState,
    ) -> Result<Self, RecoveryError> {
        let conf_state = decode_conf_state(&state.conf_state);
        let promise = log.promise;
        let recovered = Recovered { conf_state, applied: state.applied.index, ..log.recovered };
        let confs = Confs::recovered(&recovered);
        let consensus = Config {
            group: group.id,
            id: config.node,
            seed: config.seed,
            incarnation: config.incarnation,
            election_timeout: config.election_ticks.clone(),
            heartbeat_ticks: config.heartbeat_ticks,
            hibernate_after_ticks: group.hibernate.then_some(HIBERNATE_AFTER_TICKS),
        };
        let replica = Replica::new(consensus, recovered)?;
        let hub = HubConfig {
            progress_interval: config.progress_interval,
            buffer_bytes: config.watch_buffers.stream_bytes,
            recent_bytes: config.watch_buffers.recent_bytes,
            read_bytes: config.watch_buffers.read_bytes,
            ..HubConfig::default()
        };
        let lessor = LessorConfig {
            grace: config.tick * config.election_ticks.end,
            checkpoint_interval: config.lease_checkpoint_interval,
            ..LessorConfig::default()
        };
        let mut hub = Hub::new(hub, state.reader.revision(), state.reader.compact_revision());
        if let Some(bounds) = state.reader.bounds() {
            // It has no watches yet that could end.
            let mut none = althing_strong::watch::Effects::default();
            hub.handle(Instant::ZERO, althing_strong::watch::Input::Bounds(bounds), &mut none);
        }
        Ok(Self {
            id: group.id,
            replica,
            effects: althing_consensus::Effects::default(),
            space: state.space,
            hub,
            reader: state.reader,
            applied: state.applied,
            proposals: Proposals::default(),
            reads: Reads::default(),
            asking: BTreeMap::new(),
            renewing: BTreeMap::new(),
            compacting: BTreeSet::new(),
            hub_effects: althing_strong::watch::Effects::default(),
            lessor: Lessor::new(lessor),
            lessor_effects: lessor::Effects::default(),
            leading: Leading::No,
            transfers: Transfers::None,
            values: Values::None,
            outgoing: BTreeMap::new(),
            incoming: None,
            retired: None,
            publication: Publication::default(),
            space_alarm: SpaceAlarm::default(),
            unwritten: None,
            quota: group.quota_bytes,
            quota_proposed: None,
            expiry_proposed: None,
            leader_seen: Instant::ZERO,
            promise,
            heard: 0,
            confs,
            touched: true,
        })
    }

    /// The replica has come while the node runs: there was no leader to be seen until now.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>) {
        self.leader_seen = cx.now;
    }

    /// One tick of the node's clock: Raft's, the leases', the watches', and whatever has waited too long.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        self.step(althing_consensus::Input::Tick);
        self.tick_lessor(cx);
        self.tick_watches(cx);
        self.retry(cx);
        self.expire(cx);
        self.tick_transfers(cx);
        self.publish(cx);
        self.tell_space(cx);
        self.tend_quota(cx);
    }

    /// Hands something to the replica that it cannot refuse.
    fn step(&mut self, input: althing_consensus::Input) {
        // Only proposals and transfers are refused, and they are handed over where the refusal matters.
        let _ = self.offer(input);
    }

    /// Hands something to the replica that it may refuse.
    fn offer(&mut self, input: althing_consensus::Input) -> Result<(), althing_consensus::Refused> {
        self.touched = true;
        self.replica.handle(Instant::ZERO, input, &mut self.effects)
    }

    /// What it leaves behind if it goes: its own promise, or what it was bound to itself if that goes further.
    pub(crate) fn leave(&self) -> Promise {
        let hard_state = self.replica.hard_state();
        let index = self.replica.last_index();
        let own = LogPosition { index, term: self.replica.term_at(index).unwrap_or_default() };
        let last = if self.promise.admits(own) { own } else { self.promise.last };
        Promise { term: hard_state.term, vote: hard_state.vote, last }
    }

    /// How much its group has said to it.
    pub(crate) const fn heard(&self) -> u64 {
        self.heard
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.replica.leader()
    }

    pub(crate) fn is_leader(&self) -> bool {
        matches!(self.replica.role(), Role::Leader { .. })
    }

    pub(crate) fn needs_ticks(&self) -> bool {
        !self.replica.is_hibernating()
            || self.proposals.len() > 0
            || !self.reads.is_idle()
            || !self.asking.is_empty()
            || !self.outgoing.is_empty()
            || self.incoming.is_some()
            || self.hub.watch_count() > 0
            || matches!(self.space_alarm, SpaceAlarm::Changing(..))
            || self.lessor.next_deadline().is_some()
    }

    pub(crate) fn pending(&self) -> usize {
        self.proposals.len() + self.reads.len() + self.asking.len()
    }

    /// Whether a client waits for anything of it.
    pub(crate) fn has_waiting(&self) -> bool {
        self.pending() > 0 || !self.compacting.is_empty()
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.proposals.bytes()
    }

    /// Pages of a snapshot that are read and not sent, of the transfer that has most.
    pub(crate) fn most_pages(&self) -> usize {
        self.outgoing.values().map(|outgoing| outgoing.ready.len()).max().unwrap_or(0)
    }

    pub(crate) fn peers(&self) -> Vec<NodeId> {
        self.replica.conf_state().members()
    }

    /// Whoever has a vote, before or after a change that is half way.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        let conf_state = self.replica.conf_state();
        conf_state.voters.iter().chain(&conf_state.voters_outgoing).copied().collect()
    }

    pub(crate) fn is_asleep(&self) -> bool {
        self.replica.is_hibernating()
    }

    pub(crate) fn wake(&mut self) {
        self.step(althing_consensus::Input::Wake);
    }

    pub(crate) fn reader(&self) -> Reader {
        self.reader.clone()
    }

    pub(crate) fn revision(&self) -> Revision {
        self.reader.revision()
    }

    /// Whether the replica or a waiting read has something to do without any input.
    pub(crate) fn has_ready(&self) -> bool {
        self.touched || !self.effects.is_empty()
    }

    /// Whether the replica has more than fits into one turn.
    pub(crate) fn has_more(&self) -> bool {
        self.replica.has_more()
    }

    /// Whether somebody else could lead.
    pub(crate) fn has_successor(&self) -> bool {
        self.replica.conf_state().voters.len() > 1
    }

    /// The node stops: another voter should lead, the one that has the most of the log.
    pub(crate) fn hand_over(&mut self, cx: &mut Context<'_>) {
        if !self.is_leader() {
            return;
        }
        let node = cx.shared.node();
        let voters = self.replica.conf_state().voters.clone();
        let reached = |id: &NodeId| self.replica.progress(*id).map_or(0, |progress| progress.match_index);
        if let Some(to) = voters.into_iter().filter(|id| *id != node).max_by_key(reached) {
            althing_probe::hit(Mark::HandoverAtStop);
            self.step(althing_consensus::Input::TransferLeader { to });
        }
    }

    pub(crate) fn metrics(&self) -> GroupMetrics {
        GroupMetrics {
            group: self.id,
            role: self.replica.role(),
            term: self.replica.term(),
            commit: self.replica.commit(),
            applied: self.applied.index,
            log_bytes: self.replica.log_bytes() as u64,
            consensus: self.replica.metrics(),
            watches: self.hub.watch_count() as u64,
            revision: self.reader.revision().get(),
            size_bytes: self.reader.size_bytes(),
            quota_bytes: self.reader.quota_bytes(),
        }
    }

    fn header(&self, cx: &Context<'_>, revision: Revision) -> Header {
        Header { cluster: cx.shared.config.cluster, member: cx.shared.node(), revision, raft_term: self.replica.term() }
    }

    fn send(&self, cx: &mut Context<'_>, to: NodeId, message: &Message) {
        cx.shared.peers.send(to, message);
    }

    pub(crate) fn close_stream(&mut self, cx: &mut Context<'_>, stream: StreamId) {
        self.hub_input(cx, althing_strong::watch::Input::Close(stream));
    }
}

/// The configuration as the state machine keeps it; an empty one before a joining replica has its first snapshot.
fn decode_conf_state(bytes: &Bytes) -> ConfState {
    ConfState::decode(bytes.clone()).unwrap_or_default()
}
