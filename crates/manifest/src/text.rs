//! How identities and bytes are written in JSON.
//!
//! A node's id is a text of hexadecimal digits, as everywhere else. A resource version is a text, as platform tools expect it.
//! A key of a range may hold any bytes: printable ASCII stands for itself, every other byte and `%` as `%` and two
//! hexadecimal digits.

use std::collections::BTreeSet;

use althing_types::{GroupId, NodeId, Revision};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text of a node's id.
#[must_use]
pub fn node_id_text(id: NodeId) -> String {
    id.to_string()
}

/// The node's id that a text means: one to sixteen hexadecimal digits, not zero.
#[must_use]
pub fn parse_node_id(text: &str) -> Option<NodeId> {
    let is_fine = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_fine.then(|| u64::from_str_radix(text, 16).ok())??;
    (id != 0).then_some(NodeId(id))
}

/// The text of a key.
#[must_use]
pub fn escape(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key {
        match byte {
            b'%' => text.push_str("%25"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

/// The key that a text means; `None` if a `%` is not followed by two hexadecimal digits, or a character is not printable ASCII.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                key.push(digit(high)? << 4 | digit(low)?);
                after
            }
            (b'%', _) => return None,
            (0x20..=0x7e, _) => {
                key.push(*first);
                tail
            }
            _ => return None,
        };
    }
    Some(key)
}

/// A node's id in serde.
pub(crate) mod node_id {
    use super::*;

    pub fn serialize<S: Serializer>(id: &NodeId, to: S) -> Result<S::Ok, S::Error> {
        node_id_text(*id).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NodeId, D::Error> {
        let text = String::deserialize(from)?;
        parse_node_id(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a node's id")))
    }
}

/// A node's id or none.
pub(crate) mod node_id_option {
    use super::*;

    pub fn serialize<S: Serializer>(id: &Option<NodeId>, to: S) -> Result<S::Ok, S::Error> {
        id.map(node_id_text).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NodeId>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        parse_node_id(&text).map(Some).ok_or_else(|| D::Error::custom(format!("{text:?} is not a node's id")))
    }
}

/// A set of nodes' ids.
pub(crate) mod node_ids {
    use super::*;

    pub fn serialize<S: Serializer>(ids: &BTreeSet<NodeId>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().copied().map(node_id_text))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<NodeId>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let parse =
            |text: String| parse_node_id(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a node's id")));
        texts.into_iter().map(parse).collect()
    }
}

/// A group's id.
pub(crate) mod group_id {
    use super::*;

    pub fn serialize<S: Serializer>(id: &GroupId, to: S) -> Result<S::Ok, S::Error> {
        id.get().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<GroupId, D::Error> {
        u64::deserialize(from).map(GroupId)
    }
}

/// A group's id or none.
pub(crate) mod group_id_option {
    use super::*;

    pub fn serialize<S: Serializer>(id: &Option<GroupId>, to: S) -> Result<S::Ok, S::Error> {
        id.map(GroupId::get).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<GroupId>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(GroupId))
    }
}

/// A resource version.
pub(crate) mod revision {
    use super::*;

    pub fn serialize<S: Serializer>(revision: &Revision, to: S) -> Result<S::Ok, S::Error> {
        revision.to_string().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Revision, D::Error> {
        let text = String::deserialize(from)?;
        let revision = text.parse().ok().filter(|revision| *revision >= 0).map(Revision);
        revision.ok_or_else(|| D::Error::custom(format!("{text:?} is not a resource version")))
    }
}

/// A key of a range.
pub(crate) mod key {
    use super::*;

    pub fn serialize<S: Serializer>(key: &[u8], to: S) -> Result<S::Ok, S::Error> {
        escape(key).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        unescape(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not an escaped key")))
    }
}

/// A key of a range or none.
pub(crate) mod key_option {
    use super::*;

    pub fn serialize<S: Serializer>(key: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        key.as_deref().map(escape).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        unescape(&text).map(Some).ok_or_else(|| D::Error::custom(format!("{text:?} is not an escaped key")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_readable_where_they_can_be() {
        assert_eq!(escape(b"user/17 100%\x00\xff"), "user/17 100%25%00%ff");
        assert_eq!(unescape("a%2Fb"), Some(b"a/b".to_vec()));
        for wrong in ["%", "%1", "%zz", "\u{e9}", "a\n", "%+1"] {
            assert_eq!(unescape(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_id_is_hexadecimal_and_not_nobody() {
        assert_eq!(parse_node_id("8e9e05c52164694d"), Some(NodeId(0x8e9e_05c5_2164_694d)));
        for wrong in ["", "0", "+1", "xyz", "11112222333344445"] {
            assert_eq!(parse_node_id(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back(key in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unescape(&escape(&key)), Some(key));
        }

        #[test]
        fn any_text_is_a_key_or_is_refused(text in ".*") {
            if let Some(key) = unescape(&text) {
                prop_assert_eq!(unescape(&escape(&key)), Some(key));
            }
        }
    }
}
