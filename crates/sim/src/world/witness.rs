//! What the witness is shown of every node, and what a node may keep in memory.

use althing_consensus::{ConfState, LogPosition, Role};
use althing_node::envelope::{Message, open_frame};
use althing_node::{Done, Effects, Footprint, Work};
use althing_strong::{Bounds, Stage};
use althing_types::{GroupId, NodeId, limits};
use bytes::Bytes;

use super::World;
use crate::host::boot::{Booted, WATCH_BYTES};
use crate::ledger::Contradiction;
use crate::report::Check;
use crate::triggers::Moment;

/// What a node may have to do of its own while it serves: an alarm, its addresses, its quota, ends of leases.
const OWN_PENDING: usize = 300;
/// One response of a watch may be put into a buffer that is all but full.
const MAX_RESPONSE_BYTES: usize = 256 * 1024;
/// The log that a node keeps in memory: what clients of the simulator write between two checkpoints is far less.
const MAX_LOG_BYTES: usize = 8 * 1024 * 1024;

impl World {
    fn contradicts(&mut self, seen: Result<(), Contradiction>) {
        if let Err(contradiction) = seen {
            self.find(Check::Ledger, contradiction);
        }
    }

    /// A process has started.
    pub(super) fn witness_start(&mut self, node: NodeId, booted: &Booted) {
        self.ledger.deltas.starts(node);
        for standing in &booted.standings {
            let group = standing.group;
            self.ledger.stands_at(group, node, standing.applied.index, standing.revision);
            let applied = LogPosition { index: standing.applied.index, term: standing.applied.term };
            let seen = self.ledger.logs.starts(group, node, applied, &booted.records);
            self.contradicts(seen);
            self.ledger.configurations.begins(group, node, standing.conf_state.clone());
            self.witness_conf(node, &standing.conf_state);
        }
        let groups = booted.standings.iter().map(|standing| standing.group).collect();
        let seen = self.ledger.logs.starts_with(node, &groups, &booted.records);
        self.contradicts(seen);
        if !self.host(node).is_lying() {
            self.ledger.logs.trust(node);
        }
    }

    /// A node has taken its turn and wants this done.
    pub(super) fn witness_turn(&mut self, node: NodeId, out: &Effects) {
        if let Some(batch) = &out.wal {
            let seen = self.ledger.logs.writes(node, batch.seq, &batch.records);
            self.contradicts(seen);
            self.ledger.deltas.logs(node, batch.seq, &batch.records);
            batch.records.iter().for_each(|record| self.ledger.objects.logs(node, record));
        }
        for work in &out.work {
            self.witness_handed_out(node, work);
        }
        out.frames.iter().for_each(|(_, frame)| self.witness_frame(node, frame));
        self.witness_roles(node);
        self.check_memory(node);
    }

    fn witness_handed_out(&mut self, node: NodeId, work: &Work) {
        match work {
            Work::Apply { group, entries } => {
                if let Some(change) = entries.iter().rev().find_map(|entry| entry.conf_state.as_ref()) {
                    self.ledger.configurations.hands_out(*group, node, decode(change));
                }
            }
            Work::Install { group, .. } => {
                let Some(process) = self.host(node).running() else { return };
                if let Some(conf) = process.node.conf_state(*group).cloned() {
                    self.ledger.configurations.begins(*group, node, conf);
                }
            }
            Work::Import { .. } | Work::DropSpace(_) | Work::Open { .. } | Work::Close { .. } | Work::Keyed { .. } => {}
        }
    }

    /// What it appends to the logs of others must be what its own has. Frames are read for that where speed is not what
    /// counts, and where there is a convergent table.
    fn witness_frame(&mut self, node: NodeId, frame: &Bytes) {
        if !althing_probe::ARMED && self.options.tables.as_ref().is_none_or(|tables| !tables.is_convergent()) {
            return;
        }
        let Ok((_, mut reader)) = open_frame(frame.clone()) else { return };
        while reader.remaining() > 0 {
            let Ok(message) = Message::decode(&mut reader) else { return };
            if let Message::Route(route) = &message {
                let tries = self.routed.entry((node, route.name)).or_default();
                *tries += 1;
                self.control.most_tries = self.control.most_tries.max(*tries);
            }
            if let Message::Keyed(group, message) = &message {
                self.witness_keyed(node, *group, message);
            }
            if let Message::Raft(group, message) = message {
                let seen = self.ledger.logs.sends(group, node, message.term(), message.appends());
                self.contradicts(seen);
            }
        }
    }

    /// Who leads, how far, and by whose votes.
    fn witness_roles(&mut self, node: NodeId) {
        let host = self.hosts.get_mut(&node).expect("every node has a machine, and no machine is ever removed");
        let Some(process) = host.running() else { return };
        let (mut seen, mut elected) = (Ok(()), false);
        for metrics in process.node.group_metrics() {
            let group = metrics.group;
            if let Role::Leader { .. } = metrics.role {
                if self.leader.is_none_or(|(greatest, _)| greatest < metrics.term) {
                    self.leader = Some((metrics.term, node));
                    elected = true;
                }
                seen = seen.and_then(|()| self.ledger.leads(group, node, metrics.term, metrics.commit));
            } else {
                self.ledger.logs.follows(group, node);
            }
            if let Some(conf) = process.node.conf_state(group) {
                seen = seen.and_then(|()| self.ledger.configurations.counts_by(group, node, conf));
            }
        }
        self.contradicts(seen);
        if elected {
            self.moment(node, Moment::BecameLeader);
        }
    }

    /// The applier of a node is about to do this.
    pub(super) fn witness_work(&mut self, node: NodeId, work: &Work) {
        let Work::Apply { group, entries } = work else { return };
        for entry in entries {
            let seen = self.ledger.applies(*group, node, entry.index, entry.term, &entry.data);
            self.contradicts(seen);
            if let Some(change) = &entry.conf_state {
                let conf = decode(change);
                self.check_voters(*group, entry.index, &conf);
                let seen = self.ledger.objects.configured(*group, entry.index, entry.term, &conf);
                self.contradicts(seen);
                self.witness_conf(node, &conf);
                self.ledger.configurations.applies(*group, node, conf);
            }
        }
    }

    /// It has done this.
    pub(super) fn witness_done(&mut self, node: NodeId, done: &Done) {
        match done {
            Done::Applied { group, output, .. } => {
                for change in &output.changes {
                    let seen = self.ledger.changes(*group, node, change.revision, &change.events);
                    self.contradicts(seen);
                }
                if let Some(Bounds { stage: Stage::Sealed(seal), .. }) = &output.bounds {
                    let seen = self.ledger.sealed(*group, seal);
                    self.contradicts(seen);
                }
                if output.members_changed {
                    self.witness_members(node, *group);
                }
            }
            Done::Installed(state) => {
                self.counts.snapshots += 1;
                self.ledger.stands_at(state.group, node, state.applied.index, state.reader.revision());
            }
            Done::Opened(state) => {
                self.ledger.stands_at(state.group, node, state.applied.index, state.reader.revision());
                let applied = LogPosition { index: state.applied.index, term: state.applied.term };
                self.ledger.logs.opens(state.group, node, applied);
                let conf = decode(&state.conf_state);
                self.witness_conf(node, &conf);
                self.ledger.configurations.begins(state.group, node, conf);
                let seen = self.ledger.objects.opens(state.group, node);
                self.contradicts(seen);
            }
            Done::Keyed { group, outcomes, .. } => self.witness_outcomes(node, *group, outcomes),
            Done::Imported { .. } | Done::Closed { .. } | Done::CompactionFinished { .. } => {}
        }
    }

    fn witness_members(&mut self, node: NodeId, group: GroupId) {
        // The control plane moves replicas without a word in the members' table, which is for those whom clients add.
        if self.options.tables.is_some() {
            return;
        }
        let Some(process) = self.host(node).running() else { return };
        let members = process.node.members(group);
        // Its table is being replaced by a snapshot: it has none to speak of.
        if members.is_empty() {
            return;
        }
        let seen = self.ledger.configurations.table_says(group, node, &members);
        self.contradicts(seen);
    }

    /// What a node keeps must be within its limits, and within what its host has given it and not got back.
    fn check_memory(&mut self, node: NodeId) {
        let calls = self.outstanding.len();
        let Some(process) = self.host(node).running() else { return };
        let limits = Footprint {
            streams: process.streams.len(),
            stream_bytes: WATCH_BYTES.end + MAX_RESPONSE_BYTES,
            // A question is asked again after a while, and stands twice then.
            pending: process.requests.len() + 2 * calls + OWN_PENDING,
            pending_bytes: limits::MAX_PENDING_BYTES,
            log_bytes: MAX_LOG_BYTES,
            // The one that this turn has made is not handed over yet.
            wal_in_flight: process.writer.unreported() + 1,
            pages: limits::MAX_INFLIGHT_SNAPSHOT_CHUNKS + 1,
            downloads: 0,
        };
        let footprint = process.node.footprint();
        if let Some((what, has, limit)) = footprint.exceeds(&limits) {
            self.find(Check::Memory, format!("node {node} keeps {has} {what}, and should not keep more than {limit}"));
        }
    }
}

/// The configuration of an entry, as the node encoded it a moment ago.
fn decode(bytes: &Bytes) -> ConfState {
    ConfState::decode(bytes.clone()).unwrap_or_default()
}
