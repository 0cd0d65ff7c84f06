//! Snapshots. The data travels outside of the protocol; Raft only learns that the state machine stands elsewhere now.

use althing_probe::Mark;
use althing_types::NodeId;
use raft::eraftpb::{self, MessageType};

use crate::effects::{Effects, SnapshotWanted};
use crate::input::SnapshotRefused;
use crate::replica::Replica;
use crate::types::SnapshotMeta;

/// A snapshot that Raft has taken over and the log has not yet made durable. Until then the replica holds no election:
/// the raft crate would look for entries below the snapshot that are gone.
#[derive(Clone, Debug)]
pub(crate) struct Installing {
    /// Where the snapshot stands.
    pub(crate) index: u64,
    /// Those of its configuration: the raft crate does not carry them.
    pub(crate) epoch: u64,
    pub(crate) joined: Vec<(NodeId, u64)>,
}

impl Replica {
    /// Takes over a snapshot whose data is durable. `from` sent it as the leader of `leader_term`. On success the log
    /// is replaced, and the host switches to the snapshot's data when the `persist` batch that says so is durable; on
    /// refusal the data is to be dropped.
    pub fn install_snapshot(
        &mut self,
        meta: SnapshotMeta,
        from: NodeId,
        leader_term: u64,
        out: &mut Effects,
    ) -> Result<(), SnapshotRefused> {
        if !meta.conf_state.contains(self.config.id) {
            return Err(SnapshotRefused::NotMember);
        }
        let index = meta.index;
        let (from, term) = self.snapshot_sender(&meta, from, leader_term)?;
        self.flush_proposals();
        self.wake();
        let mut message = eraftpb::Message {
            from: from.get(),
            to: self.config.id.get(),
            term,
            index: 0,
            ..eraftpb::Message::default()
        };
        message.set_msg_type(MessageType::MsgSnapshot);
        message.set_snapshot(meta.to_raft());
        self.step_raft(message);
        let taken = self.node.snap().is_some_and(|snapshot| snapshot.get_metadata().index == index);
        if taken {
            let (epoch, joined) = (meta.conf_state.epoch, meta.conf_state.joined);
            self.installing = Some(Installing { index, epoch, joined });
            self.syncs.forget_ineffective();
            self.metrics.snapshots_installed += 1;
        }
        self.finish_input(out);
        if taken { Ok(()) } else { Err(SnapshotRefused::NothingNew { index, commit: self.commit() }) }
    }

    /// A snapshot is committed state, and so of use to every later leader as well: if the sender no longer leads, it
    /// counts as the present leader's. It never counts as sent in a term before its own last entry's: the log would then be
    /// ahead of the hard state.
    fn snapshot_sender(
        &self,
        meta: &SnapshotMeta,
        from: NodeId,
        leader_term: u64,
    ) -> Result<(NodeId, u64), SnapshotRefused> {
        let term = self.term();
        if leader_term >= term && leader_term >= meta.term {
            return Ok((from, leader_term));
        }
        match self.leader() {
            Some(leader) if leader != self.config.id && term >= meta.term => Ok((leader, term)),
            Some(_) | None => Err(SnapshotRefused::Stale { sender: leader_term, term }),
        }
    }

    /// Raft would send a snapshot: the host is asked for one instead.
    pub(crate) fn want_snapshot(&mut self, message: &eraftpb::Message, out: &mut Effects) {
        self.metrics.snapshots_wanted += 1;
        althing_probe::hit(Mark::SnapshotWanted);
        let at_least = message.get_snapshot().get_metadata().index;
        out.snapshot_wanted.push(SnapshotWanted { to: NodeId(message.to), at_least });
    }
}
