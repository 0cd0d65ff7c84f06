//! What can happen to a replica, and why it may refuse.

use althing_types::NodeId;
use bytes::Bytes;

use crate::conf::ConfChange;
use crate::message::Message;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// One tick of monotonic time passed.
    Tick,
    /// A message arrived from a peer.
    Step(Message),
    /// A client's command is to be appended to the log. Leader only.
    Propose {
        /// The command, opaque to Raft.
        data: Bytes,
    },
    /// Members are to be changed. Leader only, one at a time. A change may still be lost with its leader: propose again
    /// when the leader has changed and the configuration has not.
    ProposeConfChange {
        /// The change.
        change: ConfChange,
        /// What the state machine wants to know of it, opaque to Raft.
        data: Bytes,
    },
    /// A linearizable read asks for the commit index as of now. It is answered by `Effects::reads` once the
    /// leader has confirmed its leadership, or never: the caller asks again with a new context.
    ReadIndex {
        /// Names the read; never used twice by this node in this run.
        context: u64,
    },
    /// Another voter is to lead. Leader only.
    TransferLeader {
        /// The successor.
        to: NodeId,
    },
    /// Hold an election now, whatever the timeout says.
    Campaign,
    /// The `persist` batch `seq` and all before it are durable.
    Persisted {
        /// The batch.
        seq: u64,
    },
    /// The state machine has applied all up to `index`.
    Applied {
        /// The last index applied.
        index: u64,
    },
    /// A message to this peer was lost.
    Unreachable(NodeId),
    /// The stream of a snapshot that was wanted has ended.
    SnapshotSent {
        /// The receiver.
        to: NodeId,
        /// Whether the receiver reported it as durable.
        ok: bool,
    },
    /// The log up to and including `index` is no longer needed.
    Truncate {
        /// The last index to drop.
        index: u64,
    },
    /// Somebody suspects that something is wrong with the group, or will soon need it: do not sleep.
    Wake,
}

/// Why an input had no effect. Nothing of it was done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Ask the leader, or wait for one.
    #[error("this replica does not lead")]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
    /// Propose less.
    #[error("a proposal of {bytes} bytes is above the limit of {limit}")]
    TooLarge {
        /// The proposal's size.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Try again when entries have been committed.
    #[error("too many bytes wait to be committed")]
    Overloaded,
    /// Try again with the new leader.
    #[error("leadership is being transferred to {to}")]
    Transferring {
        /// The successor.
        to: NodeId,
    },
    /// Try again when the pending change has been applied.
    #[error("another change of the configuration is pending")]
    ConfChangePending,
    /// The change makes no sense for the present configuration.
    #[error("the change of the configuration is invalid: {reason}")]
    InvalidConfChange {
        /// Why.
        reason: String,
    },
    /// Only a voter can lead.
    #[error("{node} is not a voter")]
    NotVoter {
        /// The node named.
        node: NodeId,
    },
}

/// Why a snapshot was not installed. Its data is to be dropped: the replica goes on with what it has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotRefused {
    /// The replica's own log reaches as far or further.
    #[error("the snapshot at {index} brings nothing new: the log is committed up to {commit}")]
    NothingNew {
        /// The snapshot's index.
        index: u64,
        /// The replica's commit index after the attempt.
        commit: u64,
    },
    /// The snapshot's configuration does not name this replica.
    #[error("the snapshot's configuration does not name this replica")]
    NotMember,
    /// The sender no longer leads, and nobody else is known to. The same snapshot may be tried again later.
    #[error("the sender's term {sender} is over; this replica is at {term}")]
    Stale {
        /// The sender's term.
        sender: u64,
        /// The replica's term.
        term: u64,
    },
}
