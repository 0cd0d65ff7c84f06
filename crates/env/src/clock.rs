//! The only way to learn what time it is.

use althing_types::{Instant, WallTime};

/// A node's clocks.
pub trait Clock: Send + Sync {
    /// Monotonic time: elections, leases and deadlines. Never goes back.
    fn now(&self) -> Instant;
    /// Wall time: a hint for people and logs. It may jump in either direction at any moment.
    fn wall(&self) -> WallTime;
}
