//! One machine: its disk, its engine, its clock, and the process that runs on it, if one does.
//!
//! The host does what a server's threads do, one event at a time: it collects inputs for the node's next turn, writes
//! and syncs the log, runs the applier, finishes checkpoints. It decides nothing about *when*: the world does.

pub mod boot;
pub mod directory;
pub mod process;
pub mod rot;
pub mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_consensus::Role;
use althing_faultdisk::FaultDisk;
use althing_storage::engine::model::ModelEngine;
use althing_types::{Duration, GroupId, NodeId};
use fastrand::Rng;

use self::directory::{Directory, Image, Standing};
use self::rot::Place;
use crate::budget::Voters;
use crate::clocks::LocalClock;
pub use process::Process;

/// What runs on a machine.
#[derive(Debug)]
pub enum Stage<E> {
    /// Nothing.
    Down,
    /// A process.
    Running(Box<Process>),
    /// A process that stands still; what happens to it meanwhile waits.
    Paused {
        /// The process.
        process: Box<Process>,
        /// What waits, in order.
        waiting: Vec<E>,
    },
}

/// How a process ends against its will.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The machine loses power.
    Power,
    /// Only the process dies.
    Process,
}

/// Whether the world has prepared a disk to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFault {
    /// It has not.
    None,
    /// The next write or sync of the present process fails.
    Armed,
}

/// Whether a disk has room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskSpace {
    /// It has.
    Ample,
    /// It has none, for this process and those that follow it.
    Full,
}

/// Who is to blame for an error of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// The world made it fail.
    World,
    /// Whoever used it.
    Node,
}

/// How a machine came to the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It was there when the cluster was born.
    Founder,
    /// It was set up for a member that was added later.
    Joiner,
    /// It was there when a cluster with a control plane was born.
    FounderOfTables,
    /// It is a node of such a cluster to which the control plane gives replicas, and had none at first.
    Registered,
}

/// How much the segments of a machine's log hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogSize {
    /// So little that a run of some seconds recycles them.
    Small,
    /// As much as the map of a hundred nodes, or of many shards, needs.
    Large,
}

/// One machine. `E` is whatever the world wants to remember for a process that stands still.
#[derive(Debug)]
pub struct Host<E> {
    /// Its node's id.
    pub id: NodeId,
    /// How it came to the cluster.
    pub origin: Origin,
    /// Where it stands; empty if nobody says.
    pub zone: String,
    /// How much the segments of its log hold.
    pub log: LogSize,
    /// Its clock.
    pub clock: LocalClock,
    /// How often a process was started on it; events for an earlier life are void.
    pub life: u64,
    /// What runs on it.
    pub stage: Stage<E>,
    /// Every sync takes longer by this.
    pub slow_by: Duration,
    /// What its disk will do next.
    pub disk_fault: DiskFault,
    /// Whether it has room.
    pub disk_space: DiskSpace,
    /// Every turn and every round of the applier begins later by this.
    pub starved_by: Duration,
    /// Whether it still holds all that it has promised.
    pub standing: Standing,
    /// Which data directory it runs on.
    pub directory: Directory,
    /// A backup of that, if one was made.
    pub image: Option<Image>,
    /// The voters of each group that its last process knew.
    pub believes: BTreeMap<GroupId, Voters>,
    /// A bit of its log that has turned.
    pub rotten: Option<Place>,
    /// Syncs that its disk had answered when it began to lose them; `None` while it is honest.
    lying_since: Option<u64>,
    /// Wrong reads that are known of.
    misreads: u64,
    pub(crate) disk: FaultDisk,
    pub(crate) engine: Arc<ModelEngine>,
}

impl<E> Host<E> {
    /// A machine with an empty disk, switched off. Its directory is known by `founding`.
    #[must_use]
    pub fn new(id: NodeId, origin: Origin, clock: LocalClock, founding: u64) -> Self {
        Self {
            id,
            origin,
            zone: String::new(),
            log: LogSize::Small,
            clock,
            life: 0,
            stage: Stage::Down,
            slow_by: Duration::ZERO,
            disk_fault: DiskFault::None,
            disk_space: DiskSpace::Ample,
            starved_by: Duration::ZERO,
            standing: Standing::Sound,
            directory: Directory::founded(founding),
            image: None,
            believes: BTreeMap::new(),
            rotten: None,
            lying_since: None,
            misreads: 0,
            disk: FaultDisk::new(),
            engine: Arc::new(ModelEngine::new()),
        }
    }

    /// The process, unless it is down or stands still.
    pub fn running(&mut self) -> Option<&mut Process> {
        match &mut self.stage {
            Stage::Running(process) => Some(process),
            Stage::Down | Stage::Paused { .. } => None,
        }
    }

    /// Whether a process exists, running or not.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self.stage {
            Stage::Running(_) | Stage::Paused { .. } => true,
            Stage::Down => false,
        }
    }

    /// Ends the process, if there is one, and lets the disk and the engine lose what they lose by that.
    pub fn end(&mut self, how: End, rng: &mut Rng) -> Option<Box<Process>> {
        let (disk_seed, engine_seed) = (rng.u64(..), rng.u64(..));
        self.disk_fault = DiskFault::None;
        match how {
            End::Power => self.disk.crash(disk_seed),
            End::Process => self.disk.restart(),
        }
        let process = match std::mem::replace(&mut self.stage, Stage::Down) {
            Stage::Running(process) | Stage::Paused { process, .. } => process,
            Stage::Down => return None,
        };
        self.believes = configurations(&process);
        self.engine = Arc::new(self.engine.crash(engine_seed));
        Some(process)
    }

    /// The process stands still from now on. `false` if none runs.
    pub fn pause(&mut self) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Down) {
            Stage::Running(process) => {
                self.stage = Stage::Paused { process, waiting: Vec::new() };
                true
            }
            other @ (Stage::Down | Stage::Paused { .. }) => {
                self.stage = other;
                false
            }
        }
    }

    /// The process goes on. What waited is handed back, in order.
    pub fn resume(&mut self) -> Vec<E> {
        match std::mem::replace(&mut self.stage, Stage::Down) {
            Stage::Paused { process, waiting } => {
                self.stage = Stage::Running(process);
                waiting
            }
            other @ (Stage::Down | Stage::Running(_)) => {
                self.stage = other;
                Vec::new()
            }
        }
    }

    /// The next sync fails.
    pub fn fail_sync(&mut self) {
        self.disk_fault = DiskFault::Armed;
        self.disk.fail_sync(0);
    }

    /// The next write fails.
    pub fn fail_write(&mut self) {
        self.disk_fault = DiskFault::Armed;
        self.disk.fail_write(0);
    }

    /// The disk has no room left.
    pub fn fill_disk(&mut self) {
        self.disk_space = DiskSpace::Full;
        let used = self.disk.files().iter().map(|(_, bytes)| bytes).sum();
        self.disk.set_capacity(Some(used));
    }

    /// The disk has room again.
    pub fn free_disk(&mut self) {
        self.disk.set_capacity(None);
        self.disk_space = DiskSpace::Ample;
    }

    /// The disk has failed: what was prepared is over. Answers whether it was prepared.
    pub fn disk_failed(&mut self) -> Blame {
        let fault = std::mem::replace(&mut self.disk_fault, DiskFault::None);
        if fault == DiskFault::None && self.disk_space == DiskSpace::Ample { Blame::Node } else { Blame::World }
    }

    /// The voters of each group that its process knows, or that its last one knew.
    #[must_use]
    pub fn configurations(&self) -> BTreeMap<GroupId, Voters> {
        match &self.stage {
            Stage::Running(process) | Stage::Paused { process, .. } => configurations(process),
            Stage::Down => self.believes.clone(),
        }
    }

    /// Whether its process leads, be it standing still.
    #[must_use]
    pub fn leads(&self) -> bool {
        match &self.stage {
            Stage::Running(process) | Stage::Paused { process, .. } => {
                process.node.group_metrics().any(|group| matches!(group.role, Role::Leader { .. }))
            }
            Stage::Down => false,
        }
    }

    /// Turns a bit of the log that the log must miss. `false` if there is none yet.
    pub fn rot(&mut self, seed: u64) -> bool {
        let place = rot::place(&self.disk, seed);
        self.rotten = place.filter(|place| self.disk.flip_bit(&place.path, place.offset, place.bit));
        self.rotten.is_some()
    }

    /// One read of the log, when it is opened next, gives a bit wrongly that the log must miss. `false` if there is none
    /// yet.
    pub fn rot_on_read(&mut self, seed: u64) -> bool {
        let place = rot::place(&self.disk, seed);
        place.is_some_and(|place| self.disk.misread(&place.path, place.offset, place.bit))
    }

    /// The disk answers syncs and keeps nothing.
    pub fn lose_syncs(&mut self) {
        self.disk.lose_syncs();
        self.lying_since = Some(self.disk.counters().lies);
    }

    /// The disk is honest again, and what it has answered for is kept.
    pub fn keep_syncs(&mut self) {
        self.disk.keep_syncs();
        self.lying_since = None;
    }

    /// Whether its disk answers syncs and keeps nothing.
    #[must_use]
    pub fn is_lying(&self) -> bool {
        self.lying_since.is_some()
    }

    /// Whether a read of the log was wrong since this was asked last.
    pub fn take_misread(&mut self) -> bool {
        let misreads = self.disk.counters().misreads;
        std::mem::replace(&mut self.misreads, misreads) < misreads
    }

    /// Whether a power cut would lose what the disk has answered for.
    #[must_use]
    pub fn has_lied(&self) -> bool {
        self.lying_since.is_some_and(|lies| self.disk.counters().lies > lies)
    }

    /// Makes a backup of the data directory.
    pub fn keep_image(&mut self, seed: u64) {
        let engine = Arc::new(self.engine.crash(seed));
        let believes = self.configurations();
        self.image = Some(Image { disk: self.disk.snapshot(), engine, directory: self.directory.clone(), believes });
    }

    /// Puts a backup in the place of the data directory of a machine that is down.
    pub fn put(&mut self, image: &Image, seed: u64) {
        self.disk.restore(&image.disk);
        self.engine = Arc::new(image.engine.crash(seed));
        self.directory = image.directory.clone();
        self.believes = image.believes.clone();
        self.rotten = None;
        self.standing = Standing::Astray;
    }

    /// Empties the data directory of a machine that is down. The next one is known by `founding`.
    pub fn wipe(&mut self, founding: u64) {
        self.disk.restore(&FaultDisk::new().snapshot());
        self.engine = Arc::new(ModelEngine::new());
        self.directory = Directory::founded(founding);
        self.believes = BTreeMap::new();
        self.rotten = None;
        self.standing = Standing::Astray;
    }

    /// Bytes that were ever written to the disk.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.disk.counters().bytes_written
    }

    /// Nothing fails from now on.
    pub fn mend(&mut self) {
        self.disk.fail_sync(u64::MAX);
        self.disk.fail_write(u64::MAX);
        self.free_disk();
        self.disk.read_rightly();
        self.keep_syncs();
        self.disk_fault = DiskFault::None;
        self.slow_by = Duration::ZERO;
        self.starved_by = Duration::ZERO;
    }
}

/// The voters of each group that a process has a replica of and knows the members of.
fn configurations(process: &Process) -> BTreeMap<GroupId, Voters> {
    let groups = process.node.group_metrics().map(|metrics| metrics.group);
    let known = groups.map(|group| (group, process.node.voters(group)));
    known.filter(|(_, voters)| !voters.is_empty()).collect()
}
