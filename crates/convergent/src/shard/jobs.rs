//! Jobs about one key, and about what is known.

use std::collections::BTreeSet;

use althing_clock::DotContext;
use althing_crdt::{Join, Seen};
use althing_datatypes::{Edit, Op, Reply};
use althing_types::limits::MAX_KEY_BYTES;
use bytes::Bytes;

use super::{Shard, own};
use crate::delta::{Attestation, KeyDelta, Message};
use crate::error::ConvergentError;
use crate::evaluate::encode_answer;
use crate::insist;
use crate::job::{Job, JoinError, Leaves, Outcome, Refusal};
use crate::keyed::edit::{Editor, adds, check};
use crate::known::MAX_GAPS;
use crate::names::is_of_rounds;

/// What has come of an operation: the answer, and the delta if something has changed.
type Executed = (Result<Reply, Refusal>, Option<(Bytes, Leaves)>);

impl Shard {
    /// Runs one job.
    pub(super) fn run(&mut self, job: Job, out: &mut Vec<Outcome>) -> Result<(), ConvergentError> {
        let outcome = match job {
            Job::Execute { ticket, key, op, seen, now_ms, seed } => {
                let (reply, written) = self.execute(&key, op, seen.as_ref(), now_ms, seed)?;
                let (delta, leaves) = match written {
                    Some((delta, leaves)) => (Some(delta), leaves),
                    None => (None, Leaves::OnceDurable),
                };
                Outcome::Executed { ticket, index: self.index, reply, delta, leaves }
            }
            Job::Join { ticket, delta } => {
                let (result, logged) = match self.join(&delta)? {
                    Ok(News::Some) => (Ok(()), Some(delta)),
                    Ok(News::None) => (Ok(()), None),
                    Err(error) => (Err(error), None),
                };
                Outcome::Joined { ticket, index: self.index, logged, result }
            }
            Job::Read { ticket, key } => {
                let place = self.place(&key)?;
                let state = encode_answer(&key, &self.head.known, &self.cache.slot(place).state);
                Outcome::State { ticket, index: self.index, state }
            }
            Job::Plant { ticket, budget } => {
                let rest = self.plant(budget)?;
                Outcome::Planted { ticket, index: self.index, rest }
            }
            Job::Compare { ticket, step } => {
                let compared = self.compare(step)?;
                Outcome::Compared { ticket, index: self.index, compared }
            }
            Job::Respond { ticket, question } => {
                let answer = self.respond(&question)?;
                Outcome::Responded { ticket, index: self.index, answer }
            }
            Job::States { ticket, wants } => {
                let (states, answered) = self.states(&wants)?;
                Outcome::States { ticket, index: self.index, states, answered }
            }
            Job::Mend { ticket, states } => {
                let mended = self.mend(ticket, &states, out)?;
                Outcome::Mended { ticket, index: self.index, mended }
            }
            Job::Finish { ticket } => {
                let finished = self.finish()?;
                Outcome::Finished { ticket, index: self.index, finished }
            }
            Job::Attest { ticket } => {
                let (known, taken) = (self.head.known.clone(), self.head.taken.clone());
                let delta = Attestation { known, taken }.encode();
                Outcome::Attested { ticket, index: self.index, delta }
            }
            Job::Scan { ticket, request } => {
                let page = self.scan(&request)?;
                Outcome::Page { ticket, index: self.index, page }
            }
            Job::Flush { ticket, after, budget, now_ms } => {
                let next = self.flush(ticket, after.as_ref(), budget, now_ms, out)?;
                Outcome::Flushed { ticket, index: self.index, next }
            }
            Job::Rounds { ticket, task } => {
                let (logged, told) = self.do_task(task)?;
                Outcome::Rounds { ticket, index: self.index, logged, told }
            }
            Job::Tend { ticket, now_ms, budget } => {
                let rest = self.tend(ticket, now_ms, budget, out)?;
                Outcome::Tended { ticket, index: self.index, rest }
            }
        };
        out.push(outcome);
        Ok(())
    }

    fn execute(
        &mut self,
        key: &Bytes,
        op: Op,
        seen: Option<&DotContext>,
        now_ms: i64,
        seed: u64,
    ) -> Result<Executed, ConvergentError> {
        if key.len() > MAX_KEY_BYTES {
            return Ok((Err(Refusal::KeyTooLong { bytes: key.len(), limit: MAX_KEY_BYTES }), None));
        }
        let insisted = insist::of(&op);
        let place = self.place(key)?;
        let slot = self.cache.slot(place);
        let (reply, mut edits) = match althing_datatypes::execute(op, &slot.state, now_ms, seed) {
            Ok(outcome) => outcome,
            Err(error) => return Ok((Err(error.into()), None)),
        };
        insist::complete(&mut edits, insisted);
        if edits.is_empty() {
            return Ok((Ok(reply), None));
        }
        if slot.state.shows().is_none() && !slot.state.is_bottom() && edits[0] != Edit::Delete {
            // What nothing is shown of may have a deadline left, which a new key must not inherit.
            edits.insert(0, Edit::Delete);
        }
        if let Err(refusal) = check(&slot.state, slot.bytes, &edits, seen.map_or(Seen::All, Seen::Context)) {
            return Ok((Err(refusal), None));
        }
        let actor = match (self.passing, edits.iter().any(adds)) {
            (Some(passing), false) => passing,
            (Some(_), true) | (None, _) => self.lasting,
        };
        let edit = |editor: &mut Editor<'_>| edits.into_iter().for_each(|edit| editor.edit(edit));
        let written = self.edit(place, now_ms, actor, seen, edit);
        Ok((Ok(reply), written))
    }

    pub(super) fn join(&mut self, delta: &Bytes) -> Result<Result<News, JoinError>, ConvergentError> {
        let bytes = delta.len();
        let message = match Message::decode(own(delta)) {
            Ok(message) => message,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(error) = self.check(&message) {
            return Ok(Err(error));
        }
        if self.has(&message)? {
            return Ok(Ok(News::None));
        }
        self.take(message, bytes)?;
        Ok(Ok(News::Some))
    }

    fn check(&self, message: &Message) -> Result<(), JoinError> {
        for actor in self.own_names() {
            let (counter, known) = (message.last_of(actor), self.head.known.last(actor));
            if counter > known {
                return Err(JoinError::UnknownOwnEvent { counter, known });
            }
        }
        let (counter, issued) = (message.last_of(self.rounds.actor), self.rounds.issued);
        if counter > issued {
            return Err(JoinError::UnknownOwnEvent { counter, known: issued });
        }
        let gaps = self.head.known.gaps() + 1;
        match message {
            Message::Rounds(_) | Message::Issued(_) => Err(JoinError::NotForOthers),
            Message::Key(message) if gaps > MAX_GAPS && self.head.known.is_gap(&message.delta.context) => {
                Err(JoinError::TooManyGaps { gaps, limit: MAX_GAPS })
            }
            Message::Key(_) | Message::Attestation(_) => Ok(()),
        }
    }

    /// Whether all of it was taken before.
    fn has(&mut self, message: &Message) -> Result<bool, ConvergentError> {
        match message {
            Message::Key(message) => {
                let writes = &message.delta.writes;
                let is_taken = !writes.is_empty() && self.head.taken.covers(writes);
                Ok(is_taken && (!is_by_rounds(writes) || !self.would_remove(message)?))
            }
            Message::Attestation(Attestation { known, taken }) => {
                Ok(self.head.known.includes(known) && self.head.taken.includes(taken))
            }
            Message::Rounds(_) | Message::Issued(_) => Ok(false),
        }
    }

    /// Whether something is held that a delta removes. What a proposer has given up counts as taken; it may have been chosen all the
    /// same, before a later value was, and come late. Of the value nothing is left then, but what it removes is still to go.
    fn would_remove(&mut self, message: &KeyDelta) -> Result<bool, ConvergentError> {
        let mut kept = BTreeSet::new();
        message.delta.store.dots(&mut |dot| {
            kept.insert(dot);
        });
        let place = self.place(&message.key)?;
        let mut would_remove = false;
        self.cache.slot(place).state.dots(&mut |dot| {
            would_remove |= message.delta.context.contains(dot) && !kept.contains(&dot);
        });
        Ok(would_remove)
    }
}

/// Whether these are writes of values that rounds decide about.
fn is_by_rounds(writes: &DotContext) -> bool {
    writes.cloud().any(|dot| is_of_rounds(dot.actor)) || writes.vector().iter().any(|(actor, _)| is_of_rounds(actor))
}

/// Whether a delta has told something new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    Some,
    None,
}
