//! Reading the log from its oldest segment to where it stops, and judging the place of the stop.

use std::path::{Path, PathBuf};

use althing_env::disk::SECTOR_BYTES;
use althing_env::{Disk, DiskError, DiskFile, OpenMode};
use bytes::Bytes;

use super::format::{
    BatchHeader, DamageAt, FORMAT_VERSION, HeaderError, Link, ReadRecord, SEGMENT_HEADER_BYTES, SegmentHeader,
    decode_body,
};
use super::pool::{self, segment_path};
use super::{Damage, Position, WalError};

/// Bytes read at a time.
const WINDOW_BYTES: usize = 256 * 1024;

/// Reads a file through a window, handing out slices of it.
struct Window {
    file: Box<dyn DiskFile>,
    len: u64,
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn open(disk: &dyn Disk, path: &Path) -> Result<Self, DiskError> {
        let file = disk.open(path, OpenMode::Read)?;
        let len = file.len()?;
        Ok(Self { file, len, start: 0, bytes: Bytes::new() })
    }

    /// `count` bytes from `offset`, or as many as there are.
    fn read(&mut self, offset: u64, count: usize) -> Result<Bytes, DiskError> {
        let count = self.len.saturating_sub(offset).min(count as u64) as usize;
        let inside = offset >= self.start && offset + count as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let mut bytes = vec![0; self.len.saturating_sub(offset).min(count.max(WINDOW_BYTES) as u64) as usize];
            let read = self.file.read_at(offset, &mut bytes)?;
            bytes.truncate(read);
            (self.start, self.bytes) = (offset, bytes.into());
        }
        let from = ((offset - self.start) as usize).min(self.bytes.len());
        Ok(self.bytes.slice(from..(from + count).min(self.bytes.len())))
    }
}

/// A whole batch that follows what was before it.
#[derive(Debug)]
pub(super) struct ReadBatch {
    pub header: BatchHeader,
    pub records: Vec<ReadRecord>,
}

/// Where nothing follows any more.
#[derive(Debug)]
pub(super) struct Stop {
    /// Where a batch should begin, in the segment's file.
    pub offset: u64,
    pub damage: DamageAt,
    /// The batch that would have followed, had it been whole, and those of its records that are.
    pub torn: Option<(BatchHeader, Vec<ReadRecord>)>,
}

#[derive(Debug)]
enum Next {
    Batch(ReadBatch),
    Stop(Stop),
}

/// What the bytes behind a stop tell about it.
#[derive(Clone, Copy, Debug)]
struct Evidence {
    /// The greatest position that any batch proves to have been synced.
    durable_to: u64,
    /// Where the last batch ends that was written in the same epoch behind the stop.
    cut_end: Option<u64>,
}

/// A walk over the batches of one segment.
pub(super) struct SegmentWalk {
    pub path: PathBuf,
    pub header: SegmentHeader,
    pub link: Link,
    /// All before this had been synced.
    pub durable_to: u64,
    window: Window,
}

impl SegmentWalk {
    fn open(disk: &dyn Disk, dir: &Path, sequence: u64) -> Result<Self, WalError> {
        let path = segment_path(dir, sequence);
        let mut window = Window::open(disk, &path)?;
        let corrupt = |damage| WalError::Corrupt { segment: path.clone(), offset: 0, damage };
        let (header, checksum) =
            SegmentHeader::decode(&window.read(0, SEGMENT_HEADER_BYTES)?).map_err(|error| match error {
                HeaderError::Damaged(damage) => corrupt(damage),
                HeaderError::Version(found) => {
                    WalError::Version { segment: path.clone(), found, known: FORMAT_VERSION }
                }
            })?;
        if header.sequence != sequence {
            return Err(corrupt(Damage::SegmentHeader));
        }
        let position = Position::at(header.base + SEGMENT_HEADER_BYTES as u64);
        let link = Link { position, epoch: header.epoch, chain: checksum };
        Ok(Self { path, header, link, durable_to: header.durable_to, window })
    }

    fn offset(&self) -> u64 {
        self.link.position.get() - self.header.base
    }

    fn next(&mut self) -> Result<Next, DiskError> {
        let offset = self.offset();
        let stop = |damage, torn| Next::Stop(Stop { offset, damage, torn });
        let at_batch = |damage| DamageAt { offset, damage };
        let sector = self.window.read(offset, SECTOR_BYTES)?;
        let (header, checksum) = match BatchHeader::decode(&sector) {
            Ok(decoded) => decoded,
            Err(damage) => return Ok(stop(at_batch(damage), None)),
        };
        if let Err(damage) = self.link.check(&header) {
            return Ok(stop(at_batch(damage), None));
        }
        if header.file_bytes() > self.window.len - offset {
            return Ok(stop(at_batch(Damage::BeyondEnd), Some((header, Vec::new()))));
        }
        let bytes = self.window.read(offset, header.file_bytes() as usize)?;
        let mut records = Vec::new();
        match decode_body(&header, checksum, &bytes, offset, &mut records) {
            Ok(chain) => {
                let position = Position::at(header.position + header.file_bytes());
                self.link = Link { position, epoch: header.epoch, chain };
                self.durable_to = self.durable_to.max(header.durable_to);
                Ok(Next::Batch(ReadBatch { header, records }))
            }
            Err(damage) => Ok(stop(damage, Some((header, records)))),
        }
    }

    /// Searches all sectors behind the stop for batch headers that belong where they stand. A header that is whole proves
    /// what it says, even if its records are damaged.
    fn evidence(&mut self, stop: &Stop) -> Result<Evidence, DiskError> {
        let torn_end = stop.torn.as_ref().map(|(header, _)| header.position + header.file_bytes());
        let mut evidence = Evidence { durable_to: self.durable_to, cut_end: torn_end };
        let mut offset = stop.offset + SECTOR_BYTES as u64;
        while offset < self.window.len {
            let sector = self.window.read(offset, SECTOR_BYTES)?;
            if let Ok((header, _)) = BatchHeader::decode(&sector)
                && header.position == self.header.base + offset
            {
                evidence.durable_to = evidence.durable_to.max(header.durable_to);
                if header.epoch == self.link.epoch {
                    evidence.cut_end = evidence.cut_end.max(Some(header.position + header.file_bytes()));
                }
            }
            offset += SECTOR_BYTES as u64;
        }
        Ok(evidence)
    }

    fn corrupt(&self, at: DamageAt) -> WalError {
        WalError::Corrupt { segment: self.path.clone(), offset: at.offset, damage: at.damage }
    }
}

/// A torn tail that was cut off: writes that were never acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The newest segment's file.
    pub segment: PathBuf,
    /// Where in it the log ends now, in bytes.
    pub offset: u64,
    /// From there to the end of the last batch that is known to have been begun, in bytes.
    pub bytes: u64,
}

/// What a walk over the whole log comes to next.
pub(super) enum Step {
    /// The walk enters a segment.
    Segment(SegmentHeader),
    /// A batch of the segment that was entered last.
    Batch(ReadBatch),
    /// The end, and the batch that was torn there.
    End { cut: Option<Cut>, stop: Stop },
}

/// A walk over all segments, oldest first.
pub(super) struct LogWalk<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    /// Segments that the walk has not entered yet, newest first.
    ahead: Vec<u64>,
    current: Option<SegmentWalk>,
    /// The segment after the current one, whose header says where the current one ends.
    following: Option<SegmentWalk>,
}

impl<'a> LogWalk<'a> {
    /// A walk over these segments, ascending; there must be none missing between them.
    pub(super) fn new(disk: &'a dyn Disk, dir: &'a Path, mut sequences: Vec<u64>) -> Result<Self, WalError> {
        if let Some(gap) = sequences.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            return Err(WalError::Missing { segment: segment_path(dir, gap[0] + 1) });
        }
        sequences.reverse();
        Ok(Self { disk, dir, ahead: sequences, current: None, following: None })
    }

    pub(super) fn of_directory(disk: &'a dyn Disk, dir: &'a Path) -> Result<Self, WalError> {
        let (sequences, _) = pool::list(disk, dir)?;
        Self::new(disk, dir, sequences)
    }

    /// The segment that the walk is in.
    pub(super) fn current(&self) -> Option<&SegmentWalk> {
        self.current.as_ref()
    }

    /// The next step; `None` in a log without segments. Not to be called again after [`Step::End`] or an error.
    pub(super) fn next(&mut self) -> Result<Option<Step>, WalError> {
        let Some(current) = &mut self.current else { return self.enter() };
        if let Some(following) = &self.following
            && following.header.base == current.link.position.get()
        {
            let (last, first) = (current.link, following.header);
            if first.chain != last.chain || first.epoch < last.epoch {
                return Err(following.corrupt(DamageAt { offset: 0, damage: Damage::SegmentChain }));
            }
            return self.enter();
        }
        match (current.next()?, &self.following) {
            (Next::Batch(batch), _) => Ok(Some(Step::Batch(batch))),
            (Next::Stop(stop), Some(_)) => Err(current.corrupt(stop.damage)),
            (Next::Stop(stop), None) => judge(current, stop).map(Some),
        }
    }

    fn enter(&mut self) -> Result<Option<Step>, WalError> {
        let next = match self.following.take() {
            Some(segment) => Some(segment),
            None => self.open_next()?,
        };
        self.following = self.open_next()?;
        self.current = next;
        Ok(self.current.as_ref().map(|segment| Step::Segment(segment.header)))
    }

    fn open_next(&mut self) -> Result<Option<SegmentWalk>, WalError> {
        self.ahead.pop().map(|sequence| SegmentWalk::open(self.disk, self.dir, sequence)).transpose()
    }
}

/// Torn tail or corruption: the walk has stopped in the newest segment.
fn judge(segment: &mut SegmentWalk, stop: Stop) -> Result<Step, WalError> {
    let position = segment.link.position.get();
    let evidence = segment.evidence(&stop)?;
    if evidence.durable_to > position {
        return Err(segment.corrupt(stop.damage));
    }
    let cut =
        evidence.cut_end.map(|end| Cut { segment: segment.path.clone(), offset: stop.offset, bytes: end - position });
    Ok(Step::End { cut, stop })
}
