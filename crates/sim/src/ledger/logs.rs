//! Every node's log, as it is handed over to be written and as it is read back.
//!
//! * *Log matching*: two logs that have an entry of the same index and term are equal up to it. It is enough that an entry of
//!   one index and term is the same everywhere, and follows an entry of the same term everywhere.
//! * *Leader completeness*: whoever leads a term has every entry that was committed before.
//! * A log has no gap, and never loses what its node said to be committed. A hard state never goes back.
//! * What was reported as durable is there after a restart.
//! * A leader commits by counting only what is of its own term (section 5.4.2 of the Raft paper).
//! * A log that has a change of the configuration says that the one before it is committed.
//! * Nothing is truncated that no checkpoint covers.

use std::collections::{BTreeMap, BTreeSet};

use althing_codec::Reader;
use althing_consensus::{Entry, EntryKind, HardState, LogPosition, SnapshotMeta, decode_entries};
use althing_node::{BIRTH, Presence};
use althing_storage::wal::{Record, RecordKind};
use althing_types::{GroupId, NodeId};
use xxhash_rust::xxh3::xxh3_64;

use super::Contradiction;

/// What stands at an index of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    term: u64,
    kind: EntryKind,
}

/// One node's log of one group.
#[derive(Clone, Debug, Default)]
struct Log {
    truncated: LogPosition,
    entries: BTreeMap<u64, Place>,
    hard_state: HardState,
}

impl Log {
    fn last(&self) -> u64 {
        self.entries.last_key_value().map_or(self.truncated.index, |(index, _)| *index)
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.truncated.index {
            return Some(self.truncated.term);
        }
        self.entries.get(&index).map(|place| place.term)
    }

    /// Drops the entries at or below a position, and those above it if it does not follow from them.
    fn cut(&mut self, to: LogPosition) {
        if to.index > self.last() {
            self.entries.clear();
        }
        if to > self.truncated {
            self.truncated = to;
        }
        self.entries = self.entries.split_off(&(self.truncated.index + 1));
    }

    fn check_gaps(&self) -> Result<(), String> {
        let wrong = (self.truncated.index + 1..).zip(self.entries.keys()).find(|(expected, found)| expected != *found);
        match wrong {
            Some((expected, found)) => Err(format!("entry {expected} is missing before {found}")),
            None => Ok(()),
        }
    }

    /// The last two changes of the configuration.
    fn changes(&self) -> Option<(u64, u64)> {
        let mut changes = self.entries.iter().rev().filter(|(_, place)| place.kind == EntryKind::ConfChange);
        let (last, before) = (changes.next()?, changes.next()?);
        Some((*before.0, *last.0))
    }

    /// What another log, which was written later, must have of this one.
    fn is_kept_by(&self, other: &Self) -> Result<(), String> {
        let (mine, theirs) = (self.hard_state, other.hard_state);
        if mine.term > theirs.term
            || (mine.term == theirs.term && mine.vote != theirs.vote && mine.vote != NodeId::NONE)
        {
            return Err(format!("{mine:?} was durable, and {theirs:?} is left"));
        }
        if self.truncated > other.truncated {
            return Err(format!(
                "it was truncated at {:?}, and begins after {:?} now",
                self.truncated, other.truncated
            ));
        }
        // Where a later leader has overwritten entries, the log may end before them.
        let newest = other.entries.last_key_value().map_or(other.truncated.term, |(_, place)| place.term);
        for (index, place) in self.entries.range(other.truncated.index + 1..) {
            if other.term_at(*index).is_none_or(|term| term < place.term) && newest <= place.term {
                return Err(format!(
                    "entry {index} of term {} was durable, and the log has {:?}",
                    place.term,
                    other.term_at(*index)
                ));
            }
        }
        Ok(())
    }
}

/// Whether records come as their node writes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    /// They do.
    Written,
    /// They are what is left of them at a restart: a segment that is gone leaves a gap below a truncation that comes later.
    ReadBack,
}

/// Whether changes of the configuration are among entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Changes {
    None,
    Some,
}

/// One replica's log, on its way to the disk.
#[derive(Clone, Debug, Default)]
struct Replica {
    /// With all that was handed over.
    written: Log,
    /// With all that was reported as durable.
    durable: Log,
    /// What is between the two: batches by number.
    under_way: BTreeMap<u64, Vec<Record>>,
    /// The last entry that a durable checkpoint holds.
    checkpoint: u64,
    /// The term that it leads, and its commit index when last seen.
    leads: Option<(u64, u64)>,
}

/// An entry, as the first log that had it had it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    data_hash: u64,
    /// The term of the entry before it.
    before: u64,
    node: NodeId,
}

/// The logs of all nodes.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    replicas: BTreeMap<(GroupId, NodeId), Replica>,
    known: BTreeMap<(GroupId, u64, u64), Known>,
    /// Nodes whose disks owe nothing.
    excused: BTreeSet<NodeId>,
}

/// Says of which node a contradiction speaks.
fn of<T>(node: NodeId, result: Result<T, String>) -> Result<T, Contradiction> {
    result.map_err(|what| format!("the log of node {node}: {what}"))
}

impl Logs {
    /// A node hands records over to be written with batch `seq`.
    pub fn writes(&mut self, node: NodeId, seq: u64, records: &[Record]) -> Result<(), Contradiction> {
        let mut changed = BTreeSet::new();
        for record in records {
            let mut log = std::mem::take(&mut self.replica(record.group, node).written);
            let result = self.write(record, node, &mut log, Order::Written);
            let replica = self.replica(record.group, node);
            replica.written = log;
            replica.under_way.entry(seq).or_default().push(record.clone());
            match of(node, result)? {
                Changes::Some => {
                    changed.insert(record.group);
                }
                Changes::None => {}
            }
            if record.kind == RecordKind::Truncated {
                of(node, self.check_truncation(record.group, node))?;
            }
        }
        changed.into_iter().try_for_each(|group| of(node, self.check_changes(group, node)))
    }

    /// A node is told that all up to batch `seq` is durable.
    pub fn persisted(&mut self, node: NodeId, seq: u64) {
        for ((_, of), replica) in &mut self.replicas {
            if *of == node {
                let later = replica.under_way.split_off(&(seq + 1));
                for record in std::mem::replace(&mut replica.under_way, later).into_values().flatten() {
                    // Whatever is wrong with it was said when it was written.
                    let _ = apply(&record, &mut replica.durable, Order::Written);
                }
            }
        }
    }

    /// A node starts with the log that it reads back, and a state that holds all up to `applied`.
    pub fn starts(
        &mut self,
        group: GroupId,
        node: NodeId,
        applied: LogPosition,
        records: &[Record],
    ) -> Result<(), Contradiction> {
        let mut log = Log::default();
        if applied != LogPosition::default() {
            // What stands at birth, if nothing has moved it since. Who has joined has nothing before its first snapshot.
            log.truncated = LogPosition { index: BIRTH.index, term: BIRTH.term };
        }
        for record in records.iter().filter(|record| record.group == group) {
            of(node, self.write(record, node, &mut log, Order::ReadBack))?;
        }
        of(node, log.check_gaps())?;
        let before = self.replica(group, node).durable.clone();
        if !self.excused.contains(&node) {
            of(node, before.is_kept_by(&log))?;
        }
        let replica = self.replica(group, node);
        *replica = Replica { written: log.clone(), durable: log, checkpoint: applied.index, ..Replica::default() };
        Ok(())
    }

    /// These are all the groups with which a node starts: of others that it had nothing may have been durable, unless its log says
    /// that they have left. It may say so before anybody was told that it does, and then keeps what they had promised.
    pub fn starts_with(
        &mut self,
        node: NodeId,
        groups: &BTreeSet<GroupId>,
        records: &[Record],
    ) -> Result<(), Contradiction> {
        let is_excused = self.excused.contains(&node);
        let of_node = self.replicas.iter_mut().filter(|((_, of), _)| *of == node);
        for ((group, _), replica) in of_node.filter(|((group, _), _)| !groups.contains(group)) {
            let gone = std::mem::take(replica);
            let left = records.iter().rev().find(|record| record.group == *group && record.kind == RecordKind::Replica);
            let kept = match left.map(|record| Presence::decode(record.payload.clone())) {
                Some(Ok(Presence::Retired)) => continue,
                Some(Ok(Presence::Gone(promise))) => {
                    let hard_state = HardState { term: promise.term, vote: promise.vote, commit: 0 };
                    Log { hard_state, truncated: promise.last, ..Log::default() }
                }
                Some(Ok(Presence::Held { .. }) | Err(_)) | None => Log::default(),
            };
            if !is_excused && let Err(what) = gone.durable.is_kept_by(&kept) {
                return Err(format!("node {node} starts without group {group}: {what}"));
            }
        }
        Ok(())
    }

    /// A replica has come to a node that runs: its log begins after what it was born with, if it was born with anything.
    pub fn opens(&mut self, group: GroupId, node: NodeId, applied: LogPosition) {
        self.replica(group, node).written.cut(applied);
    }

    /// The disk of a node was damaged, exchanged or lies: it owes nothing of what it had, until it is trusted again.
    pub fn excuse(&mut self, node: NodeId) {
        self.excused.insert(node);
    }

    /// The disk of a node owes what is reported as durable from now on.
    pub fn trust(&mut self, node: NodeId) {
        self.excused.remove(&node);
    }

    /// A durable checkpoint of a node holds all up to an entry.
    pub fn checkpointed(&mut self, group: GroupId, node: NodeId, applied: u64) {
        let replica = self.replica(group, node);
        replica.checkpoint = replica.checkpoint.max(applied);
    }

    /// A node leads a term, and takes all up to `commit` for committed. `committed` are entries that somebody has applied.
    pub fn leads(
        &mut self,
        group: GroupId,
        node: NodeId,
        term: u64,
        commit: u64,
        committed: impl Iterator<Item = (u64, u64)>,
    ) -> Result<(), Contradiction> {
        let replica = self.replica(group, node);
        match replica.leads.replace((term, commit)) {
            Some((before, from)) if before == term => {
                let found = replica.written.term_at(commit);
                if commit > from && found.is_some_and(|found| found != term) {
                    return Err(format!(
                        "node {node}, leader of term {term}, commits entry {commit} of term {found:?}"
                    ));
                }
                Ok(())
            }
            Some(_) | None => {
                let log = &replica.written;
                let lacks = |(index, of): &(u64, u64)| {
                    *index > log.truncated.index && *of < term && log.term_at(*index) != Some(*of)
                };
                match committed.into_iter().find(lacks) {
                    None => Ok(()),
                    Some((index, of)) => Err(format!(
                        "node {node} leads term {term} of group {group} without entry {index} of term {of}, which is committed"
                    )),
                }
            }
        }
    }

    /// A node sends entries of its log to another, as the leader of a term. What it put together before it learned of a later
    /// term in the same turn is of no consequence.
    pub fn sends(
        &self,
        group: GroupId,
        node: NodeId,
        term: u64,
        entries: impl Iterator<Item = (u64, u64)>,
    ) -> Result<(), Contradiction> {
        let Some(replica) = self.replicas.get(&(group, node)) else { return Ok(()) };
        let log = &replica.written;
        if term < log.hard_state.term {
            return Ok(());
        }
        let differs = |(index, term): &(u64, u64)| *index > log.truncated.index && log.term_at(*index) != Some(*term);
        match entries.into_iter().find(differs) {
            None => Ok(()),
            Some((index, term)) => Err(format!(
                "node {node} sends entry {index} of term {term}, and its own log has {:?} there",
                log.term_at(index)
            )),
        }
    }

    /// A node does not lead.
    pub fn follows(&mut self, group: GroupId, node: NodeId) {
        self.replica(group, node).leads = None;
    }

    fn replica(&mut self, group: GroupId, node: NodeId) -> &mut Replica {
        self.replicas.entry((group, node)).or_default()
    }

    /// Does to a log what a record says. Whether it has a change of the configuration because of it.
    fn write(&mut self, record: &Record, node: NodeId, log: &mut Log, order: Order) -> Result<Changes, String> {
        let entries = apply(record, log, order)?;
        for entry in &entries {
            let Some(before) = log.term_at(entry.index - 1) else { continue };
            let known = Known { data_hash: xxh3_64(&entry.data), before, node };
            let first = *self.known.entry((record.group, entry.index, entry.term)).or_insert(known);
            if (first.data_hash, first.before) != (known.data_hash, known.before) {
                return Err(format!("entry {} of term {} is {known:?}, but {first:?}", entry.index, entry.term));
            }
        }
        let has_change = entries.iter().any(|entry| entry.kind == EntryKind::ConfChange);
        Ok(if has_change { Changes::Some } else { Changes::None })
    }

    fn check_changes(&mut self, group: GroupId, node: NodeId) -> Result<(), String> {
        let replica = self.replica(group, node);
        let commit = replica.written.hard_state.commit.max(replica.checkpoint);
        match replica.written.changes() {
            Some((before, last)) if before > commit => Err(format!(
                "it has a change of the configuration at {last}, and says that {commit} is committed, not the change at {before}"
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn check_truncation(&mut self, group: GroupId, node: NodeId) -> Result<(), String> {
        let replica = self.replica(group, node);
        let (truncated, checkpoint) = (replica.written.truncated.index, replica.checkpoint);
        if truncated > checkpoint.max(1) {
            return Err(format!("it is truncated at {truncated}, and the last checkpoint holds {checkpoint}"));
        }
        Ok(())
    }
}

/// Does to a log what a record says; the entries that it has now because of it.
fn apply(record: &Record, log: &mut Log, order: Order) -> Result<Vec<Entry>, String> {
    let text = |error: althing_codec::DecodeError| error.to_string();
    match record.kind {
        RecordKind::Entries => {
            let entries = decode_entries(record.payload.clone()).map_err(text)?;
            write_entries(&entries, log, order)?;
            Ok(entries.into_iter().filter(|entry| entry.index > log.truncated.index).collect())
        }
        RecordKind::HardState => {
            let state = HardState::decode(record.payload.clone()).map_err(text)?;
            let before = std::mem::replace(&mut log.hard_state, state);
            check_hard_state(before, state).map(|()| Vec::new())
        }
        RecordKind::Truncated => {
            log.cut(LogPosition::decode(record.payload.clone()).map_err(text)?);
            Ok(Vec::new())
        }
        RecordKind::Snapshot => {
            let mut reader = Reader::new(record.payload.clone());
            reader.u64("a snapshot's space").map_err(text)?;
            let meta = SnapshotMeta::decode(reader.rest()).map_err(text)?;
            let position = LogPosition { index: meta.index, term: meta.term };
            if log.truncated < position {
                log.entries.clear();
                log.truncated = position;
            }
            Ok(Vec::new())
        }
        RecordKind::GroupDropped => {
            *log = Log::default();
            Ok(Vec::new())
        }
        RecordKind::Replica | RecordKind::Map | RecordKind::Delta | RecordKind::Acknowledged => Ok(Vec::new()),
    }
}

/// Entries of the same index and term replace nothing; others replace everything from the first of them on.
fn write_entries(entries: &[Entry], log: &mut Log, order: Order) -> Result<(), String> {
    let new = |entry: &&Entry| entry.index > log.truncated.index && log.term_at(entry.index) != Some(entry.term);
    let Some(first) = entries.iter().find(new) else { return Ok(()) };
    let (index, last, commit) = (first.index, log.last(), log.hard_state.commit);
    if index > last + 1 && order == Order::Written {
        return Err(format!("entry {index} comes after {last}"));
    }
    // What is read back may begin in the midst, before what was written again from further below.
    if index <= commit && log.term_at(index).is_some() {
        return Err(format!("entry {index} is overwritten, and all up to {commit} was committed"));
    }
    log.entries.split_off(&index);
    let written = entries.iter().filter(|entry| entry.index >= index);
    log.entries.extend(written.map(|entry| (entry.index, Place { term: entry.term, kind: entry.kind })));
    Ok(())
}

fn check_hard_state(before: HardState, after: HardState) -> Result<(), String> {
    let changed_vote = before.term == after.term && before.vote != NodeId::NONE && before.vote != after.vote;
    if after.term < before.term || changed_vote || after.commit < before.commit {
        return Err(format!("{after:?} comes after {before:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
