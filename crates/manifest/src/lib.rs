//! The objects of the control plane: what a cluster, its nodes, its tables and their shards are told and say.
//!
//! Every object has a *spec* (what is wanted), a *status* (what is the case, written by the control plane only) and metadata.
//! Objects are JSON values of the table `meta`; an object's resource version is its key's `mod_revision`.

pub mod admission;
pub mod check;
pub mod cluster;
pub mod condition;
pub mod explain;
pub mod kind;
pub mod metadata;
pub mod mistake;
pub mod node;
pub mod object;
mod rules;
pub mod schema;
pub mod shard;
pub mod table;
pub mod text;

pub use admission::{Admitted, Deletion, Refusal, admit, admit_deletion};
pub use cluster::{Claim, Cluster, ClusterSpec, ClusterStatus, SplitClaim};
pub use condition::{Condition, Truth};
pub use explain::explain;
pub use kind::{API_VERSION, Kind, key_of, parse_key, prefix};
pub use metadata::{Life, Metadata};
pub use mistake::{Mistake, Mistakes};
pub use node::{Liveness, Node, NodeSpec, NodeStatus, Schedule};
pub use object::{MAX_OBJECT_BYTES, Object, Resource, Unreadable};
pub use shard::{DEFAULT_GROUP, META_GROUP, Phase, Shard, ShardSpec, ShardStatus, Slice};
pub use table::{Conditional, Guarantee, Split, Table, TableSpec, TableStatus};
