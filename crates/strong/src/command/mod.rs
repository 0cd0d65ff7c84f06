//! What a log entry asks of the machine.
//!
//! The data of a log entry is a [`Proposal`]: the command and who waits for its answer. Everything that a command needs
//! is in it: nothing that differs between replicas (time, sizes on disk, configuration) is ever looked up when it is
//! applied. An entry without data is Raft's own; it changes nothing but the applied index.
//!
//! Whoever proposes has checked the command with [`check::command`](crate::check::command) before: bytes that do not parse
//! stop every replica that is to apply them, and only what was checked is known to parse again.

pub(crate) mod codec;

use althing_api::cluster::{AlarmAction, AlarmKind, Member};
use althing_api::keyed::{Moment, Step, Watched};
use althing_api::kv::{DeleteRangeRequest, PutRequest, TxnRequest};
use althing_types::{GroupId, LeaseId, NodeId, RequestId, Revision};
use bytes::Bytes;

use crate::feed::Page;
use crate::keyed::Deadline;
use crate::layout::VersionId;

/// A command and who waits for its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// The node that took the request.
    pub origin: NodeId,
    /// The request, unique on that node.
    pub request: RequestId,
    /// What is to be done.
    pub command: Command,
}

/// What is to be done. A command that clients know answers with the body of its own name; those that only nodes propose
/// (`LeaseCheckpoint`, `SetQuota`) answer with `Compact`, and `MemberUpsert` with `Members`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Write one key.
    Put(PutRequest),
    /// Remove the keys of a range.
    DeleteRange(DeleteRangeRequest),
    /// Compare, then do one of two lists of operations.
    Txn(TxnRequest),
    /// Versions superseded at or below this revision may go.
    Compact {
        /// The least revision that can be read afterwards.
        revision: Revision,
    },
    /// A new lease.
    LeaseGrant {
        /// Its id, chosen by the client or by the node that proposes it.
        id: LeaseId,
        /// Seconds to live; the proposer has raised it to the least that is allowed.
        ttl_seconds: i64,
    },
    /// End a lease and remove the keys attached to it, in one revision.
    LeaseRevoke {
        /// Which.
        id: LeaseId,
    },
    /// What a new leader would give each lease. Unknown leases are ignored.
    LeaseCheckpoint {
        /// Seconds for each lease.
        remaining: Vec<(LeaseId, i64)>,
    },
    /// Raise or lower an alarm.
    Alarm {
        /// What to do.
        action: AlarmAction,
        /// Of whom; `NONE` is everybody where alarms are listed or lowered.
        member: NodeId,
        /// Which kind; `None` is every kind where alarms are listed or lowered.
        kind: Option<AlarmKind>,
    },
    /// A member says, or is told, its name and addresses. It must be a member; whether it votes stays as it is.
    MemberUpsert(Member),
    /// With a configuration change: a new member.
    MemberAdd(Member),
    /// With a configuration change: a member leaves; its id never comes back.
    MemberRemove(NodeId),
    /// With a configuration change: a learner becomes a voter.
    MemberPromote(NodeId),
    /// To a child that is being filled: a page of its parent's history. One that it has had does nothing. Answers `Compact`, as do
    /// all commands of a split.
    Ingest(Page),
    /// To the parent: serve nothing any more, for two children do. Refused if a compaction has come beyond where they are: after
    /// the seal there is none, so every replica can fill them from there.
    Seal {
        /// The first key of the right child.
        at: Bytes,
        /// The children, left and right.
        children: [GroupId; 2],
        /// Both children have all positions below this one.
        filled: VersionId,
    },
    /// To a parent that cannot fill its children from where they are: never seal it for them, so that they may go.
    Bar {
        /// The greater of the children. Those with lesser ids were given up, too.
        child: GroupId,
    },
    /// To a child that was filled up to the seal of its parent: serve, from this revision on.
    Activate {
        /// The revision of the seal.
        revision: Revision,
        /// The parent's compact revision at the seal.
        compacted: Revision,
    },
    /// One operation on one key's value. Answers as [`KeyedRequest::Operate`](althing_api::keyed::KeyedRequest) is answered.
    Operate {
        /// The key and the operation.
        step: Step,
        /// When it happens, and what is random in it.
        moment: Moment,
    },
    /// Operations that happen together, unless a watched key has changed.
    Transact {
        /// What must not have changed.
        watches: Vec<Watched>,
        /// What is done, in this order.
        steps: Vec<Step>,
        /// When it happens, and what is random in it.
        moment: Moment,
    },
    /// Remove every key of the shard.
    Flush,
    /// Remove those of these keys that have expired by now. The leader's own: it answers `Flushed`.
    Expire {
        /// The time, in milliseconds since 1970.
        now_ms: i64,
        /// Which keys, and the deadlines that were noted of them.
        due: Vec<Deadline>,
    },
    /// Change the table's quota, in bytes of logical data.
    SetQuota {
        /// The new quota.
        bytes: u64,
    },
}
