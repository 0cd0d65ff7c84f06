//! From the log's records back to what each group was.

use std::collections::{BTreeMap, BTreeSet};

use althing_codec::{DecodeError, Reader};
use althing_consensus::{Entry, HardState, LogPosition, SnapshotMeta, decode_entries};
use althing_probe::{Mark, Mutant};
use althing_storage::engine::Applied;
use althing_storage::wal::{Record, RecordKind};
use althing_types::{GroupId, NodeId, SpaceId};
use bytes::Bytes;

use crate::applier::BIRTH;
use crate::group::GroupLog;
use crate::input::GroupState;
use crate::keyed::{Acknowledged, delta_log, group_of_lodged, group_of_log};
use crate::presence::{Presence, Promise};

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
    presences: BTreeMap<GroupId, Presence>,
    /// The deltas of replicas without a leader, with their indices.
    deltas: BTreeMap<GroupId, Vec<(u64, Bytes)>>,
    /// How far others have acknowledged them.
    acknowledged: BTreeMap<GroupId, Acknowledged>,
    /// The node's copy of the map, as it was written last.
    map: Option<Bytes>,
}

/// What a node starts with.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The replicas that it has.
    pub groups: Vec<(GroupLog, GroupState)>,
    /// What replicas that are gone had promised.
    pub graves: BTreeMap<GroupId, Promise>,
    /// Groups of which it had a replica and whose shards are no more.
    pub retired: BTreeSet<GroupId>,
    /// Its copy of the map; `None` if it never had one.
    pub map: Option<Bytes>,
    /// Writes that it has taken for shards of which it had no replica, with their indices.
    pub lodged: BTreeMap<GroupId, Vec<(u64, Bytes)>>,
}

impl LogRecovery {
    /// Takes in the next record.
    pub fn record(&mut self, record: Record) -> Result<(), RecoverError> {
        let group = record.group;
        self.take(record).map_err(|source| RecoverError::Record { group, source })
    }

    fn take(&mut self, record: Record) -> Result<(), DecodeError> {
        match record.kind {
            RecordKind::Replica => {
                self.presences.insert(record.group, Presence::decode(record.payload)?);
                return Ok(());
            }
            RecordKind::Map => {
                // A copy: the slice would keep the buffer that the log was read into.
                self.map = Some(Bytes::copy_from_slice(&record.payload));
                return Ok(());
            }
            RecordKind::Delta => {
                let delta = Bytes::copy_from_slice(&record.payload);
                self.deltas.entry(record.group).or_default().push((record.index, delta));
                return Ok(());
            }
            RecordKind::Acknowledged => {
                self.acknowledged.insert(record.group, Acknowledged::decode(record.payload)?);
                return Ok(());
            }
            RecordKind::GroupDropped if group_of_log(record.group).is_some() => {
                self.acknowledged.remove(&record.group);
                self.deltas.remove(&record.group);
                return Ok(());
            }
            RecordKind::Entries
            | RecordKind::HardState
            | RecordKind::Truncated
            | RecordKind::Snapshot
            | RecordKind::GroupDropped => {}
        }
        let log = self.groups.entry(record.group).or_default();
        match record.kind {
            RecordKind::Entries => {
                log.write(decode_entries(record.payload)?);
            }
            RecordKind::HardState => {
                log.recovered.hard_state = HardState::decode(record.payload)?;
                if althing_probe::is(Mutant::ForgetVoteAtRestart) {
                    log.recovered.hard_state.vote = NodeId::NONE;
                }
            }
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
            RecordKind::Replica | RecordKind::Map | RecordKind::Delta | RecordKind::Acknowledged => {}
        }
        Ok(())
    }

    /// The space that a group stands on, if a snapshot has moved it.
    #[must_use]
    pub fn space(&self, group: GroupId) -> Option<SpaceId> {
        self.groups.get(&group).and_then(|log| log.space)
    }

    /// The deltas of a replica that the log holds, in their order.
    pub(crate) fn deltas(&self, group: GroupId) -> &[(u64, Bytes)] {
        self.deltas.get(&delta_log(group)).map_or(&[], Vec::as_slice)
    }

    /// How far others have acknowledged a replica's own deltas.
    pub(crate) fn acknowledged(&self, group: GroupId) -> Acknowledged {
        self.acknowledged.get(&delta_log(group)).cloned().unwrap_or_default()
    }

    /// What the log says of the node's replicas. One with which the cluster was born may have no record.
    #[must_use]
    pub const fn presences(&self) -> &BTreeMap<GroupId, Presence> {
        &self.presences
    }

    /// Joins the log with what the engine holds.
    #[must_use]
    pub fn join(mut self, states: Vec<GroupState>) -> Recovery {
        let join = |state: GroupState| {
            let mut log = self.groups.remove(&state.group).unwrap_or_default();
            if log.recovered.truncated == LogPosition::default() && state.applied != Applied::default() {
                // A group that was born here: its log begins after the state at birth.
                log.cut(LogPosition { index: BIRTH.index, term: BIRTH.term });
            }
            log.settle(state.applied);
            if let Some(Presence::Held { promise, .. }) = self.presences.get(&state.group) {
                log.bind(*promise);
            }
            (log, state)
        };
        let groups = states.into_iter().map(join).collect();
        let grave = |(group, presence): (GroupId, Presence)| match presence {
            Presence::Gone(promise) => Some((group, promise)),
            Presence::Held { .. } | Presence::Retired => None,
        };
        let is_retired = |(_, presence): &(&GroupId, &Presence)| **presence == Presence::Retired;
        let retired = self.presences.iter().filter(is_retired).map(|(group, _)| *group).collect();
        let lodged = self.deltas.into_iter();
        let lodged = lodged.filter_map(|(log, deltas)| Some((group_of_lodged(log)?, deltas))).collect();
        let graves = self.presences.into_iter().filter_map(grave).collect();
        Recovery { groups, retired, graves, map: self.map, lodged }
    }
}

impl GroupLog {
    /// Writes entries as they were written to the log. From the first that differs from what stood there on, they replace
    /// everything: a leader overwrote this log. Entries of the same index and term are the same, and what follows them
    /// stays: a log that was written forward, of which a crash has left only the first records, has lost nothing.
    fn write(&mut self, entries: Vec<Entry>) {
        let known = &mut self.recovered.entries;
        let stands = |entry: &Entry| {
            known.binary_search_by_key(&entry.index, |known| known.index).is_ok_and(|at| known[at].term == entry.term)
        };
        let same = entries.iter().take_while(|entry| stands(entry)).count();
        if same > 0 {
            althing_probe::hit(Mark::RepeatedInLog);
        }
        if let Some(first) = entries.get(same) {
            if known.last().is_some_and(|last| last.index >= first.index) {
                althing_probe::hit(Mark::ReplacedInLog);
            }
            known.truncate(known.partition_point(|entry| entry.index < first.index));
            known.extend(entries.into_iter().skip(same));
        }
    }

    /// Forgets the entries at or below a position.
    fn cut(&mut self, position: LogPosition) {
        if position > self.recovered.truncated {
            self.recovered.truncated = position;
        }
        let truncated = self.recovered.truncated.index;
        self.recovered.entries.retain(|entry| entry.index > truncated);
    }

    /// The log of a replica that was opened this moment: it begins after the state at birth, if there is one.
    pub(crate) fn born(applied: Applied) -> Self {
        let mut log = Self::default();
        if applied != Applied::default() {
            log.cut(LogPosition { index: applied.index, term: applied.term });
        }
        log.settle(applied);
        log
    }

    /// Takes over what an earlier replica of the group on this node has promised.
    pub(crate) fn bind(&mut self, promise: Promise) {
        if althing_probe::is(Mutant::ForgetPromise) {
            return;
        }
        self.promise = promise;
        let hard_state = &mut self.recovered.hard_state;
        let is_later = promise.term > hard_state.term;
        let is_free = promise.term == hard_state.term && hard_state.vote == NodeId::NONE;
        if is_later || is_free {
            (hard_state.term, hard_state.vote) = (promise.term, promise.vote);
        }
    }

    /// The engine may stand further than the log says is committed, for what is applied was committed.
    fn settle(&mut self, applied: Applied) {
        let hard_state = &mut self.recovered.hard_state;
        hard_state.commit = hard_state.commit.max(applied.index);
        hard_state.term = hard_state.term.max(applied.term);
    }
}

#[cfg(test)]
mod tests {
    use althing_consensus::{EntryKind, encode_entries};

    use super::*;

    const GROUP: GroupId = GroupId(1);

    fn entries(indices: std::ops::RangeInclusive<u64>, term: u64) -> Record {
        let entry = |index| Entry { index, term, kind: EntryKind::Normal, data: Bytes::from_static(b"x") };
        let index = *indices.end();
        let payload = encode_entries(&indices.map(entry).collect::<Vec<_>>());
        Record { group: GROUP, kind: RecordKind::Entries, index, payload }
    }

    fn recovered(records: impl IntoIterator<Item = Record>) -> Vec<(u64, u64)> {
        let mut recovery = LogRecovery::default();
        records.into_iter().for_each(|record| recovery.record(record).unwrap());
        recovery.groups[&GROUP].recovered.entries.iter().map(|entry| (entry.index, entry.term)).collect()
    }

    #[test]
    fn an_overwritten_log_ends_where_it_was_overwritten() {
        assert_eq!(recovered([entries(2..=5, 1), entries(4..=4, 2)]), [(2, 1), (3, 1), (4, 2)]);
    }

    #[test]
    fn a_promise_binds_and_a_vote_that_was_given_since_stands() {
        let promise = |term, vote| Promise { term, vote: NodeId(vote), ..Promise::default() };
        let bound = |term, vote, promise| {
            let mut log = GroupLog::default();
            log.recovered.hard_state = HardState { term, vote: NodeId(vote), commit: 4 };
            log.bind(promise);
            let HardState { term, vote, commit } = log.recovered.hard_state;
            (term, vote.get(), commit)
        };
        assert_eq!(bound(0, 0, promise(7, 2)), (7, 2, 4), "a crash before the first record of the new life");
        assert_eq!(bound(7, 0, promise(7, 2)), (7, 2, 4));
        assert_eq!(bound(7, 3, promise(7, 0)), (7, 3, 4));
        assert_eq!(bound(9, 3, promise(7, 2)), (9, 3, 4));
    }

    #[test]
    fn entries_that_were_written_again_in_part_take_nothing_away() {
        assert_eq!(recovered([entries(2..=5, 1), entries(2..=3, 1)]), [(2, 1), (3, 1), (4, 1), (5, 1)]);
        assert_eq!(recovered([entries(2..=3, 1), entries(2..=4, 1)]), [(2, 1), (3, 1), (4, 1)]);
    }
}
