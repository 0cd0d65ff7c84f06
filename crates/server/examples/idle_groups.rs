//! What idle groups cost: three nodes in this process, each with a replica of many groups that nobody uses.
//!
//! ```sh
//! cargo run --release -p althing-server --example idle_groups -- 1000
//! ```
//!
//! It prints the resident memory per replica, against the same three nodes with one group each, and the time of a core
//! that all of it takes while nothing happens.

#![allow(clippy::disallowed_methods, reason = "real time and real memory are what is measured")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use althing_api::Service;
use althing_cli::config::MemberSetting;
use althing_cli::ids::Founding;
use althing_env::Clock;
use althing_gateway_etcd as gateway;
use althing_node::{GroupConfig, NodeConfig};
use althing_runtime::clock::RealClock;
use althing_runtime::directory::{Birth, DataDir, Owner};
use althing_runtime::{Handle, Running, StartOptions, start};
use althing_types::GroupId;
use prometheus_client::registry::Registry;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NODES: usize = 3;
/// How long the cluster may take until every group has a leader.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long nothing happens before it is measured, and how long it is.
const SETTLE: Duration = Duration::from_secs(5);
const MEASURE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let groups = std::env::args().nth(1).map_or(Ok(1000), |count| count.parse())?;
    let few = measure(1)?;
    let many = measure(groups)?;
    let replicas = (groups - 1) * NODES as u64;
    let more = many.resident_bytes.saturating_sub(few.resident_bytes);
    println!("{groups} groups x {NODES} nodes: all led after {:.2} s", many.led_after.as_secs_f64());
    println!("  resident: {} MiB, of which {} MiB with one group", many.resident_bytes >> 20, few.resident_bytes >> 20);
    println!("  per replica: {:.1} KiB", more as f64 / replicas as f64 / 1024.0);
    println!("  idle: {:.3} of a core, {:.3} with one group", many.cores, few.cores);
    Ok(())
}

/// What one cluster took.
struct Cost {
    led_after: Duration,
    resident_bytes: u64,
    cores: f64,
}

/// Runs a cluster of its own until it is idle.
fn measure(groups: u64) -> Result<Cost, Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let before = resident_bytes()?;
    let begun = Instant::now();
    let nodes = launch(root.path(), groups)?;
    let handles: Vec<Handle> = nodes.iter().map(Running::handle).collect();
    while !handles.iter().all(|handle| led(handle) == groups) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("after {PATIENCE:?} only {:?} groups have a leader", led(&handles[0])).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let led_after = begun.elapsed();
    std::thread::sleep(SETTLE);
    let cpu = cpu_time();
    std::thread::sleep(MEASURE);
    let cores = cpu_time().saturating_sub(cpu).as_secs_f64() / MEASURE.as_secs_f64();
    let resident_bytes = resident_bytes()?.saturating_sub(before);
    handles.iter().for_each(Handle::stop);
    nodes.into_iter().for_each(Running::join);
    Ok(Cost { led_after, resident_bytes, cores })
}

fn launch(root: &std::path::Path, groups: u64) -> Result<Vec<Running>, Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::start());
    let peers = (0..NODES).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let mut settings = Vec::new();
    for (number, listener) in peers.iter().enumerate() {
        let peer_url = format!("http://{}", listener.local_addr()?);
        settings.push(MemberSetting { name: format!("n{number}"), peer_url });
    }
    let founding = Founding::new("idle", &settings, b"");
    let mut nodes = Vec::new();
    for (setting, peers) in settings.iter().zip(peers) {
        let node = founding.id_of(&setting.name).ok_or("the founding lists every node")?;
        let mut dir = DataDir::open(&root.join(&setting.name))?;
        dir.found(Owner {
            birth: Birth::Founded,
            members: founding.members.clone(),
            cluster_name: "idle".to_owned(),
            cluster: founding.cluster,
            node,
            name: setting.name.clone(),
        })?;
        let mut config = NodeConfig::new(founding.cluster, node, founding.members.clone());
        config.groups = (1..=groups).map(GroupId).map(idle).collect();
        let options = StartOptions {
            log_disk: Arc::new(dir.disk()),
            dir,
            node: config,
            hints: BTreeMap::new(),
            clients: TcpListener::bind("127.0.0.1:0")?,
            tables: Vec::new(),
            port: None,
            peers,
            client_tls: None,
            peer_tls: None,
            gossip: None,
            cut: Arc::default(),
            clock: Arc::clone(&clock),
            registry: Registry::default(),
        };
        let metrics = gateway::Metrics::default();
        let clock = Arc::clone(&clock);
        let options_of_gateway = gateway::Options { clock, metrics };
        let serve = move |service, _| gateway::router(service, options_of_gateway.clone());
        nodes.push(start(options, serve, |end| end.expect("a node of an idle cluster does not fail"))?);
    }
    Ok(nodes)
}

const fn idle(id: GroupId) -> GroupConfig {
    GroupConfig { id, hibernate: true, quota_bytes: None }
}

/// How many groups know a leader, by the node's own metrics.
fn led(handle: &Handle) -> u64 {
    let page = handle.metrics();
    let is_led = |line: &&str| line.starts_with("althing_raft_has_leader{") && line.ends_with(" 1");
    page.lines().filter(is_led).count() as u64
}

fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm has a second field")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Time of a core that this process has used.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
