//! The bytes of a call and of its result.

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{Duration, GroupId};
use bytes::Bytes;

use super::answer::{read_answer, write_answer};
use super::error::{read_error, read_table_name, write_error};
use super::request::{read_request, write_request};
use super::{read_option, unknown, write_option};
use crate::error::Error;
use crate::request::Answer;
use crate::service::{Call, Target};

/// The format of a call and of a result that stand by themselves.
const FORMAT: u8 = 1;

const GROUP: u8 = 1;
const TABLE: u8 = 2;

/// A call by itself, with the version of its format.
#[must_use]
pub fn encode_call(call: &Call) -> Bytes {
    let mut writer = Writer::with_capacity(64);
    writer.u8(FORMAT);
    write_call(&mut writer, call);
    writer.finish()
}

/// A call that stands by itself.
///
/// # Errors
///
/// If the bytes are not exactly one call of a format that is known.
pub fn decode_call(bytes: Bytes) -> Result<Call, DecodeError> {
    decode(bytes, "a call", read_call)
}

/// The result of a call by itself, with the version of its format.
#[must_use]
pub fn encode_result(result: &Result<Answer, Error>) -> Bytes {
    let mut writer = Writer::with_capacity(64);
    writer.u8(FORMAT);
    write_result(&mut writer, result);
    writer.finish()
}

/// The result of a call that stands by itself.
///
/// # Errors
///
/// If the bytes are not exactly one result of a format that is known.
pub fn decode_result(bytes: Bytes) -> Result<Result<Answer, Error>, DecodeError> {
    decode(bytes, "the result of a call", read_result)
}

fn decode<T>(
    bytes: Bytes,
    what: &'static str,
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let format = reader.u8(what)?;
    if format != FORMAT {
        return Err(DecodeError::Version { what, found: u64::from(format), known: u64::from(FORMAT) });
    }
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Writes a call. Of its timeout whole milliseconds travel: what the receiver has left, never more.
pub fn write_call(writer: &mut Writer, call: &Call) {
    write_target(writer, &call.target);
    let timeout_ms = call.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    write_option(writer, timeout_ms.as_ref(), |writer, timeout_ms| writer.u64(*timeout_ms));
    writer.bool(call.require_leader);
    write_request(writer, &call.request);
}

/// Reads a call.
pub fn read_call(reader: &mut Reader) -> Result<Call, DecodeError> {
    Ok(Call {
        target: read_target(reader)?,
        timeout: read_option(reader, "timeout", |reader| reader.u64("timeout").map(Duration::from_millis))?,
        require_leader: reader.bool("whether a leader is required")?,
        request: read_request(reader)?,
    })
}

fn write_target(writer: &mut Writer, target: &Target) {
    match target {
        Target::Group(group) => {
            writer.u8(GROUP);
            writer.u64(group.0);
        }
        Target::Table(name) => {
            writer.u8(TABLE);
            writer.str(name.as_str());
        }
    }
}

fn read_target(reader: &mut Reader) -> Result<Target, DecodeError> {
    match reader.u8("target")? {
        GROUP => Ok(Target::Group(GroupId(reader.u64("group")?))),
        TABLE => Ok(Target::Table(read_table_name(reader)?)),
        value => unknown("target", value),
    }
}

/// Writes the result of a call.
pub fn write_result(writer: &mut Writer, result: &Result<Answer, Error>) {
    match result {
        Ok(answer) => {
            writer.u8(0);
            write_answer(writer, answer);
        }
        Err(error) => {
            writer.u8(1);
            write_error(writer, error);
        }
    }
}

/// Reads the result of a call.
pub fn read_result(reader: &mut Reader) -> Result<Result<Answer, Error>, DecodeError> {
    match reader.u8("result")? {
        0 => read_answer(reader).map(Ok),
        1 => read_error(reader).map(Err),
        value => unknown("result", value),
    }
}
