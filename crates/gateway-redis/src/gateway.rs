//! What all connections of a node share, and what they are allowed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use althing_api::Service;
use althing_api::keyed::Moment;
use althing_env::Clock;
use althing_types::Instant;
use althing_types::limits::MAX_REQUEST_BYTES;

use crate::clients::Clients;
use crate::counters::Counters;
use crate::cursors::Cursors;
use crate::hub::{Hub, Spread};
use crate::tables::Tables;
use crate::waits::Waits;

/// Connections at the same time, as Redis's `maxclients`.
pub const DEFAULT_MAX_CLIENTS: usize = 10_000;

/// What may be set. The names in `CONFIG GET` stand beside each.
#[derive(Clone, Debug)]
pub struct Config {
    /// `maxclients`: connections at the same time; one more is refused with Redis's error.
    pub max_clients: usize,
    /// `proto-max-bulk-len`: bytes of one word.
    pub max_bulk_bytes: usize,
    /// `timeout`: a connection that asks nothing for so long, and listens to nothing, is closed. `None`: never.
    pub idle_timeout: Option<Duration>,
    /// How long a client may take to read what it has asked for, before its connection is closed. Nothing more is read from it
    /// meanwhile, so what waits for it is bounded.
    pub write_timeout: Duration,
    /// Begins the numbers of cursors, and decides what is drawn.
    pub seed: u64,
    /// Where it counts.
    pub counters: Arc<Counters>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_clients: DEFAULT_MAX_CLIENTS,
            max_bulk_bytes: MAX_REQUEST_BYTES,
            idle_timeout: None,
            write_timeout: Duration::from_secs(60),
            seed: 1,
            counters: Arc::default(),
        }
    }
}

/// All that connections share.
pub struct Shared {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) hub: Hub,
    pub(crate) clients: Clients,
    pub(crate) cursors: Cursors,
    pub(crate) waits: Arc<Waits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) started: Instant,
    random: Mutex<fastrand::Rng>,
}

impl Shared {
    /// A number below `bound`, which is not 0.
    pub(crate) fn draw(&self, bound: usize) -> usize {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).usize(..bound)
    }

    /// Now, and a seed that no one has had.
    pub(crate) fn moment(&self) -> Moment {
        let now_ms = i64::try_from(self.clock.wall().0).unwrap_or(i64::MAX);
        Moment { now_ms, seed: self.random.lock().unwrap_or_else(PoisonError::into_inner).u64(..) }
    }

    /// The port of this node for clients; 0 if it is not known.
    pub(crate) fn port(&self) -> u16 {
        let me = self.service.member();
        self.tables.peers().into_iter().find(|peer| peer.node == me).map_or(0, |peer| peer.port)
    }

    /// The clients' own number of this node: forty hexadecimal digits.
    pub(crate) fn run_id(&self) -> String {
        node_name(self.service.member())
    }
}

/// A node's name among clients of Redis, whose nodes have forty hexadecimal digits.
#[must_use]
pub fn node_name(node: althing_types::NodeId) -> String {
    format!("{:040x}", node.get())
}

/// The gateway of one node. Clones share everything.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<Shared>);

impl Gateway {
    /// A gateway of `service`'s node. `spread` carries messages to the other nodes.
    #[must_use]
    pub fn new(
        service: Arc<dyn Service>,
        tables: Arc<dyn Tables>,
        clock: Arc<dyn Clock>,
        spread: Box<dyn Spread>,
        config: Config,
    ) -> Self {
        Self(Arc::new(Shared {
            started: clock.now(),
            hub: Hub::new(spread, Arc::clone(&config.counters)),
            clients: Clients::default(),
            cursors: Cursors::new(config.seed.rotate_left(32) ^ service.member().get()),
            waits: Arc::default(),
            counters: Arc::clone(&config.counters),
            random: Mutex::new(fastrand::Rng::with_seed(config.seed)),
            service,
            tables,
            clock,
            config,
        }))
    }

    /// The channels: a node that gets messages from others delivers them here.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// What has been counted.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.0.counters
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.clients.count()
    }
}
