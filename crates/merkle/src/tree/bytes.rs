//! A tree in a checkpoint, so that a restart does not read the whole store. Upper levels are added up again.

use althing_codec::{DecodeError, Reader, Writer};
use bytes::Bytes;

use super::{Level, Tree};
use crate::place::{MAX_DEPTH, nodes};

/// The format of a tree's bytes.
const VERSION: u8 = 1;

impl Tree {
    /// Its buckets as bytes (`docs/formats/merkle.md`); a growth is not among them.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let leaves = self.leaves();
        let mut writer = Writer::with_capacity(leaves.sums.len() * 17 + 2);
        writer.u8(VERSION);
        writer.u8(self.depth());
        for (sum, count) in leaves.sums.iter().zip(&leaves.counts) {
            writer.u64(u64::from(*count));
            if *count > 0 {
                writer.raw(&sum.to_le_bytes());
            }
        }
        writer.finish()
    }

    /// The tree of these bytes.
    ///
    /// # Errors
    ///
    /// Bytes that no tree is written as.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let version = reader.u8("a tree's version")?;
        if version != VERSION {
            return Err(DecodeError::Version { what: "a tree", found: version.into(), known: VERSION.into() });
        }
        let depth = reader.u8("a tree's depth")?;
        if depth > MAX_DEPTH {
            return Err(DecodeError::Unknown { field: "a tree's depth", value: depth.into() });
        }
        // Every bucket takes a byte at least, so no short input makes a large tree.
        if reader.remaining() < nodes(depth) {
            return Err(DecodeError::Truncated("a tree's buckets"));
        }
        let leaves = read_leaves(&mut reader, depth)?;
        reader.finish()?;
        Ok(Self { levels: stack(leaves, depth), growth: None })
    }
}

fn read_leaves(reader: &mut Reader, depth: u8) -> Result<Level, DecodeError> {
    let mut leaves = Level::new(depth);
    let mut left = super::MAX_KEYS;
    for (sum, count) in leaves.sums.iter_mut().zip(leaves.counts.iter_mut()) {
        let keys = reader.u64("a bucket's count")?;
        left = left.checked_sub(keys).ok_or(DecodeError::Unknown { field: "a bucket's count", value: keys })?;
        if keys > 0 {
            *sum = read_sum(reader, "a bucket's sum")?;
        }
        *count = keys as u32;
    }
    Ok(leaves)
}

/// A sum: 16 bytes, little-endian.
pub(crate) fn read_sum(reader: &mut Reader, field: &'static str) -> Result<u128, DecodeError> {
    let low = reader.fixed_u64(field)?;
    let high = reader.fixed_u64(field)?;
    Ok(u128::from(high) << 64 | u128::from(low))
}

/// The levels from the root to these buckets.
fn stack(leaves: Level, depth: u8) -> Vec<Level> {
    let mut levels = vec![leaves];
    for _ in 0..depth {
        levels.extend(levels.last().map(Level::above));
    }
    levels.reverse();
    levels
}
