//! How requests are sorted before the doors of a node: by the queues that they wait in, and by what may be refused first.

use althing_resilience::Work;

use crate::cluster::AlarmAction;
use crate::kv::Consistency;
use crate::request::Request;

/// How a request goes through the node that serves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// Answered by the node from what it has.
    Local,
    /// After a round among the replicas, without the log.
    Read,
    /// Through the log.
    Write,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Local, Self::Read, Self::Write];

    /// A name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl Request {
    /// Which way it takes, and what kind of work it is.
    ///
    /// What keeps alive what clients have already (a lease, and with it a lock or a session) goes before what they ask for anew: a
    /// keep-alive refused loses a lease, and everybody who held one comes back with more work than the keep-alive was. To give
    /// a lease up is of the same kind: it frees what others wait for. What takes long by its nature goes last.
    #[must_use]
    pub fn sort(&self) -> (Way, Work) {
        match self {
            Self::Range(range) if range.consistency == Consistency::Serializable => (Way::Local, Work::Clients),
            Self::Txn(txn) if txn.is_read_only() && txn.is_serializable() => (Way::Local, Work::Clients),
            Self::Txn(txn) if txn.is_read_only() => (Way::Read, Work::Clients),
            Self::Range(_) | Self::LeaseTimeToLive { .. } | Self::LeaseLeases => (Way::Read, Work::Clients),
            Self::LeaseKeepAlive(_)
            | Self::MemberList { linearizable: true }
            | Self::Alarm { action: AlarmAction::Get, .. } => (Way::Read, Work::Consensus),
            Self::Put(_)
            | Self::DeleteRange(_)
            | Self::Txn(_)
            | Self::LeaseGrant { .. }
            | Self::Compact { physical: false, .. } => (Way::Write, Work::Clients),
            Self::Keyed(request) if request.is_read_only() => (Way::Read, Work::Clients),
            Self::Keyed(_) => (Way::Write, Work::Clients),
            Self::LeaseRevoke(_)
            | Self::MemberAdd { .. }
            | Self::MemberPromote(_)
            | Self::MemberRemove(_)
            | Self::MemberUpdate { .. }
            | Self::Alarm { .. }
            | Self::MoveLeader(_) => (Way::Write, Work::Consensus),
            Self::Compact { physical: true, .. } => (Way::Write, Work::Background),
            Self::MemberList { linearizable: false } | Self::Status => (Way::Local, Work::Consensus),
            Self::Hash | Self::HashKv(_) => (Way::Local, Work::Background),
        }
    }
}

#[cfg(test)]
mod tests {
    use althing_types::{LeaseId, NodeId};

    use super::*;
    use crate::kv::{KeyRange, Operation, RangeRequest, TxnRequest};

    fn read(consistency: Consistency) -> RangeRequest {
        RangeRequest { consistency, ..RangeRequest::new(KeyRange::single("k")) }
    }

    #[test]
    fn a_transaction_takes_the_way_of_what_is_in_it() {
        let way = |operations: Vec<Operation>| {
            Request::Txn(TxnRequest { success: operations, ..TxnRequest::default() }).sort().0
        };
        let (fresh, stale) = (read(Consistency::Linearizable), read(Consistency::Serializable));
        assert_eq!(way(vec![Operation::Range(stale.clone())]), Way::Local);
        assert_eq!(way(vec![Operation::Range(stale), Operation::Range(fresh)]), Way::Read);
        let delete = crate::kv::DeleteRangeRequest { keys: KeyRange::single("k"), prev_kv: false };
        assert_eq!(way(vec![Operation::DeleteRange(delete)]), Way::Write);
    }

    /// A renewal of a lease is no write, and yet it is not asked twice: the second answer could be of another lease.
    #[test]
    fn what_changes_nothing_does_not_go_through_the_log() {
        let alarm = |action| Request::Alarm { action, member: NodeId::NONE, kind: None };
        let requests = [
            Request::Range(read(Consistency::Linearizable)),
            Request::Status,
            Request::Hash,
            Request::LeaseLeases,
            alarm(AlarmAction::Get),
            alarm(AlarmAction::Activate),
            Request::LeaseRevoke(LeaseId(7)),
            Request::Compact { revision: althing_types::Revision(1), physical: true },
        ];
        for request in requests {
            assert_eq!(request.is_read_only(), request.sort().0 != Way::Write, "{request:?}");
        }
        assert_eq!(Request::LeaseKeepAlive(LeaseId(7)).sort(), (Way::Read, Work::Consensus));
    }
}
