//! The log's writer: what a server does on a thread of its own. While one sync is under way, batches gather; then they
//! are written together, and one sync serves them all.

use std::collections::BTreeSet;

use althing_node::WalBatch;
use althing_probe::Mutant;
use althing_storage::wal::{RecordKind, Wal, WalError};
use althing_types::GroupId;

/// What waits for the writer.
#[derive(Debug)]
enum Item {
    Batch(WalBatch),
    Release(GroupId, u64),
}

/// Whether the writer needs a sync before it may report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Somebody waits for a sync.
    Sync,
    /// Nobody does.
    Later,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Idle,
    Writing { seq: u64, durability: Durability },
}

/// What came of tidying up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tidied {
    /// Groups that keep too much of the log alive, and are to be told.
    pub pinned: Vec<GroupId>,
    /// Segments that were freed.
    pub freed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Released {
    No,
    Yes,
}

/// The log and its writer.
pub struct Writer {
    wal: Wal,
    queue: Vec<Item>,
    stage: Stage,
    /// Whether a group needs less of the log than when it was last tidied up.
    released: Released,
    /// Groups that were asked to write what lives of theirs again, and have not yet.
    asked: BTreeSet<GroupId>,
    /// The last batch that was handed over.
    pushed: u64,
    /// The last one that was reported.
    reported: u64,
}

impl Writer {
    /// A writer of an open log.
    #[must_use]
    pub fn new(wal: Wal) -> Self {
        Self {
            wal,
            queue: Vec::new(),
            stage: Stage::Idle,
            released: Released::No,
            asked: BTreeSet::new(),
            pushed: 0,
            reported: 0,
        }
    }

    /// Hands a batch over.
    pub fn push(&mut self, batch: WalBatch) {
        self.pushed = batch.seq;
        self.queue.push(Item::Batch(batch));
    }

    /// Hands a release over, after the batches so far.
    pub fn release(&mut self, group: GroupId, keep_from: u64) {
        self.queue.push(Item::Release(group, keep_from));
    }

    /// What the write under way needs before it may be reported.
    #[must_use]
    pub fn under_way(&self) -> Option<Durability> {
        match self.stage {
            Stage::Idle => None,
            Stage::Writing { durability, .. } => Some(durability),
        }
    }

    /// Batches that were handed over and not reported.
    #[must_use]
    pub fn unreported(&self) -> usize {
        usize::try_from(self.pushed - self.reported).expect("batches in memory fit into it")
    }

    /// Writes all that waits, unless a sync is under way. Then [`Writer::finish`] is due after a while.
    pub fn start(&mut self) -> Result<Option<Durability>, WalError> {
        if self.stage != Stage::Idle || self.queue.is_empty() {
            return Ok(None);
        }
        let (mut last, mut durability) = (None, Durability::Later);
        for item in std::mem::take(&mut self.queue) {
            match item {
                Item::Batch(mut batch) => {
                    if althing_probe::is(Mutant::SkipHardStates) {
                        batch.records.retain(|record| record.kind != RecordKind::HardState);
                    }
                    let before = self.wal.tail();
                    self.wal.append(&batch.records)?;
                    for group in batch.rewritten {
                        self.wal.supersede(group, before);
                        self.asked.remove(&group);
                    }
                    last = Some(batch.seq);
                    durability = if batch.sync { Durability::Sync } else { durability };
                }
                Item::Release(group, keep_from) => {
                    self.wal.release(group, keep_from);
                    self.released = Released::Yes;
                }
            }
        }
        let Some(seq) = last else { return Ok(None) };
        self.stage = Stage::Writing { seq, durability };
        Ok(Some(durability))
    }

    /// Frees what is not needed any more, after a release. Groups that keep too much of the log alive even then are told
    /// so, once until they have done something about it.
    pub fn tidy(&mut self) -> Result<Tidied, WalError> {
        if std::mem::replace(&mut self.released, Released::No) == Released::No {
            return Ok(Tidied::default());
        }
        let freed = if althing_probe::is(Mutant::AcknowledgeBeforeSync) { 0 } else { self.wal.recycle()? };
        let pinned = self.wal.pinned().into_iter().map(|pinned| pinned.group);
        Ok(Tidied { pinned: pinned.filter(|group| self.asked.insert(*group)).collect(), freed })
    }

    /// Ends what [`Writer::start`] began: the number of the last batch that may be reported.
    pub fn finish(&mut self) -> Result<Option<u64>, WalError> {
        let Stage::Writing { seq, durability } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return Ok(None);
        };
        match durability {
            Durability::Sync if !althing_probe::is(Mutant::AcknowledgeBeforeSync) => {
                self.wal.sync()?;
                self.wal.prepare()?;
            }
            Durability::Sync | Durability::Later => {}
        }
        self.reported = seq;
        Ok(Some(seq))
    }
}
