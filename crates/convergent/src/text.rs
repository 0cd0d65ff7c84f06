//! A string, which is also a number: what was written, and what was added to it since.
//!
//! `SET n 5` writes; `INCRBY n 2` adds, and does not write 7, so that increments on both sides of a partition all count. What
//! is read is the latest of the written values plus all that was added. To write takes back the increments that the writer has
//! seen. So one that he has not seen is added to what he wrote, as it would be if it had come a moment later.

use althing_clock::{Actor, Coded, Dot, DotContext, Timestamp};
use althing_codec::{DecodeError, Reader, Writer};
use althing_crdt::{
    Counter, Delta, FloatCounter, Join, MvRegister, NumberError, PnCounter, Quantity, Reset, Seen, Sibling,
};
use althing_datatypes::number;
use bytes::Bytes;

/// What was written, and what was added.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Text {
    /// What was written: several, if concurrently.
    pub written: MvRegister<Bytes>,
    /// Whole numbers that were added.
    pub whole: PnCounter,
    /// Fractions that were added.
    pub real: FloatCounter,
}

/// What a counter is reset with. As [`Reset::reset`], but runs of `actor` go altogether: nobody else adds to them, and that
/// actor, which now knows that they are reset, begins a new one. So where each key has one coordinator, nothing remains of what is
/// deleted.
pub(crate) fn reset_counter<N: Quantity>(
    counter: &Counter<N>,
    actor: Actor,
    seen: Seen<'_>,
    removed: &mut DotContext,
) -> Counter<N> {
    let mut reset = counter.reset(seen, removed);
    let mut own = dead_runs(counter, actor);
    own.join(&dead_runs(&reset, actor));
    if !own.is_empty() {
        reset.join(&DotContext::EMPTY, Counter::default(), &own);
        removed.join(&own);
    }
    reset
}

/// The runs of this actor of which everything was taken back.
pub(crate) fn dead_runs<N: Quantity>(counter: &Counter<N>, actor: Actor) -> DotContext {
    let runs = counter.runs().iter().filter(|(start, run)| start.actor == actor && !run.is_live());
    runs.map(|(start, _)| *start).collect()
}

/// Whether it speaks of a run of this actor.
pub(crate) fn has_run_of<N: Quantity>(counter: &Counter<N>, actor: Actor) -> bool {
    counter.runs().iter().any(|(start, _)| start.actor == actor)
}

impl Text {
    /// Whether there is anything to be read.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        !self.written.siblings().is_empty() || self.is_counted()
    }

    fn is_counted(&self) -> bool {
        self.whole.is_live() || self.real.is_live()
    }

    /// What is read. If something was added to what is no number, because it was written at the same time, the written value is
    /// shown, and what was added waits for a number.
    #[must_use]
    pub fn shown(&self) -> Option<Bytes> {
        let written = self.written.latest().map(|sibling| &sibling.value);
        if !self.is_counted() {
            return written.cloned();
        }
        let sum = self.whole.sum().map_or(i128::MAX, |sum| sum.0);
        let total =
            self.real.value().ok().and_then(|real| number::total(written.map(|base| &base[..]), sum, real).ok());
        total.or_else(|| Some(written.cloned().unwrap_or_default()))
    }

    /// The greatest time of what was written.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.written.latest().map(|sibling| sibling.time)
    }

    /// How many values the writer has not seen.
    #[must_use]
    pub fn unseen(&self, seen: Seen<'_>) -> usize {
        self.written.siblings().iter().filter(|(dot, _)| !seen.contains(*dot)).count()
    }

    /// The write `dot`: the text is this, whatever of it was seen. Runs of `own` that were seen go altogether.
    #[must_use]
    pub fn put(&self, dot: Dot, time: Timestamp, seen: Seen<'_>, own: Actor, value: Bytes) -> Delta<Self> {
        let delta = self.written.write(dot, seen, Sibling { time, expires: None, value });
        let mut removed = delta.context;
        let whole = reset_counter(&self.whole, own, seen, &mut removed);
        let real = reset_counter(&self.real, own, seen, &mut removed);
        Delta::new(dot, Self { written: delta.store, whole, real }, removed)
    }

    /// The write `dot`: so much more.
    ///
    /// # Errors
    /// [`NumberError`]: what was added so far, or this, is beyond numbers.
    pub fn add_whole(&self, dot: Dot, by: i64) -> Result<Delta<Self>, NumberError> {
        Ok(self.whole.increment(dot, by)?.map(|whole| Self { whole, ..Self::default() }))
    }

    /// The write `dot`: so much more.
    ///
    /// # Errors
    /// [`NumberError`]: what was added so far, or this, is beyond numbers.
    pub fn add_real(&self, dot: Dot, by: f64) -> Result<Delta<Self>, NumberError> {
        Ok(self.real.increment(dot, by)?.map(|real| Self { real, ..Self::default() }))
    }

    /// What removes what was seen.
    pub(crate) fn reset_as(&self, actor: Actor, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        Self {
            written: self.written.reset(seen, removed),
            whole: reset_counter(&self.whole, actor, seen, removed),
            real: reset_counter(&self.real, actor, seen, removed),
        }
    }

    /// The runs of this actor of which everything was taken back.
    pub(crate) fn dead_runs(&self, actor: Actor) -> DotContext {
        let mut dead = dead_runs(&self.whole, actor);
        dead.join(&dead_runs(&self.real, actor));
        dead
    }

    /// Whether it speaks of a run of this actor.
    pub(crate) fn has_run_of(&self, actor: Actor) -> bool {
        has_run_of(&self.whole, actor) || has_run_of(&self.real, actor)
    }
}

impl Join for Text {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        self.written.join(mine, other.written, theirs);
        self.whole.join(mine, other.whole, theirs);
        self.real.join(mine, other.real, theirs);
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.written.dots(visit);
        self.whole.dots(visit);
        self.real.dots(visit);
    }

    fn is_bottom(&self) -> bool {
        self.written.is_bottom() && self.whole.is_bottom() && self.real.is_bottom()
    }
}

const WRITTEN: u8 = 1;
const WHOLE: u8 = 1 << 1;
const REAL: u8 = 1 << 2;

impl Coded for Text {
    const NAME: &'static str = "a text";

    fn write(&self, writer: &mut Writer) {
        let flag = |bottom: bool, flag: u8| if bottom { 0 } else { flag };
        writer.u8(flag(self.written.is_bottom(), WRITTEN)
            | flag(self.whole.is_bottom(), WHOLE)
            | flag(self.real.is_bottom(), REAL));
        if !self.written.is_bottom() {
            Coded::write(&self.written, writer);
        }
        if !self.whole.is_bottom() {
            self.whole.write(writer);
        }
        if !self.real.is_bottom() {
            self.real.write(writer);
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let flags = reader.u8("a text's parts")?;
        if flags > WRITTEN | WHOLE | REAL {
            return Err(DecodeError::Unknown { field: "a text's parts", value: u64::from(flags) });
        }
        Ok(Self {
            written: read_part(reader, flags & WRITTEN)?,
            whole: read_part(reader, flags & WHOLE)?,
            real: read_part(reader, flags & REAL)?,
        })
    }
}

/// A part if its flag is set. One that is there is not empty, so that equal values have equal bytes.
pub(crate) fn read_part<T: Join + Coded>(reader: &mut Reader, flag: u8) -> Result<T, DecodeError> {
    if flag == 0 {
        return Ok(T::default());
    }
    let part = T::read(reader)?;
    if part == T::default() {
        return Err(DecodeError::Unknown { field: "a part that is empty", value: u64::from(flag) });
    }
    Ok(part)
}
