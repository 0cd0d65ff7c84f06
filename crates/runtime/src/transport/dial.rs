//! The calling side: one task per peer that connects, shakes hands, sends, and connects again.
//!
//! A circuit breaker stands before each peer: after some calls in a row that reached nobody it lets one through at a time,
//! after waits with jitter, so that nodes which lost the same peer do not all come back in the same instant.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use althing_resilience::breaker::{Breaker, BreakerConfig, Outcome, Permit};
use althing_resilience::{Backoff, Jitter};
use althing_types::{Instant, NodeId};
use bytes::BytesMut;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::address::Address;
use super::frame::{self, FrameError, FrameReader, HEADER_BYTES};
use super::handshake::{Answer, HandshakeError, Hello, MAX_HANDSHAKE_BYTES, Purpose};
use super::outbox::{Link, Outbox};
use super::{BookError, Event, Shared, Stream, count, tune};

/// How long a connection and its handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of frames that are gathered into one write.
const WRITE_BYTES: usize = 256 * 1024;

/// The shortest and the longest wait before a peer across a network is called again.
const NETWORK_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// The same for a peer on this machine, where a refused connection costs next to nothing.
const LOOPBACK_WAIT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// Calls are few and each tries all addresses, so it is the failures in a row that count; half of ten within the window
/// shows a peer that comes and goes.
const BREAKER: BreakerConfig = BreakerConfig {
    consecutive_failures: 5,
    failure_percent: 50,
    min_calls: 10,
    window: Duration::from_secs(30),
    probe_timeout: Duration::from_secs(30),
};

/// Why a peer could not be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    #[error("the host is not a name that TLS can check")]
    ServerName,
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Book(#[from] BookError),
    #[error("it closed the connection before it answered")]
    Closed,
    #[error("there is a cut before it, made on purpose")]
    Cut,
}

impl DialError {
    /// Whether a person must do something: waiting will not help.
    const fn is_refusal(&self) -> bool {
        match self {
            Self::Handshake(_) | Self::Book(_) | Self::ServerName => true,
            Self::Io(_) | Self::Timeout | Self::Frame(_) | Self::Closed | Self::Cut => false,
        }
    }
}

/// A connection to a peer whose identity was checked.
pub(super) async fn connect(
    shared: &Shared,
    peer: NodeId,
    address: &Address,
    purpose: Purpose,
) -> Result<Box<dyn Stream>, DialError> {
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
    Ok(greet(shared, peer, address, tcp, purpose).await?.1)
}

/// A connection to whoever of the cluster is at one of the addresses that a name has, for a push/pull; and who that is. TLS
/// checks the name.
pub(super) async fn connect_to_anybody(
    shared: &Shared,
    name: &Address,
    at: SocketAddr,
) -> Result<(NodeId, Box<dyn Stream>), DialError> {
    let tcp = TcpStream::connect(at).await?;
    greet(shared, NodeId::NONE, name, tcp, Purpose::PushPull).await
}

async fn greet(
    shared: &Shared,
    peer: NodeId,
    address: &Address,
    tcp: TcpStream,
    purpose: Purpose,
) -> Result<(NodeId, Box<dyn Stream>), DialError> {
    tune(&tcp)?;
    let mut stream: Box<dyn Stream> = match &shared.tls {
        None => Box::new(tcp),
        Some(tls) => {
            let name = ServerName::try_from(address.host.clone()).map_err(|_| DialError::ServerName)?;
            Box::new(tls.connector.connect(name, tcp).await?)
        }
    };
    let node = shake_hands(shared, peer, purpose, &mut stream).await?;
    if shared.cut.is_between(node) {
        return Err(DialError::Cut);
    }
    Ok((node, stream))
}

async fn shake_hands(
    shared: &Shared,
    peer: NodeId,
    purpose: Purpose,
    stream: &mut Box<dyn Stream>,
) -> Result<NodeId, DialError> {
    let hello = Hello { purpose, from: shared.me.clone(), to: peer }.encode();
    stream.write_all(&[&frame::header(&hello)[..], &hello].concat()).await?;
    stream.flush().await?;
    let message = FrameReader::new(MAX_HANDSHAKE_BYTES).read(stream).await?.ok_or(DialError::Closed)?;
    let (node, lineage) = Answer::decode(message)?.check(&shared.me, peer)?;
    let book = Arc::clone(&shared.book);
    tokio::task::spawn_blocking(move || book.enter(node, &lineage)).await.map_err(io::Error::other)??;
    Ok(node)
}

/// Calls one peer for as long as the task lives.
pub(super) struct Dialer {
    shared: Arc<Shared>,
    peer: NodeId,
    addresses: Vec<Address>,
    outbox: Arc<Outbox>,
    /// Waits between calls while the breaker is closed.
    backoff: Backoff,
    breaker: Breaker,
    /// The start of the breaker's clock.
    start: tokio::time::Instant,
    /// What was said about the last failure, so that it is not said again every few milliseconds.
    complaint: Option<String>,
}

impl Dialer {
    pub(super) fn new(shared: Arc<Shared>, peer: NodeId, addresses: Vec<Address>, outbox: Arc<Outbox>) -> Self {
        let seed = shared.me.lineage.run().nonce ^ peer.get();
        let near = addresses.iter().all(Address::is_loopback);
        let (shortest, longest) = if near { LOOPBACK_WAIT } else { NETWORK_WAIT };
        let backoff = Backoff::new(Jitter::Equal, shortest, longest, seed);
        let breaker = Breaker::new(BREAKER, Backoff::new(Jitter::Equal, longest, longest, seed.rotate_left(1)));
        let start = tokio::time::Instant::now();
        Self { shared, peer, addresses, outbox, backoff, breaker, start, complaint: None }
    }

    pub(super) async fn run(mut self) {
        loop {
            match self.breaker.permit(self.now()) {
                Ok(permit) => {
                    self.show();
                    self.call(permit).await;
                    sleep(self.backoff.next_wait()).await;
                }
                Err(until) => sleep(until.since(self.now())).await,
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Calls the peer at each of its addresses until one answers, and serves the connection until it ends.
    async fn call(&mut self, permit: Permit) {
        count(&self.shared.metrics.dials, 1);
        for at in 0..self.addresses.len() {
            let address = self.addresses[at].clone();
            match timeout(CONNECT_TIMEOUT, connect(&self.shared, self.peer, &address, Purpose::Frames)).await {
                Ok(Ok(stream)) => {
                    self.report(permit, Outcome::Success);
                    return self.serve(&address, stream).await;
                }
                Ok(Err(error)) => {
                    self.complain(&address, &error);
                    if let DialError::Handshake(HandshakeError::Dismissed(reason)) = error {
                        (self.shared.events)(Event::Dismissed(reason));
                    }
                }
                Err(_) => self.complain(&address, &DialError::Timeout),
            }
        }
        count(&self.shared.metrics.dials_failed, 1);
        self.report(permit, Outcome::Failure);
    }

    /// Tells the breaker what came of a call, and the metrics what the breaker makes of it.
    fn report(&mut self, permit: Permit, outcome: Outcome) {
        let opened = self.breaker.opened();
        self.breaker.report(self.now(), permit, outcome);
        count(&self.shared.metrics.breakers_opened, self.breaker.opened() - opened);
        self.show();
    }

    fn show(&self) {
        let mut breakers = self.shared.metrics.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.insert(self.peer, self.breaker.state());
    }

    /// Says once per cause why the peer is not reached.
    fn complain(&mut self, address: &Address, error: &DialError) {
        let text = error.to_string();
        if self.complaint.as_ref() == Some(&text) {
            return;
        }
        if error.is_refusal() {
            count(&self.shared.metrics.handshakes_failed, 1);
            tracing::error!(peer = %self.peer, %address, "cannot join the peer: {text}");
        } else {
            tracing::warn!(peer = %self.peer, %address, "cannot reach the peer: {text}");
        }
        self.complaint = Some(text);
    }

    async fn serve(&mut self, address: &Address, stream: Box<dyn Stream>) {
        self.complaint = None;
        self.backoff.reset();
        count(&self.shared.metrics.connections, 1);
        tracing::info!(peer = %self.peer, %address, "connected to the peer");
        let link = LinkGuard::up(self);
        let ended = self.send(stream).await;
        drop(link);
        match ended {
            Ok(()) => tracing::info!(peer = %self.peer, %address, "the peer closed the connection"),
            Err(error) => tracing::warn!(peer = %self.peer, %address, "lost the connection to the peer: {error}"),
        }
    }

    /// Sends what is queued until the connection ends. The peer says nothing on it, so whatever can be read is its end.
    async fn send(&self, stream: Box<dyn Stream>) -> io::Result<()> {
        let (mut input, mut output) = tokio::io::split(stream);
        let mut frames = VecDeque::new();
        let mut buffer = BytesMut::new();
        let mut end = [0; 1];
        loop {
            self.outbox.take(&mut frames);
            if frames.is_empty() {
                tokio::select! {
                    () = self.outbox.arrived() => continue,
                    read = input.read(&mut end) => return read.map(|_| ()),
                }
            }
            let mut bytes = 0;
            if self.shared.cut.is_between(self.peer) {
                return Err(io::Error::other(DialError::Cut));
            }
            count(&self.shared.metrics.frames_sent, frames.len() as u64);
            for frame in frames.drain(..) {
                bytes += HEADER_BYTES + frame.len();
                buffer.extend_from_slice(&frame::header(&frame));
                buffer.extend_from_slice(&frame);
                if buffer.len() >= WRITE_BYTES {
                    output.write_all(&buffer).await?;
                    buffer.clear();
                }
            }
            output.write_all(&buffer).await?;
            output.flush().await?;
            buffer.clear();
            count(&self.shared.metrics.bytes_sent, bytes as u64);
        }
    }
}

/// The time in which a connection stands; also when the task is aborted.
struct LinkGuard {
    shared: Arc<Shared>,
    peer: NodeId,
    outbox: Arc<Outbox>,
}

impl LinkGuard {
    fn up(dialer: &Dialer) -> Self {
        dialer.outbox.set_link(Link::Up);
        (dialer.shared.events)(Event::Up(dialer.peer));
        Self { shared: Arc::clone(&dialer.shared), peer: dialer.peer, outbox: Arc::clone(&dialer.outbox) }
    }
}

impl Drop for LinkGuard {
    fn drop(&mut self) {
        self.outbox.set_link(Link::Down);
        (self.shared.events)(Event::Down(self.peer));
    }
}
