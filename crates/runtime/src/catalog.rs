//! What the map says of tables, for gateways that must know before they ask.

use std::sync::{Arc, Mutex, PoisonError};

use althing_manifest::{Life, Phase, Table};
use althing_meta::View;
use althing_types::{GroupId, Revision};

/// A table of the map.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its object.
    pub table: Arc<Table>,
    /// Its shards to which requests go, in ascending order.
    pub shards: Vec<GroupId>,
}

/// The tables, as this node's map has them. Reading takes no more than a lock for a moment.
#[derive(Debug, Default)]
pub struct Catalog(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    revision: Option<Revision>,
    entries: Arc<Vec<Entry>>,
}

impl Catalog {
    /// All tables, by name.
    #[must_use]
    pub fn entries(&self) -> Arc<Vec<Entry>> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner).entries)
    }

    /// Takes over what the map says, if it says anything new.
    pub(crate) fn renew(&self, view: &View) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.revision == Some(view.revision()) {
            return;
        }
        let entry = |table: &Arc<Table>| {
            let shards = view.locate_range(table.name(), &[], None).filter(|shard| shard.spec.phase != Phase::Retiring);
            let mut shards: Vec<_> = shards.map(|shard| shard.spec.group).collect();
            shards.sort_unstable();
            Entry { table: Arc::clone(table), shards }
        };
        let kept = view.tables().filter(|table| table.metadata.life == Life::Kept);
        *seen = Seen { revision: Some(view.revision()), entries: Arc::new(kept.map(entry).collect()) };
    }
}
