//! The log in memory, as the raft crate reads it.
//!
//! ```text
//!   truncated     first ............ last
//!   (index,term)  entries: a ring, dropped at the front, rewritten at the back
//! ```
//!
//! All of a group's log above its truncated position is here; the write-ahead log is only ever read at a restart. What
//! stands here is visible to Raft at once and durable later: the replica keeps the two apart.

use std::collections::VecDeque;
use std::ops::Range;

use althing_probe::Mark;
use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, StorageError};

use crate::types::{ConfState, Entry, HardState, LogPosition, SnapshotMeta};

/// What an entry costs beyond its data, in bytes.
const ENTRY_OVERHEAD_BYTES: usize = size_of::<eraftpb::Entry>();

pub(crate) struct Log {
    truncated: LogPosition,
    entries: VecDeque<eraftpb::Entry>,
    bytes: usize,
    applied: LogPosition,
    hard_state: HardState,
    conf_state: ConfState,
}

impl Log {
    /// The log above `truncated`, of a replica whose state machine stands at `applied`, which is within it.
    pub(crate) fn new(
        truncated: LogPosition,
        entries: Vec<Entry>,
        applied: u64,
        hard_state: HardState,
        conf_state: ConfState,
    ) -> Self {
        let entries: VecDeque<_> = entries.into_iter().map(Entry::into_raft).collect();
        let bytes = entries.iter().map(cost).sum();
        let mut log = Self { truncated, entries, bytes, applied: LogPosition::default(), hard_state, conf_state };
        log.set_applied(applied);
        log
    }

    pub(crate) const fn truncated(&self) -> LogPosition {
        self.truncated
    }

    pub(crate) fn last(&self) -> u64 {
        self.truncated.index + self.entries.len() as u64
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn hard_state(&self) -> HardState {
        self.hard_state
    }

    pub(crate) const fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(crate) fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    /// Notes that the state machine stands at `index`.
    pub(crate) fn set_applied(&mut self, index: u64) {
        let term = self.term_at(index).expect("the applied index is within the log");
        self.applied = LogPosition { index, term };
    }

    /// The term of the entry at `index`, the truncated position included.
    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.truncated.index { Some(self.truncated.term) } else { self.get(index).map(|entry| entry.term) }
    }

    fn get(&self, index: u64) -> Option<&eraftpb::Entry> {
        let offset = index.checked_sub(self.truncated.index + 1)?;
        self.entries.get(offset as usize)
    }

    fn slice(&self, range: &Range<u64>) -> impl Iterator<Item = &eraftpb::Entry> {
        let base = self.truncated.index + 1;
        self.entries.range((range.start - base) as usize..(range.end - base) as usize)
    }

    /// Entries of `range`, as far as they are here.
    pub(crate) fn entries(&self, range: Range<u64>) -> Vec<Entry> {
        let start = range.start.max(self.truncated.index + 1);
        let end = range.end.min(self.last() + 1);
        if start >= end { Vec::new() } else { self.slice(&(start..end)).map(Entry::from_raft).collect() }
    }

    /// Writes entries, which replace everything from their first index on.
    pub(crate) fn append(&mut self, entries: Vec<eraftpb::Entry>) {
        let Some(first) = entries.first() else { return };
        let kept = first.index.checked_sub(self.truncated.index + 1).expect("truncated entries are never rewritten");
        assert!(kept <= self.entries.len() as u64, "a log has no gap before {}", first.index);
        if kept < self.entries.len() as u64 {
            althing_probe::hit(Mark::ConflictTruncated);
        }
        for dropped in self.entries.drain(kept as usize..) {
            self.bytes -= cost(&dropped);
        }
        self.bytes += entries.iter().map(cost).sum::<usize>();
        self.entries.extend(entries);
    }

    /// Drops entries up to and including `index`, which is applied.
    pub(crate) fn truncate(&mut self, index: u64) {
        let Some(term) = self.term_at(index) else { return };
        assert!(index <= self.applied.index, "an entry is kept until it is applied");
        let count = (index - self.truncated.index) as usize;
        for dropped in self.entries.drain(..count) {
            self.bytes -= cost(&dropped);
        }
        self.truncated = LogPosition { index, term };
    }

    /// The log is replaced by a snapshot.
    pub(crate) fn restore(&mut self, meta: &SnapshotMeta) {
        self.entries.clear();
        self.bytes = 0;
        self.truncated = LogPosition { index: meta.index, term: meta.term };
        self.conf_state = meta.conf_state.clone();
    }
}

fn cost(entry: &eraftpb::Entry) -> usize {
    entry.data.len() + entry.context.len() + ENTRY_OVERHEAD_BYTES
}

impl raft::Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let mut hard_state = eraftpb::HardState::default();
        hard_state.set_term(self.hard_state.term);
        hard_state.set_vote(self.hard_state.vote.get());
        hard_state.set_commit(self.hard_state.commit);
        Ok(RaftState::new(hard_state, self.conf_state.to_raft()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low <= self.truncated.index {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last() + 1, "entries up to {high} are read from a log that ends at {}", self.last());
        let limit = max_size.into().unwrap_or(u64::MAX) as usize;
        let mut size = 0_usize;
        let within = |entry: &&eraftpb::Entry| {
            let first = size == 0;
            size += cost(entry);
            first || size <= limit
        };
        Ok(self.slice(&(low..high)).take_while(within).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_at(index) {
            Some(term) => Ok(term),
            None if index < self.truncated.index => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// Only says where the state machine stands: the data is streamed by the host, outside of the protocol.
    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<eraftpb::Snapshot> {
        if self.applied.index == 0 || self.applied.index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let LogPosition { index, term } = self.applied;
        Ok(SnapshotMeta { index, term, conf_state: self.conf_state.clone() }.to_raft())
    }
}

#[cfg(test)]
mod tests {
    use raft::Storage as _;

    use super::*;
    use crate::types::EntryKind;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, kind: EntryKind::Normal, data: vec![0; 100].into() }
    }

    fn log_of(truncated: u64, terms: &[u64]) -> Log {
        let entries = (truncated + 1..).zip(terms).map(|(index, term)| entry(index, *term)).collect();
        let truncated = LogPosition { index: truncated, term: 1 };
        Log::new(truncated, entries, truncated.index, HardState::default(), ConfState::default())
    }

    fn terms(log: &Log) -> Vec<u64> {
        (log.truncated.index..=log.last()).map(|index| log.term_at(index).unwrap()).collect()
    }

    #[test]
    fn entries_replace_everything_from_their_first_index_on() {
        let mut log = log_of(4, &[1, 2, 2, 3]);
        log.append(vec![entry(6, 4).into_raft()]);
        assert_eq!(terms(&log), [1, 1, 4]);
        assert_eq!(log.bytes(), 2 * (100 + ENTRY_OVERHEAD_BYTES));
    }

    #[test]
    #[should_panic(expected = "a log has no gap")]
    fn a_gap_is_refused() {
        log_of(4, &[1, 2]).append(vec![entry(8, 2).into_raft()]);
    }

    #[test]
    fn truncation_keeps_the_term_of_the_last_entry_that_went() {
        let mut log = log_of(4, &[1, 2, 3]);
        log.set_applied(6);
        log.truncate(6);
        assert_eq!(log.truncated(), LogPosition { index: 6, term: 2 });
        assert_eq!((log.term(6).unwrap(), log.term(7).unwrap(), log.last()), (2, 3, 7));
        assert_eq!(log.term(5).unwrap_err(), StorageError::Compacted.into());
        assert_eq!(log.bytes(), 100 + ENTRY_OVERHEAD_BYTES);
        log.truncate(5);
        assert_eq!(log.truncated().index, 6, "a truncation never goes back");
    }

    #[test]
    fn a_read_is_bounded_and_gives_at_least_one_entry() {
        let log = log_of(0, &[1, 1, 1]);
        let read = |limit| log.entries_of_raft(1..4, limit);
        assert_eq!((read(0), read(250 + ENTRY_OVERHEAD_BYTES as u64 * 2), read(u64::MAX)), (1, 2, 3));
    }

    impl Log {
        fn entries_of_raft(&self, range: Range<u64>, limit: u64) -> usize {
            let context = GetEntriesContext::empty(false);
            raft::Storage::entries(self, range.start, range.end, limit, context).unwrap().len()
        }
    }
}
