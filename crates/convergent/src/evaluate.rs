//! Reads from several replicas.

use althing_codec::DecodeError;
use althing_datatypes::{Op, OpError, Reply};
use bytes::Bytes;

/// What a read from several replicas comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluated {
    /// The answer.
    pub reply: Result<Reply, OpError>,
    /// For each state, in their order: the delta that its replica lacks, if any ([`crate::Job::Join`]).
    pub missing: Vec<Option<Bytes>>,
}

/// Why states could not be joined.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EvaluateError {
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
    let _ = (op, states, now_ms, seed);
    unimplemented!()
}

/// For each state the delta that its replica lacks, if any.
///
/// # Errors
/// [`EvaluateError`]
pub fn repair(states: &[Bytes]) -> Result<Vec<Option<Bytes>>, EvaluateError> {
    let _ = states;
    unimplemented!()
}

/// The delta that says: whoever joins this has joined the state of every key as a replica held it that knew all that `state` (of any key) says.
///
/// # Errors
/// [`EvaluateError`]
pub fn attest(state: &Bytes) -> Result<Bytes, EvaluateError> {
    let _ = state;
    unimplemented!()
}
