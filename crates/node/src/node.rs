//! The node: what comes in goes to a group, and what groups want goes out, once per turn.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::service::META_GROUP;
use althing_api::{Call, Error, ErrorKind, SnapshotChunk, Target};
use althing_consensus::RecoveryError;
use althing_probe::Mutant;
use althing_resilience::admission::Figures;
use althing_storage::engine::Applied;
use althing_strong::{Bounds, Stage};
use althing_types::{Duration, GroupId, Instant, NodeId, RequestId, Revision, SpaceId, StreamId, limits};
use bytes::Bytes;

use crate::config::{GroupConfig, NodeConfig};
use crate::context::{Context, Shared, names_before};
use crate::control::{self, Control};
use crate::download::Download;
use crate::effects::{Effects, ReadWork};
use crate::envelope::{self, Message, Told};
use crate::group::Group;
use crate::input::{Done, ExportPurpose, Input, ReadDone};
use crate::keyed::{
    Agenda, AllSeries, HintRoom, Keyed, Lodgings, Repairing, Sessions, delta_log, group_of_lodged, group_of_log,
};
use crate::metrics::{GroupMetrics, Metrics};
use crate::peers::{Heard, PING_AFTER};
use crate::recover::Recovery;
use crate::replicas::{CLOSING, Comings};
use crate::route::{Homeless, Router};
use crate::split::{Fillings, Redirects};
use crate::steady::SteadyClock;

/// Groups that are named when a node says why it is not ready. It is asked each turn then, and may have thousands.
const MAX_REASONS: usize = 8;
/// How long a stopping node waits for its leaderships to be taken over.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a node is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lifecycle {
    /// It serves.
    Running,
    /// It hands its leaderships over, since this moment.
    Stopping(Instant),
    /// It does nothing any more.
    Stopped,
}

/// One node: all of its groups, and its part in the cluster. Pure: the host tells it what happens and does what it wants.
///
/// The host calls, in a loop: [`Node::handle`] for each thing that has happened, then [`Node::flush`] once, and then
/// does what [`Effects`] say.
pub struct Node {
    pub(crate) shared: Shared,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// Groups that something has happened to in this turn.
    dirty: BTreeSet<GroupId>,
    /// Groups whose clock ticks.
    awake: BTreeSet<GroupId>,
    pub(crate) streams: BTreeMap<StreamId, GroupId>,
    /// Streams on what no known node serves, or not yet any: their watches are refused, or say where the stream belongs.
    pub(crate) homeless: BTreeMap<StreamId, Homeless>,
    pub(crate) downloads: BTreeMap<StreamId, Download>,
    pub(crate) comings: Comings,
    pub(crate) router: Router,
    pub(crate) fillings: Fillings,
    pub(crate) redirects: Redirects,
    pub(crate) control: Control,
    /// The replicas of convergent shards.
    pub(crate) keyed: BTreeMap<GroupId, Keyed>,
    /// Clients that want to see what they have seen before.
    pub(crate) sessions: Sessions,
    /// What clients have asked for at once.
    pub(crate) series: AllSeries,
    pub(crate) agenda: Agenda,
    pub(crate) repairing: Repairing,
    pub(crate) hint_room: HintRoom,
    /// Writes that this node has taken for shards of which it has no replica.
    pub(crate) lodgings: Lodgings,
    lifecycle: Lifecycle,
    /// The other members of all groups, as they were gathered last, and when that was.
    pub(crate) group_peers: Vec<NodeId>,
    peers_gathered: Option<Instant>,
    /// What the log is told with the first turn.
    pub(crate) released: Vec<(GroupId, u64)>,
    clock: SteadyClock,
}

impl Node {
    /// A node with what its log and its engine gave back of each group.
    pub fn new(config: NodeConfig, recovered: Recovery) -> Result<Self, RecoveryError> {
        let (mut groups, mut keyed) = (BTreeMap::new(), BTreeMap::new());
        let mut released = Vec::new();
        for (log, state) in recovered.groups {
            let id = state.group;
            let mut state = state;
            if let Some(state) = state.keyed.take() {
                released.push((delta_log(id), state.keep_from()));
                keyed.insert(id, Keyed::new(state, names_before(config.incarnation)));
            }
            let founded = config.groups.iter().find(|group| group.id == id).cloned();
            let group = founded.unwrap_or(GroupConfig { id, hibernate: true, quota_bytes: None });
            let mut group = Group::new(&config, &group, log, state)?;
            if keyed.contains_key(&id) {
                group.keep_values_beside();
            }
            groups.insert(id, group);
        }
        let all: BTreeSet<_> = groups.keys().copied().collect();
        let incarnation = config.incarnation;
        let control = Control::new(&config, control::recovered(recovered.map));
        let (repairing, hint_room) = (Repairing::new(config.repair), HintRoom::new(config.hint_bytes));
        let mut agenda = Agenda::default();
        keyed.keys().for_each(|group| agenda.wake(*group));
        let mut node = Self {
            released: groups.values().map(Group::release).chain(released).collect(),
            shared: Shared::new(config),
            groups,
            dirty: all.clone(),
            awake: all,
            streams: BTreeMap::new(),
            homeless: BTreeMap::new(),
            downloads: BTreeMap::new(),
            comings: Comings::new(recovered.graves, recovered.retired),
            router: Router::new(incarnation),
            fillings: Fillings::default(),
            redirects: Redirects::default(),
            control,
            keyed,
            sessions: Sessions::default(),
            series: AllSeries::default(),
            agenda,
            repairing,
            hint_room,
            lodgings: Lodgings::recovered(recovered.lodged),
            lifecycle: Lifecycle::Running,
            group_peers: Vec::new(),
            peers_gathered: None,
            clock: SteadyClock::default(),
        };
        // Whoever starts the node asks for its membership itself.
        node.load_map(&mut Effects::default());
        Ok(node)
    }

    /// Takes in one thing that has happened.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Effects) {
        let now = self.clock.read(now);
        match input {
            Input::Tick => self.tick(now, out),
            Input::Frame { from, bytes } => self.frame(now, from, bytes, out),
            Input::PeerUp(peer) => self.shared.peers.connected(peer),
            Input::PeerDown(peer) => self.peer_down(now, peer, out),
            Input::Request { id, call } => self.request(now, id, call, out),
            Input::Cancel { id } => {
                self.cancel_route(id);
                self.cancel_redirected(id);
                self.cancel_keyed(id);
                self.cancel(now, id, out);
            }
            Input::WatchOpen { stream, target, require_leader } => {
                self.open_stream(now, stream, &target, require_leader, out);
            }
            Input::Watch { stream, command } if self.is_followed(stream) && !self.strays(stream, &command) => {
                self.say(stream, command);
            }
            Input::WatchDrained { stream, bytes } if self.is_followed(stream) => self.say_drained(stream, bytes),
            Input::WatchClose { stream } if self.is_followed(stream) => self.unfollow(stream),
            Input::Watch { stream, command } => self.watch(now, stream, command, out),
            Input::WatchDrained { stream, bytes } => {
                self.with_stream(now, stream, out, |group, cx| group.drained(cx, stream, bytes));
            }
            Input::WatchClose { .. } if althing_probe::is(Mutant::LeakStreams) => {}
            Input::WatchClose { stream } => {
                self.with_stream(now, stream, out, |group, cx| group.close_stream(cx, stream));
                self.streams.remove(&stream);
                self.homeless.remove(&stream);
            }
            Input::SnapshotOpen { stream, target } => self.open_download(stream, &target, out),
            Input::SnapshotPull { stream } => self.pull(stream, out),
            Input::SnapshotClose { stream } => {
                self.downloads.remove(&stream);
            }
            Input::Persisted { seq } => self.persisted(now, seq, out),
            Input::Done(done) => done.into_iter().for_each(|done| self.done(now, done, out)),
            Input::Read(read) => self.read_done(now, read, out),
            Input::Checkpointed(spaces) => self.checkpointed(now, &spaces, out),
            Input::LogPinned(groups) => self.log_pinned(now, groups, out),
            Input::DiskSpace(space) => {
                self.shared.disk_space = space;
                self.awake.extend(self.groups.keys());
            }
            Input::MapBehind => self.map_is_behind(),
            Input::Wall(wall) => self.shared.wall.set(now, wall),
            Input::Mail { to, bytes } => self.shared.peers.send_to(to, &Message::Mail(bytes)),
            Input::Stop => self.stop(now, out),
        }
    }

    /// Batches of the log up to this one are durable.
    fn persisted(&mut self, now: Instant, seq: u64, out: &mut Effects) {
        for (group, persist) in self.shared.wal.persisted(seq) {
            if let Some(group) = group_of_lodged(group) {
                self.lodged_persisted(group, persist, out);
                continue;
            }
            if let Some(group) = group_of_log(group) {
                self.keyed_persisted(now, group, persist, out);
                continue;
            }
            if persist == CLOSING {
                self.may_close(group, out);
                continue;
            }
            self.with(now, group, out, |group, cx| group.persisted(cx, persist));
        }
    }

    /// The log cannot give its oldest segment back because of these groups.
    fn log_pinned(&mut self, now: Instant, groups: Vec<GroupId>, out: &mut Effects) {
        for group in groups {
            if let Some(group) = group_of_lodged(group) {
                self.lodged_pinned(group);
                continue;
            }
            if let Some(group) = group_of_log(group) {
                self.deltas_pinned(group);
                continue;
            }
            self.with(now, group, out, |group, cx| group.rewrite(cx));
        }
    }

    /// Ends a turn: what the groups want becomes frames, one log batch, and work.
    pub fn flush(&mut self, now: Instant, out: &mut Effects) {
        let now = self.clock.read(now);
        self.gather_series(now, out);
        // A group's turn may make work for itself (a read that is served, a leader that proposes); a few rounds settle
        // it, and what is left keeps the group dirty for the next turn.
        let mut later = BTreeSet::new();
        for _ in 0..MAX_ROUNDS {
            let dirty = std::mem::take(&mut self.dirty);
            if dirty.is_empty() {
                break;
            }
            for id in dirty {
                let Some(group) = self.groups.get_mut(&id) else { continue };
                let mut cx = Context { now, shared: &mut self.shared, out };
                group.flush(&mut cx);
                if group.has_ready() {
                    self.dirty.insert(id);
                }
                if group.has_more() {
                    later.insert(id);
                }
                if group.needs_ticks() {
                    self.awake.insert(id);
                }
            }
        }
        self.dirty.append(&mut later);
        self.flush_keyed(out);
        self.redirect(now, out);
        self.return_lent(now, out);
        self.return_events(out);
        out.wal_release.append(&mut self.released);
        self.shared.wal.seal(out);
        self.shared.peers.take_frames(now, &mut out.frames);
    }

    /// Whether a turn has left something for another one without any input.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What the node has counted.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.shared.metrics;
        let repair = self.repair_standings();
        (metrics.repair_running, metrics.repair_done, metrics.repair_parts) =
            (repair.rounds, repair.done, repair.parts);
        metrics.hint_bytes = self.hint_room.taken() as u64;
        metrics.lodging = self.lodgings.len() as u64;
        metrics.wal_in_flight = self.shared.wal.in_flight() as u64;
        metrics.snapshots_leaving = self.groups.values().map(Group::snapshots_leaving).sum::<usize>() as u64;
        metrics.snapshots_coming = self.groups.values().filter(|group| group.has_snapshot_coming()).count() as u64;
        metrics.pending = self.groups.values().map(Group::pending).sum::<usize>() as u64;
        metrics
    }

    /// The figures of the doors for calls of other nodes' clients, for reads and for writes.
    #[must_use]
    pub fn lobby(&self) -> [Figures; 2] {
        self.router.figures()
    }

    /// How each group stands.
    pub fn group_metrics(&self) -> impl Iterator<Item = GroupMetrics> + '_ {
        self.groups.values().map(Group::metrics)
    }

    /// The nodes that vote on a group as this node knows them, both sides of a joint configuration; none for a group that it
    /// does not have.
    #[must_use]
    pub fn voters(&self, group: GroupId) -> BTreeSet<NodeId> {
        self.groups.get(&group).map(Group::voters).unwrap_or_default()
    }

    /// The host has seen how much the engine has on disk.
    pub fn set_engine_disk_bytes(&mut self, bytes: u64) {
        self.shared.metrics.engine_disk_bytes = bytes;
    }

    /// Why this node cannot serve linearizable requests now; empty if it can.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        if self.lifecycle != Lifecycle::Running {
            return vec!["the node is stopping".to_owned()];
        }
        // Tables serve without meta, so a node that waits for its leader is ready all the same.
        let tables = || self.groups.values().filter(|group| group.id != META_GROUP);
        let leaderless = || tables().filter(|group| group.leader().is_none());
        let mut reasons: Vec<_> =
            leaderless().take(MAX_REASONS).map(|group| format!("group {} has no leader", group.id)).collect();
        if reasons.len() == MAX_REASONS {
            let further = leaderless().count() - MAX_REASONS;
            reasons.extend((further > 0).then(|| format!("{further} further groups have no leader")));
        }
        reasons
    }

    pub(crate) fn is_running(&self) -> bool {
        self.lifecycle == Lifecycle::Running
    }

    /// The group's clock ticks from now on, and it has its turn.
    pub(crate) fn wake(&mut self, id: GroupId) {
        self.dirty.insert(id);
        self.awake.insert(id);
    }

    pub(crate) fn with(
        &mut self,
        now: Instant,
        id: GroupId,
        out: &mut Effects,
        act: impl FnOnce(&mut Group, &mut Context<'_>),
    ) {
        if let Some(group) = self.groups.get_mut(&id) {
            act(group, &mut Context { now, shared: &mut self.shared, out });
            self.dirty.insert(id);
        }
    }

    pub(crate) fn with_stream(
        &mut self,
        now: Instant,
        stream: StreamId,
        out: &mut Effects,
        act: impl FnOnce(&mut Group, &mut Context<'_>),
    ) {
        if let Some(group) = self.streams.get(&stream).copied() {
            self.with(now, group, out, act);
        }
    }

    fn for_all(&mut self, now: Instant, out: &mut Effects, act: impl Fn(&mut Group, &mut Context<'_>)) {
        for (id, group) in &mut self.groups {
            act(group, &mut Context { now, shared: &mut self.shared, out });
            self.dirty.insert(*id);
        }
    }

    /// A request's client is gone. Of a thousand groups few have anything that waits, and only those can have this.
    fn cancel(&mut self, now: Instant, id: RequestId, out: &mut Effects) {
        for (group_id, group) in self.groups.iter_mut().filter(|(_, group)| group.has_waiting()) {
            group.cancel(&mut Context { now, shared: &mut self.shared, out }, id);
            self.dirty.insert(*group_id);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Effects) {
        for id in std::mem::take(&mut self.awake) {
            self.with(now, id, out, Group::tick);
            if self.groups.get(&id).is_some_and(Group::needs_ticks) {
                self.awake.insert(id);
            }
        }
        self.ping(now);
        let suspects: BTreeSet<_> = self.shared.peers.suspects(now).collect();
        self.wake_followers_of(now, &suspects, out);
        self.tick_control(now, out);
        self.tick_keyed(now, out);
        self.tend_deadlines(now, out);
        self.tick_lodged(now);
        if let Lifecycle::Stopping(since) = self.lifecycle {
            self.stopping(now, since, out);
        }
    }

    /// Keys that have expired are removed, also of groups that sleep: their leaders wake up for it.
    fn tend_deadlines(&mut self, now: Instant, out: &mut Effects) {
        let now_ms = self.shared.wall.at(now);
        let due: Vec<_> = self.groups.values().filter(|group| group.has_due(now_ms)).map(|group| group.id).collect();
        for id in due {
            self.with(now, id, out, Group::tend_deadlines);
        }
    }

    /// Lets those hear of this node that share a group with it. Who they are is gathered from all groups, which may be many, and
    /// changes seldom; a new one hears of its group meanwhile.
    fn ping(&mut self, now: Instant) {
        if self.peers_gathered.is_none_or(|last| now.since(last) >= PING_AFTER) {
            self.peers_gathered = Some(now);
            let node = self.shared.node();
            let mut members: Vec<NodeId> = self.groups.values().flat_map(Group::peers).collect();
            members.sort_unstable();
            members.dedup();
            members.retain(|peer| *peer != node);
            self.group_peers = members;
        }
        self.shared.peers.ping(now, self.group_peers.iter().copied());
    }

    /// A hint that a peer is gone: sleeping groups that it leads wake up and find out.
    fn peer_down(&mut self, now: Instant, peer: NodeId, out: &mut Effects) {
        self.shared.peers.doubt(now, peer);
        self.wake_followers_of(now, &BTreeSet::from([peer]), out);
        self.routes_lost(now, peer, out);
        self.streams_lost(now, peer, out);
    }

    /// A peer has begun another run: what this node was sending to the last one arrives nowhere.
    fn peer_restarted(&mut self, now: Instant, peer: NodeId, out: &mut Effects) {
        let sending = self.groups.values().filter(|group| group.sends_snapshot_to(peer));
        let sending: Vec<_> = sending.map(|group| group.id).collect();
        for id in sending {
            self.with(now, id, out, |group, _| group.receiver_restarted(peer));
        }
    }

    fn wake_followers_of(&mut self, now: Instant, suspects: &BTreeSet<NodeId>, out: &mut Effects) {
        if suspects.is_empty() {
            return;
        }
        let led = |group: &Group| group.is_asleep() && group.leader().is_some_and(|leader| suspects.contains(&leader));
        let sleeping: Vec<_> = self.groups.values().filter(|group| led(group)).map(|group| group.id).collect();
        for id in sleeping {
            self.with(now, id, out, |group, _| group.wake());
        }
    }

    fn request(&mut self, now: Instant, id: RequestId, call: Call, out: &mut Effects) {
        self.shared.metrics.requests += 1;
        if self.lifecycle != Lifecycle::Running {
            return out.responses.push((id, Err(ErrorKind::Stopped.into())));
        }
        match self.locate(&call) {
            Ok(group) if self.serves(group) && self.keyed.contains_key(&group) => {
                self.keyed_request(now, id, group, call, out);
            }
            Ok(group) if self.serves(group) => self.request_placed(now, id, group, call, out),
            Ok(group) if self.control.view.shard(group).is_some() => {
                if let Some(call) = self.lodge(now, id, group, call, out) {
                    self.route(now, id, group, call, out);
                }
            }
            Ok(group) => {
                let unknown = ErrorKind::InvalidArgument(format!("there is no group {group} here"));
                out.responses.push((id, Err(unknown.into())));
            }
            Err(error) => out.responses.push((id, Err(error.into()))),
        }
    }

    /// A request for a group that this node has a replica of.
    pub(crate) fn request_here(&mut self, now: Instant, id: RequestId, group: GroupId, call: Call, out: &mut Effects) {
        if call.timeout.is_some_and(|left| left.is_zero()) {
            self.shared.metrics.expired += 1;
            return out.responses.push((id, Err(Error::not_done(ErrorKind::Timeout))));
        }
        if self.keyed.contains_key(&group) {
            return self.coordinate(now, id, group, call, out);
        }
        let full = self.groups.get(&group).is_none_or(|group| {
            group.pending() >= limits::MAX_PENDING_REQUESTS || group.pending_bytes() >= limits::MAX_PENDING_BYTES
        });
        if full {
            self.shared.metrics.overloads += 1;
            return out.responses.push((id, Err(ErrorKind::Overloaded.into())));
        }
        self.with(now, group, out, |group, cx| group.request(cx, id, call));
    }

    fn frame(&mut self, now: Instant, from: NodeId, bytes: Bytes, out: &mut Effects) {
        self.shared.metrics.frames_received += 1;
        let Ok((header, mut reader)) = envelope::open_frame(bytes) else {
            self.shared.metrics.frames_refused += 1;
            return;
        };
        match self.shared.peers.heard(now, from, header) {
            Heard::New => {}
            Heard::Restarted => self.peer_restarted(now, from, out),
            Heard::Old => {
                self.shared.metrics.frames_refused += 1;
                return;
            }
        }
        while reader.remaining() > 0 {
            let Ok(message) = Message::decode(&mut reader) else {
                self.shared.metrics.frames_refused += 1;
                return;
            };
            self.message(now, from, message, out);
        }
    }

    fn message(&mut self, now: Instant, from: NodeId, message: Message, out: &mut Effects) {
        match message {
            Message::Raft(group, message) => {
                self.with(now, group, out, |group, cx| group.raft_message(cx, from, message));
            }
            Message::Forward(forward) => {
                self.with(now, forward.group, out, |group, cx| group.forwarded(cx, from, forward));
            }
            Message::Refused { group, term, ticket, error } => {
                self.with(now, group, out, |group, cx| group.refused(cx, term, ticket, error));
            }
            Message::Ask { group, ticket, question } => {
                self.with(now, group, out, |group, cx| group.asked(cx, from, ticket, question));
            }
            Message::Told { group, result: Ok(Told::NoMember { term }), .. } => self.left_behind(now, group, term, out),
            Message::Told { group, ticket, result } => {
                self.with(now, group, out, |group, cx| group.told(cx, ticket, result));
            }
            Message::Page(page) => self.with(now, page.group, out, |group, cx| group.page(cx, from, page)),
            Message::PageAck { group, transfer, pages, state } => {
                self.with(now, group, out, |group, cx| group.page_acknowledged(cx, from, transfer, pages, state));
            }
            Message::Route(route) => self.routed_here(now, from, route, out),
            Message::Routed { name, result } => self.routed_back(now, from, name, result, out),
            Message::WrongShard { name, current, .. } => self.wrong_shard(now, from, name, &current),
            Message::Stream { name, message } => self.stream_message(now, from, name, message, out),
            Message::MapWant { have } => self.map_wanted(now, from, have),
            Message::MapUpdate(update) => self.map_update(update, out),
            Message::Report(report) => self.reported(now, from, report),
            Message::Keyed(group, message) => self.keyed_message(now, from, group, message, out),
            Message::Mail(bytes) => out.mail.push((from, bytes)),
        }
    }

    fn done(&mut self, now: Instant, done: Done, out: &mut Effects) {
        match done {
            Done::Applied { group, applied, output } => {
                if group == META_GROUP {
                    self.meta_applied(&output, out);
                }
                // A page more changes the bounds of a child as well, and concerns nobody.
                let is_page = |bounds: &Bounds| matches!(bounds.stage, Stage::Filling { .. });
                let serves_other = output.bounds.as_ref().is_some_and(|bounds| !is_page(bounds));
                self.with(now, group, out, |group, cx| group.applied(cx, applied, output));
                if self.keyed.contains_key(&group) {
                    // Its replicas may be others now.
                    self.agenda.wake(group);
                }
                self.split_applied(now, group, out);
                if serves_other {
                    self.retry_redirected(now, out);
                    self.report_now(now);
                }
            }
            Done::Imported { group, transfer, pages, outcome } => {
                self.with(now, group, out, |group, cx| group.imported(cx, transfer, pages, outcome));
            }
            Done::Installed(state) => {
                let id = state.group;
                self.with(now, id, out, |group, cx| group.installed(cx, state));
                if id == META_GROUP {
                    self.load_map(out);
                }
            }
            Done::Opened(state) => self.opened(now, state, out),
            Done::Closed { group } => self.closed(group),
            Done::Keyed { group, outcomes, size, due_ms } => {
                self.keyed_done(now, group, outcomes, (size, due_ms), out);
            }
            Done::CompactionFinished { group } => {
                self.with(now, group, out, Group::compaction_finished);
            }
        }
    }

    fn read_done(&mut self, now: Instant, read: ReadDone, out: &mut Effects) {
        match read {
            ReadDone::Request { id, result } => out.responses.push((id, result)),
            ReadDone::History { group, from, result } => {
                self.with(now, group, out, |group, cx| group.history(cx, from, result));
            }
            ReadDone::Page { purpose: ExportPurpose::Client(stream), export, result } => {
                self.downloaded(stream, export, result, out);
            }
            ReadDone::Page { purpose: ExportPurpose::Follower { group, to, transfer }, export, result } => {
                self.with(now, group, out, |group, cx| group.exported(cx, to, transfer, export, result));
            }
            ReadDone::Fed { parent, child, feed, page } => self.fed(now, parent, child, feed, page, out),
        }
    }

    fn checkpointed(&mut self, now: Instant, spaces: &BTreeMap<SpaceId, Applied>, out: &mut Effects) {
        self.shared.wal.checkpoint_done();
        for (id, group) in &mut self.groups {
            let cx = &mut Context { now, shared: &mut self.shared, out };
            group.checkpointed(cx, spaces);
            self.dirty.insert(*id);
        }
        self.keyed_checkpointed(spaces, out);
    }

    fn open_download(&mut self, stream: StreamId, target: &Target, out: &mut Effects) {
        let found = self.locate_whole(target).and_then(|group| {
            let held = self.groups.get(&group).filter(|_| self.serves(group));
            held.ok_or_else(|| ErrorKind::Unsupported(format!("this node has no replica of group {group} to download")))
        });
        let group = match found {
            Ok(group) => group,
            Err(error) => return out.snapshot.push((stream, Some(Err(error.into())))),
        };
        self.downloads.insert(stream, Download::new(group.reader()));
    }

    fn pull(&mut self, stream: StreamId, out: &mut Effects) {
        let source = self.downloads.get_mut(&stream).and_then(Download::pull);
        if let Some(source) = source {
            let max_bytes = self.shared.config.snapshot_chunk_bytes;
            out.reads.push(ReadWork::Page { purpose: ExportPurpose::Client(stream), source, max_bytes });
        }
    }

    fn downloaded(
        &mut self,
        stream: StreamId,
        export: Option<Box<althing_strong::Export>>,
        result: Result<Option<Bytes>, althing_api::Error>,
        out: &mut Effects,
    ) {
        let Some(download) = self.downloads.get_mut(&stream) else { return };
        let chunk: Option<Result<SnapshotChunk, _>> = download.page(export, result);
        let over = !matches!(chunk, Some(Ok(_)));
        out.snapshot.push((stream, chunk));
        if over {
            self.downloads.remove(&stream);
        }
    }

    fn stop(&mut self, now: Instant, out: &mut Effects) {
        if self.lifecycle == Lifecycle::Running {
            self.lifecycle = Lifecycle::Stopping(now);
            self.for_all(now, out, Group::hand_over);
            self.stopping(now, now, out);
        }
    }

    fn stopping(&mut self, now: Instant, since: Instant, out: &mut Effects) {
        let leading = self.groups.values().any(|group| group.is_leader() && group.has_successor());
        if leading && now.since(since) < HANDOVER_TIMEOUT {
            return;
        }
        self.lifecycle = Lifecycle::Stopped;
        self.for_all(now, out, |group, cx| group.stop(cx, "the node is stopping"));
        self.stop_redirected(out);
        let keyed: Vec<_> = self.keyed.keys().copied().collect();
        keyed.into_iter().for_each(|group| self.close_keyed(group, out));
        out.stopped = true;
    }

    /// The table's revision as this node has applied it, for tests and the simulator.
    #[must_use]
    pub fn revision(&self, group: GroupId) -> Option<Revision> {
        self.groups.get(&group).map(Group::revision)
    }
}

/// How often groups may make work for themselves within one turn.
const MAX_ROUNDS: usize = 4;
