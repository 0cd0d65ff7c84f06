//! The flag that is on if anybody has switched it on and nobody who saw that has switched it off: enabling wins over a concurrent
//! disabling (Almeida, Shoker, Baquero 2018, §7.3, "enable-wins flag").

use althing_clock::{Coded, Dot, DotContext};
use althing_codec::{DecodeError, Reader, Writer};

use crate::join::{Delta, Join, Reset, Seen};
use crate::stability::{Stability, Stable};
use crate::store::DotSet;

/// What a flag says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Position {
    /// It is off, as before all writes.
    Off,
    /// It is on.
    On,
}

/// An enable-wins flag.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Flag(DotSet);

impl Flag {
    /// What it says.
    #[must_use]
    pub fn position(&self) -> Position {
        if self.0.is_bottom() { Position::Off } else { Position::On }
    }

    /// The write `dot`: it is on.
    #[must_use]
    pub fn enable(&self, dot: Dot) -> Delta<Self> {
        let mut context = DotContext::EMPTY;
        let _ = self.0.reset(Seen::All, &mut context);
        Delta::new(dot, Self(DotSet::from(dot)), context)
    }

    /// The write `dot`: it is off, unless somebody whom this writer has not seen switches it on.
    #[must_use]
    pub fn disable(&self, dot: Dot, seen: Seen<'_>) -> Delta<Self> {
        Delta::reset(dot, self, seen)
    }
}

impl Join for Flag {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        self.0.join(mine, other.0, theirs);
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.0.dots(visit);
    }

    fn is_bottom(&self) -> bool {
        self.0.is_bottom()
    }
}

impl Reset for Flag {
    fn reset(&self, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        Self(self.0.reset(seen, removed))
    }
}

impl Stability for Flag {
    fn settle(&mut self, _: &Stable) {}
}

impl Coded for Flag {
    const NAME: &'static str = "a flag";

    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        DotSet::read(reader).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Causal;
    use althing_clock::Actor;

    #[test]
    fn enabling_wins_over_a_concurrent_disabling_and_not_over_a_later_one() {
        let (a, b) = (Actor::new(1, 1), Actor::new(2, 1));
        let (mut left, mut right) = (Causal::<Flag>::default(), Causal::default());
        left.apply(left.store.enable(left.context.next_dot(a)));
        right.join(left.clone());
        left.apply(left.store.disable(left.context.next_dot(a), Seen::All));
        right.apply(right.store.enable(right.context.next_dot(b)));
        left.join(right);
        assert_eq!(left.store.position(), Position::On);
        left.apply(left.store.disable(left.context.next_dot(a), Seen::All));
        assert_eq!(left.store.position(), Position::Off);
    }
}
