//! Where everything lies in a space, and the bytes of each record (docs/formats-strong.md draws them).
//!
//! ```text
//! 01 id                             → meta: format, state, configuration, members, alarms, progress
//! 02 key                            → current: the newest version of a key that exists, small values included
//! 03 ordered(key) !main !sub        → history: one version, the newest of a key first
//! 04 main sub                       → revision: what that version did to which key, and which version it replaced
//! 05 lease                          → lease: seconds granted and seconds left at the last checkpoint
//! 06 lease key                      → attachment: nothing
//! ```
//!
//! Every record begins with a tag or stands in a space whose format record says how it is written; a new layout gets a
//! new tag or format, and old ones keep their meaning.

use std::ops::Bound;

use althing_api::kv::{EventKind, KeyRange, KeyValue, RangeEnd};
use althing_codec::{DecodeError, Reader, Writer, ordered};
use althing_storage::engine;
use althing_types::limits::MAX_KEY_BYTES;
use althing_types::{LeaseId, Revision};
use bytes::Bytes;

use crate::error::StrongError;

/// The format of a space. A space with a greater one is refused.
pub const FORMAT: u64 = 1;
/// Values up to this many bytes are kept in `current` as well, so that the latest version takes one look-up.
pub const INLINE_VALUE_BYTES: usize = 256;

const META: u8 = 0x01;
const CURRENT: u8 = 0x02;
const HISTORY: u8 = 0x03;
const REVISION: u8 = 0x04;
const LEASE: u8 = 0x05;
const ATTACHMENT: u8 = 0x06;

const VALUE_ELSEWHERE: u8 = 0;
const VALUE_INLINE: u8 = 1;

/// Bytes that follow the key in a `history` key: its end mark, main and sub.
const VERSION_SUFFIX_BYTES: usize = 2 + VERSION_BYTES;
const VERSION_BYTES: usize = 12;

const _: () = assert!(1 + 2 * MAX_KEY_BYTES + VERSION_SUFFIX_BYTES <= engine::MAX_KEY_BYTES);
const _: () = assert!(1 + 8 + MAX_KEY_BYTES <= engine::MAX_KEY_BYTES);

/// Records of which there is one per space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meta {
    /// [`FORMAT`]. Its presence makes a space a table.
    Format = 1,
    /// [`State`](crate::state::State).
    State = 2,
    /// The Raft configuration.
    ConfState = 3,
    /// [`Members`](crate::members::Members).
    Members = 4,
    /// The alarms that are raised.
    Alarms = 5,
    /// How far the removal of compacted versions has come; this replica's own, in no hash and no snapshot.
    Progress = 6,
    /// There while a snapshot is being imported.
    Importing = 7,
}

/// The key of a meta record.
#[must_use]
pub fn meta_key(meta: Meta) -> [u8; 2] {
    [META, meta as u8]
}

/// The position of a version: the revision, and its place within that revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct VersionId {
    /// The revision.
    pub main: Revision,
    /// Which write of that revision, from 0.
    pub sub: u32,
}

impl VersionId {
    /// The first version of a revision.
    #[must_use]
    pub const fn first_of(main: Revision) -> Self {
        Self { main, sub: 0 }
    }

    /// Whatever comes after the last version of a revision.
    #[must_use]
    pub const fn after(main: Revision) -> Self {
        Self::first_of(main.next())
    }
}

/// The newest version of a key that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Current {
    /// The version.
    pub version_id: VersionId,
    /// The revision of its creation.
    pub create_revision: Revision,
    /// Versions since then.
    pub version: i64,
    /// Its lease.
    pub lease: Option<LeaseId>,
    /// Bytes of the value.
    pub value_bytes: u64,
    /// The value, if it is small.
    pub inline: Option<Bytes>,
}

impl Current {
    /// The record of a version that was just written.
    #[must_use]
    pub fn of(kv: &KeyValue, version_id: VersionId) -> Self {
        Self {
            version_id,
            create_revision: kv.create_revision,
            version: kv.version,
            lease: kv.lease,
            value_bytes: kv.value.len() as u64,
            inline: (kv.value.len() <= INLINE_VALUE_BYTES).then(|| kv.value.clone()),
        }
    }

    /// The version with its value.
    #[must_use]
    pub fn into_key_value(self, key: Bytes, value: Bytes) -> KeyValue {
        KeyValue {
            key,
            create_revision: self.create_revision,
            mod_revision: self.version_id.main,
            version: self.version,
            value,
            lease: self.lease,
        }
    }
}

/// One version of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Bytes that versions before this one have made superfluous, since the table began.
    pub garbage_before: u64,
    /// What it is.
    pub body: VersionBody,
}

/// What a version is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VersionBody {
    /// A value.
    Put {
        /// The revision of the key's creation.
        create_revision: Revision,
        /// Versions since then.
        version: i64,
        /// The lease.
        lease: Option<LeaseId>,
        /// The value.
        value: Bytes,
    },
    /// The key's end.
    Tombstone,
}

impl Version {
    /// The version as readers see it, at `main`.
    #[must_use]
    pub fn into_key_value(self, key: Bytes, main: Revision) -> Option<KeyValue> {
        match self.body {
            VersionBody::Put { create_revision, version, lease, value } => {
                Some(KeyValue { key, create_revision, mod_revision: main, version, value, lease })
            }
            VersionBody::Tombstone => None,
        }
    }
}

/// What a version did to its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// The key did not exist before.
    Create = 1,
    /// The key existed before.
    Update = 2,
    /// The key does not exist afterwards.
    Delete = 3,
}

impl Deed {
    /// What watchers see.
    #[must_use]
    pub const fn event_kind(self) -> EventKind {
        match self {
            Self::Create | Self::Update => EventKind::Put,
            Self::Delete => EventKind::Delete,
        }
    }

    /// What it adds to the number of keys.
    #[must_use]
    pub const fn net(self) -> i64 {
        match self {
            Self::Create => 1,
            Self::Update => 0,
            Self::Delete => -1,
        }
    }
}

/// What happened at one position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevisionRecord {
    /// What.
    pub deed: Deed,
    /// The version that it replaced.
    pub previous: Option<VersionId>,
    /// To which key.
    pub key: Bytes,
}

fn record(what: &'static str) -> impl Fn(DecodeError) -> StrongError {
    move |source| StrongError::Record { what, source }
}

/// The key of a `current` record.
#[must_use]
pub fn current_key(key: &[u8]) -> Vec<u8> {
    prefixed(CURRENT, key)
}

/// The table key of a `current` record's key.
#[must_use]
pub fn key_of_current(key: &Bytes) -> Bytes {
    key.slice(1..)
}

/// The key of a lease's record.
#[must_use]
pub fn lease_key(id: LeaseId) -> Vec<u8> {
    prefixed(LEASE, &id.0.to_be_bytes())
}

/// The key of an attachment.
#[must_use]
pub fn attachment_key(id: LeaseId, key: &[u8]) -> Vec<u8> {
    let mut bytes = lease_key(id);
    bytes[0] = ATTACHMENT;
    bytes.extend_from_slice(key);
    bytes
}

/// The table key of an attachment's key.
#[must_use]
pub fn key_of_attachment(key: &Bytes) -> Bytes {
    key.slice(9..)
}

/// The key of a `history` record.
#[must_use]
pub fn history_key(key: &[u8], id: VersionId) -> Vec<u8> {
    let mut bytes = history_start(key);
    ordered::push_u64_inverted(&mut bytes, id.main.0 as u64);
    bytes.extend_from_slice(&(!id.sub).to_be_bytes());
    bytes
}

/// The key before all versions of a table key.
#[must_use]
pub fn history_start(key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 1 + VERSION_SUFFIX_BYTES);
    bytes.push(HISTORY);
    ordered::push_bytes(&mut bytes, key);
    bytes
}

/// The key after all versions of the table key of `history_key`, and before those of all greater ones.
#[must_use]
pub fn history_after(history_key: &[u8]) -> Vec<u8> {
    let mut bytes = history_key[..history_key.len() - VERSION_BYTES].to_vec();
    *bytes.last_mut().expect("an ordered byte string ends with two bytes") += 1;
    bytes
}

/// The ordered table key within a `history` key: equal for all versions of one key.
#[must_use]
pub fn history_group(history_key: &[u8]) -> &[u8] {
    &history_key[..history_key.len().saturating_sub(VERSION_BYTES)]
}

/// The position in a `history` key.
pub fn history_version(history_key: &[u8]) -> Result<VersionId, StrongError> {
    let mut rest = &history_key[history_key.len().saturating_sub(VERSION_BYTES)..];
    let main = ordered::take_u64_inverted(&mut rest).map_err(record("history"))?;
    let sub = rest.try_into().map_err(|_| record("history")(DecodeError::Truncated("sub")))?;
    Ok(VersionId { main: Revision(main as i64), sub: !u32::from_be_bytes(sub) })
}

/// The table key in a `history` key.
pub fn history_table_key(history_key: &[u8]) -> Result<Bytes, StrongError> {
    let mut rest = history_key.get(1..).unwrap_or_default();
    ordered::take_bytes(&mut rest).map(Bytes::from).map_err(record("history"))
}

/// The key of a `revision` record.
#[must_use]
pub fn revision_key(id: VersionId) -> [u8; 1 + VERSION_BYTES] {
    let mut bytes = [REVISION; 1 + VERSION_BYTES];
    bytes[1..9].copy_from_slice(&(id.main.0 as u64).to_be_bytes());
    bytes[9..].copy_from_slice(&id.sub.to_be_bytes());
    bytes
}

/// The position in a `revision` key.
pub fn revision_version(mut key: &[u8]) -> Result<VersionId, StrongError> {
    key = key.get(1..).unwrap_or_default();
    let main = ordered::take_u64(&mut key).map_err(record("revision"))?;
    let sub = key.try_into().map_err(|_| record("revision")(DecodeError::Truncated("sub")))?;
    Ok(VersionId { main: Revision(main as i64), sub: u32::from_be_bytes(sub) })
}

fn prefixed(prefix: u8, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 1);
    bytes.push(prefix);
    bytes.extend_from_slice(key);
    bytes
}

/// Owned bounds of a scan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// Included, unless `after` says otherwise.
    pub start: Vec<u8>,
    /// Excluded.
    pub end: Vec<u8>,
}

impl Span {
    /// As the engine wants them.
    #[must_use]
    pub fn bounds(&self) -> engine::Bounds<'_> {
        (Bound::Included(&self.start), Bound::Excluded(&self.end))
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// The `current` records of a range.
#[must_use]
pub fn current_span(keys: &KeyRange) -> Span {
    let end = match &keys.end {
        RangeEnd::Single => {
            let mut end = current_key(&keys.start);
            end.push(0);
            end
        }
        RangeEnd::Before(end) => current_key(end),
        RangeEnd::Unbounded => vec![CURRENT + 1],
    };
    Span { start: current_key(&keys.start), end }
}

/// The `history` records of a range.
#[must_use]
pub fn history_span(keys: &KeyRange) -> Span {
    let end = match &keys.end {
        RangeEnd::Single => history_after(&history_key(&keys.start, VersionId::default())),
        RangeEnd::Before(end) => history_start(end),
        RangeEnd::Unbounded => vec![HISTORY + 1],
    };
    Span { start: history_start(&keys.start), end }
}

/// The `revision` records from `from` up to, not including, `to`.
#[must_use]
pub fn revision_span(from: VersionId, to: VersionId) -> Span {
    Span { start: revision_key(from).to_vec(), end: revision_key(to).to_vec() }
}

/// All lease records.
#[must_use]
pub fn lease_span() -> Span {
    Span { start: vec![LEASE], end: vec![LEASE + 1] }
}

/// The attachments of one lease.
#[must_use]
pub fn attachment_span(id: LeaseId) -> Span {
    let start = attachment_key(id, &[]);
    let end = attachment_key(LeaseId(id.0.wrapping_add(1)), &[]);
    if id.0 == i64::MAX { Span { start, end: vec![ATTACHMENT + 1] } } else { Span { start, end } }
}

fn write_lease(writer: &mut Writer, lease: Option<LeaseId>) {
    writer.u64(lease.map_or(0, |id| id.0 as u64));
}

fn read_lease(reader: &mut Reader) -> Result<Option<LeaseId>, DecodeError> {
    let id = reader.u64("lease")? as i64;
    Ok((id != 0).then_some(LeaseId(id)))
}

fn read_revision(reader: &mut Reader) -> Result<Revision, DecodeError> {
    reader.u64("revision").map(|revision| Revision(revision as i64))
}

fn write_version_id(writer: &mut Writer, id: VersionId) {
    writer.u64(id.main.0 as u64);
    writer.u64(u64::from(id.sub));
}

fn read_version_id(reader: &mut Reader) -> Result<VersionId, DecodeError> {
    let main = read_revision(reader)?;
    let sub = reader.u64("sub")?;
    let sub = u32::try_from(sub).map_err(|_| DecodeError::Unknown { field: "sub", value: sub })?;
    Ok(VersionId { main, sub })
}

impl Current {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(40 + self.inline.as_ref().map_or(0, Bytes::len));
        write_version_id(&mut writer, self.version_id);
        writer.u64(self.create_revision.0 as u64);
        writer.u64(self.version as u64);
        write_lease(&mut writer, self.lease);
        match &self.inline {
            Some(value) => {
                writer.u8(VALUE_INLINE);
                writer.raw(value);
            }
            None => {
                writer.u8(VALUE_ELSEWHERE);
                writer.u64(self.value_bytes);
            }
        }
        writer.finish()
    }

    /// From its bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, StrongError> {
        Self::read(bytes).map_err(record("current"))
    }

    fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version_id = read_version_id(&mut reader)?;
        let create_revision = read_revision(&mut reader)?;
        let version = reader.u64("version")? as i64;
        let lease = read_lease(&mut reader)?;
        let (value_bytes, inline) = match reader.u8("the place of the value")? {
            VALUE_INLINE => {
                let value = reader.rest();
                (value.len() as u64, Some(value))
            }
            VALUE_ELSEWHERE => {
                let bytes = reader.u64("value bytes")?;
                reader.finish()?;
                (bytes, None)
            }
            value => return Err(DecodeError::Unknown { field: "the place of the value", value: u64::from(value) }),
        };
        Ok(Self { version_id, create_revision, version, lease, value_bytes, inline })
    }
}

const PUT: u8 = 1;
const TOMBSTONE: u8 = 2;

impl Version {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match &self.body {
            VersionBody::Put { create_revision, version, lease, value } => {
                let mut writer = Writer::with_capacity(40 + value.len());
                writer.u8(PUT);
                writer.u64(self.garbage_before);
                writer.u64(create_revision.0 as u64);
                writer.u64(*version as u64);
                write_lease(&mut writer, *lease);
                writer.raw(value);
                writer.finish()
            }
            VersionBody::Tombstone => {
                let mut writer = Writer::with_capacity(10);
                writer.u8(TOMBSTONE);
                writer.u64(self.garbage_before);
                writer.finish()
            }
        }
    }

    /// From its bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, StrongError> {
        Self::read(bytes).map_err(record("history"))
    }

    fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let tag = reader.u8("the kind of a version")?;
        let garbage_before = reader.u64("garbage")?;
        let body = match tag {
            PUT => VersionBody::Put {
                create_revision: read_revision(&mut reader)?,
                version: reader.u64("version")? as i64,
                lease: read_lease(&mut reader)?,
                value: reader.rest(),
            },
            TOMBSTONE => {
                reader.finish()?;
                VersionBody::Tombstone
            }
            value => {
                return Err(DecodeError::Unknown { field: "the kind of a version", value: u64::from(value) });
            }
        };
        Ok(Self { garbage_before, body })
    }
}

impl RevisionRecord {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(16 + self.key.len());
        writer.u8(self.deed as u8);
        write_version_id(&mut writer, self.previous.unwrap_or_default());
        writer.raw(&self.key);
        writer.finish()
    }

    /// From its bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, StrongError> {
        Self::read(bytes).map_err(record("revision"))
    }

    fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let deed = match reader.u8("deed")? {
            1 => Deed::Create,
            2 => Deed::Update,
            3 => Deed::Delete,
            value => return Err(DecodeError::Unknown { field: "deed", value: u64::from(value) }),
        };
        let previous = read_version_id(&mut reader)?;
        let previous = (previous != VersionId::default()).then_some(previous);
        Ok(Self { deed, previous, key: reader.rest() })
    }
}
