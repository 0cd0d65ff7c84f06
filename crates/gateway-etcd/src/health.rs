//! `grpc.health.v1.Health`: whether this node can serve linearizable reads.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use althing_etcd_proto::health as pb;
use althing_etcd_proto::health::health_check_response::ServingStatus;
use althing_etcd_proto::health::health_server::Health;
use futures_core::Stream;
use tonic::{Request, Response, Status};

use crate::backend::Backend;

pub(crate) struct HealthService(pub(crate) Backend);

/// How often a watching client is told of changes.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Etcd registers the whole server, which has no name, and no service of its own.
const fn is_known(service: &str) -> bool {
    service.is_empty()
}

fn serving(backend: &Backend) -> pb::HealthCheckResponse {
    let health = backend.service().health();
    let status = if health.live && health.ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    pb::HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(serving(&self.0)))
    }

    type WatchStream = Changes;

    async fn watch(&self, request: Request<pb::HealthCheckRequest>) -> Result<Response<Changes>, Status> {
        let subject =
            if is_known(&request.get_ref().service) { Subject::Node(self.0.clone()) } else { Subject::Unknown };
        let ticks = tokio::time::interval(LOOK_AGAIN_AFTER);
        Ok(Response::new(Changes { subject, ticks, told: None }))
    }
}

/// What is watched.
enum Subject {
    Node(Backend),
    /// A service that is not there. It may come, says the protocol, so the stream stays open.
    Unknown,
}

/// The present state, then every change of it.
pub(crate) struct Changes {
    subject: Subject,
    ticks: tokio::time::Interval,
    told: Option<pb::HealthCheckResponse>,
}

impl Stream for Changes {
    type Item = Result<pb::HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            ready!(self.ticks.poll_tick(cx));
            let now = match &self.subject {
                Subject::Node(backend) => serving(backend),
                Subject::Unknown => pb::HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() },
            };
            if self.told != Some(now) {
                self.told = Some(now);
                return Poll::Ready(Some(Ok(now)));
            }
        }
    }
}
