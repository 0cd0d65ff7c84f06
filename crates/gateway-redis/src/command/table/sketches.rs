//! Commands on HyperLogLogs.

use super::*;
use crate::run::sketches;

/// The rows.
pub const ROWS: &[Command] = &[
    Command {
        name: "pfadd",
        group: Group::HyperLogLog,
        arity: -2,
        flags: WDF,
        keys: ONE,
        since: "2.8.9",
        merges: Union,
        summary: "Adds to a sketch.",
        action: Keyed(sketches::pfadd),
    },
    Command {
        name: "pfcount",
        group: Group::HyperLogLog,
        arity: -2,
        flags: R,
        keys: ALL,
        since: "2.8.9",
        merges: Reads,
        summary: "Estimates how many different things were added.",
        action: Composed(sketches::pfcount),
    },
    Command {
        name: "pfmerge",
        group: Group::HyperLogLog,
        arity: -2,
        flags: WD,
        keys: ALL,
        since: "2.8.9",
        merges: Union,
        summary: "Joins sketches into another.",
        action: Composed(sketches::pfmerge),
    },
];
