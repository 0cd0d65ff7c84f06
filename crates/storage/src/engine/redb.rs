//! A second engine, for differential tests: the copy-on-write B-tree of the crate `redb`, in one file and one table.
//!
//! The contract comes almost for free: a batch is a write transaction without durability, a view is a read
//! transaction, a checkpoint is an empty transaction with durability, and the file always opens at its last durable
//! transaction, which holds whole prefixes. It does not check pages when it reads them; `verify` does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

use ::redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction};
use althing_types::SpaceId;
use bytes::Bytes;

use super::keys::{
    PREFIX_BYTES, TreeBounds, applied_bounds, applied_key, decode_applied, encode_applied, space_bounds, tree_bounds,
    tree_key,
};
use super::overlay::{Direction, Overlay, is_empty};
use super::turn::{Turn, Writer};
use super::{Applied, Batch, Bounds, Checkpoint, Engine, EngineError, EngineStats, Read, Scan, View, assert_key};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("spaces");

/// Sorted spaces in one file. See the module.
pub struct RedbEngine {
    shared: Arc<Shared>,
    writer: Writer,
}

struct Shared {
    path: PathBuf,
    /// Locked for writing by `verify` alone.
    database: RwLock<Database>,
    state: Mutex<State>,
}

struct State {
    applied: BTreeMap<SpaceId, Applied>,
    /// Spaces that this run has dropped.
    dead: BTreeSet<SpaceId>,
}

impl RedbEngine {
    /// Opens the engine in the file `path`, or makes a new one.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let database = Database::create(path).map_err(|error| failed(path, error))?;
        let state = Mutex::new(State { applied: BTreeMap::new(), dead: BTreeSet::new() });
        let shared = Shared { path: path.to_owned(), database: RwLock::new(database), state };
        shared.write(Durability::Immediate, |_| Ok(()))?;
        let view = shared.view()?;
        for item in view.range(applied_bounds(), Direction::Forward) {
            let (key, value) = item?;
            let record = decode_applied(&key, value);
            let (space, applied) = record.map_err(|detail| EngineError::Corrupt { file: path.to_owned(), detail })?;
            shared.state().applied.insert(space, applied);
        }
        Ok(Self { shared: Arc::new(shared), writer: Writer::new() })
    }
}

type Table<'a> = ::redb::Table<'a, &'static [u8], &'static [u8]>;

impl Shared {
    fn database(&self) -> RwLockReadGuard<'_, Database> {
        self.database.read().expect("nothing under this lock panics")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("only a broken invariant panics while the lock is held, and nothing may follow it")
    }

    fn view(&self) -> Result<RedbView, EngineError> {
        let transaction = self.database().begin_read().map_err(|error| self.failed(error))?;
        let table = transaction.open_table(TABLE).map_err(|error| self.failed(error))?;
        Ok(RedbView { path: self.path.clone(), table })
    }

    /// One write transaction.
    fn write(
        &self,
        durability: Durability,
        write: impl FnOnce(&mut Table<'_>) -> Result<(), ::redb::StorageError>,
    ) -> Result<(), EngineError> {
        let mut transaction: WriteTransaction = self.database().begin_write().map_err(|error| self.failed(error))?;
        transaction.set_durability(durability).map_err(|error| self.failed(error))?;
        {
            let mut table = transaction.open_table(TABLE).map_err(|error| self.failed(error))?;
            write(&mut table).map_err(|error| self.failed(error))?;
        }
        transaction.commit().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: impl Into<::redb::Error>) -> EngineError {
        failed(&self.path, error)
    }
}

fn failed(path: &Path, error: impl Into<::redb::Error>) -> EngineError {
    match error.into() {
        ::redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => EngineError::Full(error.to_string()),
        ::redb::Error::Corrupted(detail) => EngineError::Corrupt { file: path.to_owned(), detail },
        error => EngineError::Io(format!("{}: {error}", path.display())),
    }
}

impl Engine for RedbEngine {
    fn applied(&self) -> BTreeMap<SpaceId, Applied> {
        self.shared.state().applied.clone()
    }

    fn view(&self) -> Box<dyn View> {
        Box::new(self.shared.view().expect("a read transaction needs no input and no output but the table's root"))
    }

    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.shared.view()?.get(space, key)
    }

    fn begin(&self, space: SpaceId) -> Box<dyn Batch + '_> {
        let turn = self.writer.begin();
        assert!(!self.shared.state().dead.contains(&space), "space {space} was dropped; its id is never used again");
        let committed = self.shared.view().expect("a read transaction needs no input and no output but the root");
        Box::new(RedbBatch { shared: &self.shared, space, committed, overlay: Overlay::default(), turn })
    }

    fn begin_checkpoint(&self) -> Result<Box<dyn Checkpoint>, EngineError> {
        self.writer.assert_idle("a checkpoint was begun");
        let applied = self.shared.state().applied.clone();
        Ok(Box::new(RedbCheckpoint { shared: Arc::clone(&self.shared), applied }))
    }

    fn maintain(&self) -> Result<bool, EngineError> {
        Ok(false)
    }

    fn drop_space(&self, space: SpaceId) -> Result<(), EngineError> {
        self.writer.assert_idle("a space was dropped");
        let mut state = self.shared.state();
        state.applied.remove(&space);
        state.dead.insert(space);
        // All at once: this engine is for tests.
        self.shared.write(Durability::None, |table| {
            table.remove(&applied_key(space)[..])?;
            let bounds = space_bounds(space);
            table.retain_in::<&[u8], _>(borrowed(&bounds), |_, _| false)
        })
    }

    fn verify(&self) -> Result<(), EngineError> {
        let mut database = self.shared.database.write().expect("nothing under this lock panics");
        match database.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => {
                let detail = "it was repaired: pages did not match their checksums".to_owned();
                Err(EngineError::Corrupt { file: self.shared.path.clone(), detail })
            }
            Err(error) => Err(self.shared.failed(error)),
        }
    }

    fn stats(&self) -> EngineStats {
        let disk_bytes = std::fs::metadata(&self.shared.path).map_or(0, |file| file.len());
        EngineStats { disk_bytes, memory_bytes: 0, files: 1 }
    }
}

fn borrowed((start, end): &TreeBounds) -> Bounds<'_> {
    (start.as_ref().map(|key| &key[..]), end.as_ref().map(|key| &key[..]))
}

/// A key and a value in the file's cache.
type Guards<'a> = (::redb::AccessGuard<'a, &'static [u8]>, ::redb::AccessGuard<'a, &'static [u8]>);

struct RedbView {
    path: PathBuf,
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl RedbView {
    fn range(&self, bounds: TreeBounds, direction: Direction) -> Scan<'static> {
        let path = self.path.clone();
        let items = match self.table.range::<&[u8]>(borrowed(&bounds)) {
            Ok(items) => items,
            Err(error) => return Box::new(std::iter::once(Err(failed(&path, error)))),
        };
        let item = move |item: Result<Guards<'_>, ::redb::StorageError>| match item {
            Ok((key, value)) => Ok((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value()))),
            Err(error) => Err(failed(&path, error)),
        };
        match direction {
            Direction::Forward => Box::new(items.map(item)),
            Direction::Backward => Box::new(items.rev().map(item)),
        }
    }

    fn scan_tree(&self, space: SpaceId, bounds: Bounds<'_>, direction: Direction) -> Scan<'static> {
        if is_empty(bounds) { Box::new(std::iter::empty()) } else { self.range(tree_bounds(space, bounds), direction) }
    }
}

fn strip(scan: Scan<'_>) -> Scan<'_> {
    Box::new(scan.map(|item| item.map(|(key, value)| (key.slice(PREFIX_BYTES..), value))))
}

impl View for RedbView {}

impl Read for RedbView {
    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.table.get(&tree_key(space, key)[..]).map_err(|error| failed(&self.path, error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn scan<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        strip(self.scan_tree(space, bounds, Direction::Forward))
    }

    fn scan_reverse<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a> {
        strip(self.scan_tree(space, bounds, Direction::Backward))
    }
}

struct RedbBatch<'a> {
    shared: &'a Shared,
    space: SpaceId,
    committed: RedbView,
    overlay: Overlay,
    turn: Turn<'a>,
}

impl RedbBatch<'_> {
    fn scan_both<'s>(&'s self, space: SpaceId, bounds: Bounds<'_>, direction: Direction) -> Scan<'s> {
        let committed = self.committed.scan_tree(space, bounds, direction);
        if space != self.space || is_empty(bounds) {
            return strip(committed);
        }
        strip(self.overlay.over(committed, borrowed(&tree_bounds(space, bounds)), direction))
    }
}

impl Read for RedbBatch<'_> {
    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
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

impl Batch for RedbBatch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        assert_key(key);
        self.overlay.put(tree_key(self.space, key), value);
    }

    fn delete(&mut self, key: &[u8]) {
        assert_key(key);
        self.overlay.delete(tree_key(self.space, key));
    }

    fn commit(self: Box<Self>, to: Applied) -> Result<(), EngineError> {
        let Self { shared, space, overlay, turn, .. } = *self;
        let mut state = shared.state();
        let from = state.applied.get(&space).map_or(0, |applied| applied.index);
        assert!(from <= to.index, "space {space} stands at {from} and cannot go back to {}", to.index);
        shared.write(Durability::None, |table| {
            for (key, value) in overlay.into_writes() {
                match value {
                    Some(value) => table.insert(&key[..], &value[..])?,
                    None => table.remove(&key[..])?,
                };
            }
            table.insert(&applied_key(space)[..], &encode_applied(to)[..])?;
            Ok(())
        })?;
        state.applied.insert(space, to);
        turn.end();
        Ok(())
    }
}

struct RedbCheckpoint {
    shared: Arc<Shared>,
    applied: BTreeMap<SpaceId, Applied>,
}

impl Checkpoint for RedbCheckpoint {
    fn finish(self: Box<Self>) -> Result<BTreeMap<SpaceId, Applied>, EngineError> {
        self.shared.write(Durability::Immediate, |_| Ok(()))?;
        Ok(self.applied)
    }
}
