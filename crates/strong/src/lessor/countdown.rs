//! The lessor.

use althing_types::{Duration, Instant, LeaseId, RequestId};

use super::protocol::{Effects, Input, LessorConfig};

/// Counts the leases of one group down.
pub struct Lessor {
    config: LessorConfig,
}

impl Lessor {
    /// A lessor that does not lead.
    #[must_use]
    pub fn new(config: LessorConfig) -> Self {
        Self { config }
    }

    /// Everything but renewals.
    pub fn handle(&mut self, _now: Instant, _input: Input<'_>, _out: &mut Effects) {}

    /// Keeps a lease alive; call it once leadership was confirmed by a round that began after the request came.
    pub fn renew(&mut self, _now: Instant, _id: LeaseId, _request: RequestId, _out: &mut Effects) {}

    /// How long the lease still lives; zero if it is past its time. `None` if there is none or this is not the leader.
    #[must_use]
    pub fn remaining(&self, _now: Instant, _id: LeaseId) -> Option<Duration> {
        None
    }

    /// When `Tick` is next needed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }
}
