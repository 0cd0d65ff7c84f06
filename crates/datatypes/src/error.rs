use serde::{Deserialize, Serialize};

/// Why an operation was not done. Nothing has changed then. Each has the text of Redis 7.0 without its prefix `ERR`, where it is
/// the whole text; the rest is the gateway's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum OpError {
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// The key is not a HyperLogLog, but a string.
    #[error("WRONGTYPE Key is not a valid HyperLogLog string value.")]
    NotASketch,
    /// The string is no number of 64 bits.
    #[error("value is not an integer or out of range")]
    NotAnInteger,
    /// The field is no number of 64 bits.
    #[error("hash value is not an integer")]
    FieldNotAnInteger,
    /// The string is no number.
    #[error("value is not a valid float")]
    NotAFloat,
    /// The field is no number.
    #[error("hash value is not a float")]
    FieldNotAFloat,
    /// The sum does not fit into 64 bits.
    #[error("increment or decrement would overflow")]
    Overflow,
    /// The sum is not finite.
    #[error("increment would produce NaN or Infinity")]
    NotFinite,
    /// A score would be infinity less infinity.
    #[error("resulting score is not a number (NaN)")]
    ScoreNotANumber,
    /// What HINCRBYFLOAT is to add is not finite.
    #[error("value is NaN or Infinity")]
    InfiniteSent,
    /// A score or a bound that was sent is not a number.
    #[error("value is not a valid float")]
    NanSent,
    /// The string would be longer than [`crate::MAX_STRING_BYTES`].
    #[error("string exceeds maximum allowed size (proto-max-bulk-len)")]
    TooLong,
    /// A bit beyond [`crate::MAX_STRING_BYTES`].
    #[error("bit offset is not an integer or out of range")]
    BitOffset,
    /// More random elements than [`crate::MAX_RANDOM`].
    #[error("value is out of range")]
    OutOfRange,
    /// A deadline that cannot be. The gateway adds `in 'set' command`.
    #[error("invalid expire time")]
    InvalidExpire,
    /// RESTORE without REPLACE where a key is.
    #[error("BUSYKEY Target key name already exists.")]
    BusyKey,
    /// What was to be restored is no payload of DUMP, or a damaged one.
    #[error("DUMP payload version or checksum are wrong")]
    BadPayload,
    /// How often a key was used is not kept.
    #[error(
        "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
    )]
    NoFrequency,
}
