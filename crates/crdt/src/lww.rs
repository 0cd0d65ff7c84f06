//! The register in which the last writer wins (Shapiro et al. 2011, specification 8).
//!
//! Of two concurrent writes one is lost, by whose clock was ahead. It is here for what may be lost, and to show the difference;
//! what must not be lost belongs into a [`crate::MvRegister`].

use althing_clock::{Coded, Dot, Timestamp};
use althing_codec::{DecodeError, Reader, Writer};

use crate::join::{Merge, plain};
use crate::stability::{Stability, Stable};

/// One write or deletion. The greater one wins: by time, then by dot, and if somebody has issued a dot twice, by value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Write<V> {
    time: Timestamp,
    dot: Dot,
    /// None: it was deleted.
    value: Option<V>,
}

/// A register that keeps the write of the greatest timestamp.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LwwRegister<V>(Option<Write<V>>);

impl<V: Ord + Clone> LwwRegister<V> {
    /// The value, unless there is none or it was deleted.
    #[must_use]
    pub fn get(&self) -> Option<&V> {
        self.0.as_ref().and_then(|write| write.value.as_ref())
    }

    /// When it was last written or deleted.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|write| write.time)
    }

    /// The delta of a write.
    #[must_use]
    pub const fn write(dot: Dot, time: Timestamp, value: V) -> Self {
        Self(Some(Write { time, dot, value: Some(value) }))
    }

    /// The delta of a deletion. It leaves a mark until it is stable.
    #[must_use]
    pub const fn delete(dot: Dot, time: Timestamp) -> Self {
        Self(Some(Write { time, dot, value: None }))
    }
}

impl<V> Default for LwwRegister<V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<V: Ord + Clone> Merge for LwwRegister<V> {
    fn merge(&mut self, other: Self) {
        if other > *self {
            *self = other;
        }
    }
}

plain!(impl[V: Ord + Clone] LwwRegister<V>);

impl<V> Stability for LwwRegister<V> {
    fn settle(&mut self, stable: &Stable) {
        if self.0.as_ref().is_some_and(|write| write.value.is_none() && stable.contains(write.dot)) {
            self.0 = None;
        }
    }
}

impl<V: Coded> Coded for LwwRegister<V> {
    const NAME: &'static str = "a register";

    fn write(&self, writer: &mut Writer) {
        let Some(write) = &self.0 else { return writer.u8(0) };
        writer.u8(if write.value.is_some() { 2 } else { 1 });
        write.time.write(writer);
        write.dot.write(writer);
        if let Some(value) = &write.value {
            value.write(writer);
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let kind = reader.u8("a register's kind")?;
        if kind == 0 {
            return Ok(Self(None));
        }
        let (time, dot) = (Timestamp::read(reader)?, Dot::read(reader)?);
        let value = match kind {
            1 => None,
            2 => Some(V::read(reader)?),
            _ => return Err(DecodeError::Unknown { field: "a register's kind", value: u64::from(kind) }),
        };
        Ok(Self(Some(Write { time, dot, value })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_clock::Actor;

    const fn dot(node: u64) -> Dot {
        Dot::new(Actor::new(node, 1), 1)
    }

    #[test]
    fn of_two_concurrent_writes_one_is_lost() {
        let first = LwwRegister::write(dot(1), Timestamp::new(20, 0), "first");
        let second = LwwRegister::write(dot(2), Timestamp::new(10, 0), "second, by a clock that is behind");
        let mut register = first;
        register.merge(second);
        assert_eq!(register.get(), Some(&"first"));
    }

    #[test]
    fn dots_tell_equal_times_apart() {
        let time = Timestamp::new(5, 0);
        let mut register = LwwRegister::write(dot(2), time, 2);
        register.merge(LwwRegister::write(dot(1), time, 1));
        assert_eq!(register.get(), Some(&2));
    }

    #[test]
    fn a_deletion_leaves_a_mark_until_it_is_settled() {
        let mut register = LwwRegister::write(dot(1), Timestamp::new(1, 0), 1);
        register.merge(LwwRegister::delete(dot(2), Timestamp::new(2, 0)));
        register.merge(LwwRegister::write(dot(1), Timestamp::new(1, 0), 1));
        assert_eq!((register.get(), register.time()), (None, Some(Timestamp::new(2, 0))));
        register.settle(&Stable { vector: [(dot(1).actor, 1)].into_iter().collect(), ..Stable::default() });
        assert!(register.time().is_some());
        register.settle(&Stable { vector: [(dot(2).actor, 1)].into_iter().collect(), ..Stable::default() });
        assert_eq!(register, LwwRegister::default());
    }
}
