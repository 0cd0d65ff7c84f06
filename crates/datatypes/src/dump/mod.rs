//! Payloads of DUMP: a value that can be carried to another key, table or cluster.
//!
//! ```text
//! "ALTHDUMP"  version (1 byte)  content (postcard)  CRC32C of all before (4 bytes, little-endian)
//! ```
//!
//! Payloads of Redis are another format. Of these, strings are understood (`rdb`), which are what most tools carry over.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Content, Value, Whole};

mod rdb;

const MAGIC: &[u8] = b"ALTHDUMP";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// The payload of a value.
#[must_use]
pub fn write(content: &Content) -> Bytes {
    let body = postcard::to_allocvec(content).expect("memory takes all bytes, and all lengths are known");
    let mut payload = BytesMut::with_capacity(MAGIC.len() + 1 + body.len() + CHECKSUM_BYTES);
    payload.put_slice(MAGIC);
    payload.put_u8(VERSION);
    payload.put_slice(&body);
    payload.put_u32_le(crc32c::crc32c(&payload));
    payload.freeze()
}

/// The value of a payload; none if it is damaged, of another version, or of something else.
#[must_use]
pub fn read(payload: &[u8]) -> Option<Content> {
    if payload.starts_with(MAGIC) { read_own(payload) } else { rdb::string(payload).map(Content::String) }
}

fn read_own(payload: &[u8]) -> Option<Content> {
    let (signed, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
    let body = signed.strip_prefix(MAGIC)?.strip_prefix(&[VERSION])?;
    if crc32c::crc32c(signed) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (content, rest) = postcard::take_from_bytes::<Content>(body).ok()?;
    // A checksum keeps no one from sending what DUMP never wrote.
    let is_sound = rest.is_empty() && content.is_sound();
    let value = Value::from(Whole { content, deadline_ms: None });
    value.whole().filter(|_| is_sound).map(|whole| whole.content)
}
