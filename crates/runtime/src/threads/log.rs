//! The log's thread: group commit.
//!
//! While one fsync runs, the batches of the next ones gather in the mailbox. When it is done, all of them are appended as
//! one and synced together: the more wait, the cheaper each is, and nobody waits for a timer.

use std::sync::{Arc, Mutex, PoisonError};

use althing_env::Clock;
use althing_node::WalBatch;
use althing_storage::wal::{Record, Wal, WalStats};
use althing_types::GroupId;

use super::Fatal;
use crate::mailbox::Mailbox;
use crate::metrics::LogMetrics;

/// What the log is asked to do, in order.
#[derive(Debug)]
pub(crate) enum Order {
    /// Append a batch, and sync if it asks for it.
    Append {
        /// The batch.
        batch: WalBatch,
        /// Groups all of whose live entries are in this batch once more, so that older copies need not be kept.
        supersedes: Vec<GroupId>,
    },
    /// These groups no longer need entries below these indexes.
    Release(Vec<(GroupId, u64)>),
}

/// What the log reports.
pub(crate) enum Report {
    /// This batch and all before it are durable, or need not be.
    Persisted(u64),
    /// These groups keep so much of the log alive that they should write what they need once more.
    Pinned(Vec<GroupId>),
}

/// The log and what its thread needs.
pub(crate) struct LogThread {
    pub wal: Wal,
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
        while self.orders.take(&mut orders) {
            let round = self.gather(&mut orders, &mut told)?;
            self.commit(round, &mut told)?;
            *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = self.wal.stats();
        }
        self.wal.sync().map_err(Fatal::Log)?;
        Ok(())
    }

    /// Brings the orders together into one append.
    fn gather(&mut self, orders: &mut Vec<Order>, told: &mut Vec<GroupId>) -> Result<Round, Fatal> {
        let mut round = Round::default();
        for order in orders.drain(..) {
            match order {
                Order::Append { batch, supersedes } => {
                    round.sync |= batch.sync;
                    round.last_seq = Some(batch.seq);
                    if supersedes.is_empty() {
                        round.records.extend(batch.records);
                    } else {
                        self.append(&mut round.records)?;
                        self.rewrite(&batch.records, &supersedes)?;
                        told.retain(|group| !supersedes.contains(group));
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

    /// Appends a batch that holds all live entries of some groups, and lets go of their older copies.
    fn rewrite(&mut self, records: &[Record], groups: &[GroupId]) -> Result<(), Fatal> {
        let from = self.wal.tail();
        self.wal.append(records).map_err(Fatal::Log)?;
        for group in groups {
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
