//! Sketches inside of what `serde` writes: as the bytes that they have everywhere else.

use althing_clock::Coded;
use althing_crdt::Hll;
use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a sketch as a byte string.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(sketch: &Hll, serializer: S) -> Result<S::Ok, S::Error> {
    sketch.encode().serialize(serializer)
}

/// Reads a sketch from a byte string.
///
/// # Errors
/// What is not a sketch.
pub fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Hll, D::Error> {
    Hll::decode(Bytes::deserialize(deserializer)?).map_err(D::Error::custom)
}
