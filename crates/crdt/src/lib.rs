//! Values that converge: whoever has seen the same writes holds the same state, in whatever order they came.
//!
//! A replica that must take writes while it cannot reach any other cannot ask which write comes first. So no write may depend on
//! the answer: the states of a type form a join-semilattice, every write moves up in it, and replicas join what they have
//! (Shapiro, Preguiça, Baquero, Zawirski, *Conflict-free Replicated Data Types*, 2011). Three refinements make it practical,
//! all from Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018:
//!
//! * What travels is a **delta**: a small state that says what one write did ([`Delta`]). Every write here returns its delta, and is
//!   done by applying it, at home as elsewhere.
//! * A removal leaves nothing behind. A state holds the **dots** of its live events only, beside a **context** of all events that
//!   are known: a dot that is in the context and not in the state is gone ([`store`]).
//! * The context stands *beside* the state and may serve many ([`Join::join`] is given both sides'): a shard has one for all its keys.
//!
//! | type | concurrent writes come to |
//! |---|---|
//! | [`GCounter`] | the sum |
//! | [`PnCounter`], [`FloatCounter`] | the sum; a reset takes back the increments that it has seen |
//! | [`LwwRegister`] | the one with the greatest timestamp; the others are lost |
//! | [`MvRegister`] | siblings, until a write that has seen them |
//! | [`GSet`], [`TwoPhaseSet`] | the union; what is removed never comes back |
//! | [`OrSet`] | an addition wins over a removal that has not seen it |
//! | [`DotMap`] of any of these that can be removed | the same for keys; within a key what its type says |
//! | [`SortedSet`] | the latest written score and all increments that it has not seen |
//! | [`Flag`] | on |
//! | [`Hll`], [`HllKey`] | the sketch of the union |
//!
//! ```
//! use althing_clock::{Actor, DotContext};
//! use althing_crdt::{Causal, OrSet, Seen};
//!
//! let (a, b) = (Actor::new(1, 1), Actor::new(2, 1));
//! let mut left: Causal<OrSet<&str>> = Causal::default();
//! let added = left.store.add(left.context.next_dot(a), "milk");
//! left.apply(added.clone());
//!
//! let mut right = Causal::default();
//! right.apply(added);
//!
//! // The left removes what it has seen, while the right adds it once more.
//! let removed = left.store.remove(left.context.next_dot(a), "milk", Seen::All);
//! left.apply(removed.clone());
//! let again = right.store.add(right.context.next_dot(b), "milk");
//! right.apply(again.clone());
//!
//! left.apply(again);
//! right.apply(removed);
//! assert_eq!(left, right);
//! assert!(left.store.contains(&"milk"));
//! ```
//!
//! The algebra is one trait, [`Join`], and its laws are tested once for all types ([`laws`]). What can be forgotten when
//! everybody has seen it is said in [`stability`]. Byte forms are drawn in `docs/formats/convergent.md`.

pub mod counter;
mod few;
pub mod flag;
pub mod g_counter;
pub mod hll;
pub mod join;
pub mod laws;
pub mod lww;
pub mod mv_register;
pub mod number;
pub mod or_set;
pub mod sets;
pub mod stability;
pub mod store;
pub mod zset;

pub use counter::{Counter, FloatCounter, PnCounter};
pub use flag::{Flag, Position};
pub use g_counter::GCounter;
pub use hll::{Hll, HllKey};
pub use join::{Bottoms, Causal, Delta, Join, Merge, Reset, Seen};
pub use lww::LwwRegister;
pub use mv_register::{MvRegister, Sibling};
pub use number::{NumberError, Quantity, Real, Whole};
pub use or_set::OrSet;
pub use sets::{GSet, TwoPhaseSet};
pub use stability::{Cut, Stability, Stable};
pub use store::{DotFun, DotMap, DotSet};
pub use zset::SortedSet;
