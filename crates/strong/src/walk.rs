//! The history of a table at a cut, in pieces: what hashes and snapshots read.
//!
//! A walk sees the versions at or below its revision that compaction, as of its own compact revision, keeps, whether or
//! not the removal has come that far on this replica. It goes through the keys in order, and through the versions of a
//! key from the newest. Each piece has a view of its own, so that none is held for long: versions never change, and while
//! a walk holds the history none is removed.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use althing_api::kv::KeyRange;
use althing_storage::engine::Engine;
use althing_types::{Revision, SpaceId};
use bytes::Bytes;

use crate::error::StrongError;
use crate::layout::{self, Version, VersionBody, VersionId};
use crate::reader::Shared;

/// Records that one piece looks at.
const RECORDS_PER_PIECE: usize = 4096;
/// Bytes of values that one piece hands out, about.
const BYTES_PER_PIECE: usize = 1024 * 1024;

/// Keeps the machine from removing versions until it is dropped.
pub(crate) struct Hold(Arc<Shared>);

impl Hold {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.holds.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A version that the walk came by.
pub(crate) struct Step {
    pub(crate) key: Bytes,
    pub(crate) id: VersionId,
    pub(crate) version: Version,
}

/// Whether the walk has passed the newest version of a key at or below the compact revision.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Above,
    Below,
}

/// See the module.
pub(crate) struct HistoryWalk {
    engine: Arc<dyn Engine>,
    space: SpaceId,
    cut: Revision,
    compacted: Revision,
    /// The last record looked at, and where in its key's versions it is.
    last: Option<(Bytes, Within)>,
    _hold: Hold,
}

impl HistoryWalk {
    pub(crate) fn new(engine: Arc<dyn Engine>, space: SpaceId, cut: Revision, compacted: Revision, hold: Hold) -> Self {
        Self { engine, space, cut, compacted, last: None, _hold: hold }
    }

    /// The revision of the walk.
    pub(crate) const fn cut(&self) -> Revision {
        self.cut
    }

    /// The next piece, perhaps an empty one; `None` after the last.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Vec<Step>>, StrongError> {
        let span = layout::history_span(&KeyRange::all());
        let start = match &self.last {
            Some((last, _)) => Bound::Excluded(last.clone()),
            None => Bound::Included(span.start.clone().into()),
        };
        let start = match &start {
            Bound::Included(key) => Bound::Included(&key[..]),
            Bound::Excluded(key) => Bound::Excluded(&key[..]),
            Bound::Unbounded => Bound::Unbounded,
        };
        let engine = Arc::clone(&self.engine);
        let view = engine.view();
        let (mut steps, mut seen, mut bytes) = (Vec::new(), 0, 0);
        for item in view.scan(self.space, (start, Bound::Excluded(&span.end))) {
            let (history_key, record) = item?;
            seen += 1;
            bytes += record.len();
            steps.extend(self.look(history_key, record)?);
            if seen == RECORDS_PER_PIECE || bytes > BYTES_PER_PIECE {
                break;
            }
        }
        Ok((seen > 0).then_some(steps))
    }

    /// One record: a step if it belongs to the walk.
    fn look(&mut self, history_key: Bytes, record: Bytes) -> Result<Option<Step>, StrongError> {
        let within = match &self.last {
            Some((last, within)) if layout::history_group(last) == layout::history_group(&history_key) => *within,
            Some(_) | None => Within::Above,
        };
        let id = layout::history_version(&history_key)?;
        let (seen, after) = match within {
            Within::Below => (false, Within::Below),
            Within::Above if id.main > self.cut => (false, Within::Above),
            Within::Above if id.main > self.compacted => (true, Within::Above),
            Within::Above => (true, Within::Below),
        };
        let step = if seen {
            let version = Version::decode(record)?;
            let kept = version.body != VersionBody::Tombstone || id.main >= self.compacted;
            let key = layout::history_table_key(&history_key)?;
            kept.then_some(Step { key, id, version })
        } else {
            None
        };
        self.last = Some((history_key, after));
        Ok(step)
    }
}
