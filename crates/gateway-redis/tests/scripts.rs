//! Golden scripts: what clients say and what they are told, byte by byte. `UPDATE_GOLDENFILES=1 cargo test` writes what the gateway
//! says now; what it should say is what Redis 7.0 does, so look at the difference.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use althing_gateway_redis::hub::Alone;
use althing_gateway_redis::run::kind_name;
use althing_gateway_redis::{Admission, Config, Entrance, Gateway, Peer, Standing, Table, TableKind, Tables, converse};
use goldenscript::{Argument, Command, Context, Runner};
use support::TwoTables;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Runtime;

#[allow(dead_code)] // the tests beside the code need the rest
mod support {
    use super::*;

    include!("support/node.rs");
}

/// Bytes that are on their way at a time; more than any script says.
const PIPE_BYTES: usize = 1 << 20;

/// Connections to one gateway, by the names that the script gives them.
struct Script {
    runtime: Runtime,
    gateway: Gateway,
    clock: std::sync::Arc<support::HandClock>,
    clients: BTreeMap<String, DuplexStream>,
    stop: tokio::sync::watch::Sender<()>,
}

impl Script {
    fn new(entrance: Entrance) -> Self {
        // Time stands still, and jumps when nothing is left to do: so a read that finds nothing is known to be final.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let clock = std::sync::Arc::new(support::HandClock(std::sync::Mutex::new(1_700_000_000_000)));
        let config = Config { max_clients: 3, ..Config::default() };
        let gateway = support::gateway_with(clock.clone(), TwoTables { port: 6379, entrance }, config);
        Self { runtime, gateway, clock, clients: BTreeMap::new(), stop: tokio::sync::watch::channel(()).0 }
    }

    fn client(&mut self, name: &str) -> DuplexStream {
        self.clients.remove(name).unwrap_or_else(|| {
            let (client, server) = tokio::io::duplex(PIPE_BYTES);
            let (gateway, stopping) = (self.gateway.clone(), self.stop.subscribe());
            let peer = format!("10.0.0.{}:5000", self.clients.len() + 1);
            self.runtime.spawn(converse(server, peer, "10.0.0.9:6379".to_owned(), gateway, stopping));
            client
        })
    }

    /// Sends bytes, and gives what comes back until nothing more does.
    fn exchange(&mut self, name: &str, bytes: &[u8]) -> Result<String, Box<dyn Error>> {
        let mut client = self.client(name);
        let mut answer = Vec::new();
        let is_open = self.runtime.block_on(async {
            // A connection that the gateway has ended takes nothing.
            let _ = client.write_all(bytes).await;
            loop {
                let mut piece = [0; 4096];
                let wait = tokio::time::timeout(std::time::Duration::from_millis(1), client.read(&mut piece));
                match wait.await {
                    Err(_) => return Ok::<bool, std::io::Error>(true),
                    Ok(Ok(0)) => return Ok(false),
                    Ok(read) => answer.extend_from_slice(&piece[..read?]),
                }
            }
        })?;
        let mut text = String::new();
        for line in answer.split_inclusive(|&byte| byte == b'\n') {
            text.extend(line.escape_ascii().map(char::from));
            text.push('\n');
        }
        if is_open {
            self.clients.insert(name.to_owned(), client);
        } else {
            text.push_str("closed\n");
        }
        Ok(text)
    }
}

impl Runner for Script {
    type Command = Command;

    /// `[client:] say word...` sends one command, `[client:] send bytes` sends bytes as they are, and `pass seconds` lets time pass.
    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        let name = context.prefix.clone().unwrap_or_default();
        let word = |argument: &Argument| match argument {
            Argument::Positional(word) => word.clone(),
            Argument::KeyValue(key, value) => format!("{key}={value}"),
            other => other.to_string(),
        };
        let words: Vec<String> = command.args.iter().map(word).collect();
        match command.name.as_str() {
            "say" => {
                let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
                for word in &words {
                    bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                    bytes.extend_from_slice(word.as_bytes());
                    bytes.extend_from_slice(b"\r\n");
                }
                self.exchange(&name, &bytes)
            }
            "send" => self.exchange(&name, words.concat().as_bytes()),
            "pass" => {
                *self.clock.0.lock().unwrap() += words.concat().parse::<u64>()? * 1000;
                Ok(String::new())
            }
            other => Err(format!("unknown command {other}").into()),
        }
    }
}

fn run(name: &str) {
    run_at(name, Entrance::Open);
}

fn run_at(name: &str, entrance: Entrance) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name);
    goldenscript::run(&mut Script::new(entrance), path).unwrap();
}

#[test]
fn the_protocol_is_spoken_as_its_script_says() {
    run("protocol");
}

#[test]
fn connections_are_introduced_and_ended_as_their_script_says() {
    run("connections");
}

#[test]
fn strangers_must_say_who_they_are_where_the_entrance_is_guarded() {
    run_at("guarded", Entrance::Guarded);
}

#[test]
fn values_are_read_and_written_as_their_script_says() {
    run("values");
}

#[test]
fn what_redis_has_no_words_for_is_said_as_its_script_says() {
    run("althing");
}

#[test]
fn places_are_found_as_their_script_says() {
    run("places");
}

#[test]
fn resp3_names_types_as_its_script_says() {
    run("resp3");
}

#[test]
fn mistakes_are_told_as_their_script_says() {
    run("mistakes");
}

#[test]
fn transactions_run_as_their_script_says() {
    run("transactions");
}

#[test]
fn transactions_of_a_strong_table_are_exact_as_their_script_says() {
    run("exact");
}

#[test]
fn messages_are_told_as_their_script_says() {
    run("messages");
}

#[test]
fn pops_wait_as_their_script_says() {
    run("waits");
}

#[test]
fn slots_and_nodes_are_described_as_their_script_says() {
    run("cluster");
}
