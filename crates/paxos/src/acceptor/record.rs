//! What an acceptor makes durable, and its bytes (`docs/formats/paxos.md`).

use althing_codec::{DecodeError, Reader, Writer};
use bytes::Bytes;

use super::Standing;
use crate::ballot::Ballot;
use crate::config::Stage;
use crate::register::Register;

/// The format of a record.
const VERSION: u8 = 1;

/// What an acceptor knows of the shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    /// The epoch of the map by which it goes.
    pub epoch: u64,
    /// Whether that is one of a move.
    pub stage: Stage,
    /// Whether it has all that it must have.
    pub standing: Standing,
    /// The ballot up to which keys may have been forgotten.
    pub floor: Ballot,
}

/// One change of what an acceptor remembers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// Of the shard.
    Shard(Shard),
    /// Of a key: this is all that is remembered of it.
    Register {
        /// The key.
        key: Bytes,
        /// What is remembered.
        register: Register,
    },
    /// Nothing is remembered of a key any more, and the floor has risen: both at once, or neither.
    Erased {
        /// The key.
        key: Bytes,
        /// The shard, with its new floor.
        shard: Shard,
    },
}

impl Record {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        match self {
            Self::Shard(shard) => {
                writer.u8(1);
                write_shard(&mut writer, shard);
            }
            Self::Register { key, register } => {
                writer.u8(2);
                writer.bytes(key);
                writer.bytes(&register.encode());
            }
            Self::Erased { key, shard } => {
                writer.u8(3);
                writer.bytes(key);
                write_shard(&mut writer, shard);
            }
        }
        writer.finish()
    }

    /// The record of these bytes.
    ///
    /// # Errors
    ///
    /// Bytes that no record is written as.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let version = reader.u8("a record's version")?;
        if version != VERSION {
            return Err(DecodeError::Version { what: "a record", found: version.into(), known: VERSION.into() });
        }
        let record = match reader.u8("a record")? {
            1 => Self::Shard(read_shard(&mut reader)?),
            2 => {
                let key = reader.bytes("a key")?;
                Self::Register { key, register: Register::decode(reader.bytes("a register")?)? }
            }
            3 => Self::Erased { key: reader.bytes("a key")?, shard: read_shard(&mut reader)? },
            value => return Err(DecodeError::Unknown { field: "a record", value: value.into() }),
        };
        reader.finish()?;
        Ok(record)
    }
}

fn write_shard(writer: &mut Writer, shard: &Shard) {
    writer.u64(shard.epoch);
    writer.bool(match shard.stage {
        Stage::Stable => false,
        Stage::Moving => true,
    });
    writer.bool(match shard.standing {
        Standing::Member => false,
        Standing::Filling => true,
    });
    shard.floor.write(writer);
}

fn read_shard(reader: &mut Reader) -> Result<Shard, DecodeError> {
    let epoch = reader.u64("an epoch")?;
    let stage = if reader.bool("a stage")? { Stage::Moving } else { Stage::Stable };
    let standing = if reader.bool("a standing")? { Standing::Filling } else { Standing::Member };
    Ok(Shard { epoch, stage, standing, floor: Ballot::read(reader)? })
}
