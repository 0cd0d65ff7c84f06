//! The real world around a node: sockets, files, clocks, TLS and threads.
//!
//! The shell makes no decisions. It carries inputs to the node, carries out the effects that come back, in their order,
//! and reports what became of them.
//!
//! ```text
//!  peers ◄──► transport ┐                      ┌──► log thread ──── append, fsync
//!                       ├─► inbox ─► driver ───┼──► applier ─────── machines, engine batches
//!  clients ◄─► gateway ─┘     ▲     (the node) ├──► maintenance ─── checkpoints, compaction
//!                             │                └──► reader ──────── long reads
//!                             └──────────── reports ┘
//! ```
//!
//! The driver is one thread with a single-threaded runtime: gateway connections, peer connections and the node take turns
//! on it, so that a request crosses threads only on its way to the disk. The membership (`gossip`) has a thread and a
//! socket of its own, on which nothing waits.

mod admission;
pub mod catalog;
pub mod clients;
pub mod clock;
mod cut;
pub mod directory;
pub mod disk;
mod driver;
mod feed;
mod gossip;
mod handle;
mod mail;
pub mod mailbox;
pub mod metrics;
mod pace;
mod start;
mod threads;
pub mod tls;
pub mod transport;

pub use catalog::Catalog;
pub use cut::Cut;
pub use gossip::{Board, GossipOptions, Neighbour, Resolver, Resolving, Standing, SystemResolver};
pub use handle::Handle;
pub use mail::Mail;
pub use start::{Running, ServePort, StartError, StartOptions, Surroundings, start};
pub use threads::Fatal;
