//! All watches of one group on one node: what each input does.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::ErrorKind;
use althing_api::keys::Keys;
use althing_api::kv::{KeyRange, RangeEnd};
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent};
use althing_probe::{Mark, Mutant};
use althing_types::{Duration, Instant, Revision, StreamId, WatchId};

use super::index::Index;
use super::protocol::{Change, Effects, History, HubConfig, Input, LeaderNeed, weight};
use super::recent::Recent;
use super::slots::{Slot, Slots};
use super::stream::{Flow, Phase, Stream, Turn, Watch};
use crate::bounds::Bounds;

/// The id of an answer that belongs to no watch, or to all.
const NO_WATCH: WatchId = WatchId(-1);
/// How long after a failed read of history the next one is tried.
const READ_RETRY: Duration = Duration::from_millis(100);

/// Whether there is a leader, as far as the hub was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leadership {
    Known,
    Missing,
}

/// The one read of history that may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    Idle,
    From(Revision),
    Failed { retry_at: Instant },
}

/// All watches of one group on one node. See the [module](super) for what it promises.
pub struct Hub {
    pub(super) config: HubConfig,
    /// The table's revision: every change up to it has been seen.
    pub(super) revision: Revision,
    compacted: Revision,
    leadership: Leadership,
    /// Which keys the shard holds; `None` is all of them.
    bounds: Option<Bounds>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) watches: Slots<Watch>,
    pub(super) index: Index,
    pub(super) recent: Recent,
    /// Streams with room and with watches that are behind.
    pub(super) waiting: BTreeSet<(Turn, StreamId)>,
    pub(super) last_turn: Turn,
    pub(super) reading: Reading,
    /// Watches that want progress, by when to look whether they are idle.
    timers: BTreeSet<(Instant, Slot)>,
    /// Streams that asked for progress and have not been told yet.
    asked: BTreeSet<StreamId>,
}

impl Hub {
    /// A hub without streams on a table that stands at `revision` and whose history begins at `compacted`.
    #[must_use]
    pub fn new(config: HubConfig, revision: Revision, compacted: Revision) -> Self {
        Self {
            recent: Recent::new(revision.next(), config.recent_bytes),
            config,
            revision,
            compacted,
            leadership: Leadership::Known,
            bounds: None,
            streams: BTreeMap::new(),
            watches: Slots::new(),
            index: Index::default(),
            waiting: BTreeSet::new(),
            last_turn: 0,
            reading: Reading::Idle,
            timers: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }

    /// Takes one input in. `now` never goes back.
    ///
    /// # Panics
    /// If the host breaks the order of changes: changes that are out of order, or an answer that read nothing or more than was
    /// asked for.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Effects) {
        match input {
            Input::Open { stream, leader } => self.open(stream, leader, out),
            Input::Command { stream, command } => self.command(now, stream, command, out),
            Input::Close(stream) => self.close(stream),
            Input::Changes(changes) => self.changes(now, changes, out),
            Input::History { from, result } => self.history(now, from, result, out),
            Input::Drained { stream, bytes } => self.drained(now, stream, bytes, out),
            Input::Tick => self.tick(now, out),
            Input::NoLeader => self.no_leader(out),
            Input::Leader => self.leadership = Leadership::Known,
            Input::Compacted(revision) => self.compact(revision, out),
            Input::Installed { revision, compacted } => self.installed(revision, compacted, out),
            Input::Bounds(bounds) => self.bound(bounds, out),
            Input::Gone(reason) => self.gone(&reason, out),
        }
        self.read_on(out);
        self.answer_progress(out);
    }

    /// When `Tick` is next needed, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let idle = self.timers.first().map(|(due, _)| *due);
        let retry = match self.reading {
            Reading::Failed { retry_at } => Some(retry_at),
            Reading::Idle | Reading::From(_) => None,
        };
        idle.into_iter().chain(retry).min()
    }

    /// The table's revision as far as the hub was told.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// How many watches there are.
    #[must_use]
    pub fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// How many streams there are.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Weight of events that the fullest stream was given and has not taken.
    #[must_use]
    pub fn most_buffered_bytes(&self) -> usize {
        self.streams.values().map(|stream| stream.buffered_bytes).max().unwrap_or(0)
    }

    /// How many watches have not been given all there is.
    #[must_use]
    pub fn behind_count(&self) -> usize {
        self.streams.values().map(|stream| stream.behind.len()).sum()
    }

    fn open(&mut self, id: StreamId, leader: LeaderNeed, out: &mut Effects) {
        let before = self.streams.insert(id, Stream::new(leader));
        assert!(before.is_none(), "stream {id} is open already");
        if leader == LeaderNeed::Required && self.leadership == Leadership::Missing {
            self.deliver_canceled(id, NO_WATCH, CancelReason::NoLeader, out);
        }
    }

    fn close(&mut self, id: StreamId) {
        self.remove_watches(id);
        self.streams.remove(&id);
        self.asked.remove(&id);
    }

    fn command(&mut self, now: Instant, id: StreamId, command: WatchCommand, out: &mut Effects) {
        let limit = self.config.buffer_bytes;
        match self.streams.get(&id).map(|stream| stream.flow) {
            None | Some(Flow::Ended) => return,
            Some(Flow::Full { answers_bytes }) if answers_bytes >= limit => {
                return self.end(id, "the client asks and asks and does not read its answers", out);
            }
            Some(Flow::Open | Flow::Full { .. }) => {}
        }
        match command {
            WatchCommand::Create(create) => self.create(now, id, create, out),
            WatchCommand::Cancel(watch) => {
                if let Some(slot) = self.streams.get(&id).and_then(|stream| stream.watches.get(&watch)) {
                    self.cancel(*slot, CancelReason::Asked, out);
                }
            }
            WatchCommand::Progress => {
                self.asked.insert(id);
            }
        }
    }

    fn create(&mut self, now: Instant, stream: StreamId, create: WatchCreate, out: &mut Effects) {
        match self.admit(stream, &create) {
            Ok(id) => self.add(now, stream, id, create, out),
            Err(reason) => self.deliver_canceled(stream, NO_WATCH, reason, out),
        }
    }

    fn admit(&mut self, stream: StreamId, create: &WatchCreate) -> Result<WatchId, CancelReason> {
        let stream = self.streams.get_mut(&stream).expect("commands of unknown streams are ignored");
        if stream.leader == LeaderNeed::Required && self.leadership == Leadership::Missing {
            Err(CancelReason::NoLeader)
        } else if stream.watches.len() >= self.config.max_watches {
            Err(CancelReason::TooMany)
        } else if create.start_revision.is_some_and(|first| first.0 < 0) {
            Err(CancelReason::Compacted(self.compacted))
        } else if is_empty(&create.keys) {
            Err(CancelReason::InvalidRange)
        } else if let Some(Err(moved)) = self.bounds.as_ref().map(|bounds| bounds.admit(&Keys::of(&create.keys))) {
            Err(CancelReason::Refused(moved))
        } else {
            stream.choose_id(create.id)
        }
    }

    fn add(&mut self, now: Instant, stream: StreamId, id: WatchId, create: WatchCreate, out: &mut Effects) {
        let first = create.start_revision.map_or(self.revision.next(), |first| first.max(Revision::FIRST));
        let timer = create.progress_notify.then(|| now + self.config.progress_interval);
        let keys = create.keys.clone();
        let watch = Watch { stream, id, create, first, phase: Phase::Live, last_sent: now, timer };
        let slot = self.watches.insert(watch);
        self.index.insert(&keys, slot);
        self.timers.extend(timer.map(|due| (due, slot)));
        let known = self.streams.get_mut(&stream).expect("admitted to it");
        known.watches.insert(id, slot);
        if first > self.revision.next() {
            known.future.insert((first, slot));
        }
        self.deliver(stream, WatchEvent::Created { id, revision: self.revision }, out);
        if first <= self.revision {
            if first < self.compacted {
                self.cancel(slot, CancelReason::Compacted(self.compacted), out);
            } else {
                self.fall_behind(slot, first);
                self.catch_up_from_memory(now, vec![slot], out);
            }
        }
    }

    fn changes(&mut self, now: Instant, changes: &[Change], out: &mut Effects) {
        let known = changes.partition_point(|change| change.revision <= self.revision);
        let changes = &changes[known..];
        for change in changes {
            assert!(change.revision > self.revision, "{} was applied after {}", change.revision, self.revision);
            self.revision = change.revision;
        }
        if self.watches.len() == 0 {
            self.recent.restart(self.revision.next());
            return;
        }
        self.give_live(now, changes, out);
        self.recent.push(changes);
    }

    fn history(&mut self, now: Instant, from: Revision, result: Result<History, ErrorKind>, out: &mut Effects) {
        if self.reading != Reading::From(from) {
            return;
        }
        self.reading = Reading::Idle;
        match result {
            Ok(history) => {
                assert!(history.next > from, "a read of history from {from} got nowhere");
                assert!(history.next <= self.revision.next(), "a read of history from {from} ran into the future");
                althing_probe::hit(Mark::HistoryRead);
                let cohort = self.cohort(from, history.next);
                self.catch_up(now, &history.changes, history.next, &cohort, out);
                self.catch_up_from_memory(now, cohort, out);
            }
            Err(ErrorKind::Compacted { oldest, .. }) if oldest > from => self.compact(oldest, out),
            Err(_) => self.reading = Reading::Failed { retry_at: now + READ_RETRY },
        }
    }

    fn drained(&mut self, now: Instant, id: StreamId, bytes: usize, out: &mut Effects) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.drain(bytes, self.config.buffer_bytes) {
            let behind: Vec<Slot> = stream.behind.iter().map(|(_, slot)| *slot).collect();
            self.queue(id);
            self.catch_up_from_memory(now, behind, out);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Effects) {
        if let Reading::Failed { retry_at } = self.reading
            && retry_at <= now
        {
            self.reading = Reading::Idle;
        }
        while let Some((due, slot)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.remove(&(due, slot));
            self.look_whether_idle(now, slot, out);
        }
    }

    fn look_whether_idle(&mut self, now: Instant, slot: Slot, out: &mut Effects) {
        let interval = self.config.progress_interval;
        let watch = self.watches.get_mut(slot).expect("the timer goes with its watch");
        let began = watch.first <= self.revision.next();
        let (stream, id) = (watch.stream, watch.id);
        let idle_until = watch.last_sent + interval;
        let due = if idle_until > now { idle_until } else { now + interval };
        watch.timer = Some(due);
        self.timers.insert((due, slot));
        let synced = watch.phase == Phase::Live && began;
        if idle_until <= now && synced && self.has_room(stream) {
            self.deliver(stream, WatchEvent::Progress { id: Some(id), revision: self.revision }, out);
        }
    }

    /// A stream that needs a leader is told once: through its watches, or, as it may have none yet, for itself.
    fn no_leader(&mut self, out: &mut Effects) {
        if self.leadership == Leadership::Missing {
            return;
        }
        self.leadership = Leadership::Missing;
        let needy = |stream: &&Stream| stream.leader == LeaderNeed::Required && stream.flow != Flow::Ended;
        let ended: Vec<Slot> =
            self.streams.values().filter(needy).flat_map(|stream| stream.watches.values().copied()).collect();
        let without: Vec<StreamId> = self
            .streams
            .iter()
            .filter(|(_, stream)| needy(stream) && stream.watches.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for slot in ended {
            self.cancel(slot, CancelReason::NoLeader, out);
        }
        for stream in without {
            self.deliver_canceled(stream, NO_WATCH, CancelReason::NoLeader, out);
        }
    }

    fn compact(&mut self, revision: Revision, out: &mut Effects) {
        self.compacted = self.compacted.max(revision);
        let lost: Vec<Slot> = self
            .streams
            .values()
            .flat_map(|stream| stream.behind.iter().map(|(_, slot)| *slot))
            .filter(|slot| self.next_of(*slot).is_some_and(|next| next < self.compacted))
            .collect();
        for slot in lost {
            althing_probe::hit(Mark::WatchCompacted);
            if althing_probe::is(Mutant::CompactPastWatch) {
                self.caught_up_to(slot, self.compacted);
            } else {
                self.cancel(slot, CancelReason::Compacted(self.compacted), out);
            }
        }
    }

    fn installed(&mut self, revision: Revision, compacted: Revision, out: &mut Effects) {
        assert!(revision >= self.revision, "a snapshot of {revision} was installed over {}", self.revision);
        let unseen = self.revision.next();
        self.revision = revision;
        self.recent.restart(revision.next());
        // The answer of a read under way would come from the old data; it is not waited for.
        self.reading = Reading::Idle;
        let missed: Vec<(Slot, Revision)> = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.phase == Phase::Live && watch.first <= revision)
            .map(|(slot, watch)| (slot, watch.first.max(unseen)))
            .filter(|(_, next)| *next <= revision)
            .collect();
        for (slot, next) in missed {
            althing_probe::hit(Mark::WatchOverSnapshot);
            if althing_probe::is(Mutant::SilentSnapshot) {
                continue;
            }
            self.fall_behind(slot, next);
        }
        self.compact(compacted, out);
    }

    /// Watches of keys that the shard does not hold any more go on where those keys are.
    fn bound(&mut self, bounds: Bounds, out: &mut Effects) {
        let held = |watch: &Watch| bounds.admit(&Keys::of(&watch.create.keys)).is_ok();
        let moved: Vec<Slot> = self.watches.iter().filter(|(_, watch)| !held(watch)).map(|(slot, _)| slot).collect();
        self.bounds = Some(bounds);
        for slot in moved {
            self.cancel(slot, CancelReason::Refused(ErrorKind::WrongShard), out);
        }
    }

    fn gone(&mut self, reason: &str, out: &mut Effects) {
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream in streams {
            self.end(stream, reason, out);
        }
    }

    /// Ends a stream: its watches, and then the stream itself, with a last word that belongs to no watch.
    fn end(&mut self, id: StreamId, reason: &str, out: &mut Effects) {
        let watches: Vec<WatchId> = self.remove_watches(id);
        for watch in watches.into_iter().chain([NO_WATCH]) {
            self.deliver_canceled(id, watch, CancelReason::Gone(reason.to_owned()), out);
        }
        self.asked.remove(&id);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.flow = Flow::Ended;
        }
    }

    fn cancel(&mut self, slot: Slot, reason: CancelReason, out: &mut Effects) {
        if let Some(watch) = self.remove_watch(slot) {
            self.deliver_canceled(watch.stream, watch.id, reason, out);
        }
    }

    fn remove_watches(&mut self, stream: StreamId) -> Vec<WatchId> {
        let slots: Vec<Slot> =
            self.streams.get(&stream).map_or_else(Vec::new, |stream| stream.watches.values().copied().collect());
        slots.into_iter().filter_map(|slot| self.remove_watch(slot)).map(|watch| watch.id).collect()
    }

    fn remove_watch(&mut self, slot: Slot) -> Option<Watch> {
        let watch = self.watches.get(slot)?;
        if let Phase::Behind { .. } = watch.phase {
            self.catch_up_done(slot);
        }
        let watch = self.watches.remove(slot)?;
        self.index.remove(&watch.create.keys, slot);
        if let Some(due) = watch.timer {
            self.timers.remove(&(due, slot));
        }
        if let Some(stream) = self.streams.get_mut(&watch.stream) {
            stream.watches.remove(&watch.id);
            stream.future.remove(&(watch.first, slot));
        }
        Some(watch)
    }

    fn deliver_canceled(&mut self, stream: StreamId, id: WatchId, reason: CancelReason, out: &mut Effects) {
        self.deliver(stream, WatchEvent::Canceled { id, revision: self.revision, reason }, out);
    }

    pub(super) fn deliver(&mut self, id: StreamId, event: WatchEvent, out: &mut Effects) {
        let stream = self.streams.get_mut(&id).expect("events go to open streams");
        if stream.fill(weight(&event), self.config.buffer_bytes) {
            self.waiting.remove(&(stream.turn, id));
        }
        out.deliver.push((id, event));
    }

    pub(super) fn has_room(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(|stream| stream.flow == Flow::Open)
    }

    /// Tells the streams that asked, and whose watches all have everything, how far that is.
    fn answer_progress(&mut self, out: &mut Effects) {
        let ready: Vec<StreamId> = self
            .asked
            .iter()
            .filter(|id| {
                self.streams.get(id).is_some_and(|stream| {
                    let synced = stream.is_synced(self.revision) || althing_probe::is(Mutant::ProgressWhileBehind);
                    stream.flow == Flow::Open && synced
                })
            })
            .copied()
            .collect();
        for id in ready {
            self.asked.remove(&id);
            self.deliver(id, WatchEvent::Progress { id: None, revision: self.revision }, out);
        }
    }
}

/// Whether no key can lie within.
fn is_empty(keys: &KeyRange) -> bool {
    match &keys.end {
        RangeEnd::Single => keys.start.is_empty(),
        RangeEnd::Before(end) => *end <= keys.start,
        RangeEnd::Unbounded => false,
    }
}
