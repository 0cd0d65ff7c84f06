//! A node for tests: a table in memory that knows its own past, and answers at once what the gateway asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use althing_api::kv::{
    Compare, CompareTarget, KeyValue, Operation, OperationResponse, PutRequest, PutResponse, PutValue, RangeRequest,
    RangeResponse, TxnRequest, TxnResponse,
};
use althing_api::request::Body;
use althing_api::service::{META_GROUP, Target};
use althing_api::{
    Answer, Call, Error, ErrorKind, Header, Health, Reply, Request, Service, SnapshotChunk, SnapshotStream,
    WatchSession,
};
use althing_manifest::{Condition, Liveness, Node, NodeSpec, Object, Schedule, Table, TableSpec, Truth, condition};
use althing_types::{ClusterId, NodeId, Revision};
use bytes::Bytes;

/// The node. Clones share it.
#[derive(Clone, Default)]
pub struct TestNode(Arc<Mutex<Values>>);

#[derive(Default)]
struct Values {
    /// Every version of every key; a removal has none.
    versions: BTreeMap<Bytes, Vec<(Revision, Option<KeyValue>)>>,
    /// Zero stands for the first revision.
    written: i64,
    compacted: Revision,
    refuse: Option<ErrorKind>,
    /// Done before the next transaction: what another client does meanwhile.
    meanwhile: Vec<(String, String)>,
}

impl TestNode {
    fn values(&self) -> MutexGuard<'_, Values> {
        self.0.lock().expect("no test panics while it holds the table")
    }

    /// Writes a value as the reconcilers would.
    pub fn put(&self, key: &str, value: &str) -> Revision {
        self.values().set(key.to_owned().into(), Some(value.to_owned().into()))
    }

    /// Removes a key as the reconcilers would.
    pub fn remove(&self, key: &str) -> Revision {
        self.values().set(key.to_owned().into(), None)
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<String> {
        let table = self.values();
        let now = table.revision();
        table.at(key.as_bytes(), now).map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
    }

    /// The revision of the table.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.values().revision()
    }

    /// Forgets what was before the present revision.
    pub fn compact(&self) {
        let mut table = self.values();
        table.compacted = table.revision();
    }

    /// Answers everything with this error from now on, or no longer.
    pub fn refuse(&self, kind: Option<ErrorKind>) {
        self.values().refuse = kind;
    }

    /// Before the next transaction somebody else writes this.
    pub fn meanwhile(&self, key: &str, value: &str) {
        self.values().meanwhile.push((key.to_owned(), value.to_owned()));
    }
}

impl Values {
    fn revision(&self) -> Revision {
        Revision(self.written + 1)
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) -> Revision {
        self.written += 1;
        let now = self.revision();
        let before = self.at(&key, now).cloned();
        let kv = value.map(|value| KeyValue {
            key: key.clone(),
            create_revision: before.as_ref().map_or(now, |kv| kv.create_revision),
            mod_revision: now,
            version: before.map_or(1, |kv| kv.version + 1),
            value,
            lease: None,
        });
        self.versions.entry(key).or_default().push((now, kv));
        now
    }

    fn at(&self, key: &[u8], revision: Revision) -> Option<&KeyValue> {
        let versions = self.versions.get(key)?;
        versions.iter().rev().find(|(at, _)| *at <= revision)?.1.as_ref()
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ErrorKind> {
        let now = request.revision.unwrap_or(self.revision());
        if now < self.compacted {
            return Err(ErrorKind::Compacted { requested: now, oldest: self.compacted });
        }
        if now > self.revision() {
            return Err(ErrorKind::FutureRevision { requested: now, current: self.revision() });
        }
        let keys = self.versions.keys().filter(|key| request.keys.contains(key));
        let mut kvs: Vec<KeyValue> = keys.filter_map(|key| self.at(key, now).cloned()).collect();
        let count = kvs.len() as u64;
        kvs.retain(|kv| request.min_mod_revision.is_none_or(|least| kv.mod_revision >= least));
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let more = limit != 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(RangeResponse { kvs, more, count })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let now = self.at(&compare.keys.start, self.revision()).map_or(Revision(0), |kv| kv.mod_revision);
        matches!(compare.target, CompareTarget::Mod(revision) if revision == now)
    }

    fn put(&mut self, request: &PutRequest) -> PutResponse {
        if let PutValue::Set(value) = &request.value {
            self.set(request.key.clone(), Some(value.clone()));
        }
        PutResponse::default()
    }

    fn txn(&mut self, txn: &TxnRequest) -> Result<TxnResponse, ErrorKind> {
        for (key, value) in std::mem::take(&mut self.meanwhile) {
            self.set(key.into(), Some(value.into()));
        }
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let mut responses = Vec::new();
        for operation in if succeeded { &txn.success } else { &txn.failure } {
            responses.push(match operation {
                Operation::Range(request) => OperationResponse::Range(self.range(request)?),
                Operation::Put(request) => OperationResponse::Put(self.put(request)),
                Operation::DeleteRange(request) => {
                    self.set(request.keys.start.clone(), None);
                    OperationResponse::DeleteRange(Default::default())
                }
                Operation::Txn(nested) => OperationResponse::Txn(self.txn(nested)?),
            });
        }
        Ok(TxnResponse { succeeded, responses })
    }

    fn answer(&mut self, call: Call) -> Result<Answer, ErrorKind> {
        if let Some(kind) = &self.refuse {
            return Err(kind.clone());
        }
        assert_eq!(call.target, Target::Group(META_GROUP), "objects are in the meta table");
        let body = match call.request {
            Request::Range(request) => Body::Range(self.range(&request)?),
            Request::Txn(txn) => Body::Txn(self.txn(&txn)?),
            other => return Err(ErrorKind::Unsupported(format!("the gateway has no business with {other:?}"))),
        };
        let header = Header { cluster: ClusterId(1), member: NodeId(2), revision: self.revision(), raft_term: 3 };
        Ok(Answer { header, body })
    }
}

/// A stream that has ended.
struct Ended;

impl futures_core::Stream for Ended {
    type Item = Result<SnapshotChunk, Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(None)
    }
}

impl Service for TestNode {
    fn call(&self, call: Call) -> Reply {
        Reply::ready(self.values().answer(call).map_err(Error::not_done))
    }

    fn watch(&self, _: Target, _: bool) -> Box<dyn WatchSession> {
        panic!("the gateway follows objects by reading: a node without the meta table has no watches of it")
    }

    fn snapshot(&self, _: Target) -> SnapshotStream {
        Box::pin(Ended)
    }

    fn cluster(&self) -> ClusterId {
        ClusterId(0xc1)
    }

    fn member(&self) -> NodeId {
        NodeId(2)
    }

    fn health(&self) -> Health {
        Health { live: true, ready: true, reasons: Vec::new() }
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
}

/// A table as it is stored.
#[must_use]
pub fn table(name: &str, labels: &[(&str, &str)]) -> String {
    let mut table = Table::new(name, TableSpec::default());
    table.metadata.generation = 1;
    table.metadata.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    stored(table)
}

/// A node as it is stored.
#[must_use]
pub fn node(name: &str, id: u64, schedule: Schedule, liveness: Liveness, replicas: u64) -> String {
    let mut node = Node::new(name, NodeSpec { schedule, ..NodeSpec::new(NodeId(id)) });
    node.metadata.generation = 1;
    node.status.liveness = liveness;
    node.status.replicas = replicas;
    if let (Schedule::Drain, 0) = (schedule, replicas) {
        let drained = Condition::new(condition::DRAINED, Truth::True, "Empty", "");
        condition::set(&mut node.status.conditions, drained);
    }
    stored(node)
}

fn stored(object: impl Into<Object>) -> String {
    String::from_utf8_lossy(&object.into().to_stored()).into_owned()
}
