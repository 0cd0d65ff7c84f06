//! What placement knows of a node.

use std::fmt;
use std::sync::Arc;

use althing_types::NodeId;

/// A part of the world that fails as one: a rack, a datacenter. Nodes that name none share the zone of the empty name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(Arc<str>);

impl Zone {
    /// The zone of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.0)
    }
}

/// A shard, by a number that is unique among those that are placed together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ShardId(pub u64);

/// A node that replicas can be placed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Who it is.
    pub id: NodeId,
    /// Where it stands.
    pub zone: Zone,
    /// How much it can hold beside others, in hundredths of a usual node: 200 gets twice the share. At 0 it gets nothing.
    pub capacity: u32,
}

impl Node {
    /// The capacity of a usual node.
    pub const USUAL: u32 = 100;

    /// A usual node in the zone of this name.
    #[must_use]
    pub fn new(id: NodeId, zone: &str) -> Self {
        Self { id, zone: Zone::new(zone), capacity: Self::USUAL }
    }

    /// The same node with another capacity, in hundredths of a usual node.
    #[must_use]
    pub fn with_capacity(self, capacity: u32) -> Self {
        Self { capacity, ..self }
    }
}
