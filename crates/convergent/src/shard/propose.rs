//! What comes next in a register: an operation is executed on what it holds, and what it amounts to is made a delta.

use althing_clock::{Dot, DotContext, Timestamp};
use althing_crdt::{Delta, DotFun, Join, Seen};
use althing_datatypes::{Content, Edit, Op, Reply, Value as Plain, View, execute};
use althing_paxos::Value;
use althing_paxos::proposer::Change;
use althing_types::WallTime;
use althing_types::limits::MAX_KEY_BYTES;
use bytes::Bytes;

use super::{Place, Shard};
use crate::deadline::Deadline;
use crate::delta::{Issued, KeyDelta, Message};
use crate::error::ConvergentError;
use crate::job::Refusal;
use crate::keyed::Keyed;
use crate::keyed::edit::{Edited, Editor};
use crate::rounds::{Then, Told, Wish};
use crate::text::Text;

/// What the string of a key is to become.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Next {
    /// What it is.
    Same,
    /// This, until then.
    Text(Bytes, Option<i64>),
    /// Nothing.
    Gone,
}

/// What an operation comes to.
struct Verdict {
    reply: Result<Reply, Refusal>,
    next: Next,
    then: Then,
}

impl Verdict {
    const fn unchanged(reply: Result<Reply, Refusal>) -> Self {
        Self { reply, next: Next::Same, then: Then::Answer }
    }
}

impl Shard {
    /// See [`crate::rounds::Task::Propose`].
    pub(super) fn propose(
        &mut self,
        key: &Bytes,
        wish: Wish,
        current: &Value,
        now_ms: i64,
        seed: u64,
    ) -> Result<(Option<Bytes>, Told), ConvergentError> {
        let told = |reply, change, then| Told::Proposed { reply, change, then };
        if key.len() > MAX_KEY_BYTES {
            let refusal = Refusal::KeyTooLong { bytes: key.len(), limit: MAX_KEY_BYTES };
            return Ok((None, told(Err(refusal), Change::Keep, Then::Answer)));
        }
        let Some(before) = delta_of(current) else {
            return Ok((None, told(Err(Refusal::BadRegister), Change::Keep, Then::Answer)));
        };
        let place = self.place(key)?;
        let view = match current {
            Value::Present(_) => before.store.clone(),
            Value::Absent(_) => Keyed { text: Text::default(), ..self.cache.slot(place).state.clone() },
        };
        let is_there = current.present().is_some();
        let Verdict { reply, next, then } = match wish {
            Wish::Settle => Verdict::unchanged(Ok(Reply::Nil)),
            Wish::Expire => {
                let skew_ms = i64::try_from(self.config.max_clock_skew.as_millis()).unwrap_or(i64::MAX);
                let is_over = view.expires_ms().is_some_and(|at_ms| at_ms.saturating_add(skew_ms) <= now_ms);
                let next = if is_there && is_over { Next::Gone } else { Next::Same };
                Verdict { reply: Ok(Reply::Nil), next, then: Then::Answer }
            }
            Wish::Remove => {
                let next = if is_there { Next::Gone } else { Next::Same };
                Verdict { reply: Ok(Reply::Nil), next, then: Then::Answer }
            }
            Wish::Operate(op) => judge(op, &view, is_there, now_ms, seed),
        };
        let change = match next {
            Next::Same => return Ok((None, told(reply, Change::Keep, then))),
            Next::Text(text, deadline_ms) => {
                let (logged, bytes) = self.write_text(place, &before, &view, text, deadline_ms, now_ms);
                (logged, Change::Write(bytes))
            }
            Next::Gone => {
                let removed = self.removed_by(place, &before);
                let dot = Dot::new(self.rounds.actor, self.rounds.issued + 1);
                let (logged, bytes) = self.issue(place, Delta::new(dot, Keyed::default(), removed), None);
                (logged, Change::Delete(bytes))
            }
        };
        Ok((Some(change.0), told(reply, change.1, then)))
    }

    fn write_text(
        &mut self,
        place: Place,
        before: &Delta<Keyed>,
        view: &Keyed,
        text: Bytes,
        deadline_ms: Option<i64>,
        now_ms: i64,
    ) -> (Bytes, Bytes) {
        let removed = self.removed_by(place, before);
        let wall = WallTime(u64::try_from(now_ms).unwrap_or(0));
        let seen = before.store.text.time().max(self.cache.slot(place).state.text.time());
        let followed = seen.and_then(|seen| self.clock.observe(seen, wall).ok());
        let time = followed.unwrap_or_else(|| self.clock.now(wall));
        let dot = Dot::new(self.rounds.actor, self.rounds.issued + 1);
        let text = Bytes::copy_from_slice(&text);
        let mut delta =
            Text::default().put(dot, time, Seen::All, dot.actor, text).map(|text| Keyed { text, ..Keyed::default() });
        let mut last = dot;
        if deadline_ms.is_some() {
            last.counter += 1;
            let deadlines = DotFun::from((last, Deadline { at_ms: deadline_ms, binds: vec![dot] }));
            delta.merge(Delta::of(last, Keyed { deadlines, ..Keyed::default() }));
        }
        if !view.text.is_shown() && view.shows().is_some() {
            // What was there of another type goes with it.
            last.counter += 1;
            let mut beside = view.clone();
            let mut editor = Editor::new(&mut beside, &mut self.clock, now_ms, (last, last.actor), None);
            editor.edit(Edit::Delete);
            if let Some(Edited { delta: removal, .. }) = editor.finish() {
                delta.merge(removal);
            }
        }
        delta.context.join(&removed);
        self.issue(place, delta, Some(time))
    }

    /// What a value that comes after this one removes: see [`crate::rounds`].
    fn removed_by(&mut self, place: Place, before: &Delta<Keyed>) -> DotContext {
        let mut removed = DotContext::EMPTY;
        if !self.head.taken.covers(&before.writes) {
            removed.join(&before.context);
        }
        before.store.dots(&mut |dot| removed.insert(dot));
        let state = &self.cache.slot(place).state;
        state.text.dots(&mut |dot| removed.insert(dot));
        if state.text.is_shown() {
            state.deadlines.dots(&mut |dot| removed.insert(dot));
        }
        removed
    }

    /// Issues a delta's dots, and gives what is to be logged, and the delta's bytes.
    fn issue(&mut self, place: Place, delta: Delta<Keyed>, time: Option<Timestamp>) -> (Bytes, Bytes) {
        let key = self.cache.slot(place).key.clone();
        let issued = Issued { key: key.clone(), dots: delta.writes.clone() };
        let message = Message::Issued(issued);
        let logged = message.encode();
        if let Message::Issued(issued) = message {
            self.take_issued(issued, logged.len());
        }
        (logged, KeyDelta { key, time, delta }.encode())
    }
}

/// The delta that a register's value is.
fn delta_of(value: &Value) -> Option<Delta<Keyed>> {
    let (Value::Present(bytes) | Value::Absent(bytes)) = value;
    if bytes.is_empty() {
        let (context, writes) = (DotContext::EMPTY, DotContext::EMPTY);
        return Some(Delta { store: Keyed::default(), context, writes });
    }
    match Message::decode(bytes.clone()).ok()? {
        Message::Key(delta) => Some(delta.delta),
        Message::Attestation(_) | Message::Rounds(_) | Message::Issued(_) => None,
    }
}

/// What an operation makes of a key that holds this, or that holds something beside a string.
fn judge(op: Op, view: &Keyed, is_there: bool, now_ms: i64, seed: u64) -> Verdict {
    let is_of_any_type = matches!(op, Op::Key(_));
    let is_beside = !is_there && view.shows().is_some();
    let (reply, edits) = match execute(op, view, now_ms, seed) {
        Ok(outcome) => outcome,
        Err(error) => return Verdict::unchanged(Err(error.into())),
    };
    let converge = Verdict { reply: Ok(Reply::Nil), next: Next::Same, then: Then::Converge };
    let mut plain = Plain::default();
    let mut all = Vec::with_capacity(edits.len() + 2);
    if is_there {
        all.extend(view.string().map(Edit::PutString));
        all.push(Edit::Deadline(view.deadline_ms()));
    }
    let is_replaced = edits.first() == Some(&Edit::Delete);
    if is_beside && is_of_any_type && !is_replaced {
        return converge;
    }
    if edits.is_empty() {
        return Verdict::unchanged(Ok(reply));
    }
    all.extend(edits);
    if let Err(error) = plain.apply(&all, i64::MIN) {
        return Verdict::unchanged(Err(error.into()));
    }
    match plain.whole().map(|whole| (whole.content, whole.deadline_ms)) {
        Some((Content::String(text), deadline_ms)) => {
            Verdict { reply: Ok(reply), next: Next::Text(text, deadline_ms), then: Then::Answer }
        }
        Some((Content::Hash(_) | Content::Set(_) | Content::Sorted(_) | Content::Sketch(_), _)) if is_there => {
            Verdict { next: Next::Gone, ..converge }
        }
        None if is_there => Verdict { reply: Ok(reply), next: Next::Gone, then: Then::Answer },
        None if is_beside => converge,
        None => Verdict::unchanged(Ok(reply)),
        Some((Content::Hash(_) | Content::Set(_) | Content::Sorted(_) | Content::Sketch(_), _)) => converge,
    }
}
