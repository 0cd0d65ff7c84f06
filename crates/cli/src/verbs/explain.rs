//! `althing explain`: what a kind or a field means.

use clap::Args;

use crate::error::CliError;
use crate::screen::Screen;

/// Settings of `althing explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A kind or a field of it: table, table.spec, table.spec.shards.
    #[arg(value_name = "PATH")]
    pub path: String,
}

/// Explains it from the program's own table of fields.
pub fn run(args: &ExplainArgs, screen: &mut Screen<'_>) -> Result<(), CliError> {
    let page = althing_manifest::explain(&args.path).map_err(CliError::usage)?;
    write!(screen.out, "{page}").map_err(CliError::failed)
}
