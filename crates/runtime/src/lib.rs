//! The real world around a node: sockets, files, clocks, TLS and threads.
//!
//! The shell makes no decisions. It carries inputs to the node, carries out the effects that come back, in their order,
//! and reports what became of them.

pub mod clock;
pub mod directory;
pub mod disk;
pub mod mailbox;
pub mod tls;
pub mod transport;
