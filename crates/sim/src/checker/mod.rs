//! Judges of what clients saw. One file, one invariant; each has a test that it fails on histories known to be bad.
//!
//! * [`linearizability`]: per key, the answers fit some order of the operations that agrees with real time;
//! * [`watch`]: watches are ordered, unique, atomic, complete and resumable, and progress is true;
//! * [`revisions`]: the table's revision never goes back for those who ask one after another;
//! * [`acknowledged`]: what was acknowledged is in the history, and what was refused is not;
//! * [`leases`]: a lease never ends before its time.
//!
//! [`judge`] asks all of them. What nodes do, rather than what clients see, is watched by the [`crate::ledger`].
//!
//! [`Operation`] is what a client asked and got; [`Truth`] is the table's history as a replica holds it in the end.

pub mod acknowledged;
mod judgement;
pub mod leases;
pub mod linearizability;
mod operation;
pub mod revisions;
mod truth;
pub mod watch;

pub use judgement::{Judgement, judge};
pub use operation::{Action, Answer, Expected, Operation, Outcome, Version};
pub use truth::Truth;
