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
use crate::rpc::RPCS;

pub(crate) struct HealthService(pub(crate) Backend);

/// How often a watching client is told of changes.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The empty name means the whole server; otherwise one of the services spoken here.
fn is_known(service: &str) -> bool {
    service.is_empty() || RPCS.iter().any(|rpc| rpc.service_name() == service)
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
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        let ticks = tokio::time::interval(LOOK_AGAIN_AFTER);
        Ok(Response::new(Changes { backend: self.0.clone(), ticks, told: None }))
    }
}

/// The present state, then every change of it.
pub(crate) struct Changes {
    backend: Backend,
    ticks: tokio::time::Interval,
    told: Option<pb::HealthCheckResponse>,
}

impl Stream for Changes {
    type Item = Result<pb::HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            ready!(self.ticks.poll_tick(cx));
            let now = serving(&self.backend);
            if self.told != Some(now) {
                self.told = Some(now);
                return Poll::Ready(Some(Ok(now)));
            }
        }
    }
}
