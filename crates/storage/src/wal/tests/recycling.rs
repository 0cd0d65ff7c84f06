//! Segments that are freed, and used again.

use super::*;

/// Appends and syncs entries of one group.
fn append(wal: &mut Wal, group: u64, indexes: std::ops::Range<u64>) {
    for index in indexes {
        wal.append(&[entries(group, index, 600)]).unwrap();
        wal.sync().unwrap();
    }
}

#[test]
fn a_log_that_is_released_in_time_stays_small_and_never_writes_new_blocks() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let mut besides_batches = Vec::new();
    for index in 1..400 {
        append(&mut wal, 1, index..index + 1);
        wal.release(GroupId(1), index.saturating_sub(3));
        wal.recycle().unwrap();
        assert!(wal.stats().segments <= 3, "{:?}", wal.stats());
        besides_batches.push(disk.counters().bytes_written - wal.stats().bytes);
    }
    let heads = besides_batches[398] - besides_batches[198];
    assert!(heads > 0 && heads <= 200 / 6 * 512, "only the heads of segments: {heads}");
    let files = disk.files();
    assert!(files.len() <= 5 && files.iter().all(|(_, len)| *len <= SMALL.segment_bytes), "{files:?}");
}

#[test]
fn small_records_outlive_the_segments_that_held_them() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let quiet = [
        record(9, RecordKind::Snapshot, 40, b"snapshot"),
        record(9, RecordKind::HardState, 0, b"term 3, vote 2"),
        record(9, RecordKind::Truncated, 40, b"40, 3"),
    ];
    wal.append(&[record(9, RecordKind::HardState, 0, b"term 1")]).unwrap();
    wal.append(&quiet).unwrap();
    append(&mut wal, 1, 1..60);
    wal.release(GroupId(1), 60);
    assert!(wal.recycle().unwrap() > 3);
    let (_, recovery) = open(&disk).unwrap();
    assert_eq!(plain(&recovery)[..3], quiet, "in the order in which they were appended");
    assert!(recovery.records.iter().skip(3).all(|(_, record)| record.group == GroupId(1)));
}

#[test]
fn carried_records_are_handed_out_only_where_they_are_the_oldest() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let states: Vec<_> = (0..30_u8).map(|term| record(1, RecordKind::HardState, 0, &[term; 500])).collect();
    for state in &states {
        wal.append(std::slice::from_ref(state)).unwrap();
    }
    wal.sync().unwrap();
    assert!(wal.stats().segments > 2);
    assert_eq!(plain(&open(&disk).unwrap().1), states);
}

#[test]
fn more_small_records_than_fit_into_one_batch_are_carried() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let states: Vec<_> = (1..=40).map(|group| record(group, RecordKind::HardState, 0, &[group as u8; 60])).collect();
    wal.append(&states).unwrap();
    append(&mut wal, 99, 1..40);
    wal.release(GroupId(99), 40);
    assert!(wal.recycle().unwrap() > 1);
    assert_eq!(plain(&open(&disk).unwrap().1)[..40], states);
}

#[test]
fn small_records_that_no_segment_can_carry_are_refused_before_anything_is_written() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let refused = (1..100).find_map(|group| wal.append(&[record(group, RecordKind::HardState, 0, &[7; 400])]).err());
    assert!(matches!(refused, Some(WalError::TooLarge { limit: 8192, .. })), "{refused:?}");
    wal.sync().unwrap();
}

#[test]
fn a_pinned_group_is_named_and_freed_by_writing_it_forward() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    append(&mut wal, 2, 1..3);
    append(&mut wal, 1, 1..40);
    wal.release(GroupId(1), 40);
    assert_eq!(wal.recycle().unwrap(), 0);
    let pinned = wal.pinned();
    assert_eq!(pinned.iter().map(|pinned| pinned.group).collect::<Vec<_>>(), [GroupId(2)]);
    assert!(pinned[0].bytes > SMALL.max_pinned_bytes);
    let from = wal.tail();
    append(&mut wal, 2, 1..3);
    wal.supersede(GroupId(2), from);
    assert!(wal.recycle().unwrap() > 3);
    assert_eq!(wal.pinned(), []);
    let left = plain(&open(&disk).unwrap().1);
    assert_eq!(left.iter().filter(|record| record.group == GroupId(2)).count(), 2);
}

#[test]
fn a_dropped_group_pins_nothing() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    append(&mut wal, 2, 1..3);
    wal.append(&[record(2, RecordKind::HardState, 0, b"vote")]).unwrap();
    append(&mut wal, 1, 1..40);
    wal.release(GroupId(1), 40);
    wal.append(&[record(2, RecordKind::GroupDropped, 0, b"")]).unwrap();
    assert!(wal.recycle().unwrap() > 3);
    append(&mut wal, 1, 40..80);
    wal.release(GroupId(1), 80);
    wal.recycle().unwrap();
    let left = plain(&open(&disk).unwrap().1);
    assert!(left.iter().all(|record| record.group == GroupId(1)), "{left:?}");
}

#[test]
fn records_of_an_earlier_life_of_a_file_are_never_read() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    // All batches have the same size: those of an earlier life stand exactly where the next one would.
    for life in 0..20 {
        let first = life * 12 + 1;
        append(&mut wal, 1, first..first + 12);
        wal.release(GroupId(1), first + 12);
        wal.recycle().unwrap();
        drop(wal);
        let (reopened, recovery) = open(&disk).unwrap();
        let found: Vec<u64> = recovery.records.iter().map(|(_, record)| record.index).collect();
        assert!(found.is_sorted() && found.iter().all(|index| (first.saturating_sub(12)..first + 12).contains(index)));
        assert_eq!((found.last(), recovery.cut), (Some(&(first + 11)), None));
        wal = reopened;
    }
}

#[test]
fn surplus_segments_are_deleted() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    append(&mut wal, 1, 1..100);
    let most = disk.files().len();
    wal.release(GroupId(1), 100);
    wal.recycle().unwrap();
    assert!(most > 8 && disk.files().len() == 1 + SMALL.max_spares, "{:?}", disk.files());
}
