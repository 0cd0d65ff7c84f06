//! Commands of several steps on a strong table, made one: an optimistic transaction.
//!
//! Many commands read some keys, think, and write others. Between the reading and the writing anything may happen; so on a strong
//! table such a command is only tried. It reads as it does everywhere, and each key that it reads is noted with the revision of its
//! last change. What it writes is done here first, on the values that it has read, so that it goes on as if it were done. At the end
//! the table is asked to do the same steps in one entry of its log, if every key that was noted is still as it was: then what the
//! command has seen and what it has done are of one moment. If a key has changed, nothing was done, and the command is tried anew.
//!
//! (Kung, Robinson, *On Optimistic Methods for Concurrency Control*, 1981; the validation is that of the writer's own order,
//! which is the log.)
//!
//! Some writes need not know what they replace: they neither read nor note anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest, Moment, Step, Watched};
use althing_api::request::Body;
use althing_api::{Error, ErrorKind, Target};
use althing_datatypes::codec::Message as _;
use althing_datatypes::op::{Existence, KeyOp, SetAnswer, SetExpiry, StringOp};
use althing_datatypes::{Op, Reply, Value as Plain, execute};
use althing_types::Revision;
use bytes::Bytes;

use crate::command::Answer;
use crate::keyspace::{Keyspace, Operated};
use crate::refusal::Refusal;
use crate::run::wrong_reply;
use crate::tables::TableKind;

/// How often a command is tried whose keys others change meanwhile. Whenever one fails another one has succeeded, so this is reached only
/// where a great many clients fight for one key.
pub(crate) const MAX_ATTEMPTS: usize = 64;
/// Tried in vain.
pub(crate) const CONTENDED: Refusal =
    Refusal::of("TRYAGAIN others change these keys all the time; nothing was done: send the command again");
/// What has no names for its keys cannot be part of a transaction.
const WHOLE_TABLE: Refusal = Refusal::of(
    "ERR what concerns the whole table is not supported by Althing in a transaction of a strong table: it is one of named keys",
);

/// What an attempt is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// One command.
    Command,
    /// All that `EXEC` runs.
    Transaction,
}

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It was done, at one moment.
    Done,
    /// Others have changed what it had read: nothing was done, and it may be tried again.
    Overtaken,
    /// What the client watches has changed: nothing was done.
    Abandoned,
}

/// One attempt.
pub(crate) struct Attempt {
    scope: Scope,
    moment: Moment,
    state: Mutex<State>,
}

/// How an attempt ends.
enum Ending {
    /// Nothing is left to be done.
    Done,
    /// It has come to nothing.
    Overtaken,
    /// The table must be asked for these steps, if these keys are as they were.
    Ask(Vec<Watched>, Vec<Step>),
}

#[derive(Default)]
struct State {
    /// When the keys that were read had been changed last.
    seen: BTreeMap<Bytes, Revision>,
    /// What the keys hold of which that is known, with what the attempt has done to them.
    held: BTreeMap<Bytes, Plain>,
    /// What is to be done.
    steps: Vec<Step>,
    /// How often it has read.
    reads: usize,
    /// Whether a key has changed while it was being read.
    is_overtaken: bool,
    /// Why something could not be read. Nothing is done then.
    failure: Option<Refusal>,
}

impl State {
    fn saw(&mut self, key: Bytes, revision: Revision) {
        let known = *self.seen.entry(key).or_insert(revision);
        self.is_overtaken |= known != revision;
    }
}

impl Attempt {
    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave it half changed: what is begun is thrown away with the attempt.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all this only looks at keys of which the table knows better.
    fn only_looks(&self, operations: &[(Bytes, Op)]) -> bool {
        let state = self.state();
        operations.iter().all(|(key, op)| op.is_read() && !state.held.contains_key(key))
    }

    /// The keys whose values must be known before these operations are done here.
    fn missing(&self, operations: &[(Bytes, Op)]) -> Vec<Bytes> {
        let state = self.state();
        let mut known: BTreeMap<&Bytes, bool> = BTreeMap::new();
        for (key, op) in operations {
            known.entry(key).or_insert_with(|| is_blind(op) || state.held.contains_key(key));
        }
        known.into_iter().filter(|(_, known)| !known).map(|(key, _)| key.clone()).collect()
    }

    /// What is left to be done.
    fn end(&self, watched: &[Watched]) -> Result<Ending, Refusal> {
        let mut state = self.state();
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        if state.is_overtaken {
            return Ok(Ending::Overtaken);
        }
        // One look is of one moment by itself.
        if state.steps.is_empty() && state.reads <= 1 && watched.is_empty() {
            return Ok(Ending::Done);
        }
        let seen = state.seen.iter().map(|(key, &revision)| Watched { key: key.clone(), revision });
        let watches = watched.iter().cloned().chain(seen).collect();
        Ok(Ending::Ask(watches, std::mem::take(&mut state.steps)))
    }

    /// Does operations here.
    fn execute(&self, operations: Vec<(Bytes, Op)>) -> Result<Vec<Operated>, Refusal> {
        let mut state = self.state();
        let State { held, steps, .. } = &mut *state;
        let mut replies = Vec::with_capacity(operations.len());
        for (key, op) in operations {
            let value = held.entry(key.clone()).or_default();
            let (now_ms, seed) = (self.moment.now_ms, self.moment.seed_of(steps.len()));
            if !op.is_read() {
                steps.push(Step { key, operation: op.encode() });
            }
            let outcome = execute(op, value, now_ms, seed);
            replies.push(match outcome {
                Ok((reply, edits)) => {
                    value.apply(&edits, now_ms).map_err(|_| wrong_reply())?;
                    Ok(reply)
                }
                Err(error) => Err(error),
            });
        }
        Ok(replies)
    }
}

/// Whether an operation answers the same and leaves the same whatever was there.
fn is_blind(op: &Op) -> bool {
    match op {
        Op::Key(KeyOp::Replace { condition: Existence::Any, .. }) => true,
        Op::String(StringOp::Set { expiry, condition: Existence::Any, answer: SetAnswer::Done, .. }) => {
            !matches!(expiry, SetExpiry::Keep)
        }
        Op::Key(_) | Op::String(_) | Op::Bits(_) | Op::Hash(_) | Op::Set(_) | Op::Sorted(_) | Op::Sketch(_) => false,
    }
}

/// What a transaction came to.
pub(crate) enum Together {
    /// It was done: what each step came to, and the revision of its key before.
    Done(Vec<Operated>, Vec<Revision>),
    /// A watched key has changed.
    Aborted,
}

impl Keyspace {
    /// Asks the table for steps that happen together.
    pub(crate) async fn together(
        &self,
        watches: Vec<Watched>,
        steps: Vec<Step>,
        access: Access,
        moment: Option<Moment>,
    ) -> Result<Result<Together, Refusal>, Error> {
        let target = Target::Table(self.table().name.clone());
        let answer = self.call(target, KeyedRequest::Transact { watches, steps, access, moment }).await?;
        Ok(match answer.body {
            Body::Keyed(KeyedAnswer::Transacted { replies, revisions }) => {
                let replies = replies.iter().map(|reply| Operated::decode(reply)).collect::<Result<_, _>>();
                replies.map(|replies| Together::Done(replies, revisions)).map_err(|_| wrong_reply())
            }
            Body::Keyed(KeyedAnswer::Aborted) => Ok(Together::Aborted),
            _ => Err(wrong_reply()),
        })
    }

    /// The revisions of keys: 0 of those that are not there.
    pub(crate) async fn revisions(&self, keys: &[Bytes]) -> Result<Vec<Revision>, Refusal> {
        let exists = Op::Key(KeyOp::Exists).encode();
        let steps = keys.iter().map(|key| Step { key: key.clone(), operation: exists.clone() }).collect();
        match self.together(Vec::new(), steps, Access::Read, None).await?? {
            Together::Done(_, revisions) if revisions.len() == keys.len() => Ok(revisions),
            Together::Done(..) | Together::Aborted => Err(wrong_reply()),
        }
    }

    /// Operations that are all that a command does: no reply decides on another one. Keys of a strong table that lie in one shard are
    /// done together; several shards do their own, each for itself.
    ///
    /// # Errors
    /// The first error of the node.
    pub async fn only(&self, operations: Vec<(Bytes, Op)>) -> Result<Vec<Operated>, Refusal> {
        let is_part = self.attempt().is_some_and(|attempt| attempt.scope == Scope::Transaction);
        if self.table().kind == TableKind::Convergent || is_part {
            return self.each(operations).await;
        }
        let access = if operations.iter().all(|(_, op)| op.is_read()) { Access::Read } else { Access::Write };
        let steps = operations.iter().map(|(key, op)| Step { key: key.clone(), operation: op.encode() }).collect();
        match self.together(Vec::new(), steps, access, None).await {
            Ok(Ok(Together::Done(replies, _))) if replies.len() == operations.len() => Ok(replies),
            Ok(Ok(_)) => Err(wrong_reply()),
            Ok(Err(refusal)) => Err(refusal),
            Err(Error { kind: ErrorKind::CrossShard(_), .. }) => self.apart().each(operations).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Operations of an attempt.
    pub(crate) async fn tried(
        &self,
        attempt: &Attempt,
        operations: Vec<(Bytes, Op)>,
    ) -> Result<Vec<Operated>, Refusal> {
        if attempt.only_looks(&operations) {
            return self.look(attempt, &operations).await;
        }
        let missing: Vec<_> =
            attempt.missing(&operations).into_iter().map(|key| (key, Op::Key(KeyOp::Whole))).collect();
        if !missing.is_empty() {
            let found = self.look(attempt, &missing).await?;
            let mut state = attempt.state();
            for ((key, _), found) in missing.into_iter().zip(found) {
                let value = match found {
                    Ok(Reply::Whole(whole)) => Plain::from(whole),
                    Ok(Reply::Nil) => Plain::default(),
                    Ok(_) | Err(_) => return Err(wrong_reply()),
                };
                state.held.insert(key, value);
            }
        }
        attempt.execute(operations)
    }

    /// Looks at keys, and notes that.
    async fn look(&self, attempt: &Attempt, operations: &[(Bytes, Op)]) -> Result<Vec<Operated>, Refusal> {
        let steps = operations.iter().map(|(key, op)| Step { key: key.clone(), operation: op.encode() }).collect();
        let looked = self.together(Vec::new(), steps, Access::Read, Some(attempt.moment)).await;
        let looked = looked.map_err(Refusal::from).flatten();
        match looked.inspect_err(|failure| attempt.state().failure = Some(failure.clone()))? {
            Together::Done(replies, revisions)
                if replies.len() == operations.len() && revisions.len() == operations.len() =>
            {
                let mut state = attempt.state();
                state.reads += 1;
                for ((key, _), revision) in operations.iter().zip(revisions) {
                    state.saw(key.clone(), revision);
                }
                Ok(replies)
            }
            Together::Done(..) | Together::Aborted => Err(wrong_reply()),
        }
    }

    /// Does what an attempt has tried, if nothing has come in between, and if what the client watches is as it was.
    pub(crate) async fn commit(&self, attempt: &Attempt, watched: &[Watched]) -> Result<Fate, Refusal> {
        let (watches, steps) = match attempt.end(watched)? {
            Ending::Done => return Ok(Fate::Done),
            Ending::Overtaken => return self.overtaken(watched).await,
            Ending::Ask(watches, steps) => (watches, steps),
        };
        let access = if steps.is_empty() { Access::Read } else { Access::Write };
        match self.together(watches, steps, access, Some(attempt.moment)).await?? {
            Together::Done(..) => Ok(Fate::Done),
            Together::Aborted => self.overtaken(watched).await,
        }
    }

    /// Whether an attempt that has come to nothing may be made again: what the client watches must be as it was.
    async fn overtaken(&self, watched: &[Watched]) -> Result<Fate, Refusal> {
        if watched.is_empty() {
            return Ok(Fate::Overtaken);
        }
        match self.together(watched.to_vec(), Vec::new(), Access::Read, None).await?? {
            Together::Done(..) => Ok(Fate::Overtaken),
            Together::Aborted => Ok(Fate::Abandoned),
        }
    }

    /// A new attempt.
    pub(crate) fn attempt_of(&self, scope: Scope) -> Arc<Attempt> {
        Arc::new(Attempt { scope, moment: self.shared().moment(), state: Mutex::default() })
    }

    /// Runs a command until it was done at one moment.
    pub(crate) async fn exactly(
        &self,
        run: for<'a> fn(&'a Keyspace, &'a [Bytes]) -> crate::command::Answering<'a>,
        words: &[Bytes],
    ) -> Answer {
        for _ in 0..MAX_ATTEMPTS {
            let attempt = self.attempt_of(Scope::Command);
            let answer = run(&self.in_attempt(Arc::clone(&attempt)), words).await;
            match self.commit(&attempt, &[]).await? {
                Fate::Done => return answer,
                Fate::Overtaken | Fate::Abandoned => {}
            }
        }
        Err(CONTENDED)
    }

    /// Refuses what no transaction of a strong table can have.
    pub(crate) fn must_not_be_part(&self) -> Result<(), Refusal> {
        match self.attempt() {
            Some(attempt) if attempt.scope == Scope::Transaction => Err(WHOLE_TABLE),
            Some(_) | None => Ok(()),
        }
    }
}
