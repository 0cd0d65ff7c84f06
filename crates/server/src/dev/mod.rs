//! `althing dev`: a cluster on this machine, in one process or with one process per node.

mod plan;
mod processes;
mod show;
mod threads;

use althing_cli::CliError;
use althing_cli::args::DevArgs;

use crate::logging;
use plan::Plan;

/// Runs a cluster until Ctrl-C.
pub fn run(args: DevArgs) -> Result<(), CliError> {
    logging::init(&args.log, "warn")?;
    let plan = Plan::new(&args)?;
    plan.draw_key()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::failed)?;
    if args.processes { runtime.block_on(processes::run(plan)) } else { runtime.block_on(threads::run(plan)) }
}
