//! What a hub knows of one stream and of one watch.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::watch::{CancelReason, WatchCreate};
use althing_types::{Instant, Revision, StreamId, WatchId};

use super::protocol::LeaderNeed;
use super::slots::Slot;

/// A place in a queue: the least is served first, and whoever was served takes a new one. Never given twice.
pub(super) type Turn = u64;

/// How far a watch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It has been given everything up to the hub's revision, or waits for its first revision to come.
    Live,
    /// It has been given everything below `next`; the rest comes from history or from the recent changes.
    Behind {
        /// The first revision that it has not been given.
        next: Revision,
        /// Its place among the stream's watches that are behind.
        turn: Turn,
    },
}

/// One watch.
pub(super) struct Watch {
    /// Of which stream.
    pub(super) stream: StreamId,
    /// Its id there.
    pub(super) id: WatchId,
    /// What it wants.
    pub(super) create: WatchCreate,
    /// Its first revision: it is given nothing below.
    pub(super) first: Revision,
    /// How far it is.
    pub(super) phase: Phase,
    /// When it was last given something.
    pub(super) last_sent: Instant,
    /// Its entry among the idle timers, if it wants progress.
    pub(super) timer: Option<Instant>,
}

/// Whether a stream takes events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    /// It has room.
    Open,
    /// Its buffer is full; what its watches miss comes once half of it has been taken.
    Full {
        /// What was put in since all the same: answers to commands, which cannot be had from history.
        answers_bytes: usize,
    },
    /// It has ended and only waits to be closed.
    Ended,
}

/// One stream.
pub(super) struct Stream {
    /// Whether it goes on without a leader.
    pub(super) leader: LeaderNeed,
    /// Its watches.
    pub(super) watches: BTreeMap<WatchId, Slot>,
    /// Where the search for a free id begins.
    next_id: i64,
    /// Weight delivered and not drained.
    pub(super) buffered_bytes: usize,
    /// Whether it takes events.
    pub(super) flow: Flow,
    /// Its watches that are behind, by turn.
    pub(super) behind: BTreeSet<(Turn, Slot)>,
    /// Its place among the streams with room and with watches that are behind.
    pub(super) turn: Turn,
    /// Its watches that began in the future, by their first revision. It may have come since.
    pub(super) future: BTreeSet<(Revision, Slot)>,
}

impl Stream {
    /// A stream without watches.
    pub(super) const fn new(leader: LeaderNeed) -> Self {
        Self {
            leader,
            watches: BTreeMap::new(),
            next_id: 0,
            buffered_bytes: 0,
            flow: Flow::Open,
            behind: BTreeSet::new(),
            turn: 0,
            future: BTreeSet::new(),
        }
    }

    /// The id of a new watch: the one wanted, or the next that is free.
    pub(super) fn choose_id(&mut self, wanted: Option<WatchId>) -> Result<WatchId, CancelReason> {
        match wanted {
            // -1 is "all watches" and "no watch".
            Some(id) if id.get() == -1 || self.watches.contains_key(&id) => Err(CancelReason::DuplicateId),
            Some(id) => Ok(id),
            None => {
                while self.watches.contains_key(&WatchId(self.next_id)) {
                    self.next_id += 1;
                }
                self.next_id += 1;
                Ok(WatchId(self.next_id - 1))
            }
        }
    }

    /// Counts `bytes` into the buffer; whether that filled it.
    pub(super) fn fill(&mut self, bytes: usize, limit_bytes: usize) -> bool {
        self.buffered_bytes += bytes;
        match &mut self.flow {
            Flow::Open if self.buffered_bytes >= limit_bytes => {
                self.flow = Flow::Full { answers_bytes: 0 };
                true
            }
            Flow::Full { answers_bytes } => {
                *answers_bytes += bytes;
                false
            }
            Flow::Open | Flow::Ended => false,
        }
    }

    /// Counts `bytes` out of the buffer; whether it has room again.
    pub(super) fn drain(&mut self, bytes: usize, limit_bytes: usize) -> bool {
        self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
        match self.flow {
            Flow::Full { .. } if self.buffered_bytes <= limit_bytes / 2 => {
                self.flow = Flow::Open;
                true
            }
            Flow::Open | Flow::Full { .. } | Flow::Ended => false,
        }
    }

    /// Whether every watch has been given all there is up to `revision`, and none waits for a later one.
    pub(super) fn is_synced(&self, revision: Revision) -> bool {
        self.behind.is_empty() && self.future.last().is_none_or(|(first, _)| *first <= revision.next())
    }
}
