//! A table in its plainest form: the list of all versions that ever were. Every question is answered by going through it.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::ErrorKind;
use althing_api::kv::*;
use althing_api::lease::LeaseGranted;
use althing_api::request::Body;
use althing_strong::Command;
use althing_types::{LeaseId, Revision};
use bytes::Bytes;

#[derive(Clone, Debug)]
struct Version {
    key: Bytes,
    main: i64,
    kv: Option<KeyValue>,
}

#[derive(Clone, Debug)]
pub struct Oracle {
    versions: Vec<Version>,
    pub revision: i64,
    pub compacted: i64,
    pub leases: BTreeMap<LeaseId, i64>,
}

impl Default for Oracle {
    fn default() -> Self {
        Self { versions: Vec::new(), revision: 1, compacted: -1, leases: BTreeMap::new() }
    }
}

impl Oracle {
    pub fn get(&self, key: &[u8], at: i64) -> Option<KeyValue> {
        self.versions.iter().rev().find(|version| version.key == key && version.main <= at)?.kv.clone()
    }

    pub fn all(&self, keys: &KeyRange, at: i64) -> Vec<KeyValue> {
        let names: BTreeSet<&Bytes> = self.versions.iter().map(|version| &version.key).collect();
        let within = names.into_iter().filter(|key| match &keys.end {
            RangeEnd::Single => **key == keys.start,
            RangeEnd::Before(end) => **key >= keys.start && *key < end,
            RangeEnd::Unbounded => **key >= keys.start,
        });
        within.filter_map(|key| self.get(key, at)).collect()
    }

    /// `now` is the revision that the reader is at: one ahead within a transaction that has written.
    pub fn range(&self, request: &RangeRequest, now: i64) -> RangeResponse {
        let mut kvs = self.all(&request.keys, request.revision.map_or(now, |revision| revision.0));
        let count = kvs.len() as u64;
        if request.count_only {
            return RangeResponse { kvs: Vec::new(), more: false, count };
        }
        kvs.retain(|kv| request.min_mod_revision.is_none_or(|min| kv.mod_revision >= min));
        kvs.retain(|kv| request.max_mod_revision.is_none_or(|max| kv.mod_revision <= max));
        kvs.retain(|kv| request.min_create_revision.is_none_or(|min| kv.create_revision >= min));
        kvs.retain(|kv| request.max_create_revision.is_none_or(|max| kv.create_revision <= max));
        let is_filtered = request.min_mod_revision.or(request.max_mod_revision).is_some()
            || request.min_create_revision.or(request.max_create_revision).is_some();
        if let Some((_, SortOrder::AscendingWithinLimit)) = request.sort
            && !is_filtered
            && request.limit > 0
        {
            kvs.truncate(request.limit as usize + 1);
        }
        if let Some((target, order)) = request.sort {
            kvs.sort_by(|a, b| {
                let ascending = match target {
                    SortTarget::Key => a.key.cmp(&b.key),
                    SortTarget::Version => a.version.cmp(&b.version),
                    SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                    SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                    SortTarget::Value => a.value.cmp(&b.value),
                };
                if order == SortOrder::Descending { ascending.reverse() } else { ascending }
            });
        }
        let more = request.limit > 0 && kvs.len() as u64 > request.limit;
        if more {
            kvs.truncate(request.limit as usize);
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        RangeResponse { kvs, more, count }
    }

    /// What the machine should answer, with the events it should tell.
    pub fn apply(&mut self, command: &Command) -> (Result<(Body, Revision), ErrorKind>, Vec<Event>) {
        let mut events = Vec::new();
        let result = self.command(command, &mut events);
        if !events.is_empty() {
            self.revision += 1;
        }
        (result.map(|body| (body, Revision(self.revision))), events)
    }

    fn command(&mut self, command: &Command, events: &mut Vec<Event>) -> Result<Body, ErrorKind> {
        althing_strong::check::command(command)?;
        match command {
            Command::Put(put) => {
                self.check_lease(put)?;
                self.check_put(put)?;
                Ok(Body::Put(self.put(put, events)))
            }
            Command::DeleteRange(delete) => Ok(Body::DeleteRange(self.delete(delete, events))),
            Command::Txn(txn) => {
                let mut path = Vec::new();
                self.choose(txn, &mut path);
                self.check_txn(txn, &mut path.iter().copied())?;
                Ok(Body::Txn(self.txn(txn, &mut path.into_iter(), events)))
            }
            Command::Compact { revision } => {
                if revision.0 <= self.compacted {
                    return Err(ErrorKind::Compacted { requested: *revision, oldest: Revision(self.compacted) });
                }
                if revision.0 > self.revision {
                    let current = Revision(self.revision);
                    return Err(ErrorKind::FutureRevision { requested: *revision, current });
                }
                self.compacted = revision.0;
                Ok(Body::Compact)
            }
            Command::LeaseGrant { id, ttl_seconds } => {
                if self.leases.contains_key(id) {
                    return Err(ErrorKind::LeaseExists(*id));
                }
                let ttl_seconds = (*ttl_seconds).max(1);
                self.leases.insert(*id, ttl_seconds);
                Ok(Body::LeaseGrant(LeaseGranted { id: *id, ttl_seconds }))
            }
            Command::LeaseRevoke { id } => {
                self.leases.remove(id).ok_or(ErrorKind::LeaseNotFound(*id))?;
                let all = self.all(&KeyRange::all(), self.revision);
                for kv in all.into_iter().filter(|kv| kv.lease == Some(*id)) {
                    let keys = KeyRange::single(kv.key);
                    self.delete(&DeleteRangeRequest { keys, prev_kv: false }, events);
                }
                Ok(Body::LeaseRevoke)
            }
            Command::LeaseCheckpoint { .. } => Ok(Body::Compact),
            other => panic!("the oracle does not know {other:?}"),
        }
    }

    fn now(&self, events: &[Event]) -> i64 {
        self.revision + i64::from(!events.is_empty())
    }

    fn check_put(&self, put: &PutRequest) -> Result<(), ErrorKind> {
        let keeps = put.value == PutValue::Keep || put.lease == PutLease::Keep;
        if keeps && self.get(&put.key, self.revision).is_none() {
            return Err(ErrorKind::KeyNotFound);
        }
        self.check_lease(put)
    }

    fn check_lease(&self, put: &PutRequest) -> Result<(), ErrorKind> {
        match put.lease {
            PutLease::Set(Some(id)) if !self.leases.contains_key(&id) => Err(ErrorKind::LeaseNotFound(id)),
            _ => Ok(()),
        }
    }

    fn put(&mut self, put: &PutRequest, events: &mut Vec<Event>) -> PutResponse {
        let main = self.revision + 1;
        let old = self.get(&put.key, main);
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: old.as_ref().map_or(Revision(main), |old| old.create_revision),
            mod_revision: Revision(main),
            version: old.as_ref().map_or(1, |old| old.version + 1),
            value: match &put.value {
                PutValue::Set(value) => value.clone(),
                // Only a transaction that has just removed the key finds nothing to keep.
                PutValue::Keep => old.clone().unwrap_or_default().value,
            },
            lease: match put.lease {
                PutLease::Set(lease) => lease,
                PutLease::Keep => old.as_ref().and_then(|old| old.lease),
            },
        };
        // Of a key that the same transaction has removed and made again, etcd tells nothing that was before.
        let is_new = kv.create_revision == kv.mod_revision;
        let prev_kv = if is_new { None } else { self.get(&put.key, self.revision) };
        events.push(Event { kind: EventKind::Put, kv: kv.clone(), prev_kv });
        self.versions.push(Version { key: put.key.clone(), main, kv: Some(kv) });
        PutResponse { prev_kv: old.filter(|_| put.prev_kv) }
    }

    fn delete(&mut self, delete: &DeleteRangeRequest, events: &mut Vec<Event>) -> DeleteRangeResponse {
        let main = self.revision + 1;
        let gone = self.all(&delete.keys, main);
        for kv in &gone {
            let prev_kv = self.get(&kv.key, self.revision);
            let tombstone = KeyValue { key: kv.key.clone(), mod_revision: Revision(main), ..KeyValue::default() };
            events.push(Event { kind: EventKind::Delete, kv: tombstone, prev_kv });
            self.versions.push(Version { key: kv.key.clone(), main, kv: None });
        }
        DeleteRangeResponse { deleted: gone.len() as u64, prev_kvs: if delete.prev_kv { gone } else { Vec::new() } }
    }

    fn choose(&self, txn: &TxnRequest, path: &mut Vec<bool>) {
        let holds = txn.compare.iter().all(|compare| self.holds(compare));
        path.push(holds);
        for operation in if holds { &txn.success } else { &txn.failure } {
            if let Operation::Txn(txn) = operation {
                self.choose(txn, path);
            }
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let kvs = self.all(&compare.keys, self.revision);
        if kvs.is_empty() {
            let nothing = KeyValue::default();
            return !matches!(compare.target, CompareTarget::Value(_)) && holds_for(compare, &nothing);
        }
        kvs.iter().all(|kv| holds_for(compare, kv))
    }

    fn check_txn(&self, txn: &TxnRequest, path: &mut dyn Iterator<Item = bool>) -> Result<(), ErrorKind> {
        for operation in if path.next().unwrap() { &txn.success } else { &txn.failure } {
            match operation {
                Operation::Range(range) => self.check_revision(range.revision)?,
                Operation::Put(put) => self.check_put(put)?,
                Operation::DeleteRange(_) => {}
                Operation::Txn(txn) => self.check_txn(txn, path)?,
            }
        }
        Ok(())
    }

    pub fn check_revision(&self, revision: Option<Revision>) -> Result<(), ErrorKind> {
        let Some(requested) = revision else { return Ok(()) };
        if requested.0 > self.revision {
            return Err(ErrorKind::FutureRevision { requested, current: Revision(self.revision) });
        }
        if requested.0 < self.compacted {
            return Err(ErrorKind::Compacted { requested, oldest: Revision(self.compacted) });
        }
        Ok(())
    }

    fn txn(&mut self, txn: &TxnRequest, path: &mut dyn Iterator<Item = bool>, events: &mut Vec<Event>) -> TxnResponse {
        let succeeded = path.next().unwrap();
        let mut responses = Vec::new();
        for operation in if succeeded { &txn.success } else { &txn.failure } {
            responses.push(match operation {
                Operation::Range(range) => OperationResponse::Range(self.range(range, self.now(events))),
                Operation::Put(put) => OperationResponse::Put(self.put(put, events)),
                Operation::DeleteRange(delete) => OperationResponse::DeleteRange(self.delete(delete, events)),
                Operation::Txn(txn) => OperationResponse::Txn(self.txn(txn, path, events)),
            });
        }
        TxnResponse { succeeded, responses }
    }
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.map_or(0, |lease| lease.0).cmp(lease),
    };
    match compare.operator {
        CompareOperator::Equal => ordering.is_eq(),
        CompareOperator::Greater => ordering.is_gt(),
        CompareOperator::Less => ordering.is_lt(),
        CompareOperator::NotEqual => ordering.is_ne(),
    }
}
