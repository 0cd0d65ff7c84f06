//! The control plane's decisions: the [`View`] of all objects, which is also the map that routes requests, and the
//! reconcilers, which make of what is wanted and what is the case the next safe writes.

pub mod reconcile;
pub mod reports;
pub mod view;
pub mod write;

pub use reconcile::{Founder, MAX_MOVING_SHARDS, MAX_WRITES_PER_TURN, Reconciler};
pub use reports::{Configuration, GroupReport, Part, Report, Reports, Stage};
pub use view::{Entry, Taken, Update, View};
pub use write::{Guard, Write};
