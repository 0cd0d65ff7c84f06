//! `etcdserverpb.Watch`: many watches on one stream.
//!
//! The stream is two polls glued together: what the client says goes to the node's [`WatchSession`] as commands, what
//! the session tells goes out as responses. Nothing is buffered here; a client that does not read stops the poll, and
//! the session's own bounded buffer and fallback to history do the rest. When the client closes its side of the stream
//! its watches go on, as with etcd.

use std::pin::Pin;
use std::task::{Context as Task, Poll};

use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_api::{ErrorKind, WatchSession};
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::watch_create_request::FilterType;
use althing_etcd_proto::etcdserverpb::watch_request::RequestUnion;
use althing_etcd_proto::etcdserverpb::watch_server::Watch;
use althing_types::{Revision, WatchId};
use bytes::Bytes;
use futures_core::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::backend::{Backend, Context, wire_header};
use crate::metrics::{Metrics, OpenStream};
use crate::status::{COMPACTED, Refusal, status};
use crate::table::Table;
use crate::{convert, respond};

pub(crate) struct WatchService {
    backend: Backend,
    metrics: Metrics,
}

impl WatchService {
    pub(crate) const fn new(backend: Backend, metrics: Metrics) -> Self {
        Self { backend, metrics }
    }
}

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = Responses<Streaming<pb::WatchRequest>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let context = Context { timeout: None, ..Context::of(&request) };
        self.backend.check_leader(&context).await?;
        self.backend.prepare_headers(&context.table).await;
        Ok(Response::new(Responses {
            session: self.backend.watch(&context),
            backend: self.backend.clone(),
            table: context.table,
            requests: Some(request.into_inner()),
            _open: self.metrics.watch_stream(),
        }))
    }
}

/// What an answer names when it names no watch: all of the stream, or one that never came to be.
const NO_WATCH: i64 = -1;

/// Requests taken from the client in one poll before its events get their turn.
const REQUESTS_PER_TURN: usize = 64;

/// The responses of one watch stream.
pub(crate) struct Responses<S> {
    backend: Backend,
    table: Table,
    session: Box<dyn WatchSession>,
    /// `None` once the client has closed its side.
    requests: Option<S>,
    _open: OpenStream,
}

impl<S> Responses<S>
where
    S: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin,
{
    /// Takes what the client says. An error of its side ends the stream.
    fn poll_requests(&mut self, cx: &mut Task<'_>) -> Result<(), Status> {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(requests) = &mut self.requests else { return Ok(()) };
            match Pin::new(requests).poll_next(cx) {
                Poll::Ready(Some(request)) => self.take(request?),
                Poll::Ready(None) => self.requests = None,
                Poll::Pending => return Ok(()),
            }
        }
        // There may be more; let the events have their turn first.
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn take(&mut self, request: pb::WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.session.command(WatchCommand::Create(wanted(create))),
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.session.command(WatchCommand::Cancel(WatchId(cancel.watch_id)));
            }
            Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})) => {
                self.session.command(WatchCommand::Progress);
            }
            // Etcd ignores a request that asks for nothing.
            None => {}
        }
    }
}

impl<S> Stream for Responses<S>
where
    S: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin,
{
    type Item = Result<pb::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Err(status) = this.poll_requests(cx) {
            this.requests = None;
            return Poll::Ready(Some(Err(status)));
        }
        match Pin::new(&mut *this.session).poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(event)) => Poll::Ready(Some(response(&this.backend, &this.table, event))),
            // The node stops: the client resumes its watches at another.
            Poll::Ready(None) => Poll::Ready(Some(Err(status(&ErrorKind::Stopped.into())))),
        }
    }
}

/// What the client wants to watch. An empty key is the smallest there is.
fn wanted(create: pb::WatchCreateRequest) -> WatchCreate {
    let filters = |kind: FilterType| create.filters.contains(&i32::from(kind));
    let filter = WatchFilter { no_put: filters(FilterType::Noput), no_delete: filters(FilterType::Nodelete) };
    let key = if create.key.is_empty() { Bytes::from_static(&[0]) } else { create.key };
    WatchCreate {
        id: (create.watch_id != 0).then_some(WatchId(create.watch_id)),
        keys: convert::key_range(key, create.range_end),
        start_revision: (create.start_revision != 0).then_some(Revision(create.start_revision)),
        prev_kv: create.prev_kv,
        filter,
        progress_notify: create.progress_notify,
        fragment: create.fragment,
    }
}

/// An event of the session as a response, or as the error that ends the stream.
fn response(backend: &Backend, table: &Table, event: WatchEvent) -> Result<pb::WatchResponse, Status> {
    let header = |revision| Some(wire_header(backend.header(table, revision)));
    Ok(match event {
        WatchEvent::Created { id, revision } => {
            pb::WatchResponse { header: header(revision), watch_id: id.get(), created: true, ..Default::default() }
        }
        WatchEvent::Canceled { id, revision, reason } => canceled(backend.header(table, revision), id, reason)?,
        WatchEvent::Events { id, revision, events, fragment } => pb::WatchResponse {
            header: header(revision),
            watch_id: id.get(),
            fragment,
            events: events.into_iter().map(respond::event).collect(),
            ..Default::default()
        },
        WatchEvent::Progress { id, revision } => pb::WatchResponse {
            header: header(revision),
            watch_id: id.map_or(NO_WATCH, WatchId::get),
            ..Default::default()
        },
    })
}

/// The end of a watch, or of the whole stream. A refused watch is created and canceled in the same breath, as etcd does: clients match their
/// requests with the answers that say `created`.
fn canceled(header: althing_api::Header, id: WatchId, reason: CancelReason) -> Result<pb::WatchResponse, Status> {
    let ended = |cancel_reason: String, compacted: Revision| pb::WatchResponse {
        header: Some(wire_header(header)),
        watch_id: id.get(),
        canceled: true,
        compact_revision: compacted.get(),
        cancel_reason,
        ..Default::default()
    };
    Ok(match reason {
        CancelReason::Asked => ended(String::new(), Revision(0)),
        // It began below zero.
        CancelReason::Compacted(_) if id.get() == NO_WATCH => refused(header, COMPACTED.to_owned()),
        CancelReason::Compacted(revision) => ended(COMPACTED.to_owned(), revision),
        CancelReason::DuplicateId => refused(header, "mvcc: duplicate watch ID provided on the WatchStream".to_owned()),
        CancelReason::InvalidRange => refused(header, "mvcc: watcher range is empty".to_owned()),
        // The keys go on elsewhere: as below.
        CancelReason::Refused(kind @ (ErrorKind::WrongShard | ErrorKind::ShardUnavailable)) => {
            return Err(status(&kind.into()));
        }
        CancelReason::Refused(kind) => refused(header, status(&kind.into()).message().to_owned()),
        CancelReason::TooMany => refused(header, "etcdserver: too many watches on this stream".to_owned()),
        CancelReason::NoLeader => return Err(Refusal::NoLeader.into()),
        // What one watch has lost they all have: an error of the stream makes clients resume every watch elsewhere,
        // where the end of a watch would be final.
        CancelReason::Gone(why) => return Err(Status::unavailable(format!("etcdserver: {why}"))),
    })
}

fn refused(header: althing_api::Header, cancel_reason: String) -> pb::WatchResponse {
    pb::WatchResponse {
        header: Some(wire_header(header)),
        watch_id: NO_WATCH,
        created: true,
        canceled: true,
        cancel_reason,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use althing_etcd_proto::etcdserverpb::kv_client::KvClient;
    use althing_etcd_proto::etcdserverpb::watch_client::WatchClient;
    use tonic::Code;

    use super::*;
    use crate::testing::{ClosedAfter, OpenAfter, TestNode};

    fn asked(union: RequestUnion) -> pb::WatchRequest {
        pb::WatchRequest { request_union: Some(union) }
    }

    fn create(key: &'static str, start_revision: i64, watch_id: i64) -> pb::WatchRequest {
        let key = Bytes::from(key);
        asked(RequestUnion::CreateRequest(pb::WatchCreateRequest {
            key,
            start_revision,
            watch_id,
            ..Default::default()
        }))
    }

    async fn put(node: &TestNode, key: &'static str) {
        let request = pb::PutRequest { key: key.into(), value: "v".into(), ..Default::default() };
        KvClient::new(node.gateway()).put(request).await.unwrap();
    }

    async fn watch(node: &TestNode, requests: Vec<pb::WatchRequest>) -> Streaming<pb::WatchResponse> {
        let requests = OpenAfter(requests.into_iter());
        WatchClient::new(node.gateway()).watch(requests).await.unwrap().into_inner()
    }

    async fn next(responses: &mut Streaming<pb::WatchResponse>) -> pb::WatchResponse {
        responses.message().await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn many_watches_share_a_stream_each_with_its_own_id_and_events() {
        let node = TestNode::default();
        let mut responses = watch(&node, vec![create("a", 0, 0), create("b", 0, 5)]).await;
        let (first, second) = (next(&mut responses).await, next(&mut responses).await);
        assert_eq!((first.created, first.watch_id, second.created, second.watch_id), (true, 0, true, 5));
        put(&node, "b").await;
        put(&node, "a").await;
        let (first, second) = (next(&mut responses).await, next(&mut responses).await);
        assert_eq!((first.watch_id, first.header.unwrap().revision), (5, 2));
        assert_eq!((second.watch_id, second.events[0].kv.as_ref().unwrap().mod_revision), (0, 3));
        assert_eq!(second.header.unwrap().raft_term, 3);
    }

    #[tokio::test]
    async fn a_watch_from_the_past_is_given_the_history_first() {
        let node = TestNode::default();
        put(&node, "a").await;
        put(&node, "a").await;
        let mut responses = watch(&node, vec![create("a", 2, 0)]).await;
        assert!(next(&mut responses).await.created);
        let revisions = [next(&mut responses).await, next(&mut responses).await].map(|r| r.events[0].kv.clone());
        assert_eq!(revisions.map(|kv| kv.unwrap().mod_revision), [2, 3]);
    }

    #[tokio::test]
    async fn a_watch_of_what_is_compacted_is_created_and_canceled_with_the_compact_revision() {
        let node = TestNode::default();
        for _ in 0..3 {
            put(&node, "a").await;
        }
        KvClient::new(node.gateway()).compact(pb::CompactionRequest { revision: 3, physical: false }).await.unwrap();
        let mut responses = watch(&node, vec![create("a", 2, 0)]).await;
        assert!(next(&mut responses).await.created);
        let end = next(&mut responses).await;
        assert_eq!((end.canceled, end.created, end.compact_revision), (true, false, 3));
        assert_eq!(end.cancel_reason, COMPACTED);
    }

    #[test]
    fn a_watch_from_below_zero_is_refused_as_compacted() {
        let reason = CancelReason::Compacted(Revision(-1));
        let refused = canceled(althing_api::Header::default(), WatchId(NO_WATCH), reason).unwrap();
        assert_eq!((refused.created, refused.canceled, refused.compact_revision), (true, true, 0));
        assert_eq!(refused.cancel_reason, COMPACTED);
    }

    #[tokio::test]
    async fn a_second_watch_with_one_id_is_refused_as_created_and_canceled_without_an_id() {
        let mut responses = watch(&TestNode::default(), vec![create("a", 0, 5), create("b", 0, 5)]).await;
        next(&mut responses).await;
        let refused = next(&mut responses).await;
        assert_eq!((refused.created, refused.canceled, refused.watch_id), (true, true, -1));
        assert_eq!(refused.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    }

    #[tokio::test]
    async fn progress_is_told_to_the_whole_stream_and_a_canceled_watch_says_so() {
        let cancel = asked(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 5 }));
        let progress = asked(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
        let mut responses = watch(&TestNode::default(), vec![create("a", 0, 5), progress, cancel]).await;
        next(&mut responses).await;
        let told = next(&mut responses).await;
        assert_eq!((told.watch_id, told.events.len(), told.header.unwrap().revision), (-1, 0, 1));
        let canceled = next(&mut responses).await;
        assert_eq!((canceled.watch_id, canceled.canceled, canceled.compact_revision), (5, true, 0));
    }

    #[tokio::test]
    async fn watches_go_on_after_the_client_has_closed_its_side() {
        let node = TestNode::default();
        let requests = ClosedAfter(vec![create("a", 0, 0)].into_iter());
        let mut responses = WatchClient::new(node.gateway()).watch(requests).await.unwrap().into_inner();
        assert!(next(&mut responses).await.created);
        put(&node, "a").await;
        assert_eq!(next(&mut responses).await.events.len(), 1);
    }

    #[tokio::test]
    async fn a_stream_that_requires_a_leader_is_refused_without_one() {
        let node = TestNode::default();
        node.table().leaderless = true;
        let mut request = Request::new(OpenAfter(vec![create("a", 0, 0)].into_iter()));
        request.metadata_mut().insert("hasleader", "true".parse().unwrap());
        let status = WatchClient::new(node.gateway()).watch(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "etcdserver: no leader"));
    }

    #[test]
    fn the_loss_of_the_leader_or_of_the_replica_ends_the_stream_so_that_clients_resume_elsewhere() {
        for reason in [CancelReason::NoLeader, CancelReason::Gone("the node stops".into())] {
            let status = canceled(althing_api::Header::default(), WatchId(1), reason).unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
        }
    }

    #[test]
    fn an_empty_key_is_the_smallest_and_a_start_at_zero_is_none() {
        let create = pb::WatchCreateRequest { range_end: vec![0].into(), ..Default::default() };
        let wanted = wanted(create);
        assert_eq!(wanted.keys.start.as_ref(), [0]);
        assert_eq!((wanted.start_revision, wanted.id), (None, None));
        let past = pb::WatchCreateRequest { start_revision: -4, ..Default::default() };
        assert_eq!(super::wanted(past).start_revision, Some(Revision(-4)));
    }

    #[test]
    fn filters_are_read_by_kind() {
        let filters = vec![FilterType::Nodelete.into(), 77];
        let filter = wanted(pb::WatchCreateRequest { filters, ..Default::default() }).filter;
        assert_eq!(filter, WatchFilter { no_put: false, no_delete: true });
    }
}
