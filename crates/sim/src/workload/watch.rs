//! A client that watches the registers.
//!
//! It starts at the present or at some revision in the past, follows what comes, and now and then closes the stream and
//! goes on at another node from the revision after the last that it has seen. Some of its streams are read slowly, so
//! that the node has to fall back to history.

use althing_api::kv::{KeyRange, RangeEnd};
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_types::{Duration, NodeId, Revision, WatchId};
use bytes::Bytes;

use super::register::REGISTER_PREFIX;
use super::{Ask, Context, News, Ticket};
use crate::history::{ClientId, Watch, WatchSeen, WatchStep};
use crate::random::between;

/// How fast a stream is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pace {
    /// Each event as it comes.
    Prompt,
    /// Only when the client wakes.
    Slow,
}

/// A client that watches.
#[derive(Debug)]
pub struct WatchClient {
    client: ClientId,
    ticket: Ticket,
    node: NodeId,
    pace: Pace,
    /// The watch that it follows, as its place in the history.
    watch: Option<usize>,
    /// Where to go on: the revision after the last that was seen whole; `None` means the next write.
    next: Option<Revision>,
    undrained_bytes: usize,
}

impl WatchClient {
    /// A client that watches nothing yet.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            ticket: Ticket::default(),
            node: NodeId::NONE,
            pace: Pace::Prompt,
            watch: None,
            next: None,
            undrained_bytes: 0,
        }
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.act(cx),
            News::Streamed { ticket, event } if ticket == self.ticket => self.streamed(event, cx),
            News::Broken { ticket } if ticket == self.ticket => self.broken(cx),
            News::Streamed { .. } | News::Broken { .. } | News::Answered { .. } => {}
        }
    }

    fn act(&mut self, cx: &mut Context<'_>) {
        if self.node == NodeId::NONE {
            self.open(cx);
        } else {
            self.stir(cx);
        }
        let pause = between(Duration::from_millis(20), Duration::from_millis(800), cx.rng);
        cx.asks.push(Ask::Wake(pause));
    }

    /// With a stream open: read what is left, ask for progress, change the node, or watch something else.
    fn stir(&mut self, cx: &mut Context<'_>) {
        self.drain(cx);
        match cx.rng.u32(0..100) {
            0..15 => cx.asks.push(Ask::Say { ticket: self.ticket, node: self.node, command: WatchCommand::Progress }),
            15..25 => self.close(cx),
            25..28 => {
                self.close(cx);
                self.watch = None;
                self.client = cx.shared.new_client();
                self.next = random_start(cx);
            }
            _ => {}
        }
    }

    fn open(&mut self, cx: &mut Context<'_>) {
        self.node = cx.any_node();
        self.pace = if cx.rng.u32(0..4) == 0 { Pace::Slow } else { Pace::Prompt };
        self.ticket = self.ticket.next();
        self.undrained_bytes = 0;
        let create = WatchCreate {
            id: None,
            keys: registers(),
            start_revision: self.next,
            prev_kv: cx.rng.bool(),
            filter: WatchFilter::default(),
            progress_notify: cx.rng.bool(),
            fragment: false,
        };
        let first = WatchCommand::Create(create);
        cx.asks.push(Ask::Open { ticket: self.ticket, node: self.node, first });
    }

    fn close(&mut self, cx: &mut Context<'_>) {
        cx.asks.push(Ask::Close { ticket: self.ticket, node: self.node });
        self.broken(cx);
    }

    fn broken(&mut self, cx: &mut Context<'_>) {
        self.note(WatchStep::Broken, cx);
        self.node = NodeId::NONE;
        self.ticket = self.ticket.next();
    }

    fn streamed(&mut self, event: WatchEvent, cx: &mut Context<'_>) {
        self.undrained_bytes += althing_node::effects::event_bytes(&event);
        match event {
            WatchEvent::Created { id, revision } => self.created(id, revision, cx),
            WatchEvent::Events { revision, events, .. } => {
                self.next = events.last().map(|event| event.kv.mod_revision.next()).or(self.next);
                self.note(WatchStep::Events { revision, events }, cx);
            }
            WatchEvent::Progress { revision, .. } => {
                self.next = self.next.max(Some(revision.next()));
                self.note(WatchStep::Progress(revision), cx);
            }
            WatchEvent::Canceled { reason, .. } => self.canceled(&reason, cx),
        }
        if self.pace == Pace::Prompt {
            self.drain(cx);
        }
    }

    fn created(&mut self, id: WatchId, revision: Revision, cx: &mut Context<'_>) {
        let from = *self.next.get_or_insert(revision.next());
        if self.watch.is_none() {
            self.watch = Some(cx.shared.history.watches.len());
            let prefix = Bytes::from_static(REGISTER_PREFIX);
            cx.shared.history.watches.push(Watch { client: self.client, prefix, from, seen: Vec::new() });
        }
        self.note(WatchStep::Started { id, from }, cx);
    }

    fn canceled(&mut self, reason: &CancelReason, cx: &mut Context<'_>) {
        if let CancelReason::Compacted(oldest) = reason {
            self.next = Some(*oldest);
            self.note(WatchStep::Compacted(*oldest), cx);
        }
        self.close(cx);
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        let bytes = std::mem::take(&mut self.undrained_bytes);
        if bytes > 0 && self.node != NodeId::NONE {
            cx.asks.push(Ask::Drained { ticket: self.ticket, node: self.node, bytes });
        }
    }

    fn note(&mut self, what: WatchStep, cx: &mut Context<'_>) {
        if let Some(place) = self.watch {
            let seen = WatchSeen { at: cx.now, node: self.node, what };
            cx.shared.history.watches[place].seen.push(seen);
        }
    }
}

/// Half of the watches begin with the next write, the others at a revision that was written already.
fn random_start(cx: &mut Context<'_>) -> Option<Revision> {
    let latest = cx.shared.revision.get();
    (latest > 1 && cx.rng.bool()).then(|| Revision(cx.rng.i64(1..=latest)))
}

fn registers() -> KeyRange {
    let end = Bytes::from_static(b"r0");
    KeyRange { start: Bytes::from_static(REGISTER_PREFIX), end: RangeEnd::Before(end) }
}
