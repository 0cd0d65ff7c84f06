//! Commands on transactions.

use super::*;
use crate::session::transaction;

/// The rows.
pub const ROWS: &[Command] = &[
    Command {
        name: "discard",
        group: Group::Transactions,
        arity: 1,
        flags: &[Noscript, Loading, Stale, Fast],
        keys: Keys::None,
        since: "2.0.0",
        merges: Nothing,
        summary: "Forgets the transaction.",
        action: Session(transaction::discard),
    },
    Command {
        name: "exec",
        group: Group::Transactions,
        arity: 1,
        flags: &[Noscript, Loading, Stale],
        keys: Keys::None,
        since: "1.2.0",
        merges: EachKey,
        summary: "Runs what was queued: on a strong table at one moment, elsewhere in order and without isolation.",
        action: Exec,
    },
    Command {
        name: "multi",
        group: Group::Transactions,
        arity: 1,
        flags: &[Noscript, Loading, Stale, Fast],
        keys: Keys::None,
        since: "1.2.0",
        merges: Nothing,
        summary: "Queues the commands that follow.",
        action: Session(transaction::multi),
    },
    Command {
        name: "unwatch",
        group: Group::Transactions,
        arity: 1,
        flags: &[Noscript, Loading, Stale, Fast],
        keys: Keys::None,
        since: "2.2.0",
        merges: Nothing,
        summary: "Forgets what is watched.",
        action: Session(transaction::unwatch),
    },
    Command {
        name: "watch",
        group: Group::Transactions,
        arity: -2,
        flags: &[Noscript, Loading, Stale, Fast],
        keys: ALL,
        since: "2.2.0",
        merges: Nothing,
        summary: "Has EXEC do nothing if one of the keys changes. On strong tables only; refused elsewhere.",
        action: Watch,
    },
];
