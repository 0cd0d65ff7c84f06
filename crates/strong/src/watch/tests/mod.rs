//! What the hub promises, as protocol traces and against an oracle.

mod model;
mod rules;

use std::sync::Arc;

use althing_api::kv::{Event, EventKind, KeyRange, KeyValue, RangeEnd};
use althing_api::watch::{WatchCreate, WatchEvent, WatchFilter};
use althing_types::Revision;
use bytes::Bytes;

use super::Change;

/// A watch of `keys` from `start`, with nothing else asked for.
fn watch(keys: KeyRange, start: Option<i64>) -> WatchCreate {
    WatchCreate {
        id: None,
        keys,
        start_revision: start.map(Revision),
        prev_kv: false,
        filter: WatchFilter::default(),
        progress_notify: false,
        fragment: false,
    }
}

fn key(name: &'static str) -> KeyRange {
    KeyRange::single(name)
}

fn range(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange { start: start.into(), end: RangeEnd::Before(end.into()) }
}

/// A change of some keys: `-` before a key removes it.
fn change(revision: i64, keys: &[&str], value_bytes: usize) -> Change {
    let events: Vec<Event> = keys.iter().map(|key| event(revision, key, value_bytes)).collect();
    Change { revision: Revision(revision), events: Arc::from(events) }
}

fn event(revision: i64, key: &str, value_bytes: usize) -> Event {
    let before = KeyValue {
        key: Bytes::copy_from_slice(key.trim_start_matches('-').as_bytes()),
        create_revision: Revision(1),
        mod_revision: Revision(revision - 1),
        version: 1,
        value: Bytes::from_static(b"before"),
        lease: None,
    };
    let removed = KeyValue { key: before.key.clone(), mod_revision: Revision(revision), ..KeyValue::default() };
    let put =
        KeyValue { mod_revision: Revision(revision), version: 2, value: vec![7; value_bytes].into(), ..before.clone() };
    let (kind, kv) = if key.starts_with('-') { (EventKind::Delete, removed) } else { (EventKind::Put, put) };
    Event { kind, kv, prev_kv: Some(before) }
}

/// One line for one event of a stream.
fn line(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Created { id, revision } => format!("{id} created at {revision}"),
        WatchEvent::Canceled { id, revision, reason } => format!("{id} canceled at {revision}: {reason:?}"),
        WatchEvent::Progress { id: None, revision } => format!("all progress {revision}"),
        WatchEvent::Progress { id: Some(id), revision } => format!("{id} progress {revision}"),
        WatchEvent::Events { id, revision, events, fragment } => {
            let events: Vec<String> = events.iter().map(event_word).collect();
            let more = if *fragment { " .." } else { "" };
            format!("{id} at {revision}: {}{more}", events.join(" "))
        }
    }
}

fn event_word(event: &Event) -> String {
    let kind = match event.kind {
        EventKind::Put => "",
        EventKind::Delete => "-",
    };
    let before = if event.prev_kv.is_some() { "+prev" } else { "" };
    format!("{kind}{}@{}{before}", String::from_utf8_lossy(&event.kv.key), event.kv.mod_revision)
}
