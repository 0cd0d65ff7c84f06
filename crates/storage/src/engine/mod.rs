//! Sorted state below the log.
//!
//! An engine holds *spaces*: each a sorted map of byte strings, the data of one replica of one shard. It has no journal
//! of its own. The contract, which one test suite holds every implementation to:
//!
//! 1. There is one writer. What a [`Batch`] has written it reads itself; others see nothing of it before
//!    [`Batch::commit`], and then all of it. A batch is not durable.
//! 2. A batch carries the log position ([`Applied`]) that the space stands at afterwards, in the space itself.
//! 3. After a crash each space equals exactly the prefix of its batches that ends at `applied()[space]`: never
//!    before the last finished checkpoint, never within a batch. Spaces may stand at different positions.
//! 4. [`Engine::begin_checkpoint`] is a cheap cut between batches, on the writer's thread; [`Checkpoint::finish`] makes
//!    all batches before the cut durable, on any thread, while the writer goes on.
//! 5. A damaged file is an error that names it; its content is never served.
//! 6. Only the writer's thread and one maintenance thread call the methods that write.

mod keys;
mod overlay;
mod turn;

pub mod lsm;
pub mod model;
#[cfg(feature = "redb")]
pub mod redb;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;

use althing_types::SpaceId;
use bytes::Bytes;

/// Bytes of one key, at most: what the table format of [`lsm`] holds, less the space's id.
pub const MAX_KEY_BYTES: usize = u16::MAX as usize - size_of::<u64>();

/// Keys come from a state machine that has refused longer ones; one that arrives here is a broken invariant.
fn assert_key(key: &[u8]) {
    assert!(key.len() <= MAX_KEY_BYTES, "a key of {} bytes; an engine holds at most {MAX_KEY_BYTES}", key.len());
}

/// The log position that a space stands at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Applied {
    /// Index of the last log entry in the space.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// Why the engine refused. Every one of them is fatal for the replica; `Corrupt` for its data.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EngineError {
    /// A file fails its checksum or does not parse.
    #[error("{file} is corrupt: {detail}", file = .file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and where.
        detail: String,
    },
    /// The directory was written by a newer version.
    #[error("{file} has format version {found}; this program knows {known} only", file = .file.display())]
    Version {
        /// The file that says so.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The one that is known.
        known: u32,
    },
    /// The directory belongs to another node or cluster: it was copied, or the configuration is another's.
    #[error("{file} belongs to {found}, not to {expected}", file = .file.display())]
    Foreign {
        /// The file that says so.
        file: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// Another process has the directory open.
    #[error("{file} is locked: another process has this directory open", file = .file.display())]
    Locked {
        /// The file with the lock.
        file: PathBuf,
    },
    /// No space is left on the device.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The device or the file system failed.
    #[error("the engine's storage failed: {0}")]
    Io(String),
}

/// Items of a scan, in key order or its reverse.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<(Bytes, Bytes), EngineError>> + Send + 'a>;

/// The bounds of a scan.
pub type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Reads of one consistent state.
pub trait Read {
    /// The value of a key.
    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError>;
    /// The keys within bounds, ascending.
    fn scan<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a>;
    /// The keys within bounds, descending.
    fn scan_reverse<'a>(&'a self, space: SpaceId, bounds: Bounds<'_>) -> Scan<'a>;
}

/// A consistent view of all committed batches. It pins what it sees: hold one for less than a second.
pub trait View: Read + Send + Sync {}

/// Writes of one space that become visible together. It reads its own writes, and of other spaces what is committed.
///
/// Dropping a batch without [`Batch::commit`] leaves the engine unusable: it panics on the next `begin`. A writer decides
/// whether to write before it starts.
pub trait Batch: Read {
    /// Sets a key of the batch's space. Panics on one longer than [`MAX_KEY_BYTES`].
    fn put(&mut self, key: &[u8], value: &[u8]);
    /// Removes a key of the batch's space.
    fn delete(&mut self, key: &[u8]);
    /// Makes the batch visible; the space then stands at `applied`, which never goes back: an index below the space's own
    /// is a broken invariant and panics. The same one again is fine (a snapshot's pages, the removal of compacted history).
    fn commit(self: Box<Self>, applied: Applied) -> Result<(), EngineError>;
}

/// A cut that waits to be made durable.
pub trait Checkpoint: Send {
    /// Makes everything before the cut durable. Slow: hundreds of milliseconds are normal. Returns where each space stood
    /// at the cut.
    fn finish(self: Box<Self>) -> Result<BTreeMap<SpaceId, Applied>, EngineError>;
}

/// What is on disk and in memory, for metrics and status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EngineStats {
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Bytes written since the last checkpoint, held in memory.
    pub memory_bytes: u64,
    /// Table files.
    pub files: u64,
}

/// Sorted spaces. See the module for the contract.
pub trait Engine: Send + Sync {
    /// Where each space stands.
    fn applied(&self) -> BTreeMap<SpaceId, Applied>;
    /// A view of all committed batches.
    fn view(&self) -> Box<dyn View>;
    /// The latest committed value of one key, without the cost of a view.
    fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError>;
    /// Starts a batch on one space, which begins to exist with its first commit. Panics while another batch is open, and
    /// for a space that was dropped.
    fn begin(&self, space: SpaceId) -> Box<dyn Batch + '_>;
    /// Cuts between batches.
    fn begin_checkpoint(&self) -> Result<Box<dyn Checkpoint>, EngineError>;
    /// Does one unit of background work (compaction, dropping of dead spaces); `false` when there is none left.
    fn maintain(&self) -> Result<bool, EngineError>;
    /// Marks a space as dead, between batches: nothing of it is read any more. Durable with the next checkpoint, so after
    /// a crash before that the space may be back, and is dropped again. Its id is never used again; its bytes go in the
    /// background.
    fn drop_space(&self, space: SpaceId) -> Result<(), EngineError>;
    /// Reads every byte on disk and checks it. Slow.
    fn verify(&self) -> Result<(), EngineError>;
    /// Figures for metrics.
    fn stats(&self) -> EngineStats;
}
