//! Leases in the log. Time is not: a lease ends when the leader's lessor proposes so.

use althing_api::ErrorKind;
use althing_api::lease::LeaseGranted;
use althing_api::request::Body;
use althing_probe::Mutant;
use althing_types::LeaseId;
use althing_types::limits::MAX_LEASES;

use super::LeaseChange;
use super::apply::Apply;
use crate::error::Failure;
use crate::layout;
use crate::lessor::LeaseRecord;

impl Apply<'_, '_> {
    /// A new lease. The time to live was checked against the greatest, and is never below a second.
    pub(super) fn lease_grant(&mut self, id: LeaseId, ttl_seconds: i64) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        self.refuse_if_full()?;
        if self.has_lease(id) {
            return Err(ErrorKind::LeaseExists(id).into());
        }
        if self.table.leases.len() >= MAX_LEASES {
            return Err(ErrorKind::InvalidArgument(format!("there are {MAX_LEASES} leases already")).into());
        }
        let ttl_seconds = ttl_seconds.max(1);
        self.store_lease(LeaseRecord { id, ttl_seconds, remaining_seconds: ttl_seconds });
        self.out.leases.push(LeaseChange::Granted { id, ttl_seconds });
        Ok(Body::LeaseGrant(LeaseGranted { id, ttl_seconds }))
    }

    /// Removes a lease, and its keys in their order and in one revision.
    pub(super) fn lease_revoke(&mut self, id: LeaseId) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        if !self.has_lease(id) {
            return Err(ErrorKind::LeaseNotFound(id).into());
        }
        for key in self.source().attached(id)? {
            self.delete_key(key)?;
        }
        self.table.leases.remove(&id);
        self.batch.delete(&layout::lease_key(id));
        self.out.leases.push(LeaseChange::Revoked(id));
        Ok(Body::LeaseRevoke)
    }

    /// Writes down what a new leader would give each lease: never more than was granted, never less than a second.
    pub(super) fn lease_checkpoint(&mut self, remaining: &[(LeaseId, i64)]) -> Body {
        for &(id, seconds) in remaining {
            let Some(lease) = self.table.leases.get(&id).copied() else { continue };
            let remaining_seconds = seconds.clamp(1, lease.ttl_seconds);
            self.store_lease(LeaseRecord { remaining_seconds, ..lease });
            self.out.leases.push(LeaseChange::Checkpointed { id, remaining_seconds });
        }
        Body::Compact
    }

    fn store_lease(&mut self, lease: LeaseRecord) {
        self.table.leases.insert(lease.id, lease);
        let stored = if althing_probe::is(Mutant::ForgetRemaining) {
            LeaseRecord { remaining_seconds: lease.ttl_seconds, ..lease }
        } else {
            lease
        };
        self.batch.put(&layout::lease_key(lease.id), &stored.encode());
    }
}
