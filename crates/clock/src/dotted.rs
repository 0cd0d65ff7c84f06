//! Dotted version vectors: the clock of one written value.
//!
//! Preguiça, Baquero, Almeida, Fonte, Gonçalves: *Dotted Version Vectors: Logical Clocks for Optimistic Replication*, 2010,
//! and *Efficient Causality Tracking in Distributed Storage Systems With Dotted Version Vectors*, 2012.
//!
//! When two clients have read the same value and both write through the same replica, their writes are concurrent, yet a
//! version vector with an entry for each replica must give the second one an entry that includes the first. The way out: the
//! write's own event, its *dot*, stands apart from the *past*, which is what the client had seen. `((r, 3), {r:1})` has seen
//! one event of `r`, is the third, and knows nothing of the second.
//!
//! Whether one value is older than another is then one look: its dot is in the other's past ([`DottedVersionVector::descends`]).
//! A replica's work is two functions: [`update`] makes the clock of a write, [`sync`] merges what two replicas hold.

use std::fmt;

use althing_codec::{DecodeError, Reader, Writer};

use crate::coded::Coded;
use crate::dot::{Actor, Dot};
use crate::vector::{Causality, VersionVector};

/// The clock of one written value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DottedVersionVector {
    /// The write's own event.
    pub dot: Dot,
    /// What the writer had seen. The dot is not in it.
    pub past: VersionVector,
}

impl DottedVersionVector {
    /// Whether the other is this value or one that its writer had seen.
    #[must_use]
    pub fn descends(&self, other: &Self) -> bool {
        self.dot == other.dot || self.past.contains(other.dot)
    }

    /// How the one value stands to the other.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        Causality::of(self.descends(other), other.descends(self))
    }
}

/// What a reader of these values has seen, for its next write: the least vector that includes all of them (the papers'
/// `⌈S⌉`). A replica keeps a key's events of its own without holes, so the vector adds nothing of which the reader was not told.
#[must_use]
pub fn ceiling<'a>(clocks: impl IntoIterator<Item = &'a DottedVersionVector>) -> VersionVector {
    clocks.into_iter().fold(VersionVector::EMPTY, |mut ceiling, clock| {
        ceiling.join(&clock.past);
        ceiling.raise(clock.dot.actor, clock.dot.counter);
        ceiling
    })
}

/// The clock of a write whose writer has seen `context`, at the replica that writes as `actor` and holds `held`: its dot is the
/// actor's next, its past is what was seen.
#[must_use]
pub fn update(context: &VersionVector, held: &[DottedVersionVector], actor: Actor) -> DottedVersionVector {
    let known = ceiling(held).get(actor).max(context.get(actor));
    DottedVersionVector { dot: Dot::new(actor, known + 1), past: context.clone() }
}

/// What stays of `held` beside a write that has seen `context`: what its writer had not seen.
#[must_use]
pub fn discard(held: &[DottedVersionVector], context: &VersionVector) -> Vec<DottedVersionVector> {
    held.iter().filter(|clock| !context.contains(clock.dot)).cloned().collect()
}

/// What two replicas hold together: all values of both that no other one replaces, each once, ordered by dot.
#[must_use]
pub fn sync(left: &[DottedVersionVector], right: &[DottedVersionVector]) -> Vec<DottedVersionVector> {
    let replaced = |clock: &DottedVersionVector, by: &[DottedVersionVector]| {
        by.iter().any(|other| other.compare(clock) == Causality::After)
    };
    let kept = |mine: &[DottedVersionVector], others: &[DottedVersionVector]| {
        mine.iter().filter(|clock| !replaced(clock, others)).cloned().collect::<Vec<_>>()
    };
    let mut all = kept(left, right);
    all.append(&mut kept(right, left));
    all.sort_unstable();
    all.dedup();
    all
}

impl fmt::Display for DottedVersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.dot, self.past)
    }
}

impl Coded for DottedVersionVector {
    const NAME: &'static str = "a dotted version vector";

    fn write(&self, writer: &mut Writer) {
        self.dot.write(writer);
        self.past.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (dot, past) = (Dot::read(reader)?, VersionVector::read(reader)?);
        if past.contains(dot) {
            return Err(DecodeError::Unknown { field: "a past, which has its own dot", value: dot.counter });
        }
        Ok(Self { dot, past })
    }
}
