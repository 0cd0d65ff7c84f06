//! `althing snapshot save` and `restore`.
//!
//! A snapshot file is what a node streams to any etcd client: the pages of a table, framed by the node, sealed by the
//! gateway with a SHA-256 over everything.

mod pages;
mod restore;
mod save;

pub use pages::{PageError, Pages};
pub use restore::restore;
pub use save::save;
