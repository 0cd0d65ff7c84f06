//! How many replicas of a key must have answered before its coordinator may: quorums without a leader.
//!
//! Gifford (*Weighted Voting for Replicated Data*, 1979) made reads and writes of N replicas meet: a read that asks R of them sees
//! every write that W have, if R + W > N. Dynamo (DeCandia et al., 2007, section 4.5) lets the caller choose both, and Cassandra gave
//! the choices their names, which are used here ([`Level`]).
//!
//! While a shard moves there are two sets of replicas, the old one and the new one, and a level is reached only if it is reached in
//! each of them ([`Requirement`]): a write of before the move and a read of after it then meet in the old set, and a write during it is
//! known to both. [`Tally`] counts who has answered and who will not, and says when the outcome is certain.
//!
//! ```
//! use std::collections::BTreeSet;
//! use althing_quorum::{Level, Requirement, Sets, Tally, Verdict};
//! use althing_types::NodeId;
//!
//! let sets = Sets::of((1..=3).map(NodeId));
//! let mut tally = Tally::new(Requirement::new(Level::Quorum, &sets, |_| "", ""));
//! assert_eq!(tally.verdict(), Verdict::Open);
//! tally.answered(NodeId(1));
//! tally.answered(NodeId(3));
//! assert_eq!(tally.verdict(), Verdict::Met);
//! ```
//!
//! Nothing here knows what is read or written, or the time.

mod level;
mod requirement;
mod tally;

pub use level::{Level, UnknownLevel};
pub use requirement::{Requirement, Sets};
pub use tally::{Tally, Verdict};
