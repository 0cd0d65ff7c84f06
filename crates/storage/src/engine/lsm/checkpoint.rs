//! A cut through all trees, and what makes it durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_types::SpaceId;

use super::super::{Applied, Checkpoint, EngineError};
use super::{Shared, graves};

/// A cut: all memtables were sealed between two batches.
pub(super) struct LsmCheckpoint {
    shared: Arc<Shared>,
    applied: BTreeMap<SpaceId, Applied>,
    /// The cut's number, see [`graves`].
    cut: u64,
}

impl LsmCheckpoint {
    /// Cuts.
    pub(super) fn begin(shared: &Arc<Shared>) -> Self {
        let mut commits = shared.commits();
        // The number is taken before the memtables are sealed: what is buried later waits for a later cut.
        let cut = shared.graves().cut();
        for index in 0..shared.trees.len() {
            shared.rotate(&mut commits, index);
        }
        Self { shared: Arc::clone(shared), applied: commits.applied.clone(), cut }
    }
}

impl Checkpoint for LsmCheckpoint {
    fn finish(self: Box<Self>) -> Result<BTreeMap<SpaceId, Applied>, EngineError> {
        // A flush takes all that is sealed. If another thread is flushing, this waits for it and finds nothing left.
        for index in 0..self.shared.trees.len() {
            self.shared.flush(index)?;
        }
        graves::record(&self.shared, self.cut)?;
        Ok(self.applied)
    }
}
