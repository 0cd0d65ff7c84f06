//! What one node keeps: a write-ahead log and a state machine with checkpoints.

use althing_consensus::{
    ConfState, Entry, HardState, LogPosition, Persist, Recovered, SnapshotMeta, decode_entries, encode_entries,
};

/// The state machine: everything that was ever applied, and the configuration.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Machine {
    pub applied: LogPosition,
    pub conf_state: ConfState,
    pub history: Vec<Entry>,
}

/// A log and a checkpoint that survive a crash, and batches that may not.
#[derive(Clone, Default)]
pub struct Disk {
    hard_state: HardState,
    truncated: LogPosition,
    entries: Vec<Entry>,
    checkpoint: Machine,
    unsynced: Vec<Persist>,
    /// Data of snapshots that were streamed in, durable before they are installed.
    snapshots: Vec<Machine>,
}

impl Disk {
    /// The disk of a voter of a new group.
    pub fn bootstrap(conf_state: &ConfState) -> Self {
        let Recovered { hard_state, conf_state, truncated, entries, .. } = Recovered::bootstrap(conf_state.clone());
        let checkpoint = Machine { applied: truncated, conf_state, history: Vec::new() };
        Self { hard_state, truncated, entries, checkpoint, ..Self::default() }
    }

    pub fn append(&mut self, batch: Persist) {
        self.unsynced.push(batch);
    }

    /// Makes the first `count` batches durable; the number of the last one.
    pub fn sync(&mut self, count: usize) -> Option<u64> {
        let batches: Vec<_> = self.unsynced.drain(..count.min(self.unsynced.len())).collect();
        let last = batches.last().map(|batch| batch.seq);
        for batch in batches {
            self.write(batch);
        }
        last
    }

    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Loses what was not synced.
    pub fn crash(&mut self) {
        self.unsynced.clear();
        self.snapshots.clear();
    }

    fn write(&mut self, batch: Persist) {
        if let Some(meta) = batch.snapshot {
            let meta = SnapshotMeta::decode(meta.encode()).unwrap();
            self.entries.clear();
            self.truncated = LogPosition { index: meta.index, term: meta.term };
            let data = self.snapshots.iter().find(|data| data.applied == self.truncated);
            self.checkpoint = data.expect("a snapshot's data is durable before its record").clone();
        }
        if !batch.entries.is_empty() {
            let entries = decode_entries(encode_entries(&batch.entries)).unwrap();
            self.entries.retain(|entry| entry.index < entries[0].index);
            self.entries.extend(entries);
        }
        if let Some(state) = batch.hard_state {
            self.hard_state = HardState::decode(state.encode()).unwrap();
        }
    }

    pub fn store_snapshot(&mut self, data: Machine) {
        self.snapshots.push(data);
    }

    pub fn checkpoint(&mut self, machine: &Machine) {
        // A checkpoint may only hold what the log holds durably.
        let last = self.entries.last().map_or(self.truncated.index, |entry| entry.index);
        if machine.applied.index <= last && machine.applied >= self.checkpoint.applied {
            self.checkpoint = machine.clone();
        }
    }

    pub fn checkpointed(&self) -> LogPosition {
        self.checkpoint.applied
    }

    pub fn truncate(&mut self, to: LogPosition) {
        let to = LogPosition::decode(to.encode()).unwrap();
        if to.index > self.truncated.index && to.index <= self.checkpoint.applied.index {
            self.entries.retain(|entry| entry.index > to.index);
            self.truncated = to;
        }
    }

    /// What a restart finds.
    pub fn recover(&self) -> (Recovered, Machine) {
        let recovered = Recovered {
            hard_state: self.hard_state,
            conf_state: self.checkpoint.conf_state.clone(),
            applied: self.checkpoint.applied.index,
            truncated: self.truncated,
            entries: self.entries.clone(),
        };
        (recovered, self.checkpoint.clone())
    }
}
