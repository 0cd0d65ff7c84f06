//! What proposers and acceptors say to each other, and its bytes (`docs/formats/paxos.md`).
//!
//! Every request has a ballot of its own, reads too, and every answer repeats it: so an answer belongs to one request of one run of
//! one proposer, however late it comes.

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::limits::MAX_KEY_BYTES;
use bytes::Bytes;

use crate::ballot::Ballot;
use crate::register::{Accepted, Value, read_accepted, read_value, write_accepted, write_value};

/// The format of both.
const VERSION: u8 = 1;

/// From a proposer to an acceptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// That of the set by which the proposer counts.
    pub epoch: u64,
    /// The key.
    pub key: Bytes,
    /// The round, or the name of a read.
    pub ballot: Ballot,
    /// What is asked.
    pub ask: Ask,
}

/// What can be asked of an acceptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// What have you accepted? Nothing is promised.
    Read,
    /// Promise to refuse lower ballots, and what have you accepted? (phase 1a)
    Prepare,
    /// Accept this. (phase 2a)
    Accept {
        /// At which ballot it was first proposed.
        version: Ballot,
        /// The version that it was made from.
        parent: Ballot,
        /// What.
        value: Value,
        /// Promise this ballot as well, which is the same proposer's next.
        next: Option<Ballot>,
    },
    /// Forget the key, if it was made absent at this ballot and nothing has happened since.
    Erase,
}

/// From an acceptor to a proposer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The request's.
    pub key: Bytes,
    /// The request's.
    pub ballot: Ballot,
    /// What is answered.
    pub word: Word,
}

/// What an acceptor can answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// To a read.
    Value {
        /// What it has accepted.
        accepted: Option<Accepted>,
        /// The ballot up to which keys may have been forgotten.
        floor: Ballot,
    },
    /// It promises. (phase 1b)
    Promised {
        /// What it has accepted.
        accepted: Option<Accepted>,
        /// The ballot up to which keys may have been forgotten.
        floor: Ballot,
    },
    /// It has accepted. (phase 2b)
    Accepted,
    /// It has forgotten the key, or never heard of it.
    Erased,
    /// It has promised a higher ballot, which is this; the request has no effect. To an erasure: something has happened since.
    Refused {
        /// The ballot.
        promised: Ballot,
    },
    /// It goes by another epoch, which is this. Whoever has the lower one must learn the map first; the request has no effect.
    WrongEpoch {
        /// The epoch.
        current: u64,
    },
}

fn head(reader: &mut Reader, what: &'static str) -> Result<(), DecodeError> {
    match reader.u8(what)? {
        VERSION => Ok(()),
        found => Err(DecodeError::Version { what, found: found.into(), known: VERSION.into() }),
    }
}

fn read_key(reader: &mut Reader) -> Result<Bytes, DecodeError> {
    let key = reader.bytes("a key")?;
    if key.len() > MAX_KEY_BYTES {
        return Err(DecodeError::Unknown { field: "a key's length", value: key.len() as u64 });
    }
    Ok(key)
}

impl Request {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.u64(self.epoch);
        writer.bytes(&self.key);
        self.ballot.write(&mut writer);
        match &self.ask {
            Ask::Read => writer.u8(1),
            Ask::Prepare => writer.u8(2),
            Ask::Accept { version, parent, value, next } => {
                writer.u8(3);
                version.write(&mut writer);
                parent.write(&mut writer);
                write_value(&mut writer, value);
                writer.bool(next.is_some());
                next.iter().for_each(|next| next.write(&mut writer));
            }
            Ask::Erase => writer.u8(4),
        }
        writer.finish()
    }

    /// The request of these bytes.
    ///
    /// # Errors
    ///
    /// Bytes that no request is written as, or with a key beyond [`MAX_KEY_BYTES`].
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        head(&mut reader, "a request's version")?;
        let epoch = reader.u64("an epoch")?;
        let key = read_key(&mut reader)?;
        let ballot = Ballot::read(&mut reader)?;
        let ask = match reader.u8("a request")? {
            1 => Ask::Read,
            2 => Ask::Prepare,
            3 => {
                let version = Ballot::read(&mut reader)?;
                let parent = Ballot::read(&mut reader)?;
                let value = read_value(&mut reader)?;
                let has_next = reader.bool("whether there is a next ballot")?;
                Ask::Accept { version, parent, value, next: has_next.then(|| Ballot::read(&mut reader)).transpose()? }
            }
            4 => Ask::Erase,
            value => return Err(DecodeError::Unknown { field: "a request", value: value.into() }),
        };
        reader.finish()?;
        Ok(Self { epoch, key, ballot, ask })
    }
}

impl Answer {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.bytes(&self.key);
        self.ballot.write(&mut writer);
        match &self.word {
            Word::Value { accepted, floor } => write_seen(&mut writer, 1, accepted.as_ref(), *floor),
            Word::Promised { accepted, floor } => write_seen(&mut writer, 2, accepted.as_ref(), *floor),
            Word::Accepted => writer.u8(3),
            Word::Erased => writer.u8(4),
            Word::Refused { promised } => {
                writer.u8(5);
                promised.write(&mut writer);
            }
            Word::WrongEpoch { current } => {
                writer.u8(6);
                writer.u64(*current);
            }
        }
        writer.finish()
    }

    /// The answer of these bytes.
    ///
    /// # Errors
    ///
    /// Bytes that no answer is written as, or with a key beyond [`MAX_KEY_BYTES`].
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        head(&mut reader, "an answer's version")?;
        let key = read_key(&mut reader)?;
        let ballot = Ballot::read(&mut reader)?;
        let word = match reader.u8("an answer")? {
            1 => Word::Value { accepted: read_accepted(&mut reader)?, floor: Ballot::read(&mut reader)? },
            2 => Word::Promised { accepted: read_accepted(&mut reader)?, floor: Ballot::read(&mut reader)? },
            3 => Word::Accepted,
            4 => Word::Erased,
            5 => Word::Refused { promised: Ballot::read(&mut reader)? },
            6 => Word::WrongEpoch { current: reader.u64("an epoch")? },
            value => return Err(DecodeError::Unknown { field: "an answer", value: value.into() }),
        };
        reader.finish()?;
        Ok(Self { key, ballot, word })
    }
}

fn write_seen(writer: &mut Writer, kind: u8, accepted: Option<&Accepted>, floor: Ballot) {
    writer.u8(kind);
    write_accepted(writer, accepted);
    floor.write(writer);
}

#[cfg(test)]
mod tests;
