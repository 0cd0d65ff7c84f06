//! Keyed values: operations of the crate `datatypes` on a table that is one of etcd's all the same.
//!
//! ```text
//!   KeyedRequest ──leader──▶ log entry: steps, the time, a seed ──▶ every replica:
//!
//!      value of the key ──container──▶ Value ──execute──▶ reply
//!                                        │
//!                                        └── edits ──▶ Value ──container──▶ value of the key, one revision for all steps
//! ```
//!
//! What a key holds is a version like any other ([`container`] says in which bytes), so watches, leases, compaction, splits and
//! snapshots know nothing of all this. An operation is run where it is applied, on what the key holds then: so it is
//! linearizable without reading first, and a transaction of many is one entry of the log. The time and the seed stand in the entry,
//! so all replicas come to the same.
//!
//! **Time.** A key whose deadline has come is not there, by the clock of the node that took the request. It is removed by an entry
//! of the log, which the leader proposes when its own clock says so: [`Deadline`] records tell it which keys are due.
//! They may tell of deadlines that are no more, and are forgotten with the entry that looks.

pub mod container;
mod read;
pub(crate) mod transact;

use althing_types::limits;
use bytes::Bytes;

/// Bytes of a key's value in its container: what a put may have, since it goes the same ways.
pub const MAX_VALUE_BYTES: usize = limits::MAX_REQUEST_BYTES;
/// Operations of one transaction, as many as a client of Redis may queue.
pub const MAX_STEPS: usize = 65_536;
/// Keys that one transaction watches.
pub const MAX_WATCHES: usize = 65_536;
/// Bytes of values that one transaction takes into memory; it has all of them there at once.
pub const MAX_LOADED_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of what the steps of one transaction answer: it travels in a frame, with what surrounds it.
pub const MAX_REPLIES_BYTES: usize = 8 * 1024 * 1024;
/// Keys that a page of a scan looks at, at the most.
pub const MAX_SCANNED: usize = 1000;
/// Keys whose deadlines one entry of the log looks at.
pub const MAX_DUE: usize = 512;
/// Bytes of values that one such entry removes, about: watchers are told what was there.
pub const MAX_DUE_BYTES: u64 = 4 * 1024 * 1024;

const _: () = assert!(MAX_REPLIES_BYTES < limits::MAX_FRAME_BYTES);

/// A key that has, or had, a deadline.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The key.
    pub key: Bytes,
}
