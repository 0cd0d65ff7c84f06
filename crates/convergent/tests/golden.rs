//! Golden scripts: replicas a, b and c of one shard that cannot reach each other, until `sync` delivers everything everywhere.
//!
//! `a: sadd cart milk` is executed by a. `sync` also checks that all are equal. `read` asks all replicas for their states and evaluates
//! on the join; `c: take` delivers what is on its way to c alone; `repair` lets each of them join what it lacks. `lose` drops what is on its way, `at` moves the clock on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::error::Error;

use bytes::Bytes;
use goldenscript::{Argument, Context};
use support::{Replica, parse, read, show};

type Fallible<T> = Result<T, Box<dyn Error>>;

struct Script {
    replicas: Vec<Replica>,
    /// What was written: by whom, and the delta.
    pending: Vec<(usize, Bytes)>,
    keys: Vec<String>,
    now_ms: i64,
}

impl Script {
    fn new() -> Self {
        let replicas = (1..=3).map(Replica::new).collect();
        Self { replicas, pending: Vec::new(), keys: Vec::new(), now_ms: 1_000 }
    }

    fn sync(&mut self) -> String {
        for (from, delta) in std::mem::take(&mut self.pending) {
            for (to, replica) in self.replicas.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                replica.join(delta.clone()).unwrap_or_else(|error| panic!("to {to}: {error}"));
            }
        }
        let mut shown = String::new();
        for key in &self.keys {
            let digests: Vec<u128> = self.replicas.iter_mut().map(|replica| replica.digest(key)).collect();
            if digests.iter().any(|digest| *digest != digests[0]) {
                shown.push_str(&format!("{key} differs\n"));
            }
        }
        shown
    }

    fn repair(&mut self) {
        for key in &self.keys {
            let states: Vec<Bytes> = self.replicas.iter_mut().map(|replica| replica.state(key)).collect();
            let missing = althing_convergent::evaluate(&parse("get any").1, &states, 1, 1).unwrap().missing;
            for (replica, delta) in self.replicas.iter_mut().zip(missing) {
                delta.into_iter().for_each(|delta| replica.join(delta).unwrap());
            }
        }
    }

    fn execute(&mut self, at: usize, words: &str) -> String {
        let (key, op) = parse(words);
        if !self.keys.iter().any(|known| known == key) {
            self.keys.push(key.to_owned());
        }
        let (reply, delta) = self.replicas[at].execute(key, op, self.now_ms, None);
        self.pending.extend(delta.map(|delta| (at, delta)));
        show(&reply) + "\n"
    }

    fn keys(&mut self, at: usize) -> String {
        let now_ms = self.now_ms;
        let page = self.replicas[at].page(althing_convergent::ScanRequest { count: 100, now_ms, ..Default::default() });
        let keys = page.keys.iter().map(|(key, kind)| format!("{}:{kind:?}", String::from_utf8_lossy(key)));
        let size = self.replicas[at].shard.size();
        format!("{} ({} kept)\n", keys.collect::<Vec<_>>().join(" "), size.keys)
    }
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, context: &Context) -> Fallible<String> {
        let args = command.args.iter().map(|arg| match arg {
            Argument::Positional(word) => word.clone(),
            Argument::KeyValue(key, value) => format!("{key}={value}"),
            other => panic!("{other} is no argument here"),
        });
        let words = args.collect::<Vec<_>>().join(" ");
        let at = match context.prefix.as_deref() {
            Some("a") => 0,
            Some("b") => 1,
            Some("c") => 2,
            Some(other) => return Err(format!("there is no replica {other}").into()),
            None => usize::MAX,
        };
        Ok(match (command.name.as_str(), at) {
            ("sync", usize::MAX) => self.sync(),
            ("lose", usize::MAX) => {
                self.pending.clear();
                String::new()
            }
            ("at", usize::MAX) => {
                self.now_ms = words.parse()?;
                String::new()
            }
            ("repair", usize::MAX) => {
                self.repair();
                self.sync()
            }
            ("read", usize::MAX) => {
                let read = read(&mut self.replicas, &words, self.now_ms);
                let lacking = read.missing.iter().filter(|missing| missing.is_some()).count();
                let siblings = read.state.siblings().map(|value| String::from_utf8_lossy(value).into_owned());
                let siblings = siblings.collect::<Vec<_>>().join(" ");
                format!("{} [{siblings}], {lacking} lack something\n", show(&read.reply.map_err(Into::into)))
            }
            (name, usize::MAX) => return Err(format!("{name} is for a replica").into()),
            ("keys", at) => self.keys(at),
            ("take", at) => {
                let others = self.pending.iter().filter(|(from, _)| *from != at);
                others.for_each(|(_, delta)| self.replicas[at].join(delta.clone()).unwrap());
                String::new()
            }
            ("tend", at) => {
                let removed = self.replicas[at].tend(self.now_ms);
                let count = removed.len();
                self.pending.extend(removed.into_iter().map(|delta| (at, delta)));
                format!("{count} keys\n")
            }
            (name, at) => self.execute(at, &format!("{name} {words}")),
        })
    }
}

#[test]
fn scripts_end_as_they_are_written() {
    for entry in std::fs::read_dir("tests/scripts").unwrap() {
        let path = entry.unwrap().path();
        goldenscript::run(&mut Script::new(), &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
