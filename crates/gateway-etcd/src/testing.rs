//! A node for tests: one table in memory with revisions, transactions, leases and watches that behave as the real ones
//! do as far as the gateway can tell. Every request is answered at once.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use althing_api::cluster::{Alarm, AlarmKind, Member, NodeStatus};
use althing_api::kv::{
    Compare, CompareOperator, CompareTarget, Consistency, DeleteRangeResponse, Event, EventKind, KeyRange, KeyValue,
    Operation, OperationResponse, PutLease, PutRequest, PutResponse, PutValue, RangeRequest, RangeResponse, SortOrder,
    SortTarget, TxnRequest, TxnResponse,
};
use althing_api::lease::{LeaseGranted, LeaseStatus};
use althing_api::request::Body;
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent};
use althing_api::{
    Answer, Call, Error, ErrorKind, Header, Health, Pass, Reply, Request, Service, SnapshotChunk, SnapshotStream,
    Target, WatchSession,
};
use althing_env::Clock;
use althing_types::{ClusterId, Instant, LeaseId, NodeId, Revision, WallTime, WatchId};
use bytes::Bytes;
use futures_channel::mpsc;
use futures_core::Stream;

use crate::{Gateway, Metrics, Options, router};

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn wall(&self) -> WallTime {
        WallTime(0)
    }
}

/// The node. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct TestNode(Arc<Mutex<Table>>);

#[derive(Default)]
pub(crate) struct Table {
    /// Zero stands for the first revision.
    written: i64,
    current: BTreeMap<Bytes, KeyValue>,
    history: Vec<Event>,
    compacted: i64,
    leases: BTreeMap<LeaseId, i64>,
    watches: Vec<TestWatch>,
    /// What the node says when it is asked to write; tests set it.
    pub(crate) refuse: Option<ErrorKind>,
    /// Streams to be told when there is no leader.
    needy: Vec<mpsc::UnboundedSender<WatchEvent>>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) leaderless: bool,
    /// Whether there is no place for writes; tests set it.
    pub(crate) full: bool,
    /// Whether the node is a learner; tests set it.
    pub(crate) learner: bool,
    /// Whom calls, watches and downloads were for, in order; tests look.
    pub(crate) targets: Vec<Target>,
}

struct TestWatch {
    id: WatchId,
    create: WatchCreate,
    sender: mpsc::UnboundedSender<WatchEvent>,
}

impl TestNode {
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap()
    }

    pub(crate) fn gateway(&self) -> Gateway {
        router(Arc::new(self.clone()), Options { clock: Arc::new(Still), metrics: Metrics::new() })
    }
}

impl Table {
    pub(crate) fn revision(&self) -> Revision {
        Revision(self.written + 1)
    }

    pub(crate) fn lose_the_leader(&mut self) {
        self.leaderless = true;
        let (id, revision) = (WatchId(-1), self.revision());
        for sender in self.needy.drain(..) {
            let _ = sender.unbounded_send(WatchEvent::Canceled { id, revision, reason: CancelReason::NoLeader });
        }
    }

    pub(crate) fn keys(&self) -> Vec<Bytes> {
        self.current.keys().cloned().collect()
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ErrorKind> {
        if let Some(requested) = request.revision
            && requested.get() < self.compacted
        {
            return Err(ErrorKind::Compacted { requested, oldest: Revision(self.compacted) });
        }
        let mut kvs: Vec<KeyValue> =
            self.current.values().filter(|kv| request.keys.contains(&kv.key)).cloned().collect();
        let count = kvs.len() as u64;
        kvs.retain(|kv| request.max_create_revision.is_none_or(|max| kv.create_revision <= max));
        if let Some((target, order)) = request.sort {
            assert_eq!(target, SortTarget::Create, "the test table sorts by create revision only");
            kvs.sort_by_key(|kv| kv.create_revision);
            if order == SortOrder::Descending {
                kvs.reverse();
            }
        }
        let more = request.limit != 0 && kvs.len() as u64 > request.limit;
        if request.limit != 0 {
            kvs.truncate(usize::try_from(request.limit).unwrap());
        }
        Ok(RangeResponse { kvs, more, count })
    }

    fn put(&mut self, request: &PutRequest, revision: Revision) -> Result<PutResponse, ErrorKind> {
        let before = self.current.get(&request.key).cloned();
        let lease = match request.lease {
            PutLease::Set(lease) => lease,
            PutLease::Keep => before.as_ref().ok_or(ErrorKind::KeyNotFound)?.lease,
        };
        if let Some(lease) = lease
            && !self.leases.contains_key(&lease)
        {
            return Err(ErrorKind::LeaseNotFound(lease));
        }
        let value = match &request.value {
            PutValue::Set(value) => value.clone(),
            PutValue::Keep => before.as_ref().ok_or(ErrorKind::KeyNotFound)?.value.clone(),
        };
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: before.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: before.as_ref().map_or(0, |kv| kv.version) + 1,
            value,
            lease,
        };
        self.current.insert(kv.key.clone(), kv.clone());
        self.tell(Event { kind: EventKind::Put, kv, prev_kv: before.clone() });
        Ok(PutResponse { prev_kv: before.filter(|_| request.prev_kv) })
    }

    fn delete(&mut self, keys: &KeyRange, revision: Revision) -> DeleteRangeResponse {
        let gone: Vec<Bytes> = self.current.keys().filter(|key| keys.contains(key)).cloned().collect();
        for key in &gone {
            let before = self.current.remove(key);
            let kv = KeyValue { key: key.clone(), mod_revision: revision, ..Default::default() };
            self.tell(Event { kind: EventKind::Delete, kv, prev_kv: before });
        }
        DeleteRangeResponse { deleted: gone.len() as u64, prev_kvs: Vec::new() }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let nothing = KeyValue::default();
        let kv = self.current.get(&compare.keys.start).unwrap_or(&nothing);
        let order = match &compare.target {
            CompareTarget::Version(version) => kv.version.cmp(version),
            CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
            CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
            CompareTarget::Value(value) => kv.value.cmp(value),
            CompareTarget::Lease(lease) => kv.lease.map_or(0, LeaseId::get).cmp(lease),
        };
        match compare.operator {
            CompareOperator::Equal => order.is_eq(),
            CompareOperator::Greater => order.is_gt(),
            CompareOperator::Less => order.is_lt(),
            CompareOperator::NotEqual => order.is_ne(),
        }
    }

    fn txn(&mut self, txn: &TxnRequest, revision: Revision) -> Result<TxnResponse, ErrorKind> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let mut responses = Vec::new();
        for operation in branch {
            responses.push(match operation {
                Operation::Range(request) => OperationResponse::Range(self.range(request)?),
                Operation::Put(request) => OperationResponse::Put(self.put(request, revision)?),
                Operation::DeleteRange(request) => OperationResponse::DeleteRange(self.delete(&request.keys, revision)),
                Operation::Txn(nested) => OperationResponse::Txn(self.txn(nested, revision)?),
            });
        }
        Ok(TxnResponse { succeeded, responses })
    }

    /// Keeps an event and tells it to those who watch. The revision moves with the first event of a write.
    fn tell(&mut self, event: Event) {
        self.written = event.kv.mod_revision.get() - 1;
        self.watches.retain(|watch| send(watch, &event));
        self.history.push(event);
    }

    fn open(&mut self, id: WatchId, create: WatchCreate, sender: mpsc::UnboundedSender<WatchEvent>) {
        let revision = self.revision();
        let _ = sender.unbounded_send(WatchEvent::Created { id, revision });
        let watch = TestWatch { id, create, sender };
        let start = watch.create.start_revision;
        if let Some(start) = start
            && start.get() < self.compacted
        {
            let reason = CancelReason::Compacted(Revision(self.compacted));
            let _ = watch.sender.unbounded_send(WatchEvent::Canceled { id, revision, reason });
            return;
        }
        for event in self.history.iter().filter(|event| start.is_some_and(|start| event.kv.mod_revision >= start)) {
            send(&watch, event);
        }
        self.watches.push(watch);
    }

    fn answer(&mut self, request: Request) -> Result<Body, ErrorKind> {
        if let Some(kind) = &self.refuse {
            return Err(kind.clone());
        }
        if self.learner && matches!(&request, Request::Range(range) if range.consistency == Consistency::Linearizable) {
            return Err(ErrorKind::Learner);
        }
        let next = self.revision().next();
        Ok(match request {
            Request::Range(request) => Body::Range(self.range(&request)?),
            Request::Put(request) => Body::Put(self.put(&request, next)?),
            Request::DeleteRange(request) => Body::DeleteRange(self.delete(&request.keys, next)),
            Request::Txn(txn) => Body::Txn(self.txn(&txn, next)?),
            Request::Compact { revision, .. } => {
                self.compacted = revision.get();
                Body::Compact
            }
            Request::LeaseGrant { id, ttl_seconds } => {
                let id = id.unwrap_or(LeaseId(0x100 + self.leases.len() as i64));
                self.leases.insert(id, ttl_seconds);
                Body::LeaseGrant(LeaseGranted { id, ttl_seconds })
            }
            Request::LeaseRevoke(id) => {
                self.leases.remove(&id).ok_or(ErrorKind::LeaseNotFound(id))?;
                let attached: Vec<Bytes> =
                    self.current.values().filter(|kv| kv.lease == Some(id)).map(|kv| kv.key.clone()).collect();
                for key in attached {
                    self.delete(&KeyRange::single(key), next);
                }
                Body::LeaseRevoke
            }
            Request::LeaseKeepAlive(id) => {
                let ttl_seconds = *self.leases.get(&id).ok_or(ErrorKind::LeaseNotFound(id))?;
                Body::LeaseKeepAlive { ttl_seconds }
            }
            Request::LeaseTimeToLive { id, .. } => {
                let granted_seconds = *self.leases.get(&id).ok_or(ErrorKind::LeaseNotFound(id))?;
                Body::LeaseTimeToLive(LeaseStatus { remaining_seconds: 1, granted_seconds, keys: Vec::new() })
            }
            Request::LeaseLeases => Body::LeaseLeases(self.leases.keys().copied().collect()),
            Request::MemberList { .. } => Body::Members(vec![Member { id: NodeId(2), ..Default::default() }]),
            Request::Status => {
                let leader = if self.leaderless { NodeId::NONE } else { NodeId(2) };
                Body::Status(NodeStatus { leader, raft_term: 3, ..Default::default() })
            }
            Request::Alarm { .. } => Body::Alarms(self.alarms.clone()),
            other => return Err(ErrorKind::Unsupported(format!("{other:?}"))),
        })
    }

    pub(crate) fn no_space(&mut self) {
        self.alarms = vec![Alarm { member: NodeId(2), kind: AlarmKind::NoSpace }];
    }
}

/// Tells a watch of an event if it wants it; whether somebody still listens.
fn send(watch: &TestWatch, event: &Event) -> bool {
    let filter = watch.create.filter;
    let wanted = match event.kind {
        EventKind::Put => !filter.no_put,
        EventKind::Delete => !filter.no_delete,
    };
    if !wanted || !watch.create.keys.contains(&event.kv.key) {
        return !watch.sender.is_closed();
    }
    let prev_kv = event.prev_kv.clone().filter(|_| watch.create.prev_kv);
    let events = vec![Event { prev_kv, ..event.clone() }];
    let revision = event.kv.mod_revision;
    watch.sender.unbounded_send(WatchEvent::Events { id: watch.id, revision, events, fragment: false }).is_ok()
}

struct TestSession {
    node: TestNode,
    sender: mpsc::UnboundedSender<WatchEvent>,
    receiver: mpsc::UnboundedReceiver<WatchEvent>,
    next: i64,
}

impl Stream for TestSession {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}

impl WatchSession for TestSession {
    fn command(&mut self, command: WatchCommand) {
        let mut table = self.node.table();
        let revision = table.revision();
        match command {
            WatchCommand::Create(create) => {
                let id = create.id.unwrap_or(WatchId(self.next));
                if table.watches.iter().any(|watch| watch.id == id && watch.sender.same_receiver(&self.sender)) {
                    let reason = CancelReason::DuplicateId;
                    let _ = self.sender.unbounded_send(WatchEvent::Canceled { id: WatchId(-1), revision, reason });
                    return;
                }
                self.next += 1;
                table.open(id, create, self.sender.clone());
            }
            WatchCommand::Cancel(id) => {
                table.watches.retain(|watch| watch.id != id || !watch.sender.same_receiver(&self.sender));
                let reason = CancelReason::Asked;
                let _ = self.sender.unbounded_send(WatchEvent::Canceled { id, revision, reason });
            }
            WatchCommand::Progress => {
                let _ = self.sender.unbounded_send(WatchEvent::Progress { id: None, revision });
            }
        }
    }
}

/// A snapshot of two chunks.
struct Chunks(Vec<SnapshotChunk>);

impl Stream for Chunks {
    type Item = Result<SnapshotChunk, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

impl Service for TestNode {
    fn call(&self, call: Call) -> Reply {
        let mut table = self.table();
        table.targets.push(call.target);
        let result = table.answer(call.request);
        let header = Header { cluster: ClusterId(1), member: NodeId(2), revision: table.revision(), raft_term: 3 };
        Reply::ready(result.map(|body| Answer { header, body }).map_err(Error::not_done))
    }

    fn enter(&self, _: &Target) -> Result<Pass, Error> {
        if self.table().full { Err(Error::not_done(ErrorKind::Overloaded)) } else { Ok(Pass::default()) }
    }

    fn watch(&self, target: Target, require_leader: bool) -> Box<dyn WatchSession> {
        self.table().targets.push(target);
        let (sender, receiver) = mpsc::unbounded();
        if require_leader {
            self.table().needy.push(sender.clone());
        }
        Box::new(TestSession { node: self.clone(), sender, receiver, next: 0 })
    }

    fn snapshot(&self, target: Target) -> SnapshotStream {
        self.table().targets.push(target);
        let chunk = |bytes: &'static [u8], remaining_bytes| SnapshotChunk {
            bytes: Bytes::from_static(bytes),
            remaining_bytes,
            revision: Revision(1),
        };
        Box::pin(Chunks(vec![chunk(b"world", 0), chunk(b"hello ", 5)]))
    }

    fn cluster(&self) -> ClusterId {
        ClusterId(1)
    }

    fn member(&self) -> NodeId {
        NodeId(2)
    }

    fn health(&self) -> Health {
        Health { live: true, ready: !self.table().leaderless, reasons: Vec::new() }
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
}

/// A request stream for tests: what is given at the start, then open for ever.
pub(crate) struct OpenAfter<T>(pub(crate) std::vec::IntoIter<T>);

impl<T: Unpin> Stream for OpenAfter<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.next().map_or(Poll::Pending, |item| Poll::Ready(Some(item)))
    }
}

/// What is given, then the end.
pub(crate) struct ClosedAfter<T>(pub(crate) std::vec::IntoIter<T>);

impl<T: Unpin> Stream for ClosedAfter<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        Poll::Ready(self.0.next())
    }
}
