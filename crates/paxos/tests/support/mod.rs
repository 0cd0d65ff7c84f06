//! A shard's replicas with their disks, a network and clients; and who judges what the clients saw.

#![allow(dead_code, reason = "each test uses its part")]

pub mod history;
pub mod world;
