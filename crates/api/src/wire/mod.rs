//! The bytes in which nodes forward calls to each other and answer them (docs/formats/calls.md draws them).
//!
//! Every tag is a byte whose meaning never changes; what is new gets a new one, and is sent only when every node of the
//! cluster knows it. A reader is strict: an unknown tag, a truth that is neither 0 nor 1, bytes after the message and a count
//! beyond the bytes that are left are errors. Whatever the bytes are, reading takes no more memory than they do, times a
//! constant, and no more stack than [`MAX_TXN_DEPTH`](althing_types::limits::MAX_TXN_DEPTH) twice over. It checks form,
//! not sense: whoever serves a request checks it as if a client had sent it.
//!
//! Requests that change keys stand in the log in the same bytes ([`kv`], [`keyed`]), so `strong` uses these as well.

mod answer;
mod call;
pub mod cluster;
mod error;
pub mod found;
pub mod keyed;
pub mod kv;
mod request;
mod watch;

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::Revision;

pub use self::answer::{read_answer, write_answer};
pub use self::call::{
    decode_call, decode_result, encode_call, encode_result, read_call, read_result, write_call, write_result,
};
pub use self::error::{read_error, read_error_kind, write_error, write_error_kind};
pub use self::request::{read_request, write_request};
pub use self::watch::{read_watch_command, read_watch_event, write_watch_command, write_watch_event};

fn unknown<T>(field: &'static str, value: u8) -> Result<T, DecodeError> {
    Err(DecodeError::Unknown { field, value: u64::from(value) })
}

fn write_revision(writer: &mut Writer, revision: Revision) {
    writer.i64(revision.0);
}

fn read_revision(reader: &mut Reader) -> Result<Revision, DecodeError> {
    reader.i64("revision").map(Revision)
}

fn write_option<T>(writer: &mut Writer, value: Option<&T>, write: impl FnOnce(&mut Writer, &T)) {
    writer.bool(value.is_some());
    if let Some(value) = value {
        write(writer, value);
    }
}

fn read_option<T>(
    reader: &mut Reader,
    field: &'static str,
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if reader.bool(field)? { read(reader).map(Some) } else { Ok(None) }
}

fn write_list<T>(writer: &mut Writer, items: &[T], write: impl Fn(&mut Writer, &T)) {
    writer.u64(items.len() as u64);
    for item in items {
        write(writer, item);
    }
}

/// The list grows as its items parse: the count alone allocates nothing.
fn read_list<T>(
    reader: &mut Reader,
    field: &'static str,
    read: impl Fn(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.count(field)?;
    (0..count).map(|_| read(reader)).collect()
}

#[cfg(test)]
mod tests;
