//! `althing server`: one node, until it is told to stop or stops itself.

use std::sync::Arc;
use std::time::Duration;

use althing_cli::CliError;
use althing_cli::config::{ServerArgs, Settings};
use althing_runtime::clock::RealClock;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::launch::{Ended, launch};
use crate::logging;
use crate::signals::Signals;

/// Runs a node.
pub fn run(args: ServerArgs) -> Result<(), CliError> {
    let args = args.load().map_err(CliError::usage)?;
    logging::init(&args.log, "info")?;
    let settings = Settings::resolve(args).map_err(CliError::usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::failed)?;
    let result = runtime.block_on(serve(settings));
    // A read of standard input cannot be taken back; nobody waits for it.
    runtime.shutdown_background();
    result
}

async fn serve(settings: Settings) -> Result<(), CliError> {
    let mut signals = Signals::listen().map_err(CliError::failed)?;
    if settings.stop_with_stdin {
        signals = signals.with_stdin();
    }
    let (sender, mut ended) = unbounded_channel();
    let stop_timeout = settings.stop_timeout;
    let (client_urls, peer_url) = (settings.client_urls.clone(), settings.peer_url.clone());
    let running = launch(settings, Arc::new(RealClock::start()), sender).await?;
    tracing::info!(clients = ?client_urls, peers = peer_url, "listening");
    tokio::select! {
        reason = signals.stop() => {
            tracing::info!("stopping the node: {reason}");
            running.handle().stop();
            finish(&mut ended, stop_timeout).await
        }
        end = ended.recv() => outcome(end),
    }
}

/// Waits for the end of a node that was told to stop.
async fn finish(ended: &mut UnboundedReceiver<Ended>, within: Duration) -> Result<(), CliError> {
    match timeout(within, ended.recv()).await {
        Ok(end) => outcome(end),
        Err(_) => Err(CliError::failed(format!(
            "the node did not stop within {} ms and was cut off; nothing acknowledged is lost",
            within.as_millis()
        ))),
    }
}

/// What the end of a node means for the program.
pub fn outcome(end: Option<Ended>) -> Result<(), CliError> {
    match end {
        Some((_, Ok(()))) | None => Ok(()),
        Some((name, Err(fatal))) => Err(CliError::Fatal(format!("{name}: {fatal}"))),
    }
}
