//! Golden scripts of etcd's semantics: each line is a command, what follows `---` is what the machine answers. Revisions
//! in brackets are those of the answer's header.
//!
//! A transaction is written `{ conditions ? operations : operations }`, and may be an operation of another one.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;

use althing_api::cluster::{AlarmAction, AlarmKind};
use althing_api::kv::*;
use althing_api::request::Body;
use althing_storage::engine::model::ModelEngine;
use althing_strong::{ApplyOutput, Change, Command, Importer, LeaseChange, Machine};
use althing_types::{LeaseId, NodeId, Revision, SpaceId};
use bytes::Bytes;
use goldenscript::{Argument, Context};

type Fallible<T> = Result<T, Box<dyn Error>>;

struct Script {
    engine: Arc<ModelEngine>,
    machine: Machine,
    space: u64,
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &Context) -> Fallible<String> {
        let arguments = Arguments::of(command);
        let at = |n: usize| arguments.positional.get(n).map(String::as_str);
        match command.name.as_str() {
            "put" => self.apply(Command::Put(put(&arguments)?)),
            "delete" => {
                let prev_kv = arguments.is_set("prev");
                self.apply(Command::DeleteRange(DeleteRangeRequest { keys: range_of(at(0), at(1))?, prev_kv }))
            }
            "txn" => {
                let mut parser = Parser(at(0).unwrap_or_default().split_whitespace().collect::<Vec<_>>().into_iter());
                let txn = parser.txn()?;
                if txn.is_read_only() { self.read_only(&txn) } else { self.apply(Command::Txn(txn)) }
            }
            "compact" => self.apply(Command::Compact { revision: Revision(number(at(0))?) }),
            "grant" => self.apply(Command::LeaseGrant { id: LeaseId(number(at(0))?), ttl_seconds: number(at(1))? }),
            "revoke" => self.apply(Command::LeaseRevoke { id: LeaseId(number(at(0))?) }),
            "checkpoint" => {
                let remaining = vec![(LeaseId(number(at(0))?), number(at(1))?)];
                self.apply(Command::LeaseCheckpoint { remaining })
            }
            "quota" => self.apply(Command::SetQuota { bytes: number(at(0))? as u64 }),
            "alarm" => self.apply(alarm(at(0), at(1), at(2))?),
            "get" => self.get(&range_request(&arguments)?),
            "lease" => Ok(match self.machine.reader().lease(LeaseId(number(at(0))?))? {
                Some((seconds, keys)) => format!("{seconds}s {keys:?}\n"),
                None => "none\n".to_owned(),
            }),
            "history" => self.history(number(at(0))?),
            "size" => Ok(format!("{}\n", self.machine.reader().size_bytes())),
            "remove-compacted" => {
                common::compact_fully(&mut self.machine);
                Ok(String::new())
            }
            "reopen" => {
                self.machine = common::open(&self.engine, SpaceId(self.space));
                Ok(String::new())
            }
            "snapshot" => self.snapshot(),
            name => Err(format!("there is no command {name}").into()),
        }
    }
}

impl Script {
    fn apply(&mut self, command: Command) -> Fallible<String> {
        let mut out = ApplyOutput::default();
        let index = self.machine.applied().index + 1;
        self.machine.apply(&[common::entry(index, command)], &mut out)?;
        let outcome = out.results.remove(0).result?;
        let mut text = format!("{} [{}]\n", show_body(&outcome.body), outcome.revision);
        out.changes.iter().try_for_each(|change| show_change(&mut text, change))?;
        for lease in &out.leases {
            match lease {
                LeaseChange::Granted { id, ttl_seconds } => writeln!(text, "  lease {id} granted {ttl_seconds}s")?,
                LeaseChange::Revoked(id) => writeln!(text, "  lease {id} revoked")?,
                LeaseChange::Checkpointed { id, remaining_seconds } => {
                    writeln!(text, "  lease {id} has {remaining_seconds}s left")?;
                }
            }
        }
        Ok(text)
    }

    fn get(&self, request: &RangeRequest) -> Fallible<String> {
        let (found, revision) = self.machine.reader().range(request)?;
        Ok(format!("{} [{revision}]\n", show_range(&found)))
    }

    fn read_only(&self, txn: &TxnRequest) -> Fallible<String> {
        let (found, revision) = self.machine.reader().txn(txn)?;
        Ok(format!("{} [{revision}]\n", show_txn(&found)))
    }

    fn history(&self, from: i64) -> Fallible<String> {
        let reader = self.machine.reader();
        let history = reader.history(Revision(from), reader.revision(), usize::MAX)?;
        let mut text = String::new();
        history.changes.iter().try_for_each(|change| show_change(&mut text, change))?;
        Ok(text)
    }

    /// Goes on with a copy of the table in a new space.
    fn snapshot(&mut self) -> Fallible<String> {
        self.space += 1;
        let mut importer = Importer::new(Arc::clone(&self.engine) as _, SpaceId(self.space));
        for page in common::export(&self.machine, 64) {
            importer.page(page)?;
        }
        let summary = importer.finish()?;
        self.machine = common::open(&self.engine, SpaceId(self.space));
        Ok(format!("revision {} at index {}\n", summary.revision, summary.applied.index))
    }
}

struct Arguments {
    positional: Vec<String>,
    named: Vec<(String, String)>,
}

impl Arguments {
    fn of(command: &goldenscript::Command) -> Self {
        let mut arguments = Self { positional: Vec::new(), named: Vec::new() };
        for argument in &command.args {
            match argument {
                Argument::Positional(value) => arguments.positional.push(value.clone()),
                Argument::KeyValue(key, value) => arguments.named.push((key.clone(), value.clone())),
                _ => unreachable!("arguments are positional or named"),
            }
        }
        arguments
    }

    fn named(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Fallible<Option<i64>> {
        self.named(name).map(|value| Ok(value.parse()?)).transpose()
    }

    fn is_set(&self, flag: &str) -> bool {
        self.positional.iter().any(|argument| argument == flag)
    }
}

fn number(text: Option<&str>) -> Fallible<i64> {
    Ok(text.ok_or("a number is missing")?.parse()?)
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// `a` alone, `a b` half-open, `a to-end` to the end of the table.
fn range_of(start: Option<&str>, end: Option<&str>) -> Fallible<KeyRange> {
    let end = match end {
        None | Some("prev" | "keys-only" | "count-only") => RangeEnd::Single,
        Some("to-end") => RangeEnd::Unbounded,
        Some(end) => RangeEnd::Before(bytes(end)),
    };
    Ok(KeyRange { start: bytes(start.ok_or("a key is missing")?), end })
}

fn put(arguments: &Arguments) -> Fallible<PutRequest> {
    let key = bytes(arguments.positional.first().ok_or("a key is missing")?);
    let value = match arguments.positional.get(1).map(String::as_str) {
        None | Some("prev") => PutValue::Keep,
        Some(value) => PutValue::Set(bytes(value)),
    };
    let lease = match arguments.named("lease") {
        None => PutLease::Set(None),
        Some("keep") => PutLease::Keep,
        Some(id) => PutLease::Set(Some(LeaseId(id.parse()?))),
    };
    Ok(PutRequest { key, value, lease, prev_kv: arguments.is_set("prev") })
}

fn range_request(arguments: &Arguments) -> Fallible<RangeRequest> {
    let positional = |n: usize| arguments.positional.get(n).map(String::as_str);
    let revision = |name| arguments.number(name).map(|number| number.map(Revision));
    let sort = arguments.named("sort").map(|sort| -> Fallible<_> {
        let (target, order) = sort.split_once('-').ok_or("a sort is target-order")?;
        let target = match target {
            "key" => SortTarget::Key,
            "version" => SortTarget::Version,
            "create" => SortTarget::Create,
            "mod" => SortTarget::Mod,
            "value" => SortTarget::Value,
            _ => return Err("an unknown sort".into()),
        };
        let order = match order {
            "asc" => SortOrder::Ascending,
            "desc" => SortOrder::Descending,
            "within" => SortOrder::AscendingWithinLimit,
            _ => return Err("an unknown order".into()),
        };
        Ok((target, order))
    });
    Ok(RangeRequest {
        keys: range_of(positional(0), positional(1))?,
        limit: arguments.number("limit")?.unwrap_or(0) as u64,
        revision: revision("rev")?,
        sort: sort.transpose()?,
        consistency: Consistency::Linearizable,
        keys_only: arguments.is_set("keys-only"),
        count_only: arguments.is_set("count-only"),
        min_mod_revision: revision("min-mod")?,
        max_mod_revision: revision("max-mod")?,
        min_create_revision: revision("min-create")?,
        max_create_revision: revision("max-create")?,
    })
}

fn alarm(action: Option<&str>, kind: Option<&str>, member: Option<&str>) -> Fallible<Command> {
    let action = match action {
        Some("raise") => AlarmAction::Activate,
        Some("lower") => AlarmAction::Deactivate,
        _ => AlarmAction::Get,
    };
    let kind = match kind {
        Some("nospace") => Some(AlarmKind::NoSpace),
        Some("corrupt") => Some(AlarmKind::Corrupt),
        _ => None,
    };
    let member = NodeId(member.map_or(Ok(0), str::parse)?);
    Ok(Command::Alarm { action, member, kind })
}

/// `{ mod(a) = 0 , value(b) > x ? put a 1 ; get a c : delete a }`, word by word.
struct Parser<'a>(std::vec::IntoIter<&'a str>);

impl Parser<'_> {
    fn txn(&mut self) -> Fallible<TxnRequest> {
        match self.0.next() {
            Some("{") => self.body(),
            other => Err(format!("a transaction begins with a brace, not {other:?}").into()),
        }
    }

    fn body(&mut self) -> Fallible<TxnRequest> {
        let mut compare = Vec::new();
        loop {
            match self.0.next().ok_or("the conditions do not end")? {
                "?" => break,
                "," => {}
                target => {
                    let (operator, value) = (self.0.next().ok_or("=")?, self.0.next().ok_or("a value")?);
                    compare.push(condition(target, operator, value)?);
                }
            }
        }
        Ok(TxnRequest { compare, success: self.operations(":")?, failure: self.operations("}")? })
    }

    fn operations(&mut self, end: &str) -> Fallible<Vec<Operation>> {
        let mut operations = Vec::new();
        let mut words: Vec<&str> = Vec::new();
        loop {
            let word = self.0.next().ok_or("the operations do not end")?;
            if word == "{" {
                operations.push(Operation::Txn(self.body()?));
            } else if word == ";" || word == end {
                if !words.is_empty() {
                    operations.push(operation(&std::mem::take(&mut words))?);
                }
                if word == end {
                    return Ok(operations);
                }
            } else {
                words.push(word);
            }
        }
    }
}

fn condition(target: &str, operator: &str, value: &str) -> Fallible<Compare> {
    let (name, key) = target.trim_end_matches(')').split_once('(').ok_or("a condition is target(key)")?;
    let keys = match key.split_once("..") {
        None => KeyRange::single(bytes(key)),
        Some((start, "")) => KeyRange { start: bytes(start), end: RangeEnd::Unbounded },
        Some((start, end)) => KeyRange { start: bytes(start), end: RangeEnd::Before(bytes(end)) },
    };
    let operator = match operator {
        "=" => CompareOperator::Equal,
        "!=" => CompareOperator::NotEqual,
        ">" => CompareOperator::Greater,
        _ => CompareOperator::Less,
    };
    let target = match name {
        "version" => CompareTarget::Version(value.parse()?),
        "create" => CompareTarget::Create(Revision(value.parse()?)),
        "mod" => CompareTarget::Mod(Revision(value.parse()?)),
        "lease" => CompareTarget::Lease(value.parse()?),
        _ => CompareTarget::Value(bytes(value)),
    };
    Ok(Compare { keys, operator, target })
}

fn operation(words: &[&str]) -> Fallible<Operation> {
    let (named, positional) = words[1..].iter().partition::<Vec<&str>, _>(|word| word.contains('='));
    let arguments = Arguments {
        positional: positional.into_iter().map(str::to_owned).collect(),
        named: named
            .into_iter()
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    };
    let at = |n: usize| arguments.positional.get(n).map(String::as_str);
    Ok(match words[0] {
        "put" => Operation::Put(put(&arguments)?),
        "get" => Operation::Range(range_request(&arguments)?),
        "delete" => {
            let prev_kv = arguments.is_set("prev");
            Operation::DeleteRange(DeleteRangeRequest { keys: range_of(at(0), at(1))?, prev_kv })
        }
        other => return Err(format!("there is no operation {other}").into()),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn show_kv(kv: &KeyValue) -> String {
    let lease = kv.lease.map(|id| format!(" lease {id}")).unwrap_or_default();
    let numbers = format!("c{} m{} v{}", kv.create_revision, kv.mod_revision, kv.version);
    format!("{}={} ({numbers}{lease})", text(&kv.key), text(&kv.value))
}

fn show_range(range: &RangeResponse) -> String {
    let kvs: Vec<String> = range.kvs.iter().map(show_kv).collect();
    let more = if range.more { ", more" } else { "" };
    format!("[{}] of {}{more}", kvs.join(", "), range.count)
}

fn show_put(put: &PutResponse) -> String {
    put.prev_kv.as_ref().map_or_else(|| "put".to_owned(), |kv| format!("put over {}", show_kv(kv)))
}

fn show_delete(delete: &DeleteRangeResponse) -> String {
    let gone: Vec<String> = delete.prev_kvs.iter().map(show_kv).collect();
    if gone.is_empty() {
        return format!("deleted {}", delete.deleted);
    }
    format!("deleted {}: {}", delete.deleted, gone.join(", "))
}

fn show_txn(txn: &TxnResponse) -> String {
    let responses = txn.responses.iter().map(|response| match response {
        OperationResponse::Range(range) => show_range(range),
        OperationResponse::Put(put) => show_put(put),
        OperationResponse::DeleteRange(delete) => show_delete(delete),
        OperationResponse::Txn(txn) => show_txn(txn),
    });
    let branch = if txn.succeeded { "then" } else { "else" };
    format!("{branch} {{ {} }}", responses.collect::<Vec<_>>().join("; "))
}

fn show_body(body: &Body) -> String {
    match body {
        Body::Put(put) => show_put(put),
        Body::DeleteRange(delete) => show_delete(delete),
        Body::Txn(txn) => show_txn(txn),
        Body::Alarms(alarms) => {
            let alarms = alarms.iter().map(|alarm| format!("{:?} of {}", alarm.kind, alarm.member));
            format!("alarms: {}", alarms.collect::<Vec<_>>().join(", "))
        }
        _ => "done".to_owned(),
    }
}

fn show_change(text: &mut String, change: &Change) -> std::fmt::Result {
    for event in change.events.iter() {
        let kind = match event.kind {
            EventKind::Put => "put",
            EventKind::Delete => "delete",
        };
        let before = event.prev_kv.as_ref().map(|kv| format!(" over {}", show_kv(kv))).unwrap_or_default();
        writeln!(text, "  {}: {kind} {}{before}", change.revision, show_kv(&event.kv))?;
    }
    Ok(())
}

fn run(name: &str) {
    let (engine, machine) = common::new_machine();
    let path = format!("{}/tests/scripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    goldenscript::run(&mut Script { engine, machine, space: common::SPACE.0 }, path).unwrap();
}

#[test]
fn puts_and_ranges() {
    run("range");
}

#[test]
fn transactions() {
    run("txn");
}

#[test]
fn compaction_and_history() {
    run("compaction");
}

#[test]
fn leases() {
    run("lease");
}

#[test]
fn quota_and_alarms() {
    run("quota");
}
