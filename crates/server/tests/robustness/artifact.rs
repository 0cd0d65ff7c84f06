//! What a failing run leaves: everything that the judges were given, one JSON line for each thing.

use std::fmt::Debug;
use std::io::Write;
use std::path::PathBuf;

use althing_sim::checker::Outcome;
use althing_types::{Instant, Revision};
use serde_json::{Value, json};

use crate::evidence::Evidence;

/// Writes it and returns where it is.
pub fn write(seed: u64, evidence: &Evidence, findings: &[String]) -> PathBuf {
    let directory = std::env::var_os("ALTHING_ROBUST_OUT").map_or_else(std::env::temp_dir, PathBuf::from);
    let path = directory.join(format!("althing-robust-{seed}-{}.jsonl", std::process::id()));
    let file = std::fs::File::create(&path).expect("the history can be written");
    let mut file = std::io::BufWriter::new(file);
    for line in lines(evidence, findings) {
        writeln!(file, "{line}").expect("the history can be written");
    }
    path
}

/// Seconds since the run's start.
fn seconds(at: Instant) -> f64 {
    at.as_nanos() as f64 / 1e9
}

fn text(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// Findings first, then what clients asked in the order of asking, then watches, leases and the table's history.
pub fn lines(evidence: &Evidence, findings: &[String]) -> Vec<Value> {
    let Evidence { history, bank, truth } = evidence;
    let mut lines: Vec<_> = findings.iter().map(|finding| json!({ "kind": "finding", "detail": finding })).collect();
    for operation in &history.operations {
        let returned = match operation.outcome {
            Outcome::Done { returned, .. } => Some(seconds(returned)),
            Outcome::Refused | Outcome::Unknown => None,
        };
        lines.push(json!({
            "kind": "operation", "client": operation.client, "key": text(&operation.key),
            "invoked": seconds(operation.invoked), "returned": returned,
            "action": text(&operation.action), "outcome": text(&operation.outcome),
        }));
    }
    for record in bank {
        lines.push(json!({
            "kind": "bank", "invoked": seconds(record.invoked), "call": text(&record.call), "outcome": text(&record.outcome),
        }));
    }
    for (number, watch) in history.watches.iter().enumerate() {
        lines.push(json!({ "kind": "watch", "watch": number, "from": watch.from.get(), "keys": text(&watch.keys) }));
        let steps = watch.steps.iter().enumerate();
        lines.extend(
            steps.map(|(step, told)| json!({ "kind": "step", "watch": number, "step": step, "told": text(told) })),
        );
    }
    for lease in &history.leases {
        let (id, ttl_seconds) = (lease.id.get(), lease.ttl_seconds);
        lines.push(json!({ "kind": "lease", "id": id, "ttl_seconds": ttl_seconds, "steps": text(&lease.steps) }));
    }
    let events = truth.since(Revision(0));
    lines.extend(events.map(|event| {
        json!({
            "kind": "event", "revision": event.kv.mod_revision.get(), "event": text(&event.kind),
            "key": text(&event.kv.key), "value": text(&event.kv.value),
        })
    }));
    lines
}
