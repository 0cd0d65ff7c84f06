//! The removal of what compaction allows, in small units between slices.
//!
//! A compaction at revision C keeps of each key its newest version at or below C, and that one only if it is a value or
//! the tombstone of revision C itself, which a watch from C must still see. Every version that goes was replaced by one
//! at or below C, or is a tombstone below C. So it is enough to walk the revisions since the last compaction: each tells
//! which version it replaced. No key is searched for, and nothing is visited that was kept before.

use std::sync::Arc;

use althing_probe::Mark;
use althing_types::Revision;

use super::Machine;
use crate::error::StrongError;
use crate::layout::{self, Deed, Meta, RevisionRecord, VersionId};
use crate::state::Progress;

/// Revision records that one unit looks at.
const RECORDS_PER_STEP: usize = 512;

impl Machine {
    /// Removes a bounded number of versions that compaction allows to go; `false` when there are none left, or when a
    /// snapshot or a hash is being taken of the history. What it has done shows nowhere but in the bytes on disk.
    pub fn compaction_step(&mut self) -> Result<bool, StrongError> {
        let Some(table) = &self.table else { return Ok(false) };
        let compacted = table.state.compacted;
        if self.progress.finished >= compacted {
            return Ok(false);
        }
        if self.shared.is_held() {
            althing_probe::hit(Mark::CompactionHeld);
            return Ok(false);
        }
        let (records, end) = self.superseding(compacted)?;
        let progress = match end {
            Some(next) => Progress { next, ..self.progress },
            None => Progress::finished(compacted),
        };
        let engine = Arc::clone(&self.engine);
        let mut batch = engine.begin(self.space);
        for (id, record) in records {
            if let Some(previous) = record.previous {
                batch.delete(&layout::history_key(&record.key, previous));
                batch.delete(&layout::revision_key(previous));
            }
            if record.deed == Deed::Delete && id.main < compacted {
                batch.delete(&layout::history_key(&record.key, id));
                batch.delete(&layout::revision_key(id));
            }
        }
        batch.put(&layout::meta_key(Meta::Progress), &progress.encode());
        batch.commit(table.state.applied)?;
        self.progress = progress;
        Ok(progress.finished < compacted)
    }

    /// The next records up to the compact revision, and where to go on.
    #[expect(clippy::type_complexity, reason = "a list and a place, said in one line")]
    fn superseding(
        &self,
        compacted: Revision,
    ) -> Result<(Vec<(VersionId, RevisionRecord)>, Option<VersionId>), StrongError> {
        let span = layout::revision_span(self.progress.next, VersionId::after(compacted));
        let view = self.engine.view();
        let mut records = Vec::new();
        if span.is_empty() {
            return Ok((records, None));
        }
        for item in view.scan(self.space, span.bounds()) {
            let (key, record) = item?;
            let id = layout::revision_version(&key)?;
            if records.len() == RECORDS_PER_STEP {
                return Ok((records, Some(id)));
            }
            records.push((id, RevisionRecord::decode(record)?));
        }
        Ok((records, None))
    }
}
