//! The numbers of a table that every write moves, and what is left of a compaction to do.

use althing_codec::{DecodeError, Reader, Writer};
use althing_storage::engine::Applied;
use althing_types::Revision;
use bytes::Bytes;

use crate::error::StrongError;
use crate::layout::VersionId;

/// The compact revision of a table that was never compacted (etcd's own -1).
pub const NEVER_COMPACTED: Revision = Revision(-1);

/// What one version is counted with beside its key and value: the numbers of its three records.
const VERSION_OVERHEAD_BYTES: u64 = 64;

/// What a version counts for in the table's size: its key in the index and in the history, its value, its numbers. A
/// tombstone counts for nothing, so that removing always makes a table smaller.
#[must_use]
pub fn version_bytes(key_bytes: usize, value_bytes: u64) -> u64 {
    2 * key_bytes as u64 + value_bytes + VERSION_OVERHEAD_BYTES
}

/// Where a table stands. All of it follows from the log.
///
/// The size is kept without ever visiting the data: `written` grows with each version, `garbage` with each version that
/// another one replaces. Each version remembers the garbage made before it, so a compaction at revision C reads
/// what it frees from the first version after C.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// The revision of the last write.
    pub revision: Revision,
    /// The least revision that can be read.
    pub compacted: Revision,
    /// Bytes of all versions ever written.
    pub written: u64,
    /// Bytes of all versions ever replaced.
    pub garbage: u64,
    /// The part of `garbage` that compactions have freed.
    pub freed: u64,
    /// The quota in bytes.
    pub quota: u64,
    /// The last log entry that is in the state, as the engine says it as well: here a view sees it.
    pub applied: Applied,
}

impl State {
    /// A new table.
    #[must_use]
    pub const fn new(quota: u64, applied: Applied) -> Self {
        let (revision, compacted) = (Revision::FIRST, NEVER_COMPACTED);
        Self { revision, compacted, written: 0, garbage: 0, freed: 0, quota, applied }
    }

    /// Bytes of logical data.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.written - self.freed
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(48);
        self.write(&mut writer);
        writer.finish()
    }

    /// Its bytes, within others.
    pub fn write(&self, writer: &mut Writer) {
        writer.i64(self.revision.0);
        writer.i64(self.compacted.0);
        writer.u64(self.written);
        writer.u64(self.garbage);
        writer.u64(self.freed);
        writer.u64(self.quota);
        writer.u64(self.applied.index);
        writer.u64(self.applied.term);
    }

    /// From its bytes, within others.
    pub fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let state = Self {
            revision: Revision(reader.i64("revision")?),
            compacted: Revision(reader.i64("compacted")?),
            written: reader.u64("written")?,
            garbage: reader.u64("garbage")?,
            freed: reader.u64("freed")?,
            quota: reader.u64("quota")?,
            applied: Applied { index: reader.u64("applied index")?, term: reader.u64("applied term")? },
        };
        let sound = state.freed <= state.garbage
            && state.garbage <= state.written
            && state.compacted <= state.revision
            && state.revision >= Revision::FIRST;
        if sound { Ok(state) } else { Err(DecodeError::Unknown { field: "state", value: state.garbage }) }
    }

    /// From its bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, StrongError> {
        let mut reader = Reader::new(bytes);
        let state = Self::read(&mut reader).and_then(|state| reader.finish().map(|()| state));
        state.map_err(|source| StrongError::Record { what: "state", source })
    }
}

/// How far the removal of compacted versions has come on this replica. It differs between replicas and shows nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The next position to look at. A finished compaction leaves the first of its own revision, whose tombstones were kept.
    pub next: VersionId,
    /// The compact revision whose removal is finished.
    pub finished: Revision,
}

impl Progress {
    /// Nothing was ever removed.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: VersionId { main: Revision(0), sub: 0 }, finished: NEVER_COMPACTED }
    }

    /// Everything up to a revision was removed.
    #[must_use]
    pub const fn finished(revision: Revision) -> Self {
        if revision.0 < 0 {
            return Self::new();
        }
        Self { next: VersionId::first_of(revision), finished: revision }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(20);
        writer.i64(self.next.main.0);
        writer.u64(u64::from(self.next.sub));
        writer.i64(self.finished.0);
        writer.finish()
    }

    /// From its bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, StrongError> {
        let mut reader = Reader::new(bytes);
        let progress = Self::read(&mut reader).and_then(|progress| reader.finish().map(|()| progress));
        progress.map_err(|source| StrongError::Record { what: "progress", source })
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let main = Revision(reader.i64("main")?);
        let sub = reader.u64("sub")?;
        let sub = u32::try_from(sub).map_err(|_| DecodeError::Unknown { field: "sub", value: sub })?;
        Ok(Self { next: VersionId { main, sub }, finished: Revision(reader.i64("finished")?) })
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_record_is_refused() {
        let longer = |bytes: Bytes| Bytes::from([&bytes[..], &[0]].concat());
        let progress = Progress::finished(Revision(7));
        assert_eq!(Progress::decode(progress.encode()), Ok(progress));
        assert!(Progress::decode(longer(progress.encode())).is_err());
        let state = State::new(1, Applied { index: 1, term: 1 });
        assert_eq!(State::decode(state.encode()), Ok(state));
        assert!(State::decode(longer(state.encode())).is_err());
    }
}
