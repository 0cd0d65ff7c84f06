//! What the replica wants done, once per turn.

use std::collections::BTreeMap;

use althing_codec::Writer;
use althing_consensus::{Entry, EntryKind, Persist, Role, SnapshotMeta, conf_change, encode_entries};
use althing_probe::{Mark, Mutant};
use althing_storage::engine::Applied;
use althing_storage::wal::{Record, RecordKind};
use althing_strong::LogEntry;
use althing_types::{GroupId, NodeId, SpaceId, limits};
use bytes::Bytes;

use super::{Group, Leading};
use crate::context::Context;
use crate::effects::Work;
use crate::envelope::Message;

impl Group {
    /// Ends the group's turn: starts reads, and turns what the replica wants into effects of the node.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) {
        self.touched = false;
        if self.leader().is_some()
            && let Some(context) = self.reads.start_round(cx.now)
        {
            self.step(althing_consensus::Input::ReadIndex { context });
        }
        self.replica.ready(&mut self.effects);
        if self.effects.is_empty() {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        for message in effects.messages.drain(..) {
            let to = message.to();
            cx.shared.peers.send(to, &Message::Raft(self.id, message));
        }
        for persist in effects.persist.drain(..) {
            self.persist(cx, persist);
        }
        let committed = std::mem::take(&mut effects.committed);
        if !committed.is_empty() && !althing_probe::is(Mutant::ApplyUncommitted) {
            self.hand_to_applier(cx, committed);
        }
        for read in effects.reads.drain(..) {
            if read.index > self.applied.index {
                althing_probe::hit(Mark::ReadWaitedForApply);
            }
            self.reads.confirm(read.context, read.index);
        }
        for wanted in effects.snapshot_wanted.drain(..) {
            self.start_transfer(cx, wanted.to);
        }
        if let Some(role) = effects.role_changed.take() {
            self.role_changed(cx, role);
        }
        self.effects = effects;
        self.serve_reads(cx);
    }

    fn persist(&mut self, cx: &mut Context<'_>, persist: Persist) {
        let group = self.id;
        if let Some(meta) = &persist.snapshot {
            self.confs.apply(meta.index);
            self.install(cx, meta, persist.seq);
        }
        self.log_entries(cx, &persist.entries);
        self.confs.log(&persist.entries);
        self.take_too_early(cx, &persist.entries);
        self.mark_commit(&persist);
        self.unwritten = persist.hard_state.or(self.unwritten);
        if !persist.must_sync && althing_probe::is(Mutant::ForgetCommit) {
            self.unwritten = None;
        }
        // A commit index that moved needs no record of its own, but goes with the next entries. A log that holds a change
        // of the configuration then says, too, that the one before it is committed: a node that starts again and could
        // forget it might be elected by a configuration that lies two changes back.
        if (persist.must_sync || !persist.entries.is_empty())
            && let Some(hard_state) = self.unwritten.take()
        {
            let payload = hard_state.encode();
            cx.shared.wal.push(Record { group, kind: RecordKind::HardState, index: 0, payload });
        }
        if persist.must_sync {
            cx.shared.wal.wait(group, persist.seq);
        }
    }

    fn mark_commit(&self, persist: &Persist) {
        if persist.entries.is_empty() && !persist.must_sync && persist.hard_state.is_some() {
            althing_probe::hit(Mark::CommitUnwritten);
        }
        if self.unwritten.is_some() && persist.hard_state.is_none() && !persist.entries.is_empty() {
            althing_probe::hit(Mark::CommitWritten);
        }
    }

    /// As a mutant, takes entries that are only in the log for committed ones.
    fn take_too_early(&mut self, cx: &mut Context<'_>, entries: &[Entry]) {
        if althing_probe::is(Mutant::ApplyUncommitted) {
            self.hand_to_applier(cx, entries.to_vec());
        }
        if althing_probe::is(Mutant::EarlyMembership) {
            for entry in entries.iter().filter(|entry| entry.kind == EntryKind::ConfChange) {
                self.apply_conf_change(entry);
            }
        }
    }

    /// Records of these entries: as many as it takes to keep each below what one batch of the log holds.
    fn log_entries(&self, cx: &mut Context<'_>, mut entries: &[Entry]) {
        while !entries.is_empty() {
            let mut bytes = 0;
            let full = entries.iter().position(|entry| {
                bytes += entry.data.len();
                bytes >= cx.shared.config.log_record_bytes
            });
            let (record, rest) = entries.split_at(full.map_or(entries.len(), |place| place + 1));
            if !rest.is_empty() {
                althing_probe::hit(Mark::SeveralRecords);
            }
            let index = record.last().map_or(0, |entry| entry.index);
            let payload = encode_entries(record);
            cx.shared.wal.push(Record { group: self.id, kind: RecordKind::Entries, index, payload });
            entries = rest;
        }
    }

    /// Committed entries, in order. A change of the configuration takes effect for Raft here, and for the state
    /// machine in the same batch as the entry.
    fn hand_to_applier(&mut self, cx: &mut Context<'_>, committed: Vec<Entry>) {
        let mut entries = Vec::with_capacity(committed.len());
        let mut bytes = 0;
        for entry in committed {
            bytes += entry.data.len();
            let (data, conf_state) = match entry.kind {
                EntryKind::Normal => (entry.data, None),
                EntryKind::ConfChange => self.apply_conf_change(&entry),
            };
            entries.push(LogEntry { index: entry.index, term: entry.term, data, conf_state });
            if bytes > limits::MAX_COMMITTED_BYTES_PER_TURN {
                bytes = 0;
                cx.out.work.push(Work::Apply { group: self.id, entries: std::mem::take(&mut entries) });
            }
        }
        if !entries.is_empty() {
            cx.out.work.push(Work::Apply { group: self.id, entries });
        }
    }

    /// Every replica comes to the same end with a change, so one that is refused is an entry without effect on all.
    fn apply_conf_change(&mut self, entry: &Entry) -> (Bytes, Option<Bytes>) {
        let Ok(state) = self.replica.apply_conf_change(entry) else { return (Bytes::new(), None) };
        self.confs.apply(entry.index);
        let data = conf_change(entry).map(|(_, data)| data).unwrap_or_default();
        (data, Some(state.encode()))
    }

    fn role_changed(&mut self, cx: &mut Context<'_>, role: Role) {
        cx.shared.metrics.role_changes += 1;
        match role {
            Role::Leader { .. } => {
                let term = self.replica.term();
                if self.leading.term() != Some(term) {
                    self.lose_leadership(cx);
                    self.leading = Leading::Elected { term };
                }
            }
            Role::Recovering
            | Role::Follower { .. }
            | Role::PreCandidate
            | Role::Candidate
            | Role::Learner { .. }
            | Role::Removed => self.lose_leadership(cx),
        }
        if self.leader().is_some() {
            self.leader_seen = cx.now;
            self.hub_input(cx, althing_strong::watch::Input::Leader);
            self.reads.retry(cx.now, true);
            self.ask_again(cx);
            self.submit_waiting(cx);
        }
    }

    fn lose_leadership(&mut self, cx: &mut Context<'_>) {
        if self.leading != Leading::No {
            self.leading = Leading::No;
            self.forget_filled();
            if !althing_probe::is(Mutant::FollowerEndsLeases) {
                self.lessor_input(cx, althing_strong::lessor::Input::LostLeadership);
            }
            self.outgoing.clear();
        }
    }

    /// The log has made a batch durable.
    pub(crate) fn persisted(&mut self, cx: &mut Context<'_>, seq: u64) {
        self.step(althing_consensus::Input::Persisted { seq });
        if let Some((wanted, space)) = self.retired
            && wanted <= seq
        {
            self.retired = None;
            cx.out.work.push(Work::DropSpace(space));
        }
    }

    /// A checkpoint is durable: the log before it may go, but for what a slow follower may still want.
    pub(crate) fn checkpointed(&mut self, cx: &mut Context<'_>, spaces: &BTreeMap<SpaceId, Applied>) {
        self.try_install(cx, spaces);
        let Some(durable) = spaces.get(&self.space) else { return };
        let durable = if althing_probe::is(Mutant::TruncateApplied) { &self.applied } else { durable };
        let index = self.index_retaining(cx.shared.config.retained_log_bytes).min(durable.index);
        if index <= self.replica.truncated().index {
            return;
        }
        althing_probe::hit(Mark::LogTruncated);
        self.step(althing_consensus::Input::Truncate { index });
        let truncated = self.replica.truncated();
        let payload = truncated.encode();
        cx.shared.wal.push(Record { group: self.id, kind: RecordKind::Truncated, index: truncated.index, payload });
        cx.out.wal_release.push((self.id, truncated.index + 1));
    }

    /// The last index that may go if about so many bytes of the newest entries are to stay.
    fn index_retaining(&self, bytes: usize) -> u64 {
        let (mut index, mut kept) = (self.replica.last_index(), 0);
        while index > self.replica.truncated().index {
            let from = index.saturating_sub(RETAIN_STEP).max(self.replica.truncated().index) + 1;
            kept += self.replica.entries(from..index + 1).iter().map(|entry| entry.data.len() + 32).sum::<usize>();
            index = from - 1;
            if kept >= bytes {
                break;
            }
        }
        index
    }

    /// The log is pinned by this group: what lives of it is written again, at the end.
    pub(crate) fn rewrite(&mut self, cx: &mut Context<'_>) {
        althing_probe::hit(Mark::LogRewritten);
        let entries = self.replica.entries(self.replica.truncated().index + 1..self.replica.last_index() + 1);
        self.log_entries(cx, &entries);
        cx.shared.wal.rewritten(self.id);
    }

    /// What the log need not keep, said anew after a start.
    pub(crate) fn release(&self) -> (GroupId, u64) {
        (self.id, self.replica.truncated().index + 1)
    }

    pub(crate) fn raft_message(&mut self, cx: &mut Context<'_>, from: NodeId, message: althing_consensus::Message) {
        // A peer may only speak for itself: the transport knows who it is.
        if message.from() != from {
            cx.shared.metrics.frames_refused += 1;
            return;
        }
        self.heard += 1;
        if message.candidate_log().is_some_and(|candidate| !self.promise.admits(candidate)) {
            althing_probe::hit(Mark::PromiseKept);
            return;
        }
        self.step(althing_consensus::Input::Step(message));
    }
}

/// Entries looked at together when the log is measured.
const RETAIN_STEP: u64 = 64;

/// The log's record of an installed snapshot: where it stands, and on which space its data is.
pub(crate) fn encode_snapshot_record(meta: &SnapshotMeta, space: SpaceId) -> Bytes {
    let mut writer = Writer::with_capacity(64);
    writer.u64(space.get());
    writer.raw(&meta.encode());
    writer.finish()
}
