//! The write-ahead log: one per node, shared by every group, so that one `fdatasync` commits what all queued meanwhile.
//!
//! ```text
//!            oldest                                          newest
//!   ┌────────────────────────┐ ┌────────────────────────┐ ┌────────────────────────┐    ┌ ─ ─ ─ ─ ─ ┐
//!   │hdr│carry│batch│batch│…  │ │hdr│carry│batch│batch│…  │ │hdr│carry│batch│000000  │      spare
//!   └────────────────────────┘ └────────────────────────┘ └────────────────────────┘    └ ─ ─ ─ ─ ─ ┘
//!                                                                     └ tail
//! ```
//!
//! **Batches** are what one `append` writes with one `write_at`: a header and its records, padded to whole sectors, so that
//! writing a batch never touches a sector of an earlier one. A batch holds its global position, the log's epoch, the
//! last checksum before it (the chain), and `durable_to`, the position known to be synced when it was written.
//!
//! **What follows is accepted only if** position, epoch and chain fit. A recycled segment is full of batches of its earlier
//! life: their positions are smaller than the segment's base, which alone refuses them. Cut bytes carry an older epoch.
//!
//! **Torn tail or corruption.** Where the walk from the oldest segment stops, the rest of the newest segment is searched
//! for batches that are whole in themselves. If any batch proves (`durable_to`) that the place of the stop had been
//! synced, or the stop is not in the newest segment at all (a segment is synced before its successor is made), this is
//! corruption: an error that names segment and offset. Otherwise it is a torn tail, cut with everything after it. Rot in
//! the very last synced batch cannot be told from a tear.
//!
//! **Epochs.** [`Wal::open`] syncs an empty batch of a new epoch before it returns, so that nothing of a cut tail can
//! chain again, whatever later crashes keep of it.
//!
//! **Carry.** The latest hard state, truncation and snapshot record of each group is small and needed for ever. Each segment
//! begins with a copy of them all as they stood there, so that any older segment can go. The copy is handed out
//! at recovery only where it is the oldest thing in the log, which is where it belongs in the order of records.
//!
//! The layout is drawn in `docs/formats/wal.md`. Sources: the log manager of ARIES (Mohan et al., 1992, section 3), LevelDB's
//! `log_format.md` for torn tails, PostgreSQL's `xlogreader` for recycled segments, and "Protocol-Aware Recovery for
//! Consensus-Based Storage" (Alagappan et al., FAST 2018) for telling a tear from corruption.

mod error;
mod format;
mod head;
mod ledger;
mod log;
mod pool;
mod recover;
mod scan;

pub mod inspect;

use std::fmt;

use althing_types::limits::{MAX_WAL_BATCH_BYTES, MAX_WAL_PINNED_BYTES, WAL_SEGMENT_BYTES};
use althing_types::{ClusterId, GroupId, NodeId};
use bytes::Bytes;

pub use error::{Damage, WalError};
pub use format::FORMAT_VERSION;
pub use inspect::{InspectedRecord, RecordState, inspect};
pub use log::{Wal, WalStats};
pub use recover::{Cut, Recovery, Replayed};

/// What a record is about. The numbers are on disk: none is ever reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum RecordKind {
    /// Entries of the group's log. Idempotent: those from their first index on replace all that were there.
    Entries = 1,
    /// Term, vote and commit. Only the latest is needed.
    HardState = 2,
    /// Index and term up to which the group's log is cut off. Only the latest is needed.
    Truncated = 3,
    /// Index, term and members of an installed snapshot. Only the latest is needed.
    Snapshot = 4,
    /// The group is gone: nothing of it that was written before is needed.
    GroupDropped = 5,
    /// Whether the node has a replica of the group and where, or what one that is gone had promised. Only the latest is needed.
    Replica = 6,
    /// The node's copy of the map, under a group of no replica. Only the latest is needed.
    Map = 7,
    /// A delta of a replica without a leader. They are idempotent, and stand in a log of their own beside that of the replica's group.
    Delta = 8,
    /// How far other replicas have acknowledged the deltas of a log of deltas. Only the latest is needed.
    Acknowledged = 9,
}

/// How long the log needs a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    /// Until it is released by index.
    UntilReleased,
    /// While it is the latest of its kind and group.
    Latest,
    /// As long as anything older of the group is in the log, which is by itself true.
    Marker,
}

impl RecordKind {
    pub(crate) const fn keep(self) -> Keep {
        match self {
            Self::Entries | Self::Delta => Keep::UntilReleased,
            Self::HardState | Self::Truncated | Self::Snapshot | Self::Replica | Self::Map | Self::Acknowledged => {
                Keep::Latest
            }
            Self::GroupDropped => Keep::Marker,
        }
    }

    pub(crate) const fn from_ordinal(ordinal: u8) -> Option<Self> {
        match ordinal {
            1 => Some(Self::Entries),
            2 => Some(Self::HardState),
            3 => Some(Self::Truncated),
            4 => Some(Self::Snapshot),
            5 => Some(Self::GroupDropped),
            6 => Some(Self::Replica),
            7 => Some(Self::Map),
            8 => Some(Self::Delta),
            9 => Some(Self::Acknowledged),
            _ => None,
        }
    }
}

/// One fact that a group wants to be durable. The log does not look into the payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose.
    pub group: GroupId,
    /// What about.
    pub kind: RecordKind,
    /// The greatest log index inside; zero for a hard state.
    pub index: u64,
    /// The host's bytes.
    pub payload: Bytes,
}

/// A place in the log, in bytes since its first segment ever. It grows across segments, restarts and recycling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Position(u64);

impl Position {
    /// The bare number, for metrics.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn at(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose log it is: written into every segment and checked at open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node, self.cluster)
    }
}

/// Sizes of a log. Only tests and simulations have a reason to change them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalOptions {
    /// Bytes of one segment file. Applies to segments made from now on.
    pub segment_bytes: u64,
    /// Bytes of one batch at the most; more records are split into several. One record must fit.
    pub max_batch_bytes: usize,
    /// Bytes of zeros written at a time when a segment has to grow.
    pub grow_bytes: u64,
    /// Bytes at the end of what is preallocated that only the mark of a new epoch may use, so that a node can restart
    /// on a full disk.
    pub reserve_bytes: u64,
    /// Segments kept for reuse; what is freed beyond that is deleted.
    pub max_spares: usize,
    /// Bytes of log that one group may keep alive before [`Wal::pinned`] names it.
    pub max_pinned_bytes: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: WAL_SEGMENT_BYTES,
            max_batch_bytes: MAX_WAL_BATCH_BYTES,
            grow_bytes: 1024 * 1024,
            reserve_bytes: 32 * 1024,
            max_spares: 4,
            max_pinned_bytes: MAX_WAL_PINNED_BYTES,
        }
    }
}

/// A group that keeps old segments alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pinned {
    /// The group.
    pub group: GroupId,
    /// Bytes of log from the oldest segment that it needs up to the tail.
    pub bytes: u64,
}

#[cfg(test)]
mod tests;
