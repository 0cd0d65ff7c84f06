//! The state machine of a `strong` table and the pure cores beside it (DESIGN: strong tables).
//!
//! * [`watch`]: hands every change to those who watch, from history until they have caught up, then live.
//! * [`lessor`]: on the leader, counts leases down and proposes what must be done about them.

pub mod lessor;
pub mod watch;
