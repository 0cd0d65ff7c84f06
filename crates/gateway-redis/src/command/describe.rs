//! `COMMAND`: the table of commands, as clients ask for it.

use althing_datatypes::glob;
use bytes::Bytes;

use crate::command::{self, Action, Answer, Command, Flag, Group, Keys, all, by_full_name};
use crate::refusal::Refusal;
use crate::run::words::is;
use crate::session::Session;
use crate::wire::Value;

/// What a command with subcommands does without one: only `COMMAND` does something, and that is `COMMAND INFO`.
#[must_use]
pub fn alone(row: &Command) -> Option<&'static Command> {
    if row.name == "command" { by_full_name(b"command|info") } else { None }
}

/// `COMMAND`
pub fn everything(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::Array(all().values().map(|row| entry(row)).collect()))
}

/// `COMMAND COUNT`
pub fn count(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::count(all().len()))
}

/// `COMMAND INFO [name...]`
pub fn info(session: &mut Session, words: &[Bytes]) -> Answer {
    let names = words.get(2..).unwrap_or_default();
    if names.is_empty() {
        return everything(session, words);
    }
    Ok(Value::Array(names.iter().map(|name| by_full_name(name).map_or(Value::NilArray, entry)).collect()))
}

/// `COMMAND DOCS [name...]`: names that are not known are left out.
pub fn docs(_: &mut Session, words: &[Bytes]) -> Answer {
    let names = &words[2..];
    let rows: Vec<&Command> = if names.is_empty() {
        all().values().copied().collect()
    } else {
        names.iter().filter_map(|name| by_full_name(name)).collect()
    };
    Ok(Value::Map(rows.into_iter().map(|row| (Value::word(row.name), doc(row))).collect()))
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
pub fn list(_: &mut Session, words: &[Bytes]) -> Answer {
    let names = |fits: &dyn Fn(&Command) -> bool| {
        let rows = all().values().flat_map(|row| std::iter::once(*row).chain(row.subcommands()));
        Value::Array(rows.filter(|row| fits(row)).map(|row| Value::word(row.name)).collect())
    };
    match words.get(2..).unwrap_or_default() {
        [] => Ok(names(&|row| !row.name.contains('|'))),
        [filter, by, value] if is(filter, "filterby") => {
            if is(by, "module") {
                Ok(names(&|_| false))
            } else if is(by, "aclcat") {
                let wanted = String::from_utf8_lossy(value).to_ascii_lowercase();
                Ok(names(&|row| categories(row).iter().any(|category| category.strip_prefix('@') == Some(&wanted))))
            } else if is(by, "pattern") {
                Ok(names(&|row| glob::matches(&value.to_ascii_lowercase(), row.name.as_bytes())))
            } else {
                Err(Refusal::SYNTAX)
            }
        }
        [_, ..] => Err(Refusal::SYNTAX),
    }
}

/// The command and the keys that the words after `COMMAND GETKEYS` have.
fn keys_of(words: &[Bytes]) -> Result<(&'static Command, Vec<&Bytes>), Refusal> {
    let inner = &words[2..];
    let row = match command::find(inner) {
        Ok(row) => row,
        Err(_) if inner.first().is_some_and(|name| command::by_name(name).is_some()) => {
            return Err(Refusal::of("ERR Invalid number of arguments specified for command"));
        }
        Err(_) => return Err(Refusal::of("ERR Invalid command specified")),
    };
    if row.keys == Keys::None {
        return Err(Refusal::of("ERR The command has no key arguments"));
    }
    let keys = row.keys.of(inner).ok_or(Refusal::of("ERR Invalid arguments specified for command"))?;
    Ok((row, keys))
}

/// `COMMAND GETKEYS command word...`
pub fn getkeys(_: &mut Session, words: &[Bytes]) -> Answer {
    let (_, keys) = keys_of(words)?;
    Ok(Value::bulks(keys.into_iter().cloned()))
}

/// `COMMAND GETKEYSANDFLAGS command word...`
pub fn getkeysandflags(_: &mut Session, words: &[Bytes]) -> Answer {
    let (row, keys) = keys_of(words)?;
    let access = if row.has(Flag::Write) { "RW" } else { "RO" };
    let entry = |key: &Bytes| Value::Array(vec![Value::Bulk(key.clone()), Value::Set(vec![Value::status(access)])]);
    Ok(Value::Array(keys.into_iter().map(entry).collect()))
}

/// The categories of Redis's access control.
fn categories(row: &Command) -> Vec<&'static str> {
    let mut all = vec![row.group.category()];
    if row.has(Flag::Write) {
        all.push("@write");
    }
    if row.has(Flag::Readonly) {
        all.push("@read");
    }
    if row.has(Flag::Blocking) {
        all.push("@blocking");
    }
    if row.has(Flag::Admin) && row.group != Group::Server {
        all.push("@admin");
    }
    all.push(if row.has(Flag::Fast) { "@fast" } else { "@slow" });
    all
}

fn entry(row: &Command) -> Value {
    let (first, last, step) = row.keys.positions();
    let is_write = row.has(Flag::Write);
    Value::Array(vec![
        Value::word(row.name),
        Value::Int(row.arity.into()),
        Value::Set(row.flags.iter().map(|flag| Value::status(flag.name())).collect()),
        Value::Int(first),
        Value::Int(last),
        Value::Int(step),
        Value::Set(categories(row).into_iter().map(Value::status).collect()),
        Value::Array(Vec::new()),
        Value::Array(specification(row.keys, is_write).into_iter().collect()),
        Value::Array(row.subcommands().iter().map(entry).collect()),
    ])
}

/// The key specification (Redis 7.0, "Command key specifications").
fn specification(keys: Keys, is_write: bool) -> Vec<Value> {
    let flags = || Value::Set(vec![Value::status(if is_write { "RW" } else { "RO" }), Value::status("access")]);
    let map = |entries: Vec<(&'static str, Value)>| {
        Value::Map(entries.into_iter().map(|(name, value)| (Value::word(name), value)).collect())
    };
    let number = |number: usize| Value::count(number);
    let at = |index: usize| map(vec![("type", Value::word("index")), ("spec", map(vec![("index", number(index))]))]);
    let range = |last: i64, step: usize| {
        let spec = vec![("lastkey", Value::Int(last)), ("keystep", number(step)), ("limit", Value::Int(0))];
        map(vec![("type", Value::word("range")), ("spec", map(spec))])
    };
    let one = |begin: Value, find: Value| map(vec![("flags", flags()), ("begin_search", begin), ("find_keys", find)]);
    match keys {
        Keys::None => Vec::new(),
        Keys::Range { first, last, step } => {
            let from_first = i64::try_from(first).unwrap_or(0);
            let last = if last < 0 { i64::from(last) } else { i64::from(last) - from_first };
            vec![one(at(first), range(last, step))]
        }
        Keys::Counted { count, store } => {
            let counted =
                map(vec![("keynumidx", Value::Int(0)), ("firstkey", Value::Int(1)), ("keystep", Value::Int(1))]);
            let counted = map(vec![("type", Value::word("keynum")), ("spec", counted)]);
            let stored = store.map(|index| one(at(index), range(0, 1)));
            stored.into_iter().chain([one(at(count), counted)]).collect()
        }
        Keys::Sort => vec![one(at(1), range(0, 1))],
        Keys::Radius => {
            let behind = |keyword: &'static str| {
                let spec = map(vec![("keyword", Value::word(keyword)), ("startfrom", number(6))]);
                map(vec![("type", Value::word("keyword")), ("spec", spec)])
            };
            let stores = ["STORE", "STOREDIST"].map(|keyword| one(behind(keyword), range(0, 1)));
            [one(at(1), range(0, 1))].into_iter().chain(stores).collect()
        }
    }
}

fn doc(row: &Command) -> Value {
    let mut entries = vec![
        (Value::word("summary"), Value::word(row.summary)),
        (Value::word("since"), Value::word(row.since)),
        (Value::word("group"), Value::word(row.group.name())),
    ];
    match row.action {
        Action::Container(rows) => {
            let inner = rows.iter().map(|sub| (Value::word(sub.name), doc(sub))).collect();
            entries.push((Value::word("subcommands"), Value::Map(inner)));
        }
        Action::Keyed(_)
        | Action::Composed(_)
        | Action::Waiting(_)
        | Action::Session(_)
        | Action::Watch
        | Action::Exec => {}
    }
    Value::Map(entries)
}
