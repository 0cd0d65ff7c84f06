//! Leases: a promise to remove keys unless somebody keeps it alive.

use althing_types::LeaseId;
use bytes::Bytes;

/// A lease as it was granted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LeaseGranted {
    /// Its id.
    pub id: LeaseId,
    /// Seconds that it lives without being kept alive.
    pub ttl_seconds: i64,
}

/// How a lease stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LeaseStatus {
    /// Seconds left; -1 when there is no such lease.
    pub remaining_seconds: i64,
    /// Seconds that were granted.
    pub granted_seconds: i64,
    /// The keys attached, if asked for.
    pub keys: Vec<Bytes>,
}
