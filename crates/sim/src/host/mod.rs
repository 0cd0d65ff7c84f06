//! One machine: its disk, its engine, its clock, and the process that runs on it, if one does.
//!
//! The host does what a server's threads do, one event at a time: it collects inputs for the node's next turn, writes
//! and syncs the log, runs the applier, finishes checkpoints. It decides nothing about *when*: the world does.

pub mod boot;
pub mod process;
pub mod writer;

use std::sync::Arc;

use althing_faultdisk::FaultDisk;
use althing_storage::engine::model::ModelEngine;
use althing_types::{Duration, NodeId};
use fastrand::Rng;

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
}

/// One machine. `E` is whatever the world wants to remember for a process that stands still.
#[derive(Debug)]
pub struct Host<E> {
    /// Its node's id.
    pub id: NodeId,
    /// How it came to the cluster.
    pub origin: Origin,
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
    pub(crate) disk: FaultDisk,
    pub(crate) engine: Arc<ModelEngine>,
}

impl<E> Host<E> {
    /// A machine with an empty disk, switched off.
    #[must_use]
    pub fn new(id: NodeId, origin: Origin, clock: LocalClock) -> Self {
        Self {
            id,
            origin,
            clock,
            life: 0,
            stage: Stage::Down,
            slow_by: Duration::ZERO,
            disk_fault: DiskFault::None,
            disk_space: DiskSpace::Ample,
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
        self.disk_fault = DiskFault::None;
        self.slow_by = Duration::ZERO;
    }
}
