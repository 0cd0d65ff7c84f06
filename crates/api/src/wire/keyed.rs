//! The bytes of what is asked of keyed values, and of the answers.

use althing_codec::{DecodeError, Reader, Writer};
use althing_quorum::Level;
use althing_types::Revision;

use super::{read_error, read_list, read_option, unknown, write_error, write_list, write_option};
use crate::Error;
use crate::keyed::{Access, KeyedAnswer, KeyedRequest, MAX_TOKEN_BYTES, Moment, Step, Watched};

mod tag {
    pub(super) const READ: u8 = 1;
    pub(super) const WRITE: u8 = 2;
    pub(super) const SCAN: u8 = 3;
    pub(super) const COUNT: u8 = 4;
    pub(super) const FLUSH: u8 = 5;
    pub(super) const READ_TOGETHER: u8 = 6;
    pub(super) const WRITE_TOGETHER: u8 = 7;
    pub(super) const SIBLINGS: u8 = 8;
    pub(super) const PUT: u8 = 9;
    pub(super) const IN_SESSION: u8 = 10;
    pub(super) const REREAD: u8 = 11;
    pub(super) const READ_SERIES: u8 = 12;
    pub(super) const WRITE_SERIES: u8 = 13;
}

const fn level_tag(level: Level) -> u8 {
    match level {
        Level::One => 1,
        Level::Quorum => 2,
        Level::All => 3,
        Level::LocalQuorum => 4,
        Level::EachQuorum => 5,
        Level::Any => 6,
    }
}

fn read_level(reader: &mut Reader) -> Result<Option<Level>, DecodeError> {
    let tag = reader.u8("level")?;
    match Level::ALL.into_iter().find(|level| level_tag(*level) == tag) {
        None if tag != 0 => unknown("level", tag),
        level => Ok(level),
    }
}

pub(super) fn write_keyed(writer: &mut Writer, request: &KeyedRequest) {
    match request {
        KeyedRequest::Operate { key, operation, access, level } => {
            writer.u8(match access {
                Access::Read => tag::READ,
                Access::Write => tag::WRITE,
            });
            writer.bytes(key);
            writer.bytes(operation);
            writer.u8(level.map_or(0, level_tag));
        }
        KeyedRequest::Scan { after, limit, pattern, kind } => {
            writer.u8(tag::SCAN);
            write_option(writer, after.as_ref(), |writer, key| writer.bytes(key));
            writer.u64(u64::from(*limit));
            write_option(writer, pattern.as_ref(), |writer, pattern| writer.bytes(pattern));
            write_option(writer, kind.as_ref(), |writer, kind| writer.bytes(kind));
        }
        KeyedRequest::Count => writer.u8(tag::COUNT),
        KeyedRequest::Flush => writer.u8(tag::FLUSH),
        KeyedRequest::Siblings { key, level } => {
            writer.u8(tag::SIBLINGS);
            writer.bytes(key);
            writer.u8(level.map_or(0, level_tag));
        }
        KeyedRequest::Put { key, value, context, level } => {
            writer.u8(tag::PUT);
            writer.bytes(key);
            writer.bytes(value);
            writer.bytes(context);
            writer.u8(level.map_or(0, level_tag));
        }
        KeyedRequest::InSession { token, request } => {
            writer.u8(tag::IN_SESSION);
            writer.bytes(token);
            write_keyed(writer, request);
        }
        KeyedRequest::Series { key, operations, access, read_level, write_level } => {
            writer.u8(match access {
                Access::Read => tag::READ_SERIES,
                Access::Write => tag::WRITE_SERIES,
            });
            writer.bytes(key);
            write_list(writer, operations, |writer, operation| writer.bytes(operation));
            writer.u8(read_level.map_or(0, level_tag));
            writer.u8(write_level.map_or(0, level_tag));
        }
        KeyedRequest::Transact { watches, steps, access, moment } => {
            writer.u8(match access {
                Access::Read => tag::READ_TOGETHER,
                Access::Write => tag::WRITE_TOGETHER,
            });
            write_watches(writer, watches);
            write_steps(writer, steps);
            write_option(writer, moment.as_ref(), |writer, moment| write_moment(writer, *moment));
        }
    }
}

/// Writes what a transaction rests on.
pub fn write_watches(writer: &mut Writer, watches: &[Watched]) {
    write_list(writer, watches, |writer, watched| {
        writer.bytes(&watched.key);
        writer.i64(watched.revision.0);
    });
}

/// Reads what a transaction rests on.
///
/// # Errors
/// What is not that.
pub fn read_watches(reader: &mut Reader) -> Result<Vec<Watched>, DecodeError> {
    read_list(reader, "watches", |reader| {
        Ok(Watched { key: reader.bytes("key")?, revision: Revision(reader.i64("revision")?) })
    })
}

/// Writes what a transaction does.
pub fn write_steps(writer: &mut Writer, steps: &[Step]) {
    write_list(writer, steps, |writer, step| {
        writer.bytes(&step.key);
        writer.bytes(&step.operation);
    });
}

/// Reads what a transaction does.
///
/// # Errors
/// What is not that.
pub fn read_steps(reader: &mut Reader) -> Result<Vec<Step>, DecodeError> {
    read_list(reader, "steps", |reader| Ok(Step { key: reader.bytes("key")?, operation: reader.bytes("operation")? }))
}

/// Writes when something happens.
pub fn write_moment(writer: &mut Writer, moment: Moment) {
    writer.i64(moment.now_ms);
    writer.fixed_u64(moment.seed);
}

/// Reads when something happens.
///
/// # Errors
/// What is not that.
pub fn read_moment(reader: &mut Reader) -> Result<Moment, DecodeError> {
    Ok(Moment { now_ms: reader.i64("time")?, seed: reader.fixed_u64("seed")? })
}

/// Bytes from outside must not make a reader recurse: what stands in a session is read by [`read_alone`].
pub(super) fn read_keyed(reader: &mut Reader) -> Result<KeyedRequest, DecodeError> {
    match reader.u8("keyed request")? {
        tag::IN_SESSION => {
            let token = reader.bytes("token")?;
            if token.len() > MAX_TOKEN_BYTES {
                return Err(DecodeError::Unknown { field: "the length of a token", value: token.len() as u64 });
            }
            let tag = reader.u8("keyed request")?;
            Ok(KeyedRequest::InSession { token, request: Box::new(read_alone(reader, tag)?) })
        }
        tag => read_alone(reader, tag),
    }
}

fn read_alone(reader: &mut Reader, tag: u8) -> Result<KeyedRequest, DecodeError> {
    let operate = |reader: &mut Reader, access| {
        Ok(KeyedRequest::Operate {
            key: reader.bytes("key")?,
            operation: reader.bytes("operation")?,
            access,
            level: read_level(reader)?,
        })
    };
    let series = |reader: &mut Reader, access| {
        Ok(KeyedRequest::Series {
            key: reader.bytes("key")?,
            operations: read_list(reader, "operations", |reader| reader.bytes("operation"))?,
            access,
            read_level: read_level(reader)?,
            write_level: read_level(reader)?,
        })
    };
    match tag {
        tag::READ_SERIES => series(reader, Access::Read),
        tag::WRITE_SERIES => series(reader, Access::Write),
        tag::READ => operate(reader, Access::Read),
        tag::WRITE => operate(reader, Access::Write),
        tag::SCAN => Ok(KeyedRequest::Scan {
            after: read_option(reader, "after", |reader| reader.bytes("after"))?,
            limit: {
                let limit = reader.u64("limit")?;
                u32::try_from(limit).map_err(|_| DecodeError::Unknown { field: "limit", value: limit })?
            },
            pattern: read_option(reader, "pattern", |reader| reader.bytes("pattern"))?,
            kind: read_option(reader, "kind", |reader| reader.bytes("kind"))?,
        }),
        tag::COUNT => Ok(KeyedRequest::Count),
        tag::FLUSH => Ok(KeyedRequest::Flush),
        tag::SIBLINGS => Ok(KeyedRequest::Siblings { key: reader.bytes("key")?, level: read_level(reader)? }),
        tag::PUT => Ok(KeyedRequest::Put {
            key: reader.bytes("key")?,
            value: reader.bytes("value")?,
            context: reader.bytes("context")?,
            level: read_level(reader)?,
        }),
        tag::READ_TOGETHER => read_transact(reader, Access::Read),
        tag::WRITE_TOGETHER => read_transact(reader, Access::Write),
        tag => unknown("keyed request", tag),
    }
}

fn read_transact(reader: &mut Reader, access: Access) -> Result<KeyedRequest, DecodeError> {
    let (watches, steps) = (read_watches(reader)?, read_steps(reader)?);
    Ok(KeyedRequest::Transact { watches, steps, access, moment: read_option(reader, "moment", read_moment)? })
}

pub(super) fn write_keyed_answer(writer: &mut Writer, answer: &KeyedAnswer) {
    match answer {
        KeyedAnswer::Operated(reply) => {
            writer.u8(tag::READ);
            writer.bytes(reply);
        }
        KeyedAnswer::Refused(error) => {
            writer.u8(tag::WRITE);
            writer.bytes(error);
        }
        KeyedAnswer::Page { keys, after } => {
            writer.u8(tag::SCAN);
            write_list(writer, keys, |writer, key| writer.bytes(key));
            write_option(writer, after.as_ref(), |writer, key| writer.bytes(key));
        }
        KeyedAnswer::Count(count) => {
            writer.u8(tag::COUNT);
            writer.u64(*count);
        }
        KeyedAnswer::Flushed(count) => {
            writer.u8(tag::FLUSH);
            writer.u64(*count);
        }
        KeyedAnswer::Siblings { values, context } => {
            writer.u8(tag::SIBLINGS);
            write_list(writer, values, |writer, value| writer.bytes(value));
            writer.bytes(context);
        }
        KeyedAnswer::Reread(siblings) => {
            writer.u8(tag::REREAD);
            writer.u64(*siblings);
        }
        KeyedAnswer::InSession { answer, token } => {
            writer.u8(tag::IN_SESSION);
            writer.bytes(token);
            write_keyed_answer(writer, answer);
        }
        KeyedAnswer::Series(answers) => {
            writer.u8(tag::WRITE_SERIES);
            write_list(writer, answers, |writer, answer| match answer {
                Ok(answer) => {
                    writer.u8(1);
                    write_keyed_answer(writer, answer);
                }
                Err(error) => {
                    writer.u8(0);
                    write_error(writer, error);
                }
            });
        }
        KeyedAnswer::Transacted { replies, revisions } => {
            writer.u8(tag::WRITE_TOGETHER);
            write_list(writer, replies, |writer, reply| writer.bytes(reply));
            write_list(writer, revisions, |writer, revision| writer.i64(revision.0));
        }
        KeyedAnswer::Aborted => writer.u8(tag::READ_TOGETHER),
    }
}

pub(super) fn read_keyed_answer(reader: &mut Reader) -> Result<KeyedAnswer, DecodeError> {
    match reader.u8("keyed answer")? {
        tag::IN_SESSION => {
            let token = reader.bytes("token")?;
            let tag = reader.u8("keyed answer")?;
            Ok(KeyedAnswer::InSession { answer: Box::new(read_answer_alone(reader, tag)?), token })
        }
        tag::WRITE_SERIES => Ok(KeyedAnswer::Series(read_list(reader, "answers", read_part)?)),
        tag => read_answer_alone(reader, tag),
    }
}

/// The answer to one of a series.
fn read_part(reader: &mut Reader) -> Result<Result<KeyedAnswer, Error>, DecodeError> {
    match reader.u8("what came of one of a series")? {
        0 => read_error(reader).map(Err),
        1 => {
            let tag = reader.u8("keyed answer")?;
            read_answer_alone(reader, tag).map(Ok)
        }
        tag => unknown("what came of one of a series", tag),
    }
}

fn read_answer_alone(reader: &mut Reader, tag: u8) -> Result<KeyedAnswer, DecodeError> {
    match tag {
        tag::READ => Ok(KeyedAnswer::Operated(reader.bytes("reply")?)),
        tag::WRITE => Ok(KeyedAnswer::Refused(reader.bytes("refusal")?)),
        tag::SCAN => Ok(KeyedAnswer::Page {
            keys: read_list(reader, "keys", |reader| reader.bytes("key"))?,
            after: read_option(reader, "after", |reader| reader.bytes("after"))?,
        }),
        tag::COUNT => Ok(KeyedAnswer::Count(reader.u64("count")?)),
        tag::FLUSH => Ok(KeyedAnswer::Flushed(reader.u64("count")?)),
        tag::SIBLINGS => Ok(KeyedAnswer::Siblings {
            values: read_list(reader, "values", |reader| reader.bytes("value"))?,
            context: reader.bytes("context")?,
        }),
        tag::REREAD => Ok(KeyedAnswer::Reread(reader.u64("count")?)),
        tag::WRITE_TOGETHER => Ok(KeyedAnswer::Transacted {
            replies: read_list(reader, "replies", |reader| reader.bytes("reply"))?,
            revisions: read_list(reader, "revisions", |reader| Ok(Revision(reader.i64("revision")?)))?,
        }),
        tag::READ_TOGETHER => Ok(KeyedAnswer::Aborted),
        tag => unknown("keyed answer", tag),
    }
}
