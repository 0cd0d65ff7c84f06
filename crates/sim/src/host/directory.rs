//! A machine's data directory beside the log and the engine: which directory it is, and whom it has seen.
//!
//! A server keeps this in two small files that are replaced in one piece and synced before anything follows from them, so
//! that here they are durable at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_faultdisk as faultdisk;
use althing_node::lineage::{Lineage, Sightings};
use althing_storage::engine::model::ModelEngine;
use althing_types::GroupId;

use crate::budget::Voters;

/// Whether a machine still holds all that it has promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It does, as far as it is known.
    Sound,
    /// It does not, or is a second one under its id, and has not been found out yet.
    Astray,
    /// It was found out: it never starts again.
    Condemned,
}

/// What identifies a directory, and what it knows of others.
#[derive(Clone, Debug)]
pub struct Directory {
    /// What it tells of itself.
    pub lineage: Lineage,
    /// What it has seen of other nodes' directories.
    pub book: Sightings,
}

impl Directory {
    /// A new one with this founding number.
    #[must_use]
    pub fn founded(founding: u64) -> Self {
        Self { lineage: Lineage::founded(founding), book: Sightings::default() }
    }
}

/// A backup of a data directory.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) disk: faultdisk::Image,
    pub(super) engine: Arc<ModelEngine>,
    /// Which directory it was, and at which of its starts.
    pub directory: Directory,
    /// The voters of each group, as it knew them.
    pub believes: BTreeMap<GroupId, Voters>,
}
