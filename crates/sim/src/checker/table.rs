//! The table at every revision, as the truth gives it, and what a request must be answered there.
//!
//! This is a second telling of what reads and transactions mean (etcd's API guarantees and the meaning of its requests),
//! written to be plain rather than fast, and shared with nothing that the nodes run.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use althing_api::kv::{
    Compare, CompareOperator, CompareTarget, DeleteRangeRequest, DeleteRangeResponse, Event, EventKind, KeyRange,
    KeyValue, Operation, OperationResponse, PutLease, PutRequest, PutResponse, PutValue, RangeEnd, RangeRequest,
    RangeResponse, SortOrder, SortTarget, TxnRequest, TxnResponse,
};
use althing_types::Revision;
use bytes::Bytes;

use super::truth::Truth;

/// All versions of all keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    /// Of each key, in order: from which revision on it was what.
    versions: BTreeMap<Bytes, Vec<(Revision, Option<KeyValue>)>>,
}

impl Table {
    /// The table whose history this is.
    #[must_use]
    pub fn new(truth: &Truth) -> Self {
        let mut versions: BTreeMap<Bytes, Vec<_>> = BTreeMap::new();
        for event in truth.since(truth.first()) {
            let now = match event.kind {
                EventKind::Put => Some(event.kv.clone()),
                EventKind::Delete => None,
            };
            versions.entry(event.kv.key.clone()).or_default().push((event.kv.mod_revision, now));
        }
        Self { versions }
    }

    /// A key as of a revision.
    #[must_use]
    pub fn get(&self, key: &[u8], at: Revision) -> Option<&KeyValue> {
        newest(self.versions.get(key)?, at)
    }

    /// The keys of a range as of a revision, in order.
    pub fn range<'a>(&'a self, keys: &'a KeyRange, at: Revision) -> impl Iterator<Item = &'a KeyValue> {
        let held = self.versions.range(keys.start.clone()..).take_while(move |(key, _)| is_below_end(keys, key));
        held.filter_map(move |(_, versions)| newest(versions, at))
    }
}

fn newest(versions: &[(Revision, Option<KeyValue>)], at: Revision) -> Option<&KeyValue> {
    let after = versions.partition_point(|(revision, _)| *revision <= at);
    versions[..after].last()?.1.as_ref()
}

fn is_below_end(keys: &KeyRange, key: &Bytes) -> bool {
    match &keys.end {
        RangeEnd::Single => *key == keys.start,
        RangeEnd::Before(end) => key < end,
        RangeEnd::Unbounded => true,
    }
}

/// What a request does to the table as it was at one revision, before anything of it is kept.
#[derive(Debug)]
pub struct Draft<'a> {
    table: &'a Table,
    base: Revision,
    written: BTreeMap<Bytes, Option<KeyValue>>,
    events: Vec<Event>,
}

impl<'a> Draft<'a> {
    /// Nothing yet, on the table as of `base`. What is written gets the next revision.
    #[must_use]
    pub fn new(table: &'a Table, base: Revision) -> Self {
        Self { table, base, written: BTreeMap::new(), events: Vec::new() }
    }

    /// What was written, in order.
    #[must_use]
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// What a read finds; without a revision of its own it sees what was written before it.
    #[must_use]
    pub fn range(&self, request: &RangeRequest) -> RangeResponse {
        let mut kvs: Vec<KeyValue> = match request.revision.filter(|revision| revision.0 > 0) {
            Some(revision) => self.table.range(&request.keys, revision).cloned().collect(),
            None => self.present(&request.keys),
        };
        let count = kvs.len() as u64;
        if request.count_only {
            return RangeResponse { count, ..RangeResponse::default() };
        }
        kvs.retain(|kv| passes(request, kv));
        let limit = if request.limit == 0 { usize::MAX } else { usize::try_from(request.limit).unwrap_or(usize::MAX) };
        let more = kvs.len() > limit;
        match request.sort {
            Some((target, SortOrder::Ascending)) => kvs.sort_by(|a, b| compare_by(target, a, b)),
            Some((target, SortOrder::Descending)) => kvs.sort_by(|a, b| compare_by(target, b, a)),
            Some((target, SortOrder::AscendingWithinLimit)) => {
                kvs.truncate(limit);
                kvs.sort_by(|a, b| compare_by(target, a, b));
            }
            None => {}
        }
        kvs.truncate(limit);
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        RangeResponse { kvs, more, count }
    }

    /// Writes one key.
    pub fn put(&mut self, request: &PutRequest) -> PutResponse {
        let before = self.get(&request.key);
        let old = before.clone().unwrap_or_default();
        let revision = self.base.next();
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: if before.is_some() { old.create_revision } else { revision },
            mod_revision: revision,
            version: old.version + 1,
            value: match &request.value {
                PutValue::Set(value) => value.clone(),
                PutValue::Keep => old.value.clone(),
            },
            lease: match request.lease {
                PutLease::Set(lease) => lease,
                PutLease::Keep => old.lease,
            },
        };
        self.write(EventKind::Put, kv.clone(), Some(kv));
        PutResponse { prev_kv: before.filter(|_| request.prev_kv) }
    }

    /// Removes the keys of a range.
    pub fn delete_range(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let gone = self.present(&request.keys);
        for kv in &gone {
            let kv = KeyValue { key: kv.key.clone(), mod_revision: self.base.next(), ..KeyValue::default() };
            self.write(EventKind::Delete, kv, None);
        }
        let deleted = gone.len() as u64;
        DeleteRangeResponse { deleted, prev_kvs: if request.prev_kv { gone } else { Vec::new() } }
    }

    /// Does a transaction.
    pub fn txn(&mut self, request: &TxnRequest) -> TxnResponse {
        let succeeded = self.choose(request);
        let operations = if succeeded { &request.success } else { &request.failure };
        // All comparisons are made before anything is written, also those of transactions within.
        let chosen: Vec<Chosen<'_>> = operations.iter().map(|operation| self.chosen(operation)).collect();
        TxnResponse { succeeded, responses: chosen.iter().map(|chosen| self.execute(chosen)).collect() }
    }

    fn choose(&self, request: &TxnRequest) -> bool {
        request.compare.iter().all(|compare| self.holds(compare))
    }

    fn chosen<'r>(&self, operation: &'r Operation) -> Chosen<'r> {
        match operation {
            Operation::Txn(txn) => {
                let succeeded = self.choose(txn);
                let branch = if succeeded { &txn.success } else { &txn.failure };
                Chosen::Txn(succeeded, branch.iter().map(|operation| self.chosen(operation)).collect())
            }
            Operation::Range(_) | Operation::Put(_) | Operation::DeleteRange(_) => Chosen::Plain(operation),
        }
    }

    fn execute(&mut self, chosen: &Chosen<'_>) -> OperationResponse {
        match chosen {
            Chosen::Plain(Operation::Range(range)) => OperationResponse::Range(self.range(range)),
            Chosen::Plain(Operation::Put(put)) => OperationResponse::Put(self.put(put)),
            Chosen::Plain(Operation::DeleteRange(delete)) => OperationResponse::DeleteRange(self.delete_range(delete)),
            Chosen::Plain(Operation::Txn(txn)) => OperationResponse::Txn(self.txn(txn)),
            Chosen::Txn(succeeded, within) => OperationResponse::Txn(TxnResponse {
                succeeded: *succeeded,
                responses: within.iter().map(|chosen| self.execute(chosen)).collect(),
            }),
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let kvs = self.present(&compare.keys);
        match &compare.target {
            CompareTarget::Value(_) if kvs.is_empty() => false,
            _ if kvs.is_empty() => matches(compare, &KeyValue::default()),
            _ => kvs.iter().all(|kv| matches(compare, kv)),
        }
    }

    fn get(&self, key: &Bytes) -> Option<KeyValue> {
        match self.written.get(key) {
            Some(now) => now.clone(),
            None => self.table.get(key, self.base).cloned(),
        }
    }

    fn present(&self, keys: &KeyRange) -> Vec<KeyValue> {
        if self.written.is_empty() {
            return self.table.range(keys, self.base).cloned().collect();
        }
        let mut now: BTreeMap<Bytes, KeyValue> =
            self.table.range(keys, self.base).map(|kv| (kv.key.clone(), kv.clone())).collect();
        for (key, written) in self.written.iter().filter(|(key, _)| keys.contains(key)) {
            match written {
                Some(kv) => now.insert(key.clone(), kv.clone()),
                None => now.remove(key),
            };
        }
        now.into_values().collect()
    }

    fn write(&mut self, kind: EventKind, kv: KeyValue, now: Option<KeyValue>) {
        let prev_kv = self.table.get(&kv.key, self.base).cloned();
        self.written.insert(kv.key.clone(), now);
        self.events.push(Event { kind, kv, prev_kv });
    }
}

/// An operation whose comparisons are made.
enum Chosen<'r> {
    Plain(&'r Operation),
    Txn(bool, Vec<Chosen<'r>>),
}

fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    request.min_mod_revision.is_none_or(|least| kv.mod_revision >= least)
        && request.max_mod_revision.is_none_or(|most| kv.mod_revision <= most)
        && request.min_create_revision.is_none_or(|least| kv.create_revision >= least)
        && request.max_create_revision.is_none_or(|most| kv.create_revision <= most)
}

fn compare_by(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

fn matches(compare: &Compare, kv: &KeyValue) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.map_or(0, |lease| lease.0).cmp(lease),
    };
    match compare.operator {
        CompareOperator::Equal => ordering == Ordering::Equal,
        CompareOperator::NotEqual => ordering != Ordering::Equal,
        CompareOperator::Greater => ordering == Ordering::Greater,
        CompareOperator::Less => ordering == Ordering::Less,
    }
}
