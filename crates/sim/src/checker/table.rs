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

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &'static str, value: &'static str, created: i64, revision: i64, version: i64) -> KeyValue {
        let (create_revision, mod_revision) = (Revision(created), Revision(revision));
        KeyValue { key: key.into(), value: value.into(), create_revision, mod_revision, version, lease: None }
    }

    /// 2: a is 1, b is 9; 3: c is 5; 4: a is 2; 5: b goes.
    fn table() -> Table {
        let put = |kv: KeyValue| Event { kind: EventKind::Put, kv, prev_kv: None };
        let gone = Event { kind: EventKind::Delete, ..put(kv("b", "", 0, 5, 0)) };
        let changes = [
            (Revision(2), vec![put(kv("a", "1", 2, 2, 1)), put(kv("b", "9", 2, 2, 1))]),
            (Revision(3), vec![put(kv("c", "5", 3, 3, 1))]),
            (Revision(4), vec![put(kv("a", "2", 2, 4, 2))]),
            (Revision(5), vec![gone]),
        ];
        Table::new(&Truth::new(Revision(2), changes))
    }

    fn keys(response: &RangeResponse) -> String {
        response.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key)).collect()
    }

    fn put(key: &'static str, value: &'static str) -> PutRequest {
        PutRequest { key: key.into(), value: PutValue::Set(value.into()), lease: PutLease::Set(None), prev_kv: true }
    }

    fn all() -> RangeRequest {
        RangeRequest::new(KeyRange::all())
    }

    #[test]
    fn a_range_is_what_it_was_at_its_revision() {
        let table = table();
        let at = |base| keys(&Draft::new(&table, Revision(base)).range(&all()));
        assert_eq!([at(1), at(2), at(3), at(4), at(5)], ["", "ab", "abc", "abc", "ac"]);
        let then = RangeRequest { revision: Some(Revision(2)), ..all() };
        assert_eq!(keys(&Draft::new(&table, Revision(5)).range(&then)), "ab");
    }

    #[test]
    fn order_limit_filters_and_counts_are_those_that_were_asked_for() {
        let table = table();
        let draft = Draft::new(&table, Revision(4));
        let sorted = |target, order| keys(&draft.range(&RangeRequest { sort: Some((target, order)), ..all() }));
        assert_eq!(sorted(SortTarget::Mod, SortOrder::Ascending), "bca");
        assert_eq!(sorted(SortTarget::Value, SortOrder::Descending), "bca");
        let limited = draft.range(&RangeRequest { limit: 2, ..all() });
        assert_eq!((keys(&limited).as_str(), limited.more, limited.count), ("ab", true, 3));
        let whole = draft.range(&RangeRequest { limit: 3, keys_only: true, ..all() });
        assert!(!whole.more && whole.kvs.iter().all(|kv| kv.value.is_empty()));
        let young = draft.range(&RangeRequest { min_mod_revision: Some(Revision(3)), ..all() });
        assert_eq!((keys(&young).as_str(), young.count), ("ac", 3));
        let counted = draft.range(&RangeRequest { count_only: true, limit: 1, ..all() });
        assert_eq!((counted.kvs.len(), counted.more, counted.count), (0, false, 3));
    }

    #[test]
    fn a_transaction_compares_first_and_then_sees_its_own_writes() {
        let table = table();
        let (range, delete) =
            (Operation::Range(all()), DeleteRangeRequest { keys: KeyRange::single("c"), prev_kv: true });
        let within = TxnRequest {
            compare: vec![Compare::mod_is("a", Revision(4))],
            success: vec![Operation::DeleteRange(delete)],
            failure: Vec::new(),
        };
        let success = vec![Operation::Put(put("a", "3")), Operation::Put(put("d", "4")), Operation::Txn(within), range];
        let mut draft = Draft::new(&table, Revision(5));
        let done = draft.txn(&TxnRequest { compare: Vec::new(), success, failure: Vec::new() });
        assert!(done.succeeded);
        let [OperationResponse::Put(replaced), _, OperationResponse::Txn(within), OperationResponse::Range(seen)] =
            &done.responses[..]
        else {
            panic!("{done:?}");
        };
        assert_eq!(replaced.prev_kv, Some(kv("a", "2", 2, 4, 2)));
        assert!(within.succeeded, "it compares with the table before the transaction");
        assert_eq!(keys(seen), "ad");
        let events = draft.into_events();
        assert_eq!(events.iter().map(|event| event.kv.version).collect::<Vec<_>>(), [3, 1, 0]);
        assert_eq!(events[2].prev_kv, Some(kv("c", "5", 3, 3, 1)));
    }

    #[test]
    fn comparisons_hold_for_every_key_and_of_an_absent_key_all_but_the_value_is_nothing() {
        let table = table();
        let draft = Draft::new(&table, Revision(4));
        let holds = |keys, operator, target| draft.holds(&Compare { keys, operator, target });
        let (equal, greater) = (CompareOperator::Equal, CompareOperator::Greater);
        assert!(holds(KeyRange::all(), greater, CompareTarget::Version(0)));
        assert!(!holds(KeyRange::all(), equal, CompareTarget::Version(1)));
        assert!(holds(KeyRange::single("z"), equal, CompareTarget::Version(0)));
        assert!(holds(KeyRange::single("z"), equal, CompareTarget::Lease(0)));
        assert!(!holds(KeyRange::single("z"), CompareOperator::NotEqual, CompareTarget::Value("1".into())));
        assert!(holds(KeyRange::single("a"), CompareOperator::Less, CompareTarget::Value("3".into())));
    }
}
