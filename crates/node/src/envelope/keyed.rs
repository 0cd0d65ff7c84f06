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
    /// What does the receiver know?
    Attest {
        /// Names the answer.
        name: u64,
    },
    /// What the sender knew when it was asked.
    Attested {
        /// To which question.
        name: u64,
        /// For whoever has joined every key since.
        delta: Bytes,
    },
    /// Which keys does the receiver have?
    Name {
        /// Names the answer.
        name: u64,
        /// After this one.
        after: Option<Bytes>,
    },
    /// Keys that the sender has, in their order.
    Names {
        /// To which question.
        name: u64,
        /// The keys.
        keys: Vec<Bytes>,
        /// Where to go on; `None` after the last key.
        after: Option<Bytes>,
    },
    /// The sender, who is to be a replica, has compared all keys with most of those who are.
    Filled {
        /// Nothing's name.
        name: u64,
    },
    /// What a proposer asks an acceptor.
    Round {
        /// In the bytes of `althing_paxos`.
        request: Bytes,
    },
    /// What an acceptor answers.
    Rounded {
        /// In the bytes of `althing_paxos`.
        answer: Bytes,
    },
    /// Which registers does the receiver have? The sender is a newcomer.
    Registers {
        /// The epoch in which it asks.
        name: u64,
        /// After this key.
        after: Option<Bytes>,
    },
    /// Registers that the sender has, by key.
    Copied {
        /// The epoch in which it was asked.
        name: u64,
        /// What it goes by, as a record of `althing_paxos`.
        standing: Bytes,
        /// Keys and registers.
        registers: Vec<(Bytes, Bytes)>,
        /// Where to go on; `None` after the last.
        after: Option<Bytes>,
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
        match self {
            Self::Delta { name, delta } => write(w, 0, *name, Some(delta)),
            Self::Taken { name } => write(w, 1, *name, None),
            Self::Refused { name } => write(w, 2, *name, None),
            Self::Ask { name, key } => write(w, 3, *name, Some(key)),
            Self::State { name, state } => write(w, 4, *name, Some(state)),
            Self::Attest { name } => write(w, 5, *name, None),
            Self::Attested { name, delta } => write(w, 6, *name, Some(delta)),
            Self::Name { name, after } => {
                write(w, 7, *name, None);
                write_after(w, after.as_ref());
            }
            Self::Filled { name } => write(w, 9, *name, None),
            Self::Round { request } => write(w, 10, 0, Some(request)),
            Self::Rounded { answer } => write(w, 11, 0, Some(answer)),
            Self::Registers { name, after } => {
                write(w, 12, *name, None);
                write_after(w, after.as_ref());
            }
            Self::Copied { name, standing, registers, after } => {
                write(w, 13, *name, Some(standing));
                w.u64(registers.len() as u64);
                for (key, register) in registers {
                    w.bytes(key);
                    w.bytes(register);
                }
                write_after(w, after.as_ref());
            }
            Self::Names { name, keys, after } => {
                write(w, 8, *name, None);
                w.u64(keys.len() as u64);
                keys.iter().for_each(|key| w.bytes(key));
                write_after(w, after.as_ref());
            }
        }
    }

    pub(super) fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let tag = r.u8("a message's kind")?;
        let name = r.u64("a message's name")?;
        Ok(match tag {
            0 => Self::Delta { name, delta: copied(r, "a delta")? },
            1 => Self::Taken { name },
            2 => Self::Refused { name },
            3 => Self::Ask { name, key: copied(r, "a key")? },
            4 => Self::State { name, state: copied(r, "a key's state")? },
            5 => Self::Attest { name },
            6 => Self::Attested { name, delta: copied(r, "what is known")? },
            7 => Self::Name { name, after: read_after(r)? },
            8 => {
                let count = r.count("keys")?;
                let keys = (0..count).map(|_| copied(r, "a key")).collect::<Result<_, _>>()?;
                Self::Names { name, keys, after: read_after(r)? }
            }
            9 => Self::Filled { name },
            10 => Self::Round { request: copied(r, "a request of a round")? },
            11 => Self::Rounded { answer: copied(r, "an answer of a round")? },
            12 => Self::Registers { name, after: read_after(r)? },
            13 => {
                let standing = copied(r, "what an acceptor goes by")?;
                let count = r.count("registers")?;
                let register = |_| Ok((copied(r, "a key")?, copied(r, "a register")?));
                let registers = (0..count).map(register).collect::<Result<_, DecodeError>>()?;
                Self::Copied { name, standing, registers, after: read_after(r)? }
            }
            value => return Err(DecodeError::Unknown { field: "a message's kind", value: u64::from(value) }),
        })
    }
}

fn write(w: &mut Writer, tag: u8, name: u64, bytes: Option<&Bytes>) {
    w.u8(tag);
    w.u64(name);
    if let Some(bytes) = bytes {
        w.bytes(bytes);
    }
}

/// A copy: it may be kept, and should not keep the whole frame.
fn copied(r: &mut Reader, what: &'static str) -> Result<Bytes, DecodeError> {
    r.bytes(what).map(|bytes| Bytes::copy_from_slice(&bytes))
}

fn write_after(w: &mut Writer, after: Option<&Bytes>) {
    w.bool(after.is_some());
    if let Some(after) = after {
        w.bytes(after);
    }
}

fn read_after(r: &mut Reader) -> Result<Option<Bytes>, DecodeError> {
    match r.bool("whether there is more")? {
        true => copied(r, "where to go on").map(Some),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: Vec<u8>) -> Result<KeyedMessage, DecodeError> {
        KeyedMessage::decode(&mut Reader::new(bytes))
    }

    fn message() -> impl Strategy<Value = KeyedMessage> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..5).prop_map(Bytes::from);
        let after = || prop::option::of(bytes());
        let name = any::<u64>;
        prop_oneof![
            (name(), bytes()).prop_map(|(name, delta)| KeyedMessage::Delta { name, delta }),
            name().prop_map(|name| KeyedMessage::Taken { name }),
            name().prop_map(|name| KeyedMessage::Refused { name }),
            (name(), bytes()).prop_map(|(name, key)| KeyedMessage::Ask { name, key }),
            (name(), bytes()).prop_map(|(name, state)| KeyedMessage::State { name, state }),
            name().prop_map(|name| KeyedMessage::Attest { name }),
            (name(), bytes()).prop_map(|(name, delta)| KeyedMessage::Attested { name, delta }),
            (name(), after()).prop_map(|(name, after)| KeyedMessage::Name { name, after }),
            name().prop_map(|name| KeyedMessage::Filled { name }),
            bytes().prop_map(|request| KeyedMessage::Round { request }),
            bytes().prop_map(|answer| KeyedMessage::Rounded { answer }),
            (name(), after()).prop_map(|(name, after)| KeyedMessage::Registers { name, after }),
            (name(), bytes(), prop::collection::vec((bytes(), bytes()), 0..3), after()).prop_map(
                |(name, standing, registers, after)| KeyedMessage::Copied { name, standing, registers, after }
            ),
            (name(), prop::collection::vec(bytes(), 0..4), after())
                .prop_map(|(name, keys, after)| KeyedMessage::Names { name, keys, after }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in message()) {
            let mut writer = Writer::with_capacity(64);
            message.encode(&mut writer);
            prop_assert_eq!(read(writer.finish().to_vec()), Ok(message));
        }

        #[test]
        fn hostile_bytes_are_refused_or_read(bytes: Vec<u8>) {
            let _ = read(bytes);
        }
    }
}
