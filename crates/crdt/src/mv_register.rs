//! The multi-value register: concurrent writes are all kept, as siblings, until a write that has seen them replaces them.
//!
//! DeCandia et al., *Dynamo*, 2007, §4.4, with the causality of dotted version vectors; as a dot store it is a function from
//! dots to values (Almeida, Shoker, Baquero 2018, §7.3). What a writer had seen is not stored with the value: the writer's delta
//! names the dots that it replaces, and the replica's context remembers them.
//!
//! Every sibling has the time of its write, which only chooses the one that a reader without an eye for siblings is shown, and
//! may have a deadline. A deadline is part of the dotted value and does not change: to give a value another one is to write it
//! again. Of siblings with the same value that were given different ones concurrently, the later shows longest.

use std::cmp::Ordering;

use althing_clock::{Coded, Dot, DotContext, Timestamp};
use althing_codec::{DecodeError, Reader, Writer};
use althing_types::WallTime;

use crate::join::{Delta, Join, Merge, Reset, Seen};
use crate::stability::{Stability, Stable};
use crate::store::DotFun;

/// One written value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sibling<V> {
    /// When it was written.
    pub time: Timestamp,
    /// From when on it is not shown; `None` is never.
    pub expires: Option<WallTime>,
    /// What was written.
    pub value: V,
}

impl<V> Sibling<V> {
    /// Whether it is shown at this moment.
    #[must_use]
    pub fn is_shown(&self, now: WallTime) -> bool {
        self.expires.is_none_or(|deadline| now < deadline)
    }

    /// The order of deadlines: none is the latest.
    fn deadline(&self) -> (bool, Option<WallTime>) {
        (self.expires.is_none(), self.expires)
    }
}

impl<V: Ord + Clone> Merge for Sibling<V> {
    /// Values of one dot are equal, or somebody has issued it twice: then all replicas choose the same.
    fn merge(&mut self, other: Self) {
        let order = self.time.cmp(&other.time);
        let order =
            order.then_with(|| self.deadline().cmp(&other.deadline())).then_with(|| self.value.cmp(&other.value));
        if order == Ordering::Less {
            *self = other;
        }
    }
}

/// A register that keeps concurrent writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MvRegister<V>(DotFun<Sibling<V>>);

impl<V: Ord + Clone> MvRegister<V> {
    /// All that was written and not replaced, by dot. More than one: they are concurrent.
    #[must_use]
    pub const fn siblings(&self) -> &[(Dot, Sibling<V>)] {
        self.0.as_slice()
    }

    /// The sibling of the greatest timestamp, and dot if there are two.
    #[must_use]
    pub fn latest(&self) -> Option<&Sibling<V>> {
        self.siblings().iter().max_by_key(|(dot, sibling)| (sibling.time, *dot)).map(|(_, sibling)| sibling)
    }

    /// The same among those that are not past their deadline.
    #[must_use]
    pub fn latest_at(&self, now: WallTime) -> Option<&Sibling<V>> {
        let shown = self.siblings().iter().filter(|(_, sibling)| sibling.is_shown(now));
        shown.max_by_key(|(dot, sibling)| (sibling.time, *dot)).map(|(_, sibling)| sibling)
    }

    /// What whoever reads all siblings has seen: their dots.
    #[must_use]
    pub fn context(&self) -> DotContext {
        self.siblings().iter().map(|(dot, _)| *dot).collect()
    }

    /// The write `dot`, which replaces what its writer has seen.
    #[must_use]
    pub fn write(&self, dot: Dot, seen: Seen<'_>, sibling: Sibling<V>) -> Delta<Self> {
        let mut context = DotContext::EMPTY;
        let _ = self.0.reset(seen, &mut context);
        Delta::new(dot, Self(DotFun::from((dot, sibling))), context)
    }
}

impl<V> Default for MvRegister<V> {
    fn default() -> Self {
        Self(DotFun::default())
    }
}

impl<V: Ord + Clone> Join for MvRegister<V> {
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

impl<V: Ord + Clone> Reset for MvRegister<V> {
    fn reset(&self, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        Self(self.0.reset(seen, removed))
    }
}

impl<V> Stability for MvRegister<V> {
    fn settle(&mut self, _: &Stable) {}
}

impl<V: Coded> Coded for Sibling<V> {
    const NAME: &'static str = "a sibling";

    fn write(&self, writer: &mut Writer) {
        self.time.write(writer);
        match self.expires {
            None => writer.u8(0),
            Some(deadline) => {
                writer.u8(1);
                writer.u64(deadline.0);
            }
        }
        self.value.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let time = Timestamp::read(reader)?;
        let expires = match reader.bool("whether a sibling expires")? {
            false => None,
            true => Some(WallTime(reader.u64("a sibling's deadline")?)),
        };
        Ok(Self { time, expires, value: V::read(reader)? })
    }
}

impl<V: Coded> Coded for MvRegister<V> {
    const NAME: &'static str = "a multi-value register";

    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        DotFun::read(reader).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Causal;
    use althing_clock::Actor;

    const A: Actor = Actor::new(1, 1);
    const B: Actor = Actor::new(2, 1);

    const fn sibling(ms: u64, value: &'static str) -> Sibling<&'static str> {
        Sibling { time: Timestamp::new(ms, 0), expires: None, value }
    }

    fn values(register: &MvRegister<&'static str>) -> Vec<&'static str> {
        register.siblings().iter().map(|(_, sibling)| sibling.value).collect()
    }

    #[test]
    fn concurrent_writes_are_siblings_until_a_write_has_seen_them() {
        let mut a = Causal::<MvRegister<&str>>::default();
        let mut b = a.clone();
        a.apply(a.store.write(a.context.next_dot(A), Seen::All, sibling(9, "milk")));
        b.apply(b.store.write(b.context.next_dot(B), Seen::All, sibling(7, "eggs")));
        a.join(b.clone());
        b.join(a.clone());
        assert_eq!(a, b);
        assert_eq!(values(&a.store), ["milk", "eggs"]);
        assert_eq!(a.store.latest().map(|sibling| sibling.value), Some("milk"));
        let seen = a.store.context();
        // What comes between the reading and the writing is not replaced.
        a.apply(a.store.write(a.context.next_dot(B), Seen::Context(&DotContext::EMPTY), sibling(8, "bread")));
        a.apply(a.store.write(a.context.next_dot(A), Seen::Context(&seen), sibling(1, "milk and eggs")));
        assert_eq!(values(&a.store), ["milk and eggs", "bread"]);
        b.join(a.clone());
        assert_eq!(values(&b.store), ["milk and eggs", "bread"]);
    }

    #[test]
    fn two_clients_of_one_replica_do_not_overwrite_each_other() {
        let mut a = Causal::<MvRegister<&str>>::default();
        let nothing = DotContext::EMPTY;
        a.apply(a.store.write(a.context.next_dot(A), Seen::Context(&nothing), sibling(1, "v")));
        let peter = a.store.context();
        a.apply(a.store.write(a.context.next_dot(A), Seen::Context(&nothing), sibling(2, "w")));
        a.apply(a.store.write(a.context.next_dot(A), Seen::Context(&peter), sibling(3, "x")));
        assert_eq!(values(&a.store), ["w", "x"]);
    }

    #[test]
    fn of_concurrent_deadlines_the_later_shows_longest_and_none_is_the_latest() {
        let mut a = Causal::<MvRegister<&str>>::default();
        let mut b = a.clone();
        let expiring = |deadline| Sibling { expires: Some(WallTime(deadline)), ..sibling(5, "session") };
        a.apply(a.store.write(a.context.next_dot(A), Seen::All, sibling(1, "session")));
        b.join(a.clone());
        a.apply(a.store.write(a.context.next_dot(A), Seen::All, expiring(100)));
        b.apply(b.store.write(b.context.next_dot(B), Seen::All, expiring(200)));
        a.join(b.clone());
        let shown = |at: &Causal<MvRegister<&'static str>>, now| at.store.latest_at(WallTime(now)).is_some();
        assert!(shown(&a, 99) && shown(&a, 199) && !shown(&a, 200));
        assert_eq!(a.store.latest().map(|sibling| sibling.value), Some("session"), "hidden is not removed");
        b.apply(b.store.write(b.context.next_dot(B), Seen::All, sibling(6, "session")));
        a.join(b);
        assert!(shown(&a, 1_000_000));
    }

    #[test]
    fn a_dot_that_was_issued_twice_ends_the_same_everywhere() {
        let dot = Dot::new(A, 1);
        let write = |value| MvRegister::default().write(dot, Seen::All, sibling(1, value));
        let (mut a, mut b) = (Causal::from(write("one")), Causal::from(write("two")));
        let both = (a.clone(), b.clone());
        a.join(both.1);
        b.join(both.0);
        assert_eq!(a, b);
    }
}
