//! What travels between replicas, and what the log holds.
//!
//! Nearly always it is the delta of one key. Besides there is the **attestation**: one replica says what it knew at some moment, for
//! whoever has since joined the state of every key that differed between the two. Only then may he say that he knows it too, and close
//! the gaps of deltas that never came.

use althing_clock::{Actor, Coded, Dot, DotContext, Timestamp};
use althing_codec::{DecodeError, Reader, Writer};
use althing_crdt::{Delta, Join};
use althing_paxos::acceptor::Record;
use althing_types::limits::MAX_KEY_BYTES;
use bytes::Bytes;

use crate::keyed::Keyed;
use crate::known::Known;

const VERSION: u8 = 1;
const KEY: u8 = 0;
const ROUNDS: u8 = 2;
const ISSUED: u8 = 3;
/// 1 were attestations that name the node of each actor.
const ATTESTATION: u8 = 4;

/// What a shard can be told.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// Something about one key.
    Key(Box<KeyDelta>),
    /// What was known elsewhere: see the module.
    Attestation(Attestation),
    /// What this replica remembers as an acceptor ([`crate::rounds`]). Only in its own log.
    Rounds(Vec<Record>),
    /// Events that were issued for a value that may never be chosen ([`crate::rounds`]). Only in this replica's own log.
    Issued(Issued),
}

/// Events that were issued for a value that may never be chosen.
#[derive(Clone, PartialEq, Debug)]
pub struct Issued {
    /// For which key.
    pub key: Bytes,
    /// Which.
    pub dots: DotContext,
}

/// Something about one key.
#[derive(Clone, PartialEq, Debug)]
pub struct KeyDelta {
    /// Which key.
    pub key: Bytes,
    /// What its writer's clock has come to, if a time was taken: the clock goes on from there after a restart.
    pub time: Option<Timestamp>,
    /// What is to be joined.
    pub delta: Delta<Keyed>,
}

/// What a replica knew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attestation {
    /// The events that it knew of.
    pub known: Known,
    /// The writes of which it had the whole effect.
    pub taken: Known,
}

impl Message {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Key(message) => message.encode(),
            Self::Attestation(message) => message.encode(),
            Self::Rounds(records) => {
                let mut writer = Writer::with_capacity(128);
                writer.u8(VERSION);
                writer.u8(ROUNDS);
                writer.u64(records.len() as u64);
                records.iter().for_each(|record| writer.bytes(&record.encode()));
                writer.finish()
            }
            Self::Issued(issued) => {
                let mut writer = Writer::with_capacity(issued.key.len() + 64);
                writer.u8(VERSION);
                writer.u8(ISSUED);
                writer.bytes(&issued.key);
                issued.dots.write(&mut writer);
                writer.finish()
            }
        }
    }

    /// From its bytes.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        check_version(&mut reader, "a delta", VERSION)?;
        let message = match reader.u8("a delta's kind")? {
            KEY => Self::Key(Box::new(KeyDelta::read(&mut reader)?)),
            ATTESTATION => {
                Self::Attestation(Attestation { known: Known::read(&mut reader)?, taken: Known::read(&mut reader)? })
            }
            ROUNDS => {
                let count = reader.count("records of an acceptor")?;
                let record = |_| Record::decode(reader.bytes("a record of an acceptor")?);
                Self::Rounds((0..count).map(record).collect::<Result<_, _>>()?)
            }
            ISSUED => Self::Issued(Issued { key: read_key(&mut reader)?, dots: DotContext::read(&mut reader)? }),
            other => return Err(DecodeError::Unknown { field: "a delta's kind", value: u64::from(other) }),
        };
        reader.finish()?;
        Ok(message)
    }

    /// The number of the last event of this actor that is in it, or 0.
    #[must_use]
    pub fn last_of(&self, actor: Actor) -> u64 {
        match self {
            Self::Key(message) => message.delta.context.next_dot(actor).counter - 1,
            Self::Attestation(message) => message.known.last(actor),
            Self::Rounds(_) | Self::Issued(_) => 0,
        }
    }
}

/// Whether a delta is a write of such an actor; not if it is none at all.
#[must_use]
pub fn is_written_by(delta: &Bytes, is_one: impl Fn(Actor) -> bool) -> bool {
    match Message::decode(delta.clone()) {
        Ok(Message::Key(message)) => has_event_of(&message.delta.writes, is_one),
        Ok(Message::Attestation(_) | Message::Rounds(_) | Message::Issued(_)) | Err(_) => false,
    }
}

/// Whether there is an event of such an actor.
pub(crate) fn has_event_of(context: &DotContext, is_one: impl Fn(Actor) -> bool) -> bool {
    context.vector().iter().any(|(actor, _)| is_one(actor)) || context.cloud().any(|dot| is_one(dot.actor))
}

impl KeyDelta {
    /// Its bytes, as a message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(self.key.len() + 96);
        writer.u8(VERSION);
        writer.u8(KEY);
        writer.bytes(&self.key);
        writer.bool(self.time.is_some());
        self.time.iter().for_each(|time| time.write(&mut writer));
        self.delta.write(&mut writer);
        writer.finish()
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let key = read_key(reader)?;
        let time = if reader.bool("whether a delta has a time")? { Some(read_time(reader)?) } else { None };
        let delta = Delta::<Keyed>::read(reader)?;
        check_dots(&delta.store, &delta.context)?;
        Ok(Self { key, time, delta })
    }
}

impl Attestation {
    /// Its bytes, as a message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(128);
        writer.u8(VERSION);
        writer.u8(ATTESTATION);
        self.known.write(&mut writer);
        self.taken.write(&mut writer);
        writer.finish()
    }
}

/// A key's name.
pub(crate) fn read_key(reader: &mut Reader) -> Result<Bytes, DecodeError> {
    let key = reader.bytes("a key")?;
    if key.len() > MAX_KEY_BYTES {
        return Err(DecodeError::Unknown { field: "the length of a key", value: key.len() as u64 });
    }
    Ok(key)
}

/// Refuses another version.
pub(crate) fn check_version(reader: &mut Reader, what: &'static str, known: u8) -> Result<(), DecodeError> {
    let found = reader.u8(what)?;
    if found == known {
        return Ok(());
    }
    Err(DecodeError::Version { what, found: u64::from(found), known: u64::from(known) })
}

/// Milliseconds above which no clock stands: the year 7544. (`althing_clock::Hlc` comes less far, whatever its wall clock says.)
const MAX_TIME_MS: u64 = (1 << 47) + (1 << 45);

/// A clock's time.
pub(crate) fn read_time(reader: &mut Reader) -> Result<Timestamp, DecodeError> {
    let time = Timestamp::read(reader)?;
    if time.physical_ms() > MAX_TIME_MS {
        return Err(DecodeError::Unknown { field: "a clock's time", value: time.bits() });
    }
    Ok(time)
}

/// Refuses a state that holds what its context does not: the dot would be held here without being known.
fn check_dots(store: &Keyed, context: &DotContext) -> Result<(), DecodeError> {
    let mut strange: Option<Dot> = None;
    store.dots(&mut |dot| {
        if !context.contains(dot) {
            strange = Some(dot);
        }
    });
    match strange {
        None => Ok(()),
        Some(dot) => Err(DecodeError::Unknown { field: "a dot outside of its delta's context", value: dot.counter }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyed::edit::{Editor, next_dot};
    use althing_clock::Hlc;
    use althing_datatypes::Edit;
    use althing_types::Duration;

    const A: Actor = Actor::new(0xa, 1);

    fn put(state: &mut Keyed, last: u64, value: &'static str) -> KeyDelta {
        let mut clock = Hlc::new(Duration::ZERO, Timestamp::ZERO);
        let mut editor = Editor::new(state, &mut clock, 5, (next_dot(A, last), A), None);
        editor.edit(Edit::PutString(Bytes::from_static(value.as_bytes())));
        let edited = editor.finish().expect("a string was put");
        KeyDelta { key: Bytes::from_static(b"k"), time: edited.time, delta: edited.delta }
    }

    #[test]
    fn the_form_is_the_one_in_the_documents() {
        let mut state = Keyed::default();
        put(&mut state, 1, "u");
        let message = put(&mut state, 2, "v");
        let time = [1, 0, 5, 0, 0, 0, 0, 0];
        let actor = [0xa, 0, 0, 0, 0, 0, 0, 0, 1];
        let drawn = [
            &[1, 0, 1, b'k', 1][..],
            &time,
            &[0, 1],
            &actor,
            &[1, 1],
            &[1],
            &[0, 1],
            &actor,
            &[2, 0, 0],
            &[1, 1, 1],
            &actor,
            &[3],
            &time,
            &[0, 1, b'v'],
        ];
        assert_eq!((message.encode().len(), &message.encode()[..]), (65, &drawn.concat()[..]));
    }

    #[test]
    fn a_dot_outside_of_the_context_is_refused() {
        let mut message = put(&mut Keyed::default(), 0, "v");
        assert!(Message::decode(message.encode()).is_ok());
        message.delta.context = DotContext::from(Dot::new(A, 2));
        message.delta.writes = message.delta.context.clone();
        assert!(Message::decode(message.encode()).is_err());
    }
}
