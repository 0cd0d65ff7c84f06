//! A write by somebody who has nothing of the key: a node that is no replica, when none can be reached.
//!
//! It is the write of a replica that has just been born and knows nothing. So it replaces nothing, counts what it adds, and stands
//! beside whatever else there is; its delta may come to the replicas late, or twice, as any other. It needs an actor of its
//! own, whose events are numbered from 1 in every shard.

use althing_clock::{Actor, Hlc, Timestamp};
use althing_crdt::Seen;
use althing_datatypes::{Op, Reply};
use althing_types::{Duration, limits::MAX_KEY_BYTES};
use bytes::Bytes;

use crate::delta::KeyDelta;
use crate::insist;
use crate::job::Refusal;
use crate::keyed::Keyed;
use crate::keyed::edit::{Edited, Editor, check, next_dot};

/// What a blind write comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Blind {
    /// What its writer is told, as of a key that holds nothing.
    pub reply: Reply,
    /// What was written; nothing if nothing was to be changed of a key that holds nothing, such as by a removal.
    pub delta: Option<Bytes>,
    /// The number of the actor's last event.
    pub last: u64,
}

/// Writes to a key of which nothing is known, as an actor whose last event has the number `last`; `now_ms` is the node's wall clock, in
/// milliseconds since 1970, and `seed` decides what is random.
///
/// # Errors
/// [`Refusal`]
pub fn write_blindly(
    (actor, last): (Actor, u64),
    key: &Bytes,
    op: Op,
    now_ms: i64,
    seed: u64,
) -> Result<Blind, Refusal> {
    if key.len() > MAX_KEY_BYTES {
        return Err(Refusal::KeyTooLong { bytes: key.len(), limit: MAX_KEY_BYTES });
    }
    let mut state = Keyed::default();
    let insisted = insist::of(&op);
    let (reply, mut edits) = althing_datatypes::execute(op, &state, now_ms, seed)?;
    insist::complete(&mut edits, insisted);
    check(&state, 0, &edits, Seen::All)?;
    let mut clock = Hlc::new(Duration::ZERO, Timestamp::ZERO);
    let mut editor = Editor::new(&mut state, &mut clock, now_ms, (next_dot(actor, last), actor), None);
    edits.into_iter().for_each(|edit| editor.edit(edit));
    let Some(Edited { delta, time }) = editor.finish() else { return Ok(Blind { reply, delta: None, last }) };
    let last = delta.context.next_dot(actor).counter - 1;
    let message = KeyDelta { key: key.clone(), time, delta };
    Ok(Blind { reply, delta: Some(message.encode()), last })
}
