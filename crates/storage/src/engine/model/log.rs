//! What the model engine has done since its durable base.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use althing_types::SpaceId;
use bytes::Bytes;

use super::super::Applied;
use super::Space;

/// One thing that happened to a space.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A batch was committed.
    Batch {
        /// What it wrote.
        writes: BTreeMap<Bytes, Option<Bytes>>,
        /// Where the space stood afterwards.
        applied: Applied,
    },
    /// The space was dropped.
    Dropped,
}

/// A base that would survive a crash, and the events since. Positions count events from the engine's beginning.
#[derive(Debug, Default)]
pub(super) struct Log {
    base: BTreeMap<SpaceId, Arc<Space>>,
    /// How many events the base holds.
    finished: u64,
    /// Events `finished..`, in order.
    events: VecDeque<(SpaceId, Event)>,
    /// Begun cuts above `finished`.
    cuts: BTreeSet<u64>,
    /// Spaces that this run has dropped.
    dead: BTreeSet<SpaceId>,
    pending_bytes: u64,
}

impl Log {
    /// A log whose base is `base`.
    pub(super) fn new(base: BTreeMap<SpaceId, Arc<Space>>) -> Self {
        Self { base, ..Self::default() }
    }

    /// Adds what has just happened.
    pub(super) fn push(&mut self, space: SpaceId, event: Event) {
        self.pending_bytes += event_bytes(&event);
        if matches!(event, Event::Dropped) {
            self.dead.insert(space);
        }
        self.events.push_back((space, event));
    }

    /// Whether a space was dropped.
    pub(super) fn is_dead(&self, space: SpaceId) -> bool {
        self.dead.contains(&space)
    }

    /// Begins a cut here.
    pub(super) fn cut(&mut self) -> u64 {
        let cut = self.finished + self.events.len() as u64;
        if cut > self.finished {
            self.cuts.insert(cut);
        }
        cut
    }

    /// Moves the base forward to a cut. One that a later cut has overtaken changes nothing.
    pub(super) fn finish(&mut self, cut: u64) {
        while self.finished < cut {
            let (space, event) = self.events.pop_front().expect("a cut lies within the events that were logged");
            self.pending_bytes -= event_bytes(&event);
            replay(&mut self.base, space, &event);
            self.finished += 1;
        }
        self.cuts.retain(|begun| *begun > cut);
    }

    /// What a crash leaves: every space at the base or at one of the begun cuts, each by its own draw.
    pub(super) fn survivors(&self, seed: u64) -> BTreeMap<SpaceId, Arc<Space>> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let choices: Vec<u64> = std::iter::once(self.finished).chain(self.cuts.iter().copied()).collect();
        let mut spaces: BTreeSet<SpaceId> = self.base.keys().copied().collect();
        spaces.extend(self.events.iter().map(|(space, _)| *space));
        let kept: BTreeMap<SpaceId, u64> =
            spaces.into_iter().map(|id| (id, choices[rng.usize(..choices.len())])).collect();

        let mut survivors = self.base.clone();
        for (position, (space, event)) in (self.finished..).zip(&self.events) {
            if position < kept[space] {
                replay(&mut survivors, *space, event);
            }
        }
        survivors
    }

    /// Bytes of keys and values in the base.
    pub(super) fn durable_bytes(&self) -> u64 {
        self.base.values().map(|space| space.bytes).sum()
    }

    /// Bytes of keys and values in the events since.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }
}

fn replay(spaces: &mut BTreeMap<SpaceId, Arc<Space>>, id: SpaceId, event: &Event) {
    match event {
        Event::Batch { writes, applied } => Arc::make_mut(spaces.entry(id).or_default()).write(writes, *applied),
        Event::Dropped => drop(spaces.remove(&id)),
    }
}

fn event_bytes(event: &Event) -> u64 {
    match event {
        Event::Batch { writes, .. } => {
            writes.iter().map(|(key, value)| (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64).sum()
        }
        Event::Dropped => 0,
    }
}
