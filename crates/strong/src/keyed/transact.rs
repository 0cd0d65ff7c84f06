//! Operations that happen together: what they answer, and what they would write.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use althing_api::ErrorKind;
use althing_api::keyed::{KeyedAnswer, Moment, Step, Watched};
use althing_datatypes::{Edit, Message as _, Op, OpError, Reply, Value, View as _, execute};
use althing_types::Revision;
use bytes::Bytes;

use super::{MAX_LOADED_BYTES, MAX_REPLIES_BYTES, MAX_VALUE_BYTES, container};
use crate::error::{Failure, StrongError};
use crate::range::Source;

/// What became of a transaction.
pub(crate) enum Ran {
    /// A watched key has changed.
    Aborted,
    /// It was run.
    Done(Done),
}

/// What a transaction came to.
pub(crate) struct Done {
    /// For each step what it answers, or why it was refused; either way the bytes are those of a result of both.
    pub replies: Vec<Result<Bytes, Bytes>>,
    /// For each step the revision of its key as all steps found it.
    pub revisions: Vec<Revision>,
    /// What is to be written, one for each key.
    pub writes: Vec<Write>,
}

/// What is to become of a key.
pub(crate) struct Write {
    pub key: Bytes,
    /// Its new bytes; `None` if it goes.
    pub value: Option<Bytes>,
    /// Whether it is a key of its own from here on, or goes on.
    pub change: Change,
}

/// What has been done to a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// Nothing, or nothing but what may leave it as it was.
    Perhaps,
    /// It was written to.
    Written,
    /// It was removed, whatever came after.
    Renewed,
}

/// A key that a transaction has looked at.
struct Slot {
    /// What it held.
    stored: Option<Bytes>,
    /// When it was changed last, whether or not that has expired.
    changed: Revision,
    /// What it holds now.
    value: Value,
    change: Option<Change>,
}

impl Done {
    /// The answer to all steps.
    pub fn transacted(self) -> (KeyedAnswer, Vec<Write>) {
        let replies = self.replies.into_iter().map(|reply| reply.unwrap_or_else(|refusal| refusal)).collect();
        (KeyedAnswer::Transacted { replies, revisions: self.revisions }, self.writes)
    }

    /// The answer to the only step.
    pub fn operated(self) -> (KeyedAnswer, Vec<Write>) {
        let only = self.replies.into_iter().next();
        let answer = match only.expect("every step has a reply") {
            Ok(reply) => KeyedAnswer::Operated(reply),
            Err(refusal) => KeyedAnswer::Refused(refusal),
        };
        (answer, self.writes)
    }
}

/// The keys of one transaction.
struct Slots<'s> {
    source: Source<'s>,
    slots: BTreeMap<Bytes, Slot>,
    loaded_bytes: usize,
}

impl Slots<'_> {
    fn of(&mut self, key: &Bytes) -> Result<&mut Slot, Failure> {
        match self.slots.entry(key.clone()) {
            Entry::Occupied(slot) => Ok(slot.into_mut()),
            Entry::Vacant(vacant) => {
                let slot = load(&self.source, key)?;
                self.loaded_bytes += key.len() + slot.stored.as_ref().map_or(0, Bytes::len);
                if self.loaded_bytes > MAX_LOADED_BYTES {
                    return Err(too_large(&format!("the values of its keys have more than {MAX_LOADED_BYTES} bytes")));
                }
                Ok(vacant.insert(slot))
            }
        }
    }

    /// The revision at which a key was changed last; zero if there is none, or if it has expired.
    fn revision(&mut self, key: &Bytes, now_ms: i64) -> Result<Revision, Failure> {
        let slot = self.of(key)?;
        let is_over = slot.value.deadline_ms().is_some_and(|deadline| deadline <= now_ms);
        Ok(if is_over { Revision(0) } else { slot.changed })
    }
}

fn too_large(what: &str) -> Failure {
    ErrorKind::InvalidArgument(format!("the transaction is too large: {what}")).into()
}

fn load(source: &Source<'_>, key: &Bytes) -> Result<Slot, StrongError> {
    let Some(current) = source.current(key)? else {
        return Ok(Slot { stored: None, changed: Revision(0), value: Value::default(), change: None });
    };
    let kv = source.key_value(key.clone(), current)?;
    Ok(Slot { value: container::decode(&kv.value), changed: kv.mod_revision, stored: Some(kv.value), change: None })
}

/// Runs a transaction on what a source shows. Nothing is written by this itself.
pub(crate) fn run(source: &Source<'_>, watches: &[Watched], steps: &[Step], moment: Moment) -> Result<Ran, Failure> {
    let mut slots = Slots { source: *source, slots: BTreeMap::new(), loaded_bytes: 0 };
    for watched in watches {
        if slots.revision(&watched.key, moment.now_ms)? != watched.revision {
            return Ok(Ran::Aborted);
        }
    }
    // All of them before the first step, which may remove what a later one finds.
    let revisions = steps.iter().map(|step| slots.revision(&step.key, moment.now_ms)).collect::<Result<_, _>>()?;
    let (mut replies, mut reply_bytes) = (Vec::with_capacity(steps.len()), 0);
    for (place, step) in steps.iter().enumerate() {
        let outcome = one(slots.of(&step.key)?, step, moment, place)?;
        let reply = outcome.encode();
        reply_bytes += reply.len();
        if reply_bytes > MAX_REPLIES_BYTES {
            return Err(too_large(&format!("its answers have more than {MAX_REPLIES_BYTES} bytes")));
        }
        replies.push(if outcome.is_ok() { Ok(reply) } else { Err(reply) });
    }
    let writes = slots.slots.into_iter().filter_map(|(key, slot)| write(key, slot).transpose());
    Ok(Ran::Done(Done { replies, revisions, writes: writes.collect::<Result<_, _>>()? }))
}

/// The answer of an operation that only reads what a key holds; `None` if it would change it.
pub(crate) fn look(
    stored: Option<&Bytes>,
    operation: &Bytes,
    moment: Moment,
) -> Result<Option<KeyedAnswer>, ErrorKind> {
    let value = stored.map(container::decode).unwrap_or_default();
    Ok(match execute(parse(operation)?, &value, moment.now_ms, moment.seed_of(0)) {
        Ok((reply, edits)) => edits.is_empty().then(|| KeyedAnswer::Operated(Ok::<_, OpError>(reply).encode())),
        Err(error) => Some(KeyedAnswer::Refused(Err::<Reply, _>(error).encode())),
    })
}

fn parse(operation: &Bytes) -> Result<Op, ErrorKind> {
    Op::decode(operation).map_err(|error| ErrorKind::InvalidArgument(format!("the operation does not parse: {error}")))
}

/// Runs one step on its key.
fn one(slot: &mut Slot, step: &Step, moment: Moment, place: usize) -> Result<Result<Reply, OpError>, Failure> {
    let (reply, edits) = match execute(parse(&step.operation)?, &slot.value, moment.now_ms, moment.seed_of(place)) {
        Ok(outcome) => outcome,
        Err(error) => return Ok(Err(error)),
    };
    if edits.is_empty() {
        return Ok(Ok(reply));
    }
    let impossible = |error| ErrorKind::InvalidArgument(format!("the operation cannot be done here: {error}"));
    slot.value.apply(&edits, moment.now_ms).map_err(impossible)?;
    slot.change = slot.change.max(edits.iter().map(change).max());
    Ok(Ok(reply))
}

/// What an edit does to its key. To write a string is to change the key even if it is the same string: who watches the key is
/// told so by Redis, too.
const fn change(edit: &Edit) -> Change {
    match edit {
        Edit::Delete => Change::Renewed,
        Edit::PutString(_) | Edit::AddInt(_) | Edit::AddFloat(_) => Change::Written,
        Edit::Deadline(_)
        | Edit::HashPut { .. }
        | Edit::HashRemove(_)
        | Edit::HashAddInt { .. }
        | Edit::HashAddFloat { .. }
        | Edit::SetAdd(_)
        | Edit::SetRemove(_)
        | Edit::ScorePut { .. }
        | Edit::ScoreAdd { .. }
        | Edit::ScoreRemove(_)
        | Edit::SketchMerge(_) => Change::Perhaps,
    }
}

/// What is to be written of a key, if anything is.
fn write(key: Bytes, slot: Slot) -> Result<Option<Write>, Failure> {
    let Some(change) = slot.change else { return Ok(None) };
    let value = container::encode(&slot.value);
    let is_same = value == slot.stored;
    if is_same && (change == Change::Perhaps || value.is_none()) {
        return Ok(None);
    }
    if let Some(bytes) = value.as_ref().map(Bytes::len).filter(|bytes| *bytes > MAX_VALUE_BYTES) {
        let reason =
            format!("a key of a strong table holds up to {MAX_VALUE_BYTES} bytes, and this would have {bytes}");
        return Err(ErrorKind::InvalidArgument(reason).into());
    }
    Ok(Some(Write { key, value, change }))
}
