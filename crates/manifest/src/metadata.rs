//! What every object says about itself.

use std::collections::BTreeMap;

use althing_types::Revision;
use serde::{Deserialize, Serialize};

use crate::text;

/// Whether an object is to stay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum Life {
    /// It is to stay.
    #[default]
    Kept,
    /// It is to go: what belongs to it is taken away first. In JSON, `deleting: true`.
    Deleting,
}

impl Life {
    fn is_kept(&self) -> bool {
        match self {
            Self::Kept => true,
            Self::Deleting => false,
        }
    }
}

impl From<bool> for Life {
    fn from(deleting: bool) -> Self {
        if deleting { Self::Deleting } else { Self::Kept }
    }
}

impl From<Life> for bool {
    fn from(life: Life) -> Self {
        match life {
            Life::Kept => false,
            Life::Deleting => true,
        }
    }
}

/// What every object says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Its name, unique among objects of its kind.
    pub name: String,
    /// The revision of its last write: the `mod_revision` of its key. Zero (and absent in JSON) where that is not known, which
    /// includes what is stored: readers fill it in.
    #[serde(default, skip_serializing_if = "is_unknown", with = "text::revision")]
    pub resource_version: Revision,
    /// How often its spec has changed, from 1. Zero in what has not been admitted yet.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// Whether it is to go.
    #[serde(default, rename = "deleting", skip_serializing_if = "Life::is_kept")]
    pub life: Life,
    /// Words of its owner's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Metadata {
    /// Of a new object of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

fn is_unknown(revision: &Revision) -> bool {
    revision.get() == 0
}

fn is_zero(generation: &u64) -> bool {
    *generation == 0
}
