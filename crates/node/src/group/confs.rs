//! Which changes of its configuration a replica has in its log, and which it has applied.
//!
//! Whoever coordinates without asking the leader may not know that the replicas are others now. What tells him is that
//! every change is in the logs of a quorum before it takes effect anywhere: of any quorum that answers him, somebody knows.

use althing_consensus::{Entry, EntryKind, Recovered};

/// Indices of changes of the configuration. Either may be too great, by entries that are applied everywhere sooner or later, never too
/// small: after a start it is not known where in the part of the log that is gone the last change stood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Confs {
    /// The last one in the log, committed or not.
    logged: u64,
    /// The last one that is applied.
    applied: u64,
}

impl Confs {
    pub(crate) fn recovered(recovered: &Recovered) -> Self {
        let gone = recovered.truncated.index;
        let mut confs = Self { logged: gone, applied: gone };
        confs.log(&recovered.entries);
        confs.applied = recovered
            .entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::ConfChange && entry.index <= recovered.applied)
            .map(|entry| entry.index)
            .fold(gone, u64::max);
        confs
    }

    /// Entries are to be made durable.
    pub(crate) fn log(&mut self, entries: &[Entry]) {
        let changes = entries.iter().filter(|entry| entry.kind == EntryKind::ConfChange);
        self.logged = changes.map(|entry| entry.index).fold(self.logged, u64::max);
    }

    /// A change at this index is applied, or a snapshot is installed that reaches so far.
    pub(crate) fn apply(&mut self, index: u64) {
        self.applied = self.applied.max(index);
        self.logged = self.logged.max(index);
    }

    /// The last change that may be in the log.
    pub(crate) const fn logged(self) -> u64 {
        self.logged
    }

    /// No change that is applied comes after this index.
    pub(crate) const fn applied(self) -> u64 {
        self.applied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_consensus::LogPosition;
    use bytes::Bytes;

    fn entry(index: u64, kind: EntryKind) -> Entry {
        Entry { index, term: 1, kind, data: Bytes::new() }
    }

    #[test]
    fn a_change_that_is_only_in_the_log_is_known_and_not_applied() {
        let entries =
            vec![entry(5, EntryKind::ConfChange), entry(6, EntryKind::Normal), entry(7, EntryKind::ConfChange)];
        let recovered =
            Recovered { truncated: LogPosition { index: 4, term: 1 }, entries, applied: 6, ..Recovered::default() };
        let mut confs = Confs::recovered(&recovered);
        assert_eq!((confs.logged(), confs.applied()), (7, 5));
        confs.log(&[entry(8, EntryKind::Normal), entry(9, EntryKind::ConfChange)]);
        confs.apply(7);
        assert_eq!((confs.logged(), confs.applied()), (9, 7));
    }
}
