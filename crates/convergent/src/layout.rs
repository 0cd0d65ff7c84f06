//! Where everything lies in the engine's space of a shard (docs/formats/shard.md draws the bytes).
//!
//! ```text
//!   00                          → head: what is known, the clock, the counts
//!   01 │ key                    → a key: what it shows, when it expires, its state
//!   02 │ deadline (8) │ key     → nothing: keys by deadline
//!   03 │ key                    → nothing: keys in which others have reset this replica's counters
//!   04 │ position (8) │ key     → nothing: keys by where they lie in the hash tree
//!   05                          → head of rounds: what was issued for them, what the acceptor goes by
//!   06 │ key                    → register of an acceptor
//!   07 │ key                    → what was issued for a round whose end is not known
//! ```

use althing_clock::{Coded, Timestamp};
use althing_codec::{DecodeError, Reader, Writer};
use althing_datatypes::Kind;
use bytes::Bytes;

use crate::delta::{check_version, read_time};
use crate::error::ConvergentError;
use crate::keyed::Keyed;
use crate::known::Known;
use crate::shard::Size;

/// The key of the head.
pub(crate) const HEAD: &[u8] = &[0];
const KEYS: u8 = 1;
const DEADLINES: u8 = 2;
const MARKS: u8 = 3;
const POSITIONS: u8 = 4;
/// The key of the head of rounds.
pub(crate) const ROUNDS: &[u8] = &[5];
const REGISTERS: u8 = 6;
const OPEN: u8 = 7;
const VERSION: u8 = 1;
/// The head's: with its second version came the keys by position, with its third actors of one node share its name.
const HEAD_VERSION: u8 = 3;

/// The prefix of all keys.
pub(crate) const KEYS_PREFIX: &[u8] = &[KEYS];
/// The prefix of all marks.
pub(crate) const MARKS_PREFIX: &[u8] = &[MARKS];
/// The prefix of all registers.
pub(crate) const REGISTERS_PREFIX: &[u8] = &[REGISTERS];
/// The prefix of all that was issued and is open.
pub(crate) const OPEN_PREFIX: &[u8] = &[OPEN];
/// Where the keys by deadline begin.
pub(crate) const DEADLINES_PREFIX: &[u8] = &[DEADLINES];

/// Where a key lies.
pub(crate) fn key(name: &[u8]) -> Vec<u8> {
    [&[KEYS], name].concat()
}

/// Where the end of a kind of records is.
pub(crate) fn end(prefix: &[u8]) -> [u8; 1] {
    [prefix[0] + 1]
}

/// Where a key that was reset by others is marked.
pub(crate) fn mark(name: &[u8]) -> Vec<u8> {
    [&[MARKS], name].concat()
}

/// Where a key's register lies.
pub(crate) fn register(name: &[u8]) -> Vec<u8> {
    [&[REGISTERS], name].concat()
}

/// Where it lies what was issued for a key.
pub(crate) fn open(name: &[u8]) -> Vec<u8> {
    [&[OPEN], name].concat()
}

/// Where a key lies by its deadline.
pub(crate) fn deadline(at_ms: i64, name: &[u8]) -> Vec<u8> {
    // The flipped sign makes bytes order as numbers do.
    [&[DEADLINES], &(at_ms.cast_unsigned() ^ 1 << 63).to_be_bytes()[..], name].concat()
}

/// The deadline in the key of such a record.
pub(crate) fn deadline_of(record: &Bytes) -> Option<i64> {
    let bytes = record.get(1..)?.first_chunk()?;
    Some((u64::from_be_bytes(*bytes) ^ 1 << 63).cast_signed())
}

/// Where the keys at a position of the hash tree begin.
pub(crate) fn position(position: u64) -> Vec<u8> {
    [&[POSITIONS], &position.to_be_bytes()[..]].concat()
}

/// Where the keys at a position end.
pub(crate) fn after_position(at: u64) -> Vec<u8> {
    at.checked_add(1).map_or_else(|| vec![POSITIONS + 1], position)
}

/// Where a key lies by its position.
pub(crate) fn at_position(at: u64, name: &[u8]) -> Vec<u8> {
    [&position(at)[..], name].concat()
}

/// The position and the name of the key in the key of such a record.
pub(crate) fn positioned(record: &Bytes) -> Result<(u64, Bytes), ConvergentError> {
    let position = record.get(1..).and_then(<[u8]>::first_chunk).map(|bytes| u64::from_be_bytes(*bytes));
    let position =
        position.ok_or(ConvergentError::Record { what: "position", source: DecodeError::Truncated("a position") })?;
    Ok((position, record.slice(1 + size_of::<u64>()..)))
}

/// The name of the key in a record's key.
pub(crate) fn name(record: &Bytes) -> Bytes {
    let prefix = if record.first() == Some(&DEADLINES) { 1 + size_of::<u64>() } else { 1 };
    record.slice(prefix.min(record.len())..)
}

/// What a shard knows and counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head {
    /// All events that were taken, or are known to be removed.
    pub(crate) known: Known,
    /// The writes of which the whole effect is here.
    pub(crate) taken: Known,
    /// The last time that was given out.
    pub(crate) time: Timestamp,
    /// How much there is.
    pub(crate) size: Size,
}

impl Head {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(128);
        writer.u8(HEAD_VERSION);
        self.time.write(&mut writer);
        writer.u64(self.size.keys);
        writer.u64(self.size.bytes);
        self.known.write(&mut writer);
        self.taken.write(&mut writer);
        writer.finish()
    }

    /// From its bytes.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, ConvergentError> {
        Self::read(bytes).map_err(|source| ConvergentError::Record { what: "head", source })
    }

    fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        check_version(&mut reader, "a shard's head", HEAD_VERSION)?;
        let time = read_time(&mut reader)?;
        let size = Size { keys: reader.u64("how many keys")?, bytes: reader.u64("how many bytes")? };
        let head = Self { known: Known::read(&mut reader)?, taken: Known::read(&mut reader)?, time, size };
        reader.finish()?;
        Ok(head)
    }
}

/// What can be said of a key without reading its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label {
    /// What it shows.
    pub(crate) kind: Option<Kind>,
    /// When something is to be done about it: it expires, or the deadlines of a key that shows nothing do.
    pub(crate) due_ms: Option<i64>,
}

impl Label {
    /// Of this state.
    pub(crate) fn of(state: &Keyed) -> Self {
        let kind = state.shows();
        let due_ms = match kind {
            Some(_) => state.expires_ms(),
            None => state.deadlines.as_slice().iter().filter_map(|(_, deadline)| deadline.at_ms).max(),
        };
        Self { kind, due_ms }
    }

    /// Whether it is shown at this moment.
    pub(crate) fn shown(&self, now_ms: i64) -> Option<Kind> {
        self.kind.filter(|_| self.due_ms.is_none_or(|due_ms| now_ms < due_ms))
    }

    /// From the front of a key's record.
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        check_version(reader, "a key's record", VERSION)?;
        let kind = match reader.u8("a key's type")? {
            0 => None,
            1 => Some(Kind::String),
            2 => Some(Kind::Hash),
            3 => Some(Kind::Set),
            4 => Some(Kind::Sorted),
            5 => Some(Kind::Sketch),
            other => return Err(DecodeError::Unknown { field: "a key's type", value: u64::from(other) }),
        };
        let due_ms = if reader.bool("whether a key is due")? { Some(reader.i64("when a key is due")?) } else { None };
        Ok(Self { kind, due_ms })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(VERSION);
        writer.u8(match self.kind {
            None => 0,
            Some(Kind::String) => 1,
            Some(Kind::Hash) => 2,
            Some(Kind::Set) => 3,
            Some(Kind::Sorted) => 4,
            Some(Kind::Sketch) => 5,
        });
        writer.bool(self.due_ms.is_some());
        self.due_ms.into_iter().for_each(|due_ms| writer.i64(due_ms));
    }
}

/// The bytes of a key's record.
pub(crate) fn encode_key(label: Label, state: &Keyed) -> Bytes {
    let mut writer = Writer::with_capacity(128);
    label.write(&mut writer);
    state.write(&mut writer);
    writer.finish()
}

/// A key's record, from its bytes.
pub(crate) fn decode_key(bytes: Bytes) -> Result<(Label, Keyed), ConvergentError> {
    let mut reader = Reader::new(bytes);
    let mut read = || {
        let record = (Label::read(&mut reader)?, Keyed::read(&mut reader)?);
        reader.clone().finish()?;
        Ok(record)
    };
    read().map_err(|source| ConvergentError::Record { what: "key", source })
}

/// What can be said of a key, from its record's bytes.
pub(crate) fn decode_label(bytes: Bytes) -> Result<Label, ConvergentError> {
    Label::read(&mut Reader::new(bytes)).map_err(|source| ConvergentError::Record { what: "key", source })
}
