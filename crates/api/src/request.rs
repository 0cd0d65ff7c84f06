//! One request, one answer.

use althing_types::{ClusterId, LeaseId, NodeId, Revision};

use crate::cluster::{Alarm, AlarmAction, AlarmKind, HashKv, Member, NodeStatus};
use crate::keyed::{KeyedAnswer, KeyedRequest};
use crate::kv::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, TxnRequest,
    TxnResponse,
};
use crate::lease::{LeaseGranted, LeaseStatus};

/// What is asked. The comment of each variant says who answers it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// Any node, after the leader's ReadIndex if linearizable.
    Range(RangeRequest),
    /// Through the log.
    Put(PutRequest),
    /// Through the log.
    DeleteRange(DeleteRangeRequest),
    /// Through the log, or as a read if it cannot write.
    Txn(TxnRequest),
    /// Through the log. `physical` waits until the space is really given back on the answering node.
    Compact {
        /// Versions that are superseded at or below this revision go.
        revision: Revision,
        /// Wait for the removal itself.
        physical: bool,
    },
    /// Through the log. Without an id the node that was asked chooses one.
    LeaseGrant {
        /// The id wanted.
        id: Option<LeaseId>,
        /// Seconds to live.
        ttl_seconds: i64,
    },
    /// Through the log; removes the keys that are attached.
    LeaseRevoke(LeaseId),
    /// The leader, after it has confirmed that it still is.
    LeaseKeepAlive(LeaseId),
    /// The leader, after it has confirmed that it still is.
    LeaseTimeToLive {
        /// Which lease.
        id: LeaseId,
        /// List the keys attached as well.
        keys: bool,
    },
    /// Any node, after the leader's ReadIndex.
    LeaseLeases,
    /// Any node, after the leader's ReadIndex if linearizable.
    MemberList {
        /// Whether a stale answer will not do.
        linearizable: bool,
    },
    /// Through the log.
    MemberAdd {
        /// Where the newcomer will listen for its peers.
        peer_urls: Vec<String>,
        /// Join without a vote.
        is_learner: bool,
    },
    /// Through the log. Refused unless the learner has caught up.
    MemberPromote(NodeId),
    /// Through the log.
    MemberRemove(NodeId),
    /// Through the log.
    MemberUpdate {
        /// Whose.
        id: NodeId,
        /// The new peer URLs.
        peer_urls: Vec<String>,
    },
    /// The node asked.
    Status,
    /// Through the log, or as a read for `Get`.
    Alarm {
        /// What to do.
        action: AlarmAction,
        /// Of whom; `NONE` for all.
        member: NodeId,
        /// Which kind; `None` for all.
        kind: Option<AlarmKind>,
    },
    /// The node asked: a hash over all that its replica holds.
    Hash,
    /// The node asked: a hash over the history up to a revision (`None`: now).
    HashKv(Option<Revision>),
    /// The leader: hand leadership over.
    MoveLeader(NodeId),
    /// A replica of the key, with as many others as the level asks for.
    Keyed(KeyedRequest),
}

impl Request {
    /// Whether it changes nothing, so that asking twice does no harm.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Txn(txn) => txn.is_read_only(),
            Self::Alarm { action, .. } => *action == AlarmAction::Get,
            Self::Keyed(request) => request.is_read_only(),
            Self::Range(_)
            | Self::LeaseTimeToLive { .. }
            | Self::LeaseLeases
            | Self::MemberList { .. }
            | Self::Status
            | Self::Hash
            | Self::HashKv(_) => true,
            Self::Put(_)
            | Self::DeleteRange(_)
            | Self::Compact { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseRevoke(_)
            | Self::LeaseKeepAlive(_)
            | Self::MemberAdd { .. }
            | Self::MemberPromote(_)
            | Self::MemberRemove(_)
            | Self::MemberUpdate { .. }
            | Self::MoveLeader(_) => false,
        }
    }
}

/// Where and when an answer was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Header {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member that answered.
    pub member: NodeId,
    /// The table's revision when the answer was made; for a write, its own revision.
    pub revision: Revision,
    /// The Raft term of the member.
    pub raft_term: u64,
}

/// What is answered: the header and the body that belongs to the request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Answer {
    /// Where and when.
    pub header: Header,
    /// What.
    pub body: Body,
}

/// The body of an answer: the variant of the request's own name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Body {
    /// To `Range`.
    Range(RangeResponse),
    /// To `Put`.
    Put(PutResponse),
    /// To `DeleteRange`.
    DeleteRange(DeleteRangeResponse),
    /// To `Txn`.
    Txn(TxnResponse),
    /// To `Compact`.
    Compact,
    /// To `LeaseGrant`.
    LeaseGrant(LeaseGranted),
    /// To `LeaseRevoke`.
    LeaseRevoke,
    /// To `LeaseKeepAlive`: seconds it lives from now.
    LeaseKeepAlive {
        /// Seconds granted anew.
        ttl_seconds: i64,
    },
    /// To `LeaseTimeToLive`.
    LeaseTimeToLive(LeaseStatus),
    /// To `LeaseLeases`.
    LeaseLeases(Vec<LeaseId>),
    /// To `MemberList`, `MemberPromote`, `MemberRemove` and `MemberUpdate`: all members afterwards.
    Members(Vec<Member>),
    /// To `MemberAdd`.
    MemberAdd {
        /// The newcomer.
        added: Member,
        /// All members afterwards.
        members: Vec<Member>,
    },
    /// To `Status`.
    Status(NodeStatus),
    /// To `Alarm`: those listed or changed.
    Alarms(Vec<Alarm>),
    /// To `Hash`.
    Hash(u32),
    /// To `HashKv`.
    HashKv(HashKv),
    /// To `MoveLeader`.
    MoveLeader,
    /// To `Keyed`.
    Keyed(KeyedAnswer),
}
