//! The files of the log: their names, and the spares that wait to become segments.
//!
//! A spare is filled with zeros, or with what it held when it was a segment; nobody ever reads it. It becomes a segment by
//! a rename once its first bytes are synced, so a file with a segment's name always begins with a whole header. A segment
//! becomes a spare by a rename that is durable before its bytes change.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use althing_env::{Disk, DiskError, DiskErrorKind, DiskFile, OpenMode};
use althing_probe::Mark;

use super::WalOptions;

const SEGMENT: &str = "segment-";
const SPARE: &str = "spare-";
const SUFFIX: &str = ".wal";

/// Zeros are written from here, so many at a time.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The path of a segment.
pub(super) fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{SEGMENT}{sequence:020}{SUFFIX}"))
}

fn spare_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{SPARE}{number:020}{SUFFIX}"))
}

fn number(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(SUFFIX)?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// The numbers of the segments and of the spares in a directory, ascending. Other files are left alone.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<(Vec<u64>, Vec<u64>), DiskError> {
    let names = disk.list(dir)?;
    let numbers = |prefix| {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name, prefix)).collect();
        numbers.sort_unstable();
        numbers
    };
    Ok((numbers(SEGMENT), numbers(SPARE)))
}

/// A file that is open for writing.
pub(super) struct LogFile {
    pub path: PathBuf,
    pub file: Box<dyn DiskFile>,
    /// Bytes that exist: a write below this needs no new space.
    pub filled: u64,
}

impl LogFile {
    pub(super) fn open(disk: &dyn Disk, path: PathBuf, mode: OpenMode) -> Result<Self, DiskError> {
        let file = disk.open(&path, mode)?;
        let filled = file.len()?;
        Ok(Self { path, file, filled })
    }

    /// Writes zeros until `len` bytes exist.
    pub(super) fn grow(&mut self, len: u64) -> Result<(), DiskError> {
        while self.filled < len {
            let count = (len - self.filled).min(ZEROS.len() as u64);
            self.file.write_at(self.filled, &ZEROS[..count as usize])?;
            self.filled += count;
        }
        Ok(())
    }
}

/// The spares of a log.
pub(super) struct Pool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: WalOptions,
    /// Closed spares.
    waiting: VecDeque<u64>,
    /// The spare that is next to become a segment.
    ready: Option<LogFile>,
    next_number: u64,
}

impl Pool {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf, options: WalOptions, spares: Vec<u64>) -> Self {
        let next_number = spares.last().map_or(0, |last| last + 1);
        Self { disk, dir, options, waiting: spares.into(), ready: None, next_number }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Spares, whether filled or not.
    pub(super) fn spares(&self) -> usize {
        self.waiting.len() + usize::from(self.ready.is_some())
    }

    /// Bytes of the next spare that exist.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready.as_ref().map_or(0, |spare| spare.filled)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// The next spare, at least `len` bytes long.
    fn ready(&mut self, len: u64) -> Result<&mut LogFile, DiskError> {
        let mut spare = match self.ready.take() {
            Some(spare) => spare,
            None => match self.waiting.pop_front() {
                Some(number) => LogFile::open(&*self.disk, spare_path(&self.dir, number), OpenMode::ReadWrite)?,
                None => {
                    let number = self.number();
                    LogFile::open(&*self.disk, spare_path(&self.dir, number), OpenMode::CreateNew)?
                }
            },
        };
        let grown = spare.grow(len);
        let spare = self.ready.insert(spare);
        grown.map(|()| spare)
    }

    /// Makes the next spare `step` bytes longer if it is shorter than `target`. A full disk is no error here: it becomes
    /// one when the space is needed.
    pub(super) fn grow_ahead(&mut self, target: u64, step: u64) -> Result<(), DiskError> {
        let target = target.min(self.options.segment_bytes);
        let filled = self.ready_bytes();
        if filled >= target {
            return Ok(());
        }
        let grown = self.ready((filled + step).min(target));
        match grown.and_then(|spare| spare.file.sync()) {
            Err(error) if error.kind == DiskErrorKind::Full => Ok(()),
            result => result,
        }
    }

    /// Makes sure that a segment of at least `len` bytes can be made without any more space.
    pub(super) fn reserve(&mut self, len: u64) -> Result<(), DiskError> {
        self.ready(len).map(|_| ())
    }

    /// Turns the next spare into a segment that begins with `head`; both are durable on return.
    pub(super) fn make_segment(&mut self, sequence: u64, head: &[u8]) -> Result<LogFile, DiskError> {
        self.ready(head.len() as u64)?;
        let spare = self.ready.take().expect("it was made ready on the line before");
        spare.file.write_at(0, head)?;
        spare.file.sync()?;
        let path = segment_path(&self.dir, sequence);
        self.disk.rename(&spare.path, &path)?;
        self.disk.sync_dir(&self.dir)?;
        Ok(LogFile { path, ..spare })
    }

    /// Turns a segment into a spare, or deletes it if there are enough; durable on return.
    pub(super) fn free_segment(&mut self, sequence: u64) -> Result<(), DiskError> {
        let path = segment_path(&self.dir, sequence);
        if self.spares() < self.options.max_spares {
            let number = self.number();
            self.disk.rename(&path, &spare_path(&self.dir, number))?;
            self.disk.sync_dir(&self.dir)?;
            self.waiting.push_back(number);
            althing_probe::hit(Mark::SegmentRecycled);
        } else {
            self.disk.remove(&path)?;
            self.disk.sync_dir(&self.dir)?;
            althing_probe::hit(Mark::SegmentDeleted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_log_have_numbers() {
        assert_eq!(number("segment-00000000000000000017.wal", SEGMENT), Some(17));
        for name in ["segment-17.wal", "segment-00000000000000000017.wal.bak", "spare-00000000000000000017.wal", "x"] {
            assert_eq!(number(name, SEGMENT), None, "{name}");
        }
    }
}
