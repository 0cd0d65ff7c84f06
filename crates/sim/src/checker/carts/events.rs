//! The same by the dots of the replicas: an event is alive in the end exactly if some write has added it and none has removed it.
//!
//! A write that is durable at its replica counts, unless that machine is gone for good; one that is not may or may not, even if others have
//! been sent it. And a string that is shown by a read which has met a write is not one that this write had replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use althing_clock::Dot;
use althing_types::NodeId;
use bytes::Bytes;

use super::{Action, Fate, Final, Operation, Shown};
use crate::ledger::deltas::{Reach, Written};

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation<'a> {
    /// A write was durable, and an event of it is gone though nobody has removed it.
    Vanished {
        /// Of which key.
        key: &'a Bytes,
        /// The event.
        dot: Dot,
        /// Where it was written.
        node: NodeId,
    },
    /// An event is alive that somebody has removed who had seen it.
    Resurrected {
        /// Of which key.
        key: &'a Bytes,
        /// The event.
        dot: Dot,
        /// Where it was removed.
        node: NodeId,
    },
    /// An event is alive that belongs to no write.
    FromNowhere {
        /// Of which key.
        key: &'a Bytes,
        /// The event.
        dot: Dot,
    },
    /// More values stand side by side than are allowed.
    Siblings {
        /// Of which key.
        key: &'a Bytes,
        /// How many.
        count: usize,
    },
    /// A read shows a value that a write which it met had replaced, or nothing though nobody had removed what was written.
    Stale {
        /// The read.
        read: &'a Operation,
        /// The write.
        write: &'a Operation,
    },
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanished { key, dot, node } => {
                write!(f, "event {dot} of {key:?} was written on node {node}, is not there, and nobody has removed it")
            }
            Self::Resurrected { key, dot, node } => {
                write!(f, "event {dot} of {key:?} is there, and was removed on node {node}")
            }
            Self::FromNowhere { key, dot } => write!(f, "event {dot} of {key:?} is there, and nobody wrote it"),
            Self::Siblings { key, count } => write!(f, "{count} values of {key:?} stand side by side"),
            Self::Stale { read, write } => write!(f, "{read:?} shows what {write:?} had replaced, or not even that"),
        }
    }
}

/// Every event of a key that is there and should not be, or the other way round. Machines of `gone` are gone for good.
#[must_use]
pub fn check<'a>(
    key: &'a Bytes,
    writes: &[&Written],
    end: &Final,
    gone: &BTreeSet<NodeId>,
    most_siblings: usize,
) -> Vec<Violation<'a>> {
    let mut found = Vec::new();
    let counts = |write: &&&Written| write.reach == Reach::Durable && !gone.contains(&write.node);
    let removed: BTreeSet<Dot> = writes.iter().flat_map(|write| write.removed.iter().copied()).collect();
    for write in writes.iter().filter(counts) {
        let vanished = write.alive.iter().filter(|dot| !end.dots.contains(dot) && !removed.contains(dot));
        found.extend(vanished.map(|dot| Violation::Vanished { key, dot: *dot, node: write.node }));
        let back = write.removed.intersection(&end.dots);
        found.extend(back.map(|dot| Violation::Resurrected { key, dot: *dot, node: write.node }));
    }
    let written: BTreeSet<Dot> = writes.iter().flat_map(|write| write.alive.iter().copied()).collect();
    found.extend(end.dots.difference(&written).map(|dot| Violation::FromNowhere { key, dot: *dot }));
    if end.siblings.len() > most_siblings {
        found.push(Violation::Siblings { key, count: end.siblings.len() });
    }
    found
}

/// Every read of a string that shows what an acknowledged write had replaced which it met.
#[must_use]
pub fn check_reads<'a>(operations: &[&'a Operation], writes: &[&Written], fate: Fate) -> Vec<Violation<'a>> {
    let by_value: BTreeMap<&Bytes, (Dot, &Written)> =
        writes.iter().flat_map(|write| write.values.iter().map(move |(dot, value)| (value, (*dot, *write)))).collect();
    let removed: BTreeSet<Dot> = writes.iter().flat_map(|write| write.removed.iter().copied()).collect();
    let mut found = Vec::new();
    for write in operations.iter().copied().filter(|write| fate.spares(write.level)) {
        let (Action::Put(value), Some(returned)) = (&write.action, write.done()) else { continue };
        let Some((dot, written)) = by_value.get(value) else { continue };
        for read in operations.iter().copied() {
            let Some(Shown::Value(shown)) = read.shown() else { continue };
            if read.invoked <= returned || !fate.meet(read.level, write.level) {
                continue;
            }
            let is_stale = match shown {
                None => !removed.contains(dot),
                Some(shown) => by_value.get(shown).is_some_and(|(shown, _)| written.removed.contains(shown)),
            };
            if is_stale {
                found.push(Violation::Stale { read, write });
            }
        }
    }
    found
}
