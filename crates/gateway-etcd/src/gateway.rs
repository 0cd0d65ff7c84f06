//! The one service behind the port: decides by path what a request is, and hands it to whom it concerns.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use althing_api::{Pass, Service as Node};
use althing_env::Clock;
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::health::health_server::HealthServer;
use althing_etcd_proto::v3electionpb::election_server::ElectionServer;
use althing_etcd_proto::v3lockpb::lock_server::LockServer;
use althing_types::limits::{MAX_REQUEST_BYTES, MAX_REQUEST_OVERHEAD_BYTES};
use althing_types::{Instant, TableName};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service as _;
use tracing::Span;

use crate::auth::AuthService;
use crate::backend::Backend;
use crate::cluster::ClusterService;
use crate::election::ElectionService;
use crate::health::HealthService;
use crate::kv::KvService;
use crate::lease::LeaseService;
use crate::lock::LockService;
use crate::maintenance::MaintenanceService;
use crate::metrics::Metrics;
use crate::rpc::{self, Rpc, Service};
use crate::status::Refusal;
use crate::table::{Serves, Table};
use crate::watch::WatchService;
use crate::{Options, trace, web};

/// Whatever the body of a request fails with.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The gateway of one node; see [`crate::router`].
///
/// Per connection: give each of its requests to [`Gateway::handle`], or use it as a `tower` service. HTTP/2 needs no
/// settings of its own, but clients expect a server that allows many concurrent streams (a watch is one for as long as
/// it lives) and answers their keep-alive pings.
#[derive(Clone)]
pub struct Gateway {
    parts: Arc<Parts>,
    serves: Serves,
}

struct Parts {
    kv: pb::kv_server::KvServer<KvService>,
    watch: pb::watch_server::WatchServer<WatchService>,
    lease: pb::lease_server::LeaseServer<LeaseService>,
    cluster: pb::cluster_server::ClusterServer<ClusterService>,
    maintenance: pb::maintenance_server::MaintenanceServer<MaintenanceService>,
    auth: pb::auth_server::AuthServer<AuthService>,
    lock: LockServer<LockService>,
    election: ElectionServer<ElectionService>,
    health: HealthServer<HealthService>,
    backend: Backend,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// Bytes of one gRPC message that a client may send.
const MAX_MESSAGE_BYTES: usize = MAX_REQUEST_BYTES + MAX_REQUEST_OVERHEAD_BYTES;

impl Gateway {
    pub(crate) fn new(service: Arc<dyn Node>, options: Options) -> Self {
        use pb::{auth_server, cluster_server, kv_server, lease_server, maintenance_server, watch_server};
        let backend = Backend::new(service);
        let Options { clock, metrics } = options;
        let watch = WatchService::new(backend.clone(), metrics.clone());
        let parts = Parts {
            kv: kv_server::KvServer::new(KvService(backend.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES),
            watch: watch_server::WatchServer::new(watch).max_decoding_message_size(MAX_MESSAGE_BYTES),
            lease: lease_server::LeaseServer::new(LeaseService(backend.clone())),
            cluster: cluster_server::ClusterServer::new(ClusterService(backend.clone())),
            maintenance: maintenance_server::MaintenanceServer::new(MaintenanceService(backend.clone())),
            auth: auth_server::AuthServer::new(AuthService(backend.clone())),
            lock: LockServer::new(LockService(backend.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES),
            election: ElectionServer::new(ElectionService(backend.clone()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
            health: HealthServer::new(HealthService(backend.clone())),
            backend,
            clock,
            metrics,
        };
        Self { parts: Arc::new(parts), serves: Serves::Any(Table::default()) }
    }

    /// The same gateway for one table only: what stands behind a port of the table's own, for clients that cannot name it in
    /// a header. It refuses requests that name another.
    #[must_use]
    pub fn for_table(&self, name: TableName) -> Self {
        Self { parts: Arc::clone(&self.parts), serves: Serves::Only(Table::new(name)) }
    }

    /// Serves one HTTP request: gRPC, the JSON gateway or a plain page. It begins when the future is polled; dropping
    /// the future or the body of its response ends what it was doing.
    pub fn handle<B>(&self, request: Request<B>) -> GatewayFuture
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError> + Send + 'static,
    {
        if let Some((index, rpc)) = rpc::by_path(request.uri().path()) {
            return GatewayFuture(Kind::Rpc(self.rpc(index, rpc, request)));
        }
        if is_grpc(request.headers()) {
            return GatewayFuture(Kind::Ready(Some(unknown(request.uri().path()).into_http())));
        }
        GatewayFuture(Kind::Web(Box::pin(web::serve(self.clone(), request.map(Body::new)))))
    }

    /// Runs one RPC: the message of `request` is in gRPC's framing.
    pub(crate) fn rpc<B>(&self, index: usize, rpc: &'static Rpc, mut request: Request<B>) -> RpcFuture
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError> + Send + 'static,
    {
        let parts = &*self.parts;
        let span = trace::span(rpc, request.headers());
        parts.metrics.started(index);
        let running = match self.prepare(rpc, request.headers()) {
            Ok((table, pass)) => {
                request.extensions_mut().insert(table);
                request.extensions_mut().insert(pass);
                parts.run(rpc, request)
            }
            // Its body is dropped unread: the transport tells the client to send no more of it.
            Err(refusal) => Box::pin(std::future::ready(Ok(refusal.into_http()))),
        };
        let started = parts.clock.now();
        RpcFuture { running, span, observed: Some(Observed { parts: Arc::clone(&self.parts), index, started }) }
    }

    /// What can be told of a request by its headers: its table, and, if it writes, whether the node has a place for it.
    fn prepare(&self, rpc: &Rpc, headers: &HeaderMap) -> Result<(Table, Pass), Status> {
        let table = self.serves.table(headers)?;
        let pass = if rpc.writes() { self.parts.backend.enter(&table)? } else { Pass::default() };
        Ok((table, pass))
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.parts.backend
    }
}

impl Parts {
    fn run<B>(&self, rpc: &'static Rpc, request: Request<B>) -> Running<Result<Response<Body>, Infallible>>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError> + Send + 'static,
    {
        // A generated server's clone is one reference count; its `call` wants it mutable.
        match rpc.service {
            Service::Kv => self.kv.clone().call(request),
            Service::Watch => self.watch.clone().call(request),
            Service::Lease => self.lease.clone().call(request),
            Service::Cluster => self.cluster.clone().call(request),
            Service::Maintenance => self.maintenance.clone().call(request),
            Service::Auth => self.auth.clone().call(request),
            Service::Lock => self.lock.clone().call(request),
            Service::Election => self.election.clone().call(request),
            Service::Health => self.health.clone().call(request),
        }
    }
}

impl<B> tower_service::Service<Request<B>> for Gateway
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = GatewayFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Overload is refused by the node, request by request, with etcd's error.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> GatewayFuture {
        self.handle(request)
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// What a gRPC server says to an RPC that it does not know.
fn unknown(path: &str) -> Status {
    let Some((service, method)) = path.strip_prefix('/').unwrap_or(path).rsplit_once('/') else {
        return Status::unimplemented(format!("malformed method name: {path:?}"));
    };
    if rpc::RPCS.iter().any(|rpc| rpc.service_name() == service) {
        return Status::unimplemented(format!("unknown method {method} for service {service}"));
    }
    Status::unimplemented(format!("unknown service {service}"))
}

type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The response to come.
pub struct GatewayFuture(Kind);

enum Kind {
    Ready(Option<Response<Body>>),
    Rpc(RpcFuture),
    Web(Running<Response<Body>>),
}

impl Future for GatewayFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Kind::Ready(response) => Poll::Ready(Ok(response.take().expect("a future is not polled after its end"))),
            Kind::Rpc(rpc) => Pin::new(rpc).poll(cx).map(Ok),
            Kind::Web(page) => page.as_mut().poll(cx).map(Ok),
        }
    }
}

/// One RPC under way: traced and counted. Of an RPC that answers with a stream, this is how it began.
pub(crate) struct RpcFuture {
    running: Running<Result<Response<Body>, Infallible>>,
    span: Span,
    observed: Option<Observed>,
}

struct Observed {
    parts: Arc<Parts>,
    index: usize,
    started: Instant,
}

impl Observed {
    fn ended(self, code: Code) {
        let took = self.parts.clock.now().since(self.started);
        self.parts.metrics.handled(self.index, code, took);
    }
}

impl Future for RpcFuture {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        let response = match this.running.as_mut().poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(response)) => response,
            Poll::Ready(Err(never)) => match never {},
        };
        let response = in_etcds_words(response);
        if let Some(observed) = this.observed.take() {
            observed.ended(failure(&response).map_or(Code::Ok, Status::code));
        }
        Poll::Ready(response)
    }
}

impl Drop for RpcFuture {
    fn drop(&mut self) {
        // The client went away before the answer was there.
        if let Some(observed) = self.observed.take() {
            observed.ended(Code::Cancelled);
        }
    }
}

/// The error that a response carries instead of a message, if it does.
fn failure(response: &Response<Body>) -> Option<&Status> {
    response.extensions().get::<Status>()
}

/// What the transport itself refuses for its size, etcd calls a request that is too large.
fn in_etcds_words(response: Response<Body>) -> Response<Body> {
    match failure(&response) {
        Some(status) if status.code() == Code::OutOfRange && status.message().starts_with(TOO_LARGE) => {
            Status::from(Refusal::RequestTooLarge).into_http()
        }
        Some(status) if status.code() == Code::Unimplemented => {
            match status.message().strip_prefix(COMPRESSED).and_then(|rest| rest.split_once('`')) {
                Some((encoding, _)) => not_decompressed(encoding).into_http(),
                None => response,
            }
        }
        _ => response,
    }
}

/// What a gRPC server in Go says to a compression that it does not know; etcd's knows none.
fn not_decompressed(encoding: &str) -> Status {
    Status::unimplemented(format!("grpc: Decompressor is not installed for grpc-encoding \"{encoding}\""))
}

/// How tonic begins its refusal of a message above the limit of its decoder.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// How tonic begins its refusal of a compressed message.
const COMPRESSED: &str = "Content is compressed with `";

#[cfg(test)]
mod tests {
    use althing_etcd_proto::health::health_client::HealthClient;
    use althing_etcd_proto::health::{HealthCheckRequest, HealthCheckResponse};
    use http_body_util::Empty;

    use super::*;
    use crate::testing::TestNode;

    #[tokio::test]
    async fn an_rpc_that_is_not_known_is_unimplemented() {
        for (path, text) in [
            ("/etcdserverpb.KV/Scan", "unknown method Scan for service etcdserverpb.KV"),
            ("/other.Service/Call", "unknown service other.Service"),
            ("/etcdserverpb.KV", "malformed method name: \"/etcdserverpb.KV\""),
        ] {
            let request = Request::post(path).header("content-type", "application/grpc").body(Empty::<Bytes>::new());
            let Ok(response) = TestNode::default().gateway().handle(request.unwrap()).await;
            let status = failure(&response).unwrap();
            assert_eq!((status.code(), status.message()), (Code::Unimplemented, text));
        }
    }

    #[tokio::test]
    async fn a_compressed_message_is_refused_as_etcd_does() {
        let request = Request::post("/etcdserverpb.KV/Range")
            .header("content-type", "application/grpc")
            .header("grpc-encoding", "gzip")
            .body(http_body_util::Full::new(Bytes::from_static(&[1, 0, 0, 0, 0])));
        let Ok(response) = TestNode::default().gateway().handle(request.unwrap()).await;
        let status = failure(&response).unwrap();
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.message(), "grpc: Decompressor is not installed for grpc-encoding \"gzip\"");
    }

    /// A body that nobody may read.
    struct Unread;

    impl http_body::Body for Unread {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            panic!("it was read")
        }
    }

    #[tokio::test]
    async fn a_write_for_which_there_is_no_place_is_refused_before_it_is_read() {
        let node = TestNode::default();
        node.table().full = true;
        for method in ["Put", "Txn", "DeleteRange"] {
            let request =
                Request::post(format!("/etcdserverpb.KV/{method}")).header("content-type", "application/grpc");
            let Ok(response) = node.gateway().handle(request.body(Unread).unwrap()).await;
            assert!(http_body::Body::is_end_stream(response.body()), "one frame is all of the answer");
            let status = failure(&response).unwrap();
            assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "etcdserver: too many requests"));
            assert_eq!(response.headers()["grpc-retry-pushback-ms"], "250");
        }
        let mut client = pb::kv_client::KvClient::new(node.gateway());
        let range = pb::RangeRequest { key: "a".into(), ..Default::default() };
        assert_eq!(client.range(range).await.unwrap().into_inner().count, 0, "reads have a door of their own");
    }

    #[tokio::test]
    async fn the_health_service_tells_whether_the_node_is_ready() {
        let node = TestNode::default();
        let mut client = HealthClient::new(node.gateway());
        let check = |service: &str| HealthCheckRequest { service: service.to_owned() };
        assert_eq!(client.check(check("")).await.unwrap().into_inner(), HealthCheckResponse { status: 1 });
        node.table().leaderless = true;
        assert_eq!(client.check(check("")).await.unwrap().into_inner(), HealthCheckResponse { status: 2 });
        assert_eq!(client.check(check("etcdserverpb.KV")).await.unwrap_err().code(), Code::NotFound);
        let mut unknown = client.watch(check("other")).await.unwrap().into_inner();
        assert_eq!(unknown.message().await.unwrap().unwrap().status, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watched_health_tells_every_change() {
        let node = TestNode::default();
        let mut client = HealthClient::new(node.gateway());
        let mut changes = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(changes.message().await.unwrap().unwrap().status, 1);
        node.table().leaderless = true;
        assert_eq!(changes.message().await.unwrap().unwrap().status, 2);
    }
}
