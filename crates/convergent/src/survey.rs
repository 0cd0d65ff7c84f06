//! How one replica repairs itself from another, and the other from itself: what they compare, send and join.
//!
//! ```text
//!   asks                                               answers
//!   Plant: the tree counts all keys                    (Plant)
//!                                                      Attest: what it knows
//!   Compare::Begin ──── question ────────────────────▶ Respond
//!   Compare::Go ◀─────────────────────── answer ──────
//!     wants: keys that differ ───────────────────────▶ States
//!   Mend ◀──────────────── states, what is known ─────
//!     joined here; what is lacking there ────────────▶ Join
//!   Finish: what it knew is known here
//! ```
//!
//! A state says nothing of what was removed, so what the other *knows* comes first ([`Job::Attest`]) and is joined last, when every key
//! has been compared since: whatever it knew, and does not hold now, was removed. One thing could make that untrue. A delta
//! that was on its way for long may come between a key's comparison and the end, and bring what the other has removed, which would
//! then be held here as known for ever. So the shard notes which keys have got events meanwhile that the other had known, and they
//! are compared once more.
//!
//! [`Job::Attest`]: crate::Job::Attest

use std::collections::BTreeSet;

use althing_clock::Coded;
use althing_codec::{DecodeError, Reader, Writer};
use althing_crdt::{Delta, Join};
use althing_merkle::Session;
use bytes::Bytes;

use crate::delta::{Attestation, check_version, read_key};
use crate::job::JoinError;
use crate::keyed::{Keyed, diff};
use crate::known::Known;

pub use althing_merkle::Progress;

/// Bytes of a question, about: the entries that it lists are read between two turns of the shard.
pub(crate) const QUESTION_BYTES: usize = 16 * 1024;
/// Entries that are read for one answer.
pub(crate) const ANSWER_ENTRIES: usize = 2_048;
/// Keys that may get old news while they are compared. With more the comparison is begun anew.
const MAX_SUSPECTS: usize = 4_096;
/// Bytes of states in one message, beside the state that goes beyond: one state fits a frame in any case.
pub(crate) const STATES_BYTES: usize = 1024 * 1024;
/// Keys that may be wanted at once.
pub const MAX_WANTS: usize = 256;

const VERSION: u8 = 1;
/// Of states: in the second, actors of one node share its name in what is known.
const STATES_VERSION: u8 = 2;
const KEY: u8 = 0;
const POSITION: u8 = 1;

/// What is wanted of another replica.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Want {
    /// The state of this key, whether or not there is anything.
    Key(Bytes),
    /// The states of all keys that lie at this position, whose names only the other knows.
    At(u64),
}

/// What a comparison wants next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compared {
    /// The tree does not count all keys yet: [`crate::Job::Plant`] first.
    Unready,
    /// This is to be asked; meanwhile these keys are wanted, since they differ.
    Question {
        /// For [`crate::Job::Respond`] of the other.
        question: Bytes,
        /// What differs, as far as it is known.
        wants: Vec<Want>,
        /// Keys that these are: one that both have is wanted twice.
        found: u64,
        /// How far the comparison is.
        progress: Progress,
    },
    /// Everything is compared.
    Over {
        /// What differs, besides what was said before.
        wants: Vec<Want>,
        /// Keys that these are: one that both have is wanted twice.
        found: u64,
        /// How far it has come: to the end.
        progress: Progress,
    },
    /// It was an answer of before: nothing has changed.
    Stale,
    /// The answer does not fit, or there is no comparison: begin anew.
    Broken,
}

/// Whether a comparison is at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finished {
    /// What the other knew is known here; to be logged if it was news.
    Known(Option<Bytes>),
    /// These have got old news meanwhile, and are to be compared once more.
    Again(Vec<Want>),
    /// Too many have, or there is no comparison: begin anew.
    Broken,
}

/// A comparison that is under way.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) session: Session,
    /// What the other knew when it began.
    pub(crate) attested: Attestation,
    /// Keys that have got old news since.
    suspects: BTreeSet<Bytes>,
}

impl Survey {
    pub(crate) const fn new(session: Session, attested: Attestation) -> Self {
        Self { session, attested, suspects: BTreeSet::new() }
    }

    /// A delta has come: does it bring events that are news here, and were known to the other when it began?
    pub(crate) fn note(&mut self, key: &Bytes, store: &Keyed, known: &Known) {
        let mut is_old_news = false;
        store.dots(&mut |dot| is_old_news |= self.attested.known.contains(dot) && !known.contains(dot));
        if is_old_news && self.suspects.len() <= MAX_SUSPECTS {
            self.suspects.insert(key.clone());
        }
    }

    /// A key was compared as it is now.
    pub(crate) fn cleared(&mut self, key: &Bytes) {
        self.suspects.remove(key);
    }

    /// Keys to be compared once more; `None` if there are too many.
    pub(crate) fn again(&self) -> Option<Vec<Want>> {
        let is_overrun = self.suspects.len() > MAX_SUSPECTS;
        (!is_overrun).then(|| self.suspects.iter().cloned().map(Want::Key).collect())
    }
}

/// What a replica has of some keys.
#[derive(Debug)]
pub(crate) struct States {
    /// What it knows.
    pub(crate) known: Known,
    /// The keys.
    pub(crate) states: Vec<(Bytes, Keyed)>,
}

/// The bytes of states.
pub(crate) struct StatesWriter {
    known: Writer,
    states: Writer,
    count: u64,
}

impl StatesWriter {
    pub(crate) fn new(known: &Known) -> Self {
        let mut writer = Writer::default();
        known.write(&mut writer);
        Self { known: writer, states: Writer::default(), count: 0 }
    }

    pub(crate) fn push(&mut self, key: &[u8], state: &Keyed) {
        self.count += 1;
        self.states.bytes(key);
        state.write(&mut self.states);
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn finish(self) -> Bytes {
        let mut writer = Writer::with_capacity(self.known.len() + self.states.len() + 16);
        writer.u8(STATES_VERSION);
        writer.raw(&self.known.finish());
        writer.u64(self.count);
        writer.raw(&self.states.finish());
        writer.finish()
    }
}

impl States {
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        check_version(&mut reader, "states of keys", STATES_VERSION)?;
        let known = Known::read(&mut reader)?;
        let count = reader.count("states of keys")?;
        let mut states = Vec::new();
        for _ in 0..count {
            states.push((read_key(&mut reader)?, Keyed::read(&mut reader)?));
        }
        reader.finish()?;
        Ok(Self { known, states })
    }
}

/// What two replicas lack of each other's states of a key: the first one of the second one's, and the other way round.
pub(crate) fn lacking(own: (&Known, &Keyed), theirs: (&Known, &Keyed)) -> (Option<Delta<Keyed>>, Option<Delta<Keyed>>) {
    if own.1 == theirs.1 {
        return (None, None);
    }
    let mine = own.0.among(|visit| theirs.1.dots(visit));
    let others = theirs.0.among(|visit| own.1.dots(visit));
    let mut joined = own.1.clone();
    joined.join(&mine, theirs.1.clone(), &others);
    (diff::missing(own.1, &joined), diff::missing(theirs.1, &joined))
}

/// The bytes of what is wanted.
#[must_use]
pub fn encode_wants(wants: &[Want]) -> Bytes {
    let mut writer = Writer::with_capacity(wants.len() * 24 + 4);
    writer.u8(VERSION);
    writer.u64(wants.len() as u64);
    for want in wants {
        match want {
            Want::Key(key) => {
                writer.u8(KEY);
                writer.bytes(key);
            }
            Want::At(position) => {
                writer.u8(POSITION);
                writer.fixed_u64(*position);
            }
        }
    }
    writer.finish()
}

/// What is wanted, from its bytes.
///
/// # Errors
/// [`DecodeError`], also of more than [`MAX_WANTS`].
pub(crate) fn decode_wants(bytes: Bytes) -> Result<Vec<Want>, DecodeError> {
    let mut reader = Reader::new(bytes);
    check_version(&mut reader, "wanted keys", VERSION)?;
    let count = reader.count("wanted keys")?;
    if count > MAX_WANTS {
        return Err(DecodeError::Unknown { field: "wanted keys", value: count as u64 });
    }
    let mut wants = Vec::with_capacity(count);
    for _ in 0..count {
        wants.push(match reader.u8("what is wanted")? {
            KEY => Want::Key(read_key(&mut reader)?),
            POSITION => Want::At(reader.fixed_u64("a position")?),
            other => return Err(DecodeError::Unknown { field: "what is wanted", value: u64::from(other) }),
        });
    }
    reader.finish()?;
    Ok(wants)
}

/// What came of states that were joined.
#[derive(Clone, PartialEq, Debug)]
pub struct Mended {
    /// Keys that were compared.
    pub keys: u64,
    /// Those of which this replica lacked something.
    pub joined: u64,
    /// Those of which one of the two did, or both.
    pub mended: u64,
    /// What the other lacks ([`crate::Job::Join`]).
    pub lacking: Vec<Bytes>,
    /// Whether all of it is known here now.
    pub result: Result<(), JoinError>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn want() -> impl Strategy<Value = Want> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..6).prop_map(|key| Want::Key(key.into())),
            any::<u64>().prop_map(Want::At),
        ]
    }

    proptest! {
        #[test]
        fn wants_come_back_as_they_were(wants in proptest::collection::vec(want(), 0..20)) {
            prop_assert_eq!(decode_wants(encode_wants(&wants)), Ok(wants));
        }

        #[test]
        fn hostile_wants_and_states_are_refused(bytes: Vec<u8>) {
            let _ = decode_wants(bytes.clone().into());
            let _ = States::decode(bytes.into());
        }
    }
}
