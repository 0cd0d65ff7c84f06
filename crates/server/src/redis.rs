//! The port for clients of Redis: its gateway between the node's service and the map.

use std::sync::Arc;

use althing_env::Clock;
use althing_gateway_redis::hub::Alone;
use althing_gateway_redis::{Config, Gateway, Peer, Table, TableKind, Tables};
use althing_manifest::{Guarantee, table::META};
use althing_quorum::Level;
use althing_runtime::ServePort;
use althing_runtime::catalog::{Catalog, Entry};
use althing_types::{NodeId, TableName};

/// What serves the port.
pub fn port(clock: Arc<dyn Clock>, node: NodeId, port: u16) -> ServePort {
    Box::new(move |listener, service, catalog, stopping| {
        let tables = Arc::new(Map { catalog, own: Peer { node, host: String::new(), port } });
        let config = Config { seed: node.get(), ..Config::default() };
        let gateway = Gateway::new(service, tables, clock, Box::new(Alone), config);
        Box::pin(althing_gateway_redis::serve(listener, gateway, stopping))
    })
}

/// The tables that clients of Redis reach.
struct Map {
    catalog: Arc<Catalog>,
    own: Peer,
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
        vec![self.own.clone()]
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
