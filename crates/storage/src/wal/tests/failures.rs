//! Disks that refuse: failed writes and syncs, and no space.

use althing_env::DiskErrorKind;
use althing_faultdisk::Fate;

use super::*;

#[test]
fn a_failed_sync_poisons_the_log() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[entries(1, 1, 10)]).unwrap();
    disk.fail_sync(0);
    assert!(matches!(wal.sync(), Err(WalError::Disk(_))));
    let poisoned = |result: Result<(), WalError>| assert!(matches!(result, Err(WalError::Poisoned(_))), "{result:?}");
    poisoned(wal.sync().map(|_| ()));
    poisoned(wal.append(&[entries(1, 2, 10)]).map(|_| ()));
    poisoned(wal.recycle().map(|_| ()));
}

#[test]
fn a_failed_write_poisons_the_log_and_harms_nothing_before_it() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[entries(1, 1, 10)]).unwrap();
    wal.sync().unwrap();
    disk.fail_write(0);
    assert!(matches!(wal.append(&[entries(1, 2, 10)]), Err(WalError::Disk(_))));
    assert!(matches!(wal.sync(), Err(WalError::Poisoned(_))));
    disk.crash_all(Fate::Lost);
    let (_, recovery) = open(&disk).unwrap();
    assert_eq!(plain(&recovery), [entries(1, 1, 10)]);
}

/// Appends until the disk is full; returns how many fitted.
fn fill(wal: &mut Wal) -> u64 {
    for index in 1.. {
        match wal.append(&[entries(1, index, 500)]) {
            Ok(_) => {
                wal.sync().unwrap();
            }
            Err(WalError::Full(error)) => {
                assert_eq!(error.kind, DiskErrorKind::Full);
                return index - 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

#[test]
fn a_full_disk_is_said_before_anything_is_written_and_passes_when_space_is_freed() {
    for capacity in (6 * 1024..40 * 1024).step_by(700) {
        let disk = FaultDisk::new();
        disk.set_capacity(Some(capacity));
        let (mut wal, _) = open(&disk).unwrap();
        let fitted = fill(&mut wal);
        assert!(fitted * 1024 > capacity / 4, "{fitted} of {capacity}");
        assert_eq!(wal.stats().unsynced_bytes, 0);
        let image = disk.snapshot();

        disk.crash_all(Fate::Kept);
        let (_, recovery) = open(&disk).expect("a node starts on a full disk");
        assert_eq!(recovery.records.len() as u64, fitted);
        assert_eq!(recovery.cut, None, "nothing was torn");

        disk.restore(&image);
        disk.set_capacity(None);
        drop(wal);
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&[entries(1, fitted + 1, 500)]).unwrap();
        wal.sync().unwrap();
    }
}

#[test]
fn a_log_that_met_a_full_disk_goes_on_in_the_same_process_after_recycling() {
    let disk = FaultDisk::new();
    disk.set_capacity(Some(24 * 1024));
    let (mut wal, _) = open(&disk).unwrap();
    let fitted = fill(&mut wal);
    wal.release(GroupId(1), fitted + 1);
    assert!(wal.recycle().unwrap() > 0);
    for index in fitted + 1..fitted + 6 {
        wal.append(&[entries(1, index, 500)]).unwrap();
        wal.sync().unwrap();
    }
    let (_, recovery) = open(&disk).unwrap();
    assert_eq!(recovery.records.last().unwrap().1.index, fitted + 5);
}

#[test]
fn headroom_is_what_a_full_disk_still_takes() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    for index in 1..=5 {
        wal.append(&[entries(1, index, 500)]).unwrap();
        wal.sync().unwrap();
        wal.prepare().unwrap();
    }
    let used = disk.files().iter().map(|(_, len)| len).sum();
    disk.set_capacity(Some(used));
    let (promised, before) = (wal.stats().headroom_bytes, wal.stats().bytes);
    assert!(promised > 0);
    fill(&mut wal);
    assert!(wal.stats().bytes - before + 2048 > promised, "{promised}");
}

#[test]
fn the_next_segment_is_preallocated_while_the_current_one_fills() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    for index in 1..=6 {
        wal.append(&[entries(1, index, 500)]).unwrap();
        wal.sync().unwrap();
        wal.prepare().unwrap();
    }
    assert_eq!((wal.stats().segments, wal.stats().spares), (1, 1));
    disk.set_capacity(Some(0));
    assert!(fill(&mut wal) >= 5, "the disk takes nothing new, and most of a segment still fits");
    assert_eq!(wal.stats().segments, 2);
}

#[test]
fn a_node_restarts_many_times_on_a_full_disk() {
    let disk = FaultDisk::new();
    disk.set_capacity(Some(5 * 1024));
    let fitted = fill(&mut open(&disk).unwrap().0);
    let restarts = (0..100).take_while(|_| open(&disk).is_ok()).count();
    assert!(restarts as u64 >= SMALL.reserve_bytes / 512, "each needs one sector of the reserve: {restarts}");
    disk.set_capacity(None);
    let (_, recovery) = open(&disk).unwrap();
    assert_eq!(recovery.records.len() as u64, fitted);
}
