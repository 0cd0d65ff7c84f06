//! The nouns of Raft as values of our own: entries, positions, hard state and configurations.

use althing_types::NodeId;
use bytes::Bytes;

/// What an entry is for. The numbers are on disk and on the wire and are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EntryKind {
    /// A command of the state machine; no data at all is a new leader's own first entry and changes nothing.
    Normal = 0,
    /// A change of the configuration, see [`conf_change`](crate::conf_change).
    ConfChange = 1,
}

/// One entry of the log. A clone shares the data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Position in the log; the first entry of all has index 1.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// What it is for.
    pub kind: EntryKind,
    /// What was proposed, opaque to Raft.
    pub data: Bytes,
}

/// An index of the log and the term of the entry there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct LogPosition {
    /// The index; 0 is the place before the first entry.
    pub index: u64,
    /// The term of the entry at `index`.
    pub term: u64,
}

/// What a replica must not forget (Raft's persistent state, figure 2), besides the log itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HardState {
    /// The latest term the replica has seen.
    pub term: u64,
    /// Whom it voted for in that term; [`NodeId::NONE`] for nobody.
    pub vote: NodeId,
    /// An index that is known to be committed. It may lag behind the truth after a crash.
    pub commit: u64,
}

/// Who votes and who listens. All lists are sorted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ConfState {
    /// The voters; in a joint configuration the incoming ones.
    pub voters: Vec<NodeId>,
    /// Replicas that receive the log and do not vote.
    pub learners: Vec<NodeId>,
    /// The outgoing voters of a joint configuration; empty otherwise.
    pub voters_outgoing: Vec<NodeId>,
    /// Outgoing voters that become learners when the joint configuration is left.
    pub learners_next: Vec<NodeId>,
    /// Whether the leader leaves the joint configuration by itself.
    pub auto_leave: bool,
    /// The index of the entry that made it so; 0 if the group was born with it. So a later configuration has a greater one, and
    /// all replicas give one configuration the same: what goes beside the log can say by which it goes.
    pub epoch: u64,
    /// Voters, incoming and outgoing, that were not born with the group, each with the index of the entry by which it has come to vote. One
    /// that went and came back has that of its return. Sorted by node.
    pub joined: Vec<(NodeId, u64)>,
}

impl ConfState {
    /// A configuration of voters only.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        let mut voters: Vec<_> = voters.into_iter().collect();
        voters.sort_unstable();
        voters.dedup();
        Self { voters, ..Self::default() }
    }

    /// Whether a change is half way: both the incoming and the outgoing voters must agree (dissertation, 4.3).
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether `node` has a vote, be it as an incoming or an outgoing voter.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.voters_outgoing.contains(&node)
    }

    /// The epoch since which `node` has had a vote without a break, if it has one.
    #[must_use]
    pub fn voter_since(&self, node: NodeId) -> Option<u64> {
        let joined = self.joined.iter().find(|(voter, _)| *voter == node);
        self.is_voter(node).then(|| joined.map_or(0, |(_, since)| *since))
    }

    /// This one as the raft crate gives it, as what the entry at this index makes of `before`.
    pub(crate) fn made_of(self, before: &Self, index: u64) -> Self {
        let mut voters = [&self.voters[..], &self.voters_outgoing].concat();
        voters.sort_unstable();
        voters.dedup();
        let since = |node: NodeId| (node, before.voter_since(node).unwrap_or(index));
        let joined = voters.into_iter().map(since).filter(|(_, since)| *since > 0).collect();
        Self { epoch: index, joined, ..self }
    }

    /// Whether `node` receives the log.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.contains(&node)
    }

    /// Everybody who receives the log, sorted.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        let mut members: Vec<_> =
            self.voters.iter().chain(&self.voters_outgoing).chain(&self.learners).copied().collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    pub(crate) fn to_raft(&self) -> raft::eraftpb::ConfState {
        let mut state = raft::eraftpb::ConfState::default();
        state.set_voters(ids(&self.voters));
        state.set_learners(ids(&self.learners));
        state.set_voters_outgoing(ids(&self.voters_outgoing));
        state.set_learners_next(ids(&self.learners_next));
        state.set_auto_leave(self.auto_leave);
        state
    }

    /// Without its epoch and when its voters joined, which the raft crate does not know.
    pub(crate) fn from_raft(state: &raft::eraftpb::ConfState) -> Self {
        Self {
            voters: sorted(state.get_voters()),
            learners: sorted(state.get_learners()),
            voters_outgoing: sorted(state.get_voters_outgoing()),
            learners_next: sorted(state.get_learners_next()),
            auto_leave: state.get_auto_leave(),
            epoch: 0,
            joined: Vec::new(),
        }
    }
}

fn ids(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.get()).collect()
}

/// The raft crate keeps configurations in hash sets: their order means nothing and must not be seen.
fn sorted(ids: &[u64]) -> Vec<NodeId> {
    let mut nodes: Vec<_> = ids.iter().copied().map(NodeId).collect();
    nodes.sort_unstable();
    nodes
}

/// What Raft must know of a snapshot of the state machine: where in the log it stands, and who was a member there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotMeta {
    /// The index of the last entry that the snapshot covers.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// The configuration as of that entry.
    pub conf_state: ConfState,
}

/// Entries of the two worlds. The raft crate keeps a configuration change as protobuf in `data`, which only the leader
/// that proposes it ever reads; our own encoding travels and is stored as `context`. So nothing that comes from a wire
/// or a disk is ever parsed as protobuf.
impl Entry {
    pub(crate) fn from_raft(entry: &raft::eraftpb::Entry) -> Self {
        use raft::eraftpb::EntryType;
        let (kind, data) = match entry.get_entry_type() {
            EntryType::EntryNormal => (EntryKind::Normal, &entry.data),
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => (EntryKind::ConfChange, &entry.context),
        };
        Self { index: entry.index, term: entry.term, kind, data: data.clone() }
    }

    pub(crate) fn into_raft(self) -> raft::eraftpb::Entry {
        use raft::eraftpb::EntryType;
        let mut entry = raft::eraftpb::Entry { index: self.index, term: self.term, ..Default::default() };
        match self.kind {
            EntryKind::Normal => entry.data = self.data,
            EntryKind::ConfChange => {
                entry.set_entry_type(EntryType::EntryConfChangeV2);
                entry.context = self.data;
            }
        }
        entry
    }
}

impl SnapshotMeta {
    pub(crate) fn to_raft(&self) -> raft::eraftpb::Snapshot {
        let mut snapshot = raft::eraftpb::Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.set_index(self.index);
        metadata.set_term(self.term);
        metadata.set_conf_state(self.conf_state.to_raft());
        snapshot
    }

    pub(crate) fn from_raft(snapshot: &raft::eraftpb::Snapshot) -> Self {
        let metadata = snapshot.get_metadata();
        let conf_state = ConfState::from_raft(metadata.get_conf_state());
        Self { index: metadata.index, term: metadata.term, conf_state }
    }
}
