//! From a disk to a process: what a server does when it starts.

use std::path::Path;
use std::sync::Arc;

use althing_api::cluster::Member;
use althing_consensus::ConfState;
use althing_node::{Applier, ControlPlane, GroupState, LogRecovery, Node, NodeConfig, WatchBuffers};
use althing_storage::engine::{Applied, Engine};
use althing_storage::wal::{Identity, Record, Wal, WalError, WalOptions};
use althing_types::{ClusterId, Duration, GroupId, NodeId, Revision};

use fastrand::Rng;

use super::{Host, LogSize, Origin, Process, Stage};
use crate::host::writer::Writer;

/// The cluster of every run.
pub const CLUSTER: ClusterId = ClusterId(0x51_4d);

/// The log's segments, small enough that a run of some seconds recycles them.
const SEGMENT_BYTES: u64 = 64 * 1024;
/// One batch of the log at the most, so that a turn often needs several, and a crash may keep only the first.
const BATCH_BYTES: usize = 24 * 1024;
/// Where there are many nodes, or shards that split, the map alone is larger than such a batch: so many times as large are batches and segments there.
const LARGE_LOG: usize = 32;
/// Entries in one record of the log; with the largest value that clients write it fits into a batch.
const RECORD_BYTES: usize = 8 * 1024;
/// Pages of snapshots, so small that most snapshots have several.
const PAGE_BYTES: std::ops::Range<usize> = 1024..16 * 1024;
/// A group that keeps more of the log alive has to write what lives of it again.
const PINNED_BYTES: u64 = 96 * 1024;
/// What watches keep in memory, so little that slow ones fall back to history.
pub const WATCH_BYTES: std::ops::Range<usize> = 4 * 1024..64 * 1024;
/// One start of a node in so many does not let its groups sleep.
const HIBERNATE_IN: u32 = 12;
/// Log that a group keeps for slow followers, at the least and at the most: some need a snapshot after a short absence,
/// some never do.
const RETAINED_BYTES: std::ops::Range<usize> = 0..12 * 1024;

/// How often the remainder of a lease is written to the log: within the life of the short leases that clients take.
const LEASE_CHECKPOINTS: Duration = Duration::from_millis(1500);

/// Where the log is on the disk.
pub const WAL_DIR: &str = "wal";

/// Why a process could not start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BootError {
    /// What had been synced is damaged: it must never vote or serve with it again.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// Anything else. Unless the disk failed, the world had given it every right to start.
    #[error("{0}")]
    Other(String),
}

/// What a process is started with.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The members that the cluster was born with.
    pub founders: &'a [NodeId],
    /// What the node draws from.
    pub seed: u64,
    /// The number by which this start is known.
    pub nonce: u64,
}

/// A process that has started, and where its groups stand.
#[derive(Debug)]
pub struct Booted {
    /// Where each group stands.
    pub standings: Vec<Standing>,
    /// What its log held.
    pub records: Vec<Record>,
    /// Whether anything had been there before.
    pub history: DiskHistory,
    /// A bit that was wrong in what the log has read as right.
    pub unnoticed: Option<String>,
}

/// Where one group of a process stands when it starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The group.
    pub group: GroupId,
    /// The last entry that its engine holds.
    pub applied: Applied,
    /// The Raft configuration there.
    pub conf_state: ConfState,
    /// Its revision.
    pub revision: Revision,
}

/// Whether a disk was used before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskHistory {
    /// It was empty.
    Fresh,
    /// It was not.
    Used,
}

impl<E> Host<E> {
    /// Starts a process on the disk as it is.
    pub fn boot(&mut self, start: Start<'_>) -> Result<Booted, BootError> {
        self.life += 1;
        let misread = self.disk.counters().misreads;
        let identity = Identity { cluster: CLUSTER, node: self.id };
        let disk = Arc::new(self.disk.clone());
        let (wal, log) = Wal::open(disk, Path::new(WAL_DIR), identity, wal_options(self.log)).map_err(log_error)?;
        let unnoticed = self.unnoticed(misread);
        let other = |error: &dyn std::fmt::Display| BootError::Other(error.to_string());
        let mut recovery = LogRecovery::default();
        let records: Vec<Record> = log.records.into_iter().map(|(_, record)| record).collect();
        for record in records.iter().cloned() {
            recovery.record(record).map_err(|error| other(&error))?;
        }
        let mut config = config(self.id, self.origin, start.founders, start.seed);
        config.zone.clone_from(&self.zone);
        let engine: Arc<dyn Engine> = self.engine.clone();
        let (mut applier, states) = Applier::open(engine, &config, &recovery)
            .map_err(|error| BootError::Other(format!("the state cannot be opened: {error}")))?;
        let standings = states.iter().map(standing).collect();
        self.directory.lineage.start(start.nonce);
        config.incarnation = self.directory.lineage.run().starts;
        applier.begin_run(config.incarnation);
        let node = Node::new(config, recovery.join(states)).map_err(|error| other(&error))?;
        self.stage = Stage::Running(Box::new(Process::new(node, applier, Writer::new(wal))));
        let history = if log.epoch > 1 { DiskHistory::Used } else { DiskHistory::Fresh };
        Ok(Booted { standings, records, history, unnoticed })
    }
}

impl<E> Host<E> {
    /// The log has opened: what was wrong in it, or in what was read of it. It opens all of its files, so rot that is still
    /// there was read.
    fn unnoticed(&mut self, misreads: u64) -> Option<String> {
        if self.disk.counters().misreads > misreads {
            return Some("a bit of one read".to_owned());
        }
        let place = self.rotten.take()?;
        let is_there = self.disk.files().iter().any(|(path, _)| *path == place.path);
        is_there.then(|| format!("rot at {place:?}"))
    }
}

fn log_error(error: WalError) -> BootError {
    let text = format!("the log cannot be opened: {error}");
    match error {
        WalError::Corrupt { .. } | WalError::Missing { .. } => BootError::Damaged(text),
        WalError::Full(_)
        | WalError::Disk(_)
        | WalError::Poisoned(_)
        | WalError::TooLarge { .. }
        | WalError::Foreign { .. }
        | WalError::Version { .. }
        | WalError::Options(_) => BootError::Other(text),
    }
}

fn standing(state: &GroupState) -> Standing {
    Standing {
        group: state.group,
        applied: state.applied,
        conf_state: ConfState::decode(state.conf_state.clone()).unwrap_or_default(),
        revision: state.reader.revision(),
    }
}

fn wal_options(size: LogSize) -> WalOptions {
    let times = match size {
        LogSize::Small => 1,
        LogSize::Large => LARGE_LOG,
    };
    WalOptions {
        segment_bytes: SEGMENT_BYTES * times as u64,
        max_batch_bytes: BATCH_BYTES * times,
        grow_bytes: 8 * 1024 * times as u64,
        reserve_bytes: 4 * 1024 * times as u64,
        max_pinned_bytes: PINNED_BYTES * times as u64,
        ..WalOptions::default()
    }
}

fn config(node: NodeId, origin: Origin, founders: &[NodeId], seed: u64) -> NodeConfig {
    let members = founders.iter().map(|id| Member {
        id: *id,
        name: format!("node-{id}"),
        peer_urls: vec![format!("http://node-{id}:2380")],
        client_urls: Vec::new(),
        is_learner: false,
    });
    let mut config = NodeConfig::new(CLUSTER, node, members.collect());
    config.name = format!("node-{node}");
    let mut config = match origin {
        Origin::Founder => config,
        Origin::Joiner => NodeConfig { join: true, ..config },
        Origin::FounderOfTables => config.with_control_plane(),
        Origin::Registered => NodeConfig { join: true, groups: Vec::new(), control: ControlPlane::Present, ..config },
    };
    config.peer_urls = vec![format!("http://node-{node}:2380")];
    config.client_urls = vec![format!("http://node-{node}:2379")];
    config.seed = seed;
    config.lease_checkpoint_interval = LEASE_CHECKPOINTS;
    config.log_record_bytes = RECORD_BYTES;
    let mut rng = Rng::with_seed(seed);
    config.retained_log_bytes = rng.usize(RETAINED_BYTES);
    config.snapshot_chunk_bytes = rng.usize(PAGE_BYTES);
    config.watch_buffers = WatchBuffers {
        stream_bytes: rng.usize(WATCH_BYTES),
        recent_bytes: rng.usize(WATCH_BYTES),
        read_bytes: rng.usize(WATCH_BYTES),
    };
    for group in &mut config.groups {
        group.hibernate = rng.u32(0..HIBERNATE_IN) != 0;
    }
    config
}
