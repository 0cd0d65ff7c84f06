//! The queue that Lock and Election share, in etcd's layout, so that clients which queue by themselves and those which
//! ask these services meet in one line.
//!
//! Under `name/` each waiter has the key `name/<lease in hex>`, attached to its lease. Places are taken in order of
//! create revision: the key with the least one is at the head. A waiter watches only the key just before its own, so a
//! release wakes one waiter and not all. The create revision is a fencing token: it only grows.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use althing_api::kv::{
    Compare, CompareTarget, DeleteRangeRequest, Event, EventKind, KeyRange, KeyValue, Operation, OperationResponse,
    PutLease, PutRequest, PutValue, RangeRequest, RangeResponse, SortOrder, SortTarget, TxnRequest, TxnResponse,
};
use althing_api::request::Body;
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_api::{ErrorKind, Header, Request as Ask, WatchSession};
use althing_types::{LeaseId, Revision};
use bytes::{BufMut, Bytes, BytesMut};
use tonic::{Code, Status};

use crate::backend::{Backend, Context, wrong_body};
use crate::convert;
use crate::status::{Refusal, status};

/// Seconds that a lease lives which was made because the caller brought none; etcd's session default.
const SESSION_TTL_SECONDS: i64 = 60;

/// The node as Lock and Election use it. Their deadline is over the whole wait, so the single requests have none.
#[derive(Clone)]
pub(crate) struct Client {
    backend: Backend,
    context: Context,
}

/// A place in the line.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub prefix: Bytes,
    pub key: Bytes,
    pub lease: LeaseId,
    /// The create revision of the key: the order in the line, and the fencing token.
    pub revision: Revision,
}

/// How a place was taken.
pub(crate) struct Taken {
    pub place: Place,
    pub header: Header,
    /// The value that the key has already, if the same lease was in the line before.
    pub before: Option<Bytes>,
    /// Whether it is the head of the line already.
    pub is_head: bool,
}

/// An error as Lock and Election pass it on. In etcd both are clients of the server that they run in, and what a client
/// gets keeps its text but not its code. An error that another node may not have keeps its code here, so that clients try
/// again.
fn as_a_client(status: Status) -> Status {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unimplemented | Code::Internal => status,
        _ => Status::unknown(status.message()),
    }
}

/// The deadline of a request that waits for others.
pub(crate) async fn within<T>(
    timeout: Option<Duration>,
    wait: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match timeout {
        Some(timeout) => tokio::time::timeout(timeout, wait)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("context deadline exceeded"))),
        None => wait.await,
    }
}

/// `name/`, under which the line stands.
pub(crate) fn prefix(name: &[u8]) -> Bytes {
    let mut prefix = BytesMut::with_capacity(name.len() + 1);
    prefix.put_slice(name);
    prefix.put_u8(b'/');
    prefix.freeze()
}

fn created(key: &Bytes, at: Revision) -> Compare {
    Compare::is(key.clone(), CompareTarget::Create(at))
}

/// A read of the key with the least create revision under a prefix.
fn head(prefix: &Bytes) -> RangeRequest {
    let sort = Some((SortTarget::Create, SortOrder::Ascending));
    RangeRequest { limit: 1, sort, ..RangeRequest::new(KeyRange::under(prefix.clone())) }
}

fn put(key: &Bytes, value: &Bytes, lease: LeaseId) -> Operation {
    Operation::Put(PutRequest {
        key: key.clone(),
        value: PutValue::Set(value.clone()),
        lease: PutLease::Set(Some(lease)),
        prev_kv: false,
    })
}

impl Client {
    pub(crate) fn new(backend: Backend, context: Context) -> Self {
        Self { backend, context: Context { timeout: None, ..context } }
    }

    async fn ask(&self, request: Ask) -> Result<(Header, Body), Status> {
        let answer = self.backend.ask(request, &self.context).await.map_err(as_a_client)?;
        Ok((answer.header, answer.body))
    }

    async fn range(&self, request: RangeRequest) -> Result<(Header, RangeResponse), Status> {
        match self.ask(Ask::Range(request)).await? {
            (header, Body::Range(found)) => Ok((header, found)),
            _ => Err(wrong_body()),
        }
    }

    async fn txn(&self, request: TxnRequest) -> Result<(Header, TxnResponse), Status> {
        match self.ask(Ask::Txn(request)).await? {
            (header, Body::Txn(done)) => Ok((header, done)),
            _ => Err(wrong_body()),
        }
    }

    /// The lease that the caller brought, or a new one.
    pub(crate) async fn session(&self, lease: i64) -> Result<LeaseId, Status> {
        if let Some(lease) = convert::lease(lease) {
            return Ok(lease);
        }
        match self.ask(Ask::LeaseGrant { id: None, ttl_seconds: SESSION_TTL_SECONDS }).await? {
            (_, Body::LeaseGrant(granted)) => Ok(granted.id),
            _ => Err(wrong_body()),
        }
    }

    /// Takes a place at the end of the line, or finds the one that the lease has.
    pub(crate) async fn take_place(&self, prefix: Bytes, lease: LeaseId, value: &Bytes) -> Result<Taken, Status> {
        let key = Bytes::from([&prefix[..], format!("{lease}").as_bytes()].concat());
        let txn = TxnRequest {
            compare: vec![created(&key, Revision(0))],
            success: vec![put(&key, value, lease), Operation::Range(head(&prefix))],
            failure: vec![
                Operation::Range(RangeRequest::new(KeyRange::single(key.clone()))),
                Operation::Range(head(&prefix)),
            ],
        };
        let (header, mut done) = self.txn(txn).await?;
        let Some(OperationResponse::Range(mut line)) = done.responses.pop() else { return Err(wrong_body()) };
        let (revision, before) = match done.responses.pop() {
            Some(OperationResponse::Put(_)) => (header.revision, None),
            Some(OperationResponse::Range(mut found)) => {
                let kv = found.kvs.pop().ok_or_else(wrong_body)?;
                (kv.create_revision, Some(kv.value))
            }
            _ => return Err(wrong_body()),
        };
        let is_head = line.kvs.pop().is_none_or(|first| first.key == key);
        Ok(Taken { place: Place { prefix, key, lease, revision }, header, before, is_head })
    }

    /// Waits until the place is the head of the line; gives the header of the read that saw its key there. If the wait
    /// fails or is dropped, the place is given up.
    pub(crate) async fn wait_for_turn(&self, place: &Place) -> Result<Header, Status> {
        let mut leaver = GiveUp { client: self, place: Some(place) };
        while let Some((header, before)) = self.just_before(place).await? {
            self.wait_until_deleted(before, header.revision.next()).await?;
        }
        let (header, found) = self.range(RangeRequest::new(KeyRange::single(place.key.clone()))).await?;
        match found.kvs.first() {
            Some(kv) if kv.create_revision == place.revision => {
                leaver.place = None;
                Ok(header)
            }
            _ => Err(Status::unknown("mutex: session is expired")),
        }
    }

    /// The key just before a place, and the header of the read that saw it.
    async fn just_before(&self, place: &Place) -> Result<Option<(Header, Bytes)>, Status> {
        let request = RangeRequest {
            limit: 1,
            sort: Some((SortTarget::Create, SortOrder::Descending)),
            max_create_revision: Some(Revision(place.revision.get() - 1)),
            keys_only: true,
            ..RangeRequest::new(KeyRange::under(place.prefix.clone()))
        };
        let (header, mut found) = self.range(request).await?;
        Ok(found.kvs.pop().map(|kv| (header, kv.key)))
    }

    async fn wait_until_deleted(&self, key: Bytes, from: Revision) -> Result<(), Status> {
        let filter = WatchFilter { no_put: true, no_delete: false };
        let mut events = self.follow(KeyRange::single(key), from, filter);
        // A watch that fell behind compaction tells nothing any more: the caller's loop reads the line again.
        events.next().await.map(drop)
    }

    /// The events of a range from a revision on.
    pub(crate) fn follow(&self, keys: KeyRange, from: Revision, filter: WatchFilter) -> Follower {
        let mut session = self.backend.watch(&self.context);
        session.command(WatchCommand::Create(WatchCreate {
            id: None,
            keys,
            start_revision: Some(from),
            prev_kv: false,
            filter,
            progress_notify: false,
            fragment: false,
        }));
        Follower { session, queue: VecDeque::new() }
    }

    /// The events of everything under a prefix, puts only.
    pub(crate) fn follow_puts(&self, prefix: &Bytes, from: Revision) -> Follower {
        self.follow(KeyRange::under(prefix.clone()), from, WatchFilter { no_put: false, no_delete: true })
    }

    /// The head of the line.
    pub(crate) async fn head(&self, prefix: &Bytes) -> Result<(Header, Option<KeyValue>), Status> {
        let (header, mut found) = self.range(head(prefix)).await?;
        Ok((header, found.kvs.pop()))
    }

    /// Gives the key of a place a new value; whether it still was that place.
    pub(crate) async fn replace(&self, place: &Place, value: &Bytes) -> Result<(Header, bool), Status> {
        let txn = TxnRequest {
            compare: vec![created(&place.key, place.revision)],
            success: vec![put(&place.key, value, place.lease)],
            failure: Vec::new(),
        };
        let (header, done) = self.txn(txn).await?;
        Ok((header, done.succeeded))
    }

    /// Leaves the line, if the place is still in it.
    pub(crate) async fn leave(&self, place: &Place) -> Result<Header, Status> {
        self.txn(leaving(place)).await.map(|(header, _)| header)
    }

    /// Removes a key, whoever has made it.
    pub(crate) async fn delete(&self, key: Bytes) -> Result<Header, Status> {
        let request = DeleteRangeRequest { keys: KeyRange::single(key), prev_kv: false };
        self.ask(Ask::DeleteRange(request)).await.map(|(header, _)| header)
    }

    /// A header for an event, with the newest term known.
    pub(crate) fn header(&self, revision: Revision) -> Header {
        self.backend.header(&self.context.table, revision)
    }
}

fn leaving(place: &Place) -> TxnRequest {
    let request = DeleteRangeRequest { keys: KeyRange::single(place.key.clone()), prev_kv: false };
    TxnRequest {
        compare: vec![created(&place.key, place.revision)],
        success: vec![Operation::DeleteRange(request)],
        failure: Vec::new(),
    }
}

/// Leaves the line when dropped with a place: nobody waits for a lock on behalf of a client that went away. The request
/// starts at once and nobody waits for its answer; should it get lost, the end of the lease does the same.
struct GiveUp<'a> {
    client: &'a Client,
    place: Option<&'a Place>,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            drop(self.client.backend.send(Ask::Txn(leaving(place)), &self.client.context));
        }
    }
}

/// One watch, event by event.
pub(crate) struct Follower {
    session: Box<dyn WatchSession>,
    queue: VecDeque<Event>,
}

impl Follower {
    /// The next event; `None` when the watch has fallen behind compaction, so that the caller must read again.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Status> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Some(event));
            }
            let event = std::future::poll_fn(|cx| Pin::new(&mut *self.session).poll_next(cx)).await;
            match event {
                Some(WatchEvent::Events { events, .. }) => self.queue.extend(events),
                Some(WatchEvent::Created { .. } | WatchEvent::Progress { .. }) => {}
                Some(WatchEvent::Canceled { reason: CancelReason::Compacted(_), .. }) => return Ok(None),
                Some(WatchEvent::Canceled { reason: CancelReason::NoLeader, .. }) => {
                    return Err(Refusal::NoLeader.into());
                }
                Some(WatchEvent::Canceled { reason: CancelReason::Refused(kind), .. }) => {
                    return Err(status(&kind.into()));
                }
                Some(WatchEvent::Canceled { .. }) => return Err(Status::unavailable("etcdserver: lost the watch")),
                None => return Err(status(&ErrorKind::Stopped.into())),
            }
        }
    }
}

/// Whether an event is a write, not a removal.
pub(crate) fn is_put(event: &Event) -> bool {
    event.kind == EventKind::Put
}
