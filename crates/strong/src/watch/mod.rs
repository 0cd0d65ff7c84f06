//! Watches: hands every change of a table to those who watch it, each at its own pace.
//!
//! ```text
//!              Changes ──┬──────────────► live watches ──────┐
//!                        └─► recent ───► watches a little ───┼─► Deliver ─► buffer ─► client
//!                                        behind              │                 │
//!   ReadHistory ──► the engine ──► History ► watches far ────┘    Drained ◄────┘
//!                                            behind
//! ```
//!
//! A [`Hub`] serves one group on one node. It is told every change once, as it is applied. A watch is *live* while it has
//! been given everything up to the hub's revision, else it is *behind* and knows its next revision; a new watch that starts
//! in the past begins behind. Watches that are behind are moved on by the recent changes in memory if these reach back far
//! enough, and by reads of history if not. A read carries all changes of a span of revisions, whatever their keys, so one
//! read moves every watch whose next revision lies within it, and reads take turns among streams and among the watches of
//! a stream: nobody's long way back keeps another waiting for more than one read.
//!
//! What holds for every watch:
//!
//! * **Ordered, unique, complete**: its events are exactly those of its keys from its first revision on, in order, each once.
//! * **Atomic**: the events of one revision come in one response, unless the watch allows fragments.
//! * **Resumable**: it may begin at any revision that is not compacted. Below, it is created and then canceled with the
//!   compact revision. Beginning in the future, it waits.
//! * **Bounded**: a stream whose buffer is full is given nothing more; what its watches miss they get from history after
//!   half of the buffer was taken. A full stream costs a look-up per change and slows nobody. Answers to commands are
//!   given even so, up to the size of the buffer once more: then the stream is ended.
//! * **Progress R** comes only after all its events at or below R; for a whole stream, of all its watches, and not while
//!   one of them still waits for its first revision.
//!
//! What the host owes:
//!
//! 1. `Changes` in the order of the log, each once, from the revision given to [`Hub::new`] or `Installed` on.
//! 2. One `History` for each [`ReadHistory`], from a read that sees everything up to `to`. `Compacted` must have come in
//!    before revisions really go, or the read must answer with the error.
//! 3. Compaction at revision C keeps the events of C itself, removals as well: a watch may resume at C.
//! 4. `Drained` for what the client takes, in the same [`weight`].
//! 5. `Tick` at [`Hub::next_deadline`] or a little later.
//! 6. A stream that got `Canceled` with id -1 and `Gone` has ended: the host closes it.
//!
//! The rules are etcd's (API guarantees: watch APIs, and the behaviour of its server's `watchableStore`).

mod delivery;
mod hub;
mod index;
mod protocol;
mod queue;
mod recent;
mod response;
mod slots;
mod stream;
#[cfg(test)]
mod tests;

pub use hub::Hub;
pub use protocol::{Change, Effects, History, HubConfig, Input, LeaderNeed, ReadHistory, weight};
