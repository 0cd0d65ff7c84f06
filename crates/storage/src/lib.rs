//! What a node keeps: the write-ahead log and the sorted state below it (DESIGN: durability).
//!
//! * [`wal`]: one log per node, shared by every group, so that one `fdatasync` commits what all of them queued meanwhile.
//! * [`engine`]: sorted key spaces. Batches that are durable in the log are applied to it; a checkpoint makes it durable.

pub mod engine;
pub mod wal;
