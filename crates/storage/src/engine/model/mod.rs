//! The engine of the simulator: the contract in its plainest form, on a `BTreeMap` per space.
//!
//! ```text
//!   durable base ──log of batches and drops──▶ live state
//!        │              ▲          ▲
//!        │            cut 1      cut 2        (begun checkpoints: positions in the log)
//!        └── finish(cut) moves the base forward to the cut
//! ```
//!
//! The live state is shared with views and copied only when it is written while a view is held. A cut costs nothing but
//! a number: what a crash leaves is made from the base and the log when it is needed. [`ModelEngine::crash`] picks
//! for every space on its own the last finished cut or one begun later, as an engine of several trees may leave it.

mod log;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use althing_types::SpaceId;
use bytes::Bytes;

use self::log::{Event, Log};
use super::overlay::{Direction, Overlay, is_empty};
use super::turn::{Turn, Writer};
use super::{Applied, Batch, Bounds, Checkpoint, Engine, EngineError, EngineStats, Read, Scan, View, assert_key};

/// One space: its entries and where it stands.
#[derive(Clone, Debug, Default)]
struct Space {
    entries: BTreeMap<Bytes, Bytes>,
    applied: Applied,
    bytes: u64,
}

impl Space {
    fn write(&mut self, writes: &BTreeMap<Bytes, Option<Bytes>>, applied: Applied) {
        for (key, value) in writes {
            let old = match value {
                Some(value) => {
                    self.bytes += (key.len() + value.len()) as u64;
                    self.entries.insert(key.clone(), value.clone())
                }
                None => self.entries.remove(key),
            };
            self.bytes -= old.map_or(0, |old| (key.len() + old.len()) as u64);
        }
        self.applied = applied;
    }
}

/// All spaces at one moment. Clones share; what is written while it is shared is copied first, one space at a time.
type Spaces = Arc<BTreeMap<SpaceId, Arc<Space>>>;

#[derive(Debug, Default)]
struct State {
    live: Spaces,
    log: Log,
}

/// An engine in memory that can crash. See the module.
#[derive(Debug)]
pub struct ModelEngine {
    state: Arc<Mutex<State>>,
    writer: Writer,
}

impl Default for ModelEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl ModelEngine {
    /// An engine without spaces.
    #[must_use]
    pub fn new() -> Self {
        Self::from_state(State::default())
    }

    /// The engine that a new process finds after this one's process has crashed, chosen by `seed`: each space stands at
    /// the last finished checkpoint or at one that was begun since. This engine stays as it is, for whoever in the dead
    /// process still holds it; the two share nothing.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let survived = lock(&self.state).log.survivors(seed);
        Self::from_state(State { live: Arc::new(survived.clone()), log: Log::new(survived) })
    }

    fn from_state(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), writer: Writer::new() }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("only a broken invariant panics while the lock is held, and after it nothing may go on")
}

impl Engine for ModelEngine {
    fn applied(&self) -> BTreeMap<SpaceId, Applied> {
        lock(&self.state).live.iter().map(|(id, space)| (*id, space.applied)).collect()
    }

    fn view(&self) -> Box<dyn View> {
        Box::new(ModelView(Arc::clone(&lock(&self.state).live)))
    }

    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(lock(&self.state).live.get(&space).and_then(|space| space.entries.get(key).cloned()))
    }

    fn begin(&self, space: SpaceId) -> Box<dyn Batch + '_> {
        let turn = self.writer.begin();
        let state = lock(&self.state);
        assert!(!state.log.is_dead(space), "space {space} was dropped; its id is never used again");
        let committed = ModelView(Arc::clone(&state.live));
        Box::new(ModelBatch { state: &self.state, space, committed, overlay: Overlay::default(), turn })
    }

    fn begin_checkpoint(&self) -> Result<Box<dyn Checkpoint>, EngineError> {
        self.writer.assert_idle("a checkpoint was begun");
        let mut state = lock(&self.state);
        let applied = state.live.iter().map(|(id, space)| (*id, space.applied)).collect();
        let cut = state.log.cut();
        Ok(Box::new(ModelCheckpoint { state: Arc::clone(&self.state), cut, applied }))
    }

    fn maintain(&self) -> Result<bool, EngineError> {
        Ok(false)
    }

    fn drop_space(&self, space: SpaceId) -> Result<(), EngineError> {
        self.writer.assert_idle("a space was dropped");
        let mut state = lock(&self.state);
        Arc::make_mut(&mut state.live).remove(&space);
        state.log.push(space, Event::Dropped);
        Ok(())
    }

    fn verify(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        let state = lock(&self.state);
        EngineStats { disk_bytes: state.log.durable_bytes(), memory_bytes: state.log.pending_bytes(), files: 0 }
    }
}

/// What was committed when it was taken.
#[derive(Clone, Debug)]
struct ModelView(Spaces);

impl View for ModelView {}

impl ModelView {
    fn range<'a>(
        &'a self,
        space: SpaceId,
        bounds: Bounds<'_>,
    ) -> Option<std::collections::btree_map::Range<'a, Bytes, Bytes>> {
        let space = self.0.get(&space).filter(|_| !is_empty(bounds))?;
        Some(space.entries.range::<[u8], _>(bounds))
    }
}

impl Read for ModelView {
    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0.get(&space).and_then(|space| space.entries.get(key).cloned()))
    }

    fn scan<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        let range = self.range(space, bounds).into_iter().flatten();
        Box::new(range.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }

    fn scan_reverse<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        let range = self.range(space, bounds).into_iter().flat_map(Iterator::rev);
        Box::new(range.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }
}

struct ModelBatch<'a> {
    state: &'a Mutex<State>,
    space: SpaceId,
    committed: ModelView,
    overlay: Overlay,
    turn: Turn<'a>,
}

impl Read for ModelBatch<'_> {
    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.overlay.get(key).filter(|_| space == self.space) {
            Some(written) => Ok(written.clone()),
            None => self.committed.get(space, key),
        }
    }

    fn scan<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        let committed = self.committed.scan(space, bounds);
        if space == self.space { self.overlay.over(committed, bounds, Direction::Forward) } else { committed }
    }

    fn scan_reverse<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        let committed = self.committed.scan_reverse(space, bounds);
        if space == self.space { self.overlay.over(committed, bounds, Direction::Backward) } else { committed }
    }
}

impl Batch for ModelBatch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        assert_key(key);
        self.overlay.put(Bytes::copy_from_slice(key), value);
    }

    fn delete(&mut self, key: &[u8]) {
        assert_key(key);
        self.overlay.delete(Bytes::copy_from_slice(key));
    }

    fn commit(self: Box<Self>, applied: Applied) -> Result<(), EngineError> {
        let Self { state, space: id, committed, overlay, turn } = *self;
        // The batch's own view goes first: a state that nobody else looks at is written in place.
        drop(committed);
        let writes = overlay.into_writes();
        let mut state = lock(state);
        let space = Arc::make_mut(Arc::make_mut(&mut state.live).entry(id).or_default());
        let before = space.applied.index;
        assert!(before <= applied.index, "space {id} stands at {before} and cannot go back to {}", applied.index);
        space.write(&writes, applied);
        state.log.push(id, Event::Batch { writes, applied });
        turn.end();
        Ok(())
    }
}

#[derive(Debug)]
struct ModelCheckpoint {
    state: Arc<Mutex<State>>,
    cut: u64,
    applied: BTreeMap<SpaceId, Applied>,
}

impl Checkpoint for ModelCheckpoint {
    fn finish(self: Box<Self>) -> Result<BTreeMap<SpaceId, Applied>, EngineError> {
        lock(&self.state).log.finish(self.cut);
        Ok(self.applied)
    }
}
