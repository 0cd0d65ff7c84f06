//! The commands of Redis that are not Althing's, and why. A client is told the reason, not that the command is unknown.

use bytes::Bytes;

use crate::refusal::Refusal;

/// Commands that are refused for one reason.
#[derive(Debug)]
pub struct Refused {
    /// What they have in common.
    pub what: &'static str,
    /// Why they are not served.
    pub reason: &'static str,
    /// Their names; of subcommands with a bar, as `client|pause`.
    pub names: &'static [&'static str],
}

/// All that is refused.
pub const REFUSED: &[Refused] = &[
    Refused {
        what: "lists",
        reason: "positions in a list do not converge when two sides of a partition change it; use a sorted set or a hash",
        names: &[
            "blmove",
            "blmpop",
            "blpop",
            "brpop",
            "brpoplpush",
            "lindex",
            "linsert",
            "llen",
            "lmove",
            "lmpop",
            "lpop",
            "lpos",
            "lpush",
            "lpushx",
            "lrange",
            "lrem",
            "lset",
            "ltrim",
            "rpop",
            "rpoplpush",
            "rpush",
            "rpushx",
        ],
    },
    Refused {
        what: "streams",
        reason: "a stream needs one order of its entries; a table of the kind stream has it",
        names: &[
            "xack",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xdel",
            "xgroup",
            "xinfo",
            "xlen",
            "xpending",
            "xrange",
            "xread",
            "xreadgroup",
            "xrevrange",
            "xsetid",
            "xtrim",
        ],
    },
    Refused {
        what: "scripts and functions",
        reason: "a script runs on one server that holds all its keys; compute in the client",
        names: &[
            "eval",
            "eval_ro",
            "evalsha",
            "evalsha_ro",
            "fcall",
            "fcall_ro",
            "function|delete",
            "function|dump",
            "function|kill",
            "function|load",
            "function|restore",
            "function|stats",
            "script|debug",
            "script|kill",
            "script|load",
        ],
    },
    Refused {
        what: "moves between tables",
        reason: "tables are apart: each has a guarantee of its own; copy what you need by a client",
        names: &["move", "swapdb", "migrate"],
    },
    Refused {
        what: "replication and persistence of a single server",
        reason: "replicas are placed by the cluster and every write is durable; see `althing get nodes`",
        names: &[
            "bgrewriteaof",
            "bgsave",
            "save",
            "failover",
            "psync",
            "sync",
            "replconf",
            "replicaof",
            "slaveof",
            "shutdown",
            "cluster|addslots",
            "cluster|addslotsrange",
            "cluster|bumpepoch",
            "cluster|delslots",
            "cluster|delslotsrange",
            "cluster|failover",
            "cluster|flushslots",
            "cluster|forget",
            "cluster|meet",
            "cluster|replicate",
            "cluster|reset",
            "cluster|saveconfig",
            "cluster|set-config-epoch",
            "cluster|setslot",
        ],
    },
    Refused {
        what: "access rules of a single server",
        reason: "users and their rights are objects of the cluster; see `althing explain user`",
        names: &[
            "acl|deluser",
            "acl|dryrun",
            "acl|genpass",
            "acl|getuser",
            "acl|list",
            "acl|load",
            "acl|log",
            "acl|save",
            "acl|setuser",
            "acl|users",
        ],
    },
    Refused {
        what: "modules",
        reason: "the program is not extended at run time",
        names: &["module|load", "module|loadex", "module|unload"],
    },
    Refused {
        what: "diagnostics of a single server",
        reason: "see the metrics of the node and `althing top`",
        names: &[
            "monitor",
            "debug|sleep",
            "debug|segfault",
            "debug|panic",
            "debug|restart",
            "pfdebug",
            "pfselftest",
            "lolwut",
        ],
    },
    Refused {
        what: "control over other clients and over the client's cache",
        reason: "no client stops others, and no node tells clients what changed",
        names: &[
            "client|pause",
            "client|unpause",
            "client|caching",
            "client|getredir",
            "client|tracking",
            "client|trackinginfo",
        ],
    },
    Refused {
        what: "notices of maintenance",
        reason: "nodes come and go without notice; clients reconnect",
        names: &["client|maint_notifications"],
    },
];

/// Why a command is refused, if it is one that is known.
#[must_use]
pub fn reason(words: &[Bytes]) -> Option<Refusal> {
    let text = |at: usize| words.get(at).and_then(|word| std::str::from_utf8(word).ok()).map(str::to_ascii_lowercase);
    let name = text(0)?;
    let full = text(1).map(|second| format!("{name}|{second}"));
    REFUSED.iter().find_map(|row| {
        let found = row.names.iter().copied().find(|&refused| refused == name || full.as_deref() == Some(refused))?;
        Some(Refusal::unsupported(&found.to_ascii_uppercase().replace('|', " "), row.reason))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_command_and_the_reason() {
        let words = ["Client", "pause", "100"].map(Bytes::from);
        assert!(reason(&words).unwrap().text().starts_with("ERR CLIENT PAUSE is not supported by Althing: "));
        let words = ["LPUSH", "l", "1"].map(Bytes::from);
        assert!(
            reason(&words).unwrap().text().starts_with("ERR LPUSH is not supported by Althing: positions in a list")
        );
        assert_eq!(reason(&["GET", "k"].map(Bytes::from)), None);
    }

    #[test]
    fn nothing_is_served_and_refused_at_once() {
        for name in REFUSED.iter().flat_map(|row| row.names) {
            assert!(crate::command::by_full_name(name.as_bytes()).is_none(), "{name}");
        }
    }
}
