//! Putting a node together: recovery of what is on disk, threads, sockets, and the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use althing_api::{Health, Service};
use althing_env::{Clock, Disk};
use althing_node::{Applier, DiskSpace, LogRecovery, MAX_INCARNATION, Membership, Node, NodeConfig, RecoverError};
use althing_storage::engine::lsm::{LsmEngine, LsmOptions};
use althing_storage::engine::{Engine, EngineError};
use althing_storage::wal::{self, Wal, WalError, WalOptions};
use althing_types::{NodeId, TableName};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::admission::Doors;
use crate::catalog::Catalog;
use crate::clients::{self, Gateway};
use crate::cut::Cut;
use crate::directory::{DataDir, DirectoryError, ENGINE_DIR, WAL_DIR};
use crate::driver::{Driver, Ending, Event, Ports};
use crate::gossip::{Board, GossipOptions, GossipThread, MAX_CALLED};
use crate::handle::{Handle, Shared};
use crate::mail::{Mail, MailCounters};
use crate::mailbox::Inbox;
use crate::metrics::{Published, ShellMetrics};
use crate::pace::Pace;
use crate::threads::applier::ApplierThread;
use crate::threads::log::{self, LogThread};
use crate::threads::maintenance::{self, MaintenanceThread};
use crate::threads::reader::ReaderThread;
use crate::threads::{self, Fatal};
use crate::tls::PeerTls;
use crate::transport::address::Address;
use crate::transport::handshake::Identity;
use crate::transport::{Transport, TransportOptions};

/// What serves a port of its own is given.
pub struct Surroundings {
    /// The node.
    pub service: Arc<dyn Service>,
    /// Its tables.
    pub catalog: Arc<Catalog>,
    /// What it hears from the membership.
    pub board: Arc<Board>,
    /// The way to those that serve such a port on other nodes.
    pub mail: Mail,
    /// Its sender is gone when the node stops.
    pub stopping: watch::Receiver<()>,
}

/// Serves the clients of a port of its own until the node stops.
pub type ServePort =
    Box<dyn FnOnce(tokio::net::TcpListener, Surroundings) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What a node is started with.
pub struct StartOptions {
    /// Its data directory: locked, and founded for this node.
    pub dir: DataDir,
    /// The disk below the directory that the log is on: [`DataDir::disk`], unless something stands before it.
    pub log_disk: Arc<dyn Disk>,
    /// What the node is told. `incarnation` and `seed` are set from the directory.
    pub node: NodeConfig,
    /// Where peers can be found beside what their member entries say.
    pub hints: BTreeMap<NodeId, Vec<Address>>,
    /// Where it listens for clients.
    pub clients: TcpListener,
    /// Where it listens for clients that cannot name a table: one port for each of these tables.
    pub tables: Vec<(TableName, TcpListener)>,
    /// Where it listens for clients of another protocol, and what serves them.
    pub port: Option<(TcpListener, ServePort)>,
    /// Where it listens for other nodes.
    pub peers: TcpListener,
    /// TLS for clients.
    pub client_tls: Option<TlsAcceptor>,
    /// TLS between nodes.
    pub peer_tls: Option<PeerTls>,
    /// What the node takes part in the membership with; `None` keeps it out of it.
    pub gossip: Option<GossipOptions>,
    /// Whom it is cut off from on purpose.
    pub cut: Arc<Cut>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Where metrics are registered; those of the gateway may be there already.
    pub registry: Registry,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its log cannot be opened.
    #[error("cannot open the write-ahead log: {0}")]
    Log(#[from] WalError),
    /// Its log does not make sense.
    #[error("cannot recover from the write-ahead log: {0}")]
    Recover(#[from] RecoverError),
    /// Its engine cannot be opened.
    #[error("cannot open the engine: {0}")]
    Engine(#[from] EngineError),
    /// Its tables cannot be opened, or log and engine contradict each other.
    #[error("cannot open the tables: {0}")]
    Tables(String),
    /// The directory was started too often for what identifies a start.
    #[error("this data directory was started {0} times, which is the most; remove the node and add it anew")]
    Starts(u64),
    /// The system refused.
    #[error(transparent)]
    System(#[from] Fatal),
}

/// A node that runs.
pub struct Running {
    handle: Handle,
    driver: JoinHandle<()>,
}

impl Running {
    /// The node's door.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the node has ended and everything of it is closed.
    pub fn join(self) {
        // A panic of the driver was handed to `ended` already.
        let _ = self.driver.join();
    }
}

/// What recovery gave back.
struct Recovered {
    wal: Wal,
    engine: Arc<dyn Engine>,
    applier: Applier,
    node: Node,
    identity: Identity,
    /// The members as this node knew them last.
    members: Membership,
}

/// Opens what is on disk, in the order in which each needs the other.
fn recover(dir: &mut DataDir, disk: &Arc<dyn Disk>, config: &mut NodeConfig) -> Result<Recovered, StartError> {
    dir.check_storage()?;
    let mut records = LogRecovery::default();
    let mut damage = None;
    let mut visit = |_, record| {
        if damage.is_none() {
            damage = records.record(record).err();
        }
    };
    let identity = wal::Identity { cluster: config.cluster, node: config.node };
    let (wal, replayed) =
        Wal::open_with(Arc::clone(disk), Path::new(WAL_DIR), identity, WalOptions::default(), &mut visit)
            .map_err(|error| error.below(dir.path()))?;
    if let Some(damage) = damage {
        return Err(damage.into());
    }
    if let Some(cut) = replayed.cut {
        tracing::info!(segment = %cut.segment.display(), offset = cut.offset, bytes = cut.bytes,
            "cut the torn tail of the log: what was not durable when the process ended");
    }
    let options = LsmOptions::new(config.cluster, config.node);
    let engine: Arc<dyn Engine> = Arc::new(LsmEngine::open(&dir.path().join(ENGINE_DIR), &options)?);
    let (mut applier, states) =
        Applier::open(Arc::clone(&engine), config, &records).map_err(|error| StartError::Tables(error.to_string()))?;
    // Only now: a directory whose first start failed half-way is still a new one.
    let identity = dir.start()?;
    let run = identity.lineage.run();
    if run.starts > MAX_INCARNATION {
        return Err(StartError::Starts(run.starts));
    }
    config.incarnation = run.starts;
    applier.begin_run(run.starts);
    config.seed = identity.node.get() ^ run.nonce;
    let node =
        Node::new(config.clone(), records.join(states)).map_err(|error| StartError::Tables(error.to_string()))?;
    let members = node.membership();
    Ok(Recovered { wal, engine, applier, node, identity, members })
}

/// What the driver and its handles share, before the node has done anything.
fn shared_of(
    identity: &Identity,
    registry: Registry,
    (doors, mail): (Arc<Doors>, Arc<MailCounters>),
    clock: &Arc<dyn Clock>,
) -> Arc<Shared> {
    Arc::new(Shared {
        cluster: identity.cluster,
        node: identity.node,
        inbox: Inbox::default(),
        pending: AtomicUsize::new(0),
        doors,
        board: Arc::new(Board::default()),
        pace: Arc::new(Pace::new(Arc::clone(clock))),
        health: Mutex::new(Health { live: true, ready: false, reasons: vec!["the node is starting".to_owned()] }),
        mail: crate::mail::Slot::new(mail),
        registry,
        next_stream: AtomicU64::new(1),
    })
}

/// Starts a node. `gateway` makes what serves its clients, and for a table's own port what serves those; `ended` is told once when the node has ended, in good order or
/// not. After an end that is not in good order the process must end, too.
pub fn start<G: Gateway>(
    mut options: StartOptions,
    gateway: impl Fn(Arc<dyn Service>, Option<TableName>) -> G + Send + 'static,
    ended: impl FnOnce(Result<(), Fatal>) + Send + 'static,
) -> Result<Running, StartError> {
    let recovered = recover(&mut options.dir, &options.log_disk, &mut options.node)?;
    let book = Arc::new(options.dir.peers()?);
    let name = options.node.name.clone();
    let metrics = ShellMetrics::default();
    let transport_metrics = Arc::default();
    let doors = Arc::new(Doors::new(Arc::clone(&options.clock)));
    let mail = Arc::<MailCounters>::default();
    let published = Arc::new(Published::new(Arc::clone(&transport_metrics), Arc::clone(&doors), Arc::clone(&mail)));
    metrics.register(&mut options.registry, Arc::clone(&published));
    let shared = shared_of(&recovered.identity, std::mem::take(&mut options.registry), (doors, mail), &options.clock);
    let failure = Arc::new(Mutex::new(None));
    let ports = Ports::default();
    let crew = Crew {
        name: name.clone(),
        shared: Arc::clone(&shared),
        failure: Arc::clone(&failure),
        disk: options.log_disk,
        ports,
    };
    let Recovered { wal, engine, applier, node, identity, members } = recovered;
    let workers = crew.spawn(wal, engine, applier, &options.clock, &metrics, &published)?;
    let events = {
        let shared = Arc::clone(&shared);
        Arc::new(move |event| shared.inbox.push(Event::Peer(event)))
    };
    let transport = Transport::new(TransportOptions {
        me: identity.clone(),
        book,
        tls: options.peer_tls,
        events,
        metrics: transport_metrics,
        cut: Arc::clone(&options.cut),
    });
    let seeds = seeds(&options.hints, &members);
    let gossip = options.gossip.map(|gossip| {
        let me = Newcomer { identity, zone: options.node.zone.clone(), cut: options.cut };
        crew.gossip(gossip, me, seeds, &transport, &options.clock, &published)
    });
    let gossip = gossip.transpose()?;
    let shell = Shell {
        transport,
        node,
        members,
        clock: options.clock,
        tick: options.node.tick,
        hints: options.hints,
        metrics,
        published,
        shared: Arc::clone(&shared),
        ports: crew.ports.clone(),
        clients: options.clients,
        tables: options.tables,
        port: options.port,
        peers: options.peers,
        client_tls: options.client_tls,
        dir: options.dir,
    };
    let ports = crew.ports.clone();
    let finish = move |result: Result<(), Fatal>| {
        shell_end(&ports, workers);
        if let Some(gossip) = gossip {
            gossip.end();
        }
        let first = failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        ended(first.map_or(result, Err));
    };
    let driver = threads::spawn(format!("{name}-driver"), move || shell.run(gateway), finish)?;
    Ok(Running { handle: Handle(shared), driver })
}

/// Lets the threads finish what they have.
fn shell_end(ports: &Ports, workers: Vec<JoinHandle<()>>) {
    ports.close();
    for worker in workers {
        // A panic of a worker was recorded as the node's failure already.
        let _ = worker.join();
    }
}

/// Where the membership begins: all addresses at which other members may be found.
fn seeds(hints: &BTreeMap<NodeId, Vec<Address>>, members: &Membership) -> Vec<(NodeId, Address)> {
    let told = members.members.iter().flat_map(|member| {
        let urls = member.peer_urls.iter().filter_map(|url| url.parse().ok());
        urls.map(|address| (member.id, address))
    });
    let hinted = hints.iter().flat_map(|(node, addresses)| addresses.iter().map(|address| (*node, address.clone())));
    told.chain(hinted).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Who takes part in the membership.
struct Newcomer {
    identity: Identity,
    /// Where it stands.
    zone: String,
    cut: Arc<Cut>,
}

/// The membership's thread, and what ends it.
struct GossipHandle {
    stop: watch::Sender<()>,
    thread: JoinHandle<()>,
}

impl GossipHandle {
    /// Lets the node leave the membership.
    fn end(self) {
        drop(self.stop);
        // That it panicked was said when it did.
        let _ = self.thread.join();
    }
}

/// The threads beside the driver, and what they share.
struct Crew {
    name: String,
    shared: Arc<Shared>,
    /// The first failure of any of them.
    failure: Arc<Mutex<Option<Fatal>>>,
    /// The disk that the log is on.
    disk: Arc<dyn Disk>,
    ports: Ports,
}

impl Crew {
    fn spawn(
        &self,
        wal: Wal,
        engine: Arc<dyn Engine>,
        applier: Applier,
        clock: &Arc<dyn Clock>,
        metrics: &ShellMetrics,
        published: &Published,
    ) -> Result<Vec<JoinHandle<()>>, Fatal> {
        let log = LogThread {
            wal,
            disk: Arc::clone(&self.disk),
            space: DiskSpace::default(),
            orders: Arc::clone(&self.ports.log),
            clock: Arc::clone(clock),
            metrics: metrics.log.clone(),
            stats: Arc::clone(&published.wal),
            report: self.report(|report| match report {
                log::Report::Persisted(seq) => Event::Persisted(seq),
                log::Report::Pinned(groups) => Event::LogPinned(groups),
                log::Report::Space(space) => Event::DiskSpace(space),
            }),
        };
        let applier = ApplierThread {
            applier,
            tasks: Arc::clone(&self.ports.applier),
            checkpoints: Arc::clone(&self.ports.maintenance),
            clock: Arc::clone(clock),
            apply_seconds: metrics.apply_seconds.clone(),
            report: self.report(Event::Done),
        };
        let maintenance = MaintenanceThread {
            engine,
            checkpoints: Arc::clone(&self.ports.maintenance),
            report: self.report(|report| match report {
                maintenance::Report::Checkpointed(spaces) => Event::Checkpointed(spaces),
                maintenance::Report::Stats(stats) => Event::EngineStats(stats),
            }),
        };
        let reader = ReaderThread { reads: Arc::clone(&self.ports.reader), report: self.report(Event::Read) };
        Ok(vec![
            self.thread("log", move || log.run())?,
            self.thread("applier", move || applier.run())?,
            self.thread("maintenance", move || maintenance.run())?,
            self.thread("reader", move || reader.run())?,
        ])
    }

    /// Starts the membership. Its failure is not the node's: nothing depends on it.
    fn gossip(
        &self,
        options: GossipOptions,
        me: Newcomer,
        seeds: Vec<(NodeId, Address)>,
        transport: &Transport,
        clock: &Arc<dyn Clock>,
        published: &Arc<Published>,
    ) -> Result<GossipHandle, Fatal> {
        let (answerer, called) = mpsc::channel(MAX_CALLED);
        transport.set_push_pull(answerer);
        let (stop, stopped) = watch::channel(());
        let numbers = Arc::clone(published);
        let requests = move || numbers.node.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0.requests;
        let thread = GossipThread {
            options,
            me: me.identity,
            seeds,
            caller: transport.caller(),
            cut: me.cut,
            called,
            stop: stopped,
            clock: Arc::clone(clock),
            disk: Arc::clone(&self.disk),
            requests: Box::new(requests),
            zone: me.zone,
            board: Arc::clone(&self.shared.board),
            view: Arc::clone(&published.gossip),
        };
        let ended = |result: Result<(), Fatal>| {
            if let Err(error) = result {
                tracing::error!("the membership has ended; the node serves on without it: {error}");
            }
        };
        let thread = threads::spawn(format!("{}-gossip", self.name), move || thread.run(), ended)?;
        Ok(GossipHandle { stop, thread })
    }

    fn report<T>(&self, event: impl Fn(T) -> Event + Send + 'static) -> Box<dyn Fn(T) + Send> {
        let shared = Arc::clone(&self.shared);
        Box::new(move |report| shared.inbox.push(event(report)))
    }

    /// A thread whose failure fails the node.
    fn thread(
        &self,
        role: &str,
        body: impl FnOnce() -> Result<(), Fatal> + Send + 'static,
    ) -> Result<JoinHandle<()>, Fatal> {
        let (failure, shared) = (Arc::clone(&self.failure), Arc::clone(&self.shared));
        let ended = move |result: Result<(), Fatal>| {
            if let Err(error) = result {
                tracing::error!("{error}");
                failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                shared.inbox.push(Event::Failed);
            }
        };
        threads::spawn(format!("{}-{role}", self.name), body, ended)
    }
}

/// What the driver's thread starts from.
struct Shell {
    transport: Transport,
    node: Node,
    members: Membership,
    clock: Arc<dyn Clock>,
    tick: std::time::Duration,
    hints: BTreeMap<NodeId, Vec<Address>>,
    metrics: ShellMetrics,
    published: Arc<Published>,
    shared: Arc<Shared>,
    ports: Ports,
    clients: TcpListener,
    tables: Vec<(TableName, TcpListener)>,
    port: Option<(TcpListener, ServePort)>,
    peers: TcpListener,
    client_tls: Option<TlsAcceptor>,
    /// Holds the directory's lock for as long as anything of the node runs.
    dir: DataDir,
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Fatal {
    move |error| Fatal::System { what, message: error.to_string() }
}

fn listener(listener: TcpListener) -> Result<tokio::net::TcpListener, Fatal> {
    listener.set_nonblocking(true).map_err(system("listen"))?;
    tokio::net::TcpListener::from_std(listener).map_err(system("listen"))
}

impl Shell {
    fn run<G: Gateway>(self, gateway: impl Fn(Arc<dyn Service>, Option<TableName>) -> G) -> Result<(), Fatal> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("start a runtime"))?;
        let shared = Arc::clone(&self.shared);
        let result = runtime.block_on(self.drive(gateway));
        shared.inbox.close();
        result
    }

    async fn drive<G: Gateway>(
        mut self,
        gateway: impl Fn(Arc<dyn Service>, Option<TableName>) -> G,
    ) -> Result<(), Fatal> {
        let mut transport = self.transport;
        transport.listen(listener(self.peers)?);
        let (stop, stopping) = watch::channel(());
        let mut clients = Vec::new();
        let tables = self.tables.into_iter().map(|(table, port)| (Some(table), port));
        for (table, port) in [(None, self.clients)].into_iter().chain(tables) {
            let gateway = gateway(Arc::new(Handle(Arc::clone(&self.shared))), table);
            let pace = Arc::clone(&self.shared.pace);
            let serving = clients::serve(listener(port)?, self.client_tls.clone(), gateway, pace, stopping.clone());
            clients.push(tokio::spawn(serving));
        }
        let catalog = Arc::new(Catalog::default());
        if let Some((port, serve)) = self.port {
            let surroundings = Surroundings {
                service: Arc::new(Handle(Arc::clone(&self.shared))),
                catalog: Arc::clone(&catalog),
                board: Arc::clone(&self.shared.board),
                mail: Mail(Arc::clone(&self.shared)),
                stopping: stopping.clone(),
            };
            clients.push(tokio::spawn(serve(listener(port)?, surroundings)));
        }
        let mut driver = Driver {
            node: self.node,
            clock: self.clock,
            tick: self.tick,
            shared: self.shared,
            published: self.published,
            catalog,
            metrics: self.metrics,
            transport,
            hints: self.hints,
            ports: self.ports,
            pending: BTreeMap::new(),
            next_request: 0,
            watches: BTreeMap::new(),
            downloads: BTreeMap::new(),
            quotas: BTreeMap::new(),
            is_ready: false,
        };
        driver.connect(self.members);
        let ending = driver.run().await;
        driver.end();
        match ending {
            Ending::Stopped => {
                drop(stop);
                for port in clients {
                    // A task that was aborted or panicked has nothing left to finish.
                    let _ = port.await;
                }
            }
            Ending::Failed => clients.iter().for_each(tokio::task::JoinHandle::abort),
            Ending::Dismissed(reason) => {
                clients.iter().for_each(tokio::task::JoinHandle::abort);
                if let Err(error) = self.dir.dismiss(&reason) {
                    tracing::error!("cannot note that the other nodes refuse this directory for good: {error}");
                }
                return Err(Fatal::Dismissed(reason));
            }
        }
        drop(self.dir);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Birth, Owner};
    use althing_types::ClusterId;

    #[test]
    fn a_damaged_log_is_named_with_its_whole_path() {
        let temp = tempfile::tempdir().unwrap();
        let mut dir = DataDir::open(temp.path()).unwrap();
        let (cluster, node) = (ClusterId(1), NodeId(2));
        let (cluster_name, name) = ("prod".to_owned(), "n1".to_owned());
        dir.found(Owner { birth: Birth::Founded, members: Vec::new(), cluster_name, cluster, node, name }).unwrap();
        std::fs::create_dir(temp.path().join(WAL_DIR)).unwrap();
        let segment = temp.path().join(WAL_DIR).join("segment-00000000000000000001.wal");
        std::fs::write(&segment, [7; 4096]).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(dir.disk());
        let Err(error) = recover(&mut dir, &disk, &mut NodeConfig::new(cluster, node, Vec::new())) else {
            panic!("it opened")
        };
        let named = format!("cannot open the write-ahead log: {} is corrupt at offset 0", segment.display());
        assert!(error.to_string().starts_with(&named), "{error}");
    }
}
