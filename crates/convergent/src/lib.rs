//! One replica of a shard of a convergent table: it takes writes whether or not it can reach the others, and whoever has taken the same
//! writes holds the same.
//!
//! Three papers meet here. *Dynamo* (DeCandia et al., 2007) gave the shape: any replica coordinates a write, W of N acknowledge it, a
//! read asks R of them and repairs what differs. *Delta State Replicated Data Types* (Almeida, Shoker, Baquero, 2018) gives what
//! travels: a write is a small state with a small causal context, which may come late, twice, or before what it was written
//! after. And *DottedDB* (Gonçalves, Almeida, Baquero, Fonte, 2017) gives the bookkeeping: a replica keeps one context for all
//! its keys, so that a key holds nothing but what is alive in it, and what was removed leaves no tombstone.
//!
//! ```text
//!   coordinator                                      another replica
//!   Execute: SADD cart milk
//!     view ─▶ edits ─▶ dot a7 ─▶ delta ──log────────▶ Join: known already? ─▶ nothing
//!     state, known ∪ {a7}                                    else state ∪ delta, known ∪ its context ──log──▶ acknowledged
//!
//!   a read of R replicas:   Read, Read ─▶ (state, known) (state, known) ─▶ evaluate ─▶ answer, and what each of them lacks
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`shard`] | the state machine: jobs in, answers out, and what has changed to the engine now and then |
//! | [`job`] | what it is asked and what it answers |
//! | [`keyed`] | all that is held under one key, several types at once if need be; edits, and what one state lacks of another |
//! | [`text`], [`fields`], [`deadline`] | its parts: strings that are numbers, hashes, expiry |
//! | [`blind`] | a write by who has nothing of the key |
//! | [`known`] | the causal context of a whole shard |
//! | [`delta`] | what travels and what is logged |
//! | [`evaluate`](mod@evaluate) | reads from several replicas |
//! | [`names`] | under which actors a replica writes, and what may leave before it is durable |
//! | [`rounds`] | strings that are decided by rounds of Paxos |
//! | [`survey`] | repair: what two replicas compare by their hash trees, and join |
//!
//! The host owes it five things. It logs each delta under its `index`, durably before anything that rests on it leaves the node, but for
//! deltas that may leave [at once](Leaves); it replays the log after a crash; it gives a new [`Actor`](althing_clock::Actor) to a store
//! that is new, restored or wiped; it counts its runs, and never tells a store of the same one twice ([`Shard::begin_run`]); and it hands in
//! the time, of which nothing but the order of siblings and the hour of expiry depends.
//!
//! What concurrent writes come to:
//!
//! | both sides of a partition | afterwards |
//! |---|---|
//! | SET | both values are kept, the later is shown, the next write replaces both |
//! | INCR, INCRBYFLOAT, HINCRBY, ZINCRBY | all are counted |
//! | SET and INCR | the value, and the increment on top of it |
//! | DEL and anything | what DEL has not seen stays |
//! | SADD and SREM of one member, also of one that was there | it is there |
//! | ZADD | the later score is shown |
//! | EXPIRE | the later deadline, none being the latest |
//! | EXPIRE and SET | the new value does not expire |
//! | EXPIRE and SADD, HSET, INCR … | all of the key expires |
//! | SET and SADD | both are kept, the string is shown ([`keyed`]) |
//! | PFADD | the union |

pub mod blind;
mod cache;
pub mod deadline;
pub mod delta;
pub mod error;
pub mod evaluate;
pub mod fields;
mod hashes;
mod insist;
pub mod job;
pub mod keyed;
pub mod known;
mod layout;
pub mod names;
pub mod rounds;
pub mod shard;
pub mod survey;
pub mod text;

pub use blind::{Blind, write_blindly};
pub use delta::is_written_by;
pub use error::ConvergentError;
pub use evaluate::{EvaluateError, Evaluated, evaluate, evaluate_beside, known_of};
pub use hashes::TreeSecret;
pub use job::{Compare, Job, JoinError, Leaves, Outcome, Page, Refusal, Rest, ScanRequest};
pub use keyed::Keyed;
pub use known::Known;
pub use shard::{Shard, ShardConfig, Size};

/// Bytes of a key's state at which a coordinator takes nothing more for it. What several coordinators let grow at the same time is
/// joined all the same: of three of them it still fits a frame between nodes.
pub const MAX_STATE_BYTES: usize = 4 * 1024 * 1024;

const _: () = assert!(3 * MAX_STATE_BYTES < althing_types::limits::MAX_FRAME_BYTES);

/// Concurrent values of a string or a field at which none is taken any more from a writer who has not seen them. A writer without a
/// context is taken to have seen what is here, so only writers with stale contexts come to it.
pub const MAX_SIBLINGS: usize = 32;
