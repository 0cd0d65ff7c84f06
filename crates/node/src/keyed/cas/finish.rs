//! The end of a round: its client is told, or the operation goes on as one that converges.

use althing_api::{Error, ErrorKind};
use althing_convergent::JoinError;
use althing_convergent::rounds::{Then, Wish, state_of};
use althing_datatypes::execute;
use althing_paxos::proposer::{Failure, Kind, Outcome, Reason};
use althing_paxos::{Ballot, Value};
use althing_types::{GroupId, Instant, RequestId};
use bytes::Bytes;

use super::{Ended, Pending, REMEMBERED, Whose};
use crate::effects::Effects;
use crate::keyed::Asked;
use crate::keyed::reads::Sight;
use crate::keyed::writes::answer_of;
use crate::node::Node;

impl Node {
    /// A chosen value is joined here and durable, or was before.
    pub(in crate::keyed) fn committed(
        &mut self,
        now: Instant,
        group: GroupId,
        (key, version, delta, index): (Bytes, Ballot, Bytes, u64),
        (ended, result, is_new): (Option<Ended>, &Result<(), JoinError>, bool),
        out: &mut Effects,
    ) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        match result {
            Ok(()) => {
                if keyed.cas.joined.len() >= REMEMBERED {
                    keyed.cas.joined.pop_first();
                }
                let joined = keyed.cas.joined.entry(key).or_insert(version);
                *joined = version.max(*joined);
                if is_new {
                    self.spread(now, group, index, delta);
                }
            }
            // It is chosen all the same. The register keeps it, and a later look at the register joins it.
            Err(_) => self.shared.metrics.frames_refused += 1,
        }
        if let Some(ended) = ended {
            self.finish(now, group, ended, out);
        }
    }

    /// A request is over.
    pub(super) fn finish(&mut self, now: Instant, group: GroupId, ended: Ended, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(pending) = keyed.cas.requests.remove(&ended.request) else { return };
        let id = match pending.whose {
            Whose::Client(id) => id,
            Whose::Flush(ticket) => {
                let is_done = matches!(ended.result, Ok(Outcome::Changed { .. }));
                return self.flushed_by_round(group, ticket, is_done, out);
            }
            Whose::Nobody => {
                keyed.cas.cared.remove(&pending.key);
                return;
            }
        };
        match (ended.result, pending.kind) {
            (Err(failure), _) => out.responses.push((id, Err(error_of(failure)))),
            (Ok(outcome), Kind::Read) => self.finish_decided_read(now, group, id, pending, outcome, out),
            (Ok(outcome), Kind::Change | Kind::Forget) => self.finish_change(now, group, id, pending, &outcome, out),
        }
    }

    fn finish_decided_read(
        &mut self,
        now: Instant,
        group: GroupId,
        id: RequestId,
        pending: Pending,
        outcome: Outcome,
        out: &mut Effects,
    ) {
        let (Outcome::Kept { value, .. } | Outcome::Changed { value, .. }) = outcome else { return };
        let Wish::Operate(op) = pending.wish else { return };
        match value {
            Value::Present(_) => {
                let Some(state) = state_of(&value) else {
                    let error = ErrorKind::Storage("the key's register does not parse".to_owned());
                    return out.responses.push((id, Err(error.into())));
                };
                let (now_ms, seed) = (self.shared.wall.at(now), self.shared.rng.u64(..));
                let reply = execute(op, &state, now_ms, seed).map(|(reply, _)| reply).map_err(Into::into);
                self.respond(id, answer_of(reply), out);
            }
            // There is no string: perhaps there is something else.
            Value::Absent(_) => {
                let Pending { key, level, deadline, .. } = pending;
                let asked = Asked { sight: Sight::Beside, ..Asked::new(id, key, op, level, deadline) };
                self.keyed_read(now, group, asked, out);
            }
        }
    }

    fn finish_change(
        &mut self,
        now: Instant,
        group: GroupId,
        id: RequestId,
        pending: Pending,
        outcome: &Outcome,
        out: &mut Effects,
    ) {
        let computed = match outcome {
            Outcome::Changed { version, .. } => pending.computed.iter().find(|(ballot, ..)| ballot == version),
            Outcome::Kept { .. } | Outcome::Forgotten => pending.computed.last(),
        };
        let Some((_, reply, then)) = computed.cloned() else {
            return out.responses.push((id, Err(Error::maybe_done(ErrorKind::Timeout))));
        };
        match (then, pending.wish) {
            (Then::Answer, _) | (Then::Converge, Wish::Expire | Wish::Remove | Wish::Settle) => {
                self.respond(id, answer_of(reply), out)
            }
            (Then::Converge, Wish::Operate(op)) => {
                let Pending { key, level, deadline, .. } = pending;
                self.keyed_write(now, group, Asked::new(id, key, op, level, deadline), out);
            }
        }
    }

    fn respond(
        &mut self,
        id: RequestId,
        answer: Result<althing_api::keyed::KeyedAnswer, ErrorKind>,
        out: &mut Effects,
    ) {
        match answer {
            Ok(answer) => self.keyed_answer(id, answer, out),
            Err(error) => out.responses.push((id, Err(error.into()))),
        }
    }
}

/// What a client is told whose request came to no end.
fn error_of(failure: Failure) -> Error {
    match failure {
        Failure::NotDone(Reason::Busy) => Error::not_done(ErrorKind::Overloaded),
        Failure::NotDone(Reason::Deadline | Reason::Superseded | Reason::Moving) => Error::not_done(ErrorKind::Timeout),
        Failure::MaybeDone(_) => Error::maybe_done(ErrorKind::Timeout),
    }
}
