//! RESP, the protocol that Redis and its clients speak: what a client says ([`request`]) and what it is told
//! ([`value`], [`write`]). The document is "Redis serialization protocol specification", versions 2 and 3.
//!
//! A client only ever sends an array of bulk strings, or a line of words ("inline command"). So the reader is a small
//! machine for just that. General decoders of RESP read any value at any depth, by recursion and from the start again
//! whenever a byte was missing: a megabyte of `*1\r\n` ends the process that uses one on bytes from outside. Such a
//! decoder (the crate `redis-protocol`) judges in this crate's tests what is written here.

pub mod number;
pub mod request;
pub mod value;
mod write;

pub use request::{Limits, ProtocolError, Reader};
pub use value::Value;
pub use write::{Protocol, write};
