//! The state machine of a `strong` table and the pure cores beside it (DESIGN: strong tables).
//!
//! * [`command`]: what a log entry asks for, and its bytes.
//! * [`check`]: what can be said against a request before it is proposed.
//! * [`machine`]: applies log entries to a space of the engine, as a function of the log alone.
//! * [`reader`]: reads of what is applied, concurrent with the machine.
//! * [`layout`]: where everything lies in the space (docs/formats/strong.md draws the bytes).
//! * [`count`]: how many keys a range has, without visiting them.
//! * [`export`] and [`import`]: a whole table as pages, for a replica that cannot catch up from the log.
//! * [`bounds`] and [`feed`]: which keys a shard holds, and how a part of it becomes a shard of its own.
//! * [`keyed`]: strings, hashes, sets and their kin as values of the same keys, and transactions of operations on them.
//! * [`watch`]: hands every change to those who watch, from history until they have caught up, then live.
//! * [`lessor`]: on the leader, counts leases down and proposes what must be done about them.

pub mod bounds;
pub mod check;
pub mod command;
pub mod count;
pub mod error;
pub mod export;
pub mod feed;
mod hash;
pub mod import;
pub mod keyed;
pub mod layout;
pub mod lessor;
pub mod machine;
pub mod members;
mod range;
pub mod reader;
pub mod state;
mod walk;
pub mod watch;

pub use bounds::{Bounds, Role, Seal, Slice, Stage};
pub use command::{Command, Proposal};
pub use error::StrongError;
pub use export::Export;
pub use feed::{Feed, Page};
pub use import::{Importer, SnapshotSummary};
pub use lessor::LeaseRecord;
pub use machine::{AppliedResult, ApplyOutput, LeaseChange, LogEntry, Machine, MachineConfig, Outcome};
pub use reader::Reader;
pub use watch::{Change, History};
