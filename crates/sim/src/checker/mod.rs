//! Judges of what clients saw. One file, one invariant; each has a test that it fails on histories known to be bad.
//!
//! * [`linearizability`]: per key, the answers fit some order of the operations that agrees with real time;
//! * [`watch`]: watches are ordered, unique, atomic, complete and resumable, and progress is true;
//! * [`revisions`]: the table's revision never goes back for those who ask one after another;
//! * [`acknowledged`]: what was acknowledged is in the history, and what was refused is not;
//! * [`leases`]: a lease never ends before its time;
//! * [`exact`]: every answer is the one that the history gives at its revision, and revisions agree with real time;
//! * [`cycles`]: transactions on lists form no cycle;
//! * [`bank`]: what is transferred is neither lost nor made;
//! * [`fencing`]: a lock has one holder, and nobody with an older token gets through after a newer one;
//! * [`caches`]: paged lists and followed copies are the table at their revision;
//! * [`updates`]: no guarded update is lost;
//! * [`refusals`]: a refusal says what is so;
//! * [`carts`]: a convergent table keeps what was acknowledged until somebody has seen it and replaces it;
//! * [`decided`]: what strings are that are decided by rounds, for [`linearizability`].
//!
//! [`judge`] asks all of them but the last two, which the world asks (`world::carts`, `world::decided`). What nodes do, rather than what
//! clients see, is watched by the [`crate::ledger`].
//!
//! A search for a linear order may give up; a run in which more than [`MAX_UNDECIDED_PERCENT`] of the registers stay
//! undecided has not shown what it is to show, and fails.
//!
//! [`Operation`] is what a client asked and got; [`Truth`] is the table's history as a replica holds it in the end.

pub mod acknowledged;
pub mod bank;
pub mod caches;
pub mod carts;
pub mod cycles;
pub mod decided;
pub mod exact;
pub mod fencing;
mod judgement;
pub mod leases;
pub mod linearizability;
mod operation;
pub mod refusals;
pub mod revisions;
pub mod table;
mod truth;
pub mod updates;
pub mod watch;

pub use judgement::{Judgement, MAX_CONFIGURATIONS, MAX_UNDECIDED_PERCENT, judge};
pub use operation::{Action, Answer, Expected, Operation, Outcome, Version};
pub use table::Table;
pub use truth::Truth;
