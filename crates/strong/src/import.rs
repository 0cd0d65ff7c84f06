//! Pages back into a table.
use std::sync::Arc;

use althing_storage::engine::{Applied, Engine};
use althing_types::{Revision, SpaceId};
use bytes::Bytes;

use crate::error::StrongError;

/// Writes a snapshot's pages into a new space.
pub struct Importer {}

/// What a snapshot held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotSummary {
    /// Where in the log it was cut.
    pub applied: Applied,
    /// The Raft configuration there.
    pub conf_state: Bytes,
    /// The revision there.
    pub revision: Revision,
}

#[allow(unused_variables)]
impl Importer {
    /// An importer into a space that nothing was ever written to.
    pub fn new(engine: Arc<dyn Engine>, space: SpaceId) -> Self {
        unimplemented!()
    }
    /// The next page, in the order of the export.
    pub fn page(&mut self, page: Bytes) -> Result<(), StrongError> {
        unimplemented!()
    }
    /// After the last page: the space is a table.
    pub fn finish(self) -> Result<SnapshotSummary, StrongError> {
        unimplemented!()
    }
}
