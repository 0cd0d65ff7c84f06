//! The log's thread: group commit.
//!
//! While one fsync runs, the batches of the next ones gather in the mailbox. When it is done, all of them are appended as
//! one and synced together: the more wait, the cheaper each is, and nobody waits for a timer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use althing_env::{Clock, Disk};
use althing_node::{DiskSpace, WalBatch};
use althing_storage::wal::{Record, Wal, WalError, WalStats};
use althing_types::GroupId;

use super::Fatal;
use crate::mailbox::Mailbox;
use crate::metrics::LogMetrics;

/// What the log is asked to do, in order.
#[derive(Debug)]
pub(crate) enum Order {
    /// Append a batch, and sync if it asks for it.
    Append(WalBatch),
    /// These groups no longer need entries below these indexes.
    Release(Vec<(GroupId, u64)>),
}

/// What the log reports.
pub(crate) enum Report {
    /// This batch and all before it are durable, or need not be.
    Persisted(u64),
    /// These groups keep so much of the log alive that they should write what they need once more.
    Pinned(Vec<GroupId>),
    /// How the disk stands for space has changed.
    Space(DiskSpace),
}

/// How often the free space is looked at when there is nothing to do.
const SPACE_ROUND: Duration = Duration::from_millis(250);
/// How often it is looked at when there is. A look costs as much as a small write, and what a disk takes in this time is a twentieth
/// of the space that is kept free.
const BUSY_SPACE_ROUND: althing_types::Duration = althing_types::Duration::from_millis(20);

/// The log and what its thread needs.
pub(crate) struct LogThread {
    pub wal: Wal,
    /// The disk that the log is on, and the engine with it.
    pub disk: Arc<dyn Disk>,
    /// How it stood for space when that was last looked at.
    pub space: DiskSpace,
    pub orders: Arc<Mailbox<Order>>,
    pub clock: Arc<dyn Clock>,
    pub metrics: LogMetrics,
    pub stats: Arc<Mutex<WalStats>>,
    pub report: Box<dyn Fn(Report) + Send>,
}

/// What a round of orders comes to.
#[derive(Default)]
struct Round {
    records: Vec<Record>,
    sync: bool,
    last_seq: Option<u64>,
    released: bool,
}

impl LogThread {
    /// Works until the mailbox is closed.
    pub(crate) fn run(mut self) -> Result<(), Fatal> {
        let mut orders = Vec::new();
        // Groups that were told to write their entries once more and have not yet.
        let mut told = Vec::new();
        let mut looked = None;
        while self.orders.take_within(SPACE_ROUND, &mut orders) {
            let now = self.clock.now();
            if orders.is_empty() || looked.is_none_or(|last| now.since(last) >= BUSY_SPACE_ROUND) {
                self.look_at_space()?;
                looked = Some(now);
            }
            if orders.is_empty() {
                continue;
            }
            let round = self.gather(&mut orders, &mut told)?;
            self.commit(round, &mut told)?;
            *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = self.wal.stats();
        }
        self.wal.sync().map_err(Fatal::Log)?;
        Ok(())
    }

    /// Reports when space has become short, or ample again.
    fn look_at_space(&mut self) -> Result<(), Fatal> {
        let free_bytes = self.disk.available_bytes().map_err(|error| Fatal::Log(WalError::Disk(error)))?;
        let space = self.space.after(free_bytes);
        if space == self.space {
            return Ok(());
        }
        self.space = space;
        match space {
            DiskSpace::Short => {
                tracing::warn!(free_bytes, "the disk is nearly full: writes are refused until space is freed")
            }
            DiskSpace::Ample => tracing::info!(free_bytes, "the disk has space again"),
        }
        (self.report)(Report::Space(space));
        Ok(())
    }

    /// Brings the orders together into one append.
    fn gather(&mut self, orders: &mut Vec<Order>, told: &mut Vec<GroupId>) -> Result<Round, Fatal> {
        let mut round = Round::default();
        for order in orders.drain(..) {
            match order {
                Order::Append(batch) => {
                    round.sync |= batch.sync;
                    round.last_seq = Some(batch.seq);
                    if batch.rewritten.is_empty() {
                        round.records.extend(batch.records);
                    } else {
                        self.append(&mut round.records)?;
                        self.rewrite(&batch)?;
                        told.retain(|group| !batch.rewritten.contains(group));
                    }
                }
                Order::Release(groups) => {
                    for (group, keep_from) in groups {
                        self.wal.release(group, keep_from);
                    }
                    round.released = true;
                }
            }
        }
        Ok(round)
    }

    fn append(&mut self, records: &mut Vec<Record>) -> Result<(), Fatal> {
        if !records.is_empty() {
            self.metrics.records.inc_by(records.len() as u64);
            self.wal.append(records).map_err(Fatal::Log)?;
            records.clear();
        }
        Ok(())
    }

    /// Appends a batch that holds all live entries of some groups once more, and lets go of their older copies.
    fn rewrite(&mut self, batch: &WalBatch) -> Result<(), Fatal> {
        let from = self.wal.tail();
        self.wal.append(&batch.records).map_err(Fatal::Log)?;
        for group in &batch.rewritten {
            self.wal.supersede(*group, from);
        }
        Ok(())
    }

    fn commit(&mut self, mut round: Round, told: &mut Vec<GroupId>) -> Result<(), Fatal> {
        self.append(&mut round.records)?;
        if round.sync {
            let begun = self.clock.now();
            self.wal.sync().map_err(Fatal::Log)?;
            self.metrics.sync_seconds.observe(self.clock.now().since(begun).as_secs_f64());
        }
        if let Some(seq) = round.last_seq {
            (self.report)(Report::Persisted(seq));
        }
        if round.sync {
            self.wal.prepare().map_err(Fatal::Log)?;
        }
        if round.released {
            self.wal.recycle().map_err(Fatal::Log)?;
            let pinned = self.wal.pinned().into_iter().map(|pinned| pinned.group);
            let news: Vec<_> = pinned.filter(|group| !told.contains(group)).collect();
            if !news.is_empty() {
                told.extend(&news);
                (self.report)(Report::Pinned(news));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};

    use althing_env::DiskErrorKind;
    use althing_faultdisk::FaultDisk;
    use althing_storage::wal::{Identity, RecordKind, WalOptions};
    use althing_types::{ClusterId, NodeId};

    use crate::clock::RealClock;
    use crate::disk::RealDisk;

    const IDENTITY: Identity = Identity { cluster: ClusterId(1), node: NodeId(2) };

    fn options() -> WalOptions {
        WalOptions { segment_bytes: 4 * 1024 * 1024, max_batch_bytes: 1024 * 1024, ..WalOptions::default() }
    }

    fn open(disk: Arc<dyn Disk>) -> (Wal, Vec<Record>) {
        let (wal, recovery) = Wal::open(disk, Path::new("wal"), IDENTITY, options()).unwrap();
        (wal, recovery.records.into_iter().map(|(_, record)| record).collect())
    }

    fn thread(wal: Wal, disk: Arc<dyn Disk>) -> (LogThread, Receiver<u64>) {
        let (sender, persisted) = channel();
        let thread = LogThread {
            wal,
            disk,
            space: DiskSpace::default(),
            orders: Arc::default(),
            clock: Arc::new(RealClock::start()),
            metrics: LogMetrics::default(),
            stats: Arc::default(),
            report: Box::new(move |report| {
                if let Report::Persisted(seq) = report {
                    sender.send(seq).unwrap();
                }
            }),
        };
        (thread, persisted)
    }

    fn entry(index: u64) -> Record {
        Record { group: GroupId(1), kind: RecordKind::Entries, index, payload: vec![index as u8; 100].into() }
    }

    fn append(seq: u64, sync: bool) -> Order {
        Order::Append(WalBatch { seq, records: vec![entry(seq)], sync, rewritten: Vec::new() })
    }

    #[test]
    fn batches_that_have_gathered_share_one_fsync_and_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
        let (wal, _) = open(Arc::clone(&disk));
        let before = wal.stats();
        let (log, persisted) = thread(wal, Arc::clone(&disk));
        log.orders.extend((1..=100).map(|seq| append(seq, true)));
        log.orders.close();
        let stats = Arc::clone(&log.stats);
        log.run().unwrap();
        assert_eq!(persisted.iter().collect::<Vec<_>>(), [100]);
        let after = *stats.lock().unwrap();
        assert_eq!((after.batches - before.batches, after.syncs - before.syncs), (1, 1));
        let (_, found) = open(disk);
        assert_eq!(found, (1..=100).map(entry).collect::<Vec<_>>());
    }

    #[test]
    fn a_batch_that_asks_for_no_fsync_gets_none() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
        let (wal, _) = open(Arc::clone(&disk));
        let before = wal.stats();
        let (log, persisted) = thread(wal, disk);
        log.orders.push(append(1, false));
        log.orders.close();
        let stats = Arc::clone(&log.stats);
        log.run().unwrap();
        assert_eq!(persisted.iter().collect::<Vec<_>>(), [1]);
        assert_eq!(stats.lock().unwrap().syncs, before.syncs);
    }

    #[test]
    fn a_failed_fsync_ends_the_thread_and_nothing_is_reported_durable() {
        let disk = FaultDisk::new();
        let (wal, _) = open(Arc::new(disk.clone()));
        let (log, persisted) = thread(wal, Arc::new(disk.clone()));
        disk.fail_sync(0);
        log.orders.push(append(1, true));
        let error = log.run().unwrap_err();
        assert!(matches!(&error, Fatal::Log(WalError::Disk(disk)) if disk.kind == DiskErrorKind::Io), "{error}");
        assert!(error.to_string().starts_with("the write-ahead log failed, so this node stops: "), "{error}");
        assert_eq!(persisted.iter().count(), 0);
    }

    #[test]
    fn a_full_disk_ends_the_thread_and_nothing_is_reported_durable() {
        let disk = FaultDisk::new();
        let (wal, _) = open(Arc::new(disk.clone()));
        let (log, persisted) = thread(wal, Arc::new(disk.clone()));
        disk.set_capacity(Some(disk.files().iter().map(|(_, bytes)| bytes).sum()));
        log.orders.extend((1..=40).map(|seq| {
            let record = Record { payload: vec![7; 100_000].into(), ..entry(seq) };
            Order::Append(WalBatch { seq, records: vec![record], sync: true, rewritten: Vec::new() })
        }));
        log.orders.close();
        let error = log.run().unwrap_err();
        assert!(matches!(&error, Fatal::Log(WalError::Full(_))), "{error}");
        assert_eq!(persisted.iter().count(), 0);
    }
}
