//! The two roles of a lessor.

use althing_types::{Duration, Instant, LeaseId, RequestId};

use super::leading::Leading;
use super::protocol::{Effects, Input, LessorConfig, RenewError, Renewed};

/// Who counts: only the leader does.
enum Role {
    /// Some other replica, or nobody.
    Following,
    /// This one.
    Leading(Box<Leading>),
}

/// Counts the leases of one group down while its replica leads. See the [module](super) for what it promises.
pub struct Lessor {
    config: LessorConfig,
    role: Role,
}

impl Lessor {
    /// A lessor that does not lead.
    #[must_use]
    pub const fn new(config: LessorConfig) -> Self {
        Self { config, role: Role::Following }
    }

    /// Takes one input in. `now` never goes back.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Effects) {
        match (&mut self.role, input) {
            (_, Input::BecameLeader(leases)) => {
                self.step_down(out);
                self.role = Role::Leading(Box::new(Leading::new(now, &self.config, leases)));
            }
            (_, Input::LostLeadership) => self.step_down(out),
            (
                Role::Following,
                Input::Granted { .. }
                | Input::Revoked(_)
                | Input::Checkpointed { .. }
                | Input::RevokeRefused(_)
                | Input::CheckpointRefused(_)
                | Input::Tick,
            ) => {}
            (Role::Leading(leading), Input::Granted { id, ttl_seconds }) => leading.granted(now, id, ttl_seconds),
            (Role::Leading(leading), Input::Revoked(id)) => leading.revoked(now, id, out),
            (Role::Leading(leading), Input::Checkpointed { id, remaining_seconds }) => {
                leading.checkpointed(now, id, remaining_seconds, out);
            }
            (Role::Leading(leading), Input::RevokeRefused(id)) => leading.revoke_refused(now, id),
            (Role::Leading(leading), Input::CheckpointRefused(id)) => leading.checkpoint_refused(now, id),
            (Role::Leading(leading), Input::Tick) => leading.tick(now, out),
        }
    }

    /// Keeps a lease alive; call it once leadership was confirmed by a round that began after the request came. The
    /// answer comes in [`Effects::renewed`], now or after a checkpoint was applied.
    pub fn renew(&mut self, now: Instant, id: LeaseId, request: RequestId, out: &mut Effects) {
        match &mut self.role {
            Role::Following => out.renewed.push(Renewed { request, result: Err(RenewError::NotLeader) }),
            Role::Leading(leading) => leading.renew(now, id, request, out),
        }
    }

    /// How long the lease still lives; zero if it is past its time. `None` if there is none or this is not the leader.
    #[must_use]
    pub fn remaining(&self, now: Instant, id: LeaseId) -> Option<Duration> {
        match &self.role {
            Role::Following => None,
            Role::Leading(leading) => leading.remaining(now, id),
        }
    }

    /// Whether this lessor counts, so that [`Lessor::remaining`] answers.
    #[must_use]
    pub const fn is_leading(&self) -> bool {
        match self.role {
            Role::Following => false,
            Role::Leading(_) => true,
        }
    }

    /// When `Tick` is next needed, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Following => None,
            Role::Leading(leading) => leading.next_deadline(),
        }
    }

    fn step_down(&mut self, out: &mut Effects) {
        if let Role::Leading(leading) = std::mem::replace(&mut self.role, Role::Following) {
            leading.step_down(out);
        }
    }
}
