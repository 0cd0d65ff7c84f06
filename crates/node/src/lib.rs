//! A node: the event loop that composes the cores (DESIGN: the house).
//!
//! [`Node`] is pure: it is told what has happened ([`Input`]) and says what it wants done ([`Effects`]). The same node runs
//! for real under `runtime` and simulated under `sim`. Beside it stand two parts that touch the engine and nothing else:
//! the [`Applier`], which writes, and [`read`], which reads.
//!
//! ```text
//!             Input ──► Node ──► Effects ──┬─► frames ──► peers
//!               ▲        │ groups          ├─► wal ─────► log, fsync ──► Input::Persisted
//!               │        ▼                 ├─► work ────► Applier ─────► Input::Done
//!               │   Replica (Raft)         ├─► reads ───► read() ──────► Input::Read
//!               │   Hub, Lessor            └─► responses, watch events
//!               └────────────────────────────────────────────────────────────┘
//! ```

mod applier;
mod config;
mod context;
mod control;
mod download;
pub mod effects;
pub mod envelope;
mod footprint;
mod group;
pub mod input;
mod keyed;
pub mod lineage;
mod metrics;
mod node;
mod peers;
mod presence;
mod proposals;
mod reader;
mod reads;
mod recover;
mod replicas;
mod route;
mod split;
mod steady;
mod transfer;

/// The names of clients' requests ([`Input::Request`]) lie below this one, those that the node gives itself above it. A host that
/// has given so many begins anew: the first will not wait any more.
pub const CLIENT_REQUESTS: u64 = 1 << 37;

pub use applier::{Applier, ApplierError, BIRTH};
pub use config::{
    ControlPlane, DEFAULT_ELECTION_TICKS, DEFAULT_HEARTBEAT_TICKS, DEFAULT_HINT_BYTES, DEFAULT_PROGRESS_INTERVAL,
    DEFAULT_TICK, GroupConfig, MAX_INCARNATION, NodeConfig, RepairConfig, WatchBuffers,
};
pub use download::{SNAPSHOT_MAGIC, SNAPSHOT_VERSION, SnapshotFileError, snapshot_pages};
pub use effects::{Effects, Membership, ReadWork, WalBatch, Work};
pub use footprint::Footprint;
pub use group::GroupLog;
pub use input::{DiskSpace, Done, GroupState, Input, KeyedState, ReadDone};
pub use keyed::{Hints, LastRound, RepairMetrics, RoundMetrics, RoundStage, Tally, group_of_log};
pub use metrics::{GroupMetrics, Metrics};
pub use node::Node;
pub use presence::{Content, Presence, Promise, ReplicaBirth};
pub use reader::read;
pub use recover::{LogRecovery, RecoverError, Recovery};
