//! Who writes, and the name of one write.

use std::fmt;

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::NodeId;

use crate::coded::Coded;

/// The identity under which a replica writes: a node, and a number that this node never uses twice. Whoever lost or went back
/// on what it had written comes back under a new generation, so that no dot is ever issued twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// The node.
    pub node: NodeId,
    /// Which of its lives this is.
    pub generation: u64,
}

impl Actor {
    /// The actor below all others, from which ranges of actors begin.
    pub const MIN: Self = Self::new(0, 0);

    /// The actor of this node and generation.
    #[must_use]
    pub const fn new(node: u64, generation: u64) -> Self {
        Self { node: NodeId(node), generation }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.generation)
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actor({self})")
    }
}

/// One event: the `counter`-th of `actor`, counted from 1. Dots order by actor, then counter; that order means nothing but
/// that all replicas iterate alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Whose event.
    pub actor: Actor,
    /// Which of its events, from 1 to [`Dot::MAX_COUNTER`].
    pub counter: u64,
}

impl Dot {
    /// The greatest counter that is read from bytes. At a million writes a second it lasts 292,000 years; half of the numbers
    /// stay free above it, so that counting on from what somebody else claims cannot overflow.
    pub const MAX_COUNTER: u64 = u64::MAX >> 1;

    /// The event of this actor with this number.
    #[must_use]
    pub const fn new(actor: Actor, counter: u64) -> Self {
        Self { actor, counter }
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.actor, self.counter)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dot{self}")
    }
}

/// Some events of one actor in a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DotRange {
    /// Whose events.
    pub actor: Actor,
    /// The first of them.
    pub first: u64,
    /// The last, which is not below the first.
    pub last: u64,
}

impl DotRange {
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether the event is among them.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        dot.actor == self.actor && (self.first..=self.last).contains(&dot.counter)
    }
}

impl Coded for Actor {
    const NAME: &'static str = "an actor";

    fn write(&self, writer: &mut Writer) {
        writer.fixed_u64(self.node.get());
        writer.u64(self.generation);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            node: NodeId(reader.fixed_u64("an actor's node")?),
            generation: reader.u64("an actor's generation")?,
        })
    }
}

impl Coded for Dot {
    const NAME: &'static str = "a dot";

    fn write(&self, writer: &mut Writer) {
        self.actor.write(writer);
        writer.u64(self.counter);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { actor: Actor::read(reader)?, counter: read_counter(reader)? })
    }
}

/// A counter of events, which is not zero.
pub(crate) fn read_counter(reader: &mut Reader) -> Result<u64, DecodeError> {
    check_counter(reader.u64("a dot's counter")?)
}

/// Refuses what no actor has counted to.
pub(crate) const fn check_counter(counter: u64) -> Result<u64, DecodeError> {
    match counter {
        1..=Dot::MAX_COUNTER => Ok(counter),
        _ => Err(DecodeError::Unknown { field: "a dot's counter", value: counter }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{A, check_coded, dot};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_back_as_they_were(value in dot(), place: usize, byte: u8) {
            check_coded(&value, place, byte);
        }
    }

    #[test]
    fn a_dot_that_nobody_can_have_issued_is_refused() {
        assert!(Dot::decode(Dot::new(A, 0).encode()).is_err());
        assert!(Dot::decode(Dot::new(A, Dot::MAX_COUNTER + 1).encode()).is_err());
        assert!(Dot::decode(Dot::new(A, Dot::MAX_COUNTER).encode()).is_ok());
    }
}
