//! The door between gateways and a node.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use althing_types::{ClusterId, Duration, GroupId, NodeId, Revision, TableName};
use bytes::Bytes;
use futures_channel::oneshot;
use futures_core::Stream;

use crate::error::{Error, ErrorKind};
use crate::request::{Answer, Request};
use crate::watch::{WatchCommand, WatchEvent};

/// Whom a call is for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// One shard, whatever table it belongs to.
    Group(GroupId),
    /// The shard of this table that holds the keys of the request.
    Table(TableName),
}

impl Default for Target {
    /// The default table.
    fn default() -> Self {
        Self::Table(TableName::DEFAULT)
    }
}

/// One request on its way in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Call {
    /// Of which table or shard.
    pub target: Target,
    /// What is asked.
    pub request: Request,
    /// How long the caller will wait; `None` for the node's default.
    pub timeout: Option<Duration>,
    /// Refuse at once if there is no leader (etcd's `hasleader` metadata).
    pub require_leader: bool,
}

impl Call {
    /// A call of the default table without a deadline of its own.
    #[must_use]
    pub const fn new(request: Request) -> Self {
        Self { target: Target::Table(TableName::DEFAULT), request, timeout: None, require_leader: false }
    }
}

/// The group of the default table, which a cluster is born with.
pub const DEFAULT_GROUP: GroupId = GroupId(1);

/// The group of the control plane's own table, which a cluster is born with, too.
pub const META_GROUP: GroupId = GroupId(2);
/// The first group of a shard that was made later. Numbers below are the cluster's own.
pub const FIRST_SHARD_GROUP: GroupId = GroupId(16);

/// A place inside a node that a request was given before it was read. It stays taken until the request has used it or the last
/// clone is dropped.
#[derive(Clone, Default)]
pub struct Pass(Option<Arc<dyn Any + Send + Sync>>);

impl Pass {
    /// A place, as the node knows it.
    #[must_use]
    pub fn new(place: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(place)))
    }

    /// The place, if it is one of a node that knows such.
    #[must_use]
    pub fn place<T: Any>(&self) -> Option<&T> {
        self.0.as_deref().and_then(|place| place.downcast_ref())
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pass").field(&self.0.is_some()).finish()
    }
}

/// The answer to come.
#[derive(Debug)]
pub struct Reply(oneshot::Receiver<Result<Answer, Error>>);

/// Where the answer goes.
pub type ReplySender = oneshot::Sender<Result<Answer, Error>>;

impl Reply {
    /// A reply and the sender that fulfils it.
    #[must_use]
    pub fn channel() -> (ReplySender, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// A reply that is there already.
    #[must_use]
    pub fn ready(result: Result<Answer, Error>) -> Self {
        let (sender, reply) = Self::channel();
        // The receiver is alive: it is in `reply`.
        let _ = sender.send(result);
        reply
    }
}

impl Future for Reply {
    type Output = Result<Answer, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.0).poll(cx) {
            Poll::Ready(Ok(result)) => Poll::Ready(result),
            Poll::Ready(Err(oneshot::Canceled)) => Poll::Ready(Err(Error::maybe_done(ErrorKind::Stopped))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A stream of watches. Dropping it cancels them all.
///
/// The stream ends when the node stops. What the consumer does not take waits in a bounded buffer; then its watches fall
/// back to history, so a client that never reads costs a bounded amount and slows nobody.
pub trait WatchSession: Stream<Item = WatchEvent> + Send + Unpin {
    /// Says something on the stream. Answers come as events, in order.
    fn command(&mut self, command: WatchCommand);
}

/// One piece of a snapshot that a client downloads.
#[derive(Clone, Debug, Default)]
pub struct SnapshotChunk {
    /// The bytes, in order.
    pub bytes: Bytes,
    /// Bytes still to come, as far as is known; 0 in the last chunk.
    pub remaining_bytes: u64,
    /// The revision that the snapshot holds.
    pub revision: Revision,
}

/// A snapshot on its way to a client; an error ends it.
pub type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotChunk, Error>> + Send>>;

/// Whether a node can do its work now.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Health {
    /// It runs and its storage works.
    pub live: bool,
    /// It knows a leader and has caught up: it can serve linearizable reads.
    pub ready: bool,
    /// Why not, in words; empty if both hold.
    pub reasons: Vec<String>,
}

/// What a gateway asks of its node. Cheap to call from the node's own thread; safe from any.
pub trait Service: Send + Sync + 'static {
    /// Asks for one thing. The request starts at once, not when the reply is polled.
    fn call(&self, call: Call) -> Reply;
    /// Takes a place for a write that has been announced and not been read. A node that is asked too much refuses most of what it is
    /// asked, and to read all of that first would leave it no time for the rest.
    ///
    /// The default is for nodes that refuse nothing before they know it.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] if there is none.
    fn enter(&self, target: &Target) -> Result<Pass, Error> {
        let _ = target;
        Ok(Pass::default())
    }
    /// [`Service::call`] for a request that has a place, if it has.
    fn call_with(&self, call: Call, pass: Pass) -> Reply {
        drop(pass);
        self.call(call)
    }
    /// Opens a stream of watches on a table or a shard. With `require_leader` it ends its watches when there has been no leader
    /// for longer than an election should take.
    fn watch(&self, target: Target, require_leader: bool) -> Box<dyn WatchSession>;
    /// Downloads a consistent snapshot of a shard, or of a table that is one shard, from this node.
    fn snapshot(&self, target: Target) -> SnapshotStream;
    /// The cluster's id.
    fn cluster(&self) -> ClusterId;
    /// The node's id.
    fn member(&self) -> NodeId;
    /// Whether it can do its work now.
    fn health(&self) -> Health;
    /// All metrics in the Prometheus text format.
    fn metrics(&self) -> String;
}
