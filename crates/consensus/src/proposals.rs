//! Proposals of a turn are gathered and given to Raft as one, which costs a fraction of one by one.
//!
//! Whether a proposal is accepted is decided when it comes, by what the raft crate would say. Nothing that could change
//! its mind happens in between: whatever might end this leadership flushes first.

use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::{self, MessageType};

use althing_types::limits::{MAX_REQUEST_BYTES, MAX_REQUEST_OVERHEAD_BYTES, MAX_UNCOMMITTED_BYTES};

use crate::input::Refused;
use crate::replica::Replica;

/// Bytes of one proposal: a request and what its encoding adds.
const MAX_PROPOSAL_BYTES: usize = MAX_REQUEST_BYTES + MAX_REQUEST_OVERHEAD_BYTES;

/// Proposals accepted in this turn and not yet given to Raft.
#[derive(Default)]
pub(crate) struct Proposals {
    entries: Vec<eraftpb::Entry>,
    bytes: usize,
}

impl Proposals {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Replica {
    pub(crate) fn propose(&mut self, data: Bytes) -> Result<(), Refused> {
        self.check_proposal(data.len())?;
        self.wake();
        self.metrics.proposals += 1;
        self.proposals.bytes += data.len();
        self.proposals.entries.push(eraftpb::Entry { data, ..eraftpb::Entry::default() });
        Ok(())
    }

    /// What every proposal must pass, a change of the configuration included.
    pub(crate) fn check_proposal(&self, bytes: usize) -> Result<(), Refused> {
        self.check_leader()?;
        if bytes > MAX_PROPOSAL_BYTES {
            return Err(Refused::TooLarge { bytes, limit: MAX_PROPOSAL_BYTES });
        }
        let waiting = self.node.raft.uncommitted_size() + self.proposals.bytes;
        if waiting + bytes > MAX_UNCOMMITTED_BYTES {
            return Err(Refused::Overloaded);
        }
        Ok(())
    }

    /// Leads, and is not about to hand over.
    pub(crate) fn check_leader(&self) -> Result<(), Refused> {
        if self.node.raft.state != StateRole::Leader {
            return Err(Refused::NotLeader { leader: self.leader() });
        }
        match self.transferring() {
            Some(to) => Err(Refused::Transferring { to }),
            None => Ok(()),
        }
    }

    /// Gives what was gathered to Raft.
    pub(crate) fn flush_proposals(&mut self) {
        if self.proposals.is_empty() {
            return;
        }
        let Proposals { entries, .. } = std::mem::take(&mut self.proposals);
        let mut message = eraftpb::Message { from: self.config.id.get(), ..eraftpb::Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(entries.into());
        self.node.raft.step(message).expect("proposals that were accepted are not refused later");
        self.send_all_entries();
    }

    /// Raft sends each follower one message of bounded size per proposal. As many proposals came as one, what is left
    /// over is sent here, as far as the window of messages in flight allows.
    fn send_all_entries(&mut self) {
        let raft = &mut self.node.raft;
        let last = raft.raft_log.last_index();
        let own = raft.id;
        let peers: Vec<u64> = raft.prs().iter().map(|(id, _)| *id).filter(|id| *id != own).collect();
        for peer in peers {
            while let Some(progress) = raft.prs().get(peer) {
                let next = progress.next_idx;
                if progress.state != raft::ProgressState::Replicate || progress.is_paused() || next > last {
                    break;
                }
                raft.send_append(peer);
                if raft.prs().get(peer).is_none_or(|progress| progress.next_idx <= next) {
                    break;
                }
            }
        }
    }
}
