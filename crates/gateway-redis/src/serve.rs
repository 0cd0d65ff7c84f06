//! The port: takes connections and runs each on a task of its own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::counters::Counters;
use crate::gateway::Gateway;
use crate::hub::Post;
use crate::pipeline::{Happening, Pipeline, State};
use crate::session::Session;

/// How long to wait when the system has no file descriptor for another connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections beyond those that may be open: of those that have not finished their handshake, or are told that they are too many.
const MAX_HANDSHAKES: usize = 1024;
/// How long connections may take to finish what is under way when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that are read at once: a pipeline of a few hundred commands.
const READ_BYTES: usize = 16 * 1024;
/// Bytes that a client may send ahead while it waits for a key: several pipelines.
const MAX_AHEAD_BYTES: usize = 1024 * 1024;
/// A read buffer that has grown beyond this for a large command is given back after it.
const KEPT_BYTES: usize = 64 * 1024;

/// Takes connections until `stopping` changes or its sender is gone, then lets those that are open finish what is under way, for a
/// while. With `tls` every connection begins with a handshake.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    gateway: Gateway,
    mut stopping: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
            // A task that has ended is forgotten, so that the set does not grow.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                if connections.len() > gateway.0.config.max_clients + MAX_HANDSHAKES {
                    Counters::add(&gateway.0.counters.rejected, 1);
                    continue;
                }
                let (tls, gateway, stopping) = (tls.clone(), gateway.clone(), stopping.clone());
                connections.spawn(connection(stream, peer.to_string(), tls, gateway, stopping));
            }
            Err(error) => {
                tracing::warn!("cannot take a client's connection: {error}");
                sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Those that do not finish in time are cut off with the set.
    let _ = timeout(DRAIN_TIMEOUT, all).await;
}

async fn connection(
    stream: TcpStream,
    peer: String,
    tls: Option<TlsAcceptor>,
    gateway: Gateway,
    stopping: watch::Receiver<()>,
) {
    let local = stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("a client's connection is gone before it began: {error}");
        return;
    }
    let Some(tls) = tls else { return converse(stream, peer, local, gateway, stopping).await };
    match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, peer, local, gateway, stopping).await,
        Ok(Err(error)) => {
            Counters::add(&gateway.0.counters.rejected, 1);
            tracing::debug!(peer, "a client's TLS handshake failed: {error}");
        }
        Err(_) => {
            Counters::add(&gateway.0.counters.rejected, 1);
            tracing::debug!(peer, "a client did not finish its TLS handshake in time");
        }
    }
}

/// Serves one connection until it ends. `stream` may be a socket or what TLS makes of one; `peer` and `local` are its addresses,
/// for `CLIENT LIST`.
pub async fn converse<S>(stream: S, peer: String, local: String, gateway: Gateway, mut stopping: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let shared = &gateway.0;
    let Some(client) = shared.clients.enter(peer, local, shared.clock.now(), shared.config.max_clients) else {
        Counters::add(&shared.counters.rejected, 1);
        return refuse(stream, shared.config.write_timeout).await;
    };
    Counters::add(&shared.counters.connections, 1);
    Counters::add(&shared.counters.open, 1);
    let (id, mut wire) = (client.id, Wire { stream, input: BytesMut::new(), output: BytesMut::new() });
    let mut pipeline = Pipeline::new(Session::new(gateway.clone(), client));
    let ended = talk(&mut wire, &mut pipeline, &gateway, &mut stopping).await;
    if let Err(error) = ended {
        // A client that goes away in the middle of something is daily life.
        tracing::debug!("a client's connection ended: {error}");
    }
    pipeline.session().end();
    shared.clients.leave(id);
    shared.counters.open.fetch_sub(1, Ordering::Relaxed);
}

async fn refuse<S: AsyncWrite + Unpin>(mut stream: S, limit: Duration) {
    // That it does not want to know is its own affair.
    let _ = timeout(limit, stream.write_all(b"-ERR max number of clients reached\r\n")).await;
}

/// A connection and what is on its way in and out.
struct Wire<S> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
}

async fn talk<S>(
    wire: &mut Wire<S>,
    pipeline: &mut Pipeline,
    gateway: &Gateway,
    stopping: &mut watch::Receiver<()>,
) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    loop {
        // All that has come is run before anything is waited for, and answered by one write (of a great many, by several).
        loop {
            let state = pipeline.run(&mut wire.input, &mut wire.output).await;
            send(wire, gateway).await?;
            match state {
                State::Hungry => break,
                State::Full => {}
                State::Ended => return wire.stream.shutdown().await,
            }
        }
        if wire.input.is_empty() && wire.input.capacity() > KEPT_BYTES {
            wire.input = BytesMut::new();
        }
        wire.input.reserve(READ_BYTES);
        let (idle, client) = (pipeline.idle_timeout(), std::sync::Arc::clone(pipeline.session().client()));
        // Who waits is read from, so that its end is seen; but what it sends ahead is not kept without bound.
        let reads = !pipeline.is_asleep() || wire.input.len() < MAX_AHEAD_BYTES;
        tokio::select! {
            biased;
            () = client.end.notified() => return Ok(()),
            read = wire.stream.read_buf(&mut wire.input), if reads => match read? {
                0 => return Ok(()),
                bytes => Counters::add(&gateway.0.counters.bytes_in, bytes),
            },
            happening = pipeline.happening() => match happening {
                Happening::Post(Post::Delivery(delivery)) => pipeline.deliver(delivery, &mut wire.output),
                Happening::Post(Post::Overflow) => {
                    Counters::add(&gateway.0.counters.overflows, 1);
                    return Err(std::io::Error::other("it does not take its messages"));
                }
                Happening::Due => {}
            },
            _ = stopping.changed() => return Ok(()),
            () = sleep(idle.unwrap_or_default()), if idle.is_some() => return Ok(()),
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(wire: &mut Wire<S>, gateway: &Gateway) -> std::io::Result<()> {
    if wire.output.is_empty() {
        return Ok(());
    }
    Counters::add(&gateway.0.counters.bytes_out, wire.output.len());
    let limit = gateway.0.config.write_timeout;
    let slow = |_| std::io::Error::other("it does not read its answers");
    timeout(limit, wire.stream.write_all(&wire.output)).await.map_err(slow)??;
    if wire.output.capacity() > KEPT_BYTES {
        wire.output = BytesMut::new();
    } else {
        wire.output.clear();
    }
    Ok(())
}
