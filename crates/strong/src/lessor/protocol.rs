//! What goes into a [`Lessor`](super::Lessor) and what comes out.

use althing_types::limits::MAX_LEASE_TTL_SECONDS;
use althing_types::{Duration, LeaseId, RequestId};

/// A lease as the state machine holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseRecord {
    /// Its id.
    pub id: LeaseId,
    /// Seconds that it was granted.
    pub ttl_seconds: i64,
    /// Seconds that a new leader gives it: what the last checkpoint says, or all of `ttl_seconds`.
    pub remaining_seconds: i64,
}

/// What a lessor is told. Grants, revocations and checkpoints are applied log entries, in their order.
#[derive(Debug)]
pub enum Input<'a> {
    /// This replica leads, and has applied the first entry of its own term: `leases` is all there are.
    BecameLeader(&'a [LeaseRecord]),
    /// This replica does not lead any more.
    LostLeadership,
    /// A lease was granted.
    Granted {
        /// Its id.
        id: LeaseId,
        /// Seconds granted.
        ttl_seconds: i64,
    },
    /// A lease was revoked, by whomever.
    Revoked(LeaseId),
    /// A checkpoint was applied.
    Checkpointed {
        /// Of which lease.
        id: LeaseId,
        /// What a new leader would give it, in seconds.
        remaining_seconds: i64,
    },
    /// The proposal of a revocation was refused (overload, a transfer under way) and is not in the log.
    RevokeRefused(LeaseId),
    /// The proposal of a checkpoint was refused and is not in the log. Given for each of its leases.
    CheckpointRefused(LeaseId),
    /// Time has passed.
    Tick,
}

/// Why a lease is not kept alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenewError {
    /// There is no such lease, or it is being revoked; etcd answers both the same.
    NotFound,
    /// This replica does not lead (any more); ask the leader.
    NotLeader,
}

/// The answer to one [`Lessor::renew`](super::Lessor::renew).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Renewed {
    /// The request given to `renew`.
    pub request: RequestId,
    /// Seconds that it lives from now.
    pub result: Result<i64, RenewError>,
}

/// What a lessor wants done. Proposals are made by this replica as the leader of its present term, in the order given,
/// or reported as refused; they are never forwarded.
#[derive(Debug, Default)]
pub struct Effects {
    /// Propose the revocation of each.
    pub revoke: Vec<LeaseId>,
    /// Propose that a new leader gives each lease this many seconds. In one entry if not empty.
    pub checkpoint: Vec<(LeaseId, i64)>,
    /// Answers to renewals.
    pub renewed: Vec<Renewed>,
}

/// What bounds a lessor.
#[derive(Clone, Debug)]
pub struct LessorConfig {
    /// What a new leader adds to every lease, for what its predecessor may have promised last; an election timeout.
    pub grace: Duration,
    /// How often the remainder of a long lease is written to the log; leases with no more than this are not.
    pub checkpoint_interval: Duration,
    /// Leases in one checkpoint.
    pub max_checkpoint_leases: usize,
    /// Revocations proposed in one second.
    pub revokes_per_second: u32,
    /// Revocations proposed and not applied.
    pub max_revokes_in_flight: usize,
    /// How long until a proposal that was refused is made again.
    pub retry: Duration,
}

impl Default for LessorConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(300),
            max_checkpoint_leases: 1000,
            revokes_per_second: 1000,
            max_revokes_in_flight: 256,
            retry: Duration::from_millis(500),
        }
    }
}

/// The least time to live that is granted, in whole seconds: one and a half of the greatest election timeout, rounded up, as
/// in etcd. A shorter lease could end before its keeper can find a new leader.
#[must_use]
pub fn minimum_ttl_seconds(election_timeout: Duration) -> i64 {
    let nanos = (election_timeout * 3 / 2).as_nanos();
    i64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(MAX_LEASE_TTL_SECONDS).clamp(1, MAX_LEASE_TTL_SECONDS)
}

/// What is granted to a client that asks for `requested` seconds: no less than `minimum`; `None` if it asks for more than
/// [`MAX_LEASE_TTL_SECONDS`]. Called before proposing, so that the log says what was granted.
#[must_use]
pub fn ttl_to_grant(requested: i64, minimum: i64) -> Option<i64> {
    (requested <= MAX_LEASE_TTL_SECONDS).then(|| requested.max(minimum))
}
