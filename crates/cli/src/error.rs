//! Errors of commands, and the exit codes that scripts can use.

use std::process::ExitCode;

/// Why a command ended without doing its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line or the configuration is wrong: a person must correct it.
    #[error("{0}")]
    Usage(String),
    /// The operation failed.
    #[error("{0}")]
    Failed(String),
    /// The node stopped itself, because its storage failed, a thread panicked, or the other nodes refuse it for good.
    #[error("{0}")]
    Fatal(String),
}

impl CliError {
    /// The operation failed, and this is why.
    pub fn failed(reason: impl ToString) -> Self {
        Self::Failed(reason.to_string())
    }

    /// Something must be corrected before the command can work.
    pub fn usage(reason: impl ToString) -> Self {
        Self::Usage(reason.to_string())
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Fatal(_) => 3,
        })
    }
}
