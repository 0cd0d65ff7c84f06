//! `althing bench`: runs the load generator and prints what came out.

use std::io::Write;

use althing_bench::Options;

use crate::error::CliError;

/// Measures, then prints a table or one JSON object.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), CliError> {
    let report = althing_bench::run(options).map_err(CliError::failed)?;
    let text =
        if options.json { serde_json::to_string(&report).map_err(CliError::failed)? } else { report.to_string() };
    writeln!(out, "{}", text.trim_end()).map_err(CliError::failed)
}
