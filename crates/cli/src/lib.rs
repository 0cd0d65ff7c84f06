//! The command line: what can be asked for, how it is configured, and the commands that talk to a cluster from outside.
//!
//! Running nodes is the `server` crate's; everything else that `althing` does is here.

pub mod args;
pub mod bench;
pub mod config;
pub mod contexts;
pub mod cut;
pub mod error;
pub mod ids;
mod liveness;
pub mod objects;
pub mod reference;
pub mod remote;
mod samples;
pub mod screen;
pub mod sim;
pub mod snapshot;
pub mod status;
mod table;
pub mod verbs;
pub mod wal;

pub use args::{Cli, Command};
pub use error::CliError;
