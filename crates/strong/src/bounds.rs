//! Which keys a shard of a range table holds, and the stages of a split, which replaces a shard by two.
//!
//! ```text
//!   parent  [a, z) serving ─────────────── Seal at m ──▶ sealed at revision S: it serves nothing any more
//!                     │ pages: history of each half          │ pages: the rest, up to S
//!   left    [a, m) filling ◀── Ingest … Ingest ◀─────────────┤ ── Activate at S ──▶ [a, m) serving, from revision S on
//!   right   [m, z) filling ◀── Ingest … Ingest ◀─────────────┘ ── Activate at S ──▶ [m, z) serving, from revision S on
//! ```
//!
//! A shard without bounds is the whole of its table, and nothing of this concerns it. With bounds, which it has from its birth, a
//! key outside them is refused with `WrongShard`, for reads and for writes, and so is every key while a child is being filled and
//! once its parent is sealed. Between the seal and the activations nobody serves: that is the whole of a split's pause, and it is
//! as long as the children need for what was written since the last pages.
//!
//! Leases bind keys of one shard only, so a shard with bounds has none.

use althing_api::ErrorKind;
use althing_api::keys::Keys;
use althing_api::kv::{KeyRange, RangeEnd};
use althing_codec::{DecodeError, Reader, Writer};
use althing_probe::Mutant;
use althing_types::{GroupId, Revision};
use bytes::Bytes;

use crate::error::StrongError;
use crate::layout::VersionId;

/// A piece of a table: the keys from `start` up to, not including, `end`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Slice {
    /// The first key; empty for the first of the table.
    pub start: Bytes,
    /// Where it ends; `None` at the end of the table.
    pub end: Option<Bytes>,
}

impl Slice {
    /// Whether a key lies within.
    #[must_use]
    pub fn holds(&self, key: &[u8]) -> bool {
        *key >= *self.start && self.end.as_ref().is_none_or(|end| *key < **end)
    }

    /// Whether all of a range lies within.
    #[must_use]
    pub fn covers(&self, keys: &KeyRange) -> bool {
        match &keys.end {
            RangeEnd::Single => self.holds(&keys.start),
            RangeEnd::Before(end) => keys.start >= self.start && self.end.as_ref().is_none_or(|last| end <= last),
            RangeEnd::Unbounded => keys.start >= self.start && self.end.is_none(),
        }
    }

    /// The keys below one of them, and those from it on.
    #[must_use]
    pub fn cut(&self, at: &Bytes) -> [Self; 2] {
        let left = Self { start: self.start.clone(), end: Some(at.clone()) };
        [left, Self { start: at.clone(), end: self.end.clone() }]
    }

    /// Its bytes, within others.
    pub fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.start);
        writer.bool(self.end.is_some());
        if let Some(end) = &self.end {
            writer.bytes(end);
        }
    }

    /// From its bytes, within others.
    pub fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let start = reader.bytes("start")?;
        let end = if reader.bool("end")? { Some(reader.bytes("end")?) } else { None };
        Ok(Self { start, end })
    }
}

/// What a new shard with bounds does first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It serves: it is the first shard of its table.
    Serve,
    /// It waits to be filled from its parent.
    Fill,
}

/// Where a shard with bounds is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It serves, and has since it was made.
    Serving,
    /// It is being filled, and serves nothing.
    Filling {
        /// It has all of its parent's positions below this one.
        next: VersionId,
        /// The compact revision of the parent when filling began.
        compacted: Revision,
    },
    /// It serves, since it was filled up to this revision, that of the seal.
    Activated(Revision),
    /// Its children serve what it held, or will. It writes nothing any more, and nothing of its history is removed.
    Sealed(Seal),
}

/// How a shard was sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seal {
    /// The first key of the right child.
    pub at: Bytes,
    /// The children, left and right.
    pub children: [GroupId; 2],
    /// The revision of the shard, its last.
    pub revision: Revision,
    /// Its compact revision.
    pub compacted: Revision,
}

impl Seal {
    /// The child that holds a key of the shard.
    #[must_use]
    pub fn child_of(&self, key: &[u8]) -> GroupId {
        self.children[usize::from(*key >= *self.at)]
    }
}

/// The bounds of a shard. Unversioned state: in the log's hands, in snapshots and in hashes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// What it holds.
    pub slice: Slice,
    /// Where it is in its life.
    pub stage: Stage,
    /// It is never sealed for children up to this group: they were given up. Ids of groups rise.
    pub barred: GroupId,
}

/// Where filling begins.
pub const START: VersionId = VersionId { main: Revision(0), sub: 0 };

const SERVING: u8 = 1;
const FILLING: u8 = 2;
const ACTIVATED: u8 = 3;
const SEALED: u8 = 4;

impl Bounds {
    /// The bounds of a new shard.
    #[must_use]
    pub const fn new(slice: Slice, role: Role) -> Self {
        let stage = match role {
            Role::Serve => Stage::Serving,
            Role::Fill => Stage::Filling { next: START, compacted: crate::state::NEVER_COMPACTED },
        };
        Self { slice, stage, barred: GroupId(0) }
    }

    /// Refuses what the shard does not serve (now).
    pub fn admit(&self, keys: &Keys<'_>) -> Result<(), ErrorKind> {
        let serves = match self.stage {
            Stage::Sealed(_) if althing_probe::is(Mutant::ServeSealed) => true,
            Stage::Filling { .. } | Stage::Sealed(_) => false,
            Stage::Serving | Stage::Activated(_) => match keys {
                Keys::None => true,
                Keys::Single(key) => self.slice.holds(key),
                Keys::Many(keys) => keys.iter().all(|key| self.slice.holds(key)),
                Keys::Range { ranges, keys } => {
                    ranges.iter().all(|range| self.slice.covers(range)) && keys.iter().all(|key| self.slice.holds(key))
                }
            },
        };
        if serves { Ok(()) } else { Err(ErrorKind::WrongShard) }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        self.slice.write(&mut writer);
        writer.u64(self.barred.0);
        match &self.stage {
            Stage::Serving => writer.u8(SERVING),
            Stage::Filling { next, compacted } => {
                writer.u8(FILLING);
                write_position(&mut writer, *next);
                writer.i64(compacted.0);
            }
            Stage::Activated(revision) => {
                writer.u8(ACTIVATED);
                writer.i64(revision.0);
            }
            Stage::Sealed(seal) => {
                writer.u8(SEALED);
                writer.bytes(&seal.at);
                seal.children.iter().for_each(|child| writer.u64(child.0));
                writer.i64(seal.revision.0);
                writer.i64(seal.compacted.0);
            }
        }
        writer.finish()
    }

    /// From its bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, StrongError> {
        let mut reader = Reader::new(bytes);
        let bounds = Self::read(&mut reader).and_then(|bounds| reader.finish().map(|()| bounds));
        bounds.map_err(|source| StrongError::Record { what: "bounds", source })
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let slice = Slice::read(reader)?;
        let barred = GroupId(reader.u64("barred")?);
        let stage = match reader.u8("stage")? {
            SERVING => Stage::Serving,
            FILLING => {
                let next = read_position(reader)?;
                Stage::Filling { next, compacted: Revision(reader.i64("compacted")?) }
            }
            ACTIVATED => Stage::Activated(Revision(reader.i64("revision")?)),
            SEALED => Stage::Sealed(Seal {
                at: reader.bytes("key")?,
                children: [GroupId(reader.u64("left child")?), GroupId(reader.u64("right child")?)],
                revision: Revision(reader.i64("revision")?),
                compacted: Revision(reader.i64("compacted")?),
            }),
            value => return Err(DecodeError::Unknown { field: "stage", value: u64::from(value) }),
        };
        Ok(Self { slice, stage, barred })
    }
}

/// Writes a position of the parent's history.
pub(crate) fn write_position(writer: &mut Writer, id: VersionId) {
    writer.i64(id.main.0);
    writer.u64(u64::from(id.sub));
}

/// Reads a position of the parent's history.
pub(crate) fn read_position(reader: &mut Reader) -> Result<VersionId, DecodeError> {
    let main = Revision(reader.i64("main")?);
    let sub = reader.u64("sub")?;
    let sub = u32::try_from(sub).map_err(|_| DecodeError::Unknown { field: "sub", value: sub })?;
    Ok(VersionId { main, sub })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(start: &'static str, end: Option<&'static str>) -> Slice {
        Slice { start: start.into(), end: end.map(Bytes::from) }
    }

    #[test]
    fn a_slice_holds_its_start_and_not_its_end() {
        let middle = slice("b", Some("d"));
        let held: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().filter(|key| middle.holds(key.as_bytes())).collect();
        assert_eq!(held, ["b", "c"]);
        assert!(slice("", None).holds(b""));
    }

    #[test]
    fn a_slice_covers_a_range_only_as_a_whole() {
        let middle = slice("b", Some("d"));
        let range = |start: &'static str, end| KeyRange { start: start.into(), end };
        assert!(middle.covers(&range("b", RangeEnd::Before("d".into()))));
        assert!(!middle.covers(&range("a", RangeEnd::Before("c".into()))));
        assert!(!middle.covers(&range("c", RangeEnd::Before("da".into()))));
        assert!(!middle.covers(&range("c", RangeEnd::Unbounded)));
        assert!(slice("b", None).covers(&range("c", RangeEnd::Unbounded)));
        assert!(!slice("b", None).covers(&KeyRange::all()));
        assert!(!middle.covers(&range("d", RangeEnd::Single)));
    }

    #[test]
    fn bounds_come_back_as_they_were() {
        let seal = Seal {
            at: "m".into(),
            children: [GroupId(17), GroupId(18)],
            revision: Revision(9),
            compacted: Revision(-1),
        };
        assert_eq!([seal.child_of(b"lz"), seal.child_of(b"m")], [GroupId(17), GroupId(18)]);
        let next = VersionId { main: Revision(4), sub: 7 };
        let filling = Stage::Filling { next, compacted: Revision(-1) };
        for stage in [Stage::Serving, filling, Stage::Activated(Revision(8)), Stage::Sealed(seal)] {
            let bounds = Bounds { slice: slice("a", Some("z")), stage, barred: GroupId(16) };
            assert_eq!(Bounds::decode(bounds.encode()), Ok(bounds.clone()));
            let longer = [&bounds.encode()[..], &[0]].concat();
            assert!(Bounds::decode(longer.into()).is_err());
        }
    }

    #[test]
    fn a_slice_is_cut_without_a_gap() {
        let halves = slice("b", Some("d")).cut(&"c".into());
        assert_eq!(halves, [slice("b", Some("c")), slice("c", Some("d"))]);
        assert_eq!(slice("", None).cut(&"c".into()), [slice("", Some("c")), slice("c", None)]);
    }

    #[test]
    fn a_shard_that_is_being_filled_serves_nothing() {
        let bounds = Bounds::new(Slice::default(), Role::Fill);
        assert_eq!(bounds.admit(&Keys::None), Err(ErrorKind::WrongShard));
        let key = Bytes::from("k");
        assert_eq!(bounds.admit(&Keys::Single(&key)), Err(ErrorKind::WrongShard));
        assert_eq!(Bounds::new(Slice::default(), Role::Serve).admit(&Keys::Single(&key)), Ok(()));
    }
}
