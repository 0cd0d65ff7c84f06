//! Where everything lies in a space, and the bytes of each record (docs/formats/strong.md draws them).
//!
//! ```text
//! 01 id                             → meta: format, state, configuration, members, alarms, progress
//! 02 key                            → current: the newest version of a key that exists, small values included
//! 03 ordered(key) !main !sub        → history: one version, the newest of a key first
//! 04 main sub                       → revision: what that version did to which key, and which version it replaced
//! 05 lease                          → lease: seconds granted and seconds left at the last checkpoint
//! 06 lease key                      → attachment: nothing
//! 07 time key                       → deadline: nothing; of what was forgotten meanwhile too
//! ```
//!
//! Every record begins with a tag or stands in a space whose format record says how it is written; a new layout gets a
//! new tag or format, and old ones keep their meaning.

mod records;

use std::ops::Bound;

use althing_api::kv::{KeyRange, RangeEnd};
use althing_codec::{DecodeError, ordered};
use althing_storage::engine;
use althing_types::limits::MAX_KEY_BYTES;
use althing_types::{LeaseId, Revision};
use bytes::Bytes;

use self::records::record;
use crate::error::StrongError;
use crate::keyed::Deadline;

pub use self::records::{Current, Deed, INLINE_VALUE_BYTES, RevisionRecord, Version, VersionBody};

/// The format of a space. A space with a greater one is refused.
pub const FORMAT: u64 = 1;
const META: u8 = 0x01;
const CURRENT: u8 = 0x02;
const HISTORY: u8 = 0x03;
const REVISION: u8 = 0x04;
const LEASE: u8 = 0x05;
const ATTACHMENT: u8 = 0x06;
const DEADLINE: u8 = 0x07;

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
    /// [`Bounds`](crate::bounds::Bounds), of a shard that has some.
    Bounds = 8,
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

/// The key of a `deadline` record: of what expires at this time, in milliseconds since 1970.
#[must_use]
pub fn deadline_key(at_ms: i64, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + key.len());
    bytes.push(DEADLINE);
    ordered::push_i64(&mut bytes, at_ms);
    bytes.extend_from_slice(key);
    bytes
}

/// What the key of a `deadline` record says.
pub fn deadline_of(key: &Bytes) -> Result<Deadline, StrongError> {
    let mut rest = key.get(1..).unwrap_or_default();
    let at_ms = ordered::take_i64(&mut rest).map_err(record("deadline"))?;
    Ok(Deadline { at_ms, key: Bytes::copy_from_slice(rest) })
}

/// The `deadline` records up to, and including, a time.
#[must_use]
pub fn deadline_span(until_ms: i64) -> Span {
    let end = until_ms.checked_add(1).map_or_else(|| vec![DEADLINE + 1], |after| deadline_key(after, &[]));
    Span { start: vec![DEADLINE], end }
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

#[cfg(test)]
mod tests;
