//! The driver: one thread that gives the node its turns and carries out what it wants.
//!
//! A turn takes everything that has gathered in the inbox, tells the node, flushes it once, and performs the effects. So
//! what arrives together travels together: one frame per peer, one log batch, one hand-over to the applier.

mod perform;
mod ports;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use althing_api::service::ReplySender;
use althing_api::watch::{WatchCommand, WatchEvent};
use althing_api::{Call, Error, Health, SnapshotChunk, Target};
use althing_env::Clock;
use althing_node::{CLIENT_REQUESTS, DiskSpace, Done, Effects, Input, Node, ReadDone};
use althing_resilience::{Deadline, Work};
use althing_storage::engine::{Applied, EngineStats};
use althing_types::{GroupId, RequestId, SpaceId, StreamId};
use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};

use crate::admission::{Ended, Place};
use crate::catalog::Catalog;
use crate::feed::Feed;
use crate::handle::Shared;
use crate::mailbox::{Lane, Left};
use crate::metrics::{Published, ShellMetrics};
use crate::transport;
use crate::transport::Transport;
use crate::transport::address::Address;
use althing_types::NodeId;

pub(crate) use ports::Ports;

/// A stream of chunks on its way to a client.
type ChunkFeed = Arc<Feed<Result<SnapshotChunk, Error>>>;

/// What comes to the driver.
pub(crate) enum Event {
    /// A client asks.
    Request { call: Call, sender: ReplySender, place: Place },
    /// A client opens a stream of watches.
    WatchOpen { stream: StreamId, target: Target, require_leader: bool, feed: Arc<Feed<WatchEvent>> },
    /// A client says something on it.
    Watch { stream: StreamId, command: WatchCommand },
    /// A client has taken events off it.
    WatchDrained { stream: StreamId, bytes: usize },
    /// A client closes it.
    WatchClose { stream: StreamId },
    /// A client wants a snapshot.
    SnapshotOpen { stream: StreamId, target: Target, feed: ChunkFeed },
    /// A client wants the next chunk.
    SnapshotPull { stream: StreamId },
    /// A client has enough.
    SnapshotClose { stream: StreamId },
    /// A gateway tells those of other nodes something.
    Mail(Bytes),
    /// The transport has news.
    Peer(transport::Event),
    /// The log is durable so far.
    Persisted(u64),
    /// The log is pinned by these groups.
    LogPinned(Vec<GroupId>),
    /// How the disk stands for space has changed.
    DiskSpace(DiskSpace),
    /// The applier has done something.
    Done(Vec<Done>),
    /// The reader has done something.
    Read(ReadDone),
    /// A checkpoint is durable.
    Checkpointed(BTreeMap<SpaceId, Applied>),
    /// The engine's figures.
    EngineStats(EngineStats),
    /// Stop in good order.
    Stop,
    /// A thread of this node has failed: nothing more may leave it.
    Failed,
}

impl Lane for Event {
    /// What peers say and what the node's own threads report goes first: a turn that begins with the requests of a thousand
    /// clients would let a heartbeat wait for them all.
    fn work(&self) -> Work {
        match self {
            Self::Peer(_)
            | Self::Persisted(_)
            | Self::LogPinned(_)
            | Self::DiskSpace(_)
            | Self::Done(_)
            | Self::Read(_)
            | Self::Checkpointed(_)
            | Self::EngineStats(_)
            | Self::Stop
            | Self::Failed => Work::Consensus,
            Self::Request { .. }
            | Self::WatchOpen { .. }
            | Self::Watch { .. }
            | Self::WatchDrained { .. }
            | Self::WatchClose { .. }
            | Self::Mail(_) => Work::Clients,
            Self::SnapshotOpen { .. } | Self::SnapshotPull { .. } | Self::SnapshotClose { .. } => Work::Background,
        }
    }
}

/// A caller that waits, and the place that its request has.
pub(crate) struct Waiting {
    pub sender: ReplySender,
    pub place: Place,
}

/// How often requests whose caller is gone are looked for, in ticks.
const CANCEL_TICKS: u64 = 8;
/// How often the node's numbers are copied for the metrics page, in ticks.
const PUBLISH_TICKS: u64 = 10;

/// Why the driver ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// The node has stopped in good order.
    Stopped,
    /// A thread has failed.
    Failed,
    /// Another node refuses this one for good, for this reason.
    Dismissed(String),
}

/// What the driver drives, and whom it tells.
pub(crate) struct Driver {
    pub node: Node,
    pub clock: Arc<dyn Clock>,
    pub tick: Duration,
    pub shared: Arc<Shared>,
    pub published: Arc<Published>,
    pub catalog: Arc<Catalog>,
    pub metrics: ShellMetrics,
    pub transport: Transport,
    /// Where peers can be found beside what their member entries say.
    pub hints: BTreeMap<NodeId, Vec<Address>>,
    pub ports: Ports,
    pub pending: BTreeMap<RequestId, Waiting>,
    pub next_request: u64,
    pub watches: BTreeMap<StreamId, Arc<Feed<WatchEvent>>>,
    pub downloads: BTreeMap<StreamId, ChunkFeed>,
    /// The quotas that were seen last.
    pub quotas: BTreeMap<GroupId, u64>,
    /// Whether the node could serve when it was asked last. One that could is asked once a tick; one that could not, each turn.
    pub is_ready: bool,
}

impl Driver {
    /// Gives turns until the node has stopped.
    pub(crate) async fn run(&mut self) -> Ending {
        let mut ticks = interval(self.tick);
        // After a stall there is one tick, not a burst of them: time that nobody saw must not start an election.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(&self.shared);
        let mut events = Vec::new();
        let mut out = Effects::default();
        let mut tick_count = 0_u64;
        let mut left = Left::Nothing;
        self.publish();
        loop {
            let ticked = tokio::select! {
                biased;
                _ = ticks.tick() => true,
                () = shared.inbox.arrived() => false,
                () = shared.pace.spent() => false,
                () = tokio::task::yield_now(), if left == Left::Something || self.node.has_more() => false,
            };
            if !ticked {
                // Whatever else is ready on the sockets comes into the same turn.
                tokio::task::yield_now().await;
            }
            let begun = self.clock.now();
            left = shared.inbox.take(&mut events);
            for event in events.drain(..) {
                match event {
                    Event::Failed => return Ending::Failed,
                    Event::Peer(transport::Event::Dismissed(reason)) => return Ending::Dismissed(reason),
                    event => self.take(event, &mut out),
                }
            }
            if ticked {
                tick_count += 1;
                self.tick(tick_count, &mut out);
            }
            self.node.flush(self.clock.now(), &mut out);
            if ticked || !self.is_ready {
                self.judge_health();
            }
            if self.perform(&mut out) == perform::Next::End {
                return Ending::Stopped;
            }
            shared.pace.renew();
            self.metrics.turn_seconds.observe(self.clock.now().since(begun).as_secs_f64());
        }
    }

    fn tell(&mut self, input: Input, out: &mut Effects) {
        self.node.handle(self.clock.now(), input, out);
    }

    fn tick(&mut self, count: u64, out: &mut Effects) {
        self.tell(Input::Wall(self.clock.wall()), out);
        self.tell(Input::Tick, out);
        if count.is_multiple_of(CANCEL_TICKS) {
            self.cancel_abandoned(out);
        }
        if count.is_multiple_of(PUBLISH_TICKS) {
            self.publish();
        }
        self.compare_maps(out);
    }

    /// Says whether the node can serve. It is asked before the turn's answers leave, so that nobody who was answered can find
    /// a node that says it is still starting.
    fn judge_health(&mut self) {
        let reasons = self.node.not_ready();
        self.is_ready = reasons.is_empty();
        self.shared.set_health(Health { live: true, ready: self.is_ready, reasons });
    }

    /// Tells the membership how new this node's map is, and the node if others have a newer one.
    fn compare_maps(&mut self, out: &mut Effects) {
        let own = u64::try_from(self.node.map().revision().0).unwrap_or_default();
        self.shared.board.set_map_epoch(own);
        self.catalog.renew(self.node.map());
        if self.shared.board.newest_map_epoch() > own {
            self.tell(Input::MapBehind, out);
        }
    }

    /// Tells the node of requests that nobody waits for any more.
    fn cancel_abandoned(&mut self, out: &mut Effects) {
        let gone: Vec<_> = self.pending.extract_if(.., |_, waiting| waiting.sender.is_canceled()).collect();
        for (id, _) in &gone {
            self.shared.pending.fetch_sub(1, Ordering::Relaxed);
            self.tell(Input::Cancel { id: *id }, out);
        }
        self.shared.doors.leave(gone.into_iter().map(|(_, waiting)| (waiting.place, Ended::Otherwise)));
    }

    fn publish(&mut self) {
        let groups: Vec<_> = self.node.group_metrics().collect();
        for group in &groups {
            let known = self.quotas.insert(group.group, group.quota_bytes);
            if known.is_some_and(|known| known != group.quota_bytes) {
                tracing::info!(group = %group.group, bytes = group.quota_bytes, "the table's quota has changed");
            }
        }
        let numbers = (self.node.metrics(), groups);
        let repair = self.node.repair_metrics(self.clock.now()).collect();
        *self.published.repair.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = repair;
        *self.published.lobby.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = self.node.lobby();
        *self.published.node.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = numbers;
    }

    /// Sends mail to the peers for whom not too much waits.
    fn mail(&mut self, bytes: Bytes, out: &mut Effects) {
        self.shared.mail.taken(bytes.len());
        let (to, lacking) = self.transport.with_room(crate::mail::MAX_BACKLOG_BYTES);
        let counters = &self.shared.mail.counters;
        counters.sent.fetch_add(to.len() as u64, Ordering::Relaxed);
        counters.dropped.fetch_add(lacking, Ordering::Relaxed);
        self.tell(Input::Mail { to, bytes }, out);
    }

    /// Takes in one event.
    fn take(&mut self, event: Event, out: &mut Effects) {
        match event {
            Event::Request { mut call, sender, place } => {
                self.next_request = (self.next_request + 1) % CLIENT_REQUESTS;
                let id = RequestId(self.next_request);
                let (now, admitted) = (self.clock.now(), place.ticket.admitted());
                self.metrics.inbox_seconds.observe(now.since(admitted).as_secs_f64());
                // The client's time runs since its request was there; the node drops what has none left.
                call.timeout = call.timeout.map(|timeout| Deadline::after(admitted, timeout).remaining(now));
                self.pending.insert(id, Waiting { sender, place });
                self.tell(Input::Request { id, call }, out);
            }
            Event::WatchOpen { stream, target, require_leader, feed } => {
                self.watches.insert(stream, feed);
                self.tell(Input::WatchOpen { stream, target, require_leader }, out);
            }
            Event::Watch { stream, command } => self.tell(Input::Watch { stream, command }, out),
            Event::WatchDrained { stream, bytes } => self.tell(Input::WatchDrained { stream, bytes }, out),
            Event::WatchClose { stream } => {
                self.watches.remove(&stream);
                self.tell(Input::WatchClose { stream }, out);
            }
            Event::SnapshotOpen { stream, target, feed } => {
                self.downloads.insert(stream, feed);
                self.tell(Input::SnapshotOpen { stream, target }, out);
            }
            Event::SnapshotPull { stream } => self.tell(Input::SnapshotPull { stream }, out),
            Event::SnapshotClose { stream } => {
                self.downloads.remove(&stream);
                self.tell(Input::SnapshotClose { stream }, out);
            }
            Event::Mail(bytes) => self.mail(bytes, out),
            Event::Peer(transport::Event::Up(peer)) => self.tell(Input::PeerUp(peer), out),
            Event::Peer(transport::Event::Down(peer)) => self.tell(Input::PeerDown(peer), out),
            Event::Peer(transport::Event::Frame { from, bytes }) => self.tell(Input::Frame { from, bytes }, out),
            Event::Persisted(seq) => self.tell(Input::Persisted { seq }, out),
            Event::LogPinned(groups) => self.tell(Input::LogPinned(groups), out),
            Event::DiskSpace(space) => self.tell(Input::DiskSpace(space), out),
            Event::Done(done) => self.tell(Input::Done(done), out),
            Event::Read(read) => self.tell(Input::Read(read), out),
            Event::Checkpointed(spaces) => self.tell(Input::Checkpointed(spaces), out),
            Event::EngineStats(stats) => {
                self.node.set_engine_disk_bytes(stats.disk_bytes);
                *self.published.engine.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = stats;
            }
            Event::Stop => self.tell(Input::Stop, out),
            Event::Failed | Event::Peer(transport::Event::Dismissed(_)) => {}
        }
    }
}
