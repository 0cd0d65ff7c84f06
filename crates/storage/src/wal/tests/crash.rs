//! Random histories that crash at every point, in every way, again and again.
//!
//! Each record has a number in its payload. The model knows which were appended, which of them a sync has confirmed, and
//! what the host said it no longer needs. After every recovery: the numbers ascend; from some number on there is no gap; all
//! before that is carried; nothing confirmed and needed is missing; a batch is there as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use althing_faultdisk::Fate;

use super::*;

const GROUPS: u64 = 4;

#[derive(Clone, Debug, Default)]
struct Model {
    /// All records that may be in the log, in order. The payload begins with the place in this list.
    log: Vec<Record>,
    /// Lengths of `log` after each batch.
    batch_ends: BTreeSet<usize>,
    /// How many of them a sync has confirmed.
    synced: usize,
    released: BTreeMap<GroupId, u64>,
    /// Entries of a group before the first number are written forward, provided that the log reaches the second.
    superseded: Vec<(GroupId, usize, usize)>,
    /// The greatest index of each group.
    indexes: BTreeMap<GroupId, u64>,
}

fn number(record: &Record) -> usize {
    u64::from_le_bytes(*record.payload.first_chunk().unwrap()) as usize
}

impl Model {
    fn record(&mut self, group: u64, kind: RecordKind, index: u64, filler: usize) -> Record {
        let mut payload = (self.log.len() as u64).to_le_bytes().to_vec();
        payload.resize(8 + filler, self.log.len() as u8);
        let record = record(group, kind, index, &payload);
        self.log.push(record.clone());
        record
    }

    fn random_record(&mut self, random: &mut fastrand::Rng) -> Record {
        let group = random.u64(1..=GROUPS);
        match random.u8(..20) {
            0 => self.record(group, RecordKind::Snapshot, random.u64(..50), 20),
            1 => self.record(group, RecordKind::Truncated, random.u64(..50), 16),
            2 => self.record(group, RecordKind::GroupDropped, 0, 0),
            3..8 => self.record(group, RecordKind::HardState, 0, 24),
            _ => {
                let index = self.indexes.entry(GroupId(group)).or_default();
                *index += random.u64(1..4);
                let (index, filler) = (*index, random.usize(..700));
                self.record(group, RecordKind::Entries, index, filler)
            }
        }
    }

    fn dropped_later(&self, number: usize, end: usize) -> bool {
        let group = self.log[number].group;
        self.log[number + 1..end].iter().any(|later| later.group == group && later.kind == RecordKind::GroupDropped)
    }

    fn is_needed(&self, number: usize, end: usize) -> bool {
        let record = &self.log[number];
        if self.dropped_later(number, end) {
            return false;
        }
        match record.kind.keep() {
            Keep::Marker => false,
            Keep::Latest => {
                let same = |later: &&Record| later.group == record.group && later.kind == record.kind;
                !self.log[number + 1..end].iter().any(|later| same(&later))
            }
            Keep::UntilReleased => {
                let released = self.released.get(&record.group).copied().unwrap_or_default();
                let forward = self
                    .superseded
                    .iter()
                    .any(|(group, from, reach)| *group == record.group && number < *from && *reach <= end);
                record.index >= released && !forward
            }
        }
    }

    /// Checks a recovery and forgets what it shows to be lost.
    fn recover(&mut self, recovery: &Recovery) {
        let found: Vec<usize> = recovery.records.iter().map(|(_, record)| number(record)).collect();
        assert!(found.is_sorted_by(|a, b| a < b), "out of order: {found:?}");
        for (_, record) in &recovery.records {
            assert_eq!(*record, self.log[number(record)]);
        }
        let end = found.last().map_or(0, |last| last + 1).max(self.synced);
        assert!(self.batch_ends.contains(&end) || end == 0, "half a batch: {found:?}");
        let gap = found.windows(2).rposition(|pair| pair[1] != pair[0] + 1);
        for carried in &found[..gap.map_or(0, |gap| gap + 1)] {
            assert_eq!(self.log[*carried].kind.keep(), Keep::Latest, "a hole in the log: {found:?}");
        }
        let present: BTreeSet<usize> = found.iter().copied().collect();
        for number in 0..end {
            assert!(
                present.contains(&number) || !self.is_needed(number, end),
                "record {number} is lost: {:?}; synced {}, found {found:?}",
                self.log[number],
                self.synced
            );
        }
        self.log.truncate(end);
        self.batch_ends.retain(|batch| *batch <= end);
        self.superseded.retain(|(_, _, reach)| *reach <= end);
        self.synced = end;
    }
}

/// One random call. Errors are the power going off.
fn act(wal: &mut Wal, model: &mut Model, random: &mut fastrand::Rng) -> Result<(), WalError> {
    match random.u8(..12) {
        0..6 => {
            let first = model.log.len();
            for _ in 0..random.usize(1..4) {
                model.random_record(random);
            }
            // Two records of the greatest size make one batch.
            model.log.truncate(first + 2);
            append(wal, model, first)
        }
        6..9 => {
            wal.sync()?;
            model.synced = model.log.len();
            wal.prepare()
        }
        9 => {
            let group = GroupId(random.u64(1..=GROUPS));
            let greatest = model.indexes.get(&group).copied().unwrap_or_default();
            let released = model.released.entry(group).or_default();
            *released = greatest.saturating_sub(random.u64(..8)).max(*released);
            wal.release(group, *released);
            Ok(())
        }
        10 => write_forward(wal, model),
        _ => wal.recycle().map(|_| ()),
    }
}

fn append(wal: &mut Wal, model: &mut Model, first: usize) -> Result<(), WalError> {
    model.batch_ends.insert(model.log.len());
    wal.append(&model.log[first..]).map(|_| ())
}

/// Does for pinned groups what a host does.
fn write_forward(wal: &mut Wal, model: &mut Model) -> Result<(), WalError> {
    for Pinned { group, .. } in wal.pinned() {
        let first = model.log.len();
        let from = wal.tail();
        let index = model.indexes.get(&group).copied().unwrap_or_default();
        model.record(group.get(), RecordKind::Entries, index, 30);
        append(wal, model, first)?;
        wal.supersede(group, from);
        model.superseded.push((group, first, first + 1));
    }
    Ok(())
}

fn live(disk: &FaultDisk, model: &mut Model, random: &mut fastrand::Rng, calls: usize) -> Result<(), WalError> {
    let (mut wal, recovery) = open(disk)?;
    model.recover(&recovery);
    for _ in 0..calls {
        act(&mut wal, model, random)?;
    }
    Ok(())
}

/// Several lives of one log, each ended by the power going off at any moment.
fn lives(seed: u64, lives: usize, fate: impl Fn(&FaultDisk, u64)) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let (disk, mut model) = (FaultDisk::new(), Model::default());
    for life in 0..lives {
        disk.power_off_after(random.u64(..150));
        let calls = random.usize(..80);
        let result = live(&disk, &mut model, random, calls);
        assert!(matches!(result, Ok(()) | Err(WalError::Disk(_))), "seed {seed}, life {life}: {result:?}");
        fate(&disk, random.u64(..));
    }
}

#[test]
fn nothing_synced_is_lost_when_each_sector_meets_its_own_fate() {
    for seed in 0..400 {
        lives(seed, 8, |disk, seed| disk.crash(seed));
    }
}

#[test]
fn nothing_synced_is_lost_when_all_sectors_meet_the_same_fate() {
    for seed in 0..60 {
        for fate in [Fate::Lost, Fate::Kept, Fate::Torn] {
            lives(seed, 8, |disk, _| disk.crash_all(fate));
        }
    }
}

#[test]
fn nothing_is_lost_when_only_the_process_dies() {
    for seed in 0..60 {
        lives(seed, 8, |disk, _| disk.restart());
    }
}

#[test]
fn nothing_is_lost_when_the_process_dies_and_later_the_power_fails() {
    for seed in 0..600 {
        lives(seed, 10, |disk, seed| if seed % 3 == 0 { disk.crash(seed) } else { disk.restart() });
    }
}

#[test]
fn what_a_recovery_has_handed_out_is_durable_before_anything_says_so() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[entries(1, 1, 1500)]).unwrap();
    let image = disk.snapshot();
    for changes in 0..12 {
        for seed in 0..60 {
            disk.restore(&image);
            disk.power_off_after(changes);
            let first = open(&disk).map(|(_, recovery)| plain(&recovery));
            disk.crash(seed);
            let (_, second) = open(&disk).unwrap_or_else(|error| panic!("{changes} changes, seed {seed}: {error}"));
            assert!(first.is_err() || first == Ok(plain(&second)), "{changes} changes, seed {seed}");
        }
    }
}

#[test]
fn a_history_may_crash_at_every_single_change() {
    for seed in 0..3 {
        let mut whole = Model::default();
        let disk = FaultDisk::new();
        live(&disk, &mut whole, &mut fastrand::Rng::with_seed(seed), 70).unwrap();
        for change in 0..disk.counters().changes {
            let (disk, mut model) = (FaultDisk::new(), Model::default());
            disk.power_off_after(change);
            live(&disk, &mut model, &mut fastrand::Rng::with_seed(seed), 70).unwrap_err();
            let (image, before) = (disk.snapshot(), model);
            for fate in 0..6 {
                disk.restore(&image);
                match fate {
                    0 => disk.crash_all(Fate::Lost),
                    1 => disk.crash_all(Fate::Kept),
                    2 => disk.crash_all(Fate::Torn),
                    _ => disk.crash(change * 8 + fate),
                }
                let mut model = before.clone();
                let random = &mut fastrand::Rng::with_seed(seed + 100);
                live(&disk, &mut model, random, 6).unwrap();
                disk.crash(change);
                live(&disk, &mut model, random, 0).unwrap();
            }
        }
    }
}

#[test]
fn a_cut_batch_never_comes_back() {
    for seed in 0..300 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let disk = FaultDisk::new();
        let mut forbidden = BTreeSet::new();
        let mut next = 1;
        for _ in 0..10 {
            let (mut wal, recovery) = open(&disk).unwrap();
            let found: BTreeSet<u64> = recovery.records.iter().map(|(_, record)| record.index).collect();
            assert!(found.is_disjoint(&forbidden), "seed {seed}: cut records came back");
            forbidden.extend((1..next).filter(|index| !found.contains(index)));
            // Batches of the same size, so that new ones end exactly where cut ones begin.
            for _ in 0..random.u64(1..6) {
                wal.append(&[entries(1, next, 400)]).unwrap();
                next += 1;
            }
            disk.crash(random.u64(..));
        }
        assert!(!forbidden.is_empty());
    }
}

#[test]
fn a_torn_tail_is_reported_with_its_place_and_size() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[entries(1, 1, 100)]).unwrap();
    wal.sync().unwrap();
    wal.append(&[entries(1, 2, 1000)]).unwrap();
    wal.append(&[entries(1, 3, 1000)]).unwrap();
    let segment = segments(&disk).remove(0);
    let image = disk.snapshot();
    let cut_after_flip = |offset| {
        disk.restore(&image);
        assert!(disk.flip_bit(&segment, offset, 0));
        open(&disk).unwrap().1.cut
    };
    let cut = |offset, bytes| Some(Cut { segment: segment.clone(), offset, bytes });
    // Header and the first record are one sector each; the other batches are three sectors each.
    assert_eq!(cut_after_flip(1024 + 700), cut(1024, 3072), "a torn body");
    assert_eq!(cut_after_flip(1024), cut(1024, 3072), "a lost header, and a later batch that is whole");
    assert_eq!(cut_after_flip(2560 + 60), cut(2560, 1536), "a torn last batch");
    assert_eq!(cut_after_flip(2560), None, "nothing is known of a last batch without its header");
}

#[test]
fn a_process_that_comes_back_after_a_failed_sync_makes_what_it_reads_durable() {
    let disk = FaultDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[entries(1, 1, 100)]).unwrap();
    disk.fail_sync(0);
    assert!(matches!(wal.sync(), Err(WalError::Disk(_))));
    disk.restart();
    let (_, recovery) = open(&disk).unwrap();
    assert_eq!(recovery.records.len(), 1, "the page cache still shows it");
    disk.crash_all(Fate::Lost);
    let (_, again) = open(&disk).unwrap();
    assert_eq!(plain(&again), plain(&recovery));
}

#[test]
fn the_same_history_leaves_the_same_bytes() {
    let run = || {
        let disk = FaultDisk::new();
        let mut model = Model::default();
        for life in 0..3 {
            live(&disk, &mut model, &mut fastrand::Rng::with_seed(life), 60).unwrap();
            disk.crash(life);
        }
        disk.files().into_iter().map(|(path, _)| read_file(&disk, &path)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
