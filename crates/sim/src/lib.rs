//! Whole clusters of the real node in one thread, in a world where everything that can go wrong is drawn from a seed.
//!
//! The node, its log, its applier and its state machine are the same code as in a server; the world gives them time,
//! disks, a network and clients, breaks all of them on purpose, and watches. A run has two phases: in the *safety* phase
//! faults come and go and clients work; then all is healed, and in the *liveness* phase a write must succeed within a
//! stated time and all replicas must become equal. What clients saw is judged afterwards.
//!
//! Nothing here reads a real clock or draws real randomness: one seed is one run, to the byte. [`Report::trace_hash`]
//! proves it.

pub mod agenda;
pub mod clocks;
pub mod faults;
pub mod history;
pub mod network;
pub mod random;
pub mod trace;
