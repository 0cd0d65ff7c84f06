//! Whatever words a command is given, it is answered, and so is the next one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use althing_gateway_redis::command::{Command, Flag, all};
use althing_gateway_redis::hub::Alone;
use althing_gateway_redis::run::kind_name;
use althing_gateway_redis::{Admission, Config, Entrance, Gateway, Peer, Standing, Table, TableKind, Tables, converse};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[allow(dead_code)] // other tests need the rest
mod support {
    use super::*;

    include!("support/node.rs");
}

/// Words that commands know, and numbers at the ends of their ranges.
const WORDS: [&str; 40] = [
    "",
    "k",
    "a",
    "0",
    "1",
    "2",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1.5",
    "inf",
    "-inf",
    "nan",
    "(1",
    "[a",
    "-",
    "+",
    "*",
    "{",
    "{}",
    "NX",
    "XX",
    "GT",
    "EX",
    "GET",
    "MATCH",
    "COUNT",
    "LIMIT",
    "WEIGHTS",
    "BYSCORE",
    "STORE",
    "AUTH",
    "ID",
    "u8",
    "#1",
    "OVERFLOW",
    "get",
    "mset",
    "\r\n",
];

/// All that is served, but what ends the connection or keeps it from being answered.
fn commands() -> Vec<&'static Command> {
    let leaves = all().values().flat_map(|row| std::iter::once(*row).chain(row.subcommands()));
    leaves
        .filter(|row| !matches!(row.name, "quit" | "client|reply" | "client|kill" | "subscribe" | "psubscribe"))
        .filter(|row| !row.has(Flag::Blocking))
        .collect()
}

fn wire(words: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_command_is_answered_whatever_its_words(
        said in proptest::collection::vec((any::<prop::sample::Index>(), proptest::collection::vec(0..WORDS.len(), 0..7)), 1..30),
    ) {
        let commands = commands();
        let mut bytes = Vec::new();
        for (command, words) in &said {
            let name = command.get(&commands).name.split('|').map(str::to_owned);
            bytes.extend(wire(&name.chain(words.iter().map(|&word| WORDS[word].to_owned())).collect::<Vec<_>>()));
        }
        bytes.extend_from_slice(b"RESET\r\nECHO theend\r\nQUIT\r\n");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let answer = runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 22);
            let (_stop, stopping) = tokio::sync::watch::channel(());
            tokio::spawn(converse(server, String::new(), String::new(), support::gateway(), stopping));
            client.write_all(&bytes).await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        });
        prop_assert!(answer.ends_with(b"+RESET\r\n$6\r\ntheend\r\n+OK\r\n"), "{}", answer.escape_ascii());
    }
}
