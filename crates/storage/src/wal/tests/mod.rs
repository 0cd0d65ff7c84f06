//! The log over a disk with faults.

mod crash;
mod damage;
mod failures;
mod recycling;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use althing_env::{Disk, OpenMode};
use althing_faultdisk::FaultDisk;
use althing_types::{ClusterId, GroupId, NodeId};
use bytes::Bytes;

use super::*;

/// Where the log is in these tests.
const DIR: &str = "data/wal";

/// Small enough that everything happens within a few dozen appends.
const SMALL: WalOptions = WalOptions {
    segment_bytes: 8 * 1024,
    max_batch_bytes: 2 * 1024,
    grow_bytes: 1024,
    reserve_bytes: 1024,
    max_spares: 2,
    max_pinned_bytes: 16 * 1024,
};

const IDENTITY: Identity = Identity { cluster: ClusterId(0xc1), node: NodeId(0x0d) };

fn open(disk: &FaultDisk) -> Result<(Wal, Recovery), WalError> {
    Wal::open(Arc::new(disk.clone()), Path::new(DIR), IDENTITY, SMALL)
}

fn record(group: u64, kind: RecordKind, index: u64, payload: &[u8]) -> Record {
    Record { group: GroupId(group), kind, index, payload: Bytes::copy_from_slice(payload) }
}

fn entries(group: u64, index: u64, payload_bytes: usize) -> Record {
    record(group, RecordKind::Entries, index, &vec![index as u8; payload_bytes])
}

/// What a recovery hands out, without positions.
fn plain(recovery: &Recovery) -> Vec<Record> {
    recovery.records.iter().map(|(_, record)| record.clone()).collect()
}

/// The segments' files, oldest first.
fn segments(disk: &FaultDisk) -> Vec<PathBuf> {
    let files = disk.files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("segment-")).collect()
}

fn read_file(disk: &FaultDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

#[test]
fn every_kind_survives_its_ordinal() {
    let kinds: Vec<_> =
        (0..=u8::MAX).filter_map(|ordinal| Some((ordinal, RecordKind::from_ordinal(ordinal)?))).collect();
    assert!(kinds.iter().all(|(ordinal, kind)| *kind as u8 == *ordinal));
    assert_eq!(kinds.len(), 9);
}

#[test]
fn a_log_can_be_given_to_a_thread_of_its_own() {
    fn is_send<T: Send>() {}
    is_send::<Wal>();
}

#[test]
fn the_default_sizes_fit_together() {
    let disk = FaultDisk::new();
    let open = || Wal::open(Arc::new(disk.clone()), Path::new(DIR), IDENTITY, WalOptions::default()).unwrap();
    let (mut wal, _) = open();
    wal.append(&[entries(1, 1, 3_000_000)]).unwrap();
    wal.sync().unwrap();
    assert_eq!(open().1.records.len(), 1);
}

#[test]
fn what_is_appended_is_recovered_in_order() {
    let disk = FaultDisk::new();
    let (mut wal, recovery) = open(&disk).unwrap();
    assert_eq!((recovery.records.len(), recovery.cut, recovery.epoch), (0, None, 1));
    let batches = [vec![entries(1, 1, 100), record(1, RecordKind::HardState, 0, b"t1")], vec![entries(2, 7, 0)]];
    let ends = batches.each_ref().map(|batch| wal.append(batch).unwrap());
    assert_eq!(wal.sync().unwrap(), ends[1]);
    assert!(ends[0] < ends[1]);
    drop(wal);
    let (wal, recovery) = open(&disk).unwrap();
    assert_eq!(plain(&recovery), batches.concat());
    assert_eq!((recovery.cut, recovery.epoch, wal.stats().epoch), (None, 2, 2));
    assert!(recovery.records.is_sorted_by_key(|(position, _)| *position));
}

#[test]
fn one_append_and_one_sync_are_one_write_and_one_sync() {
    let disk = FaultDisk::new();
    let options = WalOptions { grow_bytes: 8 * 1024, ..SMALL };
    let (mut wal, _) = Wal::open(Arc::new(disk.clone()), Path::new(DIR), IDENTITY, options).unwrap();
    for index in 1..3 {
        wal.append(&[entries(1, index, 10)]).unwrap();
        wal.sync().unwrap();
    }
    let before = disk.counters();
    wal.append(&(3..20).map(|index| entries(index % 4, index, 10)).collect::<Vec<_>>()).unwrap();
    wal.sync().unwrap();
    let after = disk.counters();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
}

#[test]
fn the_next_segment_costs_a_sync_for_all_that_it_grows_by_and_not_for_each_of_the_log() {
    let disk = FaultDisk::new();
    let options = WalOptions { grow_bytes: 8 * 1024, segment_bytes: 256 * 1024, ..SMALL };
    let (mut wal, _) = Wal::open(Arc::new(disk.clone()), Path::new(DIR), IDENTITY, options).unwrap();
    let before = disk.counters().syncs;
    let begun = wal.stats().bytes;
    for index in 1..=200 {
        wal.append(&[entries(1, index, 300)]).unwrap();
        wal.sync().unwrap();
        wal.prepare().unwrap();
    }
    let grown = (wal.stats().bytes - begun).div_ceil(options.grow_bytes);
    let spent = disk.counters().syncs - before - 200;
    assert!((1..=grown + 2).contains(&spent), "{spent} syncs for {grown} steps");
}

#[test]
fn more_records_than_fit_into_a_batch_are_split_and_one_that_never_fits_is_refused() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let many: Vec<_> = (1..=40).map(|index| entries(1, index, 300)).collect();
    wal.append(&many).unwrap();
    wal.sync().unwrap();
    assert!(wal.stats().batches > 5);
    let refused = wal.append(&[entries(1, 41, 3000)]).unwrap_err();
    assert!(matches!(refused, WalError::TooLarge { bytes: 3000, limit: 1975, .. }), "{refused:?}");
    wal.append(&[entries(1, 41, 1975)]).unwrap();
    wal.sync().unwrap();
    let (_, recovery) = open(&disk).unwrap();
    assert_eq!(plain(&recovery)[..40], many);
    assert_eq!(recovery.records.len(), 41);
}

#[test]
fn inspection_lists_every_record_and_changes_nothing() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[record(3, RecordKind::HardState, 0, b"term 4")]).unwrap();
    for index in 1..=20 {
        wal.append(&[entries(1, index, 900)]).unwrap();
        wal.sync().unwrap();
    }
    let before = disk.counters();
    let found: Vec<_> = inspect(&disk, Path::new(DIR)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(disk.counters(), before);
    let state = |wanted| found.iter().filter(|record| record.state == wanted).count();
    let files = segments(&disk);
    assert_eq!((state(RecordState::Valid), state(RecordState::Carried)), (21, files.len() - 1));
    assert_eq!(found[0].segment, files[0]);
    assert!(found.iter().all(|record| record.identity == IDENTITY && record.epoch == 1));
    assert_eq!(found.last().unwrap().index, 20);
}
