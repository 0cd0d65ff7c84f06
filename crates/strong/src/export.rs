//! A table as pages, for a replica that cannot catch up from the log, and for backups.
//!
//! ```text
//!   header (state, configuration, members, alarms) · bounds, if any · leases… · versions… · end (how many, checksum of all pages)
//! ```
//!
//! The unversioned state is captured when the export begins; the history is read page by page at that revision, while
//! the machine goes on writing above it and removes nothing below. The pages are a function of the log and of the page
//! size: every replica makes the same ones.

use althing_api::ErrorKind;
use althing_codec::{Writer, checksum};
use althing_probe::Mutant;
use althing_storage::engine::Applied;
use althing_types::Revision;
use bytes::Bytes;

use crate::error::StrongError;
use crate::layout::FORMAT;
use crate::lessor::LeaseRecord;
use crate::state::State;
use crate::walk::{HistoryWalk, Step};

/// What a page holds; the first byte of each.
pub(crate) mod tag {
    pub(crate) const HEADER: u8 = 1;
    pub(crate) const LEASES: u8 = 2;
    pub(crate) const VERSIONS: u8 = 3;
    pub(crate) const END: u8 = 4;
    pub(crate) const BOUNDS: u8 = 5;
}

/// What comes next.
enum Stage {
    Header,
    Bounds,
    Leases,
    Versions,
    End,
    Done,
}

/// A table on its way out. While it lives nothing of the table's history is removed.
pub struct Export {
    state: State,
    conf_state: Bytes,
    members: Bytes,
    alarms: Bytes,
    bounds: Option<Bytes>,
    leases: std::vec::IntoIter<LeaseRecord>,
    walk: HistoryWalk,
    /// Steps of the walk that no page has taken yet.
    waiting: std::vec::IntoIter<Step>,
    stage: Stage,
    versions: u64,
    checksum: u32,
}

impl Export {
    pub(crate) fn new(
        state: State,
        conf_state: Bytes,
        members: Bytes,
        alarms: Bytes,
        bounds: Option<Bytes>,
        leases: Vec<LeaseRecord>,
        walk: HistoryWalk,
    ) -> Self {
        let leases = if althing_probe::is(Mutant::SnapshotWithoutLeases) { Vec::new() } else { leases };
        let (leases, waiting) = (leases.into_iter(), Vec::new().into_iter());
        let stage = Stage::Header;
        Self { state, conf_state, members, alarms, bounds, leases, walk, waiting, stage, versions: 0, checksum: 0 }
    }

    /// Where in the log the cut is.
    #[must_use]
    pub const fn applied(&self) -> Applied {
        self.state.applied
    }

    /// The Raft configuration at the cut.
    #[must_use]
    pub fn conf_state(&self) -> Bytes {
        self.conf_state.clone()
    }

    /// The revision at the cut.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.state.revision
    }

    /// Bytes of logical data at the cut: about what all pages hold together.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.state.size()
    }

    /// The next page, which ends with the item that reaches `max_bytes`; `None` after the last.
    pub fn next_page(&mut self, max_bytes: usize) -> Result<Option<Bytes>, ErrorKind> {
        let mut writer = Writer::with_capacity(max_bytes.min(1 << 20));
        loop {
            match self.stage {
                Stage::Header => {
                    self.header(&mut writer);
                    self.stage = Stage::Bounds;
                }
                Stage::Bounds => {
                    if let Some(bounds) = &self.bounds {
                        writer.u8(tag::BOUNDS);
                        writer.raw(bounds);
                    }
                    self.stage = Stage::Leases;
                }
                Stage::Leases => {
                    self.lease_page(&mut writer, max_bytes);
                    if self.leases.len() == 0 {
                        self.stage = Stage::Versions;
                    }
                }
                Stage::Versions => {
                    if !self.version_page(&mut writer, max_bytes)? {
                        self.stage = Stage::End;
                    }
                }
                Stage::End => {
                    self.end(&mut writer);
                    self.stage = Stage::Done;
                }
                Stage::Done => return Ok(None),
            }
            if !writer.is_empty() {
                let page = writer.finish();
                self.checksum = checksum::extend(self.checksum, &page);
                return Ok(Some(page));
            }
        }
    }

    fn header(&self, writer: &mut Writer) {
        writer.u8(tag::HEADER);
        writer.u64(FORMAT);
        self.state.write(writer);
        for record in [&self.conf_state, &self.members, &self.alarms] {
            writer.bytes(record);
        }
    }

    fn lease_page(&mut self, writer: &mut Writer, max_bytes: usize) {
        for lease in self.leases.by_ref() {
            if writer.is_empty() {
                writer.u8(tag::LEASES);
            }
            writer.i64(lease.id.0);
            writer.i64(lease.ttl_seconds);
            writer.i64(lease.remaining_seconds);
            if writer.len() >= max_bytes {
                break;
            }
        }
    }

    /// `false` when the walk has come to its end.
    fn version_page(&mut self, writer: &mut Writer, max_bytes: usize) -> Result<bool, StrongError> {
        while writer.len() < max_bytes {
            match self.waiting.next() {
                Some(step) => {
                    if writer.is_empty() {
                        writer.u8(tag::VERSIONS);
                    }
                    self.versions += 1;
                    writer.bytes(&step.key);
                    writer.u64(step.id.main.0 as u64);
                    writer.u64(u64::from(step.id.sub));
                    writer.bytes(&step.version.encode());
                }
                None => match self.walk.next_piece()? {
                    Some(steps) => self.waiting = steps.into_iter(),
                    None => return Ok(false),
                },
            }
        }
        Ok(true)
    }

    fn end(&self, writer: &mut Writer) {
        writer.u8(tag::END);
        writer.u64(self.versions);
        writer.fixed_u32(self.checksum);
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("applied", &self.applied()).finish_non_exhaustive()
    }
}
