//! What the tests draw from: few actors and small counters, so that much collides.

use proptest::prelude::*;

use crate::coded::Coded;
use crate::context::DotContext;
use crate::dot::{Actor, Dot};
use crate::vector::VersionVector;

/// The actors of the papers' figures.
pub(crate) const A: Actor = Actor::new(0xa, 1);
pub(crate) const B: Actor = Actor::new(0xb, 1);
pub(crate) const C: Actor = Actor::new(0xc, 1);

pub(crate) fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![Just(A), Just(B), Just(C), Just(Actor::new(0xa, 2))]
}

pub(crate) fn dot() -> impl Strategy<Value = Dot> {
    (actor(), 1_u64..8).prop_map(|(actor, counter)| Dot::new(actor, counter))
}

pub(crate) fn vector() -> impl Strategy<Value = VersionVector> {
    proptest::collection::vec((actor(), 0_u64..5), 0..5).prop_map(|entries| entries.into_iter().collect())
}

pub(crate) fn context() -> impl Strategy<Value = DotContext> {
    (vector(), proptest::collection::vec(dot(), 0..10)).prop_map(|(vector, dots)| {
        let mut context = DotContext::from(vector);
        context.extend(dots);
        context
    })
}

/// Bytes come back as they were; bytes that were changed or cut are refused, or are another value's only bytes.
pub(crate) fn check_coded<T: Coded + PartialEq + std::fmt::Debug>(value: &T, place: usize, byte: u8) {
    let bytes = value.encode();
    assert_eq!(T::decode(bytes.clone()).as_ref(), Ok(value));
    assert!(T::decode(bytes.slice(..place % bytes.len())).is_err(), "no beginning of a value is a value");
    let mut changed = bytes.to_vec();
    changed[place % bytes.len()] = byte;
    if let Ok(other) = T::decode(changed.clone().into()) {
        assert_eq!(T::decode(other.encode()).as_ref(), Ok(&other));
        assert!(other.encode().len() <= changed.len(), "{other:?} has a longer form");
    }
}
