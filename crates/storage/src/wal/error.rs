//! What can go wrong with the log, and what the caller does about it.

use std::fmt;
use std::path::{Path, PathBuf};

use althing_env::{DiskError, DiskErrorKind};

use super::Identity;

/// Why the log refused.
///
/// | error | state of the log | what to do |
/// |---|---|---|
/// | `Full` | nothing was written, the log goes on | free space or [`recycle`](super::Wal::recycle), then try again |
/// | `TooLarge` | nothing was written, the log goes on | fix the caller |
/// | `Disk`, `Poisoned` | nobody knows what is on disk | stop the process |
/// | `Corrupt`, `Missing` | not opened | never vote or serve with this data again: rejoin under a new id |
/// | `Foreign`, `Version`, `Options` | not opened | fix the configuration or the program's version |
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalError {
    /// There is no space to preallocate what the append needs.
    #[error("the disk is full: {0}; free some space, nothing was written")]
    Full(DiskError),
    /// The disk failed.
    #[error("the log's disk failed: {0}")]
    Disk(DiskError),
    /// An earlier failure left the log in a state that nobody knows.
    #[error("the log stopped after a failure: {0}")]
    Poisoned(DiskError),
    /// One record, or the latest small records of all groups together, do not fit.
    #[error("{what} take {bytes} bytes; at most {limit} fit")]
    TooLarge {
        /// What does not fit.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The most that would fit.
        limit: u64,
    },
    /// Bytes that had been synced are damaged.
    #[error("{segment} is corrupt at offset {offset}: {damage}", segment = .segment.display())]
    Corrupt {
        /// The segment's file.
        segment: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// A segment between the oldest and the newest is not there.
    #[error("{segment} is missing from the log", segment = .segment.display())]
    Missing {
        /// The segment's file.
        segment: PathBuf,
    },
    /// The directory belongs to another node or cluster.
    #[error("{segment} was written by {found}, this is {expected}", segment = .segment.display())]
    Foreign {
        /// The segment that says so.
        segment: PathBuf,
        /// Who wrote it.
        found: Identity,
        /// Who opens it.
        expected: Identity,
    },
    /// The directory was written in a format that this program does not know.
    #[error("{segment} has format version {found}; this program knows {known} only", segment = .segment.display())]
    Version {
        /// The segment that says so.
        segment: PathBuf,
        /// Its version.
        found: u32,
        /// The one that is known.
        known: u32,
    },
    /// The options contradict each other.
    #[error("the log's options are impossible: {0}")]
    Options(&'static str),
}

impl WalError {
    /// The error with the whole path of the segment that it names, for people: the log knows its files below the root of
    /// its disk only, and several nodes may run on one machine.
    #[must_use]
    pub fn below(mut self, root: &Path) -> Self {
        match &mut self {
            Self::Corrupt { segment, .. }
            | Self::Missing { segment }
            | Self::Foreign { segment, .. }
            | Self::Version { segment, .. } => *segment = root.join(&*segment),
            Self::Full(_) | Self::Disk(_) | Self::Poisoned(_) | Self::TooLarge { .. } | Self::Options(_) => {}
        }
        self
    }
}

impl From<DiskError> for WalError {
    fn from(error: DiskError) -> Self {
        match error.kind {
            DiskErrorKind::Full => Self::Full(error),
            DiskErrorKind::NotFound | DiskErrorKind::AlreadyExists | DiskErrorKind::Io => Self::Disk(error),
        }
    }
}

/// Why bytes are not the batch that should be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// No segment header.
    SegmentMagic,
    /// A segment header that fails its checksum, or that does not belong to the file's name.
    SegmentHeader,
    /// A segment that does not begin where the one before it ends, or was made after another one's end.
    SegmentChain,
    /// No batch begins here.
    BatchMagic,
    /// A batch header that fails its checksum.
    BatchHeader,
    /// A batch of an earlier life of the file.
    Position,
    /// A batch of an epoch that is over.
    Epoch,
    /// A batch that followed something else.
    Chain,
    /// A batch that reaches beyond the end of the file.
    BeyondEnd,
    /// A record that fails its checksum.
    Record,
    /// A record of a kind that this version does not have.
    RecordKind,
    /// Bytes after the records of a batch that are not zero.
    Padding,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SegmentMagic => "no segment header",
            Self::SegmentHeader => "the segment header fails its checksum or names another segment",
            Self::SegmentChain => "the segment does not follow the one before it",
            Self::BatchMagic => "no batch begins here",
            Self::BatchHeader => "the batch header fails its checksum",
            Self::Position => "the batch belongs to an earlier life of the file",
            Self::Epoch => "the batch belongs to an epoch that is over",
            Self::Chain => "the batch does not follow what is before it",
            Self::BeyondEnd => "the batch reaches beyond the end of the file",
            Self::Record => "a record fails its checksum",
            Self::RecordKind => "a record is of an unknown kind",
            Self::Padding => "the batch's padding is not zero",
        })
    }
}
