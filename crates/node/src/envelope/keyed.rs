//! What replicas of a convergent shard say to each other.

use althing_codec::{DecodeError, Reader, Writer};
use bytes::Bytes;

/// One message. Names are given by whoever begins; answers repeat them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyedMessage {
    /// Join this, and say so when it is durable.
    Delta {
        /// Names the answer.
        name: u64,
        /// The delta.
        delta: Bytes,
    },
    /// A delta is durable at the sender.
    Taken {
        /// Which.
        name: u64,
    },
    /// A delta will never be joined by the sender: it does not understand it.
    Refused {
        /// Which.
        name: u64,
    },
    /// What does the receiver have of a key?
    Ask {
        /// Names the answer.
        name: u64,
        /// The key.
        key: Bytes,
    },
    /// What the sender has of it.
    State {
        /// To which question.
        name: u64,
        /// The key's state.
        state: Bytes,
    },
}

impl KeyedMessage {
    pub(super) fn encode(&self, w: &mut Writer) {
        let (tag, name, bytes) = match self {
            Self::Delta { name, delta } => (0, name, Some(delta)),
            Self::Taken { name } => (1, name, None),
            Self::Refused { name } => (2, name, None),
            Self::Ask { name, key } => (3, name, Some(key)),
            Self::State { name, state } => (4, name, Some(state)),
        };
        w.u8(tag);
        w.u64(*name);
        if let Some(bytes) = bytes {
            w.bytes(bytes);
        }
    }

    pub(super) fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let tag = r.u8("a message's kind")?;
        let name = r.u64("a message's name")?;
        // Copies: they may be kept, and should not keep the whole frame.
        let mut bytes = |what| r.bytes(what).map(|bytes| Bytes::copy_from_slice(&bytes));
        Ok(match tag {
            0 => Self::Delta { name, delta: bytes("a delta")? },
            1 => Self::Taken { name },
            2 => Self::Refused { name },
            3 => Self::Ask { name, key: bytes("a key")? },
            4 => Self::State { name, state: bytes("a key's state")? },
            value => return Err(DecodeError::Unknown { field: "a message's kind", value: u64::from(value) }),
        })
    }
}
