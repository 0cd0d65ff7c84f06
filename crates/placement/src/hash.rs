//! The hashes that decide where things are. They are a format: every node of a cluster must come to the same place, in every
//! version. Drawn in `docs/formats/placement.md`; the tests below hold them to golden values.
//!
//! Each is XXH3 with 64 bits over the bytes named, numbers little-endian, under a seed of its own, so that the place of
//! a key says nothing about the places of tokens.

use althing_types::NodeId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::node::ShardId;

/// The seed of [`position`].
pub const KEY_SEED: u64 = u64::from_le_bytes(*b"ALTHKEY1");
/// The seed of [`token`].
pub const TOKEN_SEED: u64 = u64::from_le_bytes(*b"ALTHTOK1");
/// The seed of [`draw`].
pub const DRAW_SEED: u64 = u64::from_le_bytes(*b"ALTHHRW1");

const _: () = assert!(KEY_SEED != TOKEN_SEED && TOKEN_SEED != DRAW_SEED && KEY_SEED != DRAW_SEED);

/// The place of a key on the line from 0 to 2⁶⁴-1, which is also the ring.
#[must_use]
pub fn position(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, KEY_SEED)
}

/// The place of a node's token of this number: the node's id in 8 bytes, then the number in 4.
#[must_use]
pub fn token(node: NodeId, number: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&node.get().to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    xxh3_64_with_seed(&bytes, TOKEN_SEED)
}

/// What a node draws for a shard: the shard's number in 8 bytes, then the node's id in 8.
#[must_use]
pub fn draw(shard: ShardId, node: NodeId) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&shard.0.to_le_bytes());
    bytes[8..].copy_from_slice(&node.get().to_le_bytes());
    xxh3_64_with_seed(&bytes, DRAW_SEED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_what_the_document_says() {
        assert_eq!(position(b""), 0x5389_61cb_d6a5_38be);
        assert_eq!(position(b"a"), 0x5617_cde0_1df3_6032);
        assert_eq!(position(b"user/17"), 0xccac_6967_4899_431a);
        assert_eq!(token(NodeId(1), 0), 0x7c1d_3cb8_8a59_d8aa);
        assert_eq!(token(NodeId(0xdead_beef), 127), 0xd1c0_81fd_8e4d_5218);
        assert_eq!(draw(ShardId(0), NodeId(1)), 0x9006_1bd8_83ea_1175);
        assert_eq!(draw(ShardId(63), NodeId(0xdead_beef)), 0xb92b_5ec4_9cd7_a32e);
    }
}
