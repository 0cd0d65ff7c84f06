//! One Raft replica: the protocol of the `raft` crate behind the one contract of every core.
//!
//! The host feeds a [`Replica`] with [`Input`]s and carries out the [`Effects`] that come back. Nothing here reads a
//! clock, touches a disk or sends a byte, and no type of the `raft` crate is visible from outside.
//!
//! ```text
//!   handle(now, Input, &mut Effects)*        everything that arrived in this turn
//!   ready(&mut Effects)                      once, at the end of the turn
//!
//!   Effects.persist ──► write-ahead log ──► Input::Persisted { seq }
//!   Effects.committed ─► applier ─────────► Input::Applied { index }
//!   Effects.messages ──► peers ───────────► Input::Step(message) there
//! ```
//!
//! # What the host owes
//!
//! 1. `persist` batches are appended to the log in order. [`Input::Persisted`] is given only after the batch and all
//!    before it are durable. Messages that promise what a batch holds are kept back here until then: whatever
//!    is in `messages` may be sent at once.
//! 2. `committed` entries are handed to the applier in order. For an entry of kind [`EntryKind::ConfChange`] the host
//!    calls [`Replica::apply_conf_change`] at that moment and has the returned [`ConfState`] stored in one batch with
//!    the applied index.
//! 3. [`Input::Truncate`] is given only for an index that a durable checkpoint of the state machine covers.
//! 4. A snapshot is streamed outside of this crate. [`Replica::install_snapshot`] is called once its data is durable,
//!    and the host switches to that data only if the call succeeds and its `persist` batch is durable.
//! 5. A replica that panics is out of the game until it is built anew from its log: an invariant was broken.
//!
//! # What the replica promises
//!
//! Election safety, log matching, leader completeness and state machine safety (Ongaro, *Consensus: Bridging Theory and
//! Practice*, figure 3.2), and the same effects for the same seed and inputs. A configuration that has taken effect on a replica, or of
//! which it has told others that it is committed, it goes by after a crash as well.

mod codec;
mod conf;
mod config;
mod effects;
mod hibernation;
mod input;
mod log;
mod logger;
mod membership;
mod message;
mod proposals;
mod reads;
mod record;
mod replica;
mod role;
mod snapshot;
mod trace;
mod turn;
mod types;

pub use conf::{Change, ConfChange, ConfChangeError, conf_change};
pub use config::{Config, Recovered, RecoveryError};
pub use effects::{Effects, Metrics, Persist, ReadReady, SnapshotWanted};
pub use input::{Input, Refused, SnapshotRefused};
pub use message::{Message, MessageKind};
pub use record::{decode_entries, encode_entries};
pub use replica::Replica;
pub use role::{Progress, ProgressState, Role};
pub use types::{ConfState, Entry, EntryKind, HardState, LogPosition, SnapshotMeta};
