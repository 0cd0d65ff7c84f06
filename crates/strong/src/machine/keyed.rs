//! Keyed values in the log: operations, alone and together, and the removal of what has expired.

use althing_api::keyed::{KeyedAnswer, Moment, Step, Watched};
use althing_api::kv::{DeleteRangeRequest, KeyRange, PutLease, PutRequest, PutValue};
use althing_api::request::Body;
use althing_datatypes::View as _;
use althing_types::NodeId;
use bytes::Bytes;

use super::Machine;
use super::apply::Apply;
use crate::error::{Failure, StrongError};
use crate::keyed::transact::{self, Change, Ran, Write};
use crate::keyed::{Deadline, container};
use crate::layout;
use crate::state::version_bytes;

/// What a slice did to the deadlines of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Deadlines {
    /// Nothing that could make the least one less.
    #[default]
    AsBefore,
    /// There may be a new least one.
    Noted(i64),
    /// Some were forgotten: the least one must be looked up.
    LookedAt,
}

impl Deadlines {
    fn noted(&mut self, at_ms: i64) {
        *self = match *self {
            Self::AsBefore => Self::Noted(at_ms),
            Self::Noted(least) => Self::Noted(least.min(at_ms)),
            Self::LookedAt => Self::LookedAt,
        };
    }

    const fn looked_at(&mut self) {
        *self = Self::LookedAt;
    }
}

impl Machine {
    /// Keeps the least deadline of the table, or a lesser one: whoever looks then finds nothing that is due.
    pub(super) fn keep_least_deadline(&mut self, done: Deadlines) -> Result<(), StrongError> {
        self.least_deadline_ms = match done {
            Deadlines::AsBefore => self.least_deadline_ms,
            Deadlines::Noted(at_ms) => self.least_deadline_ms.min(at_ms),
            Deadlines::LookedAt => self.find_least_deadline()?,
        };
        Ok(())
    }

    /// Looks the least deadline up; [`i64::MAX`] if there is none.
    pub(super) fn find_least_deadline(&self) -> Result<i64, StrongError> {
        let span = layout::deadline_span(i64::MAX);
        let view = self.engine.view();
        let first = view.scan(self.space, span.bounds()).next().transpose()?;
        first.map_or(Ok(i64::MAX), |(key, _)| Ok(layout::deadline_of(&key)?.at_ms))
    }
}

impl Apply<'_, '_> {
    /// One operation on one key.
    pub(super) fn operate(&mut self, origin: NodeId, step: &Step, moment: Moment) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        let done = match transact::run(&self.source(), &[], std::slice::from_ref(step), moment)? {
            Ran::Done(done) => done,
            Ran::Aborted => unreachable!("what watches nothing is not aborted"),
        };
        let (answer, writes) = done.operated();
        self.write_all(origin, writes)?;
        Ok(Body::Keyed(answer))
    }

    /// Operations that happen together.
    pub(super) fn transact(
        &mut self,
        origin: NodeId,
        watches: &[Watched],
        steps: &[Step],
        moment: Moment,
    ) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        Ok(Body::Keyed(match transact::run(&self.source(), watches, steps, moment)? {
            Ran::Aborted => KeyedAnswer::Aborted,
            Ran::Done(done) => {
                let (answer, writes) = done.transacted();
                self.write_all(origin, writes)?;
                answer
            }
        }))
    }

    /// Removes every key of the shard.
    pub(super) fn flush(&mut self) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        let gone = self.delete_range(&DeleteRangeRequest { keys: KeyRange::all(), prev_kv: false })?;
        Ok(Body::Keyed(KeyedAnswer::Flushed(gone.deleted)))
    }

    /// Removes the keys whose deadline has come by now, and forgets what was noted of them.
    pub(super) fn expire(&mut self, now_ms: i64, due: &[Deadline]) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        let mut gone = 0;
        for Deadline { at_ms, key } in due.iter().filter(|deadline| deadline.at_ms <= now_ms) {
            self.batch.delete(&layout::deadline_key(*at_ms, key));
            let Some(current) = self.source().current(key)? else { continue };
            let held = self.source().key_value(key.clone(), current)?;
            let deadline = container::decode(&held.value).deadline_ms();
            if deadline.is_some_and(|deadline| deadline <= now_ms) {
                self.delete_key(key.clone())?;
                gone += 1;
            }
        }
        self.deadlines.looked_at();
        Ok(Body::Keyed(KeyedAnswer::Flushed(gone)))
    }

    /// Writes what a transaction has come to. It is let in whole or not at all.
    fn write_all(&mut self, origin: NodeId, writes: Vec<Write>) -> Result<(), Failure> {
        let bytes_of = |write: &Write| {
            let value = write.value.as_ref()?;
            Some(version_bytes(write.key.len(), value.len() as u64))
        };
        let bytes: u64 = writes.iter().filter_map(bytes_of).sum();
        if bytes > 0 {
            self.refuse_if_full()?;
            self.admit(origin, bytes)?;
        }
        for write in writes {
            self.write_one(write)?;
        }
        Ok(())
    }

    fn write_one(&mut self, Write { key, value, change }: Write) -> Result<(), StrongError> {
        let Some(value) = value else { return self.delete_key(key) };
        // A key that was removed and made again is another one: what bound it is gone.
        let lease = match change {
            Change::Perhaps | Change::Written => PutLease::Keep,
            Change::Renewed => PutLease::Set(None),
        };
        self.put(&PutRequest { key, value: PutValue::Set(value), lease, prev_kv: false }).map(drop)
    }

    /// Notes the deadline of what a key holds from now on, and forgets that of what it held.
    pub(super) fn note_deadline(&mut self, key: &[u8], old: Option<&Bytes>, new: Option<&Bytes>) {
        let of = |value: Option<&Bytes>| value.and_then(container::deadline_ms);
        let (old, new) = (of(old), of(new));
        if old == new {
            return;
        }
        if let Some(at_ms) = old {
            self.batch.delete(&layout::deadline_key(at_ms, key));
        }
        if let Some(at_ms) = new {
            self.batch.put(&layout::deadline_key(at_ms, key), &[]);
            self.deadlines.noted(at_ms);
        }
    }
}
