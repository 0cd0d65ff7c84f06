//! Logical time: what happened before what, without asking any clock on a wall.
//!
//! Lamport's relation *happened before* (1978) is a partial order: two events that could not have known of each other are
//! concurrent, and no number on them changes that. What a clock must tell depends on who asks:
//!
//! | module | what it tells | after |
//! |---|---|---|
//! | [`lamport`] | an order that never contradicts causality, one number | Lamport, *Time, Clocks, and the Ordering of Events*, 1978 |
//! | [`vector`] | exactly what happened before what, one number for each actor | Fidge 1988; Mattern 1989 |
//! | [`context`] | a set of events with holes in it, as a replica comes by them when deltas overtake each other | Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, §7 |
//! | [`dotted`] | the same for one written value: its own event, apart from what the writer had seen | Preguiça, Baquero, Almeida, Fonte, Gonçalves, *Dotted Version Vectors*, 2010 and 2012 |
//! | [`hybrid`] | an order near to wall time that never contradicts causality | Kulkarni, Demirbas, Madappa, Avva, Leone, *Logical Physical Clocks*, 2014 |
//!
//! An event is named by a [`Dot`]: the [`Actor`] whose event it is, and that actor's count of its own events. A version
//! vector `{a:3, b:1}` stands for the set of dots `a1 a2 a3 b1`; a [`DotContext`] also for sets with holes, such as
//! `{a:3, b:1}` with `b4` above. All else is sets: to join is the union, to descend from is to include, concurrent are two
//! of which neither includes the other.
//!
//! ```
//! use althing_clock::{Actor, Causality, DotContext};
//!
//! let (a, b) = (Actor::new(1, 1), Actor::new(2, 1));
//! let mut left = DotContext::default();
//! let mut right = DotContext::default();
//! let first = left.take_dot(a);
//! let second = right.take_dot(b);
//! assert_eq!(left.compare(&right), Causality::Concurrent);
//!
//! left.join(&right);
//! assert!(left.contains(first) && left.contains(second));
//! assert_eq!(right.compare(&left), Causality::Before);
//! ```
//!
//! Nothing here reads a clock: wall time is handed in ([`hybrid`]), and only ever moves what is free to move. Every type has
//! a byte form ([`coded`]), drawn in `docs/formats/clock.md`.

pub mod coded;
pub mod context;
pub mod dot;
pub mod dotted;
pub mod hybrid;
pub mod lamport;
pub mod vector;

#[cfg(test)]
mod sample;

pub use coded::Coded;
pub use context::DotContext;
pub use dot::{Actor, Dot, DotRange};
pub use dotted::DottedVersionVector;
pub use hybrid::{Hlc, Timestamp};
pub use lamport::Lamport;
pub use vector::{Causality, VersionVector};
