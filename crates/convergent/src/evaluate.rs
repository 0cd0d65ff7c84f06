//! Reads from several replicas, and what each of them lacks.
//!
//! What must stand beside a key's state so that states of several replicas can be joined? One holds a dot, another does not: the
//! dot is news to the other, or was removed there, and only what the other *knows* tells which. The dots that can be asked about
//! are those of this key, but the other replica cannot send what it knows of just these: it keeps nothing of what it has
//! removed, and does not know what the first one holds. So it sends all that it knows of the shard. As runs of numbers
//! ([`Known`]) that is one run for each actor, and one more for each gap: some fifteen bytes for each actor.
//!
//! The vector without the gaps' far side would be shorter, and wrong. A replica that has taken `a7` and misses `a6` would not
//! say that it knows `a7`; if it has also removed what `a7` wrote, a read from it and from one who still holds `a7` would show
//! it, although the removal was acknowledged.
//!
//! The joined state is that of a replica that has joined the states of all (a property test compares with one that has taken
//! all of their deltas). What it makes known beyond the dots that it holds is not about this key alone, so what a replica is
//! told to repair it is only what its state lacks, and the dots that went ([`crate::keyed::diff`]).

use althing_clock::{Coded, DotContext};
use althing_codec::{DecodeError, Reader, Writer};
use althing_crdt::Join;
use althing_datatypes::{Op, OpError, Reply};
use bytes::Bytes;

use crate::delta::{KeyDelta, Message, check_version, read_key};
use crate::keyed::{Keyed, diff};
use crate::known::Known;
use crate::text::Text;

/// The second: actors of one node share its name in what is known.
const VERSION: u8 = 2;

/// What a read from several replicas comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluated {
    /// The answer.
    pub reply: Result<Reply, OpError>,
    /// For each state, in their order: the delta that its replica lacks, if any ([`crate::Job::Join`]).
    pub missing: Vec<Option<Bytes>>,
    /// The joined state.
    pub state: Keyed,
    /// What whoever reads this has seen: for [`crate::Job::Execute`].
    pub context: DotContext,
    /// All that the replicas know together.
    pub known: Known,
}

/// Why states could not be joined.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EvaluateError {
    /// There is none.
    #[error("there is no state to be joined")]
    Nothing,
    /// One of them is no state.
    #[error("the state of the {place}-th replica does not parse: {source}")]
    State {
        /// Which, from 0.
        place: usize,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// They are states of different keys.
    #[error("the state of the {place}-th replica is of another key")]
    OtherKey {
        /// Which, from 0.
        place: usize,
    },
}

/// Evaluates a read on the join of what several replicas said.
///
/// # Errors
/// [`EvaluateError`]
pub fn evaluate(op: &Op, states: &[Bytes], now_ms: i64, seed: u64) -> Result<Evaluated, EvaluateError> {
    evaluate_on(op, states, now_ms, seed, Sight::Whole)
}

/// The same for a key of which a round has said that it holds no string: what stores still have of one is not seen.
///
/// # Errors
/// [`EvaluateError`]
pub fn evaluate_beside(op: &Op, states: &[Bytes], now_ms: i64, seed: u64) -> Result<Evaluated, EvaluateError> {
    evaluate_on(op, states, now_ms, seed, Sight::Beside)
}

/// What of a key an operation sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sight {
    Whole,
    Beside,
}

fn evaluate_on(op: &Op, states: &[Bytes], now_ms: i64, seed: u64, sight: Sight) -> Result<Evaluated, EvaluateError> {
    let answers = decode(distinct(states))?;
    let joined = join(&answers);
    let mut missing: Vec<_> = answers.iter().map(|answer| answer.missing(&joined.state)).collect();
    // Where one speaks for all, none lacks anything.
    missing.resize(states.len(), None);
    let executed = match sight {
        Sight::Whole => althing_datatypes::execute(op.clone(), &joined.state, now_ms, seed),
        Sight::Beside => {
            let beside = Keyed { text: Text::default(), ..joined.state.clone() };
            althing_datatypes::execute(op.clone(), &beside, now_ms, seed)
        }
    };
    let context = joined.known.seen_with(|visit| joined.state.dots(visit));
    let Answer { state, known, .. } = joined;
    Ok(Evaluated { reply: executed.map(|(reply, _)| reply), missing, state, context, known })
}

/// What the replica knew that has given this as its [`crate::Job::Attest`].
#[must_use]
pub fn known_of(attestation: &Bytes) -> Option<Known> {
    match Message::decode(attestation.clone()).ok()? {
        Message::Attestation(attestation) => Some(attestation.known),
        Message::Key(_) | Message::Rounds(_) | Message::Issued(_) => None,
    }
}

/// Replicas that have taken the same writes say the same, byte for byte, which is so nearly always. Then one speaks for all.
fn distinct(states: &[Bytes]) -> &[Bytes] {
    match states {
        [first, others @ ..] if others.iter().all(|other| other == first) => std::slice::from_ref(first),
        all => all,
    }
}

/// What one replica says of a key.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Answer {
    key: Bytes,
    known: Known,
    state: Keyed,
}

/// The bytes of an answer.
pub(crate) fn encode_answer(key: &[u8], known: &Known, state: &Keyed) -> Bytes {
    let mut writer = Writer::with_capacity(128);
    writer.u8(VERSION);
    writer.bytes(key);
    known.write(&mut writer);
    state.write(&mut writer);
    writer.finish()
}

impl Answer {
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        check_version(&mut reader, "a key's answer", VERSION)?;
        let key = read_key(&mut reader)?;
        let answer = Self { key, known: Known::read(&mut reader)?, state: Keyed::read(&mut reader)? };
        reader.finish()?;
        Ok(answer)
    }

    fn missing(&self, joined: &Keyed) -> Option<Bytes> {
        let delta = diff::missing(&self.state, joined)?;
        Some(KeyDelta { key: self.key.clone(), time: None, delta }.encode())
    }
}

fn decode(states: &[Bytes]) -> Result<Vec<Answer>, EvaluateError> {
    let mut answers: Vec<Answer> = Vec::with_capacity(states.len());
    for (place, state) in states.iter().enumerate() {
        let answer = Answer::decode(state.clone()).map_err(|source| EvaluateError::State { place, source })?;
        if answers.first().is_some_and(|first| first.key != answer.key) {
            return Err(EvaluateError::OtherKey { place });
        }
        answers.push(answer);
    }
    if answers.is_empty() { Err(EvaluateError::Nothing) } else { Ok(answers) }
}

fn join(answers: &[Answer]) -> Answer {
    let mut joined = answers[0].clone();
    for other in &answers[1..] {
        if other.state != joined.state {
            let mine = joined.known.among(|visit| other.state.dots(visit));
            let theirs = other.known.among(|visit| joined.state.dots(visit));
            joined.state.join(&mine, other.state.clone(), &theirs);
        }
        joined.known.join(&other.known);
    }
    joined
}
