//! What an object of each kind consists of, as data: checking and `althing explain` read the same table.
//!
//! A field is named by its path: `spec.shards`, `status.conditions.type` (of each condition), `spec.slice.hash.index`.

mod fields;

use crate::kind::Kind;

/// One field of a kind of object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Where it is: names with dots between them, without the kind.
    pub path: &'static str,
    /// What it holds, and what is allowed.
    pub shape: Shape,
    /// What is taken if it is left out.
    pub default: Default,
    /// Who writes it.
    pub writer: Writer,
    /// What it means, in whole sentences.
    pub text: &'static str,
}

/// What a field holds, and what is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Further fields.
    Object,
    /// A list of objects, each with further fields.
    Objects,
    /// Any text.
    Text,
    /// Exactly this text.
    Exactly(&'static str),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// The name of a table: lower-case letters, digits and hyphens.
    TableName,
    /// The name of a node: letters, digits, `-`, `_` and `.`.
    NodeName,
    /// The name of the cluster's object.
    ClusterName,
    /// The name of a shard: that of its table, a hyphen and its group.
    ShardName,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// One of these numbers.
    OneOf(&'static [u64]),
    /// True or false.
    Truth,
    /// A list of addresses.
    Urls,
    /// A node's id.
    NodeId,
    /// A list of nodes' ids.
    NodeIds,
    /// A key with `%` before two hexadecimal digits for bytes that are not printable.
    Key,
    /// A resource version.
    Version,
    /// Texts by names of the owner's own.
    Labels,
}

/// What is taken for a field that is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// It must be given.
    Required,
    /// Nothing.
    Absent,
    /// This.
    Value(&'static str),
}

/// Who writes a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writer {
    /// Whoever makes the object, at any time.
    Owner,
    /// Whoever makes the object, and then nobody.
    OwnerOnce,
    /// The control plane; what others write there is not taken.
    System,
}

impl Shape {
    /// Its type, in a word or two.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Objects => "list of objects",
            Self::Text
            | Self::Exactly(_)
            | Self::Choice(_)
            | Self::TableName
            | Self::NodeName
            | Self::ClusterName
            | Self::ShardName => "text",
            Self::Number(..) | Self::OneOf(_) => "number",
            Self::Truth => "true or false",
            Self::Urls => "list of URLs",
            Self::NodeId => "node id",
            Self::NodeIds => "list of node ids",
            Self::Key => "key",
            Self::Version => "resource version",
            Self::Labels => "texts by name",
        }
    }

    /// What is allowed, as the rest of the sentence "it must be …".
    #[must_use]
    pub fn allowed(self) -> String {
        let words = |words: &[String]| match words {
            [one] => one.clone(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
            [] => String::new(),
        };
        match self {
            Self::Object => "an object with fields of its own".to_owned(),
            Self::Objects => "a list of objects".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Exactly(text) => format!("{text:?}"),
            Self::Choice(choice) => words(&choice.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>()),
            Self::TableName => format!(
                "1 to {} lower-case letters, digits and hyphens, with no hyphen first or last",
                crate::table::MAX_NAME_CHARS
            ),
            Self::NodeName => {
                format!("1 to {} letters, digits, '-', '_' and '.'", crate::node::MAX_NAME_CHARS)
            }
            Self::ClusterName => format!("{:?}", crate::cluster::NAME),
            Self::ShardName => "a table's name, a hyphen and a group's number".to_owned(),
            Self::Number(least, u64::MAX) => format!("a whole number from {least} up"),
            Self::Number(least, most) => format!("a whole number from {least} to {most}"),
            Self::OneOf(numbers) => words(&numbers.iter().map(u64::to_string).collect::<Vec<_>>()),
            Self::Truth => "true or false".to_owned(),
            Self::Urls => "a list of addresses that begin with http:// or https://".to_owned(),
            Self::NodeId => "a node's id: 1 to 16 hexadecimal digits in quotes, not zero".to_owned(),
            Self::NodeIds => "a list of nodes' ids, each 1 to 16 hexadecimal digits in quotes, not zero".to_owned(),
            Self::Key => "printable ASCII, with % and two hexadecimal digits for every other byte and for %".to_owned(),
            Self::Version => "a whole number in quotes".to_owned(),
            Self::Labels => {
                format!("at most {MAX_LABELS} texts by name, each at most {MAX_LABEL_CHARS} characters")
            }
        }
    }
}

/// Labels of one object at the most: they are for people and scripts, and travel with the map.
pub const MAX_LABELS: usize = 32;
/// Characters of a label's name or text at the most.
pub const MAX_LABEL_CHARS: usize = 256;
/// Bytes of any other text at the most.
pub const MAX_TEXT_BYTES: usize = 4096;
/// Entries of a list at the most.
pub const MAX_LIST: usize = 256;

/// All fields of a kind, those that hold others before these.
pub fn fields(kind: Kind) -> impl Iterator<Item = &'static Field> {
    let own = match kind {
        Kind::Cluster => fields::CLUSTER,
        Kind::Node => fields::NODE,
        Kind::Table => fields::TABLE,
        Kind::Shard => fields::SHARD,
    };
    fields::COMMON.iter().chain(own)
}

/// What a kind is, in whole sentences.
#[must_use]
pub const fn about(kind: Kind) -> &'static str {
    match kind {
        Kind::Cluster => {
            "The cluster as a whole. There is one, named `cluster`; it can be changed, not made or deleted."
        }
        Kind::Node => {
            "A process that holds replicas. A node makes its own object when it joins. It can be deleted once it is drained."
        }
        Kind::Table => {
            "A named set of keys with a guarantee. It is cut into shards, each with its own replicas. Making the object makes the \
             table; deleting it deletes the data."
        }
        Kind::Shard => {
            "A part of a table with replicas of its own: one Raft group. The control plane makes shards of tables; they can be read."
        }
    }
}

/// The field at a path of a kind.
#[must_use]
pub fn field(kind: Kind, path: &str) -> Option<&'static Field> {
    fields(kind).find(|field| field.path == path)
}

/// The fields directly below a path; below the empty path those of the object itself.
pub fn children(kind: Kind, path: &str) -> impl Iterator<Item = &'static Field> {
    fields(kind).filter(move |field| match field.path.rsplit_once('.') {
        Some((parent, _)) => parent == path,
        None => path.is_empty(),
    })
}

/// The name of a field without its path.
#[must_use]
pub fn name(field: &Field) -> &'static str {
    field.path.rsplit_once('.').map_or(field.path, |(_, name)| name)
}

/// Of some words the one that a mistyped one was most likely meant to be.
pub(crate) fn nearest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase());
    let near = among.map(|other| (distance(other), other)).min()?;
    (near.0 <= 2.max(word.len() / 3)).then_some(near.1)
}

#[cfg(test)]
mod tests;
