//! The versioned records and their bytes.

use althing_api::kv::{EventKind, KeyValue};
use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{LeaseId, Revision};
use bytes::Bytes;

use super::VersionId;
use crate::error::StrongError;

/// Values up to this many bytes are kept in `current` as well, so that the latest version takes one look-up.
pub const INLINE_VALUE_BYTES: usize = 256;

const VALUE_ELSEWHERE: u8 = 0;
const VALUE_INLINE: u8 = 1;

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

/// The error of a record that does not parse.
pub(super) fn record(what: &'static str) -> impl Fn(DecodeError) -> StrongError {
    move |source| StrongError::Record { what, source }
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

    pub(crate) fn read(bytes: Bytes) -> Result<Self, DecodeError> {
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
