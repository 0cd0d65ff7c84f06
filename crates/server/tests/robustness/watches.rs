//! Clients that watch the registers: from the present or from some revision of the past, over streams that break, resumed at
//! another node from the revision after the last that was seen.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Moment};

use althing_api::kv::{KeyRange, RangeEnd};
use althing_api::watch::{CancelReason, WatchFilter};
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::watch_client::WatchClient;
use althing_sim::checker::watch::{Step, WatchRecord};
use althing_types::Revision;
use bytes::Bytes;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::transport::Channel;

use crate::recorder::Recorder;
use crate::wire::{self, Session};

/// How long a client waits for something to come before it does something itself.
const STIR_MS: std::ops::Range<u64> = 20..300;
/// Within this time after the load a watch must have seen everything.
pub const CATCH_UP_WITHIN: Duration = Duration::from_secs(20);
/// Revisions that a watch from the past goes back at the most.
const MOST_HISTORY: i64 = 5000;
/// How long the opening of a stream may take.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// A stream of watches.
pub struct Stream {
    responses: tonic::Streaming<pb::WatchResponse>,
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
}

impl Stream {
    pub async fn open(channel: Channel, first: RequestUnion) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let request = pb::WatchRequest { request_union: Some(first) };
        requests.send(request).expect("the receiver is alive: it is a few lines below");
        let receiver = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
        let mut client = WatchClient::new(channel).max_decoding_message_size(256 << 20);
        let responses = client.watch(receiver).await?.into_inner();
        Ok(Self { responses, requests })
    }

    /// Says something more. A stream that has broken tells so when it is read.
    pub fn say(&self, request: RequestUnion) {
        let _ = self.requests.send(pb::WatchRequest { request_union: Some(request) });
    }

    pub async fn next(&mut self) -> Result<pb::WatchResponse, Status> {
        self.responses.message().await?.ok_or_else(|| Status::unavailable("the stream has ended"))
    }
}

/// Whether a stream is read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    ReadOn,
    Close,
}

/// One client and the watch that it follows.
struct Watcher {
    recorder: Arc<Recorder>,
    session: Session,
    /// The watch, as its place in the history; `None` before the first stream of a watch has been created.
    watch: Option<usize>,
    /// Where to go on; `None` means the next write.
    next: Option<Revision>,
    /// Whether it asks for the version before.
    prev_kv: bool,
}

/// Watches until the load has ended and everything up to the goal has come. Says what it could not reach.
pub async fn work(recorder: Arc<Recorder>, session: Session) -> Result<(), String> {
    let mut watcher = Watcher { recorder, session, watch: None, next: None, prev_kv: true };
    let mut deadline = None;
    loop {
        if let Some(goal) = watcher.recorder.goal() {
            let deadline = *deadline.get_or_insert_with(|| Moment::now() + CATCH_UP_WITHIN);
            if watcher.has_reached(goal) {
                watcher.note(Step::Ended(goal));
                return Ok(());
            }
            if Moment::now() > deadline {
                watcher.note(Step::Ended(goal));
                return Err(format!("a watch that goes on at {:?} did not reach {goal}", watcher.next));
            }
        }
        let channel = watcher.session.channel();
        let create = watcher.create();
        let opening = Stream::open(channel, RequestUnion::CreateRequest(create));
        if let Ok(Ok(stream)) = tokio::time::timeout(OPEN_WITHIN, opening).await {
            watcher.follow(stream).await;
        }
        watcher.session.leave();
        watcher.session.sleep(5..50).await;
    }
}

impl Watcher {
    fn has_reached(&self, goal: Revision) -> bool {
        self.watch.is_none() || self.next.is_some_and(|next| next > goal)
    }

    fn create(&mut self) -> pb::WatchCreateRequest {
        pb::WatchCreateRequest {
            key: registers().start,
            range_end: vec![b'r', b'/' + 1].into(),
            start_revision: self.next.map_or(0, Revision::get),
            prev_kv: self.prev_kv,
            progress_notify: self.session.rng.bool(),
            ..pb::WatchCreateRequest::default()
        }
    }

    /// Reads a stream until it breaks or is closed. One stream in four is read slowly.
    async fn follow(&mut self, mut stream: Stream) {
        self.recorder.watch_streams.fetch_add(1, Ordering::Relaxed);
        let is_slow = self.session.rng.u32(0..4) == 0;
        loop {
            let pause = Duration::from_millis(self.session.rng.u64(STIR_MS));
            let then = match tokio::time::timeout(pause, stream.next()).await {
                Ok(Ok(response)) => self.take(response),
                Ok(Err(_)) => Then::Close,
                Err(_) => self.stir(&stream),
            };
            let is_done = self.recorder.goal().is_some_and(|goal| self.has_reached(goal));
            if then == Then::Close || is_done {
                return;
            }
            if is_slow && self.recorder.is_loaded() {
                self.session.sleep(20..200).await;
            }
        }
    }

    fn take(&mut self, response: pb::WatchResponse) -> Then {
        let revision = wire::revision(response.header.as_ref());
        if response.canceled {
            if response.compact_revision > 0 {
                let oldest = Revision(response.compact_revision);
                self.next = Some(oldest);
                self.note(Step::Compacted(oldest));
            } else {
                self.note(Step::Refused(CancelReason::Gone(response.cancel_reason)));
            }
            return Then::Close;
        }
        if response.created {
            self.created(revision);
        } else if response.events.is_empty() {
            self.next = self.next.max(Some(revision.next()));
            self.note(Step::Progress(revision));
        } else {
            self.recorder.watch_events.fetch_add(response.events.len() as u64, Ordering::Relaxed);
            let events: Vec<_> = response.events.into_iter().map(wire::event).collect();
            self.next = events.last().map(|event| event.kv.mod_revision.next());
            self.note(Step::Events { revision, events, more: response.fragment });
        }
        // Now and then a client goes away although nothing is wrong.
        if self.recorder.is_loaded() && self.session.rng.u32(0..200) == 0 { Then::Close } else { Then::ReadOn }
    }

    fn created(&mut self, revision: Revision) {
        let from = *self.next.get_or_insert(revision.next());
        if self.watch.is_some() {
            return self.note(Step::Resumed(from));
        }
        let mut history = self.recorder.history();
        self.watch = Some(history.watches.len());
        let filter = WatchFilter::default();
        history.watches.push(WatchRecord {
            keys: registers(),
            filter,
            prev_kv: self.prev_kv,
            fragment: false,
            from,
            steps: Vec::new(),
        });
    }

    /// Nothing came for a while: ask how far the stream is, go elsewhere, or watch something else.
    fn stir(&mut self, stream: &Stream) -> Then {
        let progress = || RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        if !self.recorder.is_loaded() {
            stream.say(progress());
            return Then::ReadOn;
        }
        match self.session.rng.u32(0..100) {
            0..30 => stream.say(progress()),
            30..50 => return Then::Close,
            50..60 => {
                self.watch = None;
                self.prev_kv = self.session.rng.bool();
                let latest = self.recorder.revision().get();
                let oldest = (latest - MOST_HISTORY).max(1);
                let is_past = latest > 1 && self.session.rng.bool();
                self.next = is_past.then(|| Revision(self.session.rng.i64(oldest..=latest)));
                return Then::Close;
            }
            _ => {}
        }
        Then::ReadOn
    }

    fn note(&self, step: Step) {
        if let Some(place) = self.watch {
            self.recorder.history().watches[place].steps.push(step);
        }
    }
}

fn registers() -> KeyRange {
    let end = Bytes::from_static(&[b'r', b'/' + 1]);
    KeyRange { start: Bytes::from_static(b"r/"), end: RangeEnd::Before(end) }
}
