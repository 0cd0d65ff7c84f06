//! One slice of the log: each command in turn, on one batch.

use althing_api::ErrorKind;
use althing_api::cluster::{Alarm, AlarmAction, AlarmKind};
use althing_api::kv::{Event, EventKind, Operation, PutRequest, PutValue, TxnRequest};
use althing_api::request::Body;
use althing_probe::Mutant;
use althing_storage::engine::{Applied, Batch};
use althing_types::{LeaseId, NodeId, Revision, SpaceId};
use bytes::Bytes;

use super::keyed::Deadlines;
use super::plan::{self, Plan};
use super::table::Table;
use super::{AppliedResult, ApplyOutput, LogEntry, Outcome};
use crate::check;
use crate::command::{Command, Proposal};
use crate::count::CountIndex;
use crate::error::{Failure, StrongError};
use crate::layout::{self, Meta, RevisionRecord, Version, VersionId};
use crate::members;
use crate::range::Source;
use crate::state::{State, version_bytes};
use crate::watch::Change;

/// The writer of one slice.
pub(super) struct Apply<'a, 'e> {
    pub(super) table: &'a mut Table,
    space: SpaceId,
    pub(super) batch: Box<dyn Batch + 'e>,
    index: &'a CountIndex,
    pub(super) out: &'a mut ApplyOutput,
    /// What the present command has written so far.
    pub(super) events: Vec<Event>,
    /// Keys that the slice has created (1) and removed (-1).
    pub(super) membership: Vec<(Bytes, i64)>,
    pub(super) deadlines: Deadlines,
}

impl<'a, 'e> Apply<'a, 'e> {
    pub(super) fn new(
        table: &'a mut Table,
        space: SpaceId,
        batch: Box<dyn Batch + 'e>,
        index: &'a CountIndex,
        out: &'a mut ApplyOutput,
    ) -> Self {
        Self {
            table,
            space,
            batch,
            index,
            out,
            events: Vec::new(),
            membership: Vec::new(),
            deadlines: Deadlines::default(),
        }
    }

    /// Applies one entry.
    pub(super) fn entry(&mut self, entry: &LogEntry, proposal: Option<&Proposal>) -> Result<(), StrongError> {
        if let Some(conf_state) = &entry.conf_state {
            self.table.conf_state = conf_state.clone();
            self.batch.put(&layout::meta_key(Meta::ConfState), conf_state);
        }
        let Some(proposal) = proposal else { return Ok(()) };
        let result = match self.command(proposal.origin, &proposal.command) {
            Ok(body) => Ok(Outcome { revision: self.end_revision(), body }),
            Err(Failure::Refused(kind)) => Err(kind),
            Err(Failure::Fatal(error)) => return Err(error),
        };
        self.out.results.push(AppliedResult {
            index: entry.index,
            origin: proposal.origin,
            request: proposal.request,
            result,
        });
        Ok(())
    }

    /// The batch with the table's numbers in it, the keys created and removed, and what was done to deadlines.
    pub(super) fn finish(mut self, applied: Applied) -> (Box<dyn Batch + 'e>, Vec<(Bytes, i64)>, Deadlines) {
        let before = std::mem::replace(&mut self.table.state.applied, applied);
        let stored = if althing_probe::is(Mutant::ApplyTwice) { before } else { applied };
        let state = State { applied: stored, ..self.table.state };
        self.batch.put(&layout::meta_key(Meta::State), &state.encode());
        (self.batch, self.membership, self.deadlines)
    }

    /// The state that the next operation sees.
    pub(super) fn source(&self) -> Source<'_> {
        let state = &self.table.state;
        let revision = if self.events.is_empty() { state.revision } else { state.revision.next() };
        Source {
            read: &*self.batch,
            space: self.space,
            revision,
            compacted: state.compacted,
            index: self.index,
            recent: Some(&self.table.recent),
        }
    }

    fn command(&mut self, origin: NodeId, command: &Command) -> Result<Body, Failure> {
        check::command(command)?;
        self.admit_keys(command)?;
        match command {
            Command::Put(request) => self.put_command(origin, request),
            Command::DeleteRange(request) => {
                self.refuse_if_corrupt()?;
                Ok(Body::DeleteRange(self.delete_range(request)?))
            }
            Command::Txn(request) => self.txn_command(origin, request),
            Command::Operate { step, moment } => self.operate(origin, step, *moment),
            Command::Transact { watches, steps, moment } => self.transact(origin, watches, steps, *moment),
            Command::Flush => self.flush(),
            Command::Expire { now_ms, due } => self.expire(*now_ms, due),
            Command::Compact { revision } => self.compact(*revision),
            Command::LeaseGrant { id, ttl_seconds } => self.lease_grant(*id, *ttl_seconds),
            Command::LeaseRevoke { id } => self.lease_revoke(*id),
            Command::LeaseCheckpoint { remaining } => Ok(self.lease_checkpoint(remaining)),
            Command::Alarm { action, member, kind } => Ok(Body::Alarms(self.alarm(*action, *member, *kind))),
            Command::MemberUpsert(_) | Command::MemberAdd(_) | Command::MemberRemove(_) | Command::MemberPromote(_) => {
                self.member(command)
            }
            Command::Ingest(page) => self.ingest(page),
            Command::Seal { at, children, filled } => self.seal(at, *children, *filled),
            Command::Bar { child } => self.bar(*child),
            Command::Activate { revision, compacted } => self.activate(*revision, *compacted),
            Command::SetQuota { bytes } => {
                self.table.state.quota = *bytes;
                Ok(Body::Compact)
            }
        }
    }

    /// Closes the revision of a command that has written something; the table's revision is the answer's.
    fn end_revision(&mut self) -> Revision {
        if !self.events.is_empty() {
            let revision = self.table.state.revision.next();
            let only_deletes = self.events.iter().all(|event| event.kind == EventKind::Delete);
            if !only_deletes || !althing_probe::is(Mutant::DeleteKeepsRevision) {
                self.table.state.revision = revision;
            }
            let revision = self.table.state.revision;
            let events = std::mem::take(&mut self.events).into();
            self.out.changes.push(Change { revision, events });
        }
        self.table.state.revision
    }

    fn put_command(&mut self, origin: NodeId, request: &PutRequest) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        self.refuse_if_full()?;
        plan::check_single_put(&self.source(), request, &|id| self.has_lease(id))?;
        self.admit(origin, put_bytes(request))?;
        Ok(Body::Put(self.put(request)?))
    }

    fn txn_command(&mut self, origin: NodeId, request: &TxnRequest) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        if may_put(request) {
            self.refuse_if_full()?;
        }
        let source = self.source();
        let plan = Plan::choose(&source, request)?;
        plan.check(&source, &|id| self.has_lease(id))?;
        let bytes = plan.puts().into_iter().map(put_bytes).sum();
        if bytes > 0 {
            self.admit(origin, bytes)?;
        }
        Ok(Body::Txn(self.execute(&plan)?))
    }

    /// Versions superseded at or below `revision` may go. What that frees is known from the garbage made before the
    /// first version above it; the removal itself comes later.
    fn compact(&mut self, revision: Revision) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        let state = self.table.state;
        if revision <= state.compacted {
            return Err(ErrorKind::Compacted { requested: revision, oldest: state.compacted }.into());
        }
        if revision > state.revision {
            return Err(ErrorKind::FutureRevision { requested: revision, current: state.revision }.into());
        }
        self.table.state.freed = self.garbage_after(revision)?;
        self.table.state.compacted = revision;
        self.out.compacted = Some(revision);
        Ok(Body::Compact)
    }

    /// The garbage made up to a revision.
    pub(super) fn garbage_after(&self, revision: Revision) -> Result<u64, StrongError> {
        let state = &self.table.state;
        let span = layout::revision_span(VersionId::after(revision), VersionId::after(state.revision));
        let first = self.batch.scan(self.space, span.bounds()).next().transpose()?;
        let Some((key, record)) = first else { return Ok(state.garbage) };
        let id = layout::revision_version(&key)?;
        let table_key = RevisionRecord::decode(record)?.key;
        let version = self.batch.get(self.space, &layout::history_key(&table_key, id))?;
        let missing = || StrongError::Inconsistent(format!("the version {}.{} is missing", id.main, id.sub));
        Ok(Version::decode(version.ok_or_else(missing)?)?.garbage_before)
    }

    fn alarm(&mut self, action: AlarmAction, member: NodeId, kind: Option<AlarmKind>) -> Vec<Alarm> {
        let concerned = |alarm: &Alarm| {
            (member == NodeId::NONE || alarm.member == member) && kind.is_none_or(|kind| alarm.kind == kind)
        };
        match action {
            AlarmAction::Get => self.table.alarms.iter().copied().filter(concerned).collect(),
            AlarmAction::Activate => {
                let Some(kind) = kind else { return Vec::new() };
                let alarm = Alarm { member, kind };
                self.raise(alarm);
                vec![alarm]
            }
            AlarmAction::Deactivate => {
                let lowered: Vec<Alarm> = self.table.alarms.iter().copied().filter(concerned).collect();
                self.table.alarms.retain(|alarm| !concerned(alarm));
                if !lowered.is_empty() {
                    self.store_alarms();
                }
                lowered
            }
        }
    }

    fn member(&mut self, command: &Command) -> Result<Body, Failure> {
        self.table.members.check(command)?;
        self.table.members.change(command);
        self.batch.put(&layout::meta_key(Meta::Members), &self.table.members.encode());
        self.out.members_changed = true;
        let members = self.table.members.list();
        Ok(match command {
            Command::MemberAdd(added) => Body::MemberAdd { added: added.clone(), members },
            _ => Body::Members(members),
        })
    }

    pub(super) fn has_lease(&self, id: LeaseId) -> bool {
        self.table.leases.contains_key(&id)
    }

    pub(super) fn refuse_if_corrupt(&self) -> Result<(), ErrorKind> {
        if self.is_raised(AlarmKind::Corrupt) { Err(ErrorKind::Corrupt) } else { Ok(()) }
    }

    pub(super) fn refuse_if_full(&self) -> Result<(), ErrorKind> {
        if self.is_raised(AlarmKind::NoSpace) { Err(ErrorKind::NoSpace) } else { Ok(()) }
    }

    /// Lets a write in, or raises the alarm in the name of the node that brought it.
    pub(super) fn admit(&mut self, origin: NodeId, bytes: u64) -> Result<(), ErrorKind> {
        if self.table.state.size().saturating_add(bytes) <= self.table.state.quota {
            return Ok(());
        }
        self.raise(Alarm { member: origin, kind: AlarmKind::NoSpace });
        Err(ErrorKind::NoSpace)
    }

    fn is_raised(&self, kind: AlarmKind) -> bool {
        self.table.alarms.iter().any(|alarm| alarm.kind == kind)
    }

    fn raise(&mut self, alarm: Alarm) {
        if self.table.alarms.insert(alarm) {
            self.store_alarms();
        }
    }

    fn store_alarms(&mut self) {
        self.batch.put(&layout::meta_key(Meta::Alarms), &members::encode_alarms(&self.table.alarms));
        self.out.alarms_changed = true;
    }
}

/// What a put adds to the table. One that keeps the value is counted without it: what it keeps was let in before.
fn put_bytes(request: &PutRequest) -> u64 {
    let value_bytes = match &request.value {
        PutValue::Set(value) => value.len() as u64,
        PutValue::Keep => 0,
    };
    version_bytes(request.key.len(), value_bytes)
}

/// Whether either branch has a put: under the alarm etcd refuses the transaction then, whichever branch it would take.
fn may_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|operation| match operation {
        Operation::Put(_) => true,
        Operation::Txn(txn) => may_put(txn),
        Operation::Range(_) | Operation::DeleteRange(_) => false,
    })
}
