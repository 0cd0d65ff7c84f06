//! The named levels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many replicas must have answered. The names and their meaning are Cassandra's; only [`Level::Any`] counts what is no replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// One replica.
    One,
    /// More than half of the replicas: reads and writes at this level meet.
    #[default]
    Quorum,
    /// Every replica: one that is away makes it impossible.
    All,
    /// More than half of the replicas in the coordinator's zone: quick between regions; writes in one are seen in the other later.
    LocalQuorum,
    /// More than half of the replicas in each zone that has some.
    EachQuorum,
    /// A durable hint anywhere will do for a write. For a read it is [`Level::One`].
    Any,
}

/// A text that names no level.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no level {0:?}: it is one of ONE, QUORUM, ALL, LOCAL_QUORUM, EACH_QUORUM, ANY")]
pub struct UnknownLevel(pub String);

impl Level {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::One, Self::Quorum, Self::All, Self::LocalQuorum, Self::EachQuorum, Self::Any];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "ONE",
            Self::Quorum => "QUORUM",
            Self::All => "ALL",
            Self::LocalQuorum => "LOCAL_QUORUM",
            Self::EachQuorum => "EACH_QUORUM",
            Self::Any => "ANY",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    /// By its name, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let named = Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(text));
        named.ok_or_else(|| UnknownLevel(text.chars().take(MAX_SHOWN).collect()))
    }
}

/// Characters of a text that an error repeats.
const MAX_SHOWN: usize = 64;
