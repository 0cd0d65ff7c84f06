//! What the keyed types can be asked: strings and numbers, bits, hashes, sets, sorted sets, sketches.
//!
//! A store of keys with types is usually written as a thousand procedures on memory: each command finds its key, looks at it,
//! changes it, and answers. That works where there is one memory. Here the same commands run on tables whose replicas agree on
//! an order first, and on tables whose replicas agree afterwards; so the looking and the changing come apart:
//!
//! ```text
//!          Op ──►┌─────────┐──► Reply          what the client is told
//!   View of a ──►│ execute │
//!     key        └─────────┘──► Vec<Edit>      what was meant, to be joined or applied
//! ```
//!
//! * An [`Op`] is one question or one wish about one key, with all numbers read and all contradictions excluded by its type.
//! * A [`View`] is whatever the key is read from: a plain [`Value`], or a state that converges, of which only the needed part
//!   is fetched.
//! * [`execute()`] is a pure function of both, of the time and of a seed. Its rules are those of Redis 7.0.
//! * An [`Edit`] says what was meant and not what came out: INCR is "one more" ([`Edit::AddInt`]), never "six", so that two
//!   replicas that both say it come to two more. (Which operations have such a meaning, and which are only ever decided by whoever
//!   came last, is [`Op::conflict`].) This is the distinction of Shapiro, Preguiça, Baquero, Zawirski, *Conflict-free
//!   Replicated Data Types*, 2011, §2, between the state that an operation prepares on and the effect that it has everywhere.
//!
//! A [`Value`] is the plain implementation of both ends, and the model for every other: reading after [`Value::apply`] shows what the
//! reply has promised.
//!
//! ```
//! use althing_datatypes::op::StringOp;
//! use althing_datatypes::{Edit, Op, Reply, Value, execute};
//!
//! let mut counter = Value::default();
//! let (reply, edits) = execute(Op::String(StringOp::Increment(5)), &counter, 1_000, 0).unwrap();
//! assert_eq!(reply, Reply::Int(5));
//! assert_eq!(edits, [Edit::AddInt(5)]);
//! counter.apply(&edits, 1_000).unwrap();
//! assert_eq!(execute(Op::String(StringOp::Get), &counter, 2_000, 0).unwrap().0, Reply::Bytes("5".into()));
//! ```
//!
//! Commands of many keys are made of operations on each, and of the functions of [`combine`]. Byte forms ([`codec`], [`dump`]) are
//! described in `docs/formats/datatypes.md`.

pub mod codec;
pub mod combine;
pub mod dump;
mod edit;
mod error;
pub mod execute;
pub mod glob;
pub mod number;
pub mod op;
mod reply;
mod sketch;
mod value;
mod view;

pub use codec::{CodecError, Message};
pub use edit::Edit;
pub use error::OpError;
pub use execute::{Outcome, execute};
pub use op::{Conflict, Op};
pub use reply::{Content, Items, Reply, Whole};
pub use value::Value;
pub use view::{Cut, Kind, View};

/// Bytes of a string, of a field, of a value of a field, of a member. Not Redis's 512 MiB: it goes through one request, and through
/// one frame between nodes.
pub const MAX_STRING_BYTES: usize = 1024 * 1024;
/// How many random elements may be asked for that may repeat: they are made, not found, so that a few bytes could ask for an answer
/// without end.
pub const MAX_RANDOM: u64 = 100_000;

const _: () = assert!(MAX_STRING_BYTES < althing_types::limits::MAX_REQUEST_BYTES);
