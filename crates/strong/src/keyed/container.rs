//! The bytes of a keyed value in a table (docs/formats/strong.md draws them).
//!
//! A string without a deadline is its own bytes, so that clients of etcd and of Redis see the same. Everything else has a container
//! around it: a mark, a version, the deadline, a checksum, and the value as the crate `datatypes` writes it. Whatever is not such
//! a container in every respect is a string: a client of etcd may have written anything. A string that happens to begin
//! like a container gets one.

use althing_codec::{DecodeError, Reader, Writer, checksum};
use althing_datatypes::{Content, Message as _, Value, View as _, Whole};
use bytes::Bytes;

/// How a container begins. No text does: the first byte is none of UTF-8.
const MARK: [u8; 4] = [0xff, b'a', b'k', b'v'];
/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;

/// The value in these bytes.
#[must_use]
pub fn decode(bytes: &Bytes) -> Value {
    opened(bytes).unwrap_or_else(|| {
        // A copy: the bytes are a slice of a page of the engine or of a batch of the log.
        Value::from(Whole { content: Content::String(Bytes::copy_from_slice(bytes)), deadline_ms: None })
    })
}

/// The bytes of a value; `None` if there is none.
#[must_use]
pub fn encode(value: &Value) -> Option<Bytes> {
    let Whole { content, deadline_ms } = value.whole()?;
    match content {
        Content::String(string) if deadline_ms.is_none() && !string.starts_with(&MARK) => Some(string),
        content => Some(enclosed(content, deadline_ms)),
    }
}

/// When the value in these bytes expires, in milliseconds since 1970. It looks at the beginning only, so it may name a deadline
/// of something that is no container after all; what has a deadline is never missed.
#[must_use]
pub fn deadline_ms(bytes: &Bytes) -> Option<i64> {
    header(&mut Reader::new(bytes.clone())).ok()?
}

fn enclosed(content: Content, deadline_ms: Option<i64>) -> Bytes {
    let body = Whole { content, deadline_ms: None }.encode();
    let mut writer = Writer::with_capacity(body.len() + 24);
    writer.raw(&MARK);
    writer.u8(VERSION);
    writer.bool(deadline_ms.is_some());
    if let Some(deadline_ms) = deadline_ms {
        writer.i64(deadline_ms);
    }
    writer.fixed_u32(checksum::crc32c(&body));
    writer.raw(&body);
    writer.finish()
}

fn header(reader: &mut Reader) -> Result<Option<i64>, DecodeError> {
    for expected in MARK {
        let found = reader.u8("mark")?;
        if found != expected {
            return Err(DecodeError::Unknown { field: "mark", value: u64::from(found) });
        }
    }
    let found = reader.u8("version")?;
    if found != VERSION {
        let (found, known) = (u64::from(found), u64::from(VERSION));
        return Err(DecodeError::Version { what: "a keyed value", found, known });
    }
    if reader.bool("deadline")? { reader.i64("deadline").map(Some) } else { Ok(None) }
}

fn opened(bytes: &Bytes) -> Option<Value> {
    let mut reader = Reader::new(bytes.clone());
    let deadline_ms = header(&mut reader).ok()?;
    let sum = reader.fixed_u32("checksum").ok()?;
    let body = reader.rest();
    if checksum::crc32c(&body) != sum {
        return None;
    }
    let Whole { content, deadline_ms: None } = Whole::decode(&body).ok()? else { return None };
    let value = Value::from(Whole { content, deadline_ms });
    // A collection without elements is no value.
    value.kind().map(|_| value)
}

#[cfg(test)]
mod tests;
