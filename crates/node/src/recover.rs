//! From the log's records back to what each group was.

use std::collections::BTreeMap;

use althing_codec::{DecodeError, Reader};
use althing_consensus::{HardState, LogPosition, SnapshotMeta, decode_entries};
use althing_storage::engine::Applied;
use althing_storage::wal::{Record, RecordKind};
use althing_types::{GroupId, SpaceId};

use crate::applier::BIRTH;
use crate::group::GroupLog;
use crate::input::GroupState;

/// Why a log cannot be read back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoverError {
    /// A record that passed its checksum does not parse.
    #[error("a log record of group {group} does not parse: {source}")]
    Record {
        /// Of which group.
        group: GroupId,
        /// What is wrong.
        source: DecodeError,
    },
}

/// Collects the records of a log, in order, into what each group was.
#[derive(Debug, Default)]
pub struct LogRecovery {
    groups: BTreeMap<GroupId, GroupLog>,
}

impl LogRecovery {
    /// Takes in the next record.
    pub fn record(&mut self, record: Record) -> Result<(), RecoverError> {
        let group = record.group;
        self.take(record).map_err(|source| RecoverError::Record { group, source })
    }

    fn take(&mut self, record: Record) -> Result<(), DecodeError> {
        let log = self.groups.entry(record.group).or_default();
        match record.kind {
            RecordKind::Entries => {
                let entries = decode_entries(record.payload)?;
                if let Some(first) = entries.first() {
                    // A later record wins from its first index on: a follower's log was overwritten, or this is the
                    // same written again.
                    let keep = log.recovered.entries.partition_point(|entry| entry.index < first.index);
                    log.recovered.entries.truncate(keep);
                    log.recovered.entries.extend(entries);
                }
            }
            RecordKind::HardState => log.recovered.hard_state = HardState::decode(record.payload)?,
            RecordKind::Truncated => {
                let truncated = LogPosition::decode(record.payload)?;
                log.cut(truncated);
            }
            RecordKind::Snapshot => {
                let mut reader = Reader::new(record.payload);
                let space = SpaceId(reader.u64("a snapshot's space")?);
                let meta = SnapshotMeta::decode(reader.rest())?;
                let position = LogPosition { index: meta.index, term: meta.term };
                // The log before an installed snapshot is void, and what follows in it, too, unless it was written later.
                if log.recovered.truncated < position {
                    log.recovered.entries.clear();
                    log.recovered.truncated = position;
                }
                log.space = Some(space);
            }
            RecordKind::GroupDropped => *log = GroupLog::default(),
        }
        Ok(())
    }

    /// The space that each group stands on, where a snapshot has moved it.
    #[must_use]
    pub fn spaces(&self) -> BTreeMap<GroupId, SpaceId> {
        self.groups.iter().filter_map(|(group, log)| log.space.map(|space| (*group, space))).collect()
    }

    /// Joins the log with what the engine holds.
    #[must_use]
    pub fn join(mut self, states: Vec<GroupState>) -> Vec<(GroupLog, GroupState)> {
        let join = |state: GroupState| {
            let mut log = self.groups.remove(&state.group).unwrap_or_default();
            if log.recovered.truncated == LogPosition::default() && state.applied != Applied::default() {
                // A group that was born here: its log begins after the state at birth.
                log.cut(LogPosition { index: BIRTH.index, term: BIRTH.term });
            }
            log.settle(state.applied);
            (log, state)
        };
        states.into_iter().map(join).collect()
    }
}

impl GroupLog {
    /// Forgets the entries at or below a position.
    fn cut(&mut self, position: LogPosition) {
        if position > self.recovered.truncated {
            self.recovered.truncated = position;
        }
        let truncated = self.recovered.truncated.index;
        self.recovered.entries.retain(|entry| entry.index > truncated);
    }

    /// The engine may stand further than the log says is committed, for what is applied was committed.
    fn settle(&mut self, applied: Applied) {
        let hard_state = &mut self.recovered.hard_state;
        hard_state.commit = hard_state.commit.max(applied.index);
        hard_state.term = hard_state.term.max(applied.term);
    }
}
