//! What every node says of itself, and how news of it is told from what is old.
//!
//! Each node owns a few values under fixed keys. Only the owner writes them: it stamps each write with its generation (the
//! start of its data directory) and a version that it counts up. Whoever holds a value takes another one of the same owner
//! and key only if its (generation, version) is greater, so copies may travel any way, any number of times, in any order.
//!
//! ```text
//! item   node:8  generation  version  key:1  type:1  value      type 0: number, type 1: text
//! ```

use std::collections::BTreeMap;

use althing_codec::wire::{DecodeError, Reader, Writer};
use althing_types::NodeId;

/// Bytes of a text value.
pub const MAX_TEXT_BYTES: usize = 200;

/// What a value is about. The numbers are on the wire and are never used again for something else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    /// Where clients and peers reach the node, as text: URLs with commas between.
    Addresses,
    /// Where it stands, as text.
    Zone,
    /// The version of its program, as text.
    Software,
    /// Its load, as a number: requests per second.
    Load,
    /// Free disk below its data directory, in bytes.
    DiskFree,
    /// The newest epoch of the routing map that it knows.
    MapEpoch,
    /// Set when it leaves in good order, to the renewal that leaves: what then falls silent has not crashed.
    Departed,
    /// Where clients of Redis reach the node, as text: HOST:PORT. Not said by a node without such a port.
    Redis,
}

impl Key {
    const ALL: [Self; 8] = [
        Self::Addresses,
        Self::Zone,
        Self::Software,
        Self::Load,
        Self::DiskFree,
        Self::MapEpoch,
        Self::Departed,
        Self::Redis,
    ];

    /// Its number on the wire.
    const fn number(self) -> u8 {
        match self {
            Self::Addresses => 1,
            Self::Zone => 2,
            Self::Software => 3,
            Self::Load => 4,
            Self::DiskFree => 5,
            Self::MapEpoch => 6,
            Self::Departed => 7,
            Self::Redis => 8,
        }
    }
}

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A text of at most [`MAX_TEXT_BYTES`].
    Text(String),
}

/// When a value was written, in its owner's own count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Stamp {
    /// The start of the owner's data directory.
    pub generation: u64,
    /// The owner's count of writes in this run.
    pub version: u64,
}

/// One value on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The owner.
    pub node: NodeId,
    /// When it wrote this.
    pub stamp: Stamp,
    /// What about.
    pub key: Key,
    /// What.
    pub value: Value,
}

impl Item {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.fixed_u64(self.node.get());
        writer.u64(self.stamp.generation);
        writer.u64(self.stamp.version);
        writer.u8(self.key.number());
        match &self.value {
            Value::Number(number) => {
                writer.u8(0);
                writer.u64(*number);
            }
            Value::Text(text) => {
                writer.u8(1);
                writer.str(text);
            }
        }
    }

    /// Reads an item. `None` for a key of a later program, which this one neither shows nor passes on.
    pub(crate) fn read(reader: &mut Reader) -> Result<Option<Self>, DecodeError> {
        let node = NodeId(reader.fixed_u64("node")?);
        let stamp = Stamp { generation: reader.u64("generation")?, version: reader.u64("version")? };
        let number = reader.u8("key")?;
        let value = match reader.u8("type")? {
            0 => Value::Number(reader.u64("number")?),
            1 => Value::Text(reader.str("text")?),
            value => return Err(DecodeError::Unknown { field: "type", value: value.into() }),
        };
        if let Value::Text(text) = &value
            && text.len() > MAX_TEXT_BYTES
        {
            return Err(DecodeError::Unknown { field: "text bytes", value: text.len() as u64 });
        }
        let key = Key::ALL.into_iter().find(|key| key.number() == number);
        Ok(key.map(|key| Self { node, stamp, key, value }))
    }
}

/// What one node says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeState {
    values: BTreeMap<Key, (Stamp, Value)>,
}

impl NodeState {
    /// The greatest generation of any of its values.
    fn generation(&self) -> u64 {
        self.values.values().map(|(stamp, _)| stamp.generation).max().unwrap_or(0)
    }

    /// A number.
    #[must_use]
    pub fn number(&self, key: Key) -> Option<u64> {
        match self.values.get(&key) {
            Some((_, Value::Number(number))) => Some(*number),
            Some((_, Value::Text(_))) | None => None,
        }
    }

    /// A text.
    #[must_use]
    pub fn text(&self, key: Key) -> Option<&str> {
        match self.values.get(&key) {
            Some((_, Value::Text(text))) => Some(text),
            Some((_, Value::Number(_))) | None => None,
        }
    }

    /// When a value was written.
    #[must_use]
    pub fn stamp(&self, key: Key) -> Option<Stamp> {
        self.values.get(&key).map(|(stamp, _)| *stamp)
    }
}

/// What all nodes say of themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    nodes: BTreeMap<NodeId, NodeState>,
}

impl Table {
    /// Takes an item if it is newer than what is known, and says whether it was. The first value of a new generation ends
    /// all of the ones before: a restarted node says everything again.
    pub fn merge(&mut self, item: Item) -> bool {
        let state = self.nodes.entry(item.node).or_default();
        let generation = state.generation();
        let known = state.values.get(&item.key).map(|(stamp, _)| *stamp);
        if item.stamp.generation < generation || known.is_some_and(|known| known >= item.stamp) {
            return false;
        }
        if item.stamp.generation > generation {
            state.values.clear();
        }
        state.values.insert(item.key, (item.stamp, item.value));
        true
    }

    /// What a node says of itself.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeState> {
        self.nodes.get(&node)
    }

    /// One value, ready to travel.
    pub(crate) fn item(&self, node: NodeId, key: Key) -> Option<Item> {
        let (stamp, value) = self.nodes.get(&node)?.values.get(&key)?;
        Some(Item { node, stamp: *stamp, key, value: value.clone() })
    }

    /// All values, ready to travel.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item> {
        self.nodes.iter().flat_map(|(node, state)| {
            let item = |(key, (stamp, value)): (&Key, &(Stamp, Value))| Item {
                node: *node,
                stamp: *stamp,
                key: *key,
                value: value.clone(),
            };
            state.values.iter().map(item)
        })
    }

    /// How many nodes have said something.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn item(generation: u64, version: u64, key: Key, number: u64) -> Item {
        Item { node: NodeId(1), stamp: Stamp { generation, version }, key, value: Value::Number(number) }
    }

    #[test]
    fn the_newer_stamp_wins_whichever_comes_first() {
        let items = [item(1, 1, Key::Load, 10), item(1, 2, Key::Load, 20), item(2, 1, Key::Load, 30)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut table = Table::default();
            for at in order {
                table.merge(items[at].clone());
            }
            assert_eq!(table.node(NodeId(1)).unwrap().number(Key::Load), Some(30), "{order:?}");
        }
    }

    #[test]
    fn what_is_known_is_no_news() {
        let mut table = Table::default();
        assert!(table.merge(item(1, 1, Key::Load, 10)));
        assert!(!table.merge(item(1, 1, Key::Load, 10)));
        assert!(table.merge(item(1, 2, Key::DiskFree, 10)), "another key has a version of its own");
    }

    #[test]
    fn a_new_generation_ends_all_that_the_old_one_said() {
        let mut table = Table::default();
        table.merge(item(1, 9, Key::Load, 10));
        table.merge(item(2, 1, Key::MapEpoch, 7));
        let state = table.node(NodeId(1)).unwrap();
        assert_eq!((state.number(Key::Load), state.number(Key::MapEpoch)), (None, Some(7)));
        assert!(!table.merge(item(1, 10, Key::Zone, 0)), "nothing of the old one comes back");
    }

    #[test]
    fn a_key_of_a_later_program_is_read_over() {
        let mut writer = Writer::default();
        item(1, 1, Key::Load, 5).write(&mut writer);
        let mut bytes = writer.finish().to_vec();
        bytes[10] = 99;
        let mut reader = Reader::new(bytes);
        assert_eq!(Item::read(&mut reader), Ok(None));
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn a_text_that_is_too_long_is_refused() {
        let mut writer = Writer::default();
        let value = Value::Text("x".repeat(MAX_TEXT_BYTES + 1));
        Item { value, ..item(1, 1, Key::Zone, 0) }.write(&mut writer);
        assert!(Item::read(&mut Reader::new(writer.finish())).is_err());
    }

    proptest! {
        #[test]
        fn merging_is_commutative_and_idempotent(stamps in prop::collection::vec((0..3_u64, 0..4_u64, 0..3_usize), 0..12)) {
            // The owner never stamps two values of a key alike, so the value follows from the stamp.
            let items: Vec<Item> = stamps.iter()
                .map(|(generation, version, key)| item(*generation, *version, Key::ALL[*key], generation * 10 + version))
                .collect();
            let (mut one, mut other) = (Table::default(), Table::default());
            items.iter().for_each(|item| { one.merge(item.clone()); });
            items.iter().rev().chain(&items).for_each(|item| { other.merge(item.clone()); });
            prop_assert_eq!(one, other);
        }

        #[test]
        fn hostile_bytes_are_refused_or_read(input: Vec<u8>) {
            let _ = Item::read(&mut Reader::new(Bytes::from(input)));
        }

        #[test]
        fn an_item_is_read_as_it_was_written(node: u64, generation: u64, version: u64, text in ".{0,40}") {
            let item = Item { node: NodeId(node), stamp: Stamp { generation, version }, key: Key::Zone, value: Value::Text(text) };
            let mut writer = Writer::default();
            item.write(&mut writer);
            prop_assert_eq!(Item::read(&mut Reader::new(writer.finish())), Ok(Some(item)));
        }
    }
}
