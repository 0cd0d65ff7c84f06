//! What tests see of the inside: which rare paths a run has taken, and deliberate mistakes that it may be asked to make.
//!
//! * A [`Mark`] names a rare path. The code on that path calls [`hit`]; a test that runs many seeds asks with [`take`]
//!   whether every path was reached. A path that no seed reaches is a path that nothing has tested.
//! * A [`Mutant`] names a mistake. The code that could be wrong in this way asks [`is`]; a test switches one on with
//!   [`Mutant::activate`] and expects the simulator to notice. A mistake that nobody notices is a check that is missing.
//!
//! Both exist in builds with debug assertions only ([`ARMED`]). In others [`hit`] does nothing, [`is`] is the constant
//! `false`, and the compiler leaves nothing of either. Both belong to the thread: runs side by side do not mix, and a server
//! that is built for development counts on each of its threads what nobody reads.
//!
//! A core that calls them stays what it was. Marks are written and never read by it, and a mutant is a part of the
//! program that was chosen before the run began: for the same choice the same inputs have the same effects. The decision and
//! what else was weighed stand in `docs/adr/0012-probes.md`.

mod mark;
mod mutant;
mod names;
mod state;

pub use mark::Mark;
pub use mutant::Mutant;
pub use state::{Guard, Hits, every, hit, is, take};

/// Whether marks count and mutants can be switched on in this build.
pub const ARMED: bool = cfg!(debug_assertions);
