//! A refusal says what is so, and what must be refused is.
//!
//! * *Compacted* is right only if a compaction at the revision that the refusal names had been asked for, and not above
//!   what was asked of it; and once a compaction was acknowledged, no read below it is answered, unless it may be stale.
//! * *Future revision* is right only if what the refusal takes for the present is below what was asked for, and, unless
//!   the answer may be stale, not below a revision that somebody had seen before.
//! * *No such lease* is wrong of a lease that lives for certain; and once a revocation was acknowledged, nothing can be
//!   done with the lease. *The lease exists* is right only if somebody else asked for one with its id.
//! * A replica is never corrupt, and nobody here asks for what is not allowed.
//!
//! That a node has no leader, no room or no time is not judged here: progress is, after all is healed.

use std::collections::BTreeMap;

use althing_api::error::ErrorKind;
use althing_api::kv::{Consistency, Operation, PutLease, PutRequest, RangeRequest, TxnRequest};
use althing_api::request::{Body, Request};
use althing_types::{Instant, LeaseId, Revision, TableName};

use super::leases;
use crate::history::{CallEnd, CallRecord, LessorJump};

/// Descriptions of all refusals that are wrong, and of answers that should have been refusals.
#[must_use]
pub fn check(calls: &[CallRecord], jumps: &[LessorJump]) -> Vec<String> {
    let known = Known::new(calls, jumps);
    let mut broken = Vec::new();
    for call in calls {
        let wrong = match &call.end {
            CallEnd::Refused { returned, why } => known.refused(call, *returned, why),
            CallEnd::Answered { .. } => known.answered(call),
            CallEnd::Unknown => None,
        };
        broken.extend(wrong.map(|wrong| format!("{wrong}: {call:?}")));
    }
    broken
}

/// One lease, as far as all clients together know.
#[derive(Clone, Debug, Default)]
struct Life {
    /// When a grant of it was asked for by id.
    asked: Vec<Instant>,
    /// It was (re)started by these calls.
    starts: Vec<Start>,
    /// When somebody first asked for its end.
    revoked: Option<Instant>,
    /// When somebody was first told of its end.
    ended: Option<Instant>,
}

/// A call that started a lease, or started it anew.
#[derive(Clone, Copy, Debug)]
struct Start {
    sent: Instant,
    answered: Instant,
    ttl_seconds: i64,
}

/// What is known from all calls.
#[derive(Clone, Debug, Default)]
struct Known<'a> {
    jumps: &'a [LessorJump],
    /// When compactions were asked for that were not refused, when they were acknowledged, and at which revision.
    compactions: Vec<(Instant, Option<Instant>, Revision)>,
    /// By the time of the answers, the greatest revision that any of them had shown.
    revisions: BTreeMap<Instant, Revision>,
    leases: BTreeMap<LeaseId, Life>,
}

impl<'a> Known<'a> {
    fn new(calls: &[CallRecord], jumps: &'a [LessorJump]) -> Self {
        let mut known = Self { jumps, ..Self::default() };
        for call in calls {
            known.learn(call);
        }
        let mut greatest = Revision(0);
        for revision in known.revisions.values_mut() {
            greatest = greatest.max(*revision);
            *revision = greatest;
        }
        known
    }

    fn learn(&mut self, call: &CallRecord) {
        let sent = call.invoked;
        let answered = match &call.end {
            CallEnd::Answered { returned, answer } => Some((*returned, answer)),
            CallEnd::Unknown => None,
            CallEnd::Refused { .. } => return,
        };
        if let Some((returned, answer)) = answered {
            let shown = self.revisions.entry(returned).or_default();
            *shown = answer.header.revision.max(*shown);
        }
        let returned = answered.map(|(returned, _)| returned);
        match (&call.request, answered.map(|(_, answer)| &answer.body)) {
            (Request::Compact { revision, .. }, _) => self.compactions.push((sent, returned, *revision)),
            (Request::LeaseRevoke(id), _) => {
                let life = self.leases.entry(*id).or_default();
                life.revoked = Some(life.revoked.map_or(sent, |known| known.min(sent)));
                life.ended = earliest(life.ended, returned);
            }
            (Request::LeaseGrant { id, .. }, body) => {
                if let Some(id) = id {
                    self.leases.entry(*id).or_default().asked.push(sent);
                }
                if let (Some(returned), Some(Body::LeaseGrant(granted))) = (returned, body) {
                    self.starts(granted.id, sent, returned, granted.ttl_seconds);
                }
            }
            (Request::LeaseKeepAlive(id), Some(Body::LeaseKeepAlive { ttl_seconds })) => {
                self.starts(*id, sent, returned.unwrap_or(sent), *ttl_seconds);
            }
            _ => {}
        }
    }

    fn starts(&mut self, id: LeaseId, sent: Instant, answered: Instant, ttl_seconds: i64) {
        self.leases.entry(id).or_default().starts.push(Start { sent, answered, ttl_seconds });
    }

    /// What is wrong with a refusal.
    fn refused(&self, call: &CallRecord, returned: Instant, why: &ErrorKind) -> Option<&'static str> {
        match why {
            ErrorKind::Compacted { requested, oldest } => self.compacted(call, returned, *requested, *oldest),
            ErrorKind::FutureRevision { requested, current } => self.future(call, *requested, *current),
            ErrorKind::LeaseNotFound(id) => {
                let life = self.leases.get(id)?;
                let spared = life.revoked.is_none_or(|revoked| revoked > returned);
                let lives = life.starts.iter().any(|start| {
                    start.answered <= call.invoked && leases::lives(start.ttl_seconds, start.sent, returned, self.jumps)
                });
                (spared && lives).then_some("the lease lives for certain")
            }
            ErrorKind::LeaseExists(id) => {
                let asked = self.leases.get(id).map_or(&[][..], |life| &life.asked);
                (!asked.iter().any(|asked| *asked < returned)).then_some("nobody else asked for the lease")
            }
            ErrorKind::Corrupt => Some("no replica is corrupt"),
            // A node whose map is behind does not know a table yet that is there.
            ErrorKind::UnknownTable(name) => {
                (*name == TableName::DEFAULT).then_some("the default table is always there")
            }
            ErrorKind::NoSpace
            | ErrorKind::Overloaded
            | ErrorKind::NoLeader
            | ErrorKind::Timeout
            | ErrorKind::LeaderChanged
            | ErrorKind::Stopped
            | ErrorKind::NotLeader
            | ErrorKind::Learner
            | ErrorKind::Storage(_)
            | ErrorKind::WrongShard
            | ErrorKind::ShardUnavailable
            | ErrorKind::BadLeaderTransferee(_)
            | ErrorKind::MemberNotFound(_)
            | ErrorKind::MemberExists(_)
            | ErrorKind::PeerUrlExists
            | ErrorKind::NotLearner(_)
            | ErrorKind::LearnerNotReady(_)
            | ErrorKind::TooManyLearners
            | ErrorKind::Unhealthy => None,
            ErrorKind::EmptyKey
            | ErrorKind::KeyTooLong { .. }
            | ErrorKind::ValueProvided
            | ErrorKind::LeaseProvided
            | ErrorKind::KeyNotFound
            | ErrorKind::DuplicateKey
            | ErrorKind::TooManyOperations { .. }
            | ErrorKind::RequestTooLarge { .. }
            | ErrorKind::InvalidArgument(_)
            | ErrorKind::LeaseTtlTooLarge(_)
            | ErrorKind::BadUrl(_)
            | ErrorKind::CrossShard(_)
            | ErrorKind::NotBuilt(_)
            | ErrorKind::Unsupported(_) => Some("nothing was asked for that is not allowed"),
        }
    }

    fn compacted(
        &self,
        call: &CallRecord,
        returned: Instant,
        requested: Revision,
        oldest: Revision,
    ) -> Option<&'static str> {
        let limit = match &call.request {
            Request::Compact { .. } => oldest,
            _ => Revision(oldest.0 - 1),
        };
        if requested > limit || !revisions(&call.request).contains(&requested) {
            return Some("the revision is not compacted");
        }
        let asked = self.compactions.iter().any(|(sent, _, revision)| *sent < returned && *revision == oldest);
        (!asked).then_some("nobody asked for this compaction")
    }

    fn future(&self, call: &CallRecord, requested: Revision, current: Revision) -> Option<&'static str> {
        if requested <= current || !revisions(&call.request).contains(&requested) {
            return Some("the revision is not in the future");
        }
        let seen = self.revisions.range(..call.invoked).next_back().map_or(Revision(0), |(_, revision)| *revision);
        (current < seen && !may_be_stale(&call.request)).then_some("a later revision was known")
    }

    /// What is wrong with an answer that should have been a refusal.
    fn answered(&self, call: &CallRecord) -> Option<&'static str> {
        let least = |revision: Revision| match &call.request {
            Request::Compact { .. } => revision.next(),
            _ => revision,
        };
        let below = |asked: Revision| {
            self.compactions
                .iter()
                .any(|(_, done, revision)| done.is_some_and(|done| done < call.invoked) && asked < least(*revision))
        };
        if !may_be_stale(&call.request) && revisions(&call.request).into_iter().any(below) {
            return Some("the revision was compacted before");
        }
        let ended = |id: LeaseId| {
            let ended = self.leases.get(&id).and_then(|life| life.ended);
            ended.is_some_and(|ended| ended < call.invoked)
        };
        lease_of(call).is_some_and(ended).then_some("the lease was revoked before")
    }
}

fn earliest(known: Option<Instant>, new: Option<Instant>) -> Option<Instant> {
    known.into_iter().chain(new).min()
}

/// The revisions that a request names to be read, or to be compacted.
fn revisions(request: &Request) -> Vec<Revision> {
    let mut found = Vec::new();
    match request {
        Request::Compact { revision, .. } => found.push(*revision),
        Request::Range(range) => found.extend(range.revision),
        Request::Txn(txn) => each_range(txn, &mut |range| found.extend(range.revision)),
        _ => {}
    }
    found
}

/// Reads of both branches.
fn each_range(txn: &TxnRequest, visit: &mut impl FnMut(&RangeRequest)) {
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            Operation::Range(range) => visit(range),
            Operation::Txn(txn) => each_range(txn, visit),
            Operation::Put(_) | Operation::DeleteRange(_) => {}
        }
    }
}

fn may_be_stale(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.consistency == Consistency::Serializable,
        Request::Txn(txn) => txn.is_read_only() && txn.is_serializable(),
        _ => false,
    }
}

/// The lease that a call has kept alive or attached a key to.
const fn lease_of(call: &CallRecord) -> Option<LeaseId> {
    match &call.request {
        Request::LeaseKeepAlive(id) | Request::Put(PutRequest { lease: PutLease::Set(Some(id)), .. }) => Some(*id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use althing_api::kv::KeyRange;
    use althing_api::lease::LeaseGranted;
    use althing_api::request::{Answer, Header};
    use althing_types::Duration;

    use super::*;

    const LEASE: LeaseId = LeaseId(7);

    fn judged(calls: &[CallRecord]) -> Vec<String> {
        check(calls, &[])
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn refused(sent: u64, request: Request, why: ErrorKind) -> CallRecord {
        CallRecord {
            target: althing_api::Target::default(),
            invoked: at(sent),
            request,
            end: CallEnd::Refused { returned: at(sent + 10), why },
        }
    }

    fn answered(sent: u64, request: Request, revision: i64, body: Body) -> CallRecord {
        let header = Header { revision: Revision(revision), ..Header::default() };
        let end = CallEnd::Answered { returned: at(sent + 10), answer: Answer { header, body } };
        CallRecord { target: althing_api::Target::default(), invoked: at(sent), request, end }
    }

    fn read(revision: i64, consistency: Consistency) -> Request {
        let revision = Some(Revision(revision));
        Request::Range(RangeRequest { revision, consistency, ..RangeRequest::new(KeyRange::all()) })
    }

    fn shown(sent: u64, revision: i64) -> CallRecord {
        answered(sent, Request::LeaseLeases, revision, Body::LeaseLeases(Vec::new()))
    }

    fn compact(sent: u64, revision: i64) -> CallRecord {
        answered(sent, Request::Compact { revision: Revision(revision), physical: false }, 50, Body::Compact)
    }

    fn compacted(requested: i64, oldest: i64) -> ErrorKind {
        ErrorKind::Compacted { requested: Revision(requested), oldest: Revision(oldest) }
    }

    fn future(requested: i64, current: i64) -> ErrorKind {
        ErrorKind::FutureRevision { requested: Revision(requested), current: Revision(current) }
    }

    fn granted(sent: u64) -> CallRecord {
        let request = Request::LeaseGrant { id: Some(LEASE), ttl_seconds: 2 };
        answered(sent, request, 5, Body::LeaseGrant(LeaseGranted { id: LEASE, ttl_seconds: 2 }))
    }

    #[test]
    fn refusals_that_say_what_is_so_are_fine() {
        let calls = [
            shown(0, 40),
            compact(100, 30),
            refused(200, read(29, Consistency::Linearizable), compacted(29, 30)),
            refused(200, Request::Compact { revision: Revision(30), physical: false }, compacted(30, 30)),
            answered(200, read(30, Consistency::Linearizable), 50, Body::Compact),
            refused(200, read(51, Consistency::Linearizable), future(51, 50)),
            refused(200, read(40, Consistency::Serializable), future(40, 35)),
            granted(300),
            refused(2400, Request::LeaseKeepAlive(LEASE), ErrorKind::LeaseNotFound(LEASE)),
        ];
        assert_eq!(judged(&calls), Vec::<String>::new());
    }

    #[test]
    fn a_revision_that_nobody_compacted_and_one_that_can_be_read_are_found() {
        let wrong = |why| judged(&[compact(0, 30), refused(100, read(29, Consistency::Linearizable), why)]).len();
        assert_eq!([wrong(compacted(29, 30)), wrong(compacted(29, 31)), wrong(compacted(28, 30))], [0, 1, 1]);
        let limit = refused(100, read(30, Consistency::Linearizable), compacted(30, 30));
        assert_eq!(judged(&[compact(0, 30), limit]).len(), 1);
        let early = refused(0, read(29, Consistency::Linearizable), compacted(29, 30));
        assert_eq!(judged(&[early, compact(100, 30)]).len(), 1);
    }

    #[test]
    fn a_compacted_revision_that_is_answered_is_found() {
        let late =
            |consistency| judged(&[compact(0, 30), answered(100, read(29, consistency), 50, Body::Compact)]).len();
        assert_eq!([late(Consistency::Linearizable), late(Consistency::Serializable)], [1, 0]);
        assert_eq!(judged(&[compact(0, 30), compact(100, 30)]).len(), 1);
    }

    #[test]
    fn a_revision_that_was_known_is_not_in_the_future() {
        let wrong = |why| judged(&[shown(0, 40), refused(100, read(40, Consistency::Linearizable), why)]).len();
        assert_eq!([wrong(future(40, 39)), wrong(future(40, 40))], [1, 1]);
    }

    #[test]
    fn a_lease_that_lives_is_found_to_have_been_denied_unless_somebody_revoked_it() {
        let denied = || refused(1900, Request::LeaseKeepAlive(LEASE), ErrorKind::LeaseNotFound(LEASE));
        assert_eq!(judged(&[granted(0), denied()]).len(), 1);
        let revoked = answered(1000, Request::LeaseRevoke(LEASE), 6, Body::LeaseRevoke);
        assert_eq!(judged(&[granted(0), revoked, denied()]).len(), 0);
        let jumps = [LessorJump { at: at(500), by: Duration::from_millis(200) }];
        assert_eq!(check(&[granted(0), denied()], &jumps).len(), 0);
    }

    #[test]
    fn a_lease_that_was_revoked_and_still_used_is_found() {
        let revoked = answered(100, Request::LeaseRevoke(LEASE), 6, Body::LeaseRevoke);
        let used = answered(200, Request::LeaseKeepAlive(LEASE), 6, Body::LeaseKeepAlive { ttl_seconds: 2 });
        assert_eq!(judged(&[granted(0), revoked, used]).len(), 1);
    }

    #[test]
    fn refusals_that_can_never_be_right_are_found() {
        for why in [ErrorKind::Corrupt, ErrorKind::EmptyKey, ErrorKind::LeaseExists(LEASE)] {
            assert_eq!(judged(&[refused(0, Request::LeaseLeases, why)]).len(), 1);
        }
    }
}
