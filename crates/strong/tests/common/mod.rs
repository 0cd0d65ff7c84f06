//! What the tests of the machine share: a machine on the model engine, and an oracle that knows every version.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod oracle;
pub mod random;

use std::sync::Arc;

use althing_api::cluster::Member;
use althing_api::kv::{KeyRange, RangeEnd};
use althing_storage::engine::model::ModelEngine;
use althing_storage::engine::{Applied, Engine};
use althing_strong::{ApplyOutput, Command, LogEntry, Machine, MachineConfig, Proposal};
use althing_types::{NodeId, RequestId, SpaceId};
use bytes::Bytes;

pub const SPACE: SpaceId = SpaceId(7);
pub const ORIGIN: NodeId = NodeId(1);

pub fn members() -> Vec<Member> {
    let member = |id: u64| Member {
        id: NodeId(id),
        name: format!("n{id}"),
        peer_urls: vec![format!("http://n{id}:2380")],
        client_urls: vec![format!("http://n{id}:2379")],
        is_learner: false,
    };
    (1..=3).map(member).collect()
}

pub fn open(engine: &Arc<ModelEngine>, space: SpaceId) -> Machine {
    let engine: Arc<dyn Engine> = Arc::clone(engine) as Arc<dyn Engine>;
    Machine::open(engine, space, MachineConfig::default()).unwrap()
}

/// A new table on an engine of its own. Its log begins at index 1.
pub fn new_machine() -> (Arc<ModelEngine>, Machine) {
    let engine = Arc::new(ModelEngine::new());
    let mut machine = open(&engine, SPACE);
    machine.bootstrap(&members(), Bytes::from_static(b"conf"), Applied { index: 0, term: 1 }).unwrap();
    (engine, machine)
}

pub fn entry(index: u64, command: Command) -> LogEntry {
    let data = Proposal { origin: ORIGIN, request: RequestId(index), command }.encode();
    LogEntry { index, term: 1, data, conf_state: None }
}

pub fn log(commands: &[Command]) -> Vec<LogEntry> {
    (1..).zip(commands).map(|(index, command)| entry(index, command.clone())).collect()
}

/// Applies entries in slices of these lengths, over and over.
pub fn apply_in_slices(machine: &mut Machine, mut entries: &[LogEntry], lengths: &[usize]) -> ApplyOutput {
    let mut out = ApplyOutput::default();
    for length in lengths.iter().cycle() {
        if entries.is_empty() {
            break;
        }
        let (slice, rest) = entries.split_at((*length).clamp(1, entries.len()));
        machine.apply(slice, &mut out).unwrap();
        entries = rest;
    }
    out
}

/// All pages of an export.
pub fn export(machine: &Machine, max_bytes: usize) -> Vec<Bytes> {
    let mut export = machine.reader().export().unwrap();
    std::iter::from_fn(|| export.next_page(max_bytes).unwrap()).collect()
}

pub fn compact_fully(machine: &mut Machine) {
    while machine.compaction_step().unwrap() {}
}

pub fn keys(start: &[u8], end: RangeEnd) -> KeyRange {
    KeyRange { start: Bytes::copy_from_slice(start), end }
}
