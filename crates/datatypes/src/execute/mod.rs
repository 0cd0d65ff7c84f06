//! What an operation answers, and what it changes.

use crate::{Edit, Op, OpError, Reply, View};

/// An answer, and the edits that make it true.
pub type Outcome = Result<(Reply, Vec<Edit>), OpError>;

/// Executes an operation on what is seen of its key: what Redis 7.0 would answer, and what is to change for that. Nothing is
/// changed by this itself. A key whose deadline has come is not there.
///
/// `now_ms` is the time in milliseconds since 1970; `rng_seed` decides what is random, and nothing else does.
///
/// # Errors
/// [`OpError`]; nothing is to be changed then.
pub fn execute(op: Op, view: &impl View, now_ms: i64, rng_seed: u64) -> Outcome {
    let _ = (op, view, now_ms, rng_seed);
    Ok((Reply::Nil, Vec::new()))
}
