//! The end of a turn: what Raft has made ready becomes effects, in the order that keeps its promises.
//!
//! ```text
//!   Ready n ──► messages of a leader whose term is durable ───────► out.messages, at once (dissertation, 10.2.1)
//!          ├──► entries, hard state ──► log in memory, out.persist ─► Persisted { n }
//!          ├──► all other messages ──────► held until ────────────────────┼──────────► out.messages
//!          └──► committed entries ──► with a change of the configuration ─┴──────────► out.committed
//!                                └──► without one ───────────────────────────────────► out.committed, at once
//! ```
//!
//! # A configuration that takes effect is not forgotten
//!
//! Raft need not remember what is committed: a leader finds that out anew. But to become one it asks a quorum of the configuration that
//! it goes by, and that is the last one which it *knows* to be committed. Of two voters the one that stays, or the newcomer that a
//! single voter was replaced by, would ask the one that has left, for ever: that one was told that it is no member, and has thrown
//! away what it had. So a change of the configuration takes effect on a replica, and is told to others as committed, only once a
//! crash cannot make it forget that.

use std::collections::VecDeque;

use althing_probe::{Mark, Mutant};
use althing_types::NodeId;
use althing_types::limits::{MAX_APPEND_BYTES, MAX_COMMITTED_BYTES_PER_TURN};
use raft::eraftpb::{self, EntryType, MessageType};

use crate::effects::{Effects, Persist};
use crate::message::{Message, entry_cost};
use crate::replica::Replica;
use crate::types::{Entry, HardState, SnapshotMeta};

/// Batches that are on their way to the disk, and what waits for them.
#[derive(Default)]
pub(crate) struct Syncs {
    /// Batches that must be durable before anything may be promised of them.
    outstanding: VecDeque<Outstanding>,
    /// Messages and the batch that each waits for.
    held: VecDeque<(u64, eraftpb::Message)>,
    /// Committed entries, from a change of the configuration on, and the batch that they wait for.
    ineffective: VecDeque<(u64, Vec<Entry>)>,
    /// The number of Raft's last `Ready`.
    last_number: u64,
    /// The highest term that is durable.
    durable_term: u64,
    /// The highest index that is durably known to be committed.
    durable_commit: u64,
}

struct Outstanding {
    seq: u64,
    term: u64,
    commit: u64,
}

impl Syncs {
    pub(crate) fn new(durable: HardState) -> Self {
        Self { durable_term: durable.term, durable_commit: durable.commit, ..Self::default() }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Whether a crash could make the replica forget none of the changes of the configuration that these entries bring.
    fn is_effective(&self, committed: &[eraftpb::Entry]) -> bool {
        let is_change = |entry: &&eraftpb::Entry| entry.get_entry_type() != EntryType::EntryNormal;
        let last = committed.iter().rfind(is_change);
        last.is_none_or(|entry| entry.index <= self.durable_commit) || althing_probe::is(Mutant::ForgetCommit)
    }

    /// Entries that waited for their batch, and wait no more.
    fn take_effect(&mut self, committed: &mut Vec<Entry>) {
        let first = self.outstanding.front().map_or(u64::MAX, |batch| batch.seq);
        let count = self.ineffective.partition_point(|(seq, _)| *seq < first);
        committed.extend(self.ineffective.drain(..count).flat_map(|(_, entries)| entries));
    }

    /// A snapshot holds all that is committed here and has not taken effect.
    pub(crate) fn forget_ineffective(&mut self) {
        self.ineffective.clear();
    }
}

impl Replica {
    /// Ends a turn: collects everything that the inputs since the last call have caused. After about
    /// [`MAX_COMMITTED_BYTES_PER_TURN`] of committed entries it leaves the rest to the next turn: a replica that starts
    /// again would otherwise hand out its whole log at once.
    pub fn ready(&mut self, out: &mut Effects) {
        self.flush_proposals();
        self.release_waiting_reads();
        self.syncs.take_effect(&mut out.committed);
        let mut committed_bytes = 0;
        while self.node.has_ready() && committed_bytes < MAX_COMMITTED_BYTES_PER_TURN {
            committed_bytes += self.take_ready(out);
        }
        self.finish_input(out);
    }

    /// Whether [`Replica::ready`] has left something to another turn, which then needs no input.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.node.has_ready()
    }

    /// Takes one `Ready`; answers how many bytes of committed entries it had.
    fn take_ready(&mut self, out: &mut Effects) -> usize {
        let mut ready = self.node.ready();
        let seq = ready.number();
        let mut snapshot = Some(ready.snapshot()).filter(|snapshot| !snapshot.is_empty()).map(SnapshotMeta::from_raft);
        if let (Some(meta), Some(installing)) = (&mut snapshot, &self.installing) {
            meta.conf_state.epoch = installing.epoch;
            meta.conf_state.joined.clone_from(&installing.joined);
        }
        let entries = ready.take_entries();
        let hard_state =
            ready.hs().map(|state| HardState { term: state.term, vote: NodeId(state.vote), commit: state.commit });
        let (now, held) = (ready.take_messages(), ready.take_persisted_messages());
        self.take_reads(ready.take_read_states(), out);
        let committed = ready.take_committed_entries();
        let committed_bytes = committed.iter().map(entry_cost).sum();
        self.metrics.committed += committed.len() as u64;
        let is_effective = self.syncs.is_effective(&committed);
        let must_sync = ready.must_sync() || !is_effective;

        let persisted: Vec<_> = entries.iter().map(Entry::from_raft).collect();
        let log = self.node.mut_store();
        if let Some(meta) = &snapshot {
            log.restore(meta);
        }
        log.append(entries);
        if let Some(state) = hard_state {
            log.set_hard_state(state);
        }
        let hard_state = hard_state.or((!is_effective).then(|| log.hard_state()));
        self.node.advance_append_async(ready);

        if snapshot.is_some() || hard_state.is_some() || !persisted.is_empty() {
            out.persist.push(Persist { seq, snapshot, entries: persisted, hard_state, must_sync });
        }
        self.begin_sync(seq, must_sync);
        self.hand_out(seq, is_effective, &committed, out);
        if self.is_term_durable() && self.syncs.ineffective.is_empty() {
            self.send(now, out);
        } else {
            self.hold(now, out);
        }
        self.hold(held, out);
        committed_bytes
    }

    /// A leader usually has its term on disk, for it has asked for votes in it. A sole voter asks nobody: were its
    /// learners to hear of a term that a crash makes it forget, it would lead the same term twice with different entries.
    pub(crate) fn is_term_durable(&self) -> bool {
        self.syncs.durable_term == self.node.raft.term
    }

    /// Hands committed entries out, or keeps them until this batch is durable, and with it those before it.
    fn hand_out(&mut self, seq: u64, is_effective: bool, committed: &[eraftpb::Entry], out: &mut Effects) {
        if committed.is_empty() {
            return;
        }
        let entries = committed.iter().map(Entry::from_raft);
        if is_effective && self.syncs.ineffective.is_empty() {
            out.committed.extend(entries);
        } else {
            althing_probe::hit(Mark::ChangeHeld);
            self.syncs.ineffective.push_back((seq, entries.collect()));
        }
    }

    fn begin_sync(&mut self, seq: u64, must_sync: bool) {
        self.syncs.last_number = seq;
        if must_sync {
            let HardState { term, commit, .. } = self.hard_state();
            self.syncs.outstanding.push_back(Outstanding { seq, term, commit });
        } else if self.syncs.is_idle() {
            self.node.on_persist_ready(seq);
        }
    }

    /// Batch `seq` and all before it are durable: what was promised of them may be said.
    pub(crate) fn persisted(&mut self, seq: u64, out: &mut Effects) {
        let syncs = &mut self.syncs;
        while let Some(batch) = syncs.outstanding.front().filter(|batch| batch.seq <= seq) {
            syncs.durable_term = batch.term;
            syncs.durable_commit = batch.commit;
            syncs.outstanding.pop_front();
        }
        // Batches that need no sync of their own are as good as durable with the one before them.
        let upto = syncs.outstanding.front().map_or(syncs.last_number, |batch| batch.seq - 1);
        let count = syncs.held.partition_point(|(held_for, _)| *held_for <= seq);
        let released: Vec<_> = syncs.held.drain(..count).map(|(_, message)| message).collect();
        self.node.on_persist_ready(upto);
        self.finish_install();
        self.send(released, out);
    }

    /// The log says durably that it begins with the snapshot.
    fn finish_install(&mut self) {
        let Some(index) = self.installing.as_ref().map(|installing| installing.index) else { return };
        if self.node.raft.raft_log.persisted >= index && self.node.snap().is_none() {
            althing_probe::hit(Mark::SnapshotInstalled);
            self.installing = None;
            self.advance_applied(index);
        }
    }

    /// Sends what promises nothing that is not durable yet, and keeps the rest.
    fn hold(&mut self, messages: Vec<eraftpb::Message>, out: &mut Effects) {
        let last = self.syncs.outstanding.back().map(|batch| batch.seq);
        let Some(last) = last.filter(|_| !althing_probe::is(Mutant::PromiseBeforeDurable)) else {
            return self.send(messages, out);
        };
        let (prompt, held): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| self.is_prompt(message));
        prompt.iter().for_each(|_| althing_probe::hit(Mark::PromptWord));
        held.iter().for_each(|_| althing_probe::hit(Mark::MessageHeld));
        self.syncs.held.extend(held.into_iter().map(|message| (last, message)));
        self.send(prompt, out);
    }

    /// A follower's word that it still knows its leader, and its question for a read index, say nothing of the log.
    /// They need not wait for a disk that is busy with entries, once the term that they speak of is durable.
    fn is_prompt(&self, message: &eraftpb::Message) -> bool {
        self.is_term_durable()
            && matches!(message.get_msg_type(), MessageType::MsgHeartbeatResponse | MessageType::MsgReadIndex)
    }

    /// Hands messages out, in the order of their receivers: the raft crate's own order is that of a hash map.
    fn send(&mut self, mut messages: Vec<eraftpb::Message>, out: &mut Effects) {
        messages.sort_by_key(|message| message.to);
        for message in messages {
            mark_refusal(&message);
            match message.get_msg_type() {
                MessageType::MsgSnapshot => self.want_snapshot(&message, out),
                MessageType::MsgAppend => {
                    if let Some(message) = self.place_append(message) {
                        split_append(message, &mut out.messages);
                    }
                }
                MessageType::MsgHeartbeat => out.messages.push(match self.as_hibernate(&message) {
                    Some(signal) => Message::signal(self.config.id, NodeId(message.to), signal),
                    None => Message::raft(message),
                }),
                MessageType::MsgHup
                | MessageType::MsgBeat
                | MessageType::MsgPropose
                | MessageType::MsgAppendResponse
                | MessageType::MsgRequestVote
                | MessageType::MsgRequestVoteResponse
                | MessageType::MsgHeartbeatResponse
                | MessageType::MsgUnreachable
                | MessageType::MsgSnapStatus
                | MessageType::MsgCheckQuorum
                | MessageType::MsgTransferLeader
                | MessageType::MsgTimeoutNow
                | MessageType::MsgReadIndex
                | MessageType::MsgReadIndexResp
                | MessageType::MsgRequestPreVote
                | MessageType::MsgRequestPreVoteResponse => out.messages.push(Message::raft(message)),
            }
        }
    }
}

impl Replica {
    /// An append whose place is the one before its first entry.
    ///
    /// The raft crate joins entries to an append to the same follower that waits already. If that one carries none, only
    /// the commit index, it does not look where it stands (`util::is_continuous_ents`); and after a rejection in the same
    /// turn the entries begin before it. Entries that travel without their indices would be taken for others.
    fn place_append(&self, mut message: eraftpb::Message) -> Option<eraftpb::Message> {
        let first = message.entries.first().map_or(message.index + 1, |entry| entry.index);
        if first != message.index + 1 && !althing_probe::is(Mutant::MisplacedAppends) {
            althing_probe::hit(Mark::AppendPlaced);
            message.index = first - 1;
            // What was truncated meanwhile cannot be appended to: the follower's next answer asks for a snapshot.
            message.log_term = self.node.raft.raft_log.term(message.index).ok()?;
        }
        Some(message)
    }
}

fn mark_refusal(message: &eraftpb::Message) {
    match message.get_msg_type() {
        MessageType::MsgRequestPreVoteResponse if message.reject => althing_probe::hit(Mark::PreVoteRefused),
        MessageType::MsgRequestVoteResponse if message.reject => althing_probe::hit(Mark::VoteRefused),
        _ => {}
    }
}

/// The raft crate joins all appends of a turn to one follower into one message, however large. Here it is cut again, so
/// that each fits a frame.
fn split_append(mut message: eraftpb::Message, out: &mut Vec<Message>) {
    let total: usize = message.entries.iter().map(entry_cost).sum();
    if total <= MAX_APPEND_BYTES {
        out.push(Message::raft(message));
        return;
    }
    let entries = message.take_entries().into_vec();
    let mut part = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let cost = entry_cost(&entry);
        if !part.is_empty() && bytes + cost > MAX_APPEND_BYTES {
            out.push(append_part(&mut message, std::mem::take(&mut part)));
            bytes = 0;
        }
        bytes += cost;
        part.push(entry);
    }
    out.push(append_part(&mut message, part));
}

/// A message with `part`, after which `rest` stands at the part's end.
fn append_part(rest: &mut eraftpb::Message, part: Vec<eraftpb::Entry>) -> Message {
    let end = part.last().map_or((rest.index, rest.log_term), |entry| (entry.index, entry.term));
    let mut message = rest.clone();
    message.set_entries(part.into());
    (rest.index, rest.log_term) = end;
    Message::raft(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Body;

    fn append(sizes: &[usize]) -> eraftpb::Message {
        let mut message = eraftpb::Message { to: 2, from: 1, term: 3, index: 10, log_term: 1, ..Default::default() };
        message.set_msg_type(MessageType::MsgAppend);
        let entry = |(index, size): (u64, &usize)| eraftpb::Entry {
            index,
            term: if index < 13 { 2 } else { 3 },
            data: vec![0; *size].into(),
            ..Default::default()
        };
        message.set_entries((11..).zip(sizes).map(entry).collect::<Vec<_>>().into());
        message
    }

    /// Where each part begins and what it carries.
    fn parts(sizes: &[usize]) -> Vec<(u64, u64, usize)> {
        let mut out = Vec::new();
        split_append(append(sizes), &mut out);
        out.iter()
            .map(|message| match &message.body {
                Body::Raft(message) => (message.index, message.log_term, message.entries.len()),
                Body::Signal(signal) => panic!("{signal:?} is no append"),
            })
            .collect()
    }

    #[test]
    fn an_append_that_fits_a_frame_stays_whole() {
        assert_eq!(parts(&[]), [(10, 1, 0)]);
        assert_eq!(parts(&[100, 100]), [(10, 1, 2)]);
    }

    #[test]
    fn a_large_append_is_cut_into_parts_that_follow_each_other() {
        let third = MAX_APPEND_BYTES / 3;
        assert_eq!(parts(&[third; 7]), [(10, 1, 3), (13, 3, 3), (16, 3, 1)]);
        assert_eq!(parts(&[third, MAX_APPEND_BYTES * 2, third]), [(10, 1, 1), (11, 2, 1), (12, 2, 1)]);
    }
}
