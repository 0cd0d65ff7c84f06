//! The newest changes, in memory, so that a watch that fell back by a little catches up without a read, and a watch that
//! comes out of history meets the present without a gap however fast the table is written.

use std::collections::VecDeque;

use althing_types::Revision;

use super::protocol::{Change, change_weight};

/// The changes of every revision from `first` up to the hub's own.
pub(super) struct Recent {
    first: Revision,
    changes: VecDeque<Change>,
    bytes: usize,
    limit_bytes: usize,
}

impl Recent {
    /// Nothing yet; `first` is the next revision to come.
    pub(super) const fn new(first: Revision, limit_bytes: usize) -> Self {
        Self { first, changes: VecDeque::new(), bytes: 0, limit_bytes }
    }

    /// Every change at or above this revision is held.
    pub(super) const fn first(&self) -> Revision {
        self.first
    }

    /// Forgets everything; `first` is the next revision to come.
    pub(super) fn restart(&mut self, first: Revision) {
        self.changes.clear();
        self.bytes = 0;
        self.first = first;
    }

    /// Takes the next changes in and lets the oldest go.
    pub(super) fn push(&mut self, changes: &[Change]) {
        for change in changes {
            self.bytes += change_weight(change);
            self.changes.push_back(change.clone());
        }
        while self.bytes > self.limit_bytes
            && let Some(oldest) = self.changes.pop_front()
        {
            self.bytes -= change_weight(&oldest);
            self.first = oldest.revision.next();
        }
    }

    /// The changes at or above `from`.
    pub(super) fn since(&self, from: Revision) -> Vec<Change> {
        let start = self.changes.partition_point(|change| change.revision < from);
        self.changes.range(start..).cloned().collect()
    }
}
