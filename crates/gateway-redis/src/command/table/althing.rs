//! Althing's own commands.

use super::*;
use crate::run::althing;

/// The rows.
pub const ROWS: &[Command] = &[
    Command {
        name: "al.cas",
        group: Group::Althing,
        arity: 4,
        flags: WDF,
        keys: ONE,
        since: "0.1.0",
        merges: Claims,
        summary: "AL.CAS key expected new: sets a string that is what is expected, and says 1; else 0. Its deadline stays.",
        action: Keyed(althing::cas),
    },
    Command {
        name: "al.level",
        group: Group::Althing,
        arity: -1,
        flags: &[Fast],
        keys: Keys::None,
        since: "0.1.0",
        merges: Nothing,
        summary: "AL.LEVEL [READ level] [WRITE level]: sets and tells how many replicas this connection's reads and writes ask for. \
                  Levels are ONE, QUORUM, ALL, LOCAL_QUORUM, EACH_QUORUM, ANY, and DEFAULT for what the table says.",
        action: Session(althing::level),
    },
    Command {
        name: "al.put",
        group: Group::Althing,
        arity: 5,
        flags: WD,
        keys: ONE,
        since: "0.1.0",
        merges: LastWriter,
        summary: "AL.PUT key value CONTEXT context: sets a string in the place of those that were seen with this context. With 32 values \
                  that were not seen it is refused with REREAD.",
        action: Composed(althing::put),
    },
    Command {
        name: "al.session",
        group: Group::Althing,
        arity: -1,
        flags: &[Fast],
        keys: Keys::None,
        since: "0.1.0",
        merges: Nothing,
        summary: "AL.SESSION [ON, OFF or a token]: keeps what was seen at this connection, or from another one's token on, and tells the \
                  token: reads then show what was written and read before, whichever replica answers.",
        action: Session(althing::session),
    },
    Command {
        name: "al.siblings",
        group: Group::Althing,
        arity: 2,
        flags: R,
        keys: ONE,
        since: "0.1.0",
        merges: Reads,
        summary: "AL.SIBLINGS key: gives all concurrent values of a string, and the context for AL.PUT.",
        action: Composed(althing::siblings),
    },
    Command {
        name: "al.with",
        group: Group::Althing,
        arity: -3,
        flags: &[Write, Movablekeys],
        keys: Keys::None,
        since: "0.1.0",
        merges: AsItSays,
        summary: "AL.WITH level command...: runs a command on keys at this level.",
        action: Composed(althing::with),
    },
];
