//! The bytes of errors.
//!
//! Each kind has one tag; errors that carry nothing are that tag alone.

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{LeaseId, NodeId, TableName};

use super::{read_revision, unknown, write_revision};
use crate::error::{Error, ErrorKind, Outcome};

mod tag {
    pub(super) const COMPACTED: u8 = 1;
    pub(super) const FUTURE_REVISION: u8 = 2;
    pub(super) const EMPTY_KEY: u8 = 3;
    pub(super) const KEY_TOO_LONG: u8 = 4;
    pub(super) const VALUE_PROVIDED: u8 = 5;
    pub(super) const LEASE_PROVIDED: u8 = 6;
    pub(super) const KEY_NOT_FOUND: u8 = 7;
    pub(super) const DUPLICATE_KEY: u8 = 8;
    pub(super) const TOO_MANY_OPERATIONS: u8 = 9;
    pub(super) const REQUEST_TOO_LARGE: u8 = 10;
    pub(super) const INVALID_ARGUMENT: u8 = 11;
    pub(super) const LEASE_NOT_FOUND: u8 = 12;
    pub(super) const LEASE_EXISTS: u8 = 13;
    pub(super) const LEASE_TTL_TOO_LARGE: u8 = 14;
    pub(super) const NO_SPACE: u8 = 15;
    pub(super) const CORRUPT: u8 = 16;
    pub(super) const OVERLOADED: u8 = 17;
    pub(super) const NO_LEADER: u8 = 18;
    pub(super) const TIMEOUT: u8 = 19;
    pub(super) const LEADER_CHANGED: u8 = 20;
    pub(super) const STOPPED: u8 = 21;
    pub(super) const NOT_LEADER: u8 = 22;
    pub(super) const BAD_LEADER_TRANSFEREE: u8 = 23;
    pub(super) const MEMBER_NOT_FOUND: u8 = 24;
    pub(super) const MEMBER_EXISTS: u8 = 25;
    pub(super) const PEER_URL_EXISTS: u8 = 26;
    pub(super) const BAD_URL: u8 = 27;
    pub(super) const NOT_LEARNER: u8 = 28;
    pub(super) const LEARNER_NOT_READY: u8 = 29;
    pub(super) const TOO_MANY_LEARNERS: u8 = 30;
    pub(super) const UNHEALTHY: u8 = 31;
    pub(super) const UNSUPPORTED: u8 = 32;
    pub(super) const LEARNER: u8 = 33;
    pub(super) const UNKNOWN_TABLE: u8 = 34;
    pub(super) const WRONG_SHARD: u8 = 35;
    pub(super) const SHARD_UNAVAILABLE: u8 = 36;
    pub(super) const CROSS_SHARD: u8 = 37;
    pub(super) const NOT_BUILT: u8 = 38;
    pub(super) const STORAGE: u8 = 39;
}

/// Writes an error.
pub fn write_error(writer: &mut Writer, error: &Error) {
    writer.u8(match error.outcome {
        Outcome::NotDone => 0,
        Outcome::MaybeDone => 1,
    });
    write_error_kind(writer, &error.kind);
}

/// Reads an error.
pub fn read_error(reader: &mut Reader) -> Result<Error, DecodeError> {
    let outcome = match reader.u8("outcome")? {
        0 => Outcome::NotDone,
        1 => Outcome::MaybeDone,
        value => return unknown("outcome", value),
    };
    Ok(Error { kind: read_error_kind(reader)?, outcome })
}

/// Writes what went wrong.
pub fn write_error_kind(writer: &mut Writer, kind: &ErrorKind) {
    writer.u8(tag_of(kind));
    write_fields(writer, kind);
}

const fn tag_of(kind: &ErrorKind) -> u8 {
    match kind {
        ErrorKind::Compacted { .. } => tag::COMPACTED,
        ErrorKind::FutureRevision { .. } => tag::FUTURE_REVISION,
        ErrorKind::EmptyKey => tag::EMPTY_KEY,
        ErrorKind::KeyTooLong { .. } => tag::KEY_TOO_LONG,
        ErrorKind::ValueProvided => tag::VALUE_PROVIDED,
        ErrorKind::LeaseProvided => tag::LEASE_PROVIDED,
        ErrorKind::KeyNotFound => tag::KEY_NOT_FOUND,
        ErrorKind::DuplicateKey => tag::DUPLICATE_KEY,
        ErrorKind::TooManyOperations { .. } => tag::TOO_MANY_OPERATIONS,
        ErrorKind::RequestTooLarge { .. } => tag::REQUEST_TOO_LARGE,
        ErrorKind::InvalidArgument(_) => tag::INVALID_ARGUMENT,
        ErrorKind::LeaseNotFound(_) => tag::LEASE_NOT_FOUND,
        ErrorKind::LeaseExists(_) => tag::LEASE_EXISTS,
        ErrorKind::LeaseTtlTooLarge(_) => tag::LEASE_TTL_TOO_LARGE,
        ErrorKind::NoSpace => tag::NO_SPACE,
        ErrorKind::Corrupt => tag::CORRUPT,
        ErrorKind::Overloaded => tag::OVERLOADED,
        ErrorKind::NoLeader => tag::NO_LEADER,
        ErrorKind::Timeout => tag::TIMEOUT,
        ErrorKind::LeaderChanged => tag::LEADER_CHANGED,
        ErrorKind::Stopped => tag::STOPPED,
        ErrorKind::NotLeader => tag::NOT_LEADER,
        ErrorKind::BadLeaderTransferee(_) => tag::BAD_LEADER_TRANSFEREE,
        ErrorKind::MemberNotFound(_) => tag::MEMBER_NOT_FOUND,
        ErrorKind::MemberExists(_) => tag::MEMBER_EXISTS,
        ErrorKind::PeerUrlExists => tag::PEER_URL_EXISTS,
        ErrorKind::BadUrl(_) => tag::BAD_URL,
        ErrorKind::NotLearner(_) => tag::NOT_LEARNER,
        ErrorKind::LearnerNotReady(_) => tag::LEARNER_NOT_READY,
        ErrorKind::TooManyLearners => tag::TOO_MANY_LEARNERS,
        ErrorKind::Unhealthy => tag::UNHEALTHY,
        ErrorKind::Unsupported(_) => tag::UNSUPPORTED,
        ErrorKind::Learner => tag::LEARNER,
        ErrorKind::UnknownTable(_) => tag::UNKNOWN_TABLE,
        ErrorKind::WrongShard => tag::WRONG_SHARD,
        ErrorKind::ShardUnavailable => tag::SHARD_UNAVAILABLE,
        ErrorKind::CrossShard(_) => tag::CROSS_SHARD,
        ErrorKind::NotBuilt(_) => tag::NOT_BUILT,
        ErrorKind::Storage(_) => tag::STORAGE,
    }
}

fn write_fields(writer: &mut Writer, kind: &ErrorKind) {
    match kind {
        ErrorKind::EmptyKey
        | ErrorKind::ValueProvided
        | ErrorKind::LeaseProvided
        | ErrorKind::KeyNotFound
        | ErrorKind::DuplicateKey
        | ErrorKind::NoSpace
        | ErrorKind::Corrupt
        | ErrorKind::Overloaded
        | ErrorKind::NoLeader
        | ErrorKind::Timeout
        | ErrorKind::LeaderChanged
        | ErrorKind::Stopped
        | ErrorKind::NotLeader
        | ErrorKind::PeerUrlExists
        | ErrorKind::TooManyLearners
        | ErrorKind::Unhealthy
        | ErrorKind::Learner
        | ErrorKind::WrongShard
        | ErrorKind::ShardUnavailable => {}
        ErrorKind::Compacted { requested: first, oldest: second }
        | ErrorKind::FutureRevision { requested: first, current: second } => {
            write_revision(writer, *first);
            write_revision(writer, *second);
        }
        ErrorKind::KeyTooLong { bytes, limit } | ErrorKind::RequestTooLarge { bytes, limit } => {
            writer.u64(*bytes as u64);
            writer.u64(*limit as u64);
        }
        ErrorKind::TooManyOperations { limit } => writer.u64(*limit as u64),
        ErrorKind::LeaseNotFound(id) | ErrorKind::LeaseExists(id) => writer.i64(id.0),
        ErrorKind::LeaseTtlTooLarge(seconds) => writer.i64(*seconds),
        ErrorKind::BadLeaderTransferee(id)
        | ErrorKind::MemberNotFound(id)
        | ErrorKind::MemberExists(id)
        | ErrorKind::NotLearner(id)
        | ErrorKind::LearnerNotReady(id) => writer.u64(id.0),
        ErrorKind::UnknownTable(name) => writer.str(name.as_str()),
        ErrorKind::InvalidArgument(text)
        | ErrorKind::BadUrl(text)
        | ErrorKind::Unsupported(text)
        | ErrorKind::CrossShard(text)
        | ErrorKind::NotBuilt(text)
        | ErrorKind::Storage(text) => writer.str(text),
    }
}

/// Reads what went wrong.
pub fn read_error_kind(reader: &mut Reader) -> Result<ErrorKind, DecodeError> {
    let tag = reader.u8("error")?;
    match read_bare(tag) {
        Some(kind) => Ok(kind),
        None => read_with_fields(reader, tag),
    }
}

/// The errors that carry nothing.
const fn read_bare(tag: u8) -> Option<ErrorKind> {
    Some(match tag {
        tag::EMPTY_KEY => ErrorKind::EmptyKey,
        tag::VALUE_PROVIDED => ErrorKind::ValueProvided,
        tag::LEASE_PROVIDED => ErrorKind::LeaseProvided,
        tag::KEY_NOT_FOUND => ErrorKind::KeyNotFound,
        tag::DUPLICATE_KEY => ErrorKind::DuplicateKey,
        tag::NO_SPACE => ErrorKind::NoSpace,
        tag::CORRUPT => ErrorKind::Corrupt,
        tag::OVERLOADED => ErrorKind::Overloaded,
        tag::NO_LEADER => ErrorKind::NoLeader,
        tag::TIMEOUT => ErrorKind::Timeout,
        tag::LEADER_CHANGED => ErrorKind::LeaderChanged,
        tag::STOPPED => ErrorKind::Stopped,
        tag::NOT_LEADER => ErrorKind::NotLeader,
        tag::PEER_URL_EXISTS => ErrorKind::PeerUrlExists,
        tag::TOO_MANY_LEARNERS => ErrorKind::TooManyLearners,
        tag::UNHEALTHY => ErrorKind::Unhealthy,
        tag::LEARNER => ErrorKind::Learner,
        tag::WRONG_SHARD => ErrorKind::WrongShard,
        tag::SHARD_UNAVAILABLE => ErrorKind::ShardUnavailable,
        _ => return None,
    })
}

fn read_with_fields(reader: &mut Reader, tag: u8) -> Result<ErrorKind, DecodeError> {
    let lease = |reader: &mut Reader| reader.i64("lease").map(LeaseId);
    let node = |reader: &mut Reader| reader.u64("member").map(NodeId);
    let text = |reader: &mut Reader| reader.str("the words of an error");
    Ok(match tag {
        tag::COMPACTED => {
            let requested = read_revision(reader)?;
            ErrorKind::Compacted { requested, oldest: read_revision(reader)? }
        }
        tag::FUTURE_REVISION => {
            let requested = read_revision(reader)?;
            ErrorKind::FutureRevision { requested, current: read_revision(reader)? }
        }
        tag::KEY_TOO_LONG => ErrorKind::KeyTooLong { bytes: read_size(reader)?, limit: read_size(reader)? },
        tag::TOO_MANY_OPERATIONS => ErrorKind::TooManyOperations { limit: read_size(reader)? },
        tag::REQUEST_TOO_LARGE => ErrorKind::RequestTooLarge { bytes: read_size(reader)?, limit: read_size(reader)? },
        tag::INVALID_ARGUMENT => ErrorKind::InvalidArgument(text(reader)?),
        tag::LEASE_NOT_FOUND => ErrorKind::LeaseNotFound(lease(reader)?),
        tag::LEASE_EXISTS => ErrorKind::LeaseExists(lease(reader)?),
        tag::LEASE_TTL_TOO_LARGE => ErrorKind::LeaseTtlTooLarge(reader.i64("seconds")?),
        tag::BAD_LEADER_TRANSFEREE => ErrorKind::BadLeaderTransferee(node(reader)?),
        tag::MEMBER_NOT_FOUND => ErrorKind::MemberNotFound(node(reader)?),
        tag::MEMBER_EXISTS => ErrorKind::MemberExists(node(reader)?),
        tag::BAD_URL => ErrorKind::BadUrl(text(reader)?),
        tag::NOT_LEARNER => ErrorKind::NotLearner(node(reader)?),
        tag::LEARNER_NOT_READY => ErrorKind::LearnerNotReady(node(reader)?),
        tag::UNSUPPORTED => ErrorKind::Unsupported(text(reader)?),
        tag::UNKNOWN_TABLE => ErrorKind::UnknownTable(read_table_name(reader)?),
        tag::CROSS_SHARD => ErrorKind::CrossShard(text(reader)?),
        tag::NOT_BUILT => ErrorKind::NotBuilt(text(reader)?),
        tag::STORAGE => ErrorKind::Storage(text(reader)?),
        value => return unknown("error", value),
    })
}

fn read_size(reader: &mut Reader) -> Result<usize, DecodeError> {
    let size = reader.u64("size")?;
    usize::try_from(size).map_err(|_| DecodeError::Unknown { field: "size", value: size })
}

/// Reads the name of a table.
pub(super) fn read_table_name(reader: &mut Reader) -> Result<TableName, DecodeError> {
    let name = reader.str("the name of a table")?;
    TableName::new(&name)
        .map_err(|_| DecodeError::Unknown { field: "the name of a table of so many bytes", value: name.len() as u64 })
}
