//! Views and batches of the trees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use althing_types::SpaceId;
use bytes::Bytes;
use lsm_tree::{InternalValue, SeqNo};

use super::super::keys::{PREFIX_BYTES, TreeBounds, applied_bounds, decode_applied, tree_bounds, tree_key};
use super::super::overlay::{Direction, Overlay, is_empty};
use super::super::turn::Turn;
use super::super::{Applied, Batch, Bounds, EngineError, Read, Scan, View, assert_key};
use super::error::{corrupt, of_tree};
use super::tree::{ManagedTree, State};
use super::{Shared, manifest};

/// The states of all trees, and the spaces that are not to be read any more.
#[derive(Clone)]
pub(super) struct Published {
    trees: Vec<Arc<State>>,
    dead: Arc<BTreeSet<SpaceId>>,
}

impl Published {
    /// The first states.
    pub(super) fn new(trees: Vec<Arc<State>>, dead: Arc<BTreeSet<SpaceId>>) -> Self {
        Self { trees, dead }
    }

    /// The same with another state of one tree.
    pub(super) fn with_tree(&self, index: usize, state: Arc<State>) -> Self {
        let mut next = self.clone();
        next.trees[index] = state;
        next
    }

    /// The same with other dead spaces.
    pub(super) fn with_dead(&self, dead: BTreeSet<SpaceId>) -> Self {
        Self { trees: self.trees.clone(), dead: Arc::new(dead) }
    }

    /// A tree's state.
    pub(super) fn tree(&self, index: usize) -> Arc<State> {
        Arc::clone(&self.trees[index])
    }

    /// The value of a key at a sequence number.
    pub(super) fn get(&self, space: SpaceId, key: &[u8], seqno: SeqNo) -> Result<Option<Bytes>, EngineError> {
        match self.state_of(space) {
            Some(state) => state.get(tree_key(space, key), seqno),
            None => Ok(None),
        }
    }

    /// A scan in the key space of the tree, in either direction.
    fn scan(&self, space: SpaceId, bounds: TreeBounds, seqno: SeqNo, direction: Direction) -> Scan<'static> {
        match self.state_of(space) {
            Some(state) => scan(state, bounds, seqno, direction),
            None => Box::new(std::iter::empty()),
        }
    }

    fn state_of(&self, space: SpaceId) -> Option<&Arc<State>> {
        if self.dead.contains(&space) {
            return None;
        }
        Some(&self.trees[(space.get() % self.trees.len() as u64) as usize])
    }
}

/// A scan of a state, in the key space of its tree.
pub(super) fn scan(state: &Arc<State>, bounds: TreeBounds, seqno: SeqNo, direction: Direction) -> Scan<'static> {
    let items = state.range(bounds, seqno);
    let state = Arc::clone(state);
    let item = move |item: lsm_tree::Result<InternalValue>| match item {
        Ok(item) => Ok((item.key.user_key.into(), item.value.into())),
        Err(error) => Err(blame(&state, &error)),
    };
    match direction {
        Direction::Forward => Box::new(UntilError::new(items.map(item))),
        Direction::Backward => Box::new(UntilError::new(items.rev().map(item))),
    }
}

/// Which file of a state is damaged, after a scan of it has failed.
fn blame(state: &State, error: &lsm_tree::Error) -> EngineError {
    let files = state.files();
    let place = files.first().and_then(|file| file.path.parent()).unwrap_or(std::path::Path::new("a tree"));
    match of_tree(place, error) {
        EngineError::Corrupt { file, detail } => {
            manifest::check_tables(&files).err().unwrap_or(EngineError::Corrupt { file, detail })
        }
        error => error,
    }
}

/// Ends an iterator after its first error: what follows damage is not to be trusted.
struct UntilError<I>(Option<I>);

impl<I> UntilError<I> {
    fn new(items: I) -> Self {
        Self(Some(items))
    }
}

impl<I: Iterator<Item = Result<(Bytes, Bytes), EngineError>>> Iterator for UntilError<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.0.as_mut()?.next();
        if matches!(item, Some(Err(_))) {
            self.0 = None;
        }
        item
    }
}

/// Takes the spaces' ids off the keys of a scan.
fn strip(scan: Scan<'_>) -> Scan<'_> {
    Box::new(scan.map(|item| item.map(|(key, value)| (key.slice(PREFIX_BYTES..), value))))
}

/// Where every space stands on disk.
pub(super) fn load_applied(
    published: &Published,
    trees: &[ManagedTree],
    seqno: SeqNo,
) -> Result<BTreeMap<SpaceId, Applied>, EngineError> {
    let mut applied = BTreeMap::new();
    for (state, tree) in published.trees.iter().zip(trees) {
        for item in state.range(applied_bounds(), seqno) {
            let item = item.map_err(|error| blame(state, &error))?;
            let record = decode_applied(&item.key.user_key, item.value.into());
            let (space, at) = record.map_err(|detail| corrupt(tree.dir(), detail))?;
            applied.insert(space, at);
        }
    }
    Ok(applied)
}

/// What was committed when it was taken.
pub(super) struct LsmView {
    published: Arc<Published>,
    seqno: SeqNo,
}

impl LsmView {
    /// A view of states at a sequence number.
    pub(super) fn new((published, seqno): (Arc<Published>, SeqNo)) -> Self {
        Self { published, seqno }
    }

    /// A scan whose keys still have the space's id.
    pub(super) fn scan_tree(&self, space: SpaceId, bounds: Bounds<'_>, direction: Direction) -> Scan<'static> {
        if is_empty(bounds) {
            return Box::new(std::iter::empty());
        }
        self.published.scan(space, tree_bounds(space, bounds), self.seqno, direction)
    }
}

impl View for LsmView {}

impl Read for LsmView {
    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.published.get(space, key, self.seqno)
    }

    fn scan<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        strip(self.scan_tree(space, bounds, Direction::Forward))
    }

    fn scan_reverse<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        strip(self.scan_tree(space, bounds, Direction::Backward))
    }
}

/// Writes of one space, kept aside under the keys of its tree until they are committed.
pub(super) struct LsmBatch<'a> {
    shared: &'a Shared,
    space: SpaceId,
    committed: LsmView,
    overlay: Overlay,
    turn: Turn<'a>,
}

impl<'a> LsmBatch<'a> {
    /// A batch without writes.
    pub(super) fn new(shared: &'a Shared, space: SpaceId, turn: Turn<'a>) -> Self {
        let committed = LsmView::new(shared.committed());
        Self { shared, space, committed, overlay: Overlay::default(), turn }
    }

    fn scan_both<'s>(&'s self, space: SpaceId, bounds: Bounds<'_>, direction: Direction) -> Scan<'s> {
        let committed = self.committed.scan_tree(space, bounds, direction);
        if space != self.space || is_empty(bounds) {
            return strip(committed);
        }
        let (start, end) = tree_bounds(space, bounds);
        let bounds = (start.as_ref().map(|key| &key[..]), end.as_ref().map(|key| &key[..]));
        strip(self.overlay.over(committed, bounds, direction))
    }
}

impl Read for LsmBatch<'_> {
    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if space != self.space || self.overlay.is_empty() {
            return self.committed.get(space, key);
        }
        match self.overlay.get(&tree_key(space, key)) {
            Some(written) => Ok(written.clone()),
            None => self.committed.get(space, key),
        }
    }

    fn scan<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        self.scan_both(space, bounds, Direction::Forward)
    }

    fn scan_reverse<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        self.scan_both(space, bounds, Direction::Backward)
    }
}

impl Batch for LsmBatch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        assert_key(key);
        self.overlay.put(tree_key(self.space, key), value);
    }

    fn delete(&mut self, key: &[u8]) {
        assert_key(key);
        self.overlay.delete(tree_key(self.space, key));
    }

    fn commit(self: Box<Self>, applied: Applied) -> Result<(), EngineError> {
        let Self { shared, space, overlay, turn, .. } = *self;
        // Also when the flush of a full memtable fails, the batch itself is written: the turn ends well.
        turn.end();
        shared.commit(space, overlay.into_writes(), applied)
    }
}
