//! What the shell measures, and how the node's numbers become the Prometheus text format.
//!
//! Counters that the cores keep as plain numbers are copied by the driver from time to time ([`Published`]) and encoded
//! when somebody asks; nothing on the hot path touches the registry.

use std::fmt::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use althing_api::Way;
use althing_api::service::DEFAULT_GROUP;
use althing_consensus::Role;
use althing_gossip::{Dropped, Liveness};
use althing_node::{GroupMetrics, LastRound, Metrics, RepairMetrics, RoundMetrics, Tally};
use althing_resilience::admission::{Figures, Refused};
use althing_storage::engine::EngineStats;
use althing_storage::wal::WalStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::admission::Doors;
use crate::gossip::{self, GossipView};
use crate::mail::MailCounters;
use crate::transport::TransportMetrics;

/// What the log's thread counts.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    /// How long each fsync took, in seconds.
    pub sync_seconds: Histogram,
    /// Records appended.
    pub records: Counter,
}

impl Default for LogMetrics {
    fn default() -> Self {
        // From 50 µs to 1.6 s.
        Self { sync_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)), records: Counter::default() }
    }
}

/// All that the shell measures of one node.
#[derive(Clone, Debug)]
pub(crate) struct ShellMetrics {
    pub log: LogMetrics,
    /// How long the applier took for what had gathered, in seconds.
    pub apply_seconds: Histogram,
    /// How long a turn of the driver took, in seconds.
    pub turn_seconds: Histogram,
    /// How long a request waited for its turn, in seconds.
    pub inbox_seconds: Histogram,
}

impl Default for ShellMetrics {
    fn default() -> Self {
        let histogram = || Histogram::new(exponential_buckets(0.000_01, 4.0, 10));
        Self {
            log: LogMetrics::default(),
            apply_seconds: histogram(),
            turn_seconds: histogram(),
            inbox_seconds: histogram(),
        }
    }
}

impl ShellMetrics {
    pub(crate) fn register(&self, registry: &mut Registry, published: Arc<Published>) {
        registry.register(
            "althing_wal_fsync_seconds",
            "How long an fsync of the write-ahead log took",
            self.log.sync_seconds.clone(),
        );
        // The same under the name that dashboards for etcd know.
        registry.register(
            "etcd_disk_wal_fsync_duration_seconds",
            "How long an fsync of the write-ahead log took",
            self.log.sync_seconds.clone(),
        );
        registry.register("althing_wal_records", "Records appended to the log", self.log.records.clone());
        registry.register(
            "althing_apply_seconds",
            "How long the applier took for the entries that had gathered",
            self.apply_seconds.clone(),
        );
        registry.register("althing_turn_seconds", "How long a turn of the driver took", self.turn_seconds.clone());
        registry.register(
            "althing_inbox_seconds",
            "How long a request waited for its turn with the driver",
            self.inbox_seconds.clone(),
        );
        registry.register_collector(Box::new(NodeCollector(published)));
    }
}

/// The node's numbers as they were a moment ago.
#[derive(Debug)]
pub(crate) struct Published {
    pub node: Mutex<(Metrics, Vec<GroupMetrics>)>,
    /// How replicas of convergent shards stand with the other ones.
    pub repair: Mutex<Vec<RepairMetrics>>,
    pub wal: Arc<Mutex<WalStats>>,
    pub engine: Mutex<EngineStats>,
    pub transport: Arc<TransportMetrics>,
    pub doors: Arc<Doors>,
    pub mail: Arc<MailCounters>,
    pub gossip: Arc<Mutex<GossipView>>,
    /// The doors for calls of other nodes' clients: reads, writes.
    pub lobby: Mutex<[Figures; 2]>,
}

impl Published {
    pub(crate) fn new(transport: Arc<TransportMetrics>, doors: Arc<Doors>, mail: Arc<MailCounters>) -> Self {
        Self {
            node: Mutex::new((Metrics::default(), Vec::new())),
            repair: Mutex::default(),
            wal: Arc::default(),
            engine: Mutex::default(),
            transport,
            doors,
            mail,
            gossip: Arc::default(),
            lobby: Mutex::default(),
        }
    }
}

/// A copy of what a lock holds; whoever panicked while holding it only wrote numbers.
fn copy<T: Clone>(mutex: &Mutex<T>) -> T {
    mutex.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct GroupLabel {
    group: u64,
}

/// One label with a name of its own.
type Label = [(&'static str, String); 1];

/// Encodes the published numbers.
#[derive(Debug)]
struct NodeCollector(Arc<Published>);

struct Encoder<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Encoder<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let metric = ConstCounter::new(value);
        let encoder = self.0.encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let metric = ConstGauge::new(signed(value));
        let encoder = self.0.encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    /// One counter per label.
    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, u64)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, ConstCounter::new(0_u64).metric_type())?;
        for (label, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }

    /// One gauge per label.
    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, f64)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, ConstGauge::new(0.0).metric_type())?;
        for (label, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }

    fn per_group(
        &mut self,
        name: &str,
        help: &str,
        groups: &[GroupMetrics],
        value: impl Fn(&GroupMetrics) -> i64,
    ) -> Result<(), Error> {
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for group in groups {
            let label = GroupLabel { group: group.group.get() };
            ConstGauge::new(value(group)).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}

/// A gauge's number; beyond 2^63 nothing is told apart.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

const fn is_leader(role: Role) -> bool {
    match role {
        Role::Leader { .. } => true,
        Role::Recovering
        | Role::Follower { .. }
        | Role::PreCandidate
        | Role::Candidate
        | Role::Learner { .. }
        | Role::Removed => false,
    }
}

const fn has_leader(role: Role) -> bool {
    match role {
        Role::Leader { .. } => true,
        Role::Follower { leader } | Role::Learner { leader } => leader.is_some(),
        Role::Recovering | Role::PreCandidate | Role::Candidate | Role::Removed => false,
    }
}

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut encoder = Encoder(&mut encoder);
        let (node, groups) = copy(&self.0.node);
        encode_node(&mut encoder, &node)?;
        encode_groups(&mut encoder, &groups)?;
        encode_replicas(&mut encoder, &copy(&self.0.repair))?;
        encode_wal(&mut encoder, &copy(&self.0.wal))?;
        encode_engine(&mut encoder, &copy(&self.0.engine))?;
        encode_for_dashboards(&mut encoder, &node, &groups, &copy(&self.0.engine))?;
        encode_transport(&mut encoder, &self.0.transport)?;
        encode_mail(&mut encoder, &self.0.mail)?;
        encode_admission(&mut encoder, &self.0.doors)?;
        encode_lobby(&mut encoder, &copy(&self.0.lobby))?;
        encode_gossip(&mut encoder, &copy(&self.0.gossip))
    }
}

/// The numbers of the default table that have a counterpart in an etcd, under its names: dashboards and alerts made for
/// etcd find them.
fn encode_for_dashboards(
    encoder: &mut Encoder<'_, '_>,
    node: &Metrics,
    groups: &[GroupMetrics],
    engine: &EngineStats,
) -> Result<(), Error> {
    let Some(table) = groups.iter().find(|group| group.group == DEFAULT_GROUP) else { return Ok(()) };
    let (has, is) = (has_leader(table.role), is_leader(table.role));
    encoder.gauge("etcd_server_has_leader", "Whether a leader is known", u64::from(has))?;
    encoder.gauge("etcd_server_is_leader", "Whether this member leads", u64::from(is))?;
    encoder.counter("etcd_server_proposals_committed", "Index of the last entry known committed", table.commit)?;
    encoder.counter("etcd_server_proposals_applied", "Index of the last entry applied", table.applied)?;
    encoder.gauge("etcd_server_proposals_pending", "Proposals and reads that wait", node.pending)?;
    encoder.gauge(
        "etcd_network_snapshot_send_inflights_total",
        "Snapshots on their way to followers",
        node.snapshots_leaving,
    )?;
    encoder.gauge(
        "etcd_network_snapshot_receive_inflights_total",
        "Snapshots on their way to this member",
        node.snapshots_coming,
    )?;
    let disk = engine.disk_bytes.max(table.size_bytes);
    encoder.gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of the database", disk)?;
    encoder.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of it that are in use", table.size_bytes)?;
    encoder.gauge("etcd_debugging_mvcc_watcher_total", "Watches on this node", table.watches)?;
    encoder.gauge("etcd_debugging_mvcc_current_revision", "The revision", u64::try_from(table.revision).unwrap_or(0))
}

fn encode_node(encoder: &mut Encoder<'_, '_>, node: &Metrics) -> Result<(), Error> {
    encoder.counter("althing_requests", "Requests taken in", node.requests)?;
    encoder.counter("althing_requests_overloaded", "Requests refused because too many wait", node.overloads)?;
    encoder.counter(
        "althing_requests_routed",
        "Calls and streams that another node was asked to serve",
        node.routed,
    )?;
    encoder.counter("althing_requests_expired", "Requests dropped unbegun: their time was over", node.expired)?;
    encoder.counter("althing_route_retries", "Routed calls tried elsewhere at once", node.route_retries)?;
    encoder.counter(
        "althing_route_retries_put_off",
        "Routed calls put off to the next tick, for too many were tried again",
        node.route_retries_put_off,
    )?;
    encoder.counter("althing_wrong_shards", "Calls of other nodes for shards that are not here", node.wrong_shards)?;
    encoder.counter("althing_wrong_shard_retries", "Such refusals of other nodes", node.wrong_shard_retries)?;
    encoder.counter("althing_requests_redirected", "Calls that went on at a child of a split", node.redirected)?;
    encoder.counter("althing_splits", "Splits of shards that this node brought to their end", node.splits)?;
    let pause = node.split_pause_nanos / 1_000_000;
    encoder.gauge(
        "althing_split_pause_milliseconds_max",
        "The longest that nobody served a shard in a split",
        pause,
    )?;
    encode_repair(encoder, node)?;
    encoder.counter("althing_reconciler_writes", "Writes that this node's reconcilers proposed", node.reconciled)?;
    encoder.counter("althing_reads", "Reads done", node.reads)?;
    encoder.counter("althing_applied_entries", "Log entries applied", node.applied_entries)?;
    encoder.counter("althing_role_changes", "Changes of role of any replica", node.role_changes)?;
    encoder.counter("althing_leases_expired", "Leases that this node found past their time", node.leases_expired)?;
    encoder.counter("althing_snapshots_sent", "Snapshots begun to followers", node.snapshots_sent)?;
    encoder.counter("althing_snapshots_installed", "Snapshots installed", node.snapshots_installed)?;
    encoder.counter("althing_frames_refused", "Frames of peers that were not accepted", node.frames_refused)?;
    encoder.gauge("althing_wal_in_flight", "Log batches that wait for their fsync", node.wal_in_flight)?;
    encoder.gauge("althing_requests_pending", "Proposals and reads that wait", node.pending)
}

/// What makes replicas of convergent shards whole again.
fn encode_repair(encoder: &mut Encoder<'_, '_>, node: &Metrics) -> Result<(), Error> {
    encoder.counter("althing_repair_rounds", "Rounds of repair between convergent replicas", node.rounds)?;
    encoder.counter(
        "althing_repair_rounds_broken",
        "Rounds of repair broken off, to begin anew",
        node.rounds_broken,
    )?;
    encoder.counter("althing_repair_keys", "Keys that were found to differ, and compared", node.repair_keys)?;
    encoder.counter("althing_repair_joined", "Those of which this node lacked something", node.repair_joined)?;
    encoder.counter("althing_repair_sent", "Those of which the other one did", node.repair_sent)?;
    encoder.counter("althing_repair_bytes", "Bytes that rounds have sent and received", node.repair_bytes)?;
    encoder.gauge("althing_repair_running", "Rounds of repair under way", node.repair_running)?;
    encoder.gauge("althing_repair_parts_done", "Parts of the rounds under way that are done", node.repair_done)?;
    encoder.gauge("althing_repair_parts", "All parts of the rounds under way", node.repair_parts)?;
    encoder.counter("althing_hints_sent", "Deltas sent again, for they were not acknowledged", node.hints_sent)?;
    encoder.counter(
        "althing_hints_found",
        "Deltas read back from the log after a start, for others",
        node.hints_found,
    )?;
    encoder.counter("althing_hints_forgone", "Deltas sent once and not kept, for want of room", node.hints_forgone)?;
    encoder.gauge("althing_hints_bytes", "Bytes of deltas kept for who has not acknowledged them", node.hint_bytes)?;
    encoder.counter("althing_writes_lodged", "Writes at ANY taken without a replica", node.lodged)?;
    encoder.gauge("althing_writes_lodging", "Those that wait to be handed over", node.lodging)?;
    encoder.counter("althing_shard_looks", "Looks at convergent replicas as time went by", node.shard_looks)
}

/// The name of a family, what it says, and its figure.
type Row<T, V> = (&'static str, &'static str, fn(&T) -> V);

/// How each replica of a convergent shard stands with each other one. Only what is there is shown: a round that is under way, one that
/// came to its end, hints that wait. `althing describe shard` reads these.
fn encode_replicas(encoder: &mut Encoder<'_, '_>, pairs: &[RepairMetrics]) -> Result<(), Error> {
    let pair = |one: &RepairMetrics| [("group", one.group.get().to_string()), ("peer", one.peer.to_string())];
    let rounds = || pairs.iter().filter_map(|one| Some((pair(one), one.round?)));
    let seconds = rounds().map(|([group, peer], round)| {
        let label = [group, peer, ("stage", round.stage.name().to_owned())];
        (label, round.taken.as_secs_f64())
    });
    encoder.gauges(
        "althing_repair_round_seconds",
        "How long a round under way has taken, and what it does",
        seconds,
    )?;
    let rows: [Row<RoundMetrics, u64>; 5] = [
        ("althing_repair_round_parts_done", "Parts of a round under way that are done", |round| round.done),
        ("althing_repair_round_parts", "All its parts; 0 until its tree is made", |round| round.parts),
        ("althing_repair_round_differing", "Keys that it has found to differ", |round| round.tally.differing),
        ("althing_repair_round_mended", "Keys that it has mended", |round| round.tally.mended),
        ("althing_repair_round_bytes", "Bytes that it has sent and received", |round| round.tally.bytes),
    ];
    for (name, help, value) in rows {
        encoder.gauges(name, help, rounds().map(|(label, round)| (label, value(&round) as f64)))?;
    }
    let lasts = || pairs.iter().filter_map(|one| Some((pair(one), one.last?)));
    let times: [Row<LastRound, f64>; 2] = [
        ("althing_repair_last_seconds", "Since when the last round is complete", |last| last.ago.as_secs_f64()),
        ("althing_repair_last_took_seconds", "How long it took", |last| last.took.as_secs_f64()),
    ];
    for (name, help, value) in times {
        encoder.gauges(name, help, lasts().map(|(label, last)| (label, value(&last))))?;
    }
    let rows: [Row<Tally, u64>; 3] = [
        ("althing_repair_last_differing", "Keys that the last complete round found to differ", |tally| tally.differing),
        ("althing_repair_last_mended", "Keys that it mended", |tally| tally.mended),
        ("althing_repair_last_bytes", "Bytes that it sent and received", |tally| tally.bytes),
    ];
    for (name, help, value) in rows {
        encoder.gauges(name, help, lasts().map(|(label, last)| (label, value(&last.tally) as f64)))?;
    }
    let rows: [Row<RepairMetrics, u64>; 4] = [
        ("althing_repair_broken", "Rounds broken off since the last complete one", |one| one.broken),
        ("althing_hints_waiting", "Deltas kept for a replica that has not acknowledged them", |one| one.hints),
        ("althing_hints_waiting_bytes", "Their bytes", |one| one.hint_bytes),
        ("althing_hints_left_to_repair", "Deltas not kept for it, which the next round brings", |one| one.forgone),
    ];
    for (name, help, value) in rows {
        let found = pairs.iter().map(|one| (pair(one), value(one) as f64)).filter(|(_, value)| *value > 0.0);
        encoder.gauges(name, help, found)?;
    }
    Ok(())
}

fn encode_groups(encoder: &mut Encoder<'_, '_>, groups: &[GroupMetrics]) -> Result<(), Error> {
    let leader = |group: &GroupMetrics| i64::from(is_leader(group.role));
    let led = |group: &GroupMetrics| i64::from(has_leader(group.role));
    encoder.per_group("althing_raft_is_leader", "Whether this replica leads", groups, leader)?;
    encoder.per_group("althing_raft_has_leader", "Whether a leader is known", groups, led)?;
    encoder.per_group("althing_raft_term", "Raft term", groups, |group| signed(group.term))?;
    encoder
        .per_group("althing_raft_commit_index", "Last index known committed", groups, |group| signed(group.commit))?;
    encoder.per_group("althing_raft_applied_index", "Last index applied", groups, |group| signed(group.applied))?;
    encoder.per_group("althing_raft_log_bytes", "Raft log in memory", groups, |group| signed(group.log_bytes))?;
    encoder.per_group("althing_watches", "Watches on this node", groups, |group| signed(group.watches))?;
    encoder.per_group("althing_revision", "The table's revision", groups, |group| group.revision)?;
    encoder.per_group("althing_size_bytes", "Logical data of the table", groups, |group| signed(group.size_bytes))?;
    encoder.per_group("althing_quota_bytes", "Quota of the table", groups, |group| signed(group.quota_bytes))
}

fn encode_wal(encoder: &mut Encoder<'_, '_>, wal: &WalStats) -> Result<(), Error> {
    encoder.counter("althing_wal_batches", "Batches appended to the log", wal.batches)?;
    encoder.counter("althing_wal_bytes_written", "Bytes appended to the log, padding included", wal.bytes)?;
    encoder.counter("althing_wal_fsyncs", "Fsyncs of the log", wal.syncs)?;
    encoder.gauge("althing_wal_segments", "Segments in the log", wal.segments as u64)?;
    encoder.gauge("althing_wal_bytes", "Bytes from the oldest segment to the tail", wal.log_bytes)?;
    encoder.gauge("althing_wal_headroom_bytes", "Bytes that certainly fit without more disk", wal.headroom_bytes)?;
    encoder.gauge("althing_wal_epoch", "How often the log was opened", wal.epoch)
}

fn encode_engine(encoder: &mut Encoder<'_, '_>, engine: &EngineStats) -> Result<(), Error> {
    encoder.gauge("althing_engine_disk_bytes", "Bytes of the engine's files", engine.disk_bytes)?;
    encoder.gauge("althing_engine_memory_bytes", "Bytes since the last checkpoint, in memory", engine.memory_bytes)?;
    encoder.gauge("althing_engine_files", "Table files of the engine", engine.files)
}

fn encode_mail(encoder: &mut Encoder<'_, '_>, mail: &MailCounters) -> Result<(), Error> {
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    encoder.counter("althing_mail_sent", "Messages of clients handed to other nodes", of(&mail.sent))?;
    encoder.counter("althing_mail_dropped", "Messages of clients dropped on the way to others", of(&mail.dropped))?;
    encoder.counter("althing_mail_received", "Messages of clients that came from other nodes", of(&mail.received))
}

fn encode_transport(encoder: &mut Encoder<'_, '_>, transport: &TransportMetrics) -> Result<(), Error> {
    let rows = [
        ("althing_peer_frames_sent", "Frames sent to peers", &transport.frames_sent),
        ("althing_peer_bytes_sent", "Bytes sent to peers", &transport.bytes_sent),
        ("althing_peer_frames_received", "Frames received from peers", &transport.frames_received),
        ("althing_peer_bytes_received", "Bytes received from peers", &transport.bytes_received),
        ("althing_peer_frames_dropped", "Frames dropped without a connection or room", &transport.frames_dropped),
        ("althing_peer_connections", "Connections made to peers", &transport.connections),
        ("althing_peer_handshakes_failed", "Handshakes with peers that failed", &transport.handshakes_failed),
        ("althing_peer_dials", "Calls of peers that were not connected", &transport.dials),
        ("althing_peer_dials_failed", "Those that reached nobody", &transport.dials_failed),
        ("althing_peer_breaker_openings", "How often a breaker before a peer opened", &transport.breakers_opened),
    ];
    rows.into_iter().try_for_each(|(name, help, value)| encoder.counter(name, help, value.load(Ordering::Relaxed)))?;
    let breakers = copy(&transport.breakers).into_iter().map(|(peer, state)| {
        let label: Label = [("peer", peer.to_string())];
        (label, state.number() as f64)
    });
    encoder.gauges("althing_peer_breaker_state", "The breaker before a peer: 0 closed, 1 half open, 2 open", breakers)
}

/// Who is let in. Whether the overload is over, and which way is the narrow one.
fn encode_admission(encoder: &mut Encoder<'_, '_>, doors: &Doors) -> Result<(), Error> {
    let doors = doors.figures();
    let label = |way: Way| -> Label { [("way", way.name().to_owned())] };
    let each = |value: fn(&Figures) -> f64| doors.iter().map(move |(way, figures)| (label(*way), value(figures)));
    encoder.gauges("althing_admission_limit", "Requests that may be in flight", each(|door| door.limit as f64))?;
    encoder.gauges("althing_admission_in_flight", "Requests in flight", each(|door| door.in_flight as f64))?;
    encoder.gauges("althing_admission_bytes", "Bytes of keys and values in flight", each(|door| door.bytes as f64))?;
    let help = "The least time from a call to its answer, of a moment ago: what is above the base is a standing queue";
    encoder.gauges("althing_admission_delay_seconds", help, each(|door| door.delay_nanos as f64 / 1e9))?;
    let help = "The least time from a call to its answer without a queue";
    encoder.gauges("althing_admission_base_seconds", help, each(|door| door.base_nanos as f64 / 1e9))?;
    let admitted = doors.iter().map(|(way, figures)| (label(*way), figures.admitted));
    encoder.counters("althing_admission_admitted", "Requests let in", admitted)?;
    let refused = doors.iter().flat_map(|(way, figures)| {
        let reasons = Refused::ALL.into_iter().zip(figures.refused);
        reasons.map(|(reason, count)| ([("way", way.name().to_owned()), ("reason", reason.name().to_owned())], count))
    });
    encoder.counters("althing_admission_refused", "Requests refused before anything was done for them", refused)
}

/// The doors for calls of other nodes' clients.
fn encode_lobby(encoder: &mut Encoder<'_, '_>, [reads, writes]: &[Figures; 2]) -> Result<(), Error> {
    let doors = [(Way::Read, reads), (Way::Write, writes)];
    let label = |way: Way| -> Label { [("way", way.name().to_owned())] };
    let limits = doors.iter().map(|(way, door)| (label(*way), door.limit as f64));
    encoder.gauges("althing_lobby_limit", "Calls of other nodes' clients that may be in flight", limits)?;
    let inside = doors.iter().map(|(way, door)| (label(*way), door.in_flight as f64));
    encoder.gauges("althing_lobby_in_flight", "Those in flight", inside)?;
    let admitted = doors.iter().map(|(way, door)| (label(*way), door.admitted));
    encoder.counters("althing_lobby_admitted", "Calls of other nodes' clients let in", admitted)?;
    let refused = doors.iter().map(|(way, door)| (label(*way), door.refused.iter().sum()));
    encoder.counters("althing_lobby_refused", "Those refused", refused)
}

/// What the membership sees. `althing status` reads the families of single members.
fn encode_gossip(encoder: &mut Encoder<'_, '_>, view: &GossipView) -> Result<(), Error> {
    let Some(metrics) = &view.metrics else { return Ok(()) };
    let peer = |node: althing_types::NodeId| ("peer", node.to_string());
    let states = Liveness::ALL.into_iter().map(|liveness| {
        let label: Label = [("state", liveness.name().to_owned())];
        (label, gossip::count_of(view, liveness) as f64)
    });
    encoder.gauges("althing_gossip_members", "Other nodes, by how they look from here", states)?;
    let seconds = view.members.iter().map(|member| {
        let label = [peer(member.node), ("state", member.liveness.name().to_owned())];
        (label, member.seconds)
    });
    encoder.gauges("althing_gossip_member_seconds", "Since how long a node looks so", seconds)?;
    let phis = view.members.iter().map(|member| {
        let label: Label = [peer(member.node)];
        (label, member.phi)
    });
    encoder.gauges("althing_gossip_phi", "How surprising a node's silence is (phi accrual); a hint", phis)?;
    let rows = [
        ("althing_gossip_datagrams_sent", "Datagrams of the membership sent", metrics.datagrams_sent),
        ("althing_gossip_bytes_sent", "Their bytes", metrics.datagram_bytes_sent),
        ("althing_gossip_datagrams_received", "Datagrams of the membership accepted", metrics.datagrams_received),
        ("althing_gossip_bytes_received", "Their bytes", metrics.datagram_bytes_received),
        ("althing_gossip_exchanges_done", "Push/pulls that this node called for", metrics.exchanges_done),
        ("althing_gossip_exchanges_failed", "Those that failed", metrics.exchanges_failed),
        ("althing_gossip_suspicions", "Nodes found suspected", metrics.suspicions),
        ("althing_gossip_downs", "Nodes found declared down", metrics.downs),
        ("althing_gossip_rejoins", "How often this node was thought dead", metrics.rejoins),
    ];
    rows.into_iter().try_for_each(|(name, help, value)| encoder.counter(name, help, value))?;
    let dropped = Dropped::ALL.into_iter().map(|reason| {
        let label: Label = [("reason", reason.name().to_owned())];
        (label, metrics.dropped(reason))
    });
    encoder.counters("althing_gossip_datagrams_dropped", "Datagrams that were not accepted, by reason", dropped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RealClock;
    use prometheus_client::encoding::text;

    fn doors() -> Arc<Doors> {
        Arc::new(Doors::new(Arc::new(RealClock::start())))
    }

    #[test]
    fn the_page_shows_every_source() {
        let mut registry = Registry::default();
        let published = Arc::new(Published::new(Arc::default(), doors(), Arc::default()));
        published.transport.frames_sent.store(7, Ordering::Relaxed);
        published.wal.lock().unwrap().segments = 3;
        ShellMetrics::default().register(&mut registry, published);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        for line in [
            "althing_peer_frames_sent_total 7",
            "althing_admission_limit{way=\"write\"} 1024.0",
            "althing_admission_refused_total{way=\"read\",reason=\"limit\"} 0",
            "althing_wal_segments 3",
            "althing_wal_fsync_seconds_count 0",
            "etcd_disk_wal_fsync_duration_seconds_count 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn repair_is_shown_by_shard_and_by_the_other_replica_as_far_as_there_is_something() {
        use althing_node::RoundStage;
        use althing_types::{Duration, GroupId, NodeId};

        let mut registry = Registry::default();
        let published = Arc::new(Published::new(Arc::default(), doors(), Arc::default()));
        let tally = Tally { differing: 7, mended: 5, bytes: 900 };
        let (stage, taken) = (RoundStage::Mending, Duration::from_millis(1_500));
        let round = Some(RoundMetrics { stage, taken, done: 3, parts: 9, tally });
        let last = Some(LastRound { ago: Duration::from_secs(60), took: Duration::from_secs(2), tally });
        let quiet = RepairMetrics {
            group: GroupId(17),
            peer: NodeId(0xc),
            round: None,
            last,
            broken: 0,
            hints: 0,
            hint_bytes: 0,
            forgone: 0,
        };
        let busy = RepairMetrics {
            peer: NodeId(0xab),
            round,
            last: None,
            broken: 2,
            hints: 4,
            hint_bytes: 80,
            forgone: 3,
            ..quiet
        };
        *published.repair.lock().unwrap() = vec![quiet, busy];
        ShellMetrics::default().register(&mut registry, published);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        let found: Vec<_> = page.lines().filter(|line| line.contains("{group=\"17\",peer=")).collect();
        assert_eq!(
            found,
            [
                "althing_repair_round_seconds{group=\"17\",peer=\"ab\",stage=\"mending\"} 1.5",
                "althing_repair_round_parts_done{group=\"17\",peer=\"ab\"} 3.0",
                "althing_repair_round_parts{group=\"17\",peer=\"ab\"} 9.0",
                "althing_repair_round_differing{group=\"17\",peer=\"ab\"} 7.0",
                "althing_repair_round_mended{group=\"17\",peer=\"ab\"} 5.0",
                "althing_repair_round_bytes{group=\"17\",peer=\"ab\"} 900.0",
                "althing_repair_last_seconds{group=\"17\",peer=\"c\"} 60.0",
                "althing_repair_last_took_seconds{group=\"17\",peer=\"c\"} 2.0",
                "althing_repair_last_differing{group=\"17\",peer=\"c\"} 7.0",
                "althing_repair_last_mended{group=\"17\",peer=\"c\"} 5.0",
                "althing_repair_last_bytes{group=\"17\",peer=\"c\"} 900.0",
                "althing_repair_broken{group=\"17\",peer=\"ab\"} 2.0",
                "althing_hints_waiting{group=\"17\",peer=\"ab\"} 4.0",
                "althing_hints_waiting_bytes{group=\"17\",peer=\"ab\"} 80.0",
                "althing_hints_left_to_repair{group=\"17\",peer=\"ab\"} 3.0",
            ]
        );
    }

    #[test]
    fn the_membership_is_shown_by_state_and_by_member() {
        let mut registry = Registry::default();
        let published = Arc::new(Published::new(Arc::default(), doors(), Arc::default()));
        let mut metrics = althing_gossip::Metrics::default();
        metrics.datagrams_dropped[Dropped::Forged.index()] = 4;
        let member =
            gossip::MemberRow { node: althing_types::NodeId(0xab), liveness: Liveness::Down, seconds: 2.5, phi: 9.25 };
        *published.gossip.lock().unwrap() = GossipView { members: vec![member], metrics: Some(metrics) };
        ShellMetrics::default().register(&mut registry, published);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        for line in [
            "althing_gossip_members{state=\"down\"} 1.0",
            "althing_gossip_members{state=\"alive\"} 0.0",
            "althing_gossip_member_seconds{peer=\"ab\",state=\"down\"} 2.5",
            "althing_gossip_phi{peer=\"ab\"} 9.25",
            "althing_gossip_datagrams_dropped_total{reason=\"forged\"} 4",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn dashboards_for_etcd_find_the_default_table() {
        let table = GroupMetrics {
            group: DEFAULT_GROUP,
            role: Role::Follower { leader: None },
            term: 3,
            commit: 9,
            applied: 8,
            log_bytes: 0,
            consensus: althing_consensus::Metrics::default(),
            watches: 2,
            revision: 5,
            size_bytes: 100,
            quota_bytes: 1000,
        };
        let mut registry = Registry::default();
        let published = Arc::new(Published::new(Arc::default(), doors(), Arc::default()));
        published.node.lock().unwrap().1 = vec![table];
        ShellMetrics::default().register(&mut registry, published);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        for line in [
            "etcd_server_has_leader 0",
            "etcd_network_snapshot_send_inflights_total 0",
            "etcd_server_proposals_committed_total 9",
            "etcd_mvcc_db_total_size_in_bytes 100",
            "etcd_debugging_mvcc_current_revision 5",
            "etcd_debugging_mvcc_watcher_total 2",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
    }
}
