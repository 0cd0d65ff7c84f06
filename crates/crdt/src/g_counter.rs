//! The counter that only grows (Shapiro, Preguiça, Baquero, Zawirski 2011, specification 6): each actor's own count, joined by the
//! greater.

use althing_clock::{Actor, Coded, VersionVector};
use althing_codec::{DecodeError, Reader, Writer};

use crate::join::{Merge, plain};
use crate::number::NumberError;

/// A counter that only grows. It is a version vector of what is counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GCounter(VersionVector);

impl GCounter {
    /// What an actor may count to: what a reader takes for a count.
    pub const MAX_COUNT: u64 = althing_clock::Dot::MAX_COUNTER;

    /// The sum.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]: it is beyond 64 bits.
    pub fn value(&self) -> Result<u64, NumberError> {
        let add = |sum: u64, (_, count)| sum.checked_add(count).ok_or(NumberError::Overflow);
        self.0.iter().try_fold(0, add)
    }

    /// The delta of this actor counting on. Only the actor itself may.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]: it has counted to [`GCounter::MAX_COUNT`]. Nothing is done.
    pub fn increment(&self, actor: Actor, by: u64) -> Result<Self, NumberError> {
        let count = self.0.get(actor).checked_add(by).filter(|count| *count <= Self::MAX_COUNT);
        let count = count.ok_or(NumberError::Overflow)?;
        Ok(Self([(actor, count)].into_iter().collect()))
    }
}

impl Merge for GCounter {
    fn merge(&mut self, other: Self) {
        self.0.join(&other.0);
    }
}

plain!(impl[] GCounter);

impl Coded for GCounter {
    const NAME: &'static str = "a growing counter";

    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        VersionVector::read(reader).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_actor_counts_for_itself_and_never_beyond_its_end() {
        let (a, b) = (Actor::new(1, 1), Actor::new(2, 1));
        let mut counter = GCounter::default();
        counter.merge(counter.increment(a, 3).unwrap());
        counter.merge(counter.increment(b, 4).unwrap());
        let again = counter.increment(a, 5).unwrap();
        counter.merge(again.clone());
        counter.merge(again);
        assert_eq!(counter.value(), Ok(12));
        assert_eq!(counter.increment(a, GCounter::MAX_COUNT), Err(NumberError::Overflow));
    }
}
