//! The machine.
use std::sync::Arc;

use althing_api::ErrorKind;
use althing_api::cluster::Member;
use althing_api::request::Body;
use althing_storage::engine::{Applied, Engine};
use althing_types::limits::DEFAULT_QUOTA_BYTES;
use althing_types::{LeaseId, NodeId, RequestId, Revision, SpaceId};
use bytes::Bytes;

use crate::error::StrongError;
use crate::lessor::LeaseRecord;
use crate::reader::Reader;
use crate::watch::Change;

/// What a new table is given. A table that exists keeps what it has: change it through the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MachineConfig {
    /// The quota in bytes of logical data; `u64::MAX` is none.
    pub quota_bytes: u64,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self { quota_bytes: DEFAULT_QUOTA_BYTES }
    }
}

/// A committed entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// Its index: one above the last.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// An encoded [`Proposal`](crate::Proposal), or nothing.
    pub data: Bytes,
    /// With a configuration change: the configuration that it makes, in bytes that the machine only stores.
    pub conf_state: Option<Bytes>,
}

/// What became of one command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The table's revision afterwards; of a write its own.
    pub revision: Revision,
    /// The answer, as the request's own kind.
    pub body: Body,
}

/// The result of one entry that carried a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppliedResult {
    /// The entry.
    pub index: u64,
    /// Which node waits for it.
    pub origin: NodeId,
    /// Which request there.
    pub request: RequestId,
    /// What became of it. An error changed nothing but, perhaps, an alarm.
    pub result: Result<Outcome, ErrorKind>,
}

/// What happened to a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseChange {
    /// It was granted.
    Granted {
        /// Its id.
        id: LeaseId,
        /// For so many seconds.
        ttl_seconds: i64,
    },
    /// It was revoked.
    Revoked(LeaseId),
    /// A checkpoint was written.
    Checkpointed {
        /// Of which lease.
        id: LeaseId,
        /// What a new leader would give it, in seconds.
        remaining_seconds: i64,
    },
}

/// What a slice of entries did. The caller clears it between calls if it reuses it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ApplyOutput {
    /// One per entry that carried a command, in order.
    pub results: Vec<AppliedResult>,
    /// One per revision made, in order, with the version before in each event.
    pub changes: Vec<Change>,
    /// What happened to leases, in order.
    pub leases: Vec<LeaseChange>,
    /// The compact revision, if it changed.
    pub compacted: Option<Revision>,
    /// Whether the members' table changed.
    pub members_changed: bool,
    /// Whether an alarm was raised or lowered.
    pub alarms_changed: bool,
}

/// The state machine of one replica: owned by the applier, who alone calls it.
pub struct Machine {
    engine: Arc<dyn Engine>,
    space: SpaceId,
}

impl Machine {
    /// Opens what the space holds; a space without a table waits for [`Machine::bootstrap`].
    pub fn open(engine: Arc<dyn Engine>, space: SpaceId, _config: MachineConfig) -> Result<Self, StrongError> {
        Ok(Self { engine, space })
    }
    /// Whether the space holds no table yet.
    pub fn is_blank(&self) -> bool {
        unimplemented!()
    }
    /// Makes a new table: the same state on all initial members.
    pub fn bootstrap(&mut self, _members: &[Member], _conf_state: Bytes, _applied: Applied) -> Result<(), StrongError> {
        unimplemented!()
    }
    /// Applies entries, in one batch of the engine.
    pub fn apply(&mut self, _entries: &[LogEntry], _out: &mut ApplyOutput) -> Result<(), StrongError> {
        unimplemented!()
    }
    /// One bounded unit of removing what compaction allows; `false` when there is none left.
    pub fn compaction_step(&mut self) -> Result<bool, StrongError> {
        unimplemented!()
    }
    /// A reader of what is applied.
    pub fn reader(&self) -> Reader {
        unimplemented!("{:?} {}", self.space, self.engine.applied().len())
    }
    /// Where the table stands in the log.
    pub fn applied(&self) -> Applied {
        unimplemented!()
    }
    /// The Raft configuration as of then.
    pub fn conf_state(&self) -> Bytes {
        unimplemented!()
    }
    /// The members, by id.
    pub fn members(&self) -> Vec<Member> {
        unimplemented!()
    }
    /// The leases, by id.
    pub fn leases(&self) -> Vec<LeaseRecord> {
        unimplemented!()
    }
    /// The table's revision.
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }
}
