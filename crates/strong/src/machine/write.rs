//! Writes of keys. All that one command writes is one revision; its versions are numbered in order.

use althing_api::kv::{
    DeleteRangeRequest, DeleteRangeResponse, Event, EventKind, KeyRange, KeyValue, OperationResponse, PutLease,
    PutRequest, PutResponse, PutValue, RangeEnd, TxnResponse,
};
use althing_probe::Mutant;
use althing_types::LeaseId;
use bytes::Bytes;

use super::apply::Apply;
use super::plan::{Plan, Step};
use crate::error::StrongError;
use crate::layout::{self, Current, Deed, RevisionRecord, Version, VersionBody, VersionId};
use crate::range::Visit;
use crate::state::version_bytes;

impl Apply<'_, '_> {
    /// Writes one key. That the request can be done was checked.
    pub(super) fn put(&mut self, request: &PutRequest) -> Result<PutResponse, StrongError> {
        let id = self.next_version();
        let source = self.source();
        let current = source.current(&request.key)?;
        let old = current.as_ref().map(|current| (current.version_id, current.value_bytes));
        let previous = current.map(|current| source.key_value(request.key.clone(), current)).transpose()?;

        let value = match &request.value {
            PutValue::Set(value) => value.clone(),
            PutValue::Keep => previous.as_ref().map(|kv| kv.value.clone()).unwrap_or_default(),
        };
        let old_lease = previous.as_ref().and_then(|kv| kv.lease);
        let lease = match request.lease {
            PutLease::Set(lease) => lease,
            PutLease::Keep => old_lease,
        };
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: previous.as_ref().map_or(id.main, |kv| kv.create_revision),
            mod_revision: id.main,
            version: previous.as_ref().map_or(1, |kv| kv.version + 1),
            value,
            lease,
        };
        self.attach(&kv.key, old_lease, lease);
        self.note_deadline(&kv.key, previous.as_ref().map(|kv| &kv.value), Some(&kv.value));
        let current = Current::of(&kv, id);
        self.batch.put(&layout::current_key(&kv.key), &current.encode());
        self.table.recent.write(&kv.key, Some(current));
        let body = VersionBody::Put {
            create_revision: kv.create_revision,
            version: kv.version,
            lease,
            value: kv.value.clone(),
        };
        let deed = if previous.is_some() { Deed::Update } else { Deed::Create };
        self.table.state.written += version_bytes(kv.key.len(), kv.value.len() as u64);
        self.write_version(&kv.key, id, body, deed, old);
        let prev_kv = if request.prev_kv { previous.clone() } else { None };
        self.happened(EventKind::Put, kv, previous)?;
        Ok(PutResponse { prev_kv })
    }

    /// Removes the keys of a range.
    pub(super) fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<DeleteRangeResponse, StrongError> {
        let mut gone = Vec::new();
        let source = self.source();
        if request.keys.end == RangeEnd::Single {
            gone.extend(source.current(&request.keys.start)?.map(|current| (request.keys.start.clone(), current)));
        } else {
            source.each_current(&request.keys, |key, current| {
                gone.push((key, current));
                Ok(Visit::GoOn)
            })?;
        }
        let mut response = DeleteRangeResponse { deleted: gone.len() as u64, prev_kvs: Vec::new() };
        for (key, current) in gone {
            let previous = self.delete(key, current)?;
            if request.prev_kv {
                response.prev_kvs.push(previous);
            }
        }
        Ok(response)
    }

    /// Removes one key that exists.
    fn delete(&mut self, key: Bytes, current: Current) -> Result<KeyValue, StrongError> {
        let id = self.next_version();
        let old = (current.version_id, current.value_bytes);
        let previous = self.source().key_value(key.clone(), current)?;
        self.attach(&key, previous.lease, None);
        self.note_deadline(&key, Some(&previous.value), None);
        self.batch.delete(&layout::current_key(&key));
        self.table.recent.write(&key, None);
        self.write_version(&key, id, VersionBody::Tombstone, Deed::Delete, Some(old));
        let kv = KeyValue { key, mod_revision: id.main, ..KeyValue::default() };
        self.happened(EventKind::Delete, kv, Some(previous.clone()))?;
        Ok(previous)
    }

    /// Removes one key if it exists.
    pub(super) fn delete_key(&mut self, key: Bytes) -> Result<(), StrongError> {
        let keys = KeyRange { start: key, end: RangeEnd::Single };
        self.delete_range(&DeleteRangeRequest { keys, prev_kv: false }).map(|_| ())
    }

    /// Does what a transaction has chosen.
    pub(super) fn execute(&mut self, plan: &Plan<'_>) -> Result<TxnResponse, StrongError> {
        let mut responses = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            responses.push(match step {
                Step::Range(range) => OperationResponse::Range(self.source().range(range)?),
                Step::Put(put) => OperationResponse::Put(self.put(put)?),
                Step::DeleteRange(delete) => OperationResponse::DeleteRange(self.delete_range(delete)?),
                Step::Txn(plan) => OperationResponse::Txn(self.execute(plan)?),
            });
        }
        Ok(TxnResponse { succeeded: plan.succeeded, responses })
    }

    fn next_version(&self) -> VersionId {
        let sub = u32::try_from(self.events.len()).expect("one command writes fewer than 2^32 keys");
        VersionId { main: self.table.state.revision.next(), sub }
    }

    /// Writes a version's records, and counts what it adds and replaces.
    pub(super) fn write_version(
        &mut self,
        key: &Bytes,
        id: VersionId,
        body: VersionBody,
        deed: Deed,
        replaced: Option<(VersionId, u64)>,
    ) {
        let garbage_before = self.table.state.garbage;
        self.batch.put(&layout::history_key(key, id), &Version { garbage_before, body }.encode());
        let previous = replaced.map(|(id, _)| id);
        let record = RevisionRecord { deed, previous, key: key.clone() };
        self.batch.put(&layout::revision_key(id), &record.encode());
        if let Some((_, value_bytes)) = replaced {
            self.table.state.garbage += version_bytes(key.len(), value_bytes);
        }
        if deed.net() != 0 {
            self.membership.push((key.clone(), deed.net()));
        }
    }

    fn attach(&mut self, key: &[u8], old: Option<LeaseId>, new: Option<LeaseId>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.batch.delete(&layout::attachment_key(old, key));
        }
        if let Some(new) = new {
            self.batch.put(&layout::attachment_key(new, key), &[]);
        }
    }

    /// Notes an event. The version before is that of an earlier revision: of what one transaction does to a key twice,
    /// watchers never see the state in between.
    fn happened(&mut self, kind: EventKind, kv: KeyValue, previous: Option<KeyValue>) -> Result<(), StrongError> {
        let prev_kv = match previous {
            Some(previous) if previous.mod_revision == kv.mod_revision => {
                self.source().version_at(&kv.key, self.table.state.revision)?
            }
            other => other,
        };
        let prev_kv = if althing_probe::is(Mutant::WrongPrevious) { prev_kv.map(|_| kv.clone()) } else { prev_kv };
        self.events.push(Event { kind, kv, prev_kv });
        Ok(())
    }
}
