//! Whole clusters of the real node in one thread, in a world where everything that can go wrong is drawn from a seed.
//!
//! The node, its log, its applier and its state machine are the same code as in a server; the world gives them time,
//! disks, a network and clients, breaks all of them on purpose, and watches. A run has two phases: in the *safety* phase
//! faults come and go and clients work; then all is healed, and in the *liveness* phase a write must succeed within a
//! stated time and all replicas must become equal. What clients saw is judged afterwards.
//!
//! Nothing here reads a real clock or draws real randomness: one seed is one run, to the byte. [`Report::trace_hash`]
//! proves it.
//!
//! ```text
//!   seed ──► Streams ─┬─ network ─► Network ──┐
//!                     ├─ disk ────► Host ─────┤            ┌──► Trace ──► hash
//!                     ├─ clocks ──► LocalClock┼─► World ───┼──► Ledger ─► contradictions while it runs
//!                     ├─ workload ► Clients ──┤  (Agenda)  └──► History ► checkers at the end
//!                     └─ faults ──► Nemesis ──┘
//! ```

pub mod agenda;
pub mod budget;
pub mod checker;
pub mod cli;
pub mod clocks;
pub mod faults;
pub mod history;
pub mod host;
pub mod ledger;
pub mod nemesis;
pub mod network;
pub mod options;
pub mod random;
pub mod report;
pub mod trace;
pub mod triggers;
pub mod workload;
pub mod world;

pub use faults::FaultPlan;
pub use options::Options;
pub use report::{Report, Verdict};
pub use world::World;

/// Runs one world from its seed to its end.
#[must_use]
pub fn run(options: Options) -> Report {
    World::new(options).run()
}
