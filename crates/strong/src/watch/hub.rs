//! The hub.

use althing_types::{Instant, Revision};

use super::protocol::{Effects, HubConfig, Input};

/// All watches of one group on one node.
pub struct Hub {
    config: HubConfig,
    revision: Revision,
    compacted: Revision,
}

impl Hub {
    /// A hub without streams on a table that stands at `revision` and whose history begins at `compacted`.
    #[must_use]
    pub fn new(config: HubConfig, revision: Revision, compacted: Revision) -> Self {
        Self { config, revision, compacted }
    }

    /// The one entry.
    pub fn handle(&mut self, _now: Instant, _input: Input<'_>, _out: &mut Effects) {}

    /// When `Tick` is next needed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// The table's revision as far as the hub was told.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many watches there are.
    #[must_use]
    pub fn watch_count(&self) -> usize {
        0
    }
}
