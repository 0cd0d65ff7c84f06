//! What an acceptor remembers of one key, and its bytes (`docs/formats/paxos.md`).

use althing_codec::{DecodeError, Reader, Writer};
use bytes::Bytes;

use crate::ballot::Ballot;

/// The format of a register's bytes.
const VERSION: u8 = 1;

/// What a key holds. The bytes are the host's: what is joined when the value is committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// The key is there, with this.
    Present(Bytes),
    /// The key is absent. A removal says by these bytes what it removes; of a key that never was they are empty.
    Absent(Bytes),
}

impl Value {
    /// That of a key that never was.
    pub const NEVER: Self = Self::Absent(Bytes::new());

    /// The value, if the key is there.
    #[must_use]
    pub const fn present(&self) -> Option<&Bytes> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent(_) => None,
        }
    }
}

/// A value that was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// At which ballot.
    pub ballot: Ballot,
    /// At which ballot it was first proposed. Rounds that change nothing carry a value on under their own ballot and
    /// leave this as it is. A register that was absent without a trace has what the acceptors' floors were.
    pub version: Ballot,
    /// The version that it was made from.
    pub parent: Ballot,
    /// The value.
    pub value: Value,
}

/// What an acceptor remembers of a key. Neither ballot ever falls, as long as the register is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register {
    /// Lower ballots are refused.
    pub promised: Ballot,
    /// What was accepted last, never above what was promised.
    pub accepted: Option<Accepted>,
}

impl Register {
    /// A key of which nothing is remembered: everything up to the floor counts as promised away.
    #[must_use]
    pub const fn absent(floor: Ballot) -> Self {
        Self { promised: floor, accepted: None }
    }

    /// Takes over what another acceptor remembers: the greater of each.
    pub fn join(&mut self, other: Self) {
        self.promised = self.promised.max(other.promised);
        let ballot = |accepted: &Option<Accepted>| accepted.as_ref().map(|accepted| accepted.ballot);
        if ballot(&other.accepted) > ballot(&self.accepted) {
            self.accepted = other.accepted;
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        self.promised.write(&mut writer);
        write_accepted(&mut writer, self.accepted.as_ref());
        writer.finish()
    }

    /// The register of these bytes.
    ///
    /// # Errors
    ///
    /// Bytes that no register is written as.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let version = reader.u8("a register's version")?;
        if version != VERSION {
            return Err(DecodeError::Version { what: "a register", found: version.into(), known: VERSION.into() });
        }
        let promised = Ballot::read(&mut reader)?;
        let accepted = read_accepted(&mut reader)?;
        reader.finish()?;
        Ok(Self { promised, accepted })
    }
}

pub(crate) fn write_accepted(writer: &mut Writer, accepted: Option<&Accepted>) {
    writer.bool(accepted.is_some());
    if let Some(accepted) = accepted {
        accepted.ballot.write(writer);
        accepted.version.write(writer);
        accepted.parent.write(writer);
        write_value(writer, &accepted.value);
    }
}

pub(crate) fn read_accepted(reader: &mut Reader) -> Result<Option<Accepted>, DecodeError> {
    if !reader.bool("whether anything was accepted")? {
        return Ok(None);
    }
    let ballot = Ballot::read(reader)?;
    let version = Ballot::read(reader)?;
    let parent = Ballot::read(reader)?;
    Ok(Some(Accepted { ballot, version, parent, value: read_value(reader)? }))
}

pub(crate) fn write_value(writer: &mut Writer, value: &Value) {
    let (is_there, bytes) = match value {
        Value::Absent(bytes) => (false, bytes),
        Value::Present(bytes) => (true, bytes),
    };
    writer.bool(is_there);
    writer.bytes(bytes);
}

pub(crate) fn read_value(reader: &mut Reader) -> Result<Value, DecodeError> {
    let is_there = reader.bool("whether there is a value")?;
    let bytes = reader.bytes("a value")?;
    Ok(if is_there { Value::Present(bytes) } else { Value::Absent(bytes) })
}
