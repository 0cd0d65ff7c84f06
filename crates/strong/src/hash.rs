//! Hashes of the logical state: CRC32C over what every replica holds alike, and over nothing else.

use althing_codec::{Writer, checksum};
use althing_storage::engine::Applied;
use bytes::Bytes;

use crate::error::StrongError;
use crate::layout::{Version, VersionBody};
use crate::lessor::LeaseRecord;
use crate::state::State;
use crate::walk::{HistoryWalk, Step};

/// The hash of the unversioned state. How far the log is applied is no part of it (as with etcd): a new leader's empty entry
/// moves that and nothing else.
pub(crate) fn unversioned(state: &State, records: &[Bytes], leases: &[LeaseRecord]) -> u32 {
    let mut writer = Writer::default();
    State { applied: Applied::default(), ..*state }.write(&mut writer);
    for record in records {
        writer.bytes(record);
    }
    for lease in leases {
        writer.i64(lease.id.0);
        writer.i64(lease.ttl_seconds);
        writer.i64(lease.remaining_seconds);
    }
    checksum::crc32c(&writer.finish())
}

/// Goes on from `hash` over the steps of a walk.
pub(crate) fn history(mut hash: u32, mut walk: HistoryWalk) -> Result<u32, StrongError> {
    while let Some(steps) = walk.next_piece()? {
        for step in steps {
            let (head, value) = parts(&step);
            hash = checksum::extend(checksum::extend(hash, &head), &value);
        }
    }
    Ok(hash)
}

/// What is hashed of a version: everything that readers can see.
fn parts(step: &Step) -> (Bytes, Bytes) {
    let mut writer = Writer::with_capacity(step.key.len() + 48);
    writer.bytes(&step.key);
    writer.u64(step.id.main.0 as u64);
    writer.u64(u64::from(step.id.sub));
    let Version { body, garbage_before: _ } = &step.version;
    let value = match body {
        VersionBody::Put { create_revision, version, lease, value } => {
            writer.u64(create_revision.0 as u64);
            writer.u64(*version as u64);
            writer.i64(lease.map_or(0, althing_types::LeaseId::get));
            writer.u64(value.len() as u64);
            value.clone()
        }
        VersionBody::Tombstone => {
            writer.u64(0);
            Bytes::new()
        }
    };
    (writer.finish(), value)
}
