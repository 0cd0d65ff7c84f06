//! The port for clients of Redis: its gateway between the node's service and the map.

use std::sync::Arc;

use althing_cli::CliError;
use althing_cli::config::{RedisUser, RedisUsers};
use althing_env::Clock;
use althing_gateway_redis::hub::{Message, Spread};
use althing_gateway_redis::users::{Reach, Users};
use althing_gateway_redis::{Admission, Config, Counters, Entrance, Gateway, Peer, Standing, Table, TableKind, Tables};
use althing_manifest::{Guarantee, table::META};
use althing_quorum::Level;
use althing_runtime::catalog::{Catalog, Entry};
use althing_runtime::transport::address::Address;
use althing_runtime::{Board, Mail, ServePort, Standing as Seen, Surroundings};
use althing_types::{NodeId, TableName};
use tokio_rustls::TlsAcceptor;

/// What a port is made of.
pub struct Port {
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
    /// The node.
    pub node: NodeId,
    /// Where clients reach it.
    pub address: Address,
    /// Who may use it.
    pub users: Users,
    /// TLS, if it is spoken.
    pub tls: Option<TlsAcceptor>,
    /// Where it counts.
    pub counters: Arc<Counters>,
}

impl Port {
    /// What serves it.
    pub fn serve(self) -> ServePort {
        Box::new(move |listener, around| {
            let Surroundings { service, catalog, board, mail, stopping } = around;
            let own = peer(self.node, &self.address, Standing::Living);
            let tables = Arc::new(Map { catalog, board, own, users: self.users });
            let config = Config { seed: self.node.get(), counters: self.counters, ..Config::default() };
            let gateway = Gateway::new(service, tables, self.clock, Box::new(Post(mail.clone())), config);
            let heard = gateway.clone();
            mail.read_by(Box::new(move |from, bytes| match Message::decode(bytes) {
                Ok(message) => {
                    heard.hub().deliver(&message);
                }
                Err(error) => tracing::debug!(peer = %from, "what the peer tells clients is no message: {error}"),
            }));
            Box::pin(althing_gateway_redis::serve(listener, self.tls, gateway, stopping))
        })
    }
}

/// The users of the settings.
pub fn users(settings: &RedisUsers) -> Result<Users, CliError> {
    let mut users = Users::default();
    for RedisUser { name, password, tables } in settings.read().map_err(CliError::usage)? {
        users.add(&name, password.bytes(), tables.map_or(Reach::All, Reach::Only));
    }
    Ok(users)
}

/// Messages on their way to other nodes.
struct Post(Mail);

impl Spread for Post {
    fn spread(&self, message: &Message) {
        self.0.send(message.encode());
    }
}

fn peer(node: NodeId, address: &Address, standing: Standing) -> Peer {
    Peer { node, host: address.host.clone(), port: address.port, standing }
}

/// The tables that clients of Redis reach, and the nodes at which they do.
struct Map {
    catalog: Arc<Catalog>,
    board: Arc<Board>,
    own: Peer,
    users: Users,
}

impl Map {
    fn find(&self, wanted: impl Fn(&Entry) -> bool) -> Option<Arc<Table>> {
        self.catalog.entries().iter().find(|entry| wanted(entry)).and_then(table)
    }
}

impl Tables for Map {
    fn by_index(&self, index: u32) -> Option<Arc<Table>> {
        self.find(|entry| entry.table.spec.redis_db == Some(index))
    }

    fn by_name(&self, name: &str) -> Option<Arc<Table>> {
        self.find(|entry| entry.table.name() == name)
    }

    fn all(&self) -> Vec<Arc<Table>> {
        self.catalog.entries().iter().filter_map(table).collect()
    }

    fn peers(&self) -> Vec<Peer> {
        let others = self.board.neighbours();
        let others = others.iter().filter(|other| other.node != self.own.node).map(|other| {
            let standing = match other.standing {
                Seen::Living => Standing::Living,
                Seen::Lost => Standing::Lost,
            };
            peer(other.node, &other.address, standing)
        });
        let mut all: Vec<Peer> = others.chain([self.own.clone()]).collect();
        all.sort_unstable();
        all
    }

    fn entrance(&self) -> Entrance {
        self.users.entrance()
    }

    fn authenticate(&self, user: &str, password: &[u8]) -> Admission {
        self.users.authenticate(user, password)
    }

    fn may_use(&self, user: &str, table: &Table) -> Admission {
        self.users.may_use(user, table)
    }
}

/// A table as the gateway knows it. The objects themselves are none.
fn table(entry: &Entry) -> Option<Arc<Table>> {
    let spec = &entry.table.spec;
    let kind = match spec.guarantee {
        Guarantee::Convergent => TableKind::Convergent,
        Guarantee::Strong => TableKind::Strong,
        Guarantee::Stream | Guarantee::Blob => return None,
    };
    let having = match (kind, spec.write_level.unwrap_or_default()) {
        (TableKind::Convergent, Level::One | Level::Any) => 1,
        (TableKind::Convergent, Level::All) => spec.replicas,
        (TableKind::Convergent, Level::Quorum | Level::LocalQuorum | Level::EachQuorum) | (TableKind::Strong, _) => {
            spec.replicas / 2 + 1
        }
    };
    let name = TableName::new(entry.table.name()).ok().filter(|name| name.as_str() != META)?;
    let (index, shards) = (spec.redis_db, entry.shards.clone());
    Some(Arc::new(Table { name, index, kind, shards, other_copies: having - 1 }))
}
