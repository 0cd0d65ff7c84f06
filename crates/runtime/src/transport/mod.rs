//! Frames between nodes over TCP.
//!
//! Each node calls every peer and sends only on the connection it made itself; what comes in on the other one is
//! only received. A connection begins with the [`handshake`], then carries [`frame`]s, each one turn's worth of messages.
//! A lost connection loses what was in flight and queued: everything above expects that and sends again. A [`push_pull`] of
//! the membership has a connection of its own, which ends with it.
//!
//! All tasks live on the driver's own thread, so that a frame crosses no thread between the socket and the node.

pub mod address;
mod dial;
pub mod frame;
pub mod handshake;
mod listen;
mod outbox;
pub mod push_pull;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use althing_node::lineage;
use althing_resilience::breaker::State as BreakerState;
use althing_types::NodeId;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cut::Cut;
use crate::tls::PeerTls;
use address::Address;
use handshake::{HandshakeError, Identity};
use lineage::Lineage;
use outbox::Outbox;
use push_pull::{Called, Caller};

/// What the transport tells the driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A connection to this peer stands. A hint.
    Up(NodeId),
    /// It broke. A hint.
    Down(NodeId),
    /// A frame of this peer, whose identity was checked.
    Frame {
        /// Who sent it.
        from: NodeId,
        /// Its payload.
        bytes: Bytes,
    },
    /// A peer refuses this node and its data directory for good, for this reason: the node must end.
    Dismissed(String),
}

/// Where events go.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// What the transport knows of other nodes' runs and keeps across restarts. It may block: it is called off the driver.
pub trait Book: Send + Sync {
    /// Enters a run of `node`, durably if it is a new one, or refuses it.
    fn enter(&self, node: NodeId, lineage: &Lineage) -> Result<(), BookError>;
}

/// Why a run of a node was not entered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BookError {
    /// It is an old one.
    #[error(transparent)]
    Refused(#[from] HandshakeError),
    /// The book cannot be written.
    #[error("cannot keep the peer's run: {0}")]
    Disk(String),
}

/// Counters of all connections of a node together, since it started.
#[derive(Debug, Default)]
pub struct TransportMetrics {
    /// Frames sent.
    pub frames_sent: AtomicU64,
    /// Bytes sent, headers included.
    pub bytes_sent: AtomicU64,
    /// Frames received.
    pub frames_received: AtomicU64,
    /// Bytes received, headers included.
    pub bytes_received: AtomicU64,
    /// Frames dropped because there was no connection or too much waited.
    pub frames_dropped: AtomicU64,
    /// Connections made.
    pub connections: AtomicU64,
    /// Handshakes that failed, on either side.
    pub handshakes_failed: AtomicU64,
    /// Calls of peers.
    pub dials: AtomicU64,
    /// Those that reached nobody, or somebody else.
    pub dials_failed: AtomicU64,
    /// How often a breaker opened.
    pub breakers_opened: AtomicU64,
    /// The breaker before each peer.
    pub breakers: Mutex<BTreeMap<NodeId, BreakerState>>,
}

/// Adds to a counter; order does not matter.
fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// A TCP stream, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What all tasks of the transport share.
struct Shared {
    me: Identity,
    book: Arc<dyn Book>,
    /// Who was removed from the cluster.
    removed: Mutex<BTreeSet<NodeId>>,
    tls: Option<PeerTls>,
    events: Events,
    metrics: Arc<TransportMetrics>,
    cut: Arc<Cut>,
    /// Who answers push/pulls; nobody until it is told.
    push_pull: OnceLock<mpsc::Sender<Called>>,
}

/// What the transport needs to begin.
pub struct TransportOptions {
    /// Who this node is.
    pub me: Identity,
    /// Whose runs were seen before.
    pub book: Arc<dyn Book>,
    /// TLS between nodes; `None` for plain TCP.
    pub tls: Option<PeerTls>,
    /// Where events go.
    pub events: Events,
    /// Where connections are counted.
    pub metrics: Arc<TransportMetrics>,
    /// Whom it is cut off from on purpose.
    pub cut: Arc<Cut>,
}

/// One peer that is called.
struct Peer {
    addresses: Vec<Address>,
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All connections of one node. Its methods must be called within the driver's runtime.
pub struct Transport {
    shared: Arc<Shared>,
    peers: BTreeMap<NodeId, Peer>,
    listening: Vec<JoinHandle<()>>,
}

impl Transport {
    /// A transport without peers.
    #[must_use]
    pub fn new(options: TransportOptions) -> Self {
        let TransportOptions { me, book, tls, events, metrics, cut } = options;
        let (removed, push_pull) = (Mutex::default(), OnceLock::new());
        let shared = Arc::new(Shared { me, book, removed, tls, events, metrics, cut, push_pull });
        Self { shared, peers: BTreeMap::new(), listening: Vec::new() }
    }

    /// From now on hands push/pulls that come in to `answerer`. Only the first call counts.
    pub fn set_push_pull(&self, answerer: mpsc::Sender<Called>) {
        let _ = self.shared.push_pull.set(answerer);
    }

    /// What calls peers for a push/pull, from any thread.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(Arc::clone(&self.shared))
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> Arc<TransportMetrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Takes calls from peers at `listener`.
    pub fn listen(&mut self, listener: TcpListener) {
        self.listening.push(tokio::spawn(listen::accept(Arc::clone(&self.shared), listener)));
    }

    /// From now on calls these peers, each at its addresses in turn, and no others.
    pub fn set_peers(&mut self, wanted: BTreeMap<NodeId, Vec<Address>>) {
        self.peers.retain(|id, peer| wanted.get(id) == Some(&peer.addresses));
        let breakers = &self.shared.metrics.breakers;
        breakers.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| wanted.contains_key(id));
        for (id, addresses) in wanted {
            if id == self.shared.me.node || addresses.is_empty() {
                continue;
            }
            let shared = &self.shared;
            self.peers.entry(id).or_insert_with(|| {
                let outbox = Arc::new(Outbox::default());
                let dialer = dial::Dialer::new(Arc::clone(shared), id, addresses.clone(), Arc::clone(&outbox));
                Peer { addresses, outbox, task: tokio::spawn(dialer.run()) }
            });
        }
    }

    /// From now on tells these, when they call, that they were removed from the cluster.
    pub fn set_removed(&self, removed: BTreeSet<NodeId>) {
        *self.shared.removed.lock().unwrap_or_else(PoisonError::into_inner) = removed;
    }

    /// Queues a frame. Without a connection it is dropped.
    pub fn send(&self, to: NodeId, frame: Bytes) {
        let dropped = self.peers.get(&to).map_or(1, |peer| peer.outbox.push(frame));
        count(&self.shared.metrics.frames_dropped, dropped);
    }

    /// The peers that are connected and for whom at most so many bytes wait, and how many are connected and have more.
    #[must_use]
    pub fn with_room(&self, bytes: usize) -> (Vec<NodeId>, u64) {
        let connected = self.peers.iter().filter(|(_, peer)| peer.outbox.link() == outbox::Link::Up);
        let (room, full): (Vec<_>, Vec<_>) = connected.partition(|(_, peer)| peer.outbox.bytes() <= bytes);
        (room.into_iter().map(|(id, _)| *id).collect(), full.len() as u64)
    }

    /// Bytes that wait to be sent, over all peers.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.peers.values().map(|peer| peer.outbox.bytes()).sum()
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        for task in &self.listening {
            task.abort();
        }
    }
}

/// Small frames leave at once, and a peer that is gone without a word is noticed within seconds.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    /// How long sent bytes may stay unacknowledged, in milliseconds.
    const UNACKNOWLEDGED_MS: u32 = 5_000;
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MS)?;
    Ok(())
}
