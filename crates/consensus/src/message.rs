//! What replicas of one group say to each other.

use althing_types::NodeId;
use raft::eraftpb;

use crate::hibernation::Signal;
use crate::types::LogPosition;

/// A message from one replica of a group to another.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) body: Body,
}

/// Raft's own messages are kept in the raft crate's form, so that nothing is copied on the way in or out.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Body {
    /// A message of the protocol.
    Raft(eraftpb::Message),
    /// A word about sleep, outside of the protocol.
    Signal(Signal),
}

/// What kind of message it is, for metrics and traces. The numbers are on the wire and are never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum MessageKind {
    /// Entries, or the news of a commit (AppendEntries).
    Append = 0,
    /// The answer to `Append`, and to a snapshot.
    AppendResponse = 1,
    /// A candidate asks for a vote (RequestVote).
    RequestVote = 2,
    /// A vote, or its refusal.
    RequestVoteResponse = 3,
    /// The leader is there; also the question that confirms a read.
    Heartbeat = 4,
    /// The answer to `Heartbeat`.
    HeartbeatResponse = 5,
    /// The leader hands over: hold an election now.
    TimeoutNow = 6,
    /// A follower asks the leader for a read index.
    ReadIndex = 7,
    /// The answer to `ReadIndex`.
    ReadIndexResponse = 8,
    /// Would you vote for me?
    RequestPreVote = 9,
    /// The answer to `RequestPreVote`.
    RequestPreVoteResponse = 10,
    /// A leader that has nothing to do proposes to sleep. It is a heartbeat as well.
    Hibernate = 11,
    /// A follower has gone to sleep.
    Hibernating = 12,
    /// A follower that was woken wakes its leader.
    Awaken = 13,
}

impl Message {
    /// The sender.
    #[must_use]
    pub const fn from(&self) -> NodeId {
        self.from
    }

    /// The receiver.
    #[must_use]
    pub const fn to(&self) -> NodeId {
        self.to
    }

    /// The sender's term; zero for a `ReadIndex`, which has none.
    #[must_use]
    pub const fn term(&self) -> u64 {
        match &self.body {
            Body::Raft(message) => message.term,
            Body::Signal(signal) => signal.term(),
        }
    }

    /// What kind of message it is.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match &self.body {
            Body::Raft(message) => raft_kind(message),
            Body::Signal(Signal::Hibernate { .. }) => MessageKind::Hibernate,
            Body::Signal(Signal::Hibernating { .. }) => MessageKind::Hibernating,
            Body::Signal(Signal::Awaken { .. }) => MessageKind::Awaken,
        }
    }

    /// Bytes of entries that it carries.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        match &self.body {
            Body::Raft(message) => message.entries.iter().map(entry_cost).sum(),
            Body::Signal(_) => 0,
        }
    }

    /// Where the log ends of whoever stands for election with this message: a request for a vote, or for one before the vote.
    /// `None` for all others.
    #[must_use]
    pub fn candidate_log(&self) -> Option<LogPosition> {
        let (Body::Raft(message), MessageKind::RequestVote | MessageKind::RequestPreVote) = (&self.body, self.kind())
        else {
            return None;
        };
        Some(LogPosition { index: message.index, term: message.log_term })
    }

    /// The indices and terms of the entries that it carries, as whoever receives it will read them; for the simulator.
    pub fn appends(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let entries: &[eraftpb::Entry] = match &self.body {
            Body::Raft(message) => &message.entries,
            Body::Signal(_) => &[],
        };
        let place = match &self.body {
            Body::Raft(message) => message.index,
            Body::Signal(_) => 0,
        };
        let is_append = self.kind() == MessageKind::Append;
        (place + 1..).zip(entries).filter(move |_| is_append).map(|(index, entry)| (index, entry.term))
    }

    pub(crate) fn raft(message: eraftpb::Message) -> Self {
        Self { from: NodeId(message.from), to: NodeId(message.to), body: Body::Raft(message) }
    }

    pub(crate) fn signal(from: NodeId, to: NodeId, signal: Signal) -> Self {
        Self { from, to, body: Body::Signal(signal) }
    }
}

/// Bytes that an entry takes in a message.
pub(crate) fn entry_cost(entry: &eraftpb::Entry) -> usize {
    entry.data.len() + entry.context.len()
}

fn raft_kind(message: &eraftpb::Message) -> MessageKind {
    use eraftpb::MessageType;
    match message.get_msg_type() {
        MessageType::MsgAppend => MessageKind::Append,
        MessageType::MsgAppendResponse => MessageKind::AppendResponse,
        MessageType::MsgRequestVote => MessageKind::RequestVote,
        MessageType::MsgRequestVoteResponse => MessageKind::RequestVoteResponse,
        MessageType::MsgHeartbeat => MessageKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => MessageKind::HeartbeatResponse,
        MessageType::MsgTimeoutNow => MessageKind::TimeoutNow,
        MessageType::MsgReadIndex => MessageKind::ReadIndex,
        MessageType::MsgReadIndexResp => MessageKind::ReadIndexResponse,
        MessageType::MsgRequestPreVote => MessageKind::RequestPreVote,
        MessageType::MsgRequestPreVoteResponse => MessageKind::RequestPreVoteResponse,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgSnapshot
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => {
            unreachable!("a message that stays within its replica was about to be sent: {message:?}")
        }
    }
}
