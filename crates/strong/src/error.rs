//! Why a machine cannot go on.

use althing_api::ErrorKind;
use althing_codec::DecodeError;
use althing_storage::engine::EngineError;

/// An error that is the replica's, not the request's: the replica stops, and its data is as the last commit left it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StrongError {
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A log entry does not parse. It was written by a newer version, or the log is damaged.
    #[error("log entry {index} does not parse: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A log entry is not the next one.
    #[error("log entry {found} was given where {expected} is the next")]
    OutOfOrder {
        /// The index wanted.
        expected: u64,
        /// The index given.
        found: u64,
    },
    /// A record of the space does not parse. Restore the replica from another.
    #[error("a {what} record of the space does not parse: {source}")]
    Record {
        /// Which kind.
        what: &'static str,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Records of the space contradict each other. Restore the replica from another.
    #[error("the space is inconsistent: {0}")]
    Inconsistent(String),
    /// The space was never bootstrapped or imported into.
    #[error("the space holds no table yet")]
    Blank,
    /// The space holds a table already.
    #[error("the space holds a table already")]
    NotBlank,
    /// An import into the space was never finished. Drop the space and import again.
    #[error("an import into the space was not finished; drop it and import again")]
    ImportUnfinished,
    /// A snapshot's page is not what should come next.
    #[error("the snapshot is damaged: {0}")]
    Snapshot(String),
}

impl From<StrongError> for ErrorKind {
    fn from(error: StrongError) -> Self {
        Self::Storage(error.to_string())
    }
}

/// Why one command was not done.
pub(crate) enum Failure {
    /// By its own fault, or the table's state: the answer says so.
    Refused(ErrorKind),
    /// The replica cannot go on.
    Fatal(StrongError),
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        Self::Refused(kind)
    }
}

impl From<StrongError> for Failure {
    fn from(error: StrongError) -> Self {
        Self::Fatal(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Fatal(error.into())
    }
}

impl From<Failure> for ErrorKind {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(kind) => kind,
            Failure::Fatal(error) => error.into(),
        }
    }
}
