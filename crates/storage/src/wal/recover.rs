//! Opening the log: all records are read and checked, a torn tail is cut, and a new epoch begins.

use std::path::Path;
use std::sync::Arc;

use althing_env::{Disk, DiskError, OpenMode};

use althing_probe::Mark;

use super::format::{BATCH_HEADER_BYTES, Link, Origin, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::head::{self, Place};
use super::ledger::{Ledger, Segment};
use super::log::{Health, Wal, Written};
use super::pool::{self, LogFile, Pool, segment_path};
use super::scan::{LogWalk, ReadBatch, SegmentWalk, Step};
use super::{Identity, Position, Record, WalError, WalOptions};

pub use super::scan::Cut;

/// What was in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// All records in the order of their writing, each with its position. Small records that the log has carried forward
    /// stand where they belong, before all that is left of what came after them.
    pub records: Vec<(Position, Record)>,
    /// The torn tail that was cut off, if there was one. Nobody was ever told that it is durable.
    pub cut: Option<Cut>,
    /// How often the log has been opened; 1 for a new one.
    pub epoch: u64,
}

/// What [`Wal::open_with`] says besides the records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// The torn tail that was cut off, if there was one. Nobody was ever told that it is durable.
    pub cut: Option<Cut>,
    /// How often the log has been opened; 1 for a new one.
    pub epoch: u64,
}

pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    identity: Identity,
    options: WalOptions,
    visit: &mut dyn FnMut(Position, Record),
) -> Result<(Wal, Replayed), WalError> {
    check_options(&options)?;
    prepare_directory(&*disk, dir)?;
    let (sequences, spares) = pool::list(&*disk, dir)?;
    let pool = Pool::new(Arc::clone(&disk), dir.to_path_buf(), options, spares);
    let walk = LogWalk::new(&*disk, dir, sequences)?;
    match replay(walk, identity, visit)? {
        None => Ok((create(pool, identity, options)?, Replayed { cut: None, epoch: 1 })),
        Some((end, ledger, cut)) => {
            let epoch = end.link.epoch + 1;
            let wal = resume(&*disk, pool, identity, options, &end, ledger)?;
            Ok((wal, Replayed { cut, epoch }))
        }
    }
}

fn check_options(options: &WalOptions) -> Result<(), WalError> {
    let least = (options.max_batch_bytes as u64).saturating_mul(2).saturating_add(options.reserve_bytes);
    if options.max_batch_bytes < 2 * BATCH_HEADER_BYTES || options.max_batch_bytes > 1 << 30 {
        return Err(WalError::Options("max_batch_bytes must be at least 96 bytes and at most 1 GiB"));
    }
    if options.grow_bytes == 0 {
        return Err(WalError::Options("grow_bytes must be above zero"));
    }
    if options.segment_bytes < least.saturating_add(SEGMENT_HEADER_BYTES as u64) {
        return Err(WalError::Options("segment_bytes must be at least twice max_batch_bytes, and the reserve"));
    }
    Ok(())
}

/// Makes the directory, and makes durable the names that are in it and on the way to it.
fn prepare_directory(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    disk.create_dir(dir)?;
    dir.ancestors().try_for_each(|ancestor| disk.sync_dir(ancestor))
}

/// Where the log ends.
struct End {
    header: SegmentHeader,
    link: Link,
    /// All before this had been synced by whoever wrote it.
    durable_to: u64,
}

/// Hands out all records that count. `None` in a directory without segments.
fn replay(
    mut walk: LogWalk<'_>,
    identity: Identity,
    visit: &mut dyn FnMut(Position, Record),
) -> Result<Option<(End, Ledger, Option<Cut>)>, WalError> {
    let mut ledger = Ledger::default();
    while let Some(step) = walk.next()? {
        let segment = walk.current().expect("a step is always within a segment");
        match step {
            Step::Segment(header) => {
                check_identity(segment, identity)?;
                ledger.push_segment(Segment::new(header.sequence, header.base));
            }
            Step::Batch(batch) => hand_out(batch, segment.header.base, &mut ledger, visit),
            Step::End { cut, .. } => {
                if cut.is_some() {
                    althing_probe::hit(Mark::TailCut);
                }
                let end = End { header: segment.header, link: segment.link, durable_to: segment.durable_to };
                return Ok(Some((end, ledger, cut)));
            }
        }
    }
    Ok(None)
}

fn check_identity(segment: &SegmentWalk, expected: Identity) -> Result<(), WalError> {
    let found = segment.header.identity;
    if found == expected {
        return Ok(());
    }
    Err(WalError::Foreign { segment: segment.path.clone(), found, expected })
}

/// Carried records count only in the oldest segment: elsewhere they repeat what the walk has already met.
fn hand_out(batch: ReadBatch, base: u64, ledger: &mut Ledger, visit: &mut dyn FnMut(Position, Record)) {
    let counts = match batch.header.origin {
        Origin::Appended => true,
        Origin::Carried if ledger.segments() == 1 => {
            althing_probe::hit(Mark::CarriedRead);
            true
        }
        Origin::Carried => false,
    };
    if !counts {
        return;
    }
    for read in batch.records {
        ledger.note(&read.record);
        visit(Position::at(base + read.offset), read.record);
    }
}

/// Makes the first segment of a new log.
fn create(mut pool: Pool, identity: Identity, options: WalOptions) -> Result<Wal, WalError> {
    let place = Place { identity, sequence: 1, base: 0, epoch: 1, chain: 0 };
    let head = head::build(place, &[], options.max_batch_bytes);
    pool.reserve(head.bytes.len() as u64 + options.reserve_bytes)?;
    let current = pool.make_segment(place.sequence, &head.bytes)?;
    let mut ledger = Ledger::default();
    ledger.push_segment(Segment::new(place.sequence, place.base));
    let tail = head.bytes.len() as u64;
    Ok(Wal {
        pool,
        identity,
        options,
        current,
        sequence: place.sequence,
        base: place.base,
        tail,
        durable: tail,
        prepared: tail,
        epoch: place.epoch,
        chain: head.chain,
        ledger,
        buffer: Vec::new(),
        health: Health::Sound,
        written: Written::default(),
    })
}

/// Goes on where the log ends, in a new epoch.
fn resume(
    disk: &dyn Disk,
    pool: Pool,
    identity: Identity,
    options: WalOptions,
    end: &End,
    ledger: Ledger,
) -> Result<Wal, WalError> {
    let path = segment_path(pool.dir(), end.header.sequence);
    let current = LogFile::open(disk, path, OpenMode::ReadWrite)?;
    rewrite_unproven(&current, end)?;
    let tail = end.link.position.get();
    let mut wal = Wal {
        pool,
        identity,
        options,
        current,
        sequence: end.header.sequence,
        base: end.header.base,
        tail,
        durable: tail,
        prepared: tail,
        epoch: end.link.epoch,
        chain: end.link.chain,
        ledger,
        buffer: Vec::new(),
        health: Health::Sound,
        written: Written::default(),
    };
    wal.begin_epoch(end.link.epoch + 1)?;
    Ok(wal)
}

/// Writes once more what was read from the end of the log but is not proven to have been synced. Otherwise a page that the
/// system had marked clean after a failed sync would be read now and lost later, however often it is synced.
fn rewrite_unproven(current: &LogFile, end: &End) -> Result<(), DiskError> {
    const STEP: u64 = 1024 * 1024;
    let stop = end.link.position.get() - end.header.base;
    let mut offset = end.durable_to.saturating_sub(end.header.base);
    while offset < stop {
        althing_probe::hit(Mark::UnprovenRewritten);
        let mut bytes = vec![0; (stop - offset).min(STEP) as usize];
        let read = current.file.read_at(offset, &mut bytes)?;
        current.file.write_at(offset, &bytes[..read])?;
        offset += bytes.len() as u64;
    }
    current.file.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_options_are_refused() {
        let fine = WalOptions::default();
        assert_eq!(check_options(&fine), Ok(()));
        for wrong in [
            WalOptions { grow_bytes: 0, ..fine },
            WalOptions { max_batch_bytes: 10, ..fine },
            WalOptions { segment_bytes: 1000, ..fine },
        ] {
            assert!(matches!(check_options(&wrong), Err(WalError::Options(_))), "{wrong:?}");
        }
    }
}
