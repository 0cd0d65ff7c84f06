//! How the keys of all spaces of a tree or table lie side by side (docs/formats/engine.md).
//!
//! ```text
//!   space (8, big-endian) │ key           → value          what a batch wrote
//!   ff ff ff ff ff ff ff ff │ space (8)   → applied record  where the space stands, written by every batch
//! ```

use std::ops::Bound;

use althing_codec::{Reader, Writer};
use althing_types::SpaceId;
use bytes::Bytes;

use super::{Applied, Bounds};

/// Bytes of a space's id before each key.
pub(super) const PREFIX_BYTES: usize = 8;
/// The prefix of the applied records. No space has this id.
const APPLIED_PREFIX: [u8; PREFIX_BYTES] = [0xff; PREFIX_BYTES];
/// The first byte of an applied record.
const APPLIED_VERSION: u8 = 1;

/// Owned bounds in the key space of a tree.
pub(super) type TreeBounds = (Bound<Bytes>, Bound<Bytes>);

/// A key of a space in its tree. Panics for the id that is kept for the applied records.
pub(super) fn tree_key(space: SpaceId, key: &[u8]) -> Bytes {
    assert!(space.get() != u64::MAX, "the space id {space} is kept for the engine itself");
    join(&space.get().to_be_bytes(), key)
}

/// The key of a space's applied record.
pub(super) fn applied_key(space: SpaceId) -> Bytes {
    join(&APPLIED_PREFIX, &space.get().to_be_bytes())
}

/// All applied records of a tree.
pub(super) fn applied_bounds() -> TreeBounds {
    (Bound::Included(Bytes::from_static(&APPLIED_PREFIX)), Bound::Unbounded)
}

/// All keys of a space.
pub(super) fn space_bounds(space: SpaceId) -> TreeBounds {
    tree_bounds(space, (Bound::Unbounded, Bound::Unbounded))
}

/// Bounds of a space's keys in its tree.
pub(super) fn tree_bounds(space: SpaceId, (start, end): Bounds<'_>) -> TreeBounds {
    let start = match start {
        Bound::Included(key) => Bound::Included(tree_key(space, key)),
        Bound::Excluded(key) => Bound::Excluded(tree_key(space, key)),
        Bound::Unbounded => Bound::Included(tree_key(space, b"")),
    };
    let end = match end {
        Bound::Included(key) => Bound::Included(tree_key(space, key)),
        Bound::Excluded(key) => Bound::Excluded(tree_key(space, key)),
        // Space ids end before the last one, so there is always a next.
        Bound::Unbounded => Bound::Excluded(join(&(space.get() + 1).to_be_bytes(), b"")),
    };
    (start, end)
}

/// The bytes of an applied record.
pub(super) fn encode_applied(applied: Applied) -> Bytes {
    let mut writer = Writer::with_capacity(17);
    writer.u8(APPLIED_VERSION);
    writer.fixed_u64(applied.index);
    writer.fixed_u64(applied.term);
    writer.finish()
}

/// Takes an applied record apart: its key tells the space. `Err` says what is wrong with it.
pub(super) fn decode_applied(key: &[u8], value: Bytes) -> Result<(SpaceId, Applied), String> {
    let space = key.strip_prefix(&APPLIED_PREFIX).and_then(|id| id.try_into().ok()).map(u64::from_be_bytes);
    let space = space.ok_or_else(|| format!("an applied record has a key of {} bytes", key.len()))?;
    let mut reader = Reader::new(value);
    let mut parse = || {
        let version = reader.u8("version")?;
        if version != APPLIED_VERSION {
            let (found, known) = (u64::from(version), u64::from(APPLIED_VERSION));
            return Err(althing_codec::DecodeError::Version { what: "an applied record", found, known });
        }
        let applied = Applied { index: reader.fixed_u64("index")?, term: reader.fixed_u64("term")? };
        reader.clone().finish()?;
        Ok(applied)
    };
    parse().map(|applied| (SpaceId(space), applied)).map_err(|error| error.to_string())
}

fn join(prefix: &[u8; PREFIX_BYTES], rest: &[u8]) -> Bytes {
    // One allocation of exactly the right size: it becomes a `Bytes` without another.
    let mut joined = Vec::with_capacity(PREFIX_BYTES + rest.len());
    joined.extend_from_slice(prefix);
    joined.extend_from_slice(rest);
    Bytes::from(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_space_lie_within_its_bounds_and_no_others_do() {
        let (Bound::Included(start), Bound::Excluded(end)) = space_bounds(SpaceId(0xff)) else {
            panic!("a space's bounds are half open");
        };
        for key in [&b""[..], b"\0", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            let inside = tree_key(SpaceId(0xff), key);
            assert!(start <= inside && inside < end);
            assert!(tree_key(SpaceId(0xfe), key) < start && end <= tree_key(SpaceId(0x100), key));
        }
        assert!(space_bounds(SpaceId(u64::MAX - 1)).1 == Bound::Excluded(Bytes::from_static(&APPLIED_PREFIX)));
    }

    #[test]
    fn an_applied_record_is_read_as_it_was_written_and_a_strange_one_is_refused() {
        let applied = Applied { index: 7, term: u64::MAX };
        let record = encode_applied(applied);
        assert_eq!(decode_applied(&applied_key(SpaceId(3)), record.clone()), Ok((SpaceId(3), applied)));
        assert!(decode_applied(b"short", record.clone()).is_err());
        assert!(decode_applied(&applied_key(SpaceId(3)), record.slice(..16)).is_err());
        let newer = [&[2], &record[1..]].concat();
        assert!(decode_applied(&applied_key(SpaceId(3)), newer.into()).unwrap_err().contains("version 2"));
    }
}
