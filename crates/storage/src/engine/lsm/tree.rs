//! One tree of `lsm-tree`, driven by hand.
//!
//! Reading and writing do not go through the tree's own methods: those take its version lock, which a flush or a
//! compaction holds while it syncs a manifest. Instead every change of the tree's structure (a rotation, a flush, a
//! compaction) is followed by a [`State`]: the memtables and tables as they are then. Readers and the writer use
//! the newest one without a lock. A state is immutable but for its active memtable, which only grows; so whoever holds
//! one can read it at any sequence number that was visible when he took it, whatever happens to the tree meanwhile, and
//! garbage collection need not know of readers.

use std::collections::VecDeque;
use std::fs;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use lsm_tree::compaction::Leveled;
use lsm_tree::table::filter::standard_bloom::Builder as BloomBuilder;
use lsm_tree::{
    AbstractTree, AnyTree, Cache, Config, DescriptorTable, InternalValue, Memtable, SeqNo, SequenceNumberCounter,
    Slice, Tree, ValueType,
};

use super::super::EngineError;
use super::super::keys::TreeBounds;
use super::error::{corrupt, of_tree};
use super::manifest;

/// Bytes of one table file that a compaction writes.
const TABLE_BYTES: u64 = 32 * 1024 * 1024;

/// Items of a tree in key order or, from the back, its reverse.
pub(super) type TreeScan = Box<dyn DoubleEndedIterator<Item = lsm_tree::Result<InternalValue>> + Send>;

/// One table file, and the checksum of all its bytes that the manifest has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TableFile {
    pub(super) path: PathBuf,
    pub(super) checksum: u128,
}

/// Whether an operation found something to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// The tree has changed.
    Made,
    /// There was nothing to do.
    None,
}

type Lookup = dyn Fn(&[u8], SeqNo) -> Result<Option<InternalValue>, EngineError> + Send + Sync;
type Range = dyn Fn(TreeBounds, SeqNo) -> TreeScan + Send + Sync;
type Files = dyn Fn() -> Vec<TableFile> + Send + Sync;

/// A tree's structure at one moment. See the module.
pub(super) struct State {
    active: Arc<Memtable>,
    /// Memtables that are not yet flushed, the newest first.
    sealed: Vec<Arc<Memtable>>,
    // The types of a version and of its levels are private in lsm-tree, their methods are not: closures hold them.
    lookup: Box<Lookup>,
    range: Box<Range>,
    files: Box<Files>,
}

impl State {
    /// The value of a key at `seqno`: written below it, and not removed.
    pub(super) fn get(&self, key: Bytes, seqno: SeqNo) -> Result<Option<Bytes>, EngineError> {
        // Versions of a key sort from the newest to the oldest, so this is the first one that may be seen.
        let probe = InternalValue::from_components(key, Slice::empty(), seqno - 1, ValueType::Value).key;
        for memtable in std::iter::once(&self.active).chain(&self.sealed) {
            let entry = memtable.items.lower_bound(Bound::Included(&probe));
            if let Some(entry) = entry.filter(|entry| entry.key().user_key == probe.user_key) {
                let value = || Bytes::from(entry.value().clone());
                return Ok((!entry.key().is_tombstone()).then(value));
            }
        }
        let found = (self.lookup)(&probe.user_key, seqno)?;
        Ok(found.filter(|item| !item.is_tombstone()).map(|item| item.value.into()))
    }

    /// The items within bounds at `seqno`.
    pub(super) fn range(&self, bounds: TreeBounds, seqno: SeqNo) -> TreeScan {
        (self.range)(bounds, seqno)
    }

    /// Writes one item; `None` removes. It is seen by readers above `seqno`.
    pub(super) fn write(&self, key: Bytes, value: Option<Bytes>, seqno: SeqNo) {
        let _ = self.active.insert(match value {
            Some(value) => InternalValue::from_components(key, value, seqno, ValueType::Value),
            None => InternalValue::new_tombstone(key, seqno),
        });
    }

    /// The table files.
    pub(super) fn files(&self) -> Vec<TableFile> {
        (self.files)()
    }

    /// Bytes in the memtable that is written to.
    pub(super) fn active_bytes(&self) -> u64 {
        self.active.size()
    }

    /// Bytes in all memtables.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.active.size() + self.sealed.iter().map(|memtable| memtable.size()).sum::<u64>()
    }

    /// Memtables that wait to be flushed.
    pub(super) fn sealed(&self) -> usize {
        self.sealed.len()
    }
}

/// What all trees of an engine share.
pub(super) struct Pools {
    pub(super) cache: Arc<Cache>,
    pub(super) descriptors: Arc<DescriptorTable>,
}

/// A tree and its directory.
pub(super) struct ManagedTree {
    dir: PathBuf,
    tree: Tree,
    /// The tree numbers its versions by this counter and removes an old one's manifest once its number is below the
    /// watermark. Nobody reads at a version's number here, so the counter stays at zero and the next operation removes it.
    version_seqno: SequenceNumberCounter,
    /// Memtables between rotation and flush, the oldest first. The lock also orders the states made from the tree.
    sealed: Mutex<VecDeque<Arc<Memtable>>>,
    strategy: Arc<Leveled>,
}

impl ManagedTree {
    /// Makes a new, empty tree.
    pub(super) fn create(dir: &Path, pools: &Pools) -> Result<Self, EngineError> {
        Self::open_unchecked(dir, pools)
    }

    /// Opens a tree that exists, after checking what lsm-tree does not check itself.
    pub(super) fn open(dir: &Path, pools: &Pools) -> Result<Self, EngineError> {
        manifest::check(dir)?;
        manifest::remove_leftovers(dir)?;
        Self::open_unchecked(dir, pools).map_err(|error| match error {
            EngineError::Corrupt { .. } => manifest::blame(dir).unwrap_or(error),
            error => error,
        })
    }

    fn open_unchecked(dir: &Path, pools: &Pools) -> Result<Self, EngineError> {
        let version_seqno = SequenceNumberCounter::new(0);
        let config = Config::new(dir, version_seqno.clone(), SequenceNumberCounter::new(0))
            .use_cache(Arc::clone(&pools.cache))
            .use_descriptor_table(Some(Arc::clone(&pools.descriptors)));
        let tree = match config.open().map_err(|error| of_tree(dir, &error))? {
            AnyTree::Standard(tree) => tree,
            AnyTree::Blob(_) => return Err(corrupt(dir, "it is a tree with separate blobs".to_owned())),
        };
        Ok(Self {
            dir: dir.to_owned(),
            tree,
            version_seqno,
            sealed: Mutex::default(),
            strategy: Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)),
        })
    }

    /// Checks the manifest on disk. No flush and no compaction replaces it meanwhile.
    pub(super) fn check_manifest(&self) -> Result<(), EngineError> {
        let _versions = self.tree.get_version_history_lock();
        manifest::check(&self.dir)
    }

    /// The tree's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The highest sequence number on disk.
    pub(super) fn highest_seqno(&self) -> SeqNo {
        self.tree.get_highest_persisted_seqno().unwrap_or(0)
    }

    /// Bytes of all table files, and how many they are.
    pub(super) fn disk(&self) -> (u64, u64) {
        (self.tree.disk_space(), self.tree.table_count() as u64)
    }

    /// Makes a state and gives it to `publish`, in the order in which states are made.
    pub(super) fn publish(&self, publish: impl FnOnce(State)) {
        let mut sealed = self.sealed();
        // What a flush has turned into tables leaves the list. If another flush ends right here, a memtable is in the
        // list and in the tables: the same items twice, which reads do not notice.
        let waiting = self.tree.sealed_memtable_count();
        let flushed = sealed.len().saturating_sub(waiting);
        sealed.drain(..flushed);
        let newest_first = sealed.iter().rev().cloned().collect();
        publish(self.state(newest_first));
    }

    /// Seals the memtable that is written to. Between batches only, and before the next one a new state is published.
    pub(super) fn rotate(&self) -> Progress {
        let mut sealed = self.sealed();
        match self.tree.rotate_memtable() {
            Some(memtable) => {
                sealed.push_back(memtable);
                Progress::Made
            }
            None => Progress::None,
        }
    }

    /// Makes everything sealed durable. Of the versions of a key below `watermark` only the newest remains.
    pub(super) fn flush(&self, watermark: SeqNo) -> Result<Progress, EngineError> {
        let lock = self.tree.get_flush_lock();
        let flushed = self.tree.flush(&lock, watermark).map_err(|error| self.error(&error))?;
        self.version_seqno.set(0);
        Ok(if flushed.is_some() { Progress::Made } else { Progress::None })
    }

    /// Does one compaction, if one is due.
    pub(super) fn compact(&self, watermark: SeqNo) -> Result<Progress, EngineError> {
        self.changed_by(|| self.tree.compact(Arc::clone(&self.strategy) as _, watermark))
    }

    /// Drops the table files that hold nothing but keys within bounds, durably and at once.
    pub(super) fn drop_tables(&self, bounds: TreeBounds) -> Result<Progress, EngineError> {
        let version = self.tree.current_version();
        let within = |table: &lsm_tree::Table| {
            let range = &table.metadata.key_range;
            bounds.contains(&Bytes::from(range.min().clone())) && bounds.contains(&Bytes::from(range.max().clone()))
        };
        // lsm-tree would write a new manifest also for no table at all.
        if !version.iter_tables().any(within) {
            return Ok(Progress::None);
        }
        self.changed_by(|| self.tree.drop_range::<Bytes, _>(bounds))
    }

    fn changed_by(&self, change: impl FnOnce() -> lsm_tree::Result<()>) -> Result<Progress, EngineError> {
        let before = self.tree.current_version().id();
        change().map_err(|error| self.error(&error))?;
        self.version_seqno.set(0);
        Ok(if self.tree.current_version().id() == before { Progress::None } else { Progress::Made })
    }

    fn sealed(&self) -> MutexGuard<'_, VecDeque<Arc<Memtable>>> {
        self.sealed.lock().expect("nothing under this lock panics but broken invariants of lsm-tree")
    }

    fn state(&self, sealed: Vec<Arc<Memtable>>) -> State {
        let super_version = self.tree.get_version_history_lock().latest_version();
        let active = Arc::clone(&super_version.active_memtable);
        let (version, listed) = (self.tree.current_version(), self.tree.current_version());
        let lookup = move |key: &[u8], seqno: SeqNo| {
            let hash = BloomBuilder::get_hash(key);
            let runs = version.iter_levels().flat_map(|level| level.iter());
            for table in runs.filter_map(|run| run.get_for_key(key)) {
                let found = table.get(key, seqno, hash).map_err(|error| of_tree(&table.path, &error))?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            Ok(None)
        };
        let range = move |(start, end): TreeBounds, seqno: SeqNo| -> TreeScan {
            let bounds: (Bound<Slice>, Bound<Slice>) = (start.map(Slice::from), end.map(Slice::from));
            Box::new(Tree::create_internal_range(super_version.clone(), &bounds, seqno, None))
        };
        let file = |table: &lsm_tree::Table| TableFile {
            path: table.path.to_path_buf(),
            checksum: table.checksum().into_u128(),
        };
        let files = move || listed.iter_tables().map(file).collect();
        State { active, sealed, lookup: Box::new(lookup), range: Box::new(range), files: Box::new(files) }
    }

    /// An error of a flush or a compaction; damage is looked for in the tables, so that it can be named.
    fn error(&self, error: &lsm_tree::Error) -> EngineError {
        let error = of_tree(&self.dir, error);
        if !matches!(error, EngineError::Corrupt { .. }) {
            return error;
        }
        let mut damage = None;
        self.publish(|state| damage = manifest::check_tables(&state.files()).err());
        damage.unwrap_or(error)
    }
}

/// Whether a directory holds table files of a tree.
pub(super) fn has_tables(dir: &Path) -> bool {
    fs::read_dir(dir.join("tables")).is_ok_and(|mut files| files.next().is_some())
}
