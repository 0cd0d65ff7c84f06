//! `althing sim`: the simulator, timed by the real clock and by nothing else of this machine.

use std::io::Write;

use althing_runtime::clock::RealClock;
use althing_sim::Verdict;
use althing_sim::cli::{self, Arguments};

use crate::error::CliError;

/// Runs the seeds; a promise that was broken is a failure.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), CliError> {
    match cli::main(arguments, &RealClock::start(), out).map_err(error)? {
        Verdict::Kept => Ok(()),
        Verdict::Broken => Err(CliError::failed("a promise was broken; the report above says how to see it again")),
    }
}

fn error(error: cli::Error) -> CliError {
    match error {
        cli::Error::Usage(what) => CliError::Usage(what),
        cli::Error::Io(error) => CliError::failed(error),
    }
}
