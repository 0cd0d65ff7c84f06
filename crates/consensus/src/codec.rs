//! Messages as bytes.

use althing_codec::{DecodeError, Reader, Writer};

use crate::message::Message;

impl Message {
    /// Writes the message.
    pub fn encode(&self, _writer: &mut Writer) {
        todo!()
    }

    /// Reads a message.
    pub fn decode(_reader: &mut Reader) -> Result<Self, DecodeError> {
        todo!()
    }
}
