//! One replica of a shard of a convergent table.

mod cache;
pub mod deadline;
pub mod delta;
pub mod error;
pub mod evaluate;
pub mod fields;
mod insist;
pub mod job;
pub mod keyed;
pub mod known;
mod layout;
pub mod shard;
pub mod text;

pub use error::ConvergentError;
pub use evaluate::{EvaluateError, Evaluated, evaluate, repair};
pub use job::{Job, JoinError, Outcome, Page, Refusal, Rest, ScanRequest};
pub use keyed::Keyed;
pub use known::Known;
pub use shard::{Shard, ShardConfig, Size};

/// Bytes of a key's state at which a coordinator takes nothing more for it. What several coordinators let grow at the same time is
/// joined all the same: of three of them it still fits a frame between nodes ([`althing_types::limits::MAX_FRAME_BYTES`]).
pub const MAX_STATE_BYTES: usize = 4 * 1024 * 1024;

/// Concurrent values of a string or a field at which none is taken any more from a writer who has not seen them. A writer without a context
/// is taken to have seen what is here, so only writers with stale contexts come to it.
pub const MAX_SIBLINGS: usize = 32;
