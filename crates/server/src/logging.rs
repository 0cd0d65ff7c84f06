//! Where log lines go: standard error, for people or as JSON with the spans (and so the trace ids) around each line.

use std::io::{self, IsTerminal};

use althing_cli::CliError;
use althing_cli::args::{LogArgs, LogFormat};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;

/// Starts logging at `default_level` unless told otherwise.
pub fn init(args: &LogArgs, default_level: &str) -> Result<(), CliError> {
    let level = args.log_level.as_deref().unwrap_or(default_level);
    let filter = EnvFilter::builder().parse(level).map_err(|error| {
        CliError::usage(format!("`log_level`: {level:?} is not a level or a list of them: {error}"))
    })?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match args.log_format.unwrap_or_default() {
        LogFormat::Human => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(true).try_init(),
    };
    started.map_err(CliError::failed)
}
