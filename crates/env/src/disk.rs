//! A disk as the log sees it: flat files in directories, positioned reads and writes, and explicit durability.
//!
//! What an implementation promises, and no more:
//! * bytes written are visible to reads at once, and durable only after [`DiskFile::sync`] has returned `Ok`;
//! * a crash loses, keeps or tears each unsynced 512-byte sector on its own;
//! * a created, renamed or removed name is durable only after [`Disk::sync_dir`] of its directory has returned `Ok`;
//! * a failed `sync` says nothing about what is on disk: the caller stops and never retries (fsyncgate, 2018).

use std::fmt;
use std::path::{Path, PathBuf};

/// The unit that a crash keeps or loses as a whole, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A file that must not exist yet, for reading and writing.
    CreateNew,
}

/// Why the disk refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskErrorKind {
    /// No such file or directory.
    NotFound,
    /// `CreateNew` of a name that exists.
    AlreadyExists,
    /// No space, or over quota.
    Full,
    /// The device or the file system failed. What was not synced before may be lost.
    Io,
}

/// A refusal of the disk, with the name of the file and the operation that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskError {
    /// What kind of refusal.
    pub kind: DiskErrorKind,
    /// The operation: "open", "write", "sync", ….
    pub operation: &'static str,
    /// The file or directory that was asked for.
    pub path: PathBuf,
    /// What the system said.
    pub message: String,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.path.display(), self.message)
    }
}

impl std::error::Error for DiskError {}

/// A file that was opened by [`Disk::open`]. Positions and lengths are in bytes.
pub trait DiskFile: Send + Sync {
    /// Fills `buffer` from `offset` as far as the file reaches and returns the bytes read: fewer only at its end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;
    /// Writes all of `data` at `offset`, growing the file if need be. Not durable before [`DiskFile::sync`].
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError>;
    /// Makes all that was written durable (`fdatasync`).
    fn sync(&self) -> Result<(), DiskError>;
    /// The file's length.
    fn len(&self) -> Result<u64, DiskError>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }
    /// Cuts or grows the file; bytes gained read as zero.
    fn set_len(&self, len: u64) -> Result<(), DiskError>;
}

/// A file system below one root. Paths are relative to it.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Box<dyn DiskFile>, DiskError>;
    /// File and directory names directly within `dir`, in order.
    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError>;
    /// Makes a directory and its parents; one that exists is fine.
    fn create_dir(&self, dir: &Path) -> Result<(), DiskError>;
    /// Renames a file, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<(), DiskError>;
    /// Makes names created, renamed and removed in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError>;
    /// Bytes that can still be written.
    fn available_bytes(&self) -> Result<u64, DiskError>;
}
