//! Where the replicas of keys and shards belong: pure functions of who is there, without a clock, a socket or chance.
//!
//! Three ways lead from a key to nodes. They differ in what must be remembered.
//!
//! | | remembered | spread over nodes | a join moves |
//! |---|---|---|---|
//! | [`Ring`]: virtual nodes on a ring | who is there | fullest: 1.3 of the mean at 128 tokens | about 1/N, to the joiner only |
//! | [`rendezvous`]: the highest draw wins | who is there | that of chance | about 1/N, to the joiner only |
//! | [`plan`]: shards dealt to nodes | the whole map | at most one replica above the fair share | exactly the joiner's share |
//!
//! Tables are dealt: a table is split into shards ([`split`]), and [`plan::plan`] says which nodes should hold each,
//! with as few copies as can be, and by which steps to get there. The ring and the rendezvous serve what has no map. Why,
//! and with which figures: `docs/adr/0013`. What is hashed, byte by byte: `docs/formats/placement.md`.
//!
//! All of them spread replicas over zones in the same manner ([`spread`]): no zone gets a second replica while another zone
//! with a free node has none, and so on for the third. All arithmetic is in integers, so that every node of a cluster comes to
//! the same answer on every processor.
//!
//! ```
//! use althing_placement::plan::{Host, Policy, Spread, plan};
//! use althing_placement::split::HashSplit;
//! use althing_placement::{Actual, Node, Ring, ShardId};
//! use althing_types::NodeId;
//! use std::collections::BTreeMap;
//!
//! // Six nodes in three zones.
//! let nodes: Vec<Node> = (1..=6).map(|id| Node::new(NodeId(id), ["a", "b", "c"][id as usize % 3])).collect();
//!
//! // A ring needs nothing but them.
//! let ring = Ring::new(nodes.clone(), Ring::TOKENS_PER_NODE);
//! let owners = ring.owners(althing_placement::hash::position(b"user/17"), 3);
//! assert_eq!(owners.len(), 3);
//!
//! // A table of 64 shards is dealt instead: each node gets 32 of the 192 replicas.
//! let table: BTreeMap<ShardId, Actual> = (0..64).map(|shard| (ShardId(shard), Actual::default())).collect();
//! let hosts: Vec<Host> = nodes.into_iter().map(Host::active).collect();
//! let plan = plan(&table, &hosts, &Policy { replicas: 3, spread: Spread::Must });
//! let held = |node| plan.placements.values().filter(|placement| placement.replicas.contains(&node)).count();
//! assert!((1..=6).all(|id| held(NodeId(id)) == 32));
//!
//! // And a key finds its shard.
//! let shard = HashSplit::new(64).expect("64 is not zero").shard(b"user/17");
//! assert!(plan.placements.contains_key(&ShardId(u64::from(shard))));
//! ```

pub mod hash;
pub mod node;
pub mod plan;
pub mod rendezvous;
pub mod ring;
pub mod split;
pub mod spread;

pub use node::{Node, ShardId, Zone};
pub use plan::{Actual, Placement};
pub use ring::Ring;
pub use ring::ranges::Range;
