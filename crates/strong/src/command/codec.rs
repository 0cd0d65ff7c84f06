//! The bytes of a command. Every tag is a byte whose meaning never changes; what is new gets a new one.
use althing_codec::DecodeError;
use bytes::Bytes;

use super::Proposal;

impl Proposal {
    /// The bytes of a log entry.
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
    /// The other way.
    pub fn decode(_data: Bytes) -> Result<Self, DecodeError> {
        unimplemented!()
    }
}
