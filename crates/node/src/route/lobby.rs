//! The doors for calls of other nodes' clients.
//!
//! A node's host lets its own clients in by how long they wait, and so does each of the nodes that route calls here. None of these
//! sees what the others ask of this node, and one that has just begun sees nothing yet. So the node that is asked has doors of its
//! own for them, like those for its own clients: one for reads, one for writes.

use althing_api::Request;
use althing_resilience::admission::Figures;
use althing_resilience::{Admission, LimitConfig, Ticket, Work};
use althing_types::limits::{MAX_PENDING_BYTES, MAX_PENDING_REQUESTS};
use althing_types::{Duration, Instant};

/// The standing queue that is put up with, the same as before the doors for a node's own clients.
const TARGET: Duration = Duration::from_millis(250);

/// Which of the doors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Read,
    Write,
}

/// A call that is inside.
#[derive(Debug)]
pub(super) struct Place {
    way: Way,
    ticket: Ticket,
}

/// The doors.
#[derive(Debug)]
pub(super) struct Lobby {
    reads: Admission,
    writes: Admission,
}

impl Default for Lobby {
    fn default() -> Self {
        let config = LimitConfig { ceiling: MAX_PENDING_REQUESTS, target: TARGET, ..LimitConfig::default() };
        let door = || Admission::new(config, MAX_PENDING_BYTES);
        Self { reads: door(), writes: door() }
    }
}

impl Lobby {
    fn door(&mut self, way: Way) -> &mut Admission {
        match way {
            Way::Read => &mut self.reads,
            Way::Write => &mut self.writes,
        }
    }

    /// Lets a call of so many bytes in, or not.
    pub(super) fn enter(&mut self, now: Instant, request: &Request, bytes: usize) -> Option<Place> {
        let way = if request.is_read_only() { Way::Read } else { Way::Write };
        let ticket = self.door(way).admit(now, work_of(request), bytes).ok()?;
        Some(Place { way, ticket })
    }

    /// A call has its answer. How long that took says something of the load only if it was done.
    pub(super) fn leave<T, E>(&mut self, now: Instant, place: Place, result: &Result<T, E>) {
        let Place { way, ticket } = place;
        match result {
            Ok(_) => self.door(way).answered(now, ticket),
            Err(_) => self.door(way).abandoned(ticket),
        }
    }

    /// The figures of the doors for reads and for writes.
    pub(super) fn figures(&self) -> [Figures; 2] {
        [self.reads.figures(), self.writes.figures()]
    }
}

/// What keeps leases alive goes before what is asked for anew, and what takes long by its nature after it.
const fn work_of(request: &Request) -> Work {
    match request {
        Request::LeaseKeepAlive(_)
        | Request::LeaseRevoke(_)
        | Request::MemberList { .. }
        | Request::MemberAdd { .. }
        | Request::MemberPromote(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate { .. }
        | Request::Status
        | Request::Alarm { .. }
        | Request::MoveLeader(_) => Work::Consensus,
        Request::Range(_)
        | Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Txn(_)
        | Request::Compact { physical: false, .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseTimeToLive { .. }
        | Request::Keyed(_)
        | Request::LeaseLeases => Work::Clients,
        Request::Compact { physical: true, .. } | Request::Hash | Request::HashKv(_) => Work::Background,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_api::kv::{KeyRange, RangeRequest, TxnRequest};
    use althing_types::LeaseId;

    #[test]
    fn writes_of_other_nodes_that_stand_leave_reads_and_keep_alives_their_places() {
        let (mut lobby, now) = (Lobby::default(), Instant::ZERO);
        let write = Request::Compact { revision: althing_types::Revision(1), physical: false };
        let mut inside = Vec::new();
        while let Some(place) = lobby.enter(now, &write, 1) {
            inside.push(place);
        }
        let [_, writes] = lobby.figures();
        assert_eq!((writes.in_flight, writes.refused[0]), (inside.len(), 1));
        let read = Request::Range(RangeRequest::new(KeyRange::single("k")));
        assert!(lobby.enter(now, &read, 1).is_some());
        assert!(lobby.enter(now, &Request::Txn(TxnRequest::default()), 1).is_some(), "it only reads");
        assert!(lobby.enter(now, &Request::LeaseKeepAlive(LeaseId(7)), 1).is_some());
        let first = inside.remove(0);
        lobby.leave(now, first, &Ok::<(), ()>(()));
        assert_eq!(lobby.figures()[1].in_flight, inside.len() + 1);
    }
}
