//! `etcdserverpb.Lease`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use althing_api::request::Body;
use althing_api::watch::{CancelReason, WatchEvent};
use althing_api::{ErrorKind, Reply, Request as Ask, WatchSession};
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::lease_server::Lease;
use althing_types::LeaseId;
use futures_core::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::backend::{Backend, Context, body, wire_header, wrong_body};
use crate::convert;
use crate::status::{Refusal, status};

pub(crate) struct LeaseService(pub(crate) Backend);

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let context = Context::of(&request);
        let pb::LeaseGrantRequest { ttl, id } = request.into_inner();
        if id < 0 {
            return Err(Status::invalid_argument("etcdserver: a lease id is above zero"));
        }
        let asked = Ask::LeaseGrant { id: convert::lease(id), ttl_seconds: ttl };
        let answer = self.0.ask(asked, &context).await?;
        let (header, granted) = body!(answer, Body::LeaseGrant(granted) => granted)?;
        let error = String::new();
        Ok(Response::new(pb::LeaseGrantResponse { header, id: granted.id.get(), ttl: granted.ttl_seconds, error }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let context = Context::of(&request);
        let id = convert::lease(request.into_inner().id).ok_or(Refusal::LeaseNotFound)?;
        let answer = self.0.ask(Ask::LeaseRevoke(id), &context).await?;
        let (header, ()) = body!(answer, Body::LeaseRevoke => ())?;
        Ok(Response::new(pb::LeaseRevokeResponse { header }))
    }

    type LeaseKeepAliveStream = KeepAlives<Streaming<pb::LeaseKeepAliveRequest>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        // The deadline of a stream is not one of its requests.
        let context = Context { timeout: None, ..Context::of(&request) };
        self.0.check_leader(&context).await?;
        Ok(Response::new(KeepAlives::new(self.0.clone(), context, request.into_inner())))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let context = Context::of(&request);
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let asked = Ask::LeaseTimeToLive { id: LeaseId(id), keys };
        let answer = match self.0.ask(asked, &context).await {
            Ok(answer) => answer,
            // Etcd tells the end of a lease as a time to live of -1, never as an error.
            Err(status) if status.code() == tonic::Code::NotFound => {
                let header = Some(wire_header(self.0.fresh_header(&context).await?));
                return Ok(Response::new(pb::LeaseTimeToLiveResponse { header, id, ttl: -1, ..Default::default() }));
            }
            Err(status) => return Err(status),
        };
        let (header, found) = body!(answer, Body::LeaseTimeToLive(found) => found)?;
        Ok(Response::new(pb::LeaseTimeToLiveResponse {
            header,
            id,
            ttl: found.remaining_seconds,
            granted_ttl: found.granted_seconds,
            keys: found.keys,
        }))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let answer = self.0.ask(Ask::LeaseLeases, &Context::of(&request)).await?;
        let (header, found) = body!(answer, Body::LeaseLeases(found) => found)?;
        let leases = found.into_iter().map(|lease| pb::LeaseStatus { id: lease.get() }).collect();
        Ok(Response::new(pb::LeaseLeasesResponse { header, leases }))
    }
}

/// Keep-alives of one stream that may be under way at the same time.
const MAX_PENDING_KEEP_ALIVES: usize = 256;

/// The answers of a keep-alive stream: one per request, in order. Requests go to the node as they come, so that many
/// leases on one stream share the leader's rounds. The stream ends when the client has closed its side and has all
/// answers, as etcd's does.
pub(crate) struct KeepAlives<S> {
    backend: Backend,
    context: Context,
    requests: Option<S>,
    pending: VecDeque<Pending>,
    /// If the stream is to end without a leader: a stream of no watches, whose only news is just that.
    leadership: Option<Box<dyn WatchSession>>,
}

/// One keep-alive under way.
type Pending = Pin<Box<dyn Future<Output = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

/// The answer to one keep-alive. Etcd tells the end of a lease as a time to live of 0, and the stream goes on.
async fn answer(
    backend: Backend,
    context: Context,
    id: i64,
    reply: Reply,
) -> Result<pb::LeaseKeepAliveResponse, Status> {
    let (header, ttl) = match reply.await {
        Ok(answer) => {
            context.table.learn_term(answer.header.raft_term);
            let Body::LeaseKeepAlive { ttl_seconds } = answer.body else { return Err(wrong_body()) };
            (answer.header, ttl_seconds)
        }
        Err(error) if matches!(error.kind, ErrorKind::LeaseNotFound(_)) => (backend.fresh_header(&context).await?, 0),
        Err(error) => return Err(status(&error)),
    };
    Ok(pb::LeaseKeepAliveResponse { header: Some(wire_header(header)), id, ttl })
}

impl<S> KeepAlives<S>
where
    S: Stream<Item = Result<pb::LeaseKeepAliveRequest, Status>> + Unpin,
{
    fn new(backend: Backend, context: Context, requests: S) -> Self {
        let leadership = context.require_leader.then(|| backend.watch(&context));
        Self { backend, context, requests: Some(requests), pending: VecDeque::new(), leadership }
    }

    /// Whether a leader that the stream needs is there still.
    fn poll_leadership(&mut self, cx: &mut Task<'_>) -> Result<(), Status> {
        let Some(leadership) = &mut self.leadership else { return Ok(()) };
        match Pin::new(&mut **leadership).poll_next(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Some(WatchEvent::Canceled { reason: CancelReason::NoLeader, .. })) => {
                Err(Refusal::NoLeader.into())
            }
            Poll::Ready(Some(_) | None) => Err(status(&ErrorKind::Stopped.into())),
        }
    }

    /// Sends on what the client has asked for. An error of the client's side ends the stream.
    fn poll_requests(&mut self, cx: &mut Task<'_>) -> Result<(), Status> {
        while self.pending.len() < MAX_PENDING_KEEP_ALIVES {
            let Some(requests) = &mut self.requests else { return Ok(()) };
            match Pin::new(requests).poll_next(cx) {
                Poll::Ready(Some(Ok(request))) => {
                    let reply = self.backend.send(Ask::LeaseKeepAlive(LeaseId(request.id)), &self.context);
                    self.pending.push_back(Box::pin(answer(
                        self.backend.clone(),
                        self.context.clone(),
                        request.id,
                        reply,
                    )));
                }
                Poll::Ready(Some(Err(status))) => return Err(status),
                Poll::Ready(None) => self.requests = None,
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }
}

impl<S> Stream for KeepAlives<S>
where
    S: Stream<Item = Result<pb::LeaseKeepAliveRequest, Status>> + Unpin,
{
    type Item = Result<pb::LeaseKeepAliveResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Err(status) = this.poll_leadership(cx).and_then(|()| this.poll_requests(cx)) {
            this.requests = None;
            this.pending.clear();
            this.leadership = None;
            return Poll::Ready(Some(Err(status)));
        }
        let Some(oldest) = this.pending.front_mut() else {
            return if this.requests.is_none() { Poll::Ready(None) } else { Poll::Pending };
        };
        let answer = ready!(oldest.as_mut().poll(cx));
        this.pending.pop_front();
        if answer.is_err() {
            this.leadership = None;
            this.requests = None;
            this.pending.clear();
        }
        Poll::Ready(Some(answer))
    }
}

#[cfg(test)]
mod tests {
    use althing_etcd_proto::etcdserverpb::lease_client::LeaseClient;

    use super::*;
    use crate::testing::{ClosedAfter, OpenAfter, TestNode};

    #[tokio::test]
    async fn a_lease_is_granted_listed_and_revoked() {
        let mut client = LeaseClient::new(TestNode::default().gateway());
        let granted = client.lease_grant(pb::LeaseGrantRequest { ttl: 60, id: 7 }).await.unwrap().into_inner();
        assert_eq!((granted.id, granted.ttl), (7, 60));
        let leases = client.lease_leases(pb::LeaseLeasesRequest {}).await.unwrap().into_inner().leases;
        assert_eq!(leases, [pb::LeaseStatus { id: 7 }]);
        client.lease_revoke(pb::LeaseRevokeRequest { id: 7 }).await.unwrap();
        for id in [0, 7] {
            let status = client.lease_revoke(pb::LeaseRevokeRequest { id }).await.unwrap_err();
            assert_eq!(status.message(), "etcdserver: requested lease not found");
        }
    }

    #[tokio::test]
    async fn a_lease_id_below_zero_is_refused() {
        let mut client = LeaseClient::new(TestNode::default().gateway());
        let status = client.lease_grant(pb::LeaseGrantRequest { ttl: 60, id: -1 }).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }

    #[tokio::test]
    async fn the_time_to_live_of_a_lease_that_is_not_there_is_minus_one() {
        let mut client = LeaseClient::new(TestNode::default().gateway());
        let asked = pb::LeaseTimeToLiveRequest { id: 9, keys: true };
        let found = client.lease_time_to_live(asked).await.unwrap().into_inner();
        assert_eq!((found.id, found.ttl, found.granted_ttl), (9, -1, 0));
        assert_eq!(found.header.unwrap().revision, 1);
    }

    #[tokio::test]
    async fn keep_alives_are_answered_in_order_and_a_lease_that_is_gone_has_zero_seconds() {
        let mut client = LeaseClient::new(TestNode::default().gateway());
        client.lease_grant(pb::LeaseGrantRequest { ttl: 60, id: 7 }).await.unwrap();
        let requests: Vec<_> = [7, 8, 7].into_iter().map(|id| pb::LeaseKeepAliveRequest { id }).collect();
        let asked = ClosedAfter(requests.into_iter());
        let mut answers = client.lease_keep_alive(asked).await.unwrap().into_inner();
        let mut seen = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            assert_eq!(answer.header.unwrap().member_id, 2);
            seen.push((answer.id, answer.ttl));
        }
        assert_eq!(seen, [(7, 60), (8, 0), (7, 60)]);
    }

    #[tokio::test]
    async fn a_keep_alive_stream_that_requires_a_leader_ends_when_there_is_none_although_nothing_is_asked() {
        let node = TestNode::default();
        let mut client = LeaseClient::new(node.gateway());
        let request = || {
            let mut request = Request::new(OpenAfter(Vec::new().into_iter()));
            request.metadata_mut().insert("hasleader", "true".parse().unwrap());
            request
        };
        let mut answers = client.lease_keep_alive(request()).await.unwrap().into_inner();
        node.table().lose_the_leader();
        let ended = answers.message().await.unwrap_err();
        assert_eq!((ended.code(), ended.message()), (tonic::Code::Unavailable, "etcdserver: no leader"));
        assert_eq!(client.lease_keep_alive(request()).await.unwrap_err().message(), "etcdserver: no leader");
    }

    #[tokio::test]
    async fn a_keep_alive_stream_ends_with_the_nodes_error() {
        let node = TestNode::default();
        node.table().refuse = Some(ErrorKind::NoLeader);
        let requests = ClosedAfter(vec![pb::LeaseKeepAliveRequest { id: 1 }].into_iter());
        let mut answers = LeaseClient::new(node.gateway()).lease_keep_alive(requests).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap_err().message(), "etcdserver: no leader");
    }
}
