//! A small world for replicas: disks that lose what was not synced, a network that is a bag of encoded messages, state
//! machines that are lists, and the invariants of Raft checked at every step.

#![allow(dead_code, reason = "every test binary uses its own part of the world")]

pub mod disk;
pub mod oracle;
pub mod world;
