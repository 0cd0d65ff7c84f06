//! Leases on the leader.

mod countdown;
mod protocol;

pub use countdown::Lessor;
pub use protocol::{Effects, Input, LeaseRecord, LessorConfig, RenewError, Renewed, minimum_ttl_seconds, ttl_to_grant};
