//! News of nodes' states that ride along with SWIM's datagrams.
//!
//! A datagram is SWIM's message, then as many items as fit. Each item is sent a bounded number of times (about six times
//! the logarithm of the cluster's size, as SWIM's own updates are), the least sent first, so that newer ones overtake
//! older ones. What is sent is looked up at that moment: a value that has changed meanwhile travels in its new form.
//!
//! ```text
//! payload   length  SWIM's message  item*
//! ```

use std::collections::BTreeMap;

use althing_codec::wire::{DecodeError, Reader, Writer};
use althing_types::NodeId;
use bytes::Bytes;

use crate::seal::MAX_PAYLOAD_BYTES;
use crate::state::{Item, Key, MAX_TEXT_BYTES, Table};

/// Bytes of SWIM's message in a datagram.
pub const MAX_SWIM_BYTES: usize = 1024;
/// Bytes of an item at its longest: node, stamp, key, type, text with its length.
const MAX_ITEM_BYTES: usize = 8 + 20 + 2 + 2 + MAX_TEXT_BYTES;

const _: () = assert!(2 + MAX_SWIM_BYTES + MAX_ITEM_BYTES <= MAX_PAYLOAD_BYTES);

/// What still has to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Piggyback {
    /// How often each was sent since it was news.
    sent: BTreeMap<(NodeId, Key), u32>,
}

impl Piggyback {
    /// This is news.
    pub fn add(&mut self, node: NodeId, key: Key) {
        self.sent.insert((node, key), 0);
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub fn forget(&mut self, node: NodeId) {
        self.sent.retain(|(owner, _), _| *owner != node);
    }

    /// The payload around SWIM's message. Each item rides along `most` times.
    pub fn payload(&mut self, swim: &[u8], table: &Table, most: u32) -> Bytes {
        let mut writer = Writer::with_capacity(256);
        writer.bytes(swim);
        let mut order: Vec<_> = self.sent.iter().map(|(place, sent)| (*sent, *place)).collect();
        order.sort_unstable();
        for (sent, (node, key)) in order {
            let mut item = Writer::with_capacity(64);
            let Some(found) = table.item(node, key) else {
                self.sent.remove(&(node, key));
                continue;
            };
            found.write(&mut item);
            if writer.len() + item.len() > MAX_PAYLOAD_BYTES {
                break;
            }
            writer.raw(&item.finish());
            if sent + 1 >= most {
                self.sent.remove(&(node, key));
            } else {
                self.sent.insert((node, key), sent + 1);
            }
        }
        writer.finish()
    }
}

/// Takes a payload apart: SWIM's message, and the items that this program knows.
pub(crate) fn take_apart(payload: Bytes) -> Result<(Bytes, Vec<Item>), DecodeError> {
    let mut reader = Reader::new(payload);
    let swim = reader.bytes("message")?;
    let mut items = Vec::new();
    while reader.remaining() > 0 {
        items.extend(Item::read(&mut reader)?);
    }
    Ok((swim, items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Stamp, Value};
    use proptest::prelude::*;

    fn table(nodes: u64) -> Table {
        let mut table = Table::default();
        for node in 1..=nodes {
            let stamp = Stamp { generation: 1, version: node };
            let value = Value::Text("z".repeat(MAX_TEXT_BYTES));
            table.merge(Item { node: NodeId(node), stamp, key: Key::Zone, value });
        }
        table
    }

    fn told(payload: Bytes) -> Vec<u64> {
        take_apart(payload).unwrap().1.iter().map(|item| item.node.get()).collect()
    }

    #[test]
    fn the_least_told_rides_first_and_everything_only_so_often() {
        let (table, mut news) = (table(10), Piggyback::default());
        (1..=10).for_each(|node| news.add(NodeId(node), Key::Zone));
        let mut counts = BTreeMap::new();
        for _ in 0..100 {
            let payload = news.payload(&[7; MAX_SWIM_BYTES], &table, 3);
            assert!(payload.len() <= MAX_PAYLOAD_BYTES);
            told(payload).into_iter().for_each(|node| *counts.entry(node).or_insert(0) += 1);
        }
        assert_eq!(counts, (1..=10).map(|node| (node, 3)).collect());
        assert!(news.is_empty());
    }

    #[test]
    fn swims_message_comes_out_as_it_went_in() {
        let (swim, items) = take_apart(Piggyback::default().payload(b"ping", &table(1), 3)).unwrap();
        assert_eq!((&swim[..], items), (&b"ping"[..], vec![]));
    }

    #[test]
    fn what_was_forgotten_is_not_told() {
        let (mut table, mut news) = (table(2), Piggyback::default());
        (1..=2).for_each(|node| news.add(NodeId(node), Key::Zone));
        table.forget(NodeId(1));
        news.forget(NodeId(2));
        assert_eq!(told(news.payload(b"", &table, 3)), Vec::<u64>::new());
        assert!(news.is_empty());
    }

    proptest! {
        #[test]
        fn hostile_payloads_are_refused_or_read(input: Vec<u8>) {
            let _ = take_apart(Bytes::from(input));
        }
    }
}
