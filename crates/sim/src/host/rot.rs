//! Where bits of a log may turn so that the log must notice.
//!
//! Each batch says how much was synced before it (`durable_to`). Damage below the greatest of these is corruption; damage in
//! the batches after it looks like a write that a power failure has torn, and recovery cuts it off. Nobody can tell the
//! two apart, so bits turn only where they must be noticed, whatever a crash takes away before the log is read: what counts
//! is the `durable_to` of batches that are synced themselves.

use std::path::{Path, PathBuf};

use althing_faultdisk::{Fate, FaultDisk};
use althing_storage::wal::{InspectedRecord, RecordState, inspect};
use fastrand::Rng;

use super::boot::WAL_DIR;

/// Bytes in front of a record's payload.
const RECORD_HEADER_BYTES: u64 = 25;
/// The bytes of a segment's header that say something.
const SEGMENT_HEADER_BYTES: u64 = 72;

/// One bit of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The byte in it.
    pub offset: u64,
    /// The bit of the byte.
    pub bit: u8,
}

/// A bit of the log that is proven to have been synced; `None` if there is none yet.
#[must_use]
pub fn place(disk: &FaultDisk, seed: u64) -> Option<Place> {
    let synced = FaultDisk::new();
    synced.restore(&disk.snapshot());
    synced.crash_all(Fate::Lost);
    let mut records: Vec<InspectedRecord> =
        inspect(&synced, Path::new(WAL_DIR)).ok()?.collect::<Result<_, _>>().ok()?;
    records.retain(|record| record.state != RecordState::Cut);
    let proven = records.iter().map(|record| record.durable_to).max()?;
    let mut rng = Rng::with_seed(seed);
    let record = rng.choice(records.iter().filter(|record| record.batch < proven).collect::<Vec<_>>())?;
    let offset = match rng.u32(0..8) {
        0 => rng.u64(0..SEGMENT_HEADER_BYTES),
        _ => record.offset + rng.u64(0..RECORD_HEADER_BYTES + record.payload_bytes),
    };
    Some(Place { path: record.segment.clone(), offset, bit: rng.u8(0..8) })
}
