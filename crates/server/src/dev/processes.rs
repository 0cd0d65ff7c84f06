//! Each node in a process of its own, so that one can be killed.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use althing_cli::CliError;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
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
    let mut pids = Vec::new();
    for node in &plan.nodes {
        let child = spawn(&plan, node)?;
        let pid = child.id().ok_or_else(|| CliError::failed(format!("{} ended at once", node.name)))?;
        pids.push(pid);
        tokio::spawn(watch(node.name.clone(), child, sender.clone()));
    }
    tokio::select! {
        ready = all_ready(&plan) => ready?,
        _ = signals.stop() => return stop(&pids, &mut ended).await,
        end = ended.recv() => {
            let _ = stop(&pids, &mut ended).await;
            let (name, status) = end.unwrap_or_default();
            return Err(CliError::failed(format!("{name} ended before the cluster served ({status}); {}", log_of(&plan, &name))));
        }
    }
    show::ready(&plan, &plan.nodes.iter().zip(pids.iter().copied()).collect::<Vec<_>>())?;
    let mut left = pids.len();
    loop {
        tokio::select! {
            _ = signals.stop() => return stop(&pids, &mut ended).await,
            end = ended.recv() => {
                let (name, status) = end.unwrap_or_default();
                tell_end(&plan, &name, &status);
                left -= 1;
                if left == 0 {
                    return Err(CliError::failed("all nodes have ended"));
                }
            }
        }
    }
}

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
    let status = child.wait().await.map_or_else(|error| error.to_string(), |status| words(status));
    drop(held_open);
    // If nobody listens any more, the program is ending itself.
    let _ = ended.send((name, status));
}

fn words(status: ExitStatus) -> String {
    status.to_string()
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

async fn all_ready(plan: &Plan) -> Result<(), CliError> {
    for node in &plan.nodes {
        while !is_ready(node.etcd).await {
            sleep(POLL).await;
        }
    }
    Ok(())
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

async fn stop(pids: &[u32], ended: &mut tokio::sync::mpsc::UnboundedReceiver<End>) -> Result<(), CliError> {
    signal_all(pids, Signal::TERM);
    // The channel closes when every node has ended: its senders are the tasks that wait for them.
    let all = async { while ended.recv().await.is_some() {} };
    if timeout(STOP_TIMEOUT, all).await.is_err() {
        signal_all(pids, Signal::KILL);
        return Err(CliError::failed("the nodes did not stop in time and were killed; nothing acknowledged is lost"));
    }
    Ok(())
}

fn signal_all(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // One that has ended already needs no signal.
        let _ = kill_process(pid, signal);
    }
}
