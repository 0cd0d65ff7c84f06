//! What a node is told before it starts, and does not change while it runs.

use core::ops::Range;

use althing_api::cluster::Member;
use althing_api::service::META_GROUP;
use althing_strong::lessor::LessorConfig;
use althing_strong::watch::HubConfig;
use althing_types::{ClusterId, Duration, GroupId, Instant, NodeId, limits};

/// One group that this node has a replica of from birth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// Which.
    pub id: GroupId,
    /// Whether it may stop its timers when nothing happens. A table that must fail over as fast idle as busy says no.
    pub hibernate: bool,
    /// What the table's quota should be, in bytes of logical data. A table is founded with
    /// [`limits::DEFAULT_QUOTA_BYTES`], whatever its members were told; the leader proposes its own wish, if it has one.
    pub quota_bytes: Option<u64>,
}

/// Whether a node follows the map and lets its replicas be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlPlane {
    /// It has the groups that it was told of, and no others.
    Absent,
    /// It does what the map says.
    Present,
}

/// A node's identity, its peers and its times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node, which is also the id of its replicas.
    pub node: NodeId,
    /// How often this data directory has been started, counted durably before the node runs: 1 for the first time.
    /// It keeps what an earlier run has sent apart from what this one sends. At most [`MAX_INCARNATION`].
    pub incarnation: u64,
    /// The node's name, as shown in the member list.
    pub name: String,
    /// Where other nodes reach it, as URLs.
    pub peer_urls: Vec<String>,
    /// Where clients reach it, as URLs; published once it serves.
    pub client_urls: Vec<String>,
    /// Where it stands; replicas of a shard are spread over zones. Empty if nobody said.
    pub zone: String,
    /// The program's version, for people.
    pub version: String,
    /// The members that a new cluster is born with, the node itself included. A node that joins an existing cluster
    /// lists those that it can ask.
    pub initial_members: Vec<Member>,
    /// Whether this node joins a cluster that lives: it then starts without a vote and waits for a snapshot.
    pub join: bool,
    /// The groups that it has a replica of from birth, unless one has gone since.
    pub groups: Vec<GroupConfig>,
    /// Whether it takes part in the control plane.
    pub control: ControlPlane,
    /// What one tick of Raft's clock is.
    pub tick: Duration,
    /// Ticks without a leader until a follower stands for election, drawn anew each time.
    pub election_ticks: Range<u32>,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: u32,
    /// How often a watch that asked for it hears of progress.
    pub progress_interval: Duration,
    /// How often the remainder of a long lease is written to the log.
    pub lease_checkpoint_interval: Duration,
    /// Bytes of Raft log that a group keeps behind its last checkpoint, so that a slow follower needs no snapshot.
    pub retained_log_bytes: usize,
    /// Bytes of entries in one record of the log, about: a record closes once it has so many. With the largest request on
    /// top it must fit into one batch of the log.
    pub log_record_bytes: usize,
    /// Bytes of one page of a snapshot, about.
    pub snapshot_chunk_bytes: usize,
    /// What watches may keep in memory.
    pub watch_buffers: WatchBuffers,
    /// What repair of convergent tables may cost.
    pub repair: RepairConfig,
    /// Bytes of deltas that are kept for replicas which have not acknowledged them, of all convergent shards together.
    pub hint_bytes: usize,
    /// Seed of all randomness of the node.
    pub seed: u64,
}

/// What the repair that a node makes of its replicas of convergent tables may cost, all of them together. What the others ask of it they
/// pay for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RepairConfig {
    /// Bytes that are sent and received in a second. 0 turns it off, for tests: newcomers are not filled then.
    pub bytes_per_second: u64,
    /// Keys that are found to differ, and joined, in a second.
    pub keys_per_second: u64,
    /// How long a pause may be saved up for.
    pub burst: Duration,
}

impl Default for RepairConfig {
    /// A fifth of a gigabit, and what a core joins in a fifth of a second or less.
    fn default() -> Self {
        Self { bytes_per_second: 24 * 1024 * 1024, keys_per_second: 40_000, burst: Duration::from_secs(1) }
    }
}

impl RepairConfig {
    /// No repair at all.
    pub const OFF: Self = Self { bytes_per_second: 0, keys_per_second: 0, burst: Duration::ZERO };

    /// Whether there is any.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.bytes_per_second > 0 && self.keys_per_second > 0
    }
}

/// What the watches of a group keep in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchBuffers {
    /// Bytes of events that may wait in one stream before its watches fall back to history.
    pub stream_bytes: usize,
    /// Bytes of the newest changes that are kept, so that a watch that fell back by a little reads no history.
    pub recent_bytes: usize,
    /// Bytes of one read of history, about.
    pub read_bytes: usize,
}

impl Default for WatchBuffers {
    fn default() -> Self {
        let HubConfig { buffer_bytes: stream_bytes, recent_bytes, read_bytes, .. } = HubConfig::default();
        Self { stream_bytes, recent_bytes, read_bytes }
    }
}

/// The greatest incarnation: what fits beside the counter of requests, and into the names of replicas.
pub const MAX_INCARNATION: u64 = althing_convergent::names::MAX_RUN;

/// Bytes of hints that a node keeps unless told otherwise: a small part of its memory. What is beyond costs a comparison of trees, and
/// not a write.
pub const DEFAULT_HINT_BYTES: usize = 128 * 1024 * 1024;
/// What one tick is unless told otherwise.
pub const DEFAULT_TICK: Duration = Duration::from_millis(25);
/// Election timeouts unless told otherwise: 150 to 300 ms.
pub const DEFAULT_ELECTION_TICKS: Range<u32> = 6..12;
/// Heartbeats unless told otherwise: every 50 ms.
pub const DEFAULT_HEARTBEAT_TICKS: u32 = 2;
/// How often progress is told unless told otherwise, as etcd does.
pub const DEFAULT_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// Ticks without traffic before a group that may hibernate does.
pub const HIBERNATE_AFTER_TICKS: u32 = 40;

impl NodeConfig {
    /// A node of a new cluster with the default times and the one group of the default table, without a control plane.
    #[must_use]
    pub fn new(cluster: ClusterId, node: NodeId, initial_members: Vec<Member>) -> Self {
        let name = initial_members.iter().find(|member| member.id == node).map(|member| member.name.clone());
        Self {
            cluster,
            node,
            incarnation: 1,
            name: name.unwrap_or_default(),
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            zone: String::new(),
            version: String::new(),
            initial_members,
            join: false,
            groups: vec![GroupConfig { id: althing_api::service::DEFAULT_GROUP, hibernate: false, quota_bytes: None }],
            control: ControlPlane::Absent,
            tick: DEFAULT_TICK,
            election_ticks: DEFAULT_ELECTION_TICKS,
            heartbeat_ticks: DEFAULT_HEARTBEAT_TICKS,
            progress_interval: DEFAULT_PROGRESS_INTERVAL,
            lease_checkpoint_interval: LessorConfig::default().checkpoint_interval,
            retained_log_bytes: limits::MAX_RETAINED_LOG_BYTES,
            log_record_bytes: limits::MAX_LOG_RECORD_BYTES,
            snapshot_chunk_bytes: limits::SNAPSHOT_CHUNK_BYTES,
            watch_buffers: WatchBuffers::default(),
            repair: RepairConfig::default(),
            hint_bytes: DEFAULT_HINT_BYTES,
            seed: node.get(),
        }
    }

    /// The same node in a cluster with a control plane, which is born with the cluster, too.
    #[must_use]
    pub fn with_control_plane(mut self) -> Self {
        self.control = ControlPlane::Present;
        self.groups.push(GroupConfig { id: META_GROUP, hibernate: false, quota_bytes: None });
        self
    }

    /// When a request that comes now is given up: after what its client will wait, and at the latest when it has waited for its
    /// place among the others and for two elections.
    pub(crate) fn request_deadline(&self, now: Instant, timeout: Option<Duration>) -> Instant {
        let longest = limits::MAX_REQUEST_WAIT + self.tick * self.election_ticks.end * 2;
        now + timeout.map_or(longest, |timeout| timeout.min(longest))
    }
}
