//! The state machine of one replica.
//!
//! It is driven by one thread, which owns it, in batches: [`Shard::work`] runs jobs in their order and answers. What a job has changed
//! the next one sees. Every delta that was taken, its own or another's, has a number, and the host logs it under that; after a
//! crash the engine stands at some number, and [`Shard::replay`] takes the deltas after it again.
//!
//! The log has every delta, so the engine need not have it at once: changed keys stay in memory until there are many, or somebody
//! walks through the engine, or the host makes a checkpoint ([`Shard::write`]), and then all of them are written as one batch. A
//! key that is written a thousand times a second so costs the engine a few writes, and a set of a megabyte is not encoded anew
//! for each member.
//!
//! A dot is never issued twice. The next one follows the actor's last that is known, what is known is written with every batch and
//! follows from the log, and what may leave the node before it is durable there is written under a name of this run
//! ([`crate::names`]). A replica whose store is lost comes back under a new actor; one that does not is told by its own events
//! coming back ([`JoinError::UnknownOwnEvent`]).
//!
//! [`JoinError::UnknownOwnEvent`]: crate::JoinError::UnknownOwnEvent

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use althing_clock::{Actor, Coded, DotContext, Hlc};
use althing_crdt::{Bottoms, Join};
use althing_datatypes::Edit;
use althing_probe::Mutant;
use althing_storage::engine::{Applied, Batch, Engine};
use althing_types::{Duration, SpaceId};
use bytes::Bytes;

use crate::cache::{Cache, Place, Slot, Stored, Written};
use crate::delta::{KeyDelta, Message, has_event_of};
use crate::error::ConvergentError;
use crate::hashes::{Hashes, TreeSecret};
use crate::job::{Job, Leaves, Outcome};
use crate::keyed::Keyed;
use crate::keyed::edit::{Edited, Editor, next_dot};
use crate::layout::{self, Head, Label};
use crate::names;
use crate::rounds::Born;
use crate::survey::Survey;
use rounds::Rounds;

mod jobs;
mod pages;
mod propose;
mod rounds;
mod survey;

/// How a shard is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardConfig {
    /// Bytes of decoded keys that are kept in memory, about.
    pub cache_bytes: usize,
    /// Bytes of deltas that may be taken before what they have changed is written to the engine, and bytes by which the decoded keys
    /// may pass their limit until then. Before a key is written its size is estimated, too high by at most this.
    pub unwritten_bytes: usize,
    /// By how much the clocks of two nodes may differ.
    pub max_clock_skew: Duration,
    /// How the replica came to the shard.
    pub born: Born,
    /// Of the hash tree; the same on all replicas of the shard, for good: keys lie by it.
    pub tree_secret: TreeSecret,
}

impl Default for ShardConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 16 * 1024 * 1024,
            unwritten_bytes: 512 * 1024,
            max_clock_skew: Duration::from_millis(500),
            born: Born::default(),
            tree_secret: TreeSecret::default(),
        }
    }
}

/// Changed keys that are held before they are written: some milliseconds of the engine's time.
const MAX_UNWRITTEN_KEYS: usize = 512;
/// How much a shard holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size {
    /// Keys that are there, including those that have expired and are not removed yet.
    pub keys: u64,
    /// Bytes of all keys and their states. What is not written to the engine yet counts with the bytes of its deltas.
    pub bytes: u64,
}

impl ShardConfig {
    /// By how much the clocks of two nodes may differ, in milliseconds.
    fn skew_ms(&self) -> i64 {
        i64::try_from(self.max_clock_skew.as_millis()).unwrap_or(i64::MAX)
    }
}

/// What becomes of a key's mark ([`crate::layout`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    Set,
    Clear,
}

/// One replica of a shard.
///
/// Opened with [`Shard::open`], brought up to the log's end with [`Shard::replay`], then asked with [`Shard::work`]. After an error
/// it is not to be used any more.
pub struct Shard {
    engine: Arc<dyn Engine>,
    space: SpaceId,
    /// Its names ([`names`]); it has a passing one once it is told in which run of its node it is.
    lasting: Actor,
    passing: Option<Actor>,
    config: ShardConfig,
    index: u64,
    head: Head,
    clock: Hlc,
    cache: Cache,
    /// Keys that have changed and are not written.
    dirty: Vec<Place>,
    marks: BTreeMap<Bytes, Mark>,
    rounds: Rounds,
    hashes: Hashes,
    /// The comparison with another replica that is under way.
    survey: Option<Survey>,
    /// When [`Job::Tend`] has something to do, at the earliest.
    due_ms: Option<i64>,
    committed: u64,
    /// Bytes of the deltas since then.
    unwritten: usize,
}

impl Shard {
    /// Opens the replica that the space holds; a space that does not exist is an empty one. `lasting` is its [name](names), which was never
    /// used by another store than this one.
    ///
    /// # Errors
    /// [`ConvergentError`]
    pub fn open(
        engine: Arc<dyn Engine>,
        space: SpaceId,
        lasting: Actor,
        config: ShardConfig,
    ) -> Result<Self, ConvergentError> {
        let index = engine.applied().get(&space).map_or(0, |applied| applied.index);
        let head = match engine.get(space, layout::HEAD)? {
            Some(bytes) => Head::decode(bytes)?,
            None if index == 0 => Head::default(),
            None => return Err(ConvergentError::Headless { index }),
        };
        let clock = Hlc::new(config.max_clock_skew, head.time);
        let cache = Cache::new(config.cache_bytes);
        let (of_rounds, open) = (engine.get(space, layout::ROUNDS)?, open_rounds(&*engine, space)?);
        let rounds = Rounds::open(names::of_rounds(lasting), config.born, of_rounds, open)?;
        let hashes = Hashes::new(config.tree_secret, head.size.keys);
        let mut shard = Self {
            engine,
            space,
            lasting,
            passing: None,
            config,
            index,
            head,
            clock,
            cache,
            dirty: Vec::new(),
            marks: BTreeMap::new(),
            rounds,
            hashes,
            survey: None,
            due_ms: None,
            committed: index,
            unwritten: 0,
        };
        shard.look_for_due()?;
        Ok(shard)
    }

    /// How many deltas were taken: the number of the last one.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// It is in this run of its node: from now on its writes may leave before they are durable. `run` was never told to this store
    /// before, and nothing was written since it was opened.
    pub fn begin_run(&mut self, run: u64) {
        self.passing = Some(names::passing(self.lasting, run));
    }

    /// The names under which it writes what no round decides.
    fn own_names(&self) -> impl Iterator<Item = Actor> + use<> {
        std::iter::once(self.lasting).chain(self.passing)
    }

    /// How much it holds.
    #[must_use]
    pub const fn size(&self) -> Size {
        let Size { keys, bytes } = self.head.size;
        Size { keys, bytes: bytes + self.unwritten as u64 }
    }

    /// When [`Job::Tend`] has something to do, at the earliest, in milliseconds since 1970 by the node's wall clock; never, as
    /// things stand, if it says nothing. Before that the job does nothing.
    #[must_use]
    pub const fn due_ms(&self) -> Option<i64> {
        self.due_ms
    }

    /// Bytes that what is known takes: how much each batch and each answer carries of it.
    #[must_use]
    pub fn context_bytes(&self) -> usize {
        self.head.known.encode().len() + self.head.taken.encode().len()
    }

    /// How many gaps there are in what it knows: stretches of events that have not come, or were lost.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.head.known.gaps()
    }

    /// Takes a delta of the log again, under its index. One at or below [`Shard::index`] is skipped.
    ///
    /// # Errors
    /// [`ConvergentError`]
    pub fn replay(&mut self, index: u64, delta: Bytes) -> Result<(), ConvergentError> {
        if index <= self.index {
            return Ok(());
        }
        if index != self.index + 1 {
            return Err(ConvergentError::OutOfOrder { expected: self.index + 1, found: index });
        }
        let bytes = delta.len();
        let message = Message::decode(own(&delta)).map_err(|source| ConvergentError::Entry { index, source })?;
        if let Message::Key(message) = &message
            && let Some(time) = message.time
            && self.is_own(&message.delta.writes)
        {
            self.clock = Hlc::new(self.config.max_clock_skew, self.clock.last().max(time));
        }
        let issued_for = match &message {
            Message::Issued(issued) => Some(issued.key.clone()),
            Message::Key(_) | Message::Attestation(_) | Message::Rounds(_) => None,
        };
        self.take(message, bytes)?;
        issued_for.iter().for_each(|key| self.inherit(key));
        self.settle()
    }

    /// Runs jobs in their order, and appends the answers to `out` in the same order.
    ///
    /// # Errors
    /// [`ConvergentError`]; nothing is answered then.
    pub fn work(&mut self, jobs: Vec<Job>, out: &mut Vec<Outcome>) -> Result<(), ConvergentError> {
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            self.run(job, &mut answers)?;
        }
        self.settle()?;
        out.append(&mut answers);
        Ok(())
    }

    /// Writes what has changed to the engine, so that a checkpoint has all up to [`Shard::index`].
    ///
    /// # Errors
    /// [`ConvergentError`]
    pub fn write(&mut self) -> Result<(), ConvergentError> {
        self.commit()?;
        self.cache.shrink();
        Ok(())
    }

    /// Ends a batch: what has changed is written if it is much, and keys that are too many go.
    fn settle(&mut self) -> Result<(), ConvergentError> {
        let limit = self.config.unwritten_bytes;
        let keys = self.dirty.len() + self.rounds.unwritten();
        let is_much = keys >= MAX_UNWRITTEN_KEYS || self.unwritten > limit;
        if is_much || self.cache.excess() > limit {
            self.commit()?;
        }
        // Only what is written can go.
        if self.dirty.is_empty() {
            self.cache.shrink();
        }
        Ok(())
    }

    /// The hash of a key's state: equal on two replicas exactly if their states are, as hashes go.
    ///
    /// # Errors
    /// [`ConvergentError`]
    pub fn digest(&mut self, key: &Bytes) -> Result<u128, ConvergentError> {
        let place = self.place(key)?;
        let digest = self.cache.slot(place).state.digest();
        self.settle()?;
        Ok(digest)
    }

    /// Whether these are writes of this replica, in this run of its node or before.
    fn is_own(&self, writes: &DotContext) -> bool {
        has_event_of(writes, |actor| actor == self.rounds.actor || names::is_of(self.lasting, actor))
    }

    /// Where the key is, decoded, until the cache is shrunk.
    fn place(&mut self, key: &Bytes) -> Result<Place, ConvergentError> {
        if let Some(place) = self.cache.find(key) {
            return Ok(place);
        }
        let slot = match self.engine.get(self.space, &layout::key(key))? {
            None => Slot::new(own(key), Keyed::default(), None),
            Some(record) => {
                let bytes = record.len();
                let (label, state) = layout::decode_key(own(&record))?;
                let entry = self.hashes.entry(key, &record);
                Slot::new(own(key), state, Some(Stored { bytes, label, entry }))
            }
        };
        Ok(self.cache.insert(slot))
    }

    /// Edits a key under one of the own names, and numbers the delta, if anything was to be changed.
    fn edit(
        &mut self,
        place: Place,
        now_ms: i64,
        actor: Actor,
        seen: Option<&DotContext>,
        edit: impl FnOnce(&mut Editor<'_>),
    ) -> Option<(Bytes, Leaves)> {
        let next = next_dot(actor, self.head.known.last(actor));
        let slot = self.cache.slot(place);
        let mut editor = Editor::new(&mut slot.state, &mut self.clock, now_ms, (next, self.lasting), seen);
        edit(&mut editor);
        let Edited { delta, time } = editor.finish()?;
        let message = KeyDelta { key: slot.key.clone(), time, delta };
        let bytes = message.encode();
        self.note(place, &message.delta.context, &message.delta.writes, bytes.len());
        Some((bytes, self.leaves(actor, &message.delta.context)))
    }

    /// What is under the passing name may leave at once, unless it drops what the lasting one has added: that one goes on with it if it
    /// forgets that it was dropped, and nobody else would count what it adds.
    fn leaves(&self, actor: Actor, context: &DotContext) -> Leaves {
        if actor == self.lasting || has_event_of(context, |one| one == self.lasting) {
            return Leaves::OnceDurable;
        }
        Leaves::AtOnce
    }

    /// Removes all that is held of a key, as far as it can be removed.
    fn delete(&mut self, key: &Bytes, now_ms: i64) -> Result<Option<Bytes>, ConvergentError> {
        let place = self.place(key)?;
        Ok(self.edit_unasked(place, now_ms, |editor| editor.edit(Edit::Delete)))
    }

    /// Edits a key in a way that no client waits for: the delta leaves once it is durable.
    fn edit_unasked(&mut self, place: Place, now_ms: i64, edit: impl FnOnce(&mut Editor<'_>)) -> Option<Bytes> {
        let edited = self.edit(place, now_ms, self.lasting, None, edit);
        edited.map(|(delta, _)| delta)
    }

    /// Takes a delta of so many bytes: of another replica, or of the log.
    fn take(&mut self, message: Message, bytes: usize) -> Result<(), ConvergentError> {
        let KeyDelta { key, mut delta, .. } = match message {
            Message::Key(message) => *message,
            Message::Attestation(attestation) => {
                self.head.known.join(&attestation.known);
                self.head.taken.join(&attestation.taken);
                self.index += 1;
                return Ok(());
            }
            Message::Rounds(records) => {
                self.take_records(records, bytes)?;
                return Ok(());
            }
            Message::Issued(issued) => {
                self.take_issued(issued, bytes);
                return Ok(());
            }
        };
        if let Some(survey) = &mut self.survey {
            survey.note(&key, &delta.store, &self.head.known);
        }
        let mine = match althing_probe::is(Mutant::ForgetContext) {
            true => DotContext::EMPTY,
            false => self.head.known.among(|visit| delta.store.dots(visit)),
        };
        if !self.is_own(&delta.writes) && delta.store.has_run_of(self.lasting) {
            self.marks.insert(key.clone(), Mark::Set);
            self.due_ms = Some(i64::MIN);
        }
        let place = self.place(&key)?;
        if althing_probe::is(Mutant::LatestWins) && delta.store.text.time() < self.cache.slot(place).state.text.time() {
            delta.store.text.written = Default::default();
        }
        self.cache.slot(place).state.apply(&mine, delta.store, &delta.context, Bottoms::Drop);
        self.note(place, &delta.context, &delta.writes, bytes);
        self.rounds.taken(&key, |dots| self.head.known.covers(dots));
        Ok(())
    }

    /// Notes that a key has taken a delta of so many bytes.
    fn note(&mut self, place: Place, context: &DotContext, writes: &DotContext, bytes: usize) {
        self.index += 1;
        self.head.known.extend(context);
        self.head.taken.extend(writes);
        self.unwritten += bytes;
        let slot = self.cache.slot(place);
        let Label { kind, due_ms } = Label::of(&slot.state);
        let before = std::mem::replace(&mut slot.kind, kind);
        self.head.size.keys = self.head.size.keys + u64::from(kind.is_some()) - u64::from(before.is_some());
        let earliest = due_ms.map(|at_ms| at_ms.saturating_add(self.config.skew_ms()));
        self.due_ms = self.due_ms.into_iter().chain(earliest).min();
        if slot.written == Written::Yes {
            slot.written = Written::NotYet;
            self.dirty.push(place);
        }
        let bytes = slot.bytes + bytes;
        self.cache.resize(place, bytes);
    }

    /// Writes what has changed since the last commit.
    fn commit(&mut self) -> Result<(), ConvergentError> {
        if self.index == self.committed && self.dirty.is_empty() && self.marks.is_empty() {
            return Ok(());
        }
        let engine = Arc::clone(&self.engine);
        let mut batch = engine.begin(self.space);
        for place in std::mem::take(&mut self.dirty) {
            self.write_key(place, &mut *batch);
        }
        for (key, mark) in std::mem::take(&mut self.marks) {
            match mark {
                Mark::Set => batch.put(&layout::mark(&key), b""),
                Mark::Clear => batch.delete(&layout::mark(&key)),
            }
        }
        self.rounds.commit(&mut *batch);
        self.head.time = self.clock.last();
        batch.put(layout::HEAD, &self.head.encode());
        batch.commit(Applied { index: self.index, term: 0 })?;
        (self.committed, self.unwritten) = (self.index, 0);
        Ok(())
    }

    /// Writes one key and its place by deadline, and counts its bytes.
    fn write_key(&mut self, place: Place, batch: &mut dyn Batch) {
        let slot = self.cache.slot(place);
        let label = Label::of(&slot.state);
        let (key, before) = (slot.key.clone(), slot.stored);
        let stored = if slot.state.is_bottom() {
            if let Some(before) = before {
                batch.delete(&layout::key(&key));
                batch.delete(&layout::at_position(before.entry.position, &key));
            }
            None
        } else {
            let record = layout::encode_key(label, &slot.state);
            batch.put(&layout::key(&key), &record);
            let position = before.map_or_else(|| self.hashes.position(&key), |before| before.entry.position);
            if before.is_none() {
                batch.put(&layout::at_position(position, &key), b"");
            }
            let entry = self.hashes.next_entry(position, &key, &record);
            Some(Stored { bytes: record.len(), label, entry })
        };
        self.hashes.change(&key, before.map(|before| before.entry), stored.map(|stored| stored.entry));
        slot.stored = stored;
        slot.written = Written::Yes;
        self.cache.resize(place, stored.map_or(0, |stored| stored.bytes));
        let due = |stored: Option<Stored>| stored.and_then(|stored| stored.label.due_ms);
        if due(before) != due(stored) {
            due(before).into_iter().for_each(|at_ms| batch.delete(&layout::deadline(at_ms, &key)));
            due(stored).into_iter().for_each(|at_ms| batch.put(&layout::deadline(at_ms, &key), b""));
        }
        let bytes = &mut self.head.size.bytes;
        *bytes = *bytes + weight(&key, stored) - weight(&key, before);
    }
}

/// A copy. What is kept must not be a slice of a frame from the network or a block of the engine, which it would keep as well.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// What was issued for rounds and is open, by key.
fn open_rounds(engine: &dyn Engine, space: SpaceId) -> Result<BTreeMap<Bytes, DotContext>, ConvergentError> {
    let view = engine.view();
    let (first, end) = (Bound::Included(layout::OPEN_PREFIX), layout::end(layout::OPEN_PREFIX));
    let mut open = BTreeMap::new();
    for record in view.scan(space, (first, Bound::Excluded(&end))) {
        let (key, dots) = record?;
        let dots =
            DotContext::decode(own(&dots)).map_err(|source| ConvergentError::Record { what: "round", source })?;
        open.insert(layout::name(&own(&key)), dots);
    }
    Ok(open)
}

fn weight(key: &Bytes, stored: Option<Stored>) -> u64 {
    stored.map_or(0, |stored| (key.len() + stored.bytes) as u64)
}
