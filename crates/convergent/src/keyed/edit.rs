//! Edits made into a delta.
//!
//! Every edit takes a dot of its own and is applied where it is made before the next one, which may build on it; all of them
//! together leave as one delta. What an edit replaces is what the writer has seen: without a context that is all that is held here.

use althing_clock::{Actor, Coded, Dot, DotContext, Hlc, Timestamp};
use althing_crdt::{
    Bottoms, Delta, DotFun, DotMap, HllKey, Join, Merge, MvRegister, OrSet, Quantity, Real, Reset, Seen, Sibling, zset,
};
use althing_datatypes::{Edit, View};
use althing_types::WallTime;
use bytes::Bytes;

use super::Keyed;
use crate::deadline::Deadline;
use crate::fields::Fields;
use crate::job::Refusal;
use crate::text::{Text, reset_counter};
use crate::{MAX_SIBLINGS, MAX_STATE_BYTES};

/// What an edit adds to a state beside the bytes that it names: dots, times, lengths.
const EDIT_OVERHEAD_BYTES: usize = 64;

/// Refuses edits of which the state would become too large. `bytes` is what it takes at the most now.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::Reread`]
pub(crate) fn check(state: &Keyed, bytes: usize, edits: &[Edit], seen: Seen<'_>) -> Result<(), Refusal> {
    edits.iter().try_for_each(|edit| check_siblings(state, edit, seen))?;
    let growth: usize = edits.iter().map(growth).sum();
    let before = if edits.first() == Some(&Edit::Delete) { 0 } else { bytes };
    if growth == 0 || before + growth <= MAX_STATE_BYTES {
        return Ok(());
    }
    let bytes = before.min(state.encode().len()) + growth;
    if bytes <= MAX_STATE_BYTES { Ok(()) } else { Err(Refusal::TooLarge { bytes, limit: MAX_STATE_BYTES }) }
}

fn check_siblings(state: &Keyed, edit: &Edit, seen: Seen<'_>) -> Result<(), Refusal> {
    let text = match edit {
        Edit::PutString(_) => Some(&state.text),
        Edit::HashPut { field, .. } => state.fields.map().get(field),
        Edit::Delete
        | Edit::Deadline(_)
        | Edit::AddInt(_)
        | Edit::AddFloat(_)
        | Edit::HashRemove(_)
        | Edit::HashAddInt { .. }
        | Edit::HashAddFloat { .. }
        | Edit::SetAdd(_)
        | Edit::SetRemove(_)
        | Edit::ScorePut { .. }
        | Edit::ScoreAdd { .. }
        | Edit::ScoreRemove(_)
        | Edit::SketchMerge(_) => None,
    };
    let siblings = text.map_or(0, |text| text.unseen(seen));
    if siblings < MAX_SIBLINGS { Ok(()) } else { Err(Refusal::Reread { siblings }) }
}

/// What the edit may add to the state, at most.
fn growth(edit: &Edit) -> usize {
    match edit {
        Edit::Delete | Edit::Deadline(None) | Edit::HashRemove(_) | Edit::SetRemove(_) | Edit::ScoreRemove(_) => 0,
        Edit::Deadline(Some(_)) | Edit::AddInt(_) | Edit::AddFloat(_) => EDIT_OVERHEAD_BYTES,
        Edit::PutString(value) => value.len() + EDIT_OVERHEAD_BYTES,
        Edit::HashPut { field, value } => field.len() + value.len() + EDIT_OVERHEAD_BYTES,
        Edit::HashAddInt { field, .. } | Edit::HashAddFloat { field, .. } => field.len() + EDIT_OVERHEAD_BYTES,
        Edit::SetAdd(member) | Edit::ScorePut { member, .. } | Edit::ScoreAdd { member, .. } => {
            member.len() + EDIT_OVERHEAD_BYTES
        }
        Edit::SketchMerge(_) => althing_crdt::hll::REGISTERS + EDIT_OVERHEAD_BYTES,
    }
}

/// Whether an edit goes on from what its actor has added before ([`crate::names`]).
pub(crate) const fn adds(edit: &Edit) -> bool {
    match edit {
        Edit::AddInt(_)
        | Edit::AddFloat(_)
        | Edit::HashAddInt { .. }
        | Edit::HashAddFloat { .. }
        | Edit::ScoreAdd { .. }
        | Edit::SketchMerge(_) => true,
        Edit::Delete
        | Edit::Deadline(_)
        | Edit::PutString(_)
        | Edit::HashPut { .. }
        | Edit::HashRemove(_)
        | Edit::SetAdd(_)
        | Edit::SetRemove(_)
        | Edit::ScorePut { .. }
        | Edit::ScoreRemove(_) => false,
    }
}

/// What the edits of one operation have come to.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Edited {
    /// What the other replicas are told.
    pub(crate) delta: Delta<Keyed>,
    /// The time of the last written value, if there is one.
    pub(crate) time: Option<Timestamp>,
}

/// Edits one key in place, and collects the delta.
pub(crate) struct Editor<'a> {
    state: &'a mut Keyed,
    clock: &'a mut Hlc,
    wall: WallTime,
    next: Dot,
    /// Whose runs of counters are the writer's own.
    own: Actor,
    /// What the writer has seen, and what this operation has written so far; `None` is all.
    seen: Option<DotContext>,
    delta: Option<Delta<Keyed>>,
    time: Option<Timestamp>,
}

impl<'a> Editor<'a> {
    /// An editor that issues dots from `next` on. Runs of counters are its own if they are of `own`.
    pub(crate) fn new(
        state: &'a mut Keyed,
        clock: &'a mut Hlc,
        now_ms: i64,
        (next, own): (Dot, Actor),
        seen: Option<&DotContext>,
    ) -> Self {
        let wall = WallTime(u64::try_from(now_ms).unwrap_or(0));
        Self { state, clock, wall, next, own, seen: seen.cloned(), delta: None, time: None }
    }

    /// What it has come to; nothing, if nothing was to be changed.
    pub(crate) fn finish(mut self) -> Option<Edited> {
        if self.state.shows().is_none() && !self.state.deadlines.is_bottom() {
            // A key that is left empty takes its deadline with it.
            self.remove_deadlines();
        }
        let time = self.time;
        self.delta.map(|delta| Edited { delta, time })
    }

    /// Drops this actor's runs of which everything was taken back.
    pub(crate) fn forget(&mut self) {
        let mut removed = DotContext::EMPTY;
        let store = self.state.forget(self.own, &mut removed);
        if !removed.is_empty() {
            self.take(Delta::new(self.next, store, removed));
        }
    }

    /// Makes one edit. Those of one operation fit the state that it was executed on: [`check`] lets through what can be done.
    pub(crate) fn edit(&mut self, edit: Edit) {
        match detached(edit) {
            Edit::Delete => self.delete(),
            Edit::Deadline(Some(at_ms)) => self.put_deadline(Some(at_ms)),
            Edit::Deadline(None) => self.persist(),
            Edit::PutString(value) => self.put_string(value),
            Edit::AddInt(by) => self.add(|text, dot| text.add_whole(dot, by).ok(), by as f64),
            Edit::AddFloat(by) => self.add(|text, dot| text.add_real(dot, by).ok(), by),
            Edit::HashPut { field, value } => self.put_field(field, value),
            Edit::HashRemove(field) => self.remove_field(field),
            Edit::HashAddInt { field, by } => {
                self.add_field(field, |text, dot| text.add_whole(dot, by).ok(), by as f64);
            }
            Edit::HashAddFloat { field, by } => self.add_field(field, |text, dot| text.add_real(dot, by).ok(), by),
            Edit::SetAdd(member) => {
                let delta = self.state.set.add(self.next, member);
                self.take(delta.map(Keyed::of_set));
            }
            Edit::SetRemove(member) => {
                let delta = self.state.set.remove(self.next, member, self.seen());
                self.take(delta.map(Keyed::of_set));
            }
            Edit::ScorePut { member, score } => self.put_score(member, score),
            Edit::ScoreAdd { member, by } => self.add_score(member, by),
            Edit::ScoreRemove(member) => self.remove_score(member),
            Edit::SketchMerge(sketch) => {
                let delta = self.state.sketch.grow(self.next, |own| own.merge(sketch));
                self.take(delta.map(Keyed::of_sketch));
            }
        }
    }

    fn seen(&self) -> Seen<'_> {
        self.seen.as_ref().map_or(Seen::All, Seen::Context)
    }

    /// Applies an edit's delta here and adds it to what the others are told.
    fn take(&mut self, delta: Delta<Keyed>) {
        self.next.counter += 1;
        if let Some(seen) = &mut self.seen {
            seen.join(&delta.writes);
        }
        // What it holds is new, or held here already: nothing of it was removed.
        self.state.apply(&DotContext::EMPTY, delta.store.clone(), &delta.context, Bottoms::Drop);
        match &mut self.delta {
            None => self.delta = Some(delta),
            Some(all) => all.merge(delta),
        }
    }

    /// The time of a write that replaces what was written at `seen`. It is greater than that, unless that was written by a clock
    /// that is too far ahead to be followed; then it replaces it all the same, since what is replaced is a matter of dots.
    fn time_after(&mut self, seen: Option<Timestamp>) -> Timestamp {
        let followed = seen.and_then(|seen| self.clock.observe(seen, self.wall).ok());
        let time = followed.unwrap_or_else(|| self.clock.now(self.wall));
        self.time = Some(time);
        time
    }

    fn delete(&mut self) {
        let mut removed = DotContext::EMPTY;
        let store = self.state.reset_as(self.own, self.seen(), &mut removed);
        if !removed.is_empty() {
            self.take(Delta::new(self.next, store, removed));
        }
    }

    fn put_deadline(&mut self, at_ms: Option<i64>) {
        let strings = self.state.text.written.siblings().iter().map(|(dot, _)| *dot);
        let binds = strings.filter(|dot| self.seen().contains(*dot)).collect();
        let mut removed = DotContext::EMPTY;
        let _ = self.state.deadlines.reset(self.seen(), &mut removed);
        let deadlines = DotFun::from((self.next, Deadline { at_ms, binds }));
        self.take(Delta::new(self.next, Keyed { deadlines, ..Keyed::default() }, removed));
    }

    /// Without a deadline. A string that none binds says so itself; other types need the word.
    fn persist(&mut self) {
        if self.state.deadlines.is_bottom() {
            return;
        }
        if self.state.text.written.siblings().is_empty() && self.state.shows().is_some() {
            self.put_deadline(None);
        } else {
            self.remove_deadlines();
        }
    }

    fn remove_deadlines(&mut self) {
        let mut removed = DotContext::EMPTY;
        let deadlines = self.state.deadlines.reset(self.seen(), &mut removed);
        if !removed.is_empty() {
            self.take(Delta::new(self.next, Keyed { deadlines, ..Keyed::default() }, removed));
        }
    }

    /// The deadline stays, and so must bind what is written.
    fn put_string(&mut self, value: Bytes) {
        let deadline = self.state.deadline_ms();
        let time = self.time_after(self.state.text.time());
        let delta = self.state.text.put(self.next, time, self.seen(), self.own, value);
        self.take(delta.map(Keyed::of_text));
        if deadline.is_some() {
            self.put_deadline(deadline);
        }
    }

    /// An addition; or, if that is beyond what counters hold, the sum as a written value.
    fn add(&mut self, add: impl FnOnce(&Text, Dot) -> Option<Delta<Text>>, by: f64) {
        match add(&self.state.text, self.next) {
            Some(delta) => self.take(delta.map(Keyed::of_text)),
            None => self.put_string(sum(&self.state.text, by)),
        }
    }

    fn put_field(&mut self, field: Bytes, value: Bytes) {
        let held = self.state.fields.map().get(&field).and_then(Text::time);
        let time = self.time_after(held);
        let (dot, seen, own) = (self.next, self.seen(), self.own);
        let delta = self.state.fields.map().update(field, |text| text.put(dot, time, seen, own, value));
        self.take(delta.map(Keyed::of_fields));
    }

    fn remove_field(&mut self, field: Bytes) {
        let mut removed = DotContext::EMPTY;
        let Some(text) = self.state.fields.map().get(&field) else { return };
        let store = DotMap::from_iter([(field, text.reset_as(self.own, self.seen(), &mut removed))]);
        self.take(Delta::new(self.next, Keyed::of_fields(store), removed));
    }

    fn add_field(&mut self, field: Bytes, add: impl FnOnce(&Text, Dot) -> Option<Delta<Text>>, by: f64) {
        let dot = self.next;
        match self.state.fields.map().try_update(field.clone(), |text| add(text, dot).ok_or(())) {
            Ok(delta) => self.take(delta.map(Keyed::of_fields)),
            Err(()) => {
                let value = self.state.fields.map().get(&field).map(|text| sum(text, by)).unwrap_or_default();
                self.put_field(field, value);
            }
        }
    }

    fn put_score(&mut self, member: Bytes, score: f64) {
        let held = self.state.sorted.parts(&member).cloned().unwrap_or_default();
        let time = self.time_after(held.0.latest().map(|sibling| sibling.time));
        let value = Real::new(score).expect("no score that an operation writes is NaN");
        let delta = held.0.write(self.next, self.seen(), Sibling { time, expires: None, value });
        let mut removed = delta.context;
        let added = reset_counter(&held.1, self.own, self.seen(), &mut removed);
        let delta = Delta::new(self.next, (delta.store, added), removed);
        self.take(delta.map(|store| Keyed::of_score(member, store)));
    }

    /// An increment; or, if the score is infinite or becomes so, the sum as a written score.
    fn add_score(&mut self, member: Bytes, by: f64) {
        match self.state.sorted.increment(self.next, member.clone(), by) {
            Ok(delta) => self.take(delta.map(|sorted| Keyed { sorted, ..Keyed::default() })),
            Err(_) => {
                let sum = self.state.sorted.score(&member).unwrap_or_default() + by;
                self.put_score(member, sum);
            }
        }
    }

    fn remove_score(&mut self, member: Bytes) {
        let mut removed = DotContext::EMPTY;
        let store = self.state.reset_score(&member, self.own, self.seen(), &mut removed);
        if !removed.is_empty() {
            self.take(Delta::new(self.next, Keyed::of_score(member, store), removed));
        }
    }
}

/// The edit with bytes of its own. Those of a request are slices of all that was read with it, which a kept value would keep.
fn detached(edit: Edit) -> Edit {
    let own = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
    match edit {
        Edit::PutString(value) => Edit::PutString(own(value)),
        Edit::HashPut { field, value } => Edit::HashPut { field: own(field), value: own(value) },
        Edit::HashAddInt { field, by } => Edit::HashAddInt { field: own(field), by },
        Edit::HashAddFloat { field, by } => Edit::HashAddFloat { field: own(field), by },
        Edit::SetAdd(member) => Edit::SetAdd(own(member)),
        Edit::ScorePut { member, score } => Edit::ScorePut { member: own(member), score },
        Edit::ScoreAdd { member, by } => Edit::ScoreAdd { member: own(member), by },
        removal @ (Edit::Delete
        | Edit::Deadline(_)
        | Edit::AddInt(_)
        | Edit::AddFloat(_)
        | Edit::HashRemove(_)
        | Edit::SetRemove(_)
        | Edit::ScoreRemove(_)
        | Edit::SketchMerge(_)) => removal,
    }
}

/// What a text comes to with one more addition.
fn sum(text: &Text, by: f64) -> Bytes {
    let shown = text.shown();
    let whole = if by.fract() == 0.0 { Real::of(by).ok().map(|_| by as i128) } else { None };
    let total = match whole {
        Some(whole) => althing_datatypes::number::total(shown.as_deref(), whole, 0.0),
        None => althing_datatypes::number::total(shown.as_deref(), 0, by),
    };
    total.ok().or(shown).unwrap_or_default()
}

impl Keyed {
    fn of_text(text: Text) -> Self {
        Self { text, ..Self::default() }
    }

    fn of_fields(fields: DotMap<Bytes, Text>) -> Self {
        Self { fields: Fields::from(fields), ..Self::default() }
    }

    fn of_set(set: OrSet<Bytes>) -> Self {
        Self { set, ..Self::default() }
    }

    fn of_sketch(sketch: HllKey) -> Self {
        Self { sketch, ..Self::default() }
    }

    fn of_score(member: Bytes, score: (MvRegister<Real>, althing_crdt::FloatCounter)) -> Self {
        let scores: DotMap<Bytes, zset::Score> = DotMap::from_iter([(member, score)]);
        Self { sorted: scores.into(), ..Self::default() }
    }
}

/// The dot that this actor issues after its `last` event.
pub(crate) const fn next_dot(actor: Actor, last: u64) -> Dot {
    Dot::new(actor, last + 1)
}
