//! The Redis gateway: speaks RESP2 and RESP3 over one port and asks a node through [`althing_api::Service`].
//!
//! ```text
//!   bytes of a connection
//!        │  wire: commands, each a list of words
//!        ▼
//!   pipeline ── which command is it, may it run now? ── command (the table) and session (who, where, what)
//!        │
//!        ├─ one key ──────── run: words → datatypes::Op ─────────┐
//!        ├─ several keys ─── run: the same, composed ────────────┤
//!        │                                          keyspace: api::KeyedRequest → api::Service
//!        └─ the connection, the node, messages: answered here    │
//!                                                                ▼
//!   bytes of answers ◄── wire ◄── datatypes::Reply as Redis says it
//! ```
//!
//! Redis is a program of one thread: every command is atomic, and there is one order of all of them. A table has less to give,
//! and says so. A command on one key is one operation of its shard, as exact as the table is: linearizable on a strong table, and
//! on a convergent one joined with what other replicas have taken, by the rule that its row names
//! ([`command::Merges`]). A command on several keys is several operations: on a convergent table each for itself, and nothing holds
//! the keys in between; on a strong table they are tried together until they were done at one moment (`attempt`). What
//! that means for each command stands in `docs/redis-commands.md`, which is made of the same rows.
//!
//! Any node answers for any key, whatever its slot ([`cluster`]), so commands over several slots work, and clients that know
//! nothing of clusters do, too. The gateway holds nothing that matters after a crash: the transaction that a connection is queueing,
//! who listens to which channel, and where scans stand.

mod asleep;
mod attempt;
pub mod clients;
pub mod cluster;
pub mod command;
mod counters;
pub mod cursors;
mod gateway;
pub mod hub;
pub mod keyspace;
mod pipeline;
pub mod refusal;
pub mod run;
mod serve;
mod server;
pub mod session;
pub mod tables;
#[cfg(test)]
mod testing;
pub mod users;
pub mod waits;
pub mod wire;

pub use counters::Counters;
pub use gateway::{Config, DEFAULT_MAX_CLIENTS, Gateway, node_name};
pub use serve::{converse, serve};
pub use tables::{Admission, Entrance, Peer, Standing, Table, TableKind, Tables};
