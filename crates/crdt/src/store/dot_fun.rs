//! A function from dots to values: each live event with what it wrote.

use althing_clock::coded::ascending;
use althing_clock::{Coded, Dot, DotContext};
use althing_codec::{DecodeError, Reader, Writer};

use crate::few::Few;
use crate::join::{Delta, Join, Merge, Reset, Seen};

/// The live events and their values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DotFun<V>(Few<(Dot, V)>);

impl<V> DotFun<V> {
    /// The events and values, by dot.
    #[must_use]
    pub const fn as_slice(&self) -> &[(Dot, V)] {
        self.0.as_slice()
    }

    /// The value that this event wrote, if it is live.
    #[must_use]
    pub fn get(&self, dot: Dot) -> Option<&V> {
        self.find(dot).ok().map(|place| &self.as_slice()[place].1)
    }

    /// Sets the value of an event.
    pub fn insert(&mut self, dot: Dot, value: V) {
        match self.find(dot) {
            Ok(place) => self.0.as_mut_slice()[place].1 = value,
            Err(place) => self.0.insert(place, (dot, value)),
        }
    }

    /// Drops the events that are not wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(Dot, &V) -> bool) {
        self.0.retain(|(dot, value)| wanted(*dot, value));
    }

    fn find(&self, dot: Dot) -> Result<usize, usize> {
        self.as_slice().binary_search_by_key(&dot, |(candidate, _)| *candidate)
    }
}

impl<V: Merge + Default> DotFun<V> {
    /// All values in one. With it a lattice that only grows becomes one that can be removed: what was seen of it goes, what was
    /// not stays.
    #[must_use]
    pub fn merged(&self) -> V {
        self.as_slice().iter().fold(V::default(), |mut all, (_, value)| {
            all.merge(value.clone());
            all
        })
    }

    /// The write `dot` that lets the writer's own value grow: a new event with all that this actor has contributed takes the
    /// place of its former ones. A removal that has not seen the new event does not remove it, nor what it carries on.
    #[must_use]
    pub fn grow(&self, dot: Dot, grow: impl FnOnce(&mut V)) -> Delta<Self> {
        let own = self.as_slice().iter().filter(|(candidate, _)| candidate.actor == dot.actor);
        let (mut context, mut value) = (DotContext::EMPTY, V::default());
        for (former, contribution) in own {
            context.insert(*former);
            value.merge(contribution.clone());
        }
        grow(&mut value);
        Delta::new(dot, Self::from((dot, value)), context)
    }
}

impl<V> Default for DotFun<V> {
    fn default() -> Self {
        Self(Few::None)
    }
}

impl<V> From<(Dot, V)> for DotFun<V> {
    fn from(entry: (Dot, V)) -> Self {
        Self(Few::One(entry))
    }
}

impl<V: Merge> Join for DotFun<V> {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        self.0.retain(|(dot, _)| !theirs.contains(*dot) || other.find(*dot).is_ok());
        for (dot, value) in other.0 {
            match self.find(dot) {
                Ok(place) => self.0.as_mut_slice()[place].1.merge(value),
                Err(place) if !mine.contains(dot) => self.0.insert(place, (dot, value)),
                Err(_) => {}
            }
        }
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.as_slice().iter().for_each(|(dot, _)| visit(*dot));
    }

    fn is_bottom(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl<V: Merge> Reset for DotFun<V> {
    fn reset(&self, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        removed.extend(self.as_slice().iter().map(|(dot, _)| *dot).filter(|dot| seen.contains(*dot)));
        Self::default()
    }
}

impl<V: Coded> Coded for DotFun<V> {
    const NAME: &'static str = V::NAME;

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.as_slice().len() as u64);
        for (dot, value) in self.as_slice() {
            dot.write(writer);
            value.write(writer);
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut entries: Vec<(Dot, V)> = Vec::new();
        for place in 0..reader.count("dotted values")? {
            let dot = Dot::read(reader)?;
            ascending(entries.last().map(|(last, _)| last), &dot, place, "the order of dotted values")?;
            entries.push((dot, V::read(reader)?));
        }
        Ok(Self(entries.into()))
    }
}
