//! Identities. Each is a number on the wire and a type of its own in the code.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The bare number, for wire formats and metrics.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(", $format, ")"), self.0)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

id! {
    /// A cluster. A restore or a recovery from a lost quorum makes a new one, so that old members cannot rejoin.
    ClusterId(u64), "{:016x}"
}
id! {
    /// A node: one process with one data directory. It is also the id of the node's replica in every Raft group, and
    /// etcd's member id. Zero is nobody. A data directory that was lost comes back under a new id, never the old one.
    NodeId(u64), "{:x}"
}
id! {
    /// A Raft group: the replicas of one shard of a `strong` table.
    GroupId(u64), "{}"
}
id! {
    /// A key space of the engine: one replica's data of one shard. A snapshot is installed into a new space, and
    /// the old one is dropped.
    SpaceId(u64), "{}"
}
id! {
    /// One request that a node has accepted, unique per node and process run.
    RequestId(u64), "{}"
}
id! {
    /// One long-lived client stream (a watch stream or a snapshot download) of a node.
    StreamId(u64), "{}"
}
id! {
    /// A watch within one stream, chosen by the client or given by the server; never below zero for a live watch.
    WatchId(i64), "{}"
}
id! {
    /// A lease. Always above zero; etcd's zero ("no lease") is `None` here.
    LeaseId(i64), "{:x}"
}
id! {
    /// The position of a write in a strong shard. The empty store stands at revision 1; the first write makes 2.
    Revision(i64), "{}"
}

impl Revision {
    /// The revision of a store that has never been written.
    pub const FIRST: Self = Self(1);

    /// The revision of the next write.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl NodeId {
    /// Nobody: a follower without a leader follows this.
    pub const NONE: Self = Self(0);
}
