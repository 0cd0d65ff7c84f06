//! The kinds of object, and the keys under which objects lie in the table `meta`.
//!
//! ```text
//! /althing/v1/<plural>/<name>        for example /althing/v1/tables/orders
//! ```

use serde::{Deserialize, Serialize};

/// The version that every object names as its `apiVersion`.
pub const API_VERSION: &str = "althing/v1";

/// What all keys of objects begin with.
pub const ROOT: &str = "/althing/v1/";

/// A kind of object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// The cluster as a whole: one object, made when the cluster is.
    Cluster,
    /// A process that holds replicas.
    Node,
    /// A named set of keys with a guarantee.
    Table,
    /// A part of a table with replicas of its own. Made and changed by the control plane only.
    Shard,
}

impl Kind {
    /// All of them, in the order in which they build on each other.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Node, Self::Table, Self::Shard];

    /// Its name, as an object's `kind` says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Node => "Node",
            Self::Table => "Table",
            Self::Shard => "Shard",
        }
    }

    /// Its name for many objects, as keys and paths say it.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Cluster => "clusters",
            Self::Node => "nodes",
            Self::Table => "tables",
            Self::Shard => "shards",
        }
    }

    /// Its name for one object, in lower case.
    #[must_use]
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Table => "table",
            Self::Shard => "shard",
        }
    }

    /// Short names for the command line.
    #[must_use]
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Cluster => &["cl"],
            Self::Node => &["no"],
            Self::Table => &["tbl", "tb"],
            Self::Shard => &["sh"],
        }
    }

    /// The kind that a word means: its name, plural or a short name, in any case.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| word == kind.singular() || word == kind.plural() || kind.aliases().contains(&word.as_str()))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The key of an object.
#[must_use]
pub fn key_of(kind: Kind, name: &str) -> String {
    format!("{ROOT}{}/{name}", kind.plural())
}

/// What the keys of all objects of a kind begin with.
#[must_use]
pub fn prefix(kind: Kind) -> String {
    key_of(kind, "")
}

/// The kind and name of the object at a key; `None` for any other key.
#[must_use]
pub fn parse_key(key: &[u8]) -> Option<(Kind, &str)> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(ROOT)?;
    let (plural, name) = rest.split_once('/')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural)?;
    (!name.is_empty() && !name.contains('/')).then_some((kind, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_is_the_key_of() {
        for kind in Kind::ALL {
            assert_eq!(parse_key(key_of(kind, "a-1").as_bytes()), Some((kind, "a-1")));
            assert!(key_of(kind, "x").starts_with(&prefix(kind)));
        }
        assert_eq!(key_of(Kind::Table, "orders"), "/althing/v1/tables/orders");
    }

    #[test]
    fn other_keys_are_nobodys() {
        for key in ["", "/althing/v1/tables/", "/althing/v1/tables", "/althing/v1/users/a", "/althing/v2/tables/a"] {
            assert_eq!(parse_key(key.as_bytes()), None, "{key}");
        }
        assert_eq!(parse_key(b"/althing/v1/tables/a/b"), None);
        assert_eq!(parse_key(b"/althing/v1/tables/\xff"), None);
    }

    #[test]
    fn a_kind_goes_by_several_names_and_no_two_share_one() {
        assert_eq!(Kind::named("TBL"), Some(Kind::Table));
        assert_eq!(Kind::named("Tables"), Some(Kind::Table));
        assert_eq!(Kind::named("nodes"), Some(Kind::Node));
        assert_eq!(Kind::named("row"), None);
        let mut words: Vec<&str> = Vec::new();
        for kind in Kind::ALL {
            words.extend([kind.singular(), kind.plural()]);
            words.extend(kind.aliases());
        }
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
    }
}
