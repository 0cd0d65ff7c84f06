//! The algebra: what a state must be able to do, and what follows from it.

use althing_clock::{Causality, Coded, Dot, DotContext};
use althing_codec::{DecodeError, Reader, Writer};

/// A state that can be joined with another one, each beside the context of whoever holds it.
///
/// The laws, for states that histories of writes lead to, with their contexts: the join is commutative, associative and
/// idempotent, the bottom beside the empty context is neutral, and a delta that is applied does what joining it as a state
/// would. [`crate::laws`] holds every type to them.
///
/// A context says which events its holder knows of. What the holder's state does not show of these is gone: removed, or
/// replaced. So what one side shows and the other does not is new if the other's context lacks its dot, and gone if not
/// (Almeida, Shoker, Baquero 2018, §7.3). Types that only grow need no context and ignore it.
///
/// Both contexts are those *before* the join; the caller joins them afterwards. They may know more than the state in hand: one
/// context serves all keys of a shard.
///
/// **One dot, one place**: no dot may be held by two parts of a state, or two keys beside one context.
pub trait Join: Clone + Default + PartialEq {
    /// Joins a whole state: what `other` does not show and `theirs` covers goes.
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext);

    /// Joins a delta: as [`Join::join`], but parts that it does not mention are not looked at, so that the cost is that of the
    /// delta. A delta mentions what it removes: as a part that is bottom.
    fn apply(&mut self, mine: &DotContext, delta: Self, its: &DotContext, _: Bottoms) {
        self.join(mine, delta, its);
    }

    /// Shows every dot that is held.
    fn dots(&self, visit: &mut dyn FnMut(Dot));

    /// Whether there is nothing: the state before all writes, or one of which everything was removed.
    fn is_bottom(&self) -> bool;
}

/// What becomes of parts that are bottom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bottoms {
    /// They go: in a state, the absence says it all.
    Drop,
    /// They stay: in a delta, they say what is removed.
    Keep,
}

/// A plain lattice: two values have a least upper bound, which needs no context. Commutative, associative, idempotent.
pub trait Merge: Clone + PartialEq {
    /// Becomes the least upper bound.
    fn merge(&mut self, other: Self);
}

/// How much of what is there somebody has seen: the part of it that his removal removes.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// All that this replica holds, as a writer without a context is taken to have.
    All,
    /// These events.
    Context(&'a DotContext),
}

impl Seen<'_> {
    /// Whether the event was seen.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        match self {
            Self::All => true,
            Self::Context(context) => context.contains(dot),
        }
    }
}

/// A state of which what was seen can be removed.
pub trait Reset: Join {
    /// The delta that removes what was seen: its store is returned, and what its context must have is added to `removed`.
    ///
    /// The store of a great map mentions each key. Where that is too much, and no counter is within, a bottom that is joined as a
    /// state beside the removed dots does the same ([`Join::join`]).
    #[must_use]
    fn reset(&self, seen: Seen<'_>, removed: &mut DotContext) -> Self;
}

/// A small state with a small context: what one write did, or several. Deltas may be applied in any order, any number of
/// times, or merged first.
///
/// Every write takes a dot of its own, removals too. The dots of a delta's *writes* are told apart from those that these removed,
/// because a removal is often the first that a replica hears of what it removes: then the removed dot is in its context, but
/// whatever else that write had done, such as replacing an older one, has not been done there. So what a replica has is said by
/// the writes that it has **taken**, and never by its context ([`Causal::has`]).
#[derive(Clone, PartialEq, Debug)]
pub struct Delta<S> {
    /// What was written.
    pub store: S,
    /// The dots of the writes and those that they removed: what [`Join::apply`] is given.
    pub context: DotContext,
    /// The dots of the writes.
    pub writes: DotContext,
}

impl<S: Join> Delta<S> {
    /// The delta of the write `dot`, which removes `removed`.
    #[must_use]
    pub fn new(dot: Dot, store: S, removed: DotContext) -> Self {
        let mut context = removed;
        context.insert(dot);
        Self { store, context, writes: DotContext::from(dot) }
    }

    /// The delta of the write `dot`, which removes nothing.
    #[must_use]
    pub fn of(dot: Dot, store: S) -> Self {
        Self::new(dot, store, DotContext::EMPTY)
    }

    /// The delta of the write `dot`, which removes what was seen of `state`.
    #[must_use]
    pub fn reset(dot: Dot, state: &S, seen: Seen<'_>) -> Self
    where
        S: Reset,
    {
        let mut removed = DotContext::EMPTY;
        let store = state.reset(seen, &mut removed);
        Self::new(dot, store, removed)
    }

    /// Both deltas in one.
    pub fn merge(&mut self, other: Self) {
        self.store.apply(&self.context, other.store, &other.context, Bottoms::Keep);
        self.context.join(&other.context);
        self.writes.join(&other.writes);
    }

    /// The same as part of something greater.
    #[must_use]
    pub fn map<T>(self, wrap: impl FnOnce(S) -> T) -> Delta<T> {
        Delta { store: wrap(self.store), context: self.context, writes: self.writes }
    }
}

/// A state with contexts of its own: a replica that stands alone.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Causal<S> {
    /// The state.
    pub store: S,
    /// All events that it knows of: those that it has taken, and those that it knows to be removed.
    pub context: DotContext,
    /// The writes of which it has the whole effect.
    pub taken: DotContext,
}

impl<S: Join> Causal<S> {
    /// Joins another replica's state.
    pub fn join(&mut self, other: Self) {
        self.store.join(&self.context, other.store, &other.context);
        self.context.join(&other.context);
        self.taken.join(&other.taken);
    }

    /// Takes a delta.
    pub fn apply(&mut self, delta: Delta<S>) {
        self.store.apply(&self.context, delta.store, &delta.context, Bottoms::Drop);
        self.context.join(&delta.context);
        self.taken.join(&delta.writes);
    }

    /// Whether the delta would change nothing, for having been taken.
    #[must_use]
    pub fn has(&self, delta: &Delta<S>) -> bool {
        self.taken.covers(&delta.writes)
    }
}

impl<S> From<Delta<S>> for Causal<S> {
    fn from(delta: Delta<S>) -> Self {
        Self { store: delta.store, context: delta.context, taken: delta.writes }
    }
}

/// The contexts of a delta or a state: the writes, and the whole if it is more.
fn write_contexts(context: &DotContext, writes: &DotContext, writer: &mut Writer) {
    writes.write(writer);
    writer.bool(context != writes);
    if context != writes {
        context.write(writer);
    }
}

/// The context, and the writes in it.
fn read_contexts(reader: &mut Reader) -> Result<(DotContext, DotContext), DecodeError> {
    let writes = DotContext::read(reader)?;
    if !reader.bool("whether a context is more than its writes")? {
        return Ok((writes.clone(), writes));
    }
    let context = DotContext::read(reader)?;
    match context.compare(&writes) {
        Causality::After => Ok((context, writes)),
        Causality::Before | Causality::Equal | Causality::Concurrent => {
            Err(DecodeError::Unknown { field: "a context that is not more than its writes", value: 0 })
        }
    }
}

impl<S: Coded> Coded for Delta<S> {
    const NAME: &'static str = S::NAME;

    fn write(&self, writer: &mut Writer) {
        write_contexts(&self.context, &self.writes, writer);
        self.store.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (context, writes) = read_contexts(reader)?;
        Ok(Self { store: S::read(reader)?, context, writes })
    }
}

impl<S: Coded> Coded for Causal<S> {
    const NAME: &'static str = S::NAME;

    fn write(&self, writer: &mut Writer) {
        write_contexts(&self.context, &self.taken, writer);
        self.store.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (context, taken) = read_contexts(reader)?;
        Ok(Self { store: S::read(reader)?, context, taken })
    }
}

/// Two states side by side under one context, such as a register and the counter on top of it.
impl<A: Join, B: Join> Join for (A, B) {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        self.0.join(mine, other.0, theirs);
        self.1.join(mine, other.1, theirs);
    }

    fn apply(&mut self, mine: &DotContext, delta: Self, its: &DotContext, bottoms: Bottoms) {
        self.0.apply(mine, delta.0, its, bottoms);
        self.1.apply(mine, delta.1, its, bottoms);
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.0.dots(visit);
        self.1.dots(visit);
    }

    fn is_bottom(&self) -> bool {
        self.0.is_bottom() && self.1.is_bottom()
    }
}

impl<A: Reset, B: Reset> Reset for (A, B) {
    fn reset(&self, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        (self.0.reset(seen, removed), self.1.reset(seen, removed))
    }
}

/// Makes a [`Join`] of a [`Merge`] type that has a bottom: contexts do not concern it.
macro_rules! plain {
    (impl[$($generic:tt)*] $type:ty) => {
        impl<$($generic)*> $crate::join::Join for $type {
            fn join(&mut self, _: &althing_clock::DotContext, other: Self, _: &althing_clock::DotContext) {
                $crate::join::Merge::merge(self, other);
            }

            fn dots(&self, _: &mut dyn FnMut(althing_clock::Dot)) {}

            fn is_bottom(&self) -> bool {
                *self == Self::default()
            }
        }
    };
}
pub(crate) use plain;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::or_set::OrSet;
    use althing_clock::Actor;

    const A: Actor = Actor::new(1, 1);
    const B: Actor = Actor::new(2, 1);

    /// A writes x, then writes it again; B, who has seen both, removes it. C gets the first and the removal only.
    #[test]
    fn a_context_may_cover_a_write_that_was_not_taken() {
        let (mut a, mut c) = (Causal::<OrSet<u8>>::default(), Causal::default());
        let first = a.store.add(a.context.next_dot(A), 0);
        a.apply(first.clone());
        let second = a.store.add(a.context.next_dot(A), 0);
        a.apply(second.clone());
        let removed = a.store.remove(a.context.next_dot(B), 0, Seen::All);
        c.apply(first);
        c.apply(removed);
        assert!(c.context.covers(&second.context) && !c.has(&second));
        assert!(c.store.contains(&0), "that the second replaces the first is not known here");
        c.apply(second);
        assert!(c.store.is_empty());
    }

    #[test]
    fn a_delta_costs_what_it_mentions_and_leaves_the_rest_alone() {
        let mut set = Causal::<OrSet<u8>>::default();
        for element in 0..4 {
            set.apply(set.store.add(set.context.next_dot(A), element));
        }
        let mut both = set.store.remove(set.context.next_dot(B), 1, Seen::All);
        both.merge(set.store.add(Dot::new(B, 2), 9));
        assert_eq!(
            both.store.iter().map(|(element, dots)| (*element, dots.is_bottom())).collect::<Vec<_>>(),
            [(1, true), (9, false)]
        );
        set.apply(both);
        assert!(set.store.elements().eq(&[0, 2, 3, 9]));
    }
}
