//! What gateways and clients ask of a node: requests, answers, errors and event streams, in the words of the tables and
//! of no protocol. Gateways translate their wire into these types; a node answers with them.
//!
//! Nodes forward them to each other in the bytes of [`wire`].
//!
//! The one entry is [`Service`]. `runtime` implements it over the node's event loop; a gateway holds an
//! `Arc<dyn Service>` and nothing else of the node.

pub mod cluster;
pub mod error;
pub mod keyed;
pub mod keys;
pub mod kv;
pub mod lease;
pub mod request;
pub mod service;
pub mod watch;
mod way;
pub mod wire;

pub use error::{Error, ErrorKind, Outcome};
pub use request::{Answer, Header, Request};
pub use service::{Call, Health, Pass, Reply, Service, SnapshotChunk, SnapshotStream, Target, WatchSession};
pub use way::Way;
