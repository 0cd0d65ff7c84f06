//! The HTTP gateway of the control plane's objects: clusters, nodes, tables and shards as JSON, in the manner of platform tools.
//!
//! ```text
//!   GET  /apis/althing/v1                        which kinds there are
//!   GET  /apis/althing/v1/tables                 a list; ?watch=true follows it; ?labelSelector=a=b chooses
//!   POST /apis/althing/v1/tables                 make one
//!   GET, PUT, DELETE /apis/althing/v1/tables/t   read, replace, delete one; ?dryRun=true only shows a write
//! ```
//!
//! Objects are values of the table `meta`. The gateway reads and writes them through [`althing_api::Service`] on any node, which
//! forwards the calls to one that has the table, so it holds nothing itself. A write is a transaction on the condition that the
//! object is the one that was read: of two writers one is told `Conflict`, and nothing is lost. What may be written is decided
//! by `althing-manifest`; what follows from it, by the reconcilers on the meta table's leader.
//!
//! Following objects is reading what has changed every [`watch::POLL_INTERVAL`]: single calls are forwarded between nodes,
//! watches are not. `docs/http-api.md` describes the API for its users.

mod admission;
mod body;
mod discovery;
#[cfg(test)]
mod documented;
mod gateway;
mod objects;
mod query;
mod route;
mod selector;
pub mod status;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod watch;

use std::sync::Arc;

use althing_api::Service;

pub use body::ObjectBody;
pub use gateway::{Answering, Gateway};
pub use objects::Deletion;

/// What the paths of the API begin with.
pub const BASE: &str = "/apis/althing/v1";

/// The header in which every answer names the cluster: sixteen hexadecimal digits.
pub const CLUSTER_ID_HEADER: &str = "althing-cluster-id";

/// The gateway of one node. Clones are cheap and share everything.
#[must_use]
pub fn router(service: Arc<dyn Service>) -> Gateway {
    Gateway::new(service)
}
