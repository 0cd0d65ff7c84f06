//! Each node in a process of its own, so that one can be killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use althing_cli::CliError;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

use super::plan::{NodePlan, Plan};
use super::show;
use crate::signals::Signals;

/// How often a node is asked whether it is ready.
const POLL: Duration = Duration::from_millis(20);
/// How long all nodes together may take to stop before they are killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Runs the cluster.
pub async fn run(plan: Plan) -> Result<(), CliError> {
    let mut signals = Signals::listen().map_err(CliError::failed)?;
    let (sender, mut ended) = unbounded_channel();
    let mut pids = Pids::new();
    for node in &plan.nodes {
        let child = spawn(&plan, node)?;
        let pid = child.id().ok_or_else(|| CliError::failed(format!("{} ended at once", node.name)))?;
        pids.insert(node.name.clone(), pid);
        tokio::spawn(watch(node.name.clone(), child, sender.clone()));
    }
    // The channel closes with the last node.
    drop(sender);
    tokio::select! {
        ready = all_ready(&plan) => ready,
        _ = signals.stop() => return stop(pids, &mut ended).await,
        Some((name, status)) = ended.recv() => {
            pids.remove(&name);
            // Why the cluster never served is worth more than how its other nodes stopped.
            let _ = stop(pids, &mut ended).await;
            let log = log_of(&plan, &name);
            return Err(CliError::failed(format!("{name} ended before the cluster served ({status}); {log}")));
        }
    }
    let nodes = plan.nodes.iter().filter_map(|node| Some((node, *pids.get(&node.name)?)));
    show::ready(&plan, &nodes.collect::<Vec<_>>())?;
    while !pids.is_empty() {
        tokio::select! {
            _ = signals.stop() => return stop(pids, &mut ended).await,
            Some((name, status)) = ended.recv() => {
                pids.remove(&name);
                tell_end(&plan, &name, &status);
            }
        }
    }
    Err(CliError::failed("all nodes have ended"))
}

/// The nodes that run, by name. One that has ended is taken out at once: its number may be another process's soon.
type Pids = BTreeMap<String, u32>;

/// A node that has ended: its name, and how.
type End = (String, String);

fn spawn(plan: &Plan, node: &NodePlan) -> Result<Child, CliError> {
    let refuse = |error: std::io::Error| CliError::failed(format!("cannot start {}: {error}", node.name));
    let program = std::env::current_exe().map_err(refuse)?;
    std::fs::create_dir_all(&plan.dir).map_err(refuse)?;
    let log = File::options().create(true).append(true).open(log_file(plan, &node.name)).map_err(refuse)?;
    Command::new(program)
        .args(plan.command_line(node))
        .arg("--stop-with-stdin")
        // Held open by this process: when it dies, however it dies, the node stops.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C reaches this process alone, which then stops all nodes in good order.
        .process_group(0)
        .spawn()
        .map_err(refuse)
}

fn log_file(plan: &Plan, name: &str) -> std::path::PathBuf {
    plan.dir.join(format!("{name}.log"))
}

fn log_of(plan: &Plan, name: &str) -> String {
    format!("its log is {}", log_file(plan, name).display())
}

async fn watch(name: String, mut child: Child, ended: UnboundedSender<End>) {
    let held_open = child.stdin.take();
    let status = child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
    drop(held_open);
    // If nobody listens any more, the program is ending itself.
    let _ = ended.send((name, status));
}

/// Says on standard error that a node is gone, and how to start it again.
fn tell_end(plan: &Plan, name: &str, status: &str) {
    let Some(node) = plan.nodes.iter().find(|node| node.name == name) else { return };
    let program = std::env::current_exe().map_or_else(|_| "althing".to_owned(), |path| path.display().to_string());
    eprintln!(
        "{name} has ended ({status}); {}. Start it again with:\n  {program} {}",
        log_of(plan, name),
        plan.command_line(node).join(" ")
    );
}

async fn all_ready(plan: &Plan) {
    for node in &plan.nodes {
        while !is_ready(node.etcd).await {
            sleep(POLL).await;
        }
    }
}

/// Whether a node says that it can do its work.
async fn is_ready(etcd: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(etcd).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    matches!(timeout(Duration::from_secs(2), ask).await, Ok(Ok(true)))
}

/// Stops the nodes in good order, and those that do not stop in time otherwise.
async fn stop(mut pids: Pids, ended: &mut UnboundedReceiver<End>) -> Result<(), CliError> {
    signal_all(&pids, Signal::TERM);
    let all = async {
        while let Some((name, _)) = ended.recv().await {
            pids.remove(&name);
        }
    };
    if timeout(STOP_TIMEOUT, all).await.is_err() {
        signal_all(&pids, Signal::KILL);
        return Err(CliError::failed("the nodes did not stop in time and were killed; nothing acknowledged is lost"));
    }
    Ok(())
}

fn signal_all(pids: &Pids, signal: Signal) {
    for pid in pids.values().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // One that has ended this moment needs no signal.
        let _ = kill_process(pid, signal);
    }
}
