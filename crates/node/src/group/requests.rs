//! From a client's request to a proposal, a read or an answer at once.

use althing_api::cluster::{AlarmAction, NodeStatus};
use althing_api::kv::Consistency;
use althing_api::request::Body;
use althing_api::service::META_GROUP;
use althing_api::{Answer, Call, Error, ErrorKind, Header, Request};
use althing_strong::lessor::{minimum_ttl_seconds, ttl_to_grant};
use althing_strong::{Command, Proposal as LogProposal};
use althing_types::{Duration, Instant, LeaseId, RequestId, limits};

use super::Group;
use crate::context::Context;
use crate::effects::ReadWork;
use crate::envelope::Question;
use crate::proposals::{Proposal, Stage};
use crate::reads::Reading;

/// Keys that a range may ask for and still be read on the driver's own thread.
const INLINE_LIMIT: u64 = 32;

/// How long a proposal of the node's own waits for a leader before it is given up and, if it is still wanted, made anew.
const UNASKED_FOR: Duration = Duration::from_secs(2);

/// About what a table takes on disk besides its keys: its numbers, its members. Clients take a size of 0 for a node that
/// cannot tell, and what is still in memory counts too, so that the size is never below what is in use.
const EMPTY_TABLE_BYTES: u64 = 4096;

impl Group {
    /// Takes a request in. It is answered now or later, once.
    pub(crate) fn request(&mut self, cx: &mut Context<'_>, id: RequestId, call: Call) {
        let deadline = cx.shared.config.request_deadline(cx.now, call.timeout);
        if call.require_leader && self.leader().is_none() {
            return respond(cx, id, Err(ErrorKind::NoLeader.into()));
        }
        // Etcd's rule: clients with a list of endpoints go on to the next, which may be a voter.
        if self.is_learner(cx) && !is_for_learners(&call.request) {
            return respond(cx, id, Err(ErrorKind::Learner.into()));
        }
        let ticket = cx.shared.ticket(id);
        match call.request {
            Request::Put(put) => self.propose(cx, ticket, Command::Put(put), deadline),
            Request::DeleteRange(delete) => self.propose(cx, ticket, Command::DeleteRange(delete), deadline),
            Request::Txn(txn) if !txn.is_read_only() => self.propose(cx, ticket, Command::Txn(txn), deadline),
            Request::Compact { revision, physical } => {
                let command = Command::Compact { revision };
                self.propose_with(cx, ticket, command, deadline, |proposal| proposal.physical = physical);
            }
            Request::LeaseGrant { id: lease, ttl_seconds } => self.grant(cx, ticket, lease, ttl_seconds, deadline),
            Request::LeaseRevoke(id) => self.propose(cx, ticket, Command::LeaseRevoke { id }, deadline),
            Request::Alarm { action, member, kind } if action != AlarmAction::Get => {
                self.propose(cx, ticket, Command::Alarm { action, member, kind }, deadline);
            }
            Request::MemberAdd { .. }
            | Request::MemberPromote(_)
            | Request::MemberRemove(_)
            | Request::MemberUpdate { .. } => self.membership_request(cx, ticket, &call.request, deadline),
            Request::LeaseKeepAlive(lease) => self.ask(cx, ticket, Question::KeepAlive(lease), false, deadline),
            Request::LeaseTimeToLive { id: lease, keys } => {
                self.ask(cx, ticket, Question::TimeToLive(lease), keys, deadline);
            }
            Request::MoveLeader(to) => self.ask(cx, ticket, Question::MoveLeader(to), false, deadline),
            Request::Keyed(_) if self.id == META_GROUP => {
                let reason = "the objects of the cluster are no keyed values";
                respond(cx, id, Err(ErrorKind::Unsupported(reason.to_owned()).into()));
            }
            Request::Keyed(request) if !request.is_read_only() => self.keyed_write(cx, ticket, request, deadline),
            Request::Status => {
                let status = self.status(cx);
                let header = self.header(cx, self.reader.revision());
                respond(cx, id, Ok(Answer { header, body: Body::Status(status) }));
            }
            request if is_linearizable(&request) => {
                let request = Box::new(request);
                self.reads.push(Reading::Client { ticket, request, deadline });
            }
            request => self.read(cx, id, request),
        }
    }

    fn grant(&mut self, cx: &mut Context<'_>, ticket: RequestId, id: Option<LeaseId>, ttl: i64, deadline: Instant) {
        let config = &cx.shared.config;
        let minimum = minimum_ttl_seconds(config.tick * config.election_ticks.end);
        let Some(ttl_seconds) = ttl_to_grant(ttl, minimum) else {
            return fail(cx, ticket, ErrorKind::LeaseTtlTooLarge(ttl));
        };
        let id = id.unwrap_or_else(|| LeaseId(cx.shared.rng.i64(1..=i64::MAX)));
        self.propose(cx, ticket, Command::LeaseGrant { id, ttl_seconds }, deadline);
    }

    pub(super) fn propose(&mut self, cx: &mut Context<'_>, ticket: RequestId, command: Command, deadline: Instant) {
        self.propose_with(cx, ticket, command, deadline, |_| ());
    }

    pub(super) fn propose_with(
        &mut self,
        cx: &mut Context<'_>,
        ticket: RequestId,
        command: Command,
        deadline: Instant,
        adjust: impl FnOnce(&mut Proposal),
    ) {
        let data = LogProposal { origin: cx.shared.node(), request: ticket, command }.encode();
        if data.len() > limits::MAX_REQUEST_BYTES + limits::MAX_REQUEST_OVERHEAD_BYTES {
            let too_large = ErrorKind::RequestTooLarge { bytes: data.len(), limit: limits::MAX_REQUEST_BYTES };
            return fail(cx, ticket, too_large);
        }
        let mut proposal = Proposal { data, membership: false, physical: false, deadline, stage: Stage::Waiting };
        adjust(&mut proposal);
        self.proposals.insert(ticket, proposal);
        self.submit(cx, ticket);
    }

    /// Proposes what no client waits for, here or at the leader. Whether it came about shows in the state.
    pub(crate) fn propose_unasked(&mut self, cx: &mut Context<'_>, command: Command) {
        let (ticket, deadline) = (cx.shared.internal_ticket(), cx.now + UNASKED_FOR);
        self.propose(cx, ticket, command, deadline);
    }

    /// Does a read now: small ones here, large ones on the reader's thread.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, id: RequestId, request: Request) {
        cx.shared.metrics.reads += 1;
        if let Request::Keyed(request) = request {
            return self.keyed_read(cx, id, request);
        }
        if let Request::Range(range) = &request
            && is_small(range)
        {
            let result = self
                .reader
                .range(range)
                .map(|(response, revision)| Answer { header: self.header(cx, revision), body: Body::Range(response) });
            return respond(cx, id, result.map_err(Error::from));
        }
        let header: Header = self.header(cx, self.reader.revision());
        cx.out.reads.push(ReadWork::Request { id, reader: self.reader.clone(), request, header });
    }

    /// Whether this node is a member without a vote. One that has not heard of its own membership yet is none.
    fn is_learner(&self, cx: &Context<'_>) -> bool {
        let (conf, own) = (self.replica.conf_state(), cx.shared.node());
        conf.contains(own) && !conf.is_voter(own)
    }

    fn status(&self, cx: &Context<'_>) -> NodeStatus {
        let alarms = self.reader.alarms().unwrap_or_default();
        let conf = self.replica.conf_state();
        let in_use_bytes = self.reader.size_bytes();
        NodeStatus {
            db_size_bytes: cx.shared.metrics.engine_disk_bytes.max(in_use_bytes + EMPTY_TABLE_BYTES),
            db_size_in_use_bytes: in_use_bytes,
            db_size_quota_bytes: self.reader.quota_bytes(),
            leader: self.leader().unwrap_or_default(),
            raft_index: self.replica.commit(),
            raft_term: self.replica.term(),
            raft_applied_index: self.applied.index,
            errors: alarms
                .iter()
                .map(|alarm| format!("memberID:{} alarm:{} ", alarm.member.get(), alarm.kind))
                .collect(),
            is_learner: !conf.is_voter(cx.shared.node()),
        }
    }
}

/// Whether a range is read so quickly that another thread would only make it slower.
fn is_small(range: &althing_api::kv::RangeRequest) -> bool {
    use althing_api::kv::RangeEnd;
    match range.keys.end {
        RangeEnd::Single => true,
        RangeEnd::Before(_) | RangeEnd::Unbounded => {
            range.revision.is_none()
                && range.sort.is_none()
                && !range.count_only
                && (1..=INLINE_LIMIT).contains(&range.limit)
        }
    }
}

/// Whether a member without a vote answers: what it has by itself, and no transaction.
const fn is_for_learners(request: &Request) -> bool {
    match request {
        Request::Range(range) => matches!(range.consistency, Consistency::Serializable),
        Request::MemberList { linearizable } => !*linearizable,
        Request::Status | Request::Hash | Request::HashKv(_) => true,
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Txn(_)
        | Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive { .. }
        | Request::LeaseLeases
        | Request::Alarm { .. }
        | Request::MemberAdd { .. }
        | Request::MemberPromote(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate { .. }
        | Request::Keyed(_)
        | Request::MoveLeader(_) => false,
    }
}

/// Whether a read must see every write acknowledged before it.
fn is_linearizable(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.consistency == Consistency::Linearizable,
        Request::Txn(txn) => !txn.is_serializable(),
        Request::MemberList { linearizable } => *linearizable,
        Request::LeaseLeases | Request::Alarm { .. } => true,
        Request::Status | Request::Hash | Request::HashKv(_) => false,
        // All that is proposed or asked of the leader has gone its own way.
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive { .. }
        | Request::MemberAdd { .. }
        | Request::MemberPromote(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate { .. }
        | Request::Keyed(_)
        | Request::MoveLeader(_) => true,
    }
}

/// Answers a request.
pub(crate) fn respond(cx: &mut Context<'_>, id: RequestId, result: Result<Answer, Error>) {
    cx.out.responses.push((id, result));
}

/// Refuses the request of a ticket, if a client waits for it.
pub(crate) fn fail(cx: &mut Context<'_>, ticket: RequestId, error: impl Into<Error>) {
    if let Some(id) = cx.shared.client_of(ticket) {
        respond(cx, id, Err(error.into()));
    }
}
