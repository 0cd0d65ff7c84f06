//! Bytes: how values are laid out so that they sort, can be read by a later version, and are checked.
//!
//! * [`wire`]: length-checked reading and writing of numbers and byte strings; every byte read is hostile until parsed.
//! * [`ordered`]: keys that compare as bytes the way their parts compare as values.
//! * [`checksum`]: CRC32C, as every file and frame of Althing carries it.

pub mod checksum;
pub mod ordered;
pub mod wire;

pub use wire::{DecodeError, Reader, Writer};
