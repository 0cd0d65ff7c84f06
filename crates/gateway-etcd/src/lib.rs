//! The etcd gateway: speaks etcd's v3 API over one port and asks a node through [`althing_api::Service`].
//!
//! ```text
//!   one connection (HTTP/1.1 or HTTP/2)
//!        │
//!     Gateway ──┬─ path of an RPC ──── tonic server of that service ──┐
//!               ├─ /v3/… ───────────── JSON ⇄ protobuf, then the same ┤
//!               └─ /health /readyz /livez /version /metrics           │
//!                                                                     ▼
//!                           parse (validation as etcd's v3rpc layer) → api::Request → api::Service
//! ```
//!
//! It holds nothing that matters after a crash. What etcd says in an error, it says: [`status`] is the one place where
//! codes and texts are written. The hot path (KV over gRPC) goes from the path match straight into the generated tonic
//! server: no layers in between.
//!
//! `docs/compatibility-etcd.md` lists every RPC and path with what is supported and what is refused.

mod auth;
mod backend;
mod cluster;
mod concurrency;
mod convert;
mod election;
mod gateway;
mod health;
mod intervals;
mod kv;
mod lease;
mod lock;
mod maintenance;
pub mod metrics;
mod respond;
pub mod rpc;
pub mod sealed;
pub mod status;
mod table;
#[cfg(test)]
mod testing;
mod trace;
mod watch;
mod web;

use std::sync::Arc;

use althing_api::Service;
use althing_env::Clock;

pub use gateway::{Gateway, GatewayFuture};
pub use metrics::Metrics;
pub use table::TABLE_HEADER;

/// The version of etcd whose API is spoken, as Status and `/version` report it: clients that probe it (kube-apiserver
/// wants 3.5.13 or later before it trusts progress notifications) then use everything.
pub const SERVER_VERSION: &str = "3.6.5";
/// The cluster and storage version of etcd that goes with it.
pub const CLUSTER_VERSION: &str = "3.6.0";

/// What a gateway needs besides its node.
#[derive(Clone)]
pub struct Options {
    /// Measures how long an RPC takes.
    pub clock: Arc<dyn Clock>,
    /// Where RPCs are counted; one for all gateways of a process or one for each.
    pub metrics: Metrics,
}

/// The gateway of one node: a `tower` service of HTTP requests that serves every connection of the port, whatever its
/// HTTP version. Clones are cheap and share everything.
#[must_use]
pub fn router(service: Arc<dyn Service>, options: Options) -> Gateway {
    Gateway::new(service, options)
}
