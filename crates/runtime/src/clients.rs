//! The client port: takes connections and serves HTTP/1.1 and HTTP/2 on them, on the driver's own thread.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::pace::{Pace, Paced};

/// Client connections at the same time; more are closed at once.
const MAX_CLIENT_CONNECTIONS: usize = 16_384;
/// Streams that one HTTP/2 connection may have open: each watch is one.
const MAX_STREAMS: u32 = 65_536;
/// How far a client may send ahead on one stream, in bytes. A request that is refused has cost the reading of so much of it: with ten
/// times what the node can do, that is nine times what it does. So it is half of what HTTP/2 begins with; a request of
/// [`MAX_REQUEST_BYTES`](althing_types::limits::MAX_REQUEST_BYTES) that is let in takes fifty ways there and back for it.
const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
/// How far a client may send ahead on one connection, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// A connection that says nothing is asked this often whether it lives, and closed if it does not say so in time.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the system has no file descriptor for another connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);
/// How long connections may take to finish what is under way when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What serves the requests of every connection: a gateway.
pub trait Gateway:
    tower_service::Service<
        Request<Incoming>,
        Response = Response<Self::ResponseBody>,
        Error = Infallible,
        Future = Self::Answering,
    > + Clone
    + Send
    + 'static
{
    /// The body of its responses.
    type ResponseBody: http_body::Body<Data = Bytes, Error = Self::BodyError> + Send + 'static;
    /// What such a body may fail with.
    type BodyError: Into<Box<dyn Error + Send + Sync>>;
    /// A response under way.
    type Answering: Future<Output = Result<Response<Self::ResponseBody>, Infallible>> + Send;
}

impl<S, B> Gateway for S
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type ResponseBody = B;
    type BodyError = B::Error;
    type Answering = S::Future;
}

/// Takes connections until `stopping` changes, then lets those that are open finish, for a while.
pub(crate) async fn serve<G: Gateway>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    gateway: G,
    pace: Arc<Pace>,
    mut stopping: watch::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
        };
        match accepted {
            Ok(_) if graceful.count() >= MAX_CLIENT_CONNECTIONS => {
                tracing::warn!("refused a client: {MAX_CLIENT_CONNECTIONS} connections are open");
            }
            Ok((stream, _)) => {
                let (tls, gateway, watcher) = (tls.clone(), gateway.clone(), graceful.watcher());
                tokio::spawn(connection(stream, tls, gateway, Arc::clone(&pace), watcher));
            }
            Err(error) => {
                tracing::warn!("cannot take a client's connection: {error}");
                sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
    drop(listener);
    // Those that do not finish in time are cut off with the process.
    let _ = timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
}

type Watcher = hyper_util::server::graceful::Watcher;

async fn connection<G: Gateway>(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    gateway: G,
    pace: Arc<Pace>,
    watcher: Watcher,
) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!("a client's connection is gone before it began: {error}");
        return;
    }
    match tls {
        None => converse(Paced { stream: tcp, pace }, gateway, watcher).await,
        Some(tls) => match timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await {
            Ok(Ok(stream)) => converse(Paced { stream, pace }, gateway, watcher).await,
            Ok(Err(error)) => tracing::warn!("a client's TLS handshake failed: {error}"),
            Err(_) => tracing::warn!("a client did not finish its TLS handshake in time"),
        },
    }
}

async fn converse<S, G>(stream: S, gateway: G, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    G: Gateway,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        // What is on its way when a write is refused unread comes to a stream that is no more. That is no fault of the client's; and
        // what a client can make the node do by it is bounded by the doors, which know nothing of streams.
        .max_local_error_reset_streams(None)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(gateway));
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        // A client that goes away in the middle of something is daily life.
        tracing::debug!("a client's connection ended: {error}");
    }
}
