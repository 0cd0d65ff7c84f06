//! From settings to a running node.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use althing_api::Service;
use althing_cli::CliError;
use althing_cli::config::{RedisPort, Settings, TablePort};
use althing_cli::ids::Founding;
use althing_env::Clock;
use althing_gateway_etcd as gateway;
use althing_gateway_redis::Counters;
use althing_node::{ControlPlane, NodeConfig};
use althing_runtime::directory::{Birth, DataDir, Owner};
use althing_runtime::transport::address::{Address, BadAddress};
use althing_runtime::{Cut, Fatal, GossipOptions, Running, ServePort, StartOptions, SystemResolver, start, tls};
use althing_types::{NodeId, TableName};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc::UnboundedSender;

use crate::cut::CutDoor;
use crate::join::{self, Place};
use crate::port::Port;
use crate::redis;

/// A node has ended: its name, and how.
pub type Ended = (String, Result<(), Fatal>);

/// Starts a node. Its end is told to `ended`.
pub async fn launch(
    settings: Settings,
    clock: Arc<dyn Clock>,
    ended: UnboundedSender<Ended>,
) -> Result<Running, CliError> {
    let mut dir = DataDir::open(&settings.data_dir).map_err(CliError::usage)?;
    dir.check(&settings.cluster, &settings.name).map_err(CliError::usage)?;
    let clients = bind("listen-client", settings.listen_client)?;
    let tables = table_ports(&settings)?;
    let peers = bind("listen-peer", settings.listen_peer)?;
    let redis = settings.redis.as_ref().map(|port| redis_port(port, &settings, &clock)).transpose()?;
    let gossip = gossip(&settings)?;
    let client_tls = settings.client_tls.as_ref().map(tls::for_clients).transpose().map_err(CliError::usage)?;
    let peer_tls = settings.peer_tls.as_ref().map(tls::for_peers).transpose().map_err(CliError::usage)?;
    if dir.owner().is_none() {
        let owner = new_owner(&settings).await?;
        dir.found(owner).map_err(CliError::failed)?;
    }
    let owner = dir.owner().expect("the directory was founded above").clone();
    let cut = Arc::<Cut>::default();
    let mut registry = Registry::default();
    let metrics = gateway::Metrics::default();
    metrics.register(&mut registry);
    let options = StartOptions {
        node: node_config(&settings, &owner),
        hints: hints(&settings, &owner),
        log_disk: Arc::new(dir.disk()),
        dir,
        clients,
        tables,
        port: redis.map(|(listener, port)| (listener, port(owner.node, &mut registry))),
        peers,
        client_tls,
        peer_tls,
        gossip: Some(gossip),
        cut: Arc::clone(&cut),
        clock: Arc::clone(&clock),
        registry,
    };
    let name = settings.name.clone();
    tracing::info!(node = %owner.node, cluster = %owner.cluster, name, "starting the node");
    let serving = gateway::Options { clock, metrics };
    let door = if settings.allow_cut { CutDoor::Open(cut) } else { CutDoor::Closed };
    let serve = move |service: Arc<dyn Service>, table: Option<TableName>| {
        let objects = althing_gateway_http::router(Arc::clone(&service));
        let etcd = gateway::router(service, serving.clone());
        Port::new(objects, door.clone(), table.map_or_else(|| etcd.clone(), |name| etcd.for_table(name)))
    };
    let tell = move |result| {
        // Whoever waited is gone when the process is ending anyhow.
        let _ = ended.send((name, result));
    };
    start(options, serve, tell).map_err(CliError::failed)
}

/// What serves a port once it is known who the node is.
type MakePort = Box<dyn FnOnce(NodeId, &mut Registry) -> ServePort>;

/// The port for clients of Redis, and what will serve it.
fn redis_port(
    port: &RedisPort,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<(TcpListener, MakePort), CliError> {
    let listener = bind("listen-redis", port.listen)?;
    let files = settings.client_tls.as_ref().filter(|_| port.is_tls);
    let tls = files.map(tls::for_others).transpose().map_err(CliError::usage)?;
    let users = redis::users(&port.users)?;
    if port.users.is_empty() && !port.listen.ip().is_loopback() {
        tracing::warn!("clients of Redis are asked for no password: set redis_password_file or redis_users_file");
    }
    let (clock, address, counters) = (Arc::clone(clock), port.address.clone(), Arc::<Counters>::default());
    let make = move |node: NodeId, registry: &mut Registry| {
        counters.register(registry);
        redis::Port { clock, node, address, users, tls, counters }.serve()
    };
    Ok((listener, Box::new(make)))
}

/// The ports of single tables.
fn table_ports(settings: &Settings) -> Result<Vec<(TableName, TcpListener)>, CliError> {
    let port = |setting: &TablePort| Ok((setting.table.clone(), bind("table-listen", setting.listen)?));
    settings.table_listen.iter().map(port).collect()
}

/// Takes an address, or says who should change what.
fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).map_err(|error| not_bound(flag, &address.to_string(), &error))
}

fn not_bound(flag: &str, address: &str, error: &std::io::Error) -> CliError {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => CliError::usage(format!(
            "{address} is in use by another program; stop that one or choose another address with --{flag}"
        )),
        _ => CliError::usage(format!("cannot listen on {address}: {error}; choose another address with --{flag}")),
    }
}

/// What the node takes part in the membership with: datagrams come in on the number of the peer port.
fn gossip(settings: &Settings) -> Result<GossipOptions, CliError> {
    let at = settings.listen_peer;
    let socket = UdpSocket::bind(at).map_err(|error| not_bound("listen-peer", &format!("{at} (UDP)"), &error))?;
    let secret = settings.cluster_key.read().map_err(CliError::usage)?;
    match (&secret, at.ip().is_loopback()) {
        (None, false) => tracing::warn!(
            "there is no cluster_key: datagrams of the membership are checked by the cluster's id only, so anybody on this \
             network can make nodes look alive or dead; no data depends on it"
        ),
        (None, true) => tracing::info!(
            "there is no cluster_key: datagrams of the membership are checked by the cluster's id only, which is fine on \
             loopback"
        ),
        (Some(_), _) => {}
    }
    let contact = settings.peer_url.parse().map_err(CliError::usage)?;
    let join = settings.gossip_join.iter().map(|text| text.parse());
    let join =
        join.collect::<Result<_, BadAddress>>().map_err(|error| CliError::usage(format!("gossip-join: {error}")))?;
    let client_urls = settings.client_urls.clone();
    let redis = settings.redis.as_ref().map(|port| port.address.clone());
    Ok(GossipOptions { socket, contact, secret, client_urls, redis, join, resolver: Arc::new(SystemResolver) })
}

/// Whose a new directory becomes.
async fn new_owner(settings: &Settings) -> Result<Owner, CliError> {
    let owner = |birth, cluster, node, members| Owner {
        birth,
        members,
        cluster_name: settings.cluster.clone(),
        cluster,
        node,
        name: settings.name.clone(),
    };
    if settings.join.is_empty() {
        let founding = Founding::new(&settings.cluster, &settings.members, b"");
        let node = founding.id_of(&settings.name).expect("settings are refused unless they list this node");
        return Ok(owner(Birth::Founded, founding.cluster, node, founding.members));
    }
    let Place { birth, cluster, node, members } = join::ask(settings).await?;
    Ok(owner(birth, cluster, node, members))
}

fn node_config(settings: &Settings, owner: &Owner) -> NodeConfig {
    let mut config = NodeConfig::new(owner.cluster, owner.node, owner.members.clone());
    config.name.clone_from(&settings.name);
    config.client_urls.clone_from(&settings.client_urls);
    let mut config = match owner.birth {
        Birth::Founded | Birth::Restored => config.with_control_plane(),
        Birth::Joined => NodeConfig { join: true, control: ControlPlane::Present, ..config },
        Birth::Registered => NodeConfig { join: true, groups: Vec::new(), control: ControlPlane::Present, ..config },
    };
    config.peer_urls = vec![settings.peer_url.clone()];
    config.zone.clone_from(&settings.zone);
    config.version = env!("CARGO_PKG_VERSION").to_owned();
    for group in &mut config.groups {
        group.quota_bytes = settings.quota_bytes;
    }
    config.progress_interval = settings.watch_progress_interval;
    let ticks = ticks_of(settings.election_timeout, config.tick);
    config.election_ticks = ticks..ticks * 2;
    // Three heartbeats must be lost before anybody doubts the leader.
    config.heartbeat_ticks = (ticks / 3).max(1);
    config
}

/// How many ticks a time is, rounded up.
fn ticks_of(time: Duration, tick: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(tick.as_millis().max(1))).unwrap_or(u32::MAX / 4)
}

/// Where peers may be found beside what they said themselves: members that have moved since.
fn hints(settings: &Settings, owner: &Owner) -> BTreeMap<NodeId, Vec<Address>> {
    let mut hints: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for setting in &settings.members {
        let member = owner.members.iter().find(|member| member.name == setting.name);
        let address = setting.peer_url.parse();
        if let (Some(member), Ok(address)) = (member, address) {
            hints.entry(member.id).or_default().push(address);
        }
    }
    hints
}
