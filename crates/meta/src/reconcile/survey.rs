//! The shards of a view by their table, gathered once per turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_manifest::Shard;

use crate::view::View;

/// The shards of each table, by group.
pub struct Survey<'a>(BTreeMap<&'a str, Vec<&'a Arc<Shard>>>);

impl<'a> Survey<'a> {
    /// Of a view.
    pub fn of(view: &'a View) -> Self {
        let mut tables: BTreeMap<&str, Vec<&Arc<Shard>>> = BTreeMap::new();
        for shard in view.shards() {
            tables.entry(&shard.spec.table).or_default().push(shard);
        }
        Self(tables)
    }

    /// The shards of a table.
    pub fn shards(&self, table: &str) -> &[&'a Arc<Shard>] {
        self.0.get(table).map_or(&[], Vec::as_slice)
    }
}
