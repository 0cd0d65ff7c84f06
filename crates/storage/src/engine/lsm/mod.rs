//! The engine of a node: a few log-structured merge trees of the crate `lsm-tree`, which knows no journal and no threads.
//!
//! ```text
//!   batch ──commit──▶ memtable ──rotate (a cut)──▶ sealed ──flush──▶ tables ──compact──▶ fewer, larger tables
//!   (one writer)      in memory                    in memory         on disk (finish, maintain: any thread)
//! ```
//!
//! * **Spaces.** A space lives in the tree `id mod trees`, its id before each of its keys. All trees share a cache.
//! * **Visibility.** Every batch takes one sequence number and is seen once `visible` has passed it: readers take
//!   the trees' states and `visible` together. The numbers are this module's own; those that lsm-tree gives its versions
//!   are not used (`tree.rs` says why).
//! * **Crashes.** There is one manifest per tree and none above them, so after a crash the trees stand at different cuts. So
//!   memtables are rotated only between batches, and each ends with the [`Applied`] of every space that was written to it: what is
//!   flushed is always a whole prefix of every space in the tree, and says which.
//! * **Dead spaces** are listed in the file `ENGINE`; only when that is durable do their keys go (`graves.rs`).
//! * **Memory.** A memtable that has grown large is sealed without waiting for a checkpoint and flushed by the next
//!   [`Engine::maintain`]; if too many wait, the writer flushes them itself. That is what a bulk load runs into.

mod checkpoint;
mod engine_file;
mod error;
mod graves;
mod manifest;
mod reads;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use althing_types::{ClusterId, NodeId, SpaceId};
use bytes::Bytes;
use lsm_tree::{Cache, DescriptorTable, SeqNo};

use self::checkpoint::LsmCheckpoint;
use self::engine_file::EngineFile;
use self::error::{corrupt, of_io};
use self::graves::Graves;
use self::reads::{LsmBatch, LsmView, Published};
use self::tree::{ManagedTree, Pools, Progress, State};
use super::keys;
use super::turn::Writer;
use super::{Applied, Batch, Checkpoint, Engine, EngineError, EngineStats, View};

/// Sealed memtables of one tree that may wait before the writer flushes them itself.
const MAX_SEALED: usize = 4;

/// How an engine is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LsmOptions {
    /// The cluster that the directory must belong to.
    pub cluster: ClusterId,
    /// The node that the directory must belong to.
    pub node: NodeId,
    /// How many trees a new directory gets; one that exists keeps what it has. At least 1.
    pub trees: u32,
    /// Bytes of table blocks kept in memory.
    pub cache_bytes: u64,
    /// Bytes of one memtable above which it is sealed without waiting for a checkpoint.
    pub memtable_bytes: u64,
    /// Table files kept open.
    pub open_files: usize,
}

impl LsmOptions {
    /// What a server uses.
    #[must_use]
    pub const fn new(cluster: ClusterId, node: NodeId) -> Self {
        Self {
            cluster,
            node,
            trees: 4,
            cache_bytes: 128 * 1024 * 1024,
            memtable_bytes: 64 * 1024 * 1024,
            open_files: 256,
        }
    }
}

/// Sorted spaces in the files of one directory. See the module.
pub struct LsmEngine {
    shared: Arc<Shared>,
    writer: Writer,
}

/// What the engine, its batches, views and checkpoints share.
struct Shared {
    dir: PathBuf,
    memtable_bytes: u64,
    trees: Vec<ManagedTree>,
    /// The trees' newest states. The lock is held for a swap or a copy, never during input or output.
    published: RwLock<Arc<Published>>,
    /// Readers see what was written below this number.
    visible: AtomicU64,
    /// Held while a batch is written to its memtable, and while memtables are rotated.
    commits: Mutex<Commits>,
    graves: Mutex<Graves>,
    /// States that were replaced, kept until nobody else has them: to free a memtable of 64 MiB takes hundreds of
    /// milliseconds, which would otherwise fall on the last reader of it. Freed by whoever flushes or maintains.
    retired: Mutex<Vec<Arc<State>>>,
    /// Locked for as long as the engine is open; the operating system unlocks it when the process dies.
    _lock: File,
}

/// The writer's state.
struct Commits {
    /// The sequence number of the next batch.
    next: SeqNo,
    applied: BTreeMap<SpaceId, Applied>,
    /// Spaces whose place in the log is not written to their trees' memtables yet. It is when those are sealed, since nothing of a
    /// memtable is on disk before: with many spaces nearly every batch would write it for one entry.
    unwritten: BTreeSet<SpaceId>,
}

impl LsmEngine {
    /// Opens the engine in `dir`, or makes a new one if there is none.
    pub fn open(dir: &Path, options: &LsmOptions) -> Result<Self, EngineError> {
        fs::create_dir_all(dir).map_err(|error| of_io(dir, &error))?;
        let lock = lock(dir)?;
        let pools = Pools {
            cache: Arc::new(Cache::with_capacity_bytes(options.cache_bytes)),
            descriptors: Arc::new(DescriptorTable::new(options.open_files)),
        };
        let (file, trees) = match EngineFile::read(dir)? {
            Some(file) => {
                check_identity(dir, &file, options)?;
                let trees = (0..file.trees).map(|index| ManagedTree::open(&tree_dir(dir, index), &pools));
                let trees = trees.collect::<Result<Vec<_>, _>>()?;
                (file, trees)
            }
            None => create(dir, options, &pools)?,
        };
        let shared = Shared::new(dir, options, file.dead, trees, lock)?;
        Ok(Self { shared: Arc::new(shared), writer: Writer::new() })
    }
}

impl Shared {
    fn new(
        dir: &Path,
        options: &LsmOptions,
        dead: BTreeSet<SpaceId>,
        trees: Vec<ManagedTree>,
        lock: File,
    ) -> Result<Self, EngineError> {
        // Above everything on disk, also above what a crash has kept of batches that were never acknowledged.
        let next = trees.iter().map(ManagedTree::highest_seqno).max().unwrap_or(0) + 1;
        let mut states = Vec::new();
        for tree in &trees {
            tree.publish(|state| states.push(Arc::new(state)));
        }
        let published = Published::new(states, Arc::new(dead.clone()));
        let mut applied = reads::load_applied(&published, &trees, next)?;
        applied.retain(|space, _| !dead.contains(space));
        Ok(Self {
            dir: dir.to_owned(),
            memtable_bytes: options.memtable_bytes,
            trees,
            published: RwLock::new(Arc::new(published)),
            visible: AtomicU64::new(next),
            commits: Mutex::new(Commits { next, applied, unwritten: BTreeSet::new() }),
            graves: Mutex::new(Graves::new(dead)),
            retired: Mutex::default(),
            _lock: lock,
        })
    }

    /// The newest states, and the sequence number to read them at.
    fn committed(&self) -> (Arc<Published>, SeqNo) {
        let published = self.published.read().expect("nothing under this lock panics");
        // Under the lock, so that the number is not below what the states' tables were collected at, nor above the
        // memtables that they hold.
        let seqno = self.visible.load(Ordering::Acquire);
        (Arc::clone(&published), seqno)
    }

    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().expect("only a broken invariant panics while the lock is held, and nothing may follow it")
    }

    fn graves(&self) -> MutexGuard<'_, Graves> {
        self.graves.lock().expect("nothing under this lock panics")
    }

    fn tree_of(&self, space: SpaceId) -> usize {
        (space.get() % self.trees.len() as u64) as usize
    }

    /// Garbage of which even the oldest visible version is hidden may go.
    fn watermark(&self) -> SeqNo {
        self.visible.load(Ordering::Acquire)
    }

    /// Publishes a tree's structure as it is now.
    fn refresh(&self, index: usize) {
        self.trees[index].publish(|state| {
            let mut published = self.published.write().expect("nothing under this lock panics");
            self.retired().push(published.tree(index));
            *published = Arc::new(published.with_tree(index, Arc::new(state)));
        });
    }

    /// Frees the states that nobody has any more. On a thread that may take its time.
    fn sweep(&self) {
        let (kept, free): (Vec<_>, Vec<_>) = self.retired().drain(..).partition(|state| Arc::strong_count(state) > 1);
        self.retired().extend(kept);
        // Without the lock, which the writer takes when it rotates.
        drop(free);
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Arc<State>>> {
        self.retired.lock().expect("nothing under this lock panics")
    }

    /// Writes items to one tree and makes them visible.
    fn write(&self, commits: &mut Commits, index: usize, items: impl Iterator<Item = (Bytes, Option<Bytes>)>) {
        let state = self.committed().0.tree(index);
        for (key, value) in items {
            state.write(key, value, commits.next);
        }
        commits.next += 1;
        self.visible.store(commits.next, Ordering::Release);
    }

    /// Writes where those spaces stand in the log that this holds for, if their trees' memtables do not say so yet.
    fn write_places(&self, commits: &mut Commits, which: impl Fn(SpaceId) -> bool) {
        let spaces: Vec<_> = commits.unwritten.extract_if(.., |space| which(*space)).collect();
        for space in spaces {
            let to = commits.applied[&space];
            let record = (keys::applied_key(space), Some(keys::encode_applied(to)));
            self.write(commits, self.tree_of(space), std::iter::once(record));
        }
    }

    /// Seals the memtable of a tree, with the places in the log of all spaces that were written to it.
    fn rotate(&self, commits: &mut Commits, index: usize) {
        self.write_places(commits, |space| self.tree_of(space) == index);
        if self.trees[index].rotate() == Progress::Made {
            self.refresh(index);
        }
    }

    /// Makes everything sealed in a tree durable.
    fn flush(&self, index: usize) -> Result<Progress, EngineError> {
        let progress = self.trees[index].flush(self.watermark())?;
        if progress == Progress::Made {
            self.refresh(index);
            self.sweep();
        }
        Ok(progress)
    }

    fn commit(&self, space: SpaceId, writes: BTreeMap<Bytes, Option<Bytes>>, to: Applied) -> Result<(), EngineError> {
        let index = self.tree_of(space);
        let mut commits = self.commits();
        let from = commits.applied.get(&space).map_or(0, |applied| applied.index);
        assert!(from <= to.index, "space {space} stands at {from} and cannot go back to {}", to.index);
        self.write(&mut commits, index, writes.into_iter());
        commits.applied.insert(space, to);
        commits.unwritten.insert(space);
        let state = self.committed().0.tree(index);
        if state.active_bytes() < self.memtable_bytes {
            return Ok(());
        }
        self.rotate(&mut commits, index);
        drop(commits);
        // More is waiting than the other threads get away with: whoever writes so much takes part.
        if state.sealed() >= MAX_SEALED {
            self.flush(index)?;
        }
        Ok(())
    }
}

impl Engine for LsmEngine {
    fn applied(&self) -> BTreeMap<SpaceId, Applied> {
        self.shared.commits().applied.clone()
    }

    fn view(&self) -> Box<dyn View> {
        Box::new(LsmView::new(self.shared.committed()))
    }

    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let (published, seqno) = self.shared.committed();
        published.get(space, key, seqno)
    }

    fn begin(&self, space: SpaceId) -> Box<dyn Batch + '_> {
        let turn = self.writer.begin();
        assert!(!self.shared.graves().is_dead(space), "space {space} was dropped; its id is never used again");
        Box::new(LsmBatch::new(&self.shared, space, turn))
    }

    fn begin_checkpoint(&self) -> Result<Box<dyn Checkpoint>, EngineError> {
        self.writer.assert_idle("a checkpoint was begun");
        Ok(Box::new(LsmCheckpoint::begin(&self.shared)))
    }

    fn maintain(&self) -> Result<bool, EngineError> {
        let shared = &self.shared;
        shared.sweep();
        for index in 0..shared.trees.len() {
            if shared.flush(index)? == Progress::Made {
                return Ok(true);
            }
        }
        if graves::dig(shared)? == Progress::Made {
            return Ok(true);
        }
        for (index, tree) in shared.trees.iter().enumerate() {
            if tree.compact(shared.watermark())? == Progress::Made {
                shared.refresh(index);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn drop_space(&self, space: SpaceId) -> Result<(), EngineError> {
        self.writer.assert_idle("a space was dropped");
        graves::bury(&self.shared, space);
        Ok(())
    }

    fn verify(&self) -> Result<(), EngineError> {
        let shared = &self.shared;
        if EngineFile::read(&shared.dir)?.is_none() {
            return Err(corrupt(&engine_file::path(&shared.dir), "it is missing".to_owned()));
        }
        let published = shared.committed().0;
        for (index, tree) in shared.trees.iter().enumerate() {
            tree.check_manifest()?;
            manifest::check_tables(&published.tree(index).files())?;
        }
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        let published = self.shared.committed().0;
        let mut stats = EngineStats::default();
        for (index, tree) in self.shared.trees.iter().enumerate() {
            let (bytes, files) = tree.disk();
            stats.disk_bytes += bytes;
            stats.files += files;
            stats.memory_bytes += published.tree(index).memory_bytes();
        }
        stats
    }
}

const TREE: &str = "tree-";

fn tree_dir(dir: &Path, index: u32) -> PathBuf {
    dir.join(format!("{TREE}{index}"))
}

fn is_tree(path: &Path) -> bool {
    let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix(TREE)?.parse::<u32>().ok());
    number.is_some()
}

fn lock(dir: &Path) -> Result<File, EngineError> {
    let path = dir.join("LOCK");
    let file = File::create(&path).map_err(|error| of_io(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EngineError::Locked { file: path }),
        Err(TryLockError::Error(error)) => Err(of_io(&path, &error)),
    }
}

fn check_identity(dir: &Path, file: &EngineFile, options: &LsmOptions) -> Result<(), EngineError> {
    if (file.cluster, file.node) == (options.cluster, options.node) {
        return Ok(());
    }
    let name = |cluster: ClusterId, node: NodeId| format!("node {node} of cluster {cluster}");
    let (found, expected) = (name(file.cluster, file.node), name(options.cluster, options.node));
    Err(EngineError::Foreign { file: engine_file::path(dir), found, expected })
}

/// Makes the trees and then the file that says they are there, so that half a creation is simply begun again.
fn create(dir: &Path, options: &LsmOptions, pools: &Pools) -> Result<(EngineFile, Vec<ManagedTree>), EngineError> {
    assert!(options.trees > 0, "an engine has at least one tree");
    for entry in fs::read_dir(dir).map_err(|error| of_io(dir, &error))? {
        let path = entry.map_err(|error| of_io(dir, &error))?.path();
        if tree::has_tables(&path) {
            let detail = format!("it is missing, but there are tables in {}", path.display());
            return Err(corrupt(&engine_file::path(dir), detail));
        }
        // By its name, not by what is in it: this removal may itself be cut short anywhere.
        if path.is_dir() && is_tree(&path) {
            fs::remove_dir_all(&path).map_err(|error| of_io(&path, &error))?;
        }
    }
    let create = |index| ManagedTree::create(&tree_dir(dir, index), pools);
    let trees = (0..options.trees).map(create).collect::<Result<Vec<_>, _>>()?;
    let (cluster, node) = (options.cluster, options.node);
    let file = EngineFile { cluster, node, trees: options.trees, dead: BTreeSet::new() };
    file.write(dir)?;
    // The directory's own name, too: what is acknowledged in it later would be lost with it.
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| of_io(parent, &error))?;
    Ok((file, trees))
}
