//! `docs/redis-commands.md` is made of the table of commands. `UPDATE_GOLDENFILES=1 cargo test` writes it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::path::Path;

use althing_gateway_redis::command::refused::REFUSED;
use althing_gateway_redis::command::{Command, Flag, Group, all};

const INTRODUCTION: &str = "\
# Commands of Redis

The gateway speaks RESP2 and RESP3. This document is made of the table that the program itself reads
(`crates/gateway-redis/src/command`), and a test holds it to that.

Any node answers for any key, and commands over keys of several slots are served. A command on one key is one operation of its
shard; one on several keys is several operations, each for itself, on a convergent table, and one transaction on a strong table if the keys
lie in one shard ([more](compatibility.md#redis-on-strong-tables)). On a strong table everything is linearizable. On a convergent
table two sides of a partition may both run a command without seeing the other's; the last column says what they come to when
they meet.

What claims something (a name that must be free, a value that must still be this one) is refused on a convergent table, since both
sides would be told yes, unless its `conditional` is `paxos`: then every write of a string, its removal and its expiry are
decided by most of its replicas, one after the other, and a side with fewer of them is told `CLUSTERDOWN`. A read there is
decided too, unless it is at level ONE. Hashes, sets and the other types converge there as in every other table; that a key is free is
then not decided against one of those. An answer `UNCERTAIN` means that it may have been done: read the key to know.

`AL.…` are Althing's own. A *level* says how many replicas have a write, or are asked by a read. A *context* says what was seen of
one key, a *token* what a connection has seen of all; both are hexadecimal text. In a session a read that finds no replicas within a second
that have all it has seen is refused.
";

fn title(group: Group) -> &'static str {
    match group {
        Group::Generic => "Keys of any type",
        Group::String => "Strings and counters",
        Group::Bitmap => "Bits",
        Group::Hash => "Hashes",
        Group::Set => "Sets",
        Group::SortedSet => "Sorted sets",
        Group::Geo => "Places",
        Group::HyperLogLog => "HyperLogLogs",
        Group::PubSub => "Messages",
        Group::Transactions => "Transactions",
        Group::Connection => "The connection",
        Group::Server => "The node",
        Group::Cluster => "Slots and nodes",
        Group::Althing => "Althing's own",
    }
}

fn name(command: &Command) -> String {
    command.name.to_ascii_uppercase().replace('|', " ")
}

fn rows(group: Group) -> Vec<&'static Command> {
    let of_group = all().values().filter(|command| command.group == group);
    let leaves = of_group.flat_map(|command| match command.subcommands() {
        [] => vec![*command],
        subcommands => subcommands.iter().collect(),
    });
    leaves.collect()
}

fn document() -> String {
    let mut text = INTRODUCTION.to_owned();
    for group in Group::ALL {
        write!(text, "\n## {}\n\n", title(group)).unwrap();
        text.push_str("| command | since | what it does | two sides of a partition |\n|---|---|---|---|\n");
        for command in rows(group) {
            let (summary, merges) = (command.summary, command.merges.words());
            writeln!(text, "| `{}` | {} | {summary} | {merges} |", name(command), command.since).unwrap();
        }
    }
    text.push_str("\n## What is refused\n\n| what | commands | why |\n|---|---|---|\n");
    for refused in REFUSED {
        let names: Vec<String> =
            refused.names.iter().map(|name| format!("`{}`", name.to_ascii_uppercase().replace('|', " "))).collect();
        writeln!(text, "| {} | {} | {} |", refused.what, names.join(", "), refused.reason).unwrap();
    }
    text
}

#[test]
fn the_document_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/redis-commands.md");
    if std::env::vars().any(|(name, _)| name == "UPDATE_GOLDENFILES") {
        std::fs::write(&path, document()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == document(),
        "docs/redis-commands.md is not what the table says: run this test with UPDATE_GOLDENFILES=1"
    );
}

#[test]
fn a_command_that_writes_says_what_it_comes_to_and_one_that_reads_does_not_write() {
    use althing_gateway_redis::command::Merges;
    let commands = all().values().flat_map(|row| std::iter::once(*row).chain(row.subcommands()));
    for command in commands {
        assert!(!(command.has(Flag::Write) && command.has(Flag::Readonly)), "{}", command.name);
        let is_silent = matches!(command.merges, Merges::Nothing | Merges::Reads);
        let may_read_only = matches!(command.name, "sort");
        assert!(
            !(command.has(Flag::Write) && is_silent) || may_read_only,
            "{} writes: what does it come to?",
            command.name
        );
        assert!(!command.has(Flag::Readonly) || is_silent, "{} reads only", command.name);
    }
}
