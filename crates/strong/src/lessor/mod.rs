//! Leases on the leader: counts them down and proposes what must be done about them.
//!
//! ```text
//!             Granted                    past its deadline            proposed
//!   (log) ──────────────► alive ───────────────────────► expired ───────────────► revoking ──► Revoked (log)
//!                          ▲  │ renew                      │                         │
//!                          └──┴────────────────────────────┘ renew                   └─► renew: not found
//! ```
//!
//! Time is no part of the log: a lease's deadline lives in the memory of the leader only, and when it passes, the leader
//! *proposes* the revocation, which removes the keys as a log entry like any other. A new leader does not know the
//! deadlines, so it restarts every lease. For a lease of a minute that is bearable; for one of a day the leader writes the
//! remainder to the log from time to time, and a new leader restarts the lease at what was written last.
//!
//! **Early expiry never.** A revocation is proposed only after the lease's time has passed since the last promise: the
//! grant, or the answer to a renewal. What could break this, and what prevents it:
//!
//! * A leader that was deposed without knowing makes a promise. So a renewal counts only after leadership was confirmed by
//!   a round that began after the request came (host's duty 2), and a new leader adds [`LessorConfig::grace`].
//! * A renewal comes after a checkpoint: a new leader would restart at the checkpoint's remainder, which is less than
//!   what was promised. So once a checkpoint has been *proposed*, the next renewal is answered only after another one,
//!   which gives the lease its full time back, has been applied. A lease that is renewed more often than the checkpoint
//!   interval is never checkpointed, so this is rare.
//! * A revocation is on its way in the log. So from its proposal on the lease is gone for those who renew it.
//!
//! **Late expiry is bounded**: by the time of the last promise, plus what a new leader gives again after each change of
//! leader (the checkpointed remainder and the grace), plus one tick, plus the queue at the rate of
//! [`LessorConfig::revokes_per_second`], plus [`LessorConfig::retry`] for each time that a proposal was refused. A proposal that was not refused is
//! never made again: it is in the leader's log, so it is applied or the leadership is lost; and a second revocation in
//! the log could end a lease that was granted anew under the same id between the two.
//!
//! What the host owes:
//!
//! 1. `BecameLeader` when the first entry of the replica's own term is applied, so that no entry of an earlier term comes
//!    after it; `LostLeadership` as soon as it does not lead.
//! 2. [`Lessor::renew`] for a KeepAlive once leadership was confirmed by a round begun after its receipt, and in a term
//!    of which an entry is committed: ReadIndex.
//! 3. Proposals in the order of the effects, and only by this replica as the leader of the term in which they were asked
//!    for. Never forwarded: the next leader may have promised more. What did not get into its log for another reason than
//!    lost leadership is told with `RevokeRefused` or `CheckpointRefused`.
//! 4. `Granted`, `Revoked` and `Checkpointed` for what is applied, in the order of the log.
//! 5. `Tick` at [`Lessor::next_deadline`] or a little later.
//!
//! One race is left to those who choose lease ids themselves: an id that is revoked by its client and granted again in
//! the very moment in which it expires may meet the revocation that its predecessor's expiry had already proposed.
//!
//! The rules are etcd's (its `lease` package: minimum TTL, checkpoints of the remaining TTL, rates); that a renewal
//! waits for a checkpoint that was only proposed is stricter.

mod budget;
mod countdown;
mod leading;
mod protocol;
#[cfg(test)]
mod tests;

pub use countdown::Lessor;
pub use protocol::{Effects, Input, LeaseRecord, LessorConfig, RenewError, Renewed, minimum_ttl_seconds, ttl_to_grant};
