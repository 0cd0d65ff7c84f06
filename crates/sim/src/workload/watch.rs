//! A client that watches the registers.
//!
//! It starts at the present or at some revision in the past, follows what comes, and now and then closes the stream and
//! goes on at another node from the revision after the last that it has seen. Some of its streams are read slowly, so
//! that the node has to fall back to history.

use althing_api::kv::{KeyRange, RangeEnd};
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_types::{Duration, Instant, NodeId, Revision};
use bytes::Bytes;

use super::register::REGISTER_PREFIX;
use super::{Ask, Context, Drive, News, Shared, Ticket};
use crate::checker::watch::{Step, WatchRecord};
use crate::random::between;

/// How fast a stream is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Pace {
    /// Each event as it comes.
    #[default]
    Prompt,
    /// Only when the client wakes.
    Slow,
}

/// A client that watches.
#[derive(Debug, Default)]
pub struct WatchClient {
    ticket: Ticket,
    node: NodeId,
    pace: Pace,
    /// The watch that it follows, as its place in the history.
    watch: Option<usize>,
    /// Where to go on: the revision after the last that was seen whole; `None` means the next write.
    next: Option<Revision>,
    undrained_bytes: usize,
    /// Since when the present stream has carried the watch.
    created: Option<Instant>,
    drive: Drive,
}

impl WatchClient {
    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
    }

    /// The run is over, and all that was written at `revision` or before had been written by `quiet`. A watch that has
    /// been on one stream since then must have seen it.
    pub(crate) fn conclude(&self, quiet: Instant, revision: Revision, shared: &mut Shared) {
        if let Some(place) = self.watch
            && self.created.is_some_and(|created| created < quiet)
        {
            shared.history.watches[place].steps.push(Step::Ended(revision));
        }
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.act(cx),
            News::Streamed { ticket, event } if ticket == self.ticket => self.streamed(event, cx),
            News::Broken { ticket } if ticket == self.ticket => self.broken(),
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
        if self.drive == Drive::Finishing {
            return;
        }
        match cx.rng.u32(0..100) {
            0..15 => cx.asks.push(Ask::Say { ticket: self.ticket, node: self.node, command: WatchCommand::Progress }),
            15..25 => self.close(cx),
            25..28 => {
                self.close(cx);
                self.watch = None;
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
        self.broken();
    }

    fn broken(&mut self) {
        self.created = None;
        self.node = NodeId::NONE;
        self.ticket = self.ticket.next();
    }

    fn streamed(&mut self, event: WatchEvent, cx: &mut Context<'_>) {
        self.undrained_bytes += althing_node::effects::event_bytes(&event);
        match event {
            WatchEvent::Created { revision, .. } => self.started(revision, cx),
            WatchEvent::Events { revision, events, fragment: more, .. } => {
                self.next = events.last().map(|event| event.kv.mod_revision.next()).or(self.next);
                self.note(Step::Events { revision, events, more }, cx);
            }
            WatchEvent::Progress { revision, .. } => {
                self.next = self.next.max(Some(revision.next()));
                self.note(Step::Progress(revision), cx);
            }
            WatchEvent::Canceled { reason, .. } => self.canceled(&reason, cx),
        }
        if self.pace == Pace::Prompt || self.drive == Drive::Finishing {
            self.drain(cx);
        }
    }

    fn started(&mut self, revision: Revision, cx: &mut Context<'_>) {
        self.created = Some(cx.now);
        let from = *self.next.get_or_insert(revision.next());
        if self.watch.is_some() {
            return self.note(Step::Resumed(from), cx);
        }
        self.watch = Some(cx.shared.history.watches.len());
        let record = WatchRecord { keys: registers(), filter: WatchFilter::default(), from, steps: Vec::new() };
        cx.shared.history.watches.push(record);
    }

    fn canceled(&mut self, reason: &CancelReason, cx: &mut Context<'_>) {
        if let CancelReason::Compacted(oldest) = reason {
            self.next = Some(*oldest);
            self.note(Step::Compacted(*oldest), cx);
        }
        self.close(cx);
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        let bytes = std::mem::take(&mut self.undrained_bytes);
        if bytes > 0 && self.node != NodeId::NONE {
            cx.asks.push(Ask::Drained { ticket: self.ticket, node: self.node, bytes });
        }
    }

    fn note(&mut self, step: Step, cx: &mut Context<'_>) {
        if let Some(place) = self.watch {
            cx.shared.history.watches[place].steps.push(step);
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
