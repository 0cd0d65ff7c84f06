//! The called side: takes connections, checks who calls, and hands on what they send.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use althing_types::NodeId;
use althing_types::limits::MAX_FRAME_BYTES;
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::frame::{self, FrameError, FrameReader, HEADER_BYTES};
use super::handshake::{Answer, HandshakeError, Hello, MAX_HANDSHAKE_BYTES, Purpose};
use super::push_pull::{self, PushPullError};
use super::{BookError, Event, Shared, Stream, count, tune};

/// How long a caller may take to say who it is.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait when the system has no file descriptor for another connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);
/// Connections from peers at the same time. A cluster has fewer nodes; more is a mistake or an enemy.
const MAX_PEER_CONNECTIONS: usize = 256;

/// Why a connection from a peer ended.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the caller did not say who it is within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Book(#[from] BookError),
    #[error("the caller left before it said who it is")]
    Left,
    #[error("{0}")]
    PushPull(#[from] PushPullError),
    #[error("there is a cut between the caller and this node, made on purpose")]
    Cut,
}

impl ListenError {
    /// Whether the caller must never come again with its data directory.
    const fn is_final(&self) -> bool {
        match self {
            Self::Handshake(error) | Self::Book(BookError::Refused(error)) => error.is_final(),
            Self::Io(_) | Self::Timeout | Self::Frame(_) | Self::Book(BookError::Disk(_)) | Self::Left => false,
            Self::PushPull(_) | Self::Cut => false,
        }
    }
}

/// Takes connections for as long as the task lives; its connections end with it.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                while connections.try_join_next().is_some() {}
                if connections.len() >= MAX_PEER_CONNECTIONS {
                    tracing::warn!(%from, "refused a peer connection: {MAX_PEER_CONNECTIONS} are open");
                    continue;
                }
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    if let Err(error) = serve(&shared, stream).await {
                        tracing::warn!(%from, "a peer connection ended: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("cannot take a peer connection: {error}");
                sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
}

async fn serve(shared: &Shared, tcp: TcpStream) -> Result<(), ListenError> {
    tune(&tcp)?;
    let greeting = timeout(HANDSHAKE_TIMEOUT, greet(shared, tcp)).await.map_err(|_| ListenError::Timeout)?;
    let greeting = greeting.inspect_err(|_| count(&shared.metrics.handshakes_failed, 1))?;
    let Greeting { from, purpose, mut stream, mut reader } = greeting;
    match purpose {
        Purpose::Frames => reader.set_limit(MAX_FRAME_BYTES),
        Purpose::PushPull => return Ok(push_pull::answer(shared, from, stream, reader).await?),
    }
    while let Some(bytes) = reader.read(&mut stream).await? {
        if shared.cut.is_between(from) {
            return Err(ListenError::Cut);
        }
        count(&shared.metrics.frames_received, 1);
        count(&shared.metrics.bytes_received, (HEADER_BYTES + bytes.len()) as u64);
        (shared.events)(Event::Frame { from, bytes });
    }
    Ok(())
}

/// A caller that was let in.
struct Greeting {
    from: NodeId,
    purpose: Purpose,
    stream: Box<dyn Stream>,
    reader: FrameReader,
}

/// Learns who calls, and tells it to go on or why not.
async fn greet(shared: &Shared, tcp: TcpStream) -> Result<Greeting, ListenError> {
    let mut stream: Box<dyn Stream> = match &shared.tls {
        None => Box::new(tcp),
        Some(tls) => Box::new(tls.acceptor.accept(tcp).await?),
    };
    let mut reader = FrameReader::new(MAX_HANDSHAKE_BYTES);
    let message = reader.read(&mut stream).await?.ok_or(ListenError::Left)?;
    let checked = check(shared, message).await;
    let answer = match &checked {
        Ok(_) => Answer::Welcome(shared.me.clone()),
        Err(error) if error.is_final() => Answer::Dismissed(error.to_string()),
        Err(error) => Answer::Refused(error.to_string()),
    };
    let answer = answer.encode();
    stream.write_all(&[&frame::header(&answer)[..], &answer].concat()).await?;
    stream.flush().await?;
    let (from, purpose) = checked?;
    Ok(Greeting { from, purpose, stream, reader })
}

async fn check(shared: &Shared, message: Bytes) -> Result<(NodeId, Purpose), ListenError> {
    let hello = Hello::decode(message)?;
    hello.check(&shared.me)?;
    if shared.cut.is_between(hello.from.node) {
        return Err(ListenError::Cut);
    }
    if shared.removed.lock().unwrap_or_else(PoisonError::into_inner).contains(&hello.from.node) {
        return Err(HandshakeError::Removed(hello.from.node).into());
    }
    let (book, from, lineage) = (Arc::clone(&shared.book), hello.from.node, hello.from.lineage);
    let entered = tokio::task::spawn_blocking(move || book.enter(from, &lineage));
    entered.await.map_err(io::Error::other)??;
    Ok((from, hello.purpose))
}
