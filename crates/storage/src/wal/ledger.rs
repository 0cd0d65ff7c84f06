//! Who needs what: for each segment the greatest log index of each group, how far each group has released, and the
//! latest small records of each.

use std::collections::{BTreeMap, VecDeque};

use althing_probe::Mutant;
use althing_types::GroupId;
use bytes::Bytes;

use super::{Keep, Pinned, Position, Record, RecordKind};

/// A segment that is in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub sequence: u64,
    /// The position of its first byte.
    pub base: u64,
    /// Groups with entries in it, and the greatest index of each.
    entries: BTreeMap<GroupId, u64>,
}

impl Segment {
    pub(super) const fn new(sequence: u64, base: u64) -> Self {
        Self { sequence, base, entries: BTreeMap::new() }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// Oldest first; the last one is being written.
    segments: VecDeque<Segment>,
    /// Entries below this are not needed.
    released: BTreeMap<GroupId, u64>,
    /// The latest of each kind that is kept so, and a number that grows with each.
    latest: BTreeMap<(GroupId, RecordKind), (u64, Record)>,
    next_number: u64,
}

impl Ledger {
    pub(super) fn push_segment(&mut self, segment: Segment) {
        self.segments.push_back(segment);
    }

    pub(super) fn oldest(&self) -> Option<&Segment> {
        self.segments.front()
    }

    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Takes note of a record that was appended to the newest segment.
    pub(super) fn note(&mut self, record: &Record) {
        match record.kind.keep() {
            Keep::UntilReleased => {
                let newest = self.segments.back_mut().expect("a log has a segment before it has records");
                let index = newest.entries.entry(record.group).or_default();
                *index = record.index.max(*index);
            }
            // A copy of its own: a slice would keep the whole buffer that it was read or received in.
            Keep::Latest => {
                let record = Record { payload: Bytes::copy_from_slice(&record.payload), ..record.clone() };
                self.latest.insert((record.group, record.kind), (self.next_number, record));
                self.next_number += 1;
            }
            Keep::Marker => self.forget(record.group),
        }
    }

    fn forget(&mut self, group: GroupId) {
        for segment in &mut self.segments {
            segment.entries.remove(&group);
        }
        self.released.remove(&group);
        self.latest.retain(|(owner, _), _| *owner != group);
    }

    pub(super) fn release(&mut self, group: GroupId, keep_from: u64) {
        let released = self.released.entry(group).or_default();
        *released = keep_from.max(*released);
    }

    /// All that the group needs of its entries was appended at or after `from`.
    pub(super) fn supersede(&mut self, group: GroupId, from: Position) {
        let mut end = u64::MAX;
        for segment in self.segments.iter_mut().rev() {
            if end <= from.get() {
                segment.entries.remove(&group);
            }
            end = segment.base;
        }
    }

    /// The latest small records, in the order in which they were appended: a snapshot and a truncation of one group mean
    /// something else the other way round.
    pub(super) fn latest(&self) -> Vec<&Record> {
        let mut latest: Vec<_> = self.latest.values().collect();
        latest.sort_unstable_by_key(|(number, _)| *number);
        latest.into_iter().map(|(_, record)| record).collect()
    }

    fn needs(&self, group: GroupId, greatest_index: u64) -> bool {
        let released = self.released.get(&group).copied().unwrap_or_default();
        greatest_index >= released && !althing_probe::is(Mutant::RecycleNeeded)
    }

    fn is_needed(&self, segment: &Segment) -> bool {
        segment.entries.iter().any(|(group, index)| self.needs(*group, *index))
    }

    /// Takes out the oldest segment if nobody needs it and it is not the newest.
    pub(super) fn pop_unneeded(&mut self) -> Option<Segment> {
        let oldest = self.segments.front()?;
        if self.segments.len() == 1 || self.is_needed(oldest) {
            return None;
        }
        self.segments.pop_front()
    }

    /// Groups that keep more than `limit` bytes of log alive, given where its tail is.
    pub(super) fn pinned(&self, tail: u64, limit: u64) -> Vec<Pinned> {
        let mut pinned = BTreeMap::new();
        for segment in &self.segments {
            let bytes = tail - segment.base;
            if bytes <= limit {
                break;
            }
            for (group, index) in &segment.entries {
                if self.needs(*group, *index) {
                    pinned.entry(*group).or_insert(bytes);
                }
            }
        }
        pinned.into_iter().map(|(group, bytes)| Pinned { group, bytes }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(group: u64, kind: RecordKind, index: u64) -> Record {
        Record { group: GroupId(group), kind, index, payload: Bytes::from(vec![index as u8; 3]) }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for sequence in 1..=3 {
            ledger.push_segment(Segment::new(sequence, sequence * 1000));
            ledger.note(&record(1, RecordKind::Entries, sequence * 10));
            ledger.note(&record(2, RecordKind::Entries, sequence));
            ledger.note(&record(2, RecordKind::HardState, 0));
        }
        ledger
    }

    #[test]
    fn a_segment_goes_when_every_group_has_released_it() {
        let mut ledger = ledger();
        ledger.release(GroupId(1), 21);
        assert_eq!(ledger.pop_unneeded(), None);
        ledger.release(GroupId(2), 2);
        assert_eq!(ledger.pop_unneeded().unwrap().sequence, 1);
        assert_eq!(ledger.pop_unneeded(), None, "group 2 needs index 2 in segment 2");
        ledger.release(GroupId(2), u64::MAX);
        ledger.release(GroupId(1), u64::MAX);
        assert_eq!(ledger.pop_unneeded().unwrap().sequence, 2);
        assert_eq!(ledger.pop_unneeded(), None, "the newest stays");
        assert_eq!(ledger.latest().len(), 1);
    }

    #[test]
    fn a_dropped_group_needs_nothing_until_it_comes_back() {
        let mut ledger = ledger();
        ledger.release(GroupId(1), u64::MAX);
        ledger.note(&record(2, RecordKind::GroupDropped, 0));
        assert_eq!(ledger.latest().len(), 0);
        ledger.note(&record(2, RecordKind::Entries, 1));
        assert_eq!(ledger.pop_unneeded().unwrap().sequence, 1);
        assert_eq!(ledger.pop_unneeded().unwrap().sequence, 2);
    }

    #[test]
    fn what_a_group_released_in_an_earlier_life_does_not_count_in_the_next() {
        let mut ledger = ledger();
        ledger.release(GroupId(1), u64::MAX);
        ledger.release(GroupId(2), u64::MAX);
        ledger.note(&record(2, RecordKind::GroupDropped, 0));
        ledger.note(&record(2, RecordKind::Entries, 1));
        ledger.push_segment(Segment::new(4, 4000));
        let freed: Vec<_> = std::iter::from_fn(|| ledger.pop_unneeded()).map(|segment| segment.sequence).collect();
        assert_eq!(freed, [1, 2], "segment 3 holds an entry of the new life");
    }

    #[test]
    fn groups_that_pin_too_much_are_named_and_are_free_once_written_forward() {
        let mut ledger = ledger();
        ledger.release(GroupId(1), 25);
        assert_eq!(ledger.pinned(3500, 1400), [Pinned { group: GroupId(2), bytes: 2500 }]);
        assert_eq!(ledger.pinned(3500, 2500), []);
        ledger.supersede(GroupId(2), Position::at(3000));
        assert_eq!(ledger.pinned(3500, 1400), []);
        assert_eq!(ledger.pop_unneeded().unwrap().sequence, 1);
    }
}
