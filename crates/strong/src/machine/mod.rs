//! The machine: log entries in, one batch of the engine out.
//!
//! ```text
//!   committed entries ──decode──▶ commands ──check──▶ apply, each seeing those before it ──▶ one batch, one commit
//!                                                        │
//!                                                        └──▶ answers, changes for watches, leases (ApplyOutput)
//! ```
//!
//! What an entry does follows from the log alone: from the entries before it, never from time, from the size on disk, from
//! memory, from this node's configuration or from how far the removal of compacted versions has come. So all replicas answer
//! the same, and slices may be cut anywhere: the batch of a slice ends where the batches of its parts would.
//!
//! Obligations of the host:
//! 1. Entries come in order, each once, and only committed ones.
//! 2. Between [`Machine::apply`] calls it calls [`Machine::compaction_step`] when there is time, on the same thread.
//! 3. An error of the machine is the end of this replica's run: it is dropped, and opened again after a restart.

mod apply;
mod compaction;
mod keyed;
mod lease;
pub(crate) mod plan;
pub(crate) mod recent;
mod refound;
mod split;
pub(crate) mod table;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use althing_api::ErrorKind;
use althing_api::cluster::{Alarm, Member};
use althing_api::request::Body;
use althing_storage::engine::{Applied, Engine};
use althing_types::limits::DEFAULT_QUOTA_BYTES;
use althing_types::{LeaseId, NodeId, RequestId, Revision, SpaceId};
use bytes::Bytes;

use self::apply::Apply;
use self::table::Table;
use crate::bounds::Bounds;
use crate::command::Proposal;
use crate::count::{CountIndex, CountIndexBuilder, Overfull};
use crate::error::StrongError;
use crate::lessor::LeaseRecord;
use crate::members::Members;
use crate::range::{Source, Visit};
use crate::reader::{Published, Reader, Shared};
use crate::state::{Progress, State};
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
    /// The bounds of the shard, if they changed: of several changes the last.
    pub bounds: Option<Bounds>,
}

/// The state machine of one replica: owned by the applier, who alone calls it.
pub struct Machine {
    engine: Arc<dyn Engine>,
    space: SpaceId,
    config: MachineConfig,
    /// `None` until the table is bootstrapped.
    table: Option<Table>,
    index: CountIndex,
    progress: Progress,
    /// The least deadline of a key, or less; [`i64::MAX`] if there is none.
    least_deadline_ms: i64,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("space", &self.space).field("applied", &self.applied()).finish_non_exhaustive()
    }
}

impl Machine {
    /// Opens what the space holds: reads its numbers and counts its keys. A space without a table waits for
    /// [`Machine::bootstrap`].
    pub fn open(engine: Arc<dyn Engine>, space: SpaceId, config: MachineConfig) -> Result<Self, StrongError> {
        let table = Table::load(&*engine, space)?;
        let progress = table::load_progress(&*engine, space)?;
        let shared = Arc::new(Shared::new());
        let index = CountIndex::empty(Revision::FIRST);
        let least_deadline_ms = i64::MAX;
        let mut machine = Self { engine, space, config, table, index, progress, least_deadline_ms, shared };
        machine.least_deadline_ms = machine.find_least_deadline()?;
        if let Some(table) = &machine.table {
            machine.index = machine.count_keys(table.state.revision)?;
        }
        machine.publish();
        Ok(machine)
    }

    /// Whether the space holds no table yet.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.table.is_none()
    }

    /// Makes a new table, the same on all initial members, as if the log up to `applied` had made it.
    pub fn bootstrap(&mut self, members: &[Member], conf_state: Bytes, applied: Applied) -> Result<(), StrongError> {
        self.found(members, conf_state, None, applied)
    }

    /// Makes a new shard of a table that is split by range, the same on all its first replicas.
    pub fn bootstrap_shard(&mut self, conf_state: Bytes, bounds: Bounds, applied: Applied) -> Result<(), StrongError> {
        self.found(&[], conf_state, Some(bounds), applied)
    }

    fn found(
        &mut self,
        members: &[Member],
        conf_state: Bytes,
        bounds: Option<Bounds>,
        applied: Applied,
    ) -> Result<(), StrongError> {
        if self.table.is_some() {
            return Err(StrongError::NotBlank);
        }
        let state = State::new(self.config.quota_bytes, applied);
        let mut table = Table::new(state, Members::new(members), BTreeSet::new(), conf_state);
        table.bounds = bounds;
        let mut batch = self.engine.begin(self.space);
        table.store(&mut *batch);
        batch.commit(applied)?;
        self.index = CountIndex::empty(state.revision);
        self.table = Some(table);
        self.publish();
        Ok(())
    }

    /// Applies entries, the next ones of the log, in one batch of the engine. What they did is added to `out`.
    pub fn apply(&mut self, entries: &[LogEntry], out: &mut ApplyOutput) -> Result<(), StrongError> {
        let table = self.table.as_mut().ok_or(StrongError::Blank)?;
        let proposals = parse(entries, table.state.applied)?;
        let Some(last) = entries.last() else { return Ok(()) };
        let applied = Applied { index: last.index, term: last.term };

        let engine = Arc::clone(&self.engine);
        let batch = engine.begin(self.space);
        let mut work = Apply::new(table, self.space, batch, &self.index, out);
        for (entry, proposal) in entries.iter().zip(&proposals) {
            work.entry(entry, proposal.as_ref())?;
        }
        let (batch, membership, deadlines) = work.finish(applied);

        let writing = self.shared.write();
        batch.commit(applied)?;
        let overfull = self.index.advance(self.revision(), &membership);
        self.cut(&overfull)?;
        self.keep_least_deadline(deadlines)?;
        self.publish();
        drop(writing);
        Ok(())
    }

    /// A reader of what is applied.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.engine), self.space, Arc::clone(&self.shared))
    }

    /// Where the table stands in the log.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.table.as_ref().map(|table| table.state.applied).unwrap_or_default()
    }

    /// The Raft configuration as of then.
    #[must_use]
    pub fn conf_state(&self) -> Bytes {
        self.table.as_ref().map(|table| table.conf_state.clone()).unwrap_or_default()
    }

    /// The members, by id.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.table.as_ref().map(|table| table.members.list()).unwrap_or_default()
    }

    /// What speaks against a change of the members now; see [`Members::check`].
    pub fn check_members(&self, command: &crate::Command) -> Result<(), ErrorKind> {
        self.table.as_ref().map_or(Ok(()), |table| table.members.check(command))
    }

    /// The alarms that are raised.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.table.as_ref().map(|table| table.alarms.iter().copied().collect()).unwrap_or_default()
    }

    /// The leases, by id.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseRecord> {
        self.table.as_ref().map(|table| table.leases.values().copied().collect()).unwrap_or_default()
    }

    /// The table's revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.table.as_ref().map_or(Revision::FIRST, |table| table.state.revision)
    }

    fn publish(&self) {
        let state = self.table.as_ref().map_or(State::new(0, Applied::default()), |table| table.state);
        let bounds = self.table.as_ref().and_then(|table| table.bounds.clone());
        let (index, least_deadline_ms) = (self.index.clone(), self.least_deadline_ms);
        self.shared.publish(Published { state, index, bounds, least_deadline_ms });
    }

    /// Counts the keys, in pieces, so that no view is held for long.
    fn count_keys(&self, revision: Revision) -> Result<CountIndex, StrongError> {
        const KEYS_PER_VIEW: usize = 100_000;
        let mut builder = CountIndexBuilder::default();
        let mut keys = althing_api::kv::KeyRange::all();
        loop {
            let view = self.engine.view();
            let nothing = CountIndex::empty(revision);
            let compacted = crate::state::NEVER_COMPACTED;
            let source = Source { read: &*view, space: self.space, revision, compacted, index: &nothing, recent: None };
            let (mut seen, mut last) = (0, Bytes::new());
            source.each_current(&keys, |key, _| {
                builder.push(&key);
                seen += 1;
                last = key;
                Ok(if seen < KEYS_PER_VIEW { Visit::GoOn } else { Visit::Stop })
            })?;
            if seen < KEYS_PER_VIEW {
                return Ok(builder.finish(revision));
            }
            keys.start = [&last[..], &[0]].concat().into();
        }
    }

    /// Cuts the buckets of the count index that have grown too large.
    fn cut(&mut self, overfull: &[Overfull]) -> Result<(), StrongError> {
        if overfull.is_empty() {
            return Ok(());
        }
        let view = self.engine.view();
        for bucket in overfull {
            let compacted = crate::state::NEVER_COMPACTED;
            let revision = self.index.revision();
            let source =
                Source { read: &*view, space: self.space, revision, compacted, index: &self.index, recent: None };
            let mut builder = CountIndexBuilder::default();
            source.each_current(&bucket.keys, |key, _| {
                builder.push(&key);
                Ok(Visit::GoOn)
            })?;
            self.index.cut(bucket, &builder.into_parts());
        }
        Ok(())
    }
}

/// The commands of entries that follow `applied`. Nothing is begun before all of them parse.
fn parse(entries: &[LogEntry], applied: Applied) -> Result<Vec<Option<Proposal>>, StrongError> {
    let mut expected = applied.index;
    let mut proposals = Vec::with_capacity(entries.len());
    for entry in entries {
        expected += 1;
        if entry.index != expected {
            return Err(StrongError::OutOfOrder { expected, found: entry.index });
        }
        let parse = || Proposal::decode(entry.data.clone());
        let proposal = (!entry.data.is_empty()).then(parse).transpose();
        proposals.push(proposal.map_err(|source| StrongError::Entry { index: entry.index, source })?);
    }
    Ok(proposals)
}
