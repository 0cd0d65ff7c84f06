//! The history of a slice in the order of its revisions: what a child of a split is filled with.
//!
//! One mechanism serves the beginning and the rest: pages of positions, from the first that the parent has to its present
//! one, and on as it writes. A page says from which position to which it tells everything, so a child that has a page
//! knows what it lacks, and a page that comes twice is recognised.
//!
//! While a feed lives, nothing of the parent's history is removed on this replica, so its pages fit together. Another replica
//! can go on where a child stands only if its removals have not come that far: all above its compact revision is there. If they
//! may have, it answers `Compacted`; then the child is given up and another one filled from the start.

use std::sync::Arc;

use althing_api::ErrorKind;
use althing_codec::{DecodeError, Reader, Writer};
use althing_storage::engine::{Engine, View};
use althing_types::limits::{MAX_KEY_BYTES, MAX_REQUEST_OVERHEAD_BYTES, SNAPSHOT_CHUNK_BYTES};
use althing_types::{Revision, SpaceId};
use bytes::Bytes;

use crate::bounds::{START, Slice, read_position, write_position};
use crate::error::StrongError;
use crate::layout::{self, Meta, RevisionRecord, Span, Version, VersionBody, VersionId};
use crate::state::State;
use crate::walk::Hold;

/// Bytes of a page as it should be: its last version may exceed this by its own size, and the page must fit a log entry.
pub const PAGE_BYTES: usize = SNAPSHOT_CHUNK_BYTES;
const _: () = assert!(PAGE_BYTES <= MAX_REQUEST_OVERHEAD_BYTES);

/// Records that one page looks at, whether they belong to the slice or not: about what one view should be held for.
const RECORDS_PER_PAGE: usize = 8192;

/// One version on its way to a child.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fed {
    /// Its key.
    pub key: Bytes,
    /// Its position, which stays what it was in the parent.
    pub id: VersionId,
    /// What it is.
    pub body: VersionBody,
}

/// Everything that happened to the keys of a slice from one position to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The first position that it tells of.
    pub from: VersionId,
    /// The first that it does not.
    pub next: VersionId,
    /// The parent's compact revision when the feed began.
    pub compacted: Revision,
    /// The versions, in the order of their positions.
    pub versions: Vec<Fed>,
}

impl Page {
    /// What speaks against it from itself alone.
    pub(crate) fn check(&self) -> Result<(), ErrorKind> {
        let bad = |what: &str| Err(ErrorKind::InvalidArgument(format!("a page of a split {what}")));
        if self.from > self.next || self.from < START || self.next.main.0 == i64::MAX {
            return bad("ends before it begins");
        }
        let mut least = self.from.max(VersionId::first_of(Revision(1)));
        for fed in &self.versions {
            if fed.id < least || fed.id >= self.next || fed.id.sub == u32::MAX {
                return bad("holds a version that stands where it cannot");
            }
            least = VersionId { sub: fed.id.sub + 1, ..fed.id };
            if fed.key.is_empty() || fed.key.len() > MAX_KEY_BYTES {
                return bad("holds a key that no table can have");
            }
        }
        Ok(())
    }

    /// Bytes of keys and values in it, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |fed: &Fed| match &fed.body {
            VersionBody::Put { value, .. } => fed.key.len() + value.len(),
            VersionBody::Tombstone => fed.key.len(),
        };
        self.versions.iter().map(of).sum()
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        write_position(writer, self.from);
        write_position(writer, self.next);
        writer.i64(self.compacted.0);
        writer.u64(self.versions.len() as u64);
        for Fed { key, id, body } in &self.versions {
            writer.bytes(key);
            write_position(writer, *id);
            writer.bytes(&Version { garbage_before: 0, body: body.clone() }.encode());
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (from, next) = (read_position(reader)?, read_position(reader)?);
        let compacted = Revision(reader.i64("compacted")?);
        let one = |reader: &mut Reader| {
            let (key, id) = (reader.bytes("key")?, read_position(reader)?);
            let version = Version::read(reader.bytes("version")?)?;
            match version.garbage_before {
                0 => Ok(Fed { key, id, body: version.body }),
                value => Err(DecodeError::Unknown { field: "the garbage before a version of a page", value }),
            }
        };
        let count = reader.count("versions")?;
        let versions = (0..count).map(|_| one(reader)).collect::<Result<_, _>>()?;
        Ok(Self { from, next, compacted, versions })
    }
}

/// Reads the history of a slice, page by page. While it lives nothing of the table's history is removed.
pub struct Feed {
    engine: Arc<dyn Engine>,
    space: SpaceId,
    slice: Slice,
    next: VersionId,
    compacted: Revision,
    _hold: Hold,
}

impl Feed {
    /// A feed from `from` on, which is [`START`] or where a child stands.
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        space: SpaceId,
        slice: Slice,
        from: VersionId,
        hold: Hold,
    ) -> Result<Self, ErrorKind> {
        let compacted = state_of(&*engine.view(), space)?.compacted;
        if from != START && from < VersionId::after(compacted) {
            return Err(ErrorKind::Compacted { requested: from.main, oldest: compacted });
        }
        Ok(Self { engine, space, slice, next: from, compacted, _hold: hold })
    }

    /// The first position that no page has told of yet.
    #[must_use]
    pub const fn next(&self) -> VersionId {
        self.next
    }

    /// What has happened since the last page, up to about `max_bytes`; `None` if nothing has. A page may be empty: then other
    /// slices of the table were written to. Once the shard is sealed, its pages end with the revision of the seal.
    pub fn next_page(&mut self, max_bytes: usize) -> Result<Option<Page>, ErrorKind> {
        let view = self.engine.view();
        let end = VersionId::after(state_of(&*view, self.space)?.revision);
        if self.next >= end {
            return Ok(None);
        }
        let page = self.page(&*view, end, max_bytes)?;
        self.next = page.next;
        Ok(Some(page))
    }

    fn page(&self, view: &dyn View, end: VersionId, max_bytes: usize) -> Result<Page, StrongError> {
        let span = layout::revision_span(self.next, end);
        let mut page = Page { from: self.next, next: end, compacted: self.compacted, versions: Vec::new() };
        let mut bytes = 0;
        for (seen, item) in view.scan(self.space, span.bounds()).enumerate() {
            let (key, record) = item?;
            let id = layout::revision_version(&key)?;
            if bytes >= max_bytes || seen == RECORDS_PER_PAGE {
                page.next = id;
                break;
            }
            let key = RevisionRecord::decode(record)?.key;
            if self.slice.holds(&key) && self.is_kept(view, &key, id)? {
                let version = view.get(self.space, &layout::history_key(&key, id))?;
                let missing = || StrongError::Inconsistent(format!("the version {}.{} is missing", id.main, id.sub));
                let version = version.ok_or_else(missing)?;
                let size = key.len() + version.len();
                let body = Version::decode(version)?.body;
                if body != VersionBody::Tombstone || id.main >= self.compacted {
                    bytes += size;
                    page.versions.push(Fed { key, id, body });
                }
            }
        }
        Ok(page)
    }

    /// Whether compaction keeps a version: all above the compact revision, and below it the newest of each key. What it
    /// allows to go is left out, whether or not the removal has come that far on this replica.
    fn is_kept(&self, view: &dyn View, key: &Bytes, id: VersionId) -> Result<bool, StrongError> {
        if id.main > self.compacted {
            return Ok(true);
        }
        let newest = VersionId { main: self.compacted, sub: u32::MAX };
        let span = Span { start: layout::history_key(key, newest), end: layout::history_key(key, id) };
        Ok(view.scan(self.space, span.bounds()).next().transpose()?.is_none())
    }
}

fn state_of(view: &dyn View, space: SpaceId) -> Result<State, StrongError> {
    State::decode(view.get(space, &layout::meta_key(Meta::State))?.ok_or(StrongError::Blank)?)
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("slice", &self.slice).field("next", &self.next).finish_non_exhaustive()
    }
}
