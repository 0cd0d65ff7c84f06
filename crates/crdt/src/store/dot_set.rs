//! A set of dots: something is there as long as an event that put it there is not removed.

use althing_clock::coded::ascending;
use althing_clock::{Coded, Dot, DotContext};
use althing_codec::{DecodeError, Reader, Writer};

use crate::few::Few;
use crate::join::{Join, Reset, Seen};

/// The live events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DotSet(Few<Dot>);

impl DotSet {
    /// The dots, ascending.
    #[must_use]
    pub const fn as_slice(&self) -> &[Dot] {
        self.0.as_slice()
    }

    /// Whether the dot is held.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.as_slice().binary_search(&dot).is_ok()
    }

    /// Holds this dot from now on.
    pub fn insert(&mut self, dot: Dot) {
        if let Err(place) = self.as_slice().binary_search(&dot) {
            self.0.insert(place, dot);
        }
    }
}

impl From<Dot> for DotSet {
    fn from(dot: Dot) -> Self {
        Self(Few::One(dot))
    }
}

impl Join for DotSet {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        self.0.retain(|dot| other.contains(*dot) || !theirs.contains(*dot));
        other.0.into_iter().filter(|dot| !mine.contains(*dot)).for_each(|dot| self.insert(dot));
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.as_slice().iter().for_each(|dot| visit(*dot));
    }

    fn is_bottom(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl Reset for DotSet {
    fn reset(&self, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        removed.extend(self.as_slice().iter().copied().filter(|dot| seen.contains(*dot)));
        Self::default()
    }
}

impl Coded for DotSet {
    const NAME: &'static str = "a set of dots";

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.as_slice().len() as u64);
        self.as_slice().iter().for_each(|dot| dot.write(writer));
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut dots: Vec<Dot> = Vec::new();
        for place in 0..reader.count(Self::NAME)? {
            let dot = Dot::read(reader)?;
            ascending(dots.last(), &dot, place, "the order of a set of dots")?;
            dots.push(dot);
        }
        Ok(Self(dots.into()))
    }
}
