//! A client with several watches on one stream.
//!
//! Each follows some keys: a prefix, a span of prefixes, one key, all. It starts at the present, at some revision of the
//! past, compacted or not, or in the future; with or without the version before, writes, removals, fragments and progress.
//! Now and then the client asks for progress, cancels a watch and begins it again where it stood or elsewhere, or closes the
//! stream and goes on with all watches at another node. Some of its streams are read slowly, so that the node has to fall
//! back to history.

use althing_api::kv::KeyRange;
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_types::{Duration, Instant, NodeId, Revision, WatchId};

use super::range::any_keys;
use super::register::{REGISTER_PREFIX, register_key};
use super::{Ask, Context, Drive, News, Shared, Ticket};
use crate::checker::watch::{Step, WatchRecord};
use crate::random::between;

/// Watches of one client at the most.
const MOST: i64 = 3;
/// How far into the future a watch may begin.
const FUTURE: i64 = 30;

/// How fast a stream is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Pace {
    /// Each event as it comes.
    #[default]
    Prompt,
    /// Only when the client wakes.
    Slow,
}

/// How a watch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Not on the present stream.
    Idle,
    /// It was asked for.
    Asked,
    /// The stream has carried it since then.
    Live(Instant),
    /// It was to be canceled; events may still come.
    Leaving,
}

/// One watch, across the streams that carry it.
#[derive(Debug)]
struct Followed {
    id: WatchId,
    stage: Stage,
    create: WatchCreate,
    /// Its place in the history, once it was created.
    place: Option<usize>,
    /// Where to go on: the revision after the last that was seen whole; `None` means the next write.
    next: Option<Revision>,
}

/// A client that watches.
#[derive(Debug, Default)]
pub struct WatchClient {
    ticket: Ticket,
    node: NodeId,
    pace: Pace,
    watches: Vec<Followed>,
    undrained_bytes: usize,
    drive: Drive,
}

impl Followed {
    fn draw(id: WatchId, cx: &mut Context<'_>) -> Self {
        let create = WatchCreate {
            id: Some(id),
            keys: some_keys(cx),
            start_revision: None,
            prev_kv: cx.rng.bool(),
            filter: WatchFilter { no_put: cx.rng.u32(0..8) == 0, no_delete: cx.rng.u32(0..8) == 0 },
            progress_notify: cx.rng.bool(),
            fragment: cx.rng.bool(),
        };
        Self { id, stage: Stage::Idle, create, place: None, next: random_start(cx) }
    }

    /// What to say so that it goes on.
    fn ask(&mut self) -> WatchCommand {
        self.stage = Stage::Asked;
        WatchCommand::Create(WatchCreate { start_revision: self.next, ..self.create.clone() })
    }

    fn started(&mut self, revision: Revision, cx: &mut Context<'_>) {
        self.stage = Stage::Live(cx.now);
        let from = *self.next.get_or_insert(revision.next());
        if self.place.is_some() {
            return self.note(Step::Resumed(from), cx.shared);
        }
        self.place = Some(cx.shared.history.watches.len());
        cx.shared.history.watches.push(WatchRecord {
            keys: self.create.keys.clone(),
            filter: self.create.filter,
            prev_kv: self.create.prev_kv,
            fragment: self.create.fragment,
            from,
            steps: Vec::new(),
        });
    }

    fn note(&self, step: Step, shared: &mut Shared) {
        if let Some(place) = self.place {
            shared.history.watches[place].steps.push(step);
        }
    }

    fn is_on_stream(&self) -> bool {
        match self.stage {
            Stage::Live(_) | Stage::Leaving => true,
            Stage::Idle | Stage::Asked => false,
        }
    }
}

impl WatchClient {
    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
    }

    /// The run is over, and all that was written at `revision` or before had been written by `quiet`. A watch that has
    /// been on one stream since then must have seen it.
    pub(crate) fn conclude(&self, quiet: Instant, revision: Revision, shared: &mut Shared) {
        for watch in &self.watches {
            if let Stage::Live(since) = watch.stage
                && since < quiet
            {
                watch.note(Step::Ended(revision), shared);
            }
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
        if self.watches.is_empty() {
            let count = cx.rng.i64(1..=MOST);
            self.watches = (1..=count).map(|id| Followed::draw(WatchId(id), cx)).collect();
        }
        if self.node == NodeId::NONE {
            self.open(cx);
        } else {
            self.stir(cx);
        }
        let pause = between(Duration::from_millis(20), Duration::from_millis(800), cx.rng);
        cx.asks.push(Ask::Wake(pause));
    }

    /// With a stream open: read what is left, ask for progress, change the node, cancel, or watch something else.
    fn stir(&mut self, cx: &mut Context<'_>) {
        self.drain(cx);
        self.ask_for_idle(cx);
        if self.drive == Drive::Finishing {
            return;
        }
        match cx.rng.u32(0..100) {
            0..15 => self.say(WatchCommand::Progress, cx),
            15..22 => self.close(cx),
            22..32 => self.cancel_one(cx),
            32..35 => {
                self.close(cx);
                self.watches.clear();
            }
            _ => {}
        }
    }

    fn open(&mut self, cx: &mut Context<'_>) {
        self.node = cx.any_node();
        self.pace = if cx.rng.u32(0..4) == 0 { Pace::Slow } else { Pace::Prompt };
        self.ticket = self.ticket.next();
        self.undrained_bytes = 0;
        let Some(watch) = self.watches.first_mut() else { return };
        let first = watch.ask();
        cx.asks.push(Ask::Open { ticket: self.ticket, node: self.node, first });
        self.ask_for_idle(cx);
    }

    fn ask_for_idle(&mut self, cx: &mut Context<'_>) {
        let commands: Vec<_> =
            self.watches.iter_mut().filter(|watch| watch.stage == Stage::Idle).map(Followed::ask).collect();
        for command in commands {
            self.say(command, cx);
        }
    }

    fn cancel_one(&mut self, cx: &mut Context<'_>) {
        let chosen = cx.rng.usize(..self.watches.len().max(1));
        let Some(watch) = self.watches.get_mut(chosen) else { return };
        if let Stage::Live(_) = watch.stage {
            watch.stage = Stage::Leaving;
            let command = WatchCommand::Cancel(watch.id);
            self.say(command, cx);
        }
    }

    fn say(&self, command: WatchCommand, cx: &mut Context<'_>) {
        cx.asks.push(Ask::Say { ticket: self.ticket, node: self.node, command });
    }

    fn close(&mut self, cx: &mut Context<'_>) {
        cx.asks.push(Ask::Close { ticket: self.ticket, node: self.node });
        self.broken();
    }

    fn broken(&mut self) {
        self.node = NodeId::NONE;
        self.ticket = self.ticket.next();
        for watch in &mut self.watches {
            watch.stage = Stage::Idle;
        }
    }

    fn streamed(&mut self, event: WatchEvent, cx: &mut Context<'_>) {
        self.undrained_bytes += althing_node::effects::event_bytes(&event);
        match event {
            WatchEvent::Created { id, revision } => {
                if let Some(watch) = self.watch(id) {
                    watch.started(revision, cx);
                }
            }
            WatchEvent::Events { id, revision, events, fragment: more } => {
                let Some(watch) = self.watch(id) else { return };
                if let Some(last) = events.last().map(|event| event.kv.mod_revision) {
                    watch.next = Some(if more { last } else { last.next() });
                }
                watch.note(Step::Events { revision, events, more }, cx.shared);
            }
            WatchEvent::Progress { id, revision } => self.progress(id, revision, cx),
            WatchEvent::Canceled { id, reason, .. } => self.canceled(id, reason, cx),
        }
        if self.pace == Pace::Prompt || self.drive == Drive::Finishing {
            self.drain(cx);
        }
    }

    fn watch(&mut self, id: WatchId) -> Option<&mut Followed> {
        self.watches.iter_mut().find(|watch| watch.id == id)
    }

    /// Progress of one watch, or of all on the stream.
    fn progress(&mut self, id: Option<WatchId>, revision: Revision, cx: &mut Context<'_>) {
        for watch in &mut self.watches {
            if watch.is_on_stream() && id.is_none_or(|id| id == watch.id) {
                watch.next = watch.next.max(Some(revision.next()));
                watch.note(Step::Progress(revision), cx.shared);
            }
        }
    }

    fn canceled(&mut self, id: WatchId, reason: CancelReason, cx: &mut Context<'_>) {
        let leaves = cx.rng.bool();
        let Some(watch) = self.watch(id) else { return self.close(cx) };
        match reason {
            CancelReason::Compacted(oldest) => {
                watch.note(Step::Compacted(oldest), cx.shared);
                (watch.next, watch.stage) = (Some(oldest), Stage::Idle);
            }
            CancelReason::Asked if leaves => *watch = Followed::draw(id, cx),
            CancelReason::Asked => watch.stage = Stage::Idle,
            CancelReason::NoLeader | CancelReason::Gone(_) => self.close(cx),
            CancelReason::DuplicateId
            | CancelReason::InvalidRange
            | CancelReason::TooMany
            | CancelReason::Refused(_) => {
                watch.note(Step::Refused(reason), cx.shared);
                self.close(cx);
            }
        }
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        let bytes = std::mem::take(&mut self.undrained_bytes);
        if bytes > 0 && self.node != NodeId::NONE {
            cx.asks.push(Ask::Drained { ticket: self.ticket, node: self.node, bytes });
        }
    }
}

fn some_keys(cx: &mut Context<'_>) -> KeyRange {
    match cx.rng.u32(0..10) {
        0..4 => KeyRange::under(REGISTER_PREFIX),
        4..6 => KeyRange::single(register_key(cx.rng.u64(..cx.options.registers))),
        _ => any_keys(cx),
    }
}

/// Half of the watches begin with the next write, most others at a revision that was written already, some in the future.
fn random_start(cx: &mut Context<'_>) -> Option<Revision> {
    let latest = cx.shared.revision.get();
    match cx.rng.u32(0..10) {
        0..5 => None,
        5..9 if latest > 1 => Some(Revision(cx.rng.i64(1..=latest))),
        _ => Some(Revision(latest + cx.rng.i64(1..=FUTURE))),
    }
}
