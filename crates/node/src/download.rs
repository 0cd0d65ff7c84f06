//! Snapshots that clients download: the pages of an export, framed so that a restore can check each of them.
//!
//! ```text
//! file    magic "ALTHSNAP" | version:u32 le = 1 | page* | end
//! page    bytes:u32 le > 0 | crc32c of the page:u32 le | the page
//! end     0:u32 le | crc32c of all pages' checksums, in order:u32 le
//! ```

use althing_api::{Error, SnapshotChunk};
use althing_codec::checksum::{crc32c, extend};
use althing_strong::{Export, Reader};
use althing_types::Revision;
use bytes::{BufMut, Bytes, BytesMut};

use crate::effects::ExportSource;

/// The first bytes of a snapshot file.
pub const SNAPSHOT_MAGIC: &[u8; 8] = b"ALTHSNAP";
/// The version of its format.
pub const SNAPSHOT_VERSION: u32 = 1;

/// Where a download is.
#[derive(Debug)]
enum Stage {
    /// Nothing is read yet.
    Fresh(Reader),
    /// The reader has the export.
    Reading,
    /// It waits for the client to pull.
    Idle(Box<Export>),
}

/// A snapshot on its way to a client.
#[derive(Debug)]
pub(crate) struct Download {
    stage: Stage,
    revision: Revision,
    started: bool,
    /// What is thought to be left, in bytes: the table's logical size at the start, less what was sent.
    remaining_bytes: u64,
    /// Checksum over the pages' checksums so far.
    chain: u32,
    ended: bool,
}

impl Download {
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            revision: reader.revision(),
            remaining_bytes: reader.size_bytes(),
            stage: Stage::Fresh(reader),
            started: false,
            chain: 0,
            ended: false,
        }
    }

    /// The client wants a chunk: what to read for it, unless a read is under way.
    pub(crate) fn pull(&mut self) -> Option<ExportSource> {
        match std::mem::replace(&mut self.stage, Stage::Reading) {
            Stage::Fresh(reader) => Some(ExportSource::Start(reader)),
            Stage::Idle(export) => Some(ExportSource::Next(export)),
            Stage::Reading => None,
        }
    }

    /// A page has been read: the chunk for the client; `None` when the last one has been sent.
    pub(crate) fn page(
        &mut self,
        export: Option<Box<Export>>,
        result: Result<Option<Bytes>, Error>,
    ) -> Option<Result<SnapshotChunk, Error>> {
        if self.ended {
            return None;
        }
        let page = match result {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        if let Some(export) = export {
            self.revision = export.revision();
            self.stage = Stage::Idle(export);
        }
        let mut bytes = BytesMut::with_capacity(page.as_ref().map_or(0, Bytes::len) + 24);
        if !self.started {
            self.started = true;
            bytes.put_slice(SNAPSHOT_MAGIC);
            bytes.put_u32_le(SNAPSHOT_VERSION);
        }
        match page {
            Some(page) => {
                let crc = crc32c(&page);
                self.chain = extend(self.chain, &crc.to_le_bytes());
                bytes.put_u32_le(page.len() as u32);
                bytes.put_u32_le(crc);
                bytes.put_slice(&page);
            }
            None => {
                self.ended = true;
                bytes.put_u32_le(0);
                bytes.put_u32_le(self.chain);
            }
        }
        // How much is left is not known before it is read: an estimate that never grows, and is nothing only at the end.
        let least = u64::from(!self.ended);
        let left = if self.ended { 0 } else { self.remaining_bytes.saturating_sub(bytes.len() as u64) };
        self.remaining_bytes = left.max(least);
        let (remaining_bytes, revision) = (self.remaining_bytes, self.revision);
        Some(Ok(SnapshotChunk { bytes: bytes.freeze(), remaining_bytes, revision }))
    }
}

/// Why a snapshot file is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// It is something else.
    #[error("this is not a snapshot made by Althing: it does not begin with ALTHSNAP")]
    Magic,
    /// It was made in a format that this program does not know.
    #[error("the snapshot has format version {0}; this program knows {SNAPSHOT_VERSION} only")]
    Version(u32),
    /// Its end is missing.
    #[error("the snapshot ends at byte {0}, before its end mark: the download was cut short")]
    Truncated(u64),
    /// A page was changed.
    #[error("the snapshot is damaged at byte {0}: the checksum does not match")]
    Checksum(u64),
}

/// Takes a snapshot file apart into its pages, checking each and the whole.
pub fn snapshot_pages(file: Bytes) -> Result<Vec<Bytes>, SnapshotFileError> {
    if file.len() < 12 || file[..8] != SNAPSHOT_MAGIC[..] {
        return Err(SnapshotFileError::Magic);
    }
    let number = |at: usize| -> Result<u32, SnapshotFileError> {
        let bytes = file.get(at..at + 4).ok_or(SnapshotFileError::Truncated(file.len() as u64))?;
        Ok(u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
    };
    let version = number(8)?;
    if version != SNAPSHOT_VERSION {
        return Err(SnapshotFileError::Version(version));
    }
    let (mut at, mut chain, mut pages) = (12, 0, Vec::new());
    loop {
        let (len, crc) = (number(at)? as usize, number(at + 4)?);
        if len == 0 {
            return if crc == chain { Ok(pages) } else { Err(SnapshotFileError::Checksum(at as u64)) };
        }
        let start = at + 8;
        if file.len() < start + len {
            return Err(SnapshotFileError::Truncated(file.len() as u64));
        }
        let page = file.slice(start..start + len);
        if crc32c(&page) != crc {
            return Err(SnapshotFileError::Checksum(at as u64));
        }
        chain = extend(chain, &crc.to_le_bytes());
        pages.push(page);
        at = start + len;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use althing_api::kv::{PutLease, PutRequest, PutValue};
    use althing_storage::engine::Applied;
    use althing_storage::engine::model::ModelEngine;
    use althing_strong::{ApplyOutput, Command, LogEntry, Machine, MachineConfig, Proposal};
    use althing_types::{NodeId, RequestId, SpaceId};

    use super::*;

    /// A table of a hundred keys with values of a hundred bytes each.
    fn table() -> Machine {
        let mut machine = Machine::open(Arc::new(ModelEngine::new()), SpaceId(1), MachineConfig::default()).unwrap();
        machine.bootstrap(&[], Bytes::new(), Applied { index: 1, term: 1 }).unwrap();
        let put = |n: u64| PutRequest {
            key: Bytes::from(format!("key {n}")),
            value: PutValue::Set(vec![7; 100].into()),
            lease: PutLease::Set(None),
            prev_kv: false,
        };
        let entry = |n| {
            let proposal = Proposal { origin: NodeId(1), request: RequestId(n), command: Command::Put(put(n)) };
            LogEntry { index: n, term: 1, data: proposal.encode(), conf_state: None }
        };
        let entries: Vec<_> = (2..102).map(entry).collect();
        machine.apply(&entries, &mut ApplyOutput::default()).unwrap();
        machine
    }

    fn download(machine: &Machine) -> Vec<SnapshotChunk> {
        let mut download = Download::new(machine.reader());
        let mut chunks = Vec::new();
        while !download.ended {
            let mut export = match download.pull().unwrap() {
                ExportSource::Start(reader) => Box::new(reader.export().unwrap()),
                ExportSource::Next(export) => export,
            };
            let page = export.next_page(1_000).unwrap();
            chunks.push(download.page(Some(export), Ok(page)).unwrap().unwrap());
        }
        chunks
    }

    #[test]
    fn what_is_thought_to_be_left_never_grows_and_is_nothing_only_at_the_end() {
        let machine = table();
        let remaining: Vec<_> = download(&machine).iter().map(|chunk| chunk.remaining_bytes).collect();
        assert!(remaining.len() > 5 && remaining.is_sorted_by(|a, b| a >= b), "{remaining:?}");
        assert!(remaining[0] > machine.reader().size_bytes() / 2, "{remaining:?}");
        assert_eq!(remaining.iter().position(|left| *left == 0), Some(remaining.len() - 1));
    }

    #[test]
    fn a_snapshot_of_another_version_is_refused() {
        let file: Vec<u8> = download(&table()).iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        assert!(snapshot_pages(file.clone().into()).is_ok());
        for version in [0, 2] {
            let mut other = file.clone();
            other[8] = version;
            assert_eq!(snapshot_pages(other.into()), Err(SnapshotFileError::Version(version.into())));
        }
    }
}
