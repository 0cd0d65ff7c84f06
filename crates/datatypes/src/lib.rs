//! What the keyed types can be asked: operations, answers and edits.

mod edit;
mod error;
pub mod execute;
pub mod op;
mod reply;
mod sketch;
mod view;

pub use edit::Edit;
pub use error::OpError;
pub use execute::{Outcome, execute};
pub use op::{Conflict, Op};
pub use reply::{Content, Items, Reply, Whole};
pub use view::{Cut, Kind, View};

/// Bytes of a string, and of a field's value. Not Redis's 512 MiB: a value goes through one request and one frame between nodes.
pub const MAX_STRING_BYTES: usize = 1024 * 1024;
/// How many random elements may be asked for that may repeat: they are made, not found, so that a few bytes could ask for an answer
/// without end.
pub const MAX_RANDOM: u64 = 100_000;
