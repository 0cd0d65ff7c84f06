//! What replicas of a convergent shard say to each other.

use althing_codec::{DecodeError, Reader, Writer};
use bytes::Bytes;

/// Bytes of a message without what it carries: its group, kind, name and a length.
const MESSAGE_BYTES: u64 = 16;

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
        /// The last change of the shard's configuration that may be in the sender's Raft log, by its index.
        conf: u64,
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
        /// How far the sender had applied the Raft log when it was asked.
        applied: u64,
        /// For whoever has joined every key since.
        delta: Bytes,
    },
    /// In what do the hash trees differ?
    Compare {
        /// Names the answer.
        name: u64,
        /// The question.
        question: Bytes,
    },
    /// In this.
    Differs {
        /// To which question.
        name: u64,
        /// The answer.
        answer: Bytes,
    },
    /// What does the receiver have of these keys?
    Want {
        /// Names the answer.
        name: u64,
        /// The keys.
        wants: Bytes,
    },
    /// This.
    States {
        /// To which question.
        name: u64,
        /// Of so many of the first that were wanted.
        answered: u64,
        /// The states.
        states: Bytes,
    },
    /// The sender has compared all keys with most of the voters: since it is a learner, or since it has applied that the
    /// configuration is joint.
    Filled {
        /// Nothing's name.
        name: u64,
        /// As what.
        standing: Standing,
    },
    /// To `Attest`: the sender has no replica of the shard.
    Absent {
        /// To which question.
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
        /// As in [`Self::Taken`].
        conf: u64,
        /// The key's state.
        state: Bytes,
    },
}

/// As what a replica has compared all keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// It gets the log, and no vote yet.
    Learner,
    /// It votes in the configuration that a joint one leads to.
    Incoming,
}

impl KeyedMessage {
    /// Its name.
    const fn name(&self) -> u64 {
        match self {
            Self::Delta { name, .. }
            | Self::Taken { name, .. }
            | Self::Refused { name }
            | Self::Ask { name, .. }
            | Self::State { name, .. }
            | Self::Attest { name }
            | Self::Attested { name, .. }
            | Self::Compare { name, .. }
            | Self::Differs { name, .. }
            | Self::Want { name, .. }
            | Self::States { name, .. }
            | Self::Registers { name, .. }
            | Self::Copied { name, .. }
            | Self::Absent { name }
            | Self::Filled { name, .. } => *name,
            // They have names of their own in their bytes.
            Self::Round { .. } | Self::Rounded { .. } => 0,
        }
    }

    /// Whether another message answers it.
    #[must_use]
    pub const fn is_answered_by(&self, other: &Self) -> bool {
        let fits = matches!(
            (self, other),
            (Self::Delta { .. }, Self::Taken { .. } | Self::Refused { .. })
                | (Self::Ask { .. }, Self::State { .. })
                | (Self::Attest { .. }, Self::Attested { .. } | Self::Absent { .. })
                | (Self::Compare { .. }, Self::Differs { .. })
                | (Self::Want { .. }, Self::States { .. })
        );
        fits && self.name() == other.name()
    }

    /// Bytes that it takes in a frame, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let carried = match self {
            Self::Delta { delta: bytes, .. }
            | Self::Ask { key: bytes, .. }
            | Self::State { state: bytes, .. }
            | Self::Attested { delta: bytes, .. }
            | Self::Compare { question: bytes, .. }
            | Self::Differs { answer: bytes, .. }
            | Self::Want { wants: bytes, .. }
            | Self::Round { request: bytes }
            | Self::Rounded { answer: bytes }
            | Self::States { states: bytes, .. } => bytes.len(),
            Self::Copied { registers, .. } => registers.iter().map(|(key, register)| key.len() + register.len()).sum(),
            Self::Taken { .. }
            | Self::Refused { .. }
            | Self::Attest { .. }
            | Self::Absent { .. }
            | Self::Registers { .. }
            | Self::Filled { .. } => 0,
        };
        MESSAGE_BYTES + carried as u64
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        match self {
            Self::Delta { name, delta } => write(w, 0, *name, Some(delta)),
            Self::Taken { name, conf } => {
                write(w, 1, *name, None);
                w.u64(*conf);
            }
            Self::Refused { name } => write(w, 2, *name, None),
            Self::Ask { name, key } => write(w, 3, *name, Some(key)),
            Self::State { name, conf, state } => {
                write(w, 4, *name, Some(state));
                w.u64(*conf);
            }
            Self::Round { request } => write(w, 20, 0, Some(request)),
            Self::Rounded { answer } => write(w, 21, 0, Some(answer)),
            Self::Registers { name, after } => {
                write(w, 22, *name, None);
                write_after(w, after.as_ref());
            }
            Self::Copied { name, standing, registers, after } => {
                write(w, 23, *name, Some(standing));
                w.u64(registers.len() as u64);
                for (key, register) in registers {
                    w.bytes(key);
                    w.bytes(register);
                }
                write_after(w, after.as_ref());
            }
            Self::Attest { name } => write(w, 5, *name, None),
            Self::Absent { name } => write(w, 14, *name, None),
            Self::Attested { name, applied, delta } => {
                write(w, 6, *name, Some(delta));
                w.u64(*applied);
            }
            Self::Filled { name, standing } => {
                write(w, 9, *name, None);
                w.u8(match standing {
                    Standing::Learner => 0,
                    Standing::Incoming => 1,
                });
            }
            Self::Compare { name, question } => write(w, 10, *name, Some(question)),
            Self::Differs { name, answer } => write(w, 11, *name, Some(answer)),
            Self::Want { name, wants } => write(w, 12, *name, Some(wants)),
            Self::States { name, answered, states } => {
                write(w, 13, *name, Some(states));
                w.u64(*answered);
            }
        }
    }

    pub(super) fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let tag = r.u8("a message's kind")?;
        let name = r.u64("a message's name")?;
        Ok(match tag {
            0 => Self::Delta { name, delta: copied(r, "a delta")? },
            1 => Self::Taken { name, conf: read_conf(r)? },
            2 => Self::Refused { name },
            3 => Self::Ask { name, key: copied(r, "a key")? },
            4 => Self::State { name, state: copied(r, "a key's state")?, conf: read_conf(r)? },
            5 => Self::Attest { name },
            6 => {
                Self::Attested { name, delta: copied(r, "what is known")?, applied: r.u64("how far a log is applied")? }
            }
            9 => Self::Filled { name, standing: read_standing(r)? },
            10 => Self::Compare { name, question: copied(r, "a question")? },
            11 => Self::Differs { name, answer: copied(r, "an answer")? },
            12 => Self::Want { name, wants: copied(r, "wanted keys")? },
            13 => {
                Self::States { name, states: copied(r, "states of keys")?, answered: r.u64("how many are answered")? }
            }
            14 => Self::Absent { name },
            20 => Self::Round { request: copied(r, "a request of a round")? },
            21 => Self::Rounded { answer: copied(r, "an answer of a round")? },
            22 => Self::Registers { name, after: read_after(r)? },
            23 => {
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

fn read_conf(r: &mut Reader) -> Result<u64, DecodeError> {
    r.u64("the index of a configuration")
}

fn read_standing(r: &mut Reader) -> Result<Standing, DecodeError> {
    match r.u8("as what it was compared")? {
        0 => Ok(Standing::Learner),
        1 => Ok(Standing::Incoming),
        value => Err(DecodeError::Unknown { field: "as what it was compared", value: u64::from(value) }),
    }
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
        let standing = || prop_oneof![Just(Standing::Learner), Just(Standing::Incoming)];
        let name = any::<u64>;
        prop_oneof![
            (name(), bytes()).prop_map(|(name, delta)| KeyedMessage::Delta { name, delta }),
            (name(), name()).prop_map(|(name, conf)| KeyedMessage::Taken { name, conf }),
            name().prop_map(|name| KeyedMessage::Refused { name }),
            (name(), bytes()).prop_map(|(name, key)| KeyedMessage::Ask { name, key }),
            (name(), name(), bytes()).prop_map(|(name, conf, state)| KeyedMessage::State { name, conf, state }),
            name().prop_map(|name| KeyedMessage::Attest { name }),
            (name(), name(), bytes()).prop_map(|(name, applied, delta)| KeyedMessage::Attested {
                name,
                applied,
                delta
            }),
            (name(), bytes()).prop_map(|(name, question)| KeyedMessage::Compare { name, question }),
            (name(), bytes()).prop_map(|(name, answer)| KeyedMessage::Differs { name, answer }),
            (name(), bytes()).prop_map(|(name, wants)| KeyedMessage::Want { name, wants }),
            (name(), name(), bytes()).prop_map(|(name, answered, states)| KeyedMessage::States {
                name,
                answered,
                states
            }),
            (name(), standing()).prop_map(|(name, standing)| KeyedMessage::Filled { name, standing }),
            name().prop_map(|name| KeyedMessage::Absent { name }),
            bytes().prop_map(|request| KeyedMessage::Round { request }),
            bytes().prop_map(|answer| KeyedMessage::Rounded { answer }),
            (name(), prop::option::of(bytes())).prop_map(|(name, after)| KeyedMessage::Registers { name, after }),
            (name(), bytes(), prop::collection::vec((bytes(), bytes()), 0..3), prop::option::of(bytes())).prop_map(
                |(name, standing, registers, after)| KeyedMessage::Copied { name, standing, registers, after }
            ),
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
