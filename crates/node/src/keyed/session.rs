//! Sessions: a client sees what it has seen before and what it has written, whichever replica it asks (Terry et al., *Session Guarantees
//! for Weakly Consistent Replicated Data*, 1994: read your writes, monotonic reads).
//!
//! Its token says, for each shard, what the replicas knew that have answered it. A read is answered once the replicas that were asked know
//! all of that together; until then the others are asked, and all of them again, for as long as [`PATIENCE`]. What it learns by
//! the answer is in its next token. A token says more than the client can have seen, since a replica knows of other keys too: that
//! costs a question more at times, and saves a context for each key.
//!
//! ```text
//!   token      version: 01 · count · (group: varint · known)…, by group
//! ```

use std::collections::BTreeMap;

use althing_api::ErrorKind;
use althing_api::keyed::{KeyedAnswer, KeyedRequest, MAX_TOKEN_BYTES};
use althing_clock::Coded as _;
use althing_codec::{DecodeError, Reader, Writer};
use althing_convergent::{Job, Known, evaluate, known_of};
use althing_types::{Duration, GroupId, Instant, RequestId};
use bytes::Bytes;

use super::Waiting;
use super::reads::Read;
use crate::effects::Effects;
use crate::node::Node;

const VERSION: u8 = 1;
/// How long a read waits for replicas to know what its session has seen.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How often it asks meanwhile.
const AGAIN_EVERY: Duration = Duration::from_millis(50);

/// What a client has seen, by shard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Token(BTreeMap<GroupId, Known>);

impl Token {
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = Reader::new(bytes);
        let found = reader.u8("a token's version")?;
        if found != VERSION {
            return Err(DecodeError::Version { what: "a token", found: found.into(), known: VERSION.into() });
        }
        let mut shards = BTreeMap::new();
        for _ in 0..reader.count("a token's shards")? {
            let group = GroupId(reader.u64("a token's shard")?);
            if shards.last_key_value().is_some_and(|(last, _)| *last >= group) {
                return Err(DecodeError::Unknown { field: "the order of a token's shards", value: group.get() });
            }
            shards.insert(group, Known::read(&mut reader)?);
        }
        reader.finish()?;
        Ok(Self(shards))
    }

    fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(256);
        writer.u8(VERSION);
        writer.u64(self.0.len() as u64);
        for (group, known) in &self.0 {
            writer.u64(group.get());
            known.write(&mut writer);
        }
        writer.finish()
    }
}

/// One request of a client that wants this.
#[derive(Debug)]
struct Session {
    group: GroupId,
    token: Token,
    stage: Stage,
    deadline: Instant,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// It is under way; a read that lacked something asks again from then on.
    Asking { again: Option<Instant> },
    /// A read has its answer, and its token has what was known.
    Seen,
    /// A write has its answer; what is known is being asked for.
    Answered(KeyedAnswer),
}

/// Requests of clients that want to see what they have seen before.
#[derive(Debug, Default)]
pub(crate) struct Sessions(BTreeMap<RequestId, Session>);

impl Sessions {
    pub(super) fn has(&self, id: RequestId) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn forget(&mut self, id: RequestId) {
        self.0.remove(&id);
    }

    /// Whether those that have answered a read know all that its client has seen. If not they are asked again.
    pub(super) fn is_covered(&mut self, group: GroupId, read: &Read) -> bool {
        let Some(session) = self.0.get_mut(&read.id) else { return true };
        let Some(seen) = session.token.0.get(&group) else { return true };
        let states: Vec<_> = read.states.iter().map(|(_, state)| state.clone()).collect();
        // States that do not parse are the read's own error.
        let is_covered = evaluate(&read.op, &states, 0, 0).map_or(true, |evaluated| evaluated.known.includes(seen));
        if !is_covered && matches!(session.stage, Stage::Asking { again: None }) {
            session.stage = Stage::Asking { again: Some(Instant::ZERO) };
        }
        is_covered
    }

    /// Whether a read that lacks something asks everybody again now.
    pub(super) fn asks_again(&mut self, now: Instant, id: RequestId) -> bool {
        match self.0.get_mut(&id).map(|session| &mut session.stage) {
            Some(Stage::Asking { again: Some(at) }) if *at <= now => {
                *at = now + AGAIN_EVERY;
                true
            }
            Some(Stage::Asking { .. } | Stage::Seen | Stage::Answered(_)) | None => false,
        }
    }

    /// Whether a read lacks something that its client has seen.
    fn lacks(&self, id: RequestId) -> bool {
        self.0.get(&id).is_some_and(|session| matches!(session.stage, Stage::Asking { again: Some(_) }))
    }

    /// A read has its answer, from replicas that knew this.
    pub(super) fn see(&mut self, group: GroupId, id: RequestId, known: &Known) {
        if let Some(session) = self.0.get_mut(&id) {
            session.token.0.entry(group).or_default().join(known);
            session.stage = Stage::Seen;
        }
    }
}

impl Node {
    /// A request of a client that wants to see what it has seen before.
    pub(super) fn begin_session(
        &mut self,
        now: Instant,
        id: RequestId,
        group: GroupId,
        (token, request): (Bytes, KeyedRequest),
        deadline: Instant,
        out: &mut Effects,
    ) {
        let is_alone = !matches!(request, KeyedRequest::InSession { .. } | KeyedRequest::Series { .. });
        let is_of_one_key = request.key().is_some() && is_alone;
        let token = match Token::decode(token) {
            Ok(token) if is_of_one_key => token,
            Ok(_) | Err(_) => {
                let reason = "a session's token does not parse, or its request is not about one key";
                return out.responses.push((id, Err(ErrorKind::InvalidArgument(reason.to_owned()).into())));
            }
        };
        let stage = Stage::Asking { again: None };
        self.sessions.0.insert(id, Session { group, token, stage, deadline });
        self.perform(now, id, group, request, deadline, out);
    }

    /// An answer to a client. One in a session goes out with its token; a write's waits for what is known here.
    pub(super) fn leave_session(&mut self, id: RequestId, answer: KeyedAnswer) -> Option<KeyedAnswer> {
        let Some(mut session) = self.sessions.0.remove(&id) else { return Some(answer) };
        match session.stage {
            Stage::Seen => Some(in_session(answer, &session.token)),
            Stage::Asking { .. } | Stage::Answered(_) => {
                let Some(keyed) = self.keyed.get_mut(&session.group) else { return Some(answer) };
                let ticket = keyed.ticket(Waiting::Seen(id));
                self.agenda.push(session.group, Job::Attest { ticket });
                session.stage = Stage::Answered(answer);
                self.sessions.0.insert(id, session);
                None
            }
        }
    }

    /// What is known here after a write of a session.
    pub(super) fn end_session(&mut self, group: GroupId, id: RequestId, attestation: &Bytes, out: &mut Effects) {
        let Some(mut session) = self.sessions.0.remove(&id) else { return };
        let Stage::Answered(answer) = session.stage else { return };
        if let Some(known) = known_of(attestation) {
            session.token.0.entry(group).or_default().join(&known);
        }
        let answer = in_session(answer, &session.token);
        self.keyed_answer(id, answer, out);
    }

    /// Reads whose replicas do not come to know what their clients have seen are given up.
    pub(super) fn tick_sessions(&mut self, now: Instant) {
        // An error goes to the client as it is, so its session ends with the time that it had.
        self.sessions.0.retain(|_, session| session.deadline + PATIENCE > now);
    }

    /// Reads that have waited too long for what their clients have seen are given up.
    pub(super) fn expire_sessions(&mut self, now: Instant, group: GroupId, out: &mut Effects) {
        let sessions = &mut self.sessions;
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let is_given_up = |read: &Read| sessions.lacks(read.id) && now.since(read.begun) >= PATIENCE;
        let is_one = |waiting: &Waiting| matches!(waiting, Waiting::Read(read) if is_given_up(read));
        let given_up: Vec<_> = keyed.waiting.extract_if(.., |_, waiting| is_one(waiting)).collect();
        for id in given_up.iter().filter_map(|(_, waiting)| waiting.client()) {
            let reason = "no replica that answers has all that this session has seen: try again, or begin a new one";
            sessions.forget(id);
            out.responses.push((id, Err(ErrorKind::InvalidArgument(reason.to_owned()).into())));
        }
    }
}

fn in_session(answer: KeyedAnswer, token: &Token) -> KeyedAnswer {
    let token = token.encode();
    // A shard with so many gaps is being repaired. The next request stands alone.
    let token = if token.len() > MAX_TOKEN_BYTES { Bytes::new() } else { token };
    KeyedAnswer::InSession { answer: Box::new(answer), token }
}

#[cfg(test)]
mod tests {
    use althing_clock::{Actor, Dot, DotContext};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_as_it_was_written(shards in prop::collection::btree_map(any::<u64>(), 1_u64..9, 0..4)) {
            let known = |counter| {
                let mut known = Known::default();
                known.extend(&DotContext::from(Dot::new(Actor::new(1, 1), counter)));
                known
            };
            let token = Token(shards.into_iter().map(|(group, counter)| (GroupId(group), known(counter))).collect());
            prop_assert_eq!(Token::decode(token.encode()), Ok(token));
        }

        #[test]
        fn hostile_tokens_are_refused_or_read(bytes: Vec<u8>) {
            let _ = Token::decode(bytes.into());
        }
    }
}
