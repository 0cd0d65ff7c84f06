//! Rot: every byte of every file, and files that are missing, foreign or from the future.

use super::*;

/// A log of several segments, some of them recycled, all synced, and two batches at its end.
fn old_log() -> FaultDisk {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    for index in 1..=60 {
        let small = record(index % 3, RecordKind::HardState, 0, &index.to_le_bytes());
        wal.append(&[entries(1, index, 600), small]).unwrap();
        wal.sync().unwrap();
        wal.release(GroupId(1), index.saturating_sub(14));
        wal.recycle().unwrap();
    }
    assert!(segments(&disk).len() >= 3, "{:?}", disk.files());
    assert!(wal.stats().spares > 0);
    disk
}

/// The position of a segment's first byte.
fn base(disk: &FaultDisk, segment: &Path) -> u64 {
    u64::from_le_bytes(*read_file(disk, segment)[40..].first_chunk().unwrap())
}

/// What a file's bytes mean, by offset.
struct Regions {
    /// Before this, damage must be found.
    proven: u64,
    /// Before this, damage may look like a torn tail.
    written: u64,
}

fn regions(disk: &FaultDisk, segments: &[PathBuf], file: &Path) -> Regions {
    let Some(at) = segments.iter().position(|segment| segment == file) else {
        return Regions { proven: 0, written: 0 };
    };
    let start = base(disk, file);
    if let Some(next) = segments.get(at + 1) {
        let end = base(disk, next) - start;
        return Regions { proven: end, written: end };
    }
    let found: Vec<_> = inspect(disk, Path::new(DIR)).unwrap().collect::<Result<_, _>>().unwrap();
    let last = found.last().unwrap();
    let proven = found.iter().map(|record| record.durable_to.get()).max().unwrap() - start;
    let written = (last.offset + 25 + last.payload_bytes).next_multiple_of(512);
    Regions { proven, written }
}

#[test]
fn every_flipped_byte_below_durable_to_is_found_and_named_and_none_is_ever_served() {
    let disk = old_log();
    let image = disk.snapshot();
    let segments = segments(&disk);
    let (_, sound) = open(&disk).unwrap();
    disk.restore(&image);
    let random = &mut fastrand::Rng::with_seed(7);
    let mut found = [0; 3];
    for (file, len) in disk.files() {
        let Regions { proven, written } = regions(&disk, &segments, &file);
        for offset in 0..len {
            disk.restore(&image);
            assert!(disk.flip_bit(&file, offset, random.u8(..8)));
            let result = open(&disk).map(|(_, recovery)| recovery.records);
            if offset < proven {
                let Err(WalError::Corrupt { segment, offset: named, .. }) = &result else {
                    panic!("{} at {offset}: {:?}", file.display(), result.map(|records| records.len()));
                };
                assert_eq!(*segment, file);
                assert!(*named <= offset && offset - *named < 2048, "flipped {offset}, named {named}");
                found[0] += 1;
            } else if offset < written {
                let records = result.unwrap();
                assert!(records.len() < sound.records.len() && sound.records.starts_with(&records));
                found[1] += 1;
            } else {
                assert_eq!(result.unwrap(), sound.records, "{} at {offset}", file.display());
                found[2] += 1;
            }
        }
    }
    assert!(found.iter().all(|count| *count > 500), "{found:?}");
}

#[test]
fn sectors_that_are_zeroed_garbled_or_written_elsewhere_are_found() {
    let disk = old_log();
    let image = disk.snapshot();
    let segments = segments(&disk);
    let (_, sound) = open(&disk).unwrap();
    disk.restore(&image);
    let random = &mut fastrand::Rng::with_seed(8);
    let mut found = 0;
    for (file, len) in disk.files() {
        let Regions { proven, .. } = regions(&disk, &segments, &file);
        let before = read_file(&disk, &file);
        for offset in (0..len).step_by(512) {
            let at = usize::try_from(offset).unwrap();
            let elsewhere = random.usize(..before.len() / 512) * 512;
            let garbage: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(512).collect();
            for sector in [&[0; 512], garbage.as_slice(), &before[elsewhere..elsewhere + 512]] {
                if *sector == before[at..at + 512] {
                    continue;
                }
                disk.restore(&image);
                disk.open(&file, OpenMode::ReadWrite).unwrap().write_at(offset, sector).unwrap();
                match open(&disk) {
                    Ok((_, recovery)) => {
                        assert!(offset >= proven, "{} at {offset}", file.display());
                        assert!(sound.records.starts_with(&recovery.records));
                    }
                    Err(WalError::Corrupt { segment, .. }) => {
                        assert!(offset < proven && segment == file, "{} at {offset}", file.display());
                        found += 1;
                    }
                    Err(other) => panic!("{} at {offset}: {other}", file.display()),
                }
            }
        }
    }
    assert!(found > 50, "{found}");
}

#[test]
fn a_record_whose_bytes_are_damaged_is_named_exactly() {
    let disk = old_log();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[entries(1, 61, 10)]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let found: Vec<_> = inspect(&disk, Path::new(DIR)).unwrap().collect::<Result<_, _>>().unwrap();
    let victim = &found[found.len() / 2];
    assert!(disk.flip_bit(&victim.segment, victim.offset + 24, 3));
    let expected = WalError::Corrupt { segment: victim.segment.clone(), offset: victim.offset, damage: Damage::Record };
    assert_eq!(open(&disk).err(), Some(expected.clone()));
    let last = inspect(&disk, Path::new(DIR)).unwrap().last().unwrap();
    assert_eq!(last.err(), Some(expected), "inspection ends with the same error");
}

#[test]
fn damage_behind_damage_does_not_hide_it() {
    let disk = old_log();
    let newest = segments(&disk).pop().unwrap();
    let found: Vec<_> = inspect(&disk, Path::new(DIR)).unwrap().collect::<Result<_, _>>().unwrap();
    let in_newest: Vec<_> = found.iter().filter(|record| record.segment == newest).collect();
    let [.., third, _, _, _, last] = in_newest.as_slice() else { panic!("too few records") };
    // The last batch keeps its header, which alone proves what it says.
    for victim in [third, last] {
        assert!(disk.flip_bit(&newest, victim.offset + 30, 0));
    }
    assert!(matches!(open(&disk), Err(WalError::Corrupt { offset, .. }) if offset == third.offset));
}

#[test]
fn damage_of_a_carry_is_found_even_if_no_batch_vouches_for_it() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[record(1, RecordKind::HardState, 0, b"the vote")]).unwrap();
    let before = segments(&disk).len();
    while segments(&disk).len() == before {
        wal.append(&[entries(1, 1, 600)]).unwrap();
    }
    wal.sync().unwrap();
    let newest = segments(&disk).pop().unwrap();
    // The carry is one sector, and so is the header of the only batch behind it.
    for sector in [1, 2] {
        assert!(disk.flip_bit(&newest, sector * 512 + 20, 0));
    }
    let damage = Damage::BatchHeader;
    assert_eq!(open(&disk).err(), Some(WalError::Corrupt { segment: newest, offset: 512, damage }));
}

#[test]
fn a_segment_of_another_history_of_the_same_log_does_not_follow() {
    let disk = FaultDisk::new();
    drop(open(&disk).unwrap());
    let image = disk.snapshot();
    let history = |byte: u8| {
        disk.restore(&image);
        let (mut wal, _) = open(&disk).unwrap();
        while segments(&disk).len() < 3 {
            wal.append(&[record(1, RecordKind::Entries, 1, &[byte; 600])]).unwrap();
        }
        wal.sync().unwrap();
        let second = segments(&disk).remove(1);
        (read_file(&disk, &second), second)
    };
    let (other, _) = history(1);
    let (_, second) = history(2);
    disk.open(&second, OpenMode::ReadWrite).unwrap().write_at(0, &other).unwrap();
    let damage = Damage::SegmentChain;
    assert_eq!(open(&disk).err(), Some(WalError::Corrupt { segment: second, offset: 0, damage }));
}

#[test]
fn a_missing_segment_is_named() {
    let disk = old_log();
    let segments = segments(&disk);
    assert!(disk.lose_file(&segments[1]));
    assert_eq!(open(&disk).err(), Some(WalError::Missing { segment: segments[1].clone() }));
}

#[test]
fn a_segment_in_another_ones_place_is_refused() {
    let disk = old_log();
    let segments = segments(&disk);
    disk.rename(&segments[0], &segments[1]).unwrap();
    let refused = open(&disk).err();
    let damage = Damage::SegmentHeader;
    assert_eq!(refused, Some(WalError::Corrupt { segment: segments[1].clone(), offset: 0, damage }));
}

#[test]
fn a_segment_that_was_cut_short_is_corrupt_if_it_had_been_synced() {
    let disk = old_log();
    let oldest = segments(&disk).remove(0);
    let file = disk.open(&oldest, OpenMode::ReadWrite).unwrap();
    file.set_len(3000).unwrap();
    assert!(matches!(open(&disk), Err(WalError::Corrupt { segment, .. }) if segment == oldest));
}

#[test]
fn the_log_of_another_node_or_cluster_is_refused_by_name() {
    let disk = old_log();
    for other in [Identity { node: NodeId(9), ..IDENTITY }, Identity { cluster: ClusterId(9), ..IDENTITY }] {
        let refused = Wal::open(Arc::new(disk.clone()), Path::new(DIR), other, SMALL).err().unwrap();
        assert!(matches!(refused, WalError::Foreign { found: IDENTITY, expected, .. } if expected == other));
    }
    let other = Identity { node: NodeId(9), ..IDENTITY };
    let refused = Wal::open(Arc::new(disk.clone()), Path::new(DIR), other, SMALL).err().unwrap();
    assert!(
        refused
            .to_string()
            .ends_with("was written by node d of cluster 00000000000000c1, this is node 9 of cluster 00000000000000c1")
    );
}

#[test]
fn a_newer_format_is_refused_with_its_version() {
    let disk = old_log();
    let segment = segments(&disk).remove(0);
    let mut header = read_file(&disk, &segment)[..512].to_vec();
    header[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let covered: Vec<u8> = header[..12].iter().chain(&header[16..]).copied().collect();
    header[12..16].copy_from_slice(&althing_codec::checksum::crc32c(&covered).to_le_bytes());
    disk.open(&segment, OpenMode::ReadWrite).unwrap().write_at(0, &header).unwrap();
    assert_eq!(open(&disk).err(), Some(WalError::Version { segment, found: 2, known: 1 }));
}
