//! The words that every floor of the house shares: identities, instants and limits.
//!
//! Nothing here decides anything. An identity is a newtype, so that a node's id can never be passed where a group's is
//! wanted; an instant is a number that somebody else read from a clock; a limit is a constant with its unit and reason.

pub mod id;
pub mod limits;
pub mod table;
pub mod time;

pub use id::{ClusterId, GroupId, LeaseId, NodeId, RequestId, Revision, SpaceId, StreamId, WatchId};
pub use table::TableName;
pub use time::{Duration, Instant, WallTime};
