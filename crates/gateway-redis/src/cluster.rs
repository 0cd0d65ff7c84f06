//! Slots: how clients of Redis Cluster see the nodes.
//!
//! A key's slot is the CRC16 of it, or of what stands between its first braces, modulo 16384 (Redis Cluster Specification, "Key
//! distribution model"). Clients ask which node has which slot and send each command there. Here any node answers for any key, so
//! the slots are dealt out evenly over the nodes that live only that clients spread their commands; none is ever redirected, and
//! commands over keys of several slots are served. Which nodes live is what the membership says to the node that is asked: two halves
//! of a partition each deal all slots out over themselves, and clients go on with their half.

use bytes::Bytes;

use crate::command::{Answer, Answering};
use crate::gateway::{Shared, node_name};
use crate::keyspace::{Keyspace, Position};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::tables::{Peer, Standing};
use crate::wire::{Value, number};

/// How many slots there are.
pub const SLOTS: u16 = 16_384;
/// The port that Redis's nodes speak to each other on is theirs for clients and this much more; clients never use it.
const BUS_PORT_OFFSET: u32 = 10_000;
/// Keys that a step looks at when those of a slot are looked for.
const SLOT_STEP: u64 = 10_000;
/// Keys of a slot that are answered at the most.
const MAX_SLOT_KEYS: usize = 100_000;

/// CRC16 of the variant XMODEM: polynomial 0x1021, beginning with 0.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        let index = usize::from((crc >> 8) ^ u16::from(byte));
        (crc << 8) ^ TABLE[index]
    })
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)] // a byte fits
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The slot of a key.
#[must_use]
pub fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

/// What stands between the first `{` and the next `}`, if that is something.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|&byte| byte == b'}')?;
    (close > 0).then(|| &rest[..close])
}

/// The slots from and to of each node that lives.
fn shares(shared: &Shared) -> Vec<(u16, u16, Peer)> {
    let mut peers = shared.tables.peers();
    peers.retain(|peer| peer.standing == Standing::Living);
    let count = peers.len().min(usize::from(SLOTS));
    let bound = |at: usize| u16::try_from(at * usize::from(SLOTS) / count.max(1)).unwrap_or(SLOTS);
    let share = |(at, peer): (usize, Peer)| (bound(at), bound(at + 1) - 1, peer);
    peers.into_iter().take(count).enumerate().map(share).collect()
}

/// `CLUSTER SLOTS`
pub fn slots(session: &mut Session, _: &[Bytes]) -> Answer {
    let share = |(from, to, peer): (u16, u16, Peer)| {
        Value::Array(vec![
            Value::Int(from.into()),
            Value::Int(to.into()),
            Value::Array(vec![
                Value::text(peer.host),
                Value::Int(peer.port.into()),
                Value::text(node_name(peer.node)),
                Value::Array(Vec::new()),
            ]),
        ])
    };
    Ok(Value::Array(shares(session.shared()).into_iter().map(share).collect()))
}

/// `CLUSTER SHARDS`
pub fn shards(session: &mut Session, _: &[Bytes]) -> Answer {
    let share = |(from, to, peer): (u16, u16, Peer)| {
        let node = Value::Map(vec![
            (Value::word("id"), Value::text(node_name(peer.node))),
            (Value::word("port"), Value::Int(peer.port.into())),
            (Value::word("ip"), Value::text(peer.host.clone())),
            (Value::word("endpoint"), Value::text(peer.host)),
            (Value::word("role"), Value::word("master")),
            (Value::word("replication-offset"), Value::Int(0)),
            (Value::word("health"), Value::word("online")),
        ]);
        Value::Map(vec![
            (Value::word("slots"), Value::Array(vec![Value::Int(from.into()), Value::Int(to.into())])),
            (Value::word("nodes"), Value::Array(vec![node])),
        ])
    };
    Ok(Value::Array(shares(session.shared()).into_iter().map(share).collect()))
}

/// `CLUSTER NODES`: with their slots those that live, and those that are thought to be down without. There are no epochs; clients
/// want each to have another one.
pub fn nodes(session: &mut Session, _: &[Bytes]) -> Answer {
    let (me, shares) = (session.shared().service.member(), shares(session.shared()));
    let line = |(epoch, peer): (usize, &Peer)| {
        let bus = u32::from(peer.port) + BUS_PORT_OFFSET;
        let share = shares.iter().find(|(_, _, with)| with.node == peer.node);
        let (state, slots) =
            share.map_or(("disconnected", String::new()), |(from, to, _)| ("connected", format!(" {from}-{to}")));
        let flags = match peer.standing {
            Standing::Living if peer.node == me => "myself,master",
            Standing::Living => "master",
            Standing::Lost => "master,fail",
        };
        format!("{} {}:{}@{bus} {flags} - 0 0 {epoch} {state}{slots}\n", node_name(peer.node), peer.host, peer.port)
    };
    let peers = session.shared().tables.peers();
    Ok(Value::Text((1..).zip(&peers).map(line).collect::<Vec<_>>().concat()))
}

/// `CLUSTER INFO`
pub fn info(session: &mut Session, _: &[Bytes]) -> Answer {
    let nodes = session.shared().tables.peers().len();
    let size = shares(session.shared()).len();
    let state = if session.shared().service.health().ready { "ok" } else { "fail" };
    Ok(Value::Text(format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\ncluster_slots_pfail:0\r\n\
         cluster_slots_fail:0\r\ncluster_known_nodes:{nodes}\r\ncluster_size:{size}\r\ncluster_current_epoch:1\r\n\
         cluster_my_epoch:1\r\ncluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n"
    )))
}

/// `CLUSTER MYID`
pub fn myid(session: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::text(session.shared().run_id()))
}

/// `CLUSTER KEYSLOT key`
pub fn keyslot(_: &mut Session, words: &[Bytes]) -> Answer {
    Ok(Value::Int(slot(&words[2]).into()))
}

/// `CLUSTER COUNT-FAILURE-REPORTS`, `CLUSTER LINKS` and `CLUSTER REPLICAS`: there is nothing of that kind.
pub fn none(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::Array(Vec::new()))
}

fn slot_of(word: &[u8]) -> Result<u16, Refusal> {
    let slot = number::integer(word).and_then(|slot| u16::try_from(slot).ok()).filter(|&slot| slot < SLOTS);
    slot.ok_or(Refusal::of("ERR Invalid slot"))
}

/// The keys of a slot, which no index knows: all are looked at.
async fn keys_of(space: &Keyspace, wanted: u16, limit: usize) -> Result<Vec<Bytes>, Refusal> {
    let (mut found, mut position) = (Vec::new(), Some(Position::default()));
    while let Some(from) = position {
        let (keys, next) = space.scan(from, SLOT_STEP, None, None).await?;
        found.extend(keys.into_iter().filter(|key| slot(key) == wanted));
        if found.len() >= limit {
            break;
        }
        position = next;
    }
    found.truncate(limit);
    Ok(found)
}

/// `CLUSTER COUNTKEYSINSLOT slot`
pub fn countkeysinslot<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let slot = slot_of(&words[2])?;
        Ok(Value::count(keys_of(space, slot, usize::MAX).await?.len()))
    })
}

/// `CLUSTER GETKEYSINSLOT slot count`
pub fn getkeysinslot<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let (slot, count) = (slot_of(&words[2])?, crate::run::words::int(&words[3])?);
        let count = usize::try_from(count).map_err(|_| Refusal::of("ERR Invalid number of keys"))?;
        Ok(Value::bulks(keys_of(space, slot, count.min(MAX_SLOT_KEYS)).await?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
    }

    #[test]
    fn a_hash_tag_decides_where_it_says_something() {
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(hash_tag(b"foo{}{bar}"), None);
        assert_eq!(hash_tag(b"foo{bar"), None);
    }

    #[test]
    fn slots_are_dealt_out_without_a_gap() {
        let gateway = crate::testing::gateway();
        let shares = shares(&gateway.0);
        assert_eq!(shares.first().map(|share| share.0), Some(0));
        assert_eq!(shares.last().map(|share| share.1), Some(SLOTS - 1));
        assert!(shares.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
    }
}
