//! `etcdserverpb.Watch`: many watches on one stream.
//!
//! The stream is two polls glued together: what the client says goes to the node's [`WatchSession`] as commands, what
//! the session tells goes out as responses. Nothing is buffered here; a client that does not read stops the poll, and
//! the session's own bounded buffer and fallback to history do the rest. When the client closes its side of the stream
//! its watches go on, as with etcd.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use althing_api::WatchSession;
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::watch_create_request::FilterType;
use althing_etcd_proto::etcdserverpb::watch_request::RequestUnion;
use althing_etcd_proto::etcdserverpb::watch_server::Watch;
use althing_types::{NodeId, Revision, WatchId};
use bytes::Bytes;
use futures_core::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::backend::{Backend, Context, wire_header};
use crate::metrics::{Metrics, OpenStream};
use crate::status::{COMPACTED, Refusal};
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
        if context.require_leader && leader(&self.backend).await? == NodeId::NONE {
            return Err(Refusal::NoLeader.into());
        }
        self.backend.prepare_headers().await;
        Ok(Response::new(Responses {
            session: self.backend.watch(context),
            backend: self.backend.clone(),
            requests: Some(request.into_inner()),
            refused: VecDeque::new(),
            _open: self.metrics.watch_stream(),
        }))
    }
}

/// The leader that this node follows.
async fn leader(backend: &Backend) -> Result<NodeId, Status> {
    let answer = backend.ask(althing_api::Request::Status, Context::default()).await?;
    let (_, status) = crate::backend::body!(answer, althing_api::request::Body::Status(status) => status)?;
    Ok(status.leader)
}

/// What an answer names when it names no watch: all of the stream, or one that never came to be.
const NO_WATCH: i64 = -1;

/// Requests taken from the client in one poll before its events get their turn.
const REQUESTS_PER_TURN: usize = 64;

/// The responses of one watch stream.
pub(crate) struct Responses<S> {
    backend: Backend,
    session: Box<dyn WatchSession>,
    /// `None` once the client has closed its side.
    requests: Option<S>,
    /// Answers to requests that never reach the session.
    refused: VecDeque<pb::WatchResponse>,
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
            Some(RequestUnion::CreateRequest(create)) if create.watch_id < 0 => {
                let reason = "etcdserver: a watch id is not below zero".to_owned();
                self.refused.push_back(refused(self.backend.header(Revision(0)), reason));
            }
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
        if let Some(response) = this.refused.pop_front() {
            return Poll::Ready(Some(Ok(response)));
        }
        match Pin::new(&mut *this.session).poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(event)) => Poll::Ready(Some(response(&this.backend, event))),
            // The node stops: the client resumes its watches at another.
            Poll::Ready(None) => Poll::Ready(Some(Err(crate::status::status(&althing_api::ErrorKind::Stopped.into())))),
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
        // Etcd reads the whole history for a revision below zero.
        start_revision: (create.start_revision != 0).then(|| Revision(create.start_revision.max(1))),
        prev_kv: create.prev_kv,
        filter,
        progress_notify: create.progress_notify,
        fragment: create.fragment,
    }
}

/// An event of the session as a response, or as the error that ends the stream.
fn response(backend: &Backend, event: WatchEvent) -> Result<pb::WatchResponse, Status> {
    let header = |revision| Some(wire_header(backend.header(revision)));
    Ok(match event {
        WatchEvent::Created { id, revision } => {
            pb::WatchResponse { header: header(revision), watch_id: id.get(), created: true, ..Default::default() }
        }
        WatchEvent::Canceled { id, revision, reason } => canceled(backend.header(revision), id, reason)?,
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

/// The end of a watch. A refused one is created and canceled in the same breath, as etcd does: clients match their
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
        CancelReason::Compacted(revision) => ended(COMPACTED.to_owned(), revision),
        CancelReason::Gone(why) => ended(format!("etcdserver: {why}"), Revision(0)),
        CancelReason::DuplicateId => refused(header, "mvcc: duplicate watch ID provided on the WatchStream".to_owned()),
        CancelReason::InvalidRange => refused(header, "mvcc: watcher range is empty".to_owned()),
        CancelReason::TooMany => refused(header, "etcdserver: too many watches on this stream".to_owned()),
        CancelReason::NoLeader => return Err(Refusal::NoLeader.into()),
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
