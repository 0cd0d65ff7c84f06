//! Bad input and bad days: what a person or a disk can do to a node, and the clear error that each of them gets.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod directory;
mod full_disk;
mod requests;
mod slow_watch;
mod time_jump;
mod tls;
