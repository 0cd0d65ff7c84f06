//! The bytes in which operations and answers travel between nodes: a version, and what `serde` and `postcard` make of the types.
//!
//! The order of variants and of fields is a part of the format: new variants come last, and the version goes up when anything else
//! changes.

use althing_types::limits;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Edit, Op, OpError, Reply, Whole};

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;

/// Bytes of a message of a client's making: a request with what surrounds it. Reading one takes a few times as much.
pub const MAX_OP_BYTES: usize = limits::MAX_REQUEST_BYTES + limits::MAX_REQUEST_OVERHEAD_BYTES;
/// Bytes of an answer, and of a whole key: they travel in a frame.
pub const MAX_REPLY_BYTES: usize = limits::MAX_FRAME_BYTES;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// More than is ever written.
    #[error("{0} bytes are more than an operation or an answer may have")]
    TooLong(usize),
    /// Nothing, or another version: it comes of a newer node.
    #[error("the version is not {VERSION}")]
    Version,
    /// They do not say what they should, or go on behind it.
    #[error("the bytes are damaged")]
    Damaged,
}

/// What has a form in bytes.
pub trait Message: Serialize + DeserializeOwned {
    /// The most bytes that one has.
    const MAX_BYTES: usize;

    /// The bytes of it.
    fn encode(&self) -> Bytes {
        postcard::to_allocvec(&(VERSION, self)).expect("memory takes all bytes, and all lengths are known").into()
    }

    /// Reads the bytes of one.
    ///
    /// # Errors
    /// [`CodecError`]
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(CodecError::TooLong(bytes.len()));
        }
        let Some((&VERSION, body)) = bytes.split_first() else { return Err(CodecError::Version) };
        match postcard::take_from_bytes(body) {
            Ok((message, [])) => Ok(message),
            Ok(_) | Err(_) => Err(CodecError::Damaged),
        }
    }
}

impl Message for Op {
    const MAX_BYTES: usize = MAX_OP_BYTES;
}

impl Message for Reply {
    const MAX_BYTES: usize = MAX_REPLY_BYTES;
}

/// What comes back to whoever has sent an operation.
impl Message for Result<Reply, OpError> {
    const MAX_BYTES: usize = MAX_REPLY_BYTES;
}

impl Message for Vec<Edit> {
    const MAX_BYTES: usize = MAX_REPLY_BYTES;
}

impl Message for Whole {
    const MAX_BYTES: usize = MAX_REPLY_BYTES;
}

#[cfg(test)]
mod tests;
