//! A client that keeps a copy of all objects as the reflectors of Kubernetes do: it lists them page by page at the revision
//! of the first page, then follows a watch from there, and after a stream broke it goes on where it stood. When its
//! revision is compacted, and now and then for no reason, it lists anew.

use std::collections::BTreeMap;

use althing_api::Error;
use althing_api::kv::{EventKind, KeyRange, KeyValue, RangeRequest};
use althing_api::request::{Answer, Body, Request};
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_types::{Duration, Instant, NodeId, Revision};
use bytes::Bytes;

use super::controller::OBJECT_PREFIX;
use super::session::Session;
use super::{Ask, Context, Drive, News, Shared, Ticket};
use crate::history::{Cache, CacheSource};
use crate::random::between;

/// Objects on a page at the least and at the most.
const PAGE: std::ops::Range<u64> = 1..8;
/// Tickets of streams begin here, those of calls at zero.
const STREAMS: Ticket = Ticket(1 << 32);

/// Where the client stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// It has nothing.
    #[default]
    Empty,
    /// It waits for a page.
    Listing,
    /// It has all up to `revision`, and no stream.
    Apart,
    /// It follows a stream at a node; since then, once the watch stands.
    Following(NodeId, Option<Instant>),
}

/// A client with a copy of all objects.
#[derive(Debug)]
pub struct Reflector {
    session: Session,
    stream: Ticket,
    stage: Stage,
    copy: BTreeMap<Bytes, KeyValue>,
    /// What the copy is a copy of; while listing, the revision of the first page.
    revision: Option<Revision>,
}

impl Default for Reflector {
    fn default() -> Self {
        Self {
            session: Session::default(),
            stream: STREAMS,
            stage: Stage::Empty,
            copy: BTreeMap::new(),
            revision: None,
        }
    }
}

impl Reflector {
    pub(super) fn finish(&mut self) {
        self.session.finish();
    }

    /// The run is over, and all that was written at `revision` or before had been written by `quiet`. A copy whose stream
    /// stands since then must have it.
    pub(crate) fn conclude(&self, quiet: Instant, revision: Revision, shared: &mut Shared) {
        if let (Stage::Following(_, Some(since)), Some(own)) = (&self.stage, self.revision)
            && *since < quiet
        {
            let cache = self.cache(own.max(revision), CacheSource::Concluded);
            shared.history.caches.push(cache);
        }
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.act(cx),
            News::Answered { ticket, result } if self.session.awaits(ticket) => self.answered(result, cx),
            News::Streamed { ticket, event } if ticket == self.stream => self.streamed(event, cx),
            News::Broken { ticket } if ticket == self.stream => self.part(),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn act(&mut self, cx: &mut Context<'_>) {
        match self.stage {
            Stage::Empty => return self.list(cx),
            Stage::Listing => return,
            Stage::Apart => self.follow(cx),
            Stage::Following(node, _) => self.stir(node, cx),
        }
        let pause = between(Duration::from_millis(50), Duration::from_millis(800), cx.rng);
        cx.asks.push(Ask::Wake(pause));
    }

    /// Asks for the next page.
    fn list(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Listing;
        let all = KeyRange::under(OBJECT_PREFIX);
        let start = self.copy.last_key_value().map_or(all.start, |(last, _)| after(last));
        let mut page = RangeRequest::new(KeyRange { start, end: all.end });
        page.limit = cx.rng.u64(PAGE);
        page.revision = self.revision;
        self.session.send(Request::Range(page), cx);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        let Ok(answer) = result else {
            // Also when the revision of the first page is compacted by now: all over again.
            self.forget();
            self.session.move_on();
            return self.session.rest(cx);
        };
        let revision = *self.revision.get_or_insert(answer.header.revision);
        let Body::Range(page) = answer.body else { panic!("a read was answered with {answer:?}") };
        self.copy.extend(page.kvs.into_iter().map(|kv| (kv.key.clone(), kv)));
        if page.more {
            return self.list(cx);
        }
        cx.shared.history.caches.push(self.cache(revision, CacheSource::Listed));
        self.stage = Stage::Apart;
        self.act(cx);
    }

    fn follow(&mut self, cx: &mut Context<'_>) {
        let node = cx.any_node();
        self.stream = self.stream.next();
        self.stage = Stage::Following(node, None);
        let create = WatchCreate {
            id: None,
            keys: KeyRange::under(OBJECT_PREFIX),
            start_revision: self.revision.map(Revision::next),
            prev_kv: true,
            filter: WatchFilter::default(),
            progress_notify: true,
            fragment: false,
        };
        cx.asks.push(Ask::Open { ticket: self.stream, node, first: WatchCommand::Create(create) });
    }

    fn stir(&mut self, node: NodeId, cx: &mut Context<'_>) {
        if self.session.drive() == Drive::Finishing {
            return;
        }
        match cx.rng.u32(0..100) {
            0..15 => cx.asks.push(Ask::Say { ticket: self.stream, node, command: WatchCommand::Progress }),
            15..20 => self.leave(node, cx),
            20..28 => {
                self.leave(node, cx);
                self.forget();
            }
            _ => {}
        }
    }

    fn streamed(&mut self, event: WatchEvent, cx: &mut Context<'_>) {
        let Stage::Following(node, _) = self.stage else { return };
        let bytes = althing_node::effects::event_bytes(&event);
        cx.asks.push(Ask::Drained { ticket: self.stream, node, bytes });
        match event {
            WatchEvent::Created { .. } => self.stage = Stage::Following(node, Some(cx.now)),
            WatchEvent::Events { events, .. } => {
                for event in events {
                    self.revision = Some(event.kv.mod_revision);
                    match event.kind {
                        EventKind::Put => self.copy.insert(event.kv.key.clone(), event.kv),
                        EventKind::Delete => self.copy.remove(&event.kv.key),
                    };
                }
            }
            WatchEvent::Progress { revision, .. } => self.revision = self.revision.max(Some(revision)),
            WatchEvent::Canceled { reason, .. } => {
                self.leave(node, cx);
                if matches!(reason, CancelReason::Compacted(_)) {
                    self.forget();
                }
            }
        }
    }

    /// Closes the stream, and shows what has come of it.
    fn leave(&mut self, node: NodeId, cx: &mut Context<'_>) {
        cx.asks.push(Ask::Close { ticket: self.stream, node });
        if let Some(revision) = self.revision {
            cx.shared.history.caches.push(self.cache(revision, CacheSource::Followed));
        }
        self.part();
    }

    fn part(&mut self) {
        self.stage = Stage::Apart;
        self.stream = self.stream.next();
    }

    fn forget(&mut self) {
        self.stage = Stage::Empty;
        self.revision = None;
        self.copy.clear();
    }

    fn cache(&self, revision: Revision, source: CacheSource) -> Cache {
        Cache { keys: KeyRange::under(OBJECT_PREFIX), revision, source, content: self.copy.values().cloned().collect() }
    }
}

/// The least key above another.
fn after(key: &Bytes) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    Bytes::from(next)
}
