//! Why a replica of a shard cannot go on.

use althing_codec::DecodeError;
use althing_storage::engine::EngineError;

/// An error that is the replica's, not the request's: the replica stops, and its data is as the last commit left it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConvergentError {
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A record of the space does not parse. Build the replica anew from the others.
    #[error("a {what} record of the space does not parse: {source}")]
    Record {
        /// Which kind.
        what: &'static str,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The space stands at an index, and has no head. Build the replica anew from the others.
    #[error("the space stands at {index} and has no head")]
    Headless {
        /// Where it stands.
        index: u64,
    },
    /// A delta of the log does not parse. It was written by a newer version, or the log is damaged.
    #[error("the delta {index} of the log does not parse: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A delta of the log is not the next one.
    #[error("the delta {found} of the log was given where {expected} is the next")]
    OutOfOrder {
        /// The index wanted.
        expected: u64,
        /// The index given.
        found: u64,
    },
}
