//! The name of a table.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// Bytes of a table's name at the most: what one label of a DNS name holds, so that a name may become part of an address.
pub const MAX_TABLE_NAME_BYTES: usize = 63;

/// The name of a table: 1 to [`MAX_TABLE_NAME_BYTES`] of the letters a-z, the digits and `-`. Cheap to clone.
#[derive(Clone)]
pub struct TableName(Name);

/// Names that the program itself knows cost no allocation.
#[derive(Clone)]
enum Name {
    Fixed(&'static str),
    Shared(Arc<str>),
}

/// Why a text is not the name of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadTableName(String);

impl fmt::Display for BadTableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.0;
        write!(f, "{name:?} is no name of a table: 1 to {MAX_TABLE_NAME_BYTES} of a-z, 0-9 and '-'")
    }
}

impl std::error::Error for BadTableName {}

impl TableName {
    /// The table that a cluster is born with, and that is meant where none is named.
    pub const DEFAULT: Self = Self(Name::Fixed("default"));
    /// The table of the control plane.
    pub const META: Self = Self(Name::Fixed("meta"));

    /// The name `text`.
    ///
    /// # Errors
    ///
    /// If it is empty, too long or holds another character.
    pub fn new(text: &str) -> Result<Self, BadTableName> {
        if !is_table_name(text) {
            let shown = text.chars().take(MAX_TABLE_NAME_BYTES + 1).collect();
            return Err(BadTableName(shown));
        }
        Ok(Self(Name::Shared(text.into())))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Fixed(name) => name,
            Name::Shared(name) => name,
        }
    }
}

fn is_table_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_TABLE_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)
}

impl Default for TableName {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromStr for TableName {
    type Err = BadTableName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableName({self})")
    }
}

// By the text alone: a fixed name is the shared one that reads the same.
impl PartialEq for TableName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for TableName {}

impl PartialOrd for TableName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TableName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for TableName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl AsRef<str> for TableName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for TableName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_63_small_letters_digits_and_dashes() {
        let longest = "a".repeat(MAX_TABLE_NAME_BYTES);
        for good in ["a", "0", "orders-2", "-", &longest] {
            assert_eq!(TableName::new(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(MAX_TABLE_NAME_BYTES + 1);
        for bad in ["", "Orders", "a_b", "a b", "ä", "a/b", &too_long] {
            assert!(TableName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_fixed_name_is_the_one_that_reads_the_same() {
        assert_eq!(TableName::new("default").unwrap(), TableName::DEFAULT);
        assert_ne!(TableName::META, TableName::DEFAULT);
    }
}
