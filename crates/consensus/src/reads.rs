//! Linearizable reads by ReadIndex (dissertation, 6.4).
//!
//! The leader notes its commit index, asks a quorum whether it still leads, and gives the index back once they have
//! confirmed it. A leader that has not committed in its own term may be behind its predecessor's commits; the raft
//! crate drops a read in silence then, so such reads wait here for the term's first commit.
//!
//! ```text
//! context on the wire:  node u64 · incarnation u64 · the caller's context u64      little-endian, 24 bytes
//! ```
//!
//! The raft crate tells reads apart by these bytes alone. With the node in them two nodes never share one, and with the
//! incarnation an answer to a read of an earlier run is never taken for an answer to a read of this one.

use std::collections::VecDeque;

use althing_probe::{Mark, Mutant};
use raft::eraftpb;
use raft::{ReadState, StateRole};

use crate::effects::{Effects, ReadReady};
use crate::replica::Replica;

/// Bytes of a read context.
pub(crate) const CONTEXT_BYTES: usize = 24;

/// Reads that wait for a term's first commit. Beyond it the oldest are dropped: their callers ask again.
const MAX_WAITING_READS: usize = 1024;

/// Reads that a new leader cannot answer yet: each a `MsgReadIndex`, from this node (sender zero) or from a follower.
#[derive(Default)]
pub(crate) struct WaitingReads(VecDeque<eraftpb::Message>);

impl WaitingReads {
    pub(crate) fn push(&mut self, read: eraftpb::Message) {
        if self.0.len() == MAX_WAITING_READS {
            self.0.pop_front();
        }
        self.0.push_back(read);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Replica {
    pub(crate) fn read_index(&mut self, context: u64) {
        self.metrics.reads += 1;
        self.wake();
        self.flush_proposals();
        let mut read = eraftpb::Message::default();
        read.set_msg_type(eraftpb::MessageType::MsgReadIndex);
        let data = self.read_context(context).to_vec().into();
        read.set_entries(vec![eraftpb::Entry { data, ..eraftpb::Entry::default() }].into());
        self.step_read(read);
    }

    /// Gives a read to Raft, or has it wait.
    pub(crate) fn step_read(&mut self, read: eraftpb::Message) {
        if self.node.raft.state == StateRole::Leader && !self.can_serve_reads() {
            althing_probe::hit(Mark::ReadWaitedForCommit);
            self.waiting_reads.push(read);
        } else if read.from == raft::INVALID_ID && self.leads() && althing_probe::is(Mutant::ReadWithoutQuorum) {
            let (index, request_ctx) = (self.commit(), read.entries[0].data.to_vec());
            self.node.raft.read_states.push(ReadState { index, request_ctx });
        } else {
            self.step_raft(read);
        }
    }

    /// Whether a read asked for now would be answered without waiting for the term's first commit.
    #[must_use]
    pub fn can_serve_reads(&self) -> bool {
        self.leads() && self.node.raft.commit_to_current_term()
    }

    /// Lets reads go on whose wait is over: the term has its first commit, or somebody else leads.
    pub(crate) fn release_waiting_reads(&mut self) {
        if self.waiting_reads.is_empty() {
            return;
        }
        match self.node.raft.state {
            StateRole::Leader if !self.can_serve_reads() => {}
            StateRole::Leader => {
                for read in std::mem::take(&mut self.waiting_reads.0) {
                    self.step_raft(read);
                }
            }
            // Our own are sent on to the new leader if one is known. Those of others are theirs to ask again.
            StateRole::Follower | StateRole::PreCandidate | StateRole::Candidate => {
                for read in std::mem::take(&mut self.waiting_reads.0) {
                    althing_probe::hit(Mark::ReadLostLeader);
                    if read.from == raft::INVALID_ID {
                        self.step_raft(read);
                    }
                }
            }
        }
    }

    pub(crate) fn take_reads(&mut self, states: Vec<ReadState>, out: &mut Effects) {
        for state in states {
            if let Some(context) = self.own_context(&state.request_ctx) {
                self.metrics.reads_ready += 1;
                out.reads.push(ReadReady { context, index: state.index });
            }
        }
    }

    fn read_context(&self, context: u64) -> [u8; CONTEXT_BYTES] {
        let mut bytes = [0; CONTEXT_BYTES];
        bytes[..8].copy_from_slice(&self.config.id.get().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.config.incarnation.to_le_bytes());
        bytes[16..].copy_from_slice(&context.to_le_bytes());
        bytes
    }

    /// The caller's context, if the read is this node's and of this run.
    fn own_context(&self, bytes: &[u8]) -> Option<u64> {
        let context = u64::from_le_bytes(*bytes.last_chunk::<8>()?);
        (self.read_context(context) == bytes).then_some(context)
    }
}
