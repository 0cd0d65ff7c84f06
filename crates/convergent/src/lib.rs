//! One replica of a shard of a convergent table.

pub mod error;
pub mod evaluate;
pub mod job;
pub mod shard;

pub use error::ConvergentError;
pub use evaluate::{EvaluateError, Evaluated, attest, evaluate, repair};
pub use job::{Job, JoinError, Outcome, Page, Refusal, Rest, ScanRequest};
pub use shard::{Shard, ShardConfig, Size};

/// Bytes of a key's state at which a coordinator takes nothing more for it. What several coordinators let grow at the same time is
/// joined all the same; of tens of them it is never more than a frame between nodes holds.
pub const MAX_STATE_BYTES: usize = 4 * 1024 * 1024;
