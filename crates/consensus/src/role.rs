//! What a replica is at the moment, as values for the host.

use althing_types::NodeId;

/// The state of a replica (dissertation, figure 3.3, with pre-vote and learners).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It has no configuration that names it and waits for a snapshot, or a snapshot is being made durable.
    Recovering,
    /// It follows a leader, or waits for one.
    Follower {
        /// The leader of the current term, if known.
        leader: Option<NodeId>,
    },
    /// It asks whether an election would succeed, without disturbing anybody (dissertation, 9.6).
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It leads the current term.
    Leader {
        /// Whom it is handing leadership to.
        transferring: Option<NodeId>,
    },
    /// It receives the log and has no vote.
    Learner {
        /// The leader of the current term, if known.
        leader: Option<NodeId>,
    },
    /// The configuration that it last applied no longer names it.
    Removed,
}

/// How a leader replicates to a follower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProgressState {
    /// Looking for the place where the logs agree, one message at a time.
    Probe,
    /// Streaming entries.
    Replicate,
    /// Waiting for the end of a snapshot.
    Snapshot,
}

/// What a leader knows of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The highest index known to be durable there in agreement with the leader's log.
    pub match_index: u64,
    /// The next index to send.
    pub next_index: u64,
    /// How it is replicated to.
    pub state: ProgressState,
    /// Whether it was heard of within the last election timeout.
    pub recent_active: bool,
}
