//! Watches.

mod hub;
mod protocol;

pub use hub::Hub;
pub use protocol::{Change, Effects, History, HubConfig, Input, LeaderNeed, ReadHistory, weight};
