//! The door of a running node: [`Service`] over the driver's inbox.
//!
//! A gateway's connections live on the driver's own thread, so that a call is an uncontended lock, a push and a wake of a
//! task that runs next; from any other thread it works just the same.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use althing_api::watch::{WatchCommand, WatchEvent};
use althing_api::{
    Call, Error, ErrorKind, Health, Pass, Reply, Service, SnapshotChunk, SnapshotStream, Target, WatchSession,
};
use althing_node::effects::event_bytes;
use althing_types::limits::MAX_PENDING_REQUESTS;
use althing_types::{ClusterId, NodeId, StreamId};
use futures_core::Stream;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::admission::{Announced, Doors, Ended, Place};
use crate::driver::Event;
use crate::feed::Feed;
use crate::gossip::Board;
use crate::mail;
use crate::mailbox::Inbox;
use crate::pace::Pace;

/// Bytes of events that a consumer takes before the node is told, so that it is told seldom. Far below the buffer of a
/// stream, so what is not told yet never holds anything up.
const DRAINED_STEP_BYTES: usize = 64 * 1024;

/// What the driver and its handles share.
pub(crate) struct Shared {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub inbox: Inbox<Event>,
    /// Requests that were taken in and are not answered.
    pub pending: AtomicUsize,
    /// Which requests are let in at all.
    pub doors: Arc<Doors>,
    /// How much of what clients send is read between two turns.
    pub pace: Arc<Pace>,
    /// Between the node and its membership.
    pub board: Arc<Board>,
    /// Between the gateway and those of other nodes.
    pub mail: mail::Slot,
    pub health: Mutex<Health>,
    pub registry: Registry,
    pub next_stream: AtomicU64,
}

impl Shared {
    /// Hands a request to the driver that was let in, and refuses one that was not.
    fn take(&self, call: Call, place: Option<Place>) -> Reply {
        let Some(place) = place else { return Reply::ready(Err(Error::not_done(ErrorKind::Overloaded))) };
        if self.pending.load(Ordering::Relaxed) >= MAX_PENDING_REQUESTS {
            self.doors.leave(std::iter::once((place, Ended::Otherwise)));
            return Reply::ready(Err(Error::not_done(ErrorKind::Overloaded)));
        }
        self.pending.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = Reply::channel();
        self.inbox.push(Event::Request { call, sender, place });
        reply
    }

    fn stream(&self) -> StreamId {
        StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed))
    }

    /// Says how the node is.
    pub(crate) fn set_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

/// A running node, as gateways and the program see it. Clones are the same node.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Shared>);

impl Handle {
    /// What the node tells its membership, and hears from it.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.0.board
    }

    /// Asks the node to stop in good order. It then ends by itself.
    pub fn stop(&self) {
        self.0.inbox.push(Event::Stop);
    }
}

impl Service for Handle {
    fn call(&self, call: Call) -> Reply {
        let place = self.0.doors.admit(&call);
        self.0.take(call, place)
    }

    fn enter(&self, target: &Target) -> Result<Pass, Error> {
        let announced = self.0.doors.enter(target).ok_or_else(|| Error::not_done(ErrorKind::Overloaded))?;
        Ok(Pass::new(announced))
    }

    fn call_with(&self, call: Call, pass: Pass) -> Reply {
        match pass.place::<Announced>() {
            Some(announced) => {
                let place = self.0.doors.admit_announced(&call, announced);
                self.0.take(call, place)
            }
            None => self.call(call),
        }
    }

    fn watch(&self, target: Target, require_leader: bool) -> Box<dyn WatchSession> {
        let (stream, feed) = (self.0.stream(), Arc::new(Feed::default()));
        self.0.inbox.push(Event::WatchOpen { stream, target, require_leader, feed: Arc::clone(&feed) });
        Box::new(Session { shared: Arc::clone(&self.0), stream, feed, drained_bytes: 0 })
    }

    fn snapshot(&self, target: Target) -> SnapshotStream {
        let (stream, feed) = (self.0.stream(), Arc::new(Feed::default()));
        self.0.inbox.push(Event::SnapshotOpen { stream, target, feed: Arc::clone(&feed) });
        Box::pin(Download { shared: Arc::clone(&self.0), stream, feed, asked: Asked::No })
    }

    fn cluster(&self) -> ClusterId {
        self.0.cluster
    }

    fn member(&self) -> NodeId {
        self.0.node
    }

    fn health(&self) -> Health {
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn metrics(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail; an encoder that does leaves a page cut short, which a scraper sees.
        let _ = text::encode(&mut page, &self.0.registry);
        page
    }
}

/// A stream of watches.
struct Session {
    shared: Arc<Shared>,
    stream: StreamId,
    feed: Arc<Feed<WatchEvent>>,
    /// Taken and not told yet.
    drained_bytes: usize,
}

impl WatchSession for Session {
    fn command(&mut self, command: WatchCommand) {
        self.shared.inbox.push(Event::Watch { stream: self.stream, command });
    }
}

impl Stream for Session {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let event = ready!(self.feed.poll(cx));
        if let Some(event) = &event {
            self.drained_bytes += event_bytes(event);
            if self.drained_bytes >= DRAINED_STEP_BYTES {
                let bytes = std::mem::take(&mut self.drained_bytes);
                self.shared.inbox.push(Event::WatchDrained { stream: self.stream, bytes });
            }
        }
        Poll::Ready(event)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.inbox.push(Event::WatchClose { stream: self.stream });
    }
}

/// Whether a chunk has been asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    No,
    Yes,
}

/// A snapshot on its way to a client: each poll that finds nothing asks for one chunk, so the client sets the pace.
struct Download {
    shared: Arc<Shared>,
    stream: StreamId,
    feed: Arc<Feed<Result<SnapshotChunk, Error>>>,
    asked: Asked,
}

impl Stream for Download {
    type Item = Result<SnapshotChunk, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.asked == Asked::No {
            self.asked = Asked::Yes;
            self.shared.inbox.push(Event::SnapshotPull { stream: self.stream });
        }
        let chunk = ready!(self.feed.poll(cx));
        self.asked = Asked::No;
        Poll::Ready(chunk)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.shared.inbox.push(Event::SnapshotClose { stream: self.stream });
    }
}
