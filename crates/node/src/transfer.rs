//! Snapshots on their way between nodes, out of band: pages flow while Raft goes on.
//!
//! ```text
//! leader                                     follower
//!   export page 0  ── Page 0 ──────────────►  import into a new space
//!                  ◄──────────── PageAck 1 ─
//!   …at most MAX_INFLIGHT_SNAPSHOT_CHUNKS ahead…
//!   export ends    ── Page n, last ────────►  import ends; checkpoint makes the space durable;
//!                                             Raft restores its log at the snapshot's index;
//!                  ◄── PageAck, Installed ──  the log records the new space, the group stands on it
//! ```
//!
//! A crash before the log has recorded the new space leaves the old one in force; the new one is dropped at the next
//! start. Nothing is acknowledged to Raft before it is durable.

use std::collections::VecDeque;

use althing_probe::Mutant;
use althing_storage::engine::Applied;
use althing_strong::Export;
use althing_types::{Duration, Instant, NodeId, SpaceId, limits};
use bytes::Bytes;

/// How long a transfer may stand still before it is given up.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the export of an outgoing transfer is.
#[derive(Debug)]
pub enum Source {
    /// The reader has it.
    Reading,
    /// It waits to be asked for its next page.
    Idle(Box<Export>),
    /// All pages are read.
    Ended,
}

/// A snapshot on its way to a follower.
#[derive(Debug)]
pub struct Outgoing {
    /// Names the transfer.
    pub transfer: u64,
    /// Where its export is.
    pub source: Source,
    /// A page that is read, held until it is known whether another follows.
    pub held: Option<Bytes>,
    /// Pages that wait to be sent: with whether each is the last.
    pub ready: VecDeque<(Bytes, bool)>,
    /// Pages sent.
    pub sent: u64,
    /// Pages that have arrived.
    pub acknowledged: u64,
    /// When something moved last.
    pub moved: Instant,
}

impl Outgoing {
    /// A transfer whose export the reader is starting.
    #[must_use]
    pub fn new(transfer: u64, now: Instant) -> Self {
        Self {
            transfer,
            source: Source::Reading,
            held: None,
            ready: VecDeque::new(),
            sent: 0,
            acknowledged: 0,
            moved: now,
        }
    }

    /// A page has been read, or the export has ended.
    pub fn page(&mut self, export: Option<Box<Export>>, page: Option<Bytes>) {
        let ended = page.is_none();
        let before = std::mem::replace(&mut self.held, page);
        let before = before.filter(|_| !ended || !althing_probe::is(Mutant::SnapshotWithoutEnd));
        self.ready.extend(before.map(|page| (page, ended)));
        self.source = match export {
            Some(export) if !ended => Source::Idle(export),
            Some(_) | None => Source::Ended,
        };
    }

    /// The next page that may be sent: its number, the page, whether it is the last.
    pub fn next_page(&mut self, now: Instant) -> Option<(u64, Bytes, bool)> {
        if self.sent - self.acknowledged >= limits::MAX_INFLIGHT_SNAPSHOT_CHUNKS as u64 {
            return None;
        }
        let (page, last) = self.ready.pop_front()?;
        let number = self.sent;
        self.sent += 1;
        self.moved = now;
        Some((number, page, last))
    }

    /// The export, if its next page should be read now.
    pub fn take_export(&mut self) -> Option<Box<Export>> {
        if self.ready.len() >= limits::MAX_INFLIGHT_SNAPSHOT_CHUNKS {
            return None;
        }
        match std::mem::replace(&mut self.source, Source::Reading) {
            Source::Idle(export) => Some(export),
            Source::Reading => None,
            Source::Ended => {
                self.source = Source::Ended;
                None
            }
        }
    }
}

/// How far an incoming snapshot is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Pages come in.
    Filling,
    /// All are in; a checkpoint must make them durable.
    Complete {
        /// Where the space stands.
        applied: Applied,
        /// The Raft configuration as of there.
        conf_state: Bytes,
    },
}

/// A snapshot that comes in.
#[derive(Debug)]
pub struct Incoming {
    /// Names the transfer.
    pub transfer: u64,
    /// Who sends it.
    pub from: NodeId,
    /// The term that it leads.
    pub term: u64,
    /// The space that it fills.
    pub space: SpaceId,
    /// Pages that have come.
    pub received: u64,
    /// How far it is.
    pub stage: Stage,
    /// When something moved last.
    pub moved: Instant,
}
