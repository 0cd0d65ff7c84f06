//! All nodes in this process.

use std::sync::Arc;
use std::time::Duration;

use althing_api::Service;
use althing_cli::CliError;
use althing_cli::config::Settings;
use althing_env::Clock;
use althing_runtime::Running;
use althing_runtime::clock::RealClock;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{sleep, timeout};

use super::plan::Plan;
use super::show;
use crate::launch::launch;
use crate::server::outcome;
use crate::signals::Signals;

/// How often it is asked whether every node is ready.
const POLL: Duration = Duration::from_millis(10);
/// How long all nodes together may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the cluster.
pub async fn run(plan: Plan) -> Result<(), CliError> {
    let mut signals = Signals::listen().map_err(CliError::failed)?;
    let clock: Arc<dyn Clock> = Arc::new(RealClock::start());
    let (sender, mut ended) = unbounded_channel();
    let mut nodes = Vec::new();
    for node in &plan.nodes {
        let settings = Settings::resolve(plan.server_args(node)).map_err(CliError::usage)?;
        nodes.push(launch(settings, Arc::clone(&clock), sender.clone()).await?);
    }
    let serving = async {
        while !nodes.iter().all(|node| node.handle().health().ready) {
            sleep(POLL).await;
        }
        let pid = std::process::id();
        show::ready(&plan, &plan.nodes.iter().map(|node| (node, pid)).collect::<Vec<_>>())?;
        std::future::pending::<Result<(), CliError>>().await
    };
    tokio::select! {
        _ = signals.stop() => {}
        end = ended.recv() => return outcome(end),
        failed = serving => return failed,
    }
    nodes.iter().map(Running::handle).for_each(|handle| handle.stop());
    for _ in &nodes {
        match timeout(STOP_TIMEOUT, ended.recv()).await {
            Ok(end) => outcome(end)?,
            Err(_) => return Err(CliError::failed("the nodes did not stop in time and were cut off")),
        }
    }
    Ok(())
}
