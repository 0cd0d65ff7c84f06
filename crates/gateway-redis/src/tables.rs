//! What a gateway has to know of tables and of other nodes, and cannot learn through a request: the map is the node's.

use std::sync::Arc;

use althing_types::{GroupId, NodeId, TableName};

/// How a table keeps its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableKind {
    /// Leaderless replicas that converge.
    Convergent,
    /// A Raft group per shard: linearizable.
    Strong,
}

/// One table, as connections see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// The number that `SELECT` knows it by: `redis_db` of its spec.
    pub index: Option<u32>,
    /// How it keeps its data.
    pub kind: TableKind,
    /// Its shards, in ascending order.
    pub shards: Vec<GroupId>,
    /// On how many replicas besides the one that answers a write is, at the least, when it is acknowledged. `WAIT` says this.
    pub other_copies: u32,
}

/// How a node looks to the one that is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// It serves, as far as is known.
    Living,
    /// It is thought to be down.
    Lost,
}

/// A node that serves clients of Redis.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Peer {
    /// Which.
    pub node: NodeId,
    /// Its address for clients; empty if they are to use the one they have.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
    /// How it looks.
    pub standing: Standing,
}

/// Whether a client may do what it asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It may.
    Admitted,
    /// It may not.
    Refused,
}

/// Whether clients must say who they are before they ask for anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entrance {
    /// They need not.
    Open,
    /// They must.
    Guarded,
}

/// The tables that clients of Redis reach, and the nodes that serve them. The node implements it over its map; every call
/// answers at once, from memory.
pub trait Tables: Send + Sync + 'static {
    /// The table that `SELECT` means by `index`. Connections begin in that of 0.
    fn by_index(&self, index: u32) -> Option<Arc<Table>>;
    /// The table of this name, if clients of Redis may reach it.
    fn by_name(&self, name: &str) -> Option<Arc<Table>>;
    /// All that clients of Redis reach.
    fn all(&self) -> Vec<Arc<Table>>;
    /// The nodes that serve clients of Redis, this one among them, in ascending order.
    fn peers(&self) -> Vec<Peer>;
    /// Whether clients must authenticate.
    fn entrance(&self) -> Entrance {
        Entrance::Open
    }
    /// Whether this is the password of `user`.
    fn authenticate(&self, user: &str, password: &[u8]) -> Admission {
        let _ = (user, password);
        Admission::Admitted
    }
    /// Whether `user`, who has authenticated if that is asked, may use `table`.
    fn may_use(&self, user: &str, table: &Table) -> Admission {
        let _ = (user, table);
        Admission::Admitted
    }
}
