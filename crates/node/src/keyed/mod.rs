//! Shards of convergent tables: data without a leader (ADR 20).
//!
//! Such a shard has a Raft group like every other, which says who its replicas are and moves them. Its data goes beside that:
//!
//! ```text
//!   client ──► coordinator: a replica       Job::Execute ──► applier ──► delta, reply
//!                  │                                           │
//!                  ├── log, fsync ◄────────────────────────────┘
//!                  ├── Delta ──► the other replicas: Job::Join ──► log, fsync ──► Taken
//!                  ◄─────────────────────────────────────────────────────────────────┘
//!              as many as the level asks for have it, and it is durable here: the client is told
//! ```
//!
//! * Whatever leaves a replica, be it an answer, an acknowledgement or a state, waits until all that it rests on is durable there.
//! * Most deltas do not: they go to the others with the turn that logs them. So an event may be known elsewhere that its own replica
//!   forgets; it is named in a way that no later run of the node names another ([`althing_convergent::names`], ADR 27).
//! * A delta that a replica has not acknowledged stays with its coordinator and is sent again ([`hints`]): frames may be lost, and
//!   joining twice does no harm. A crash of the coordinator does not lose it.
//! * What was missed for good is found by comparing hash trees ([`rounds`]).
//! * Reads ask as many replicas as the level says and join what they say; what one of them lacked it is sent ([`reads`]).
//! * Who is reachable decides who is asked, never what is right.

mod agenda;
mod cas;
mod count;
mod hints;
mod lodged;
mod progress;
mod reads;
mod remote;
mod repairing;
mod rounds;
mod series;
mod session;
mod settle;
mod siblings;
mod tick;
mod wall;
mod writes;

use std::collections::{BTreeMap, VecDeque};

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest};
use althing_api::request::Body;
use althing_api::{Answer, Call, Error, ErrorKind, Header};
use althing_clock::DotContext;
use althing_convergent::survey::Finished;
use althing_convergent::{Job, Leaves, Outcome, Rest, ScanRequest, Size};
use althing_datatypes::{Kind, Message as _, Op};
use althing_probe::Mutant;
use althing_quorum::{Level, Requirement, Sets};
use althing_storage::wal::{Record, RecordKind};
use althing_types::{GroupId, Instant, NodeId, RequestId, SpaceId, limits};
use bytes::Bytes;

pub(crate) use self::agenda::Agenda;
use self::cas::{Cas, Course, Ticket};
pub use self::hints::Hints;
use self::hints::Outstanding;
pub(crate) use self::hints::{Acknowledged, HintRoom};
pub(crate) use self::lodged::{Lodgings, group_of_lodged};
pub use self::progress::{LastRound, RepairMetrics, RoundMetrics, RoundStage, Tally};
use self::reads::{Read, Sight};
pub(crate) use self::repairing::Repairing;
use self::rounds::Rounds;
pub(crate) use self::series::AllSeries;
use self::series::Asks;
pub(crate) use self::session::Sessions;
pub(crate) use self::wall::Wall;
use self::writes::Write;
use crate::effects::{Effects, Work};
use crate::input::KeyedState;
use crate::node::Node;

/// Marks the log of a replica's deltas, which is beside the one of its group.
const DELTA_LOG: u64 = 1 << 63;
/// Keys that one job of a FLUSHALL removes.
const FLUSHED_AT_ONCE: usize = 256;
/// Keys that one request of a scan looks at, at the most.
const MAX_SCANNED: usize = 1000;

/// The name of the log of a replica's deltas.
pub(crate) const fn delta_log(group: GroupId) -> GroupId {
    GroupId(group.0 | DELTA_LOG)
}

/// The group whose deltas stand in a log, if it is such a log.
#[must_use]
pub const fn group_of_log(log: GroupId) -> Option<GroupId> {
    match log.0 & DELTA_LOG {
        0 => None,
        _ => Some(GroupId(log.0 & !DELTA_LOG)),
    }
}

/// This node's replica of one convergent shard.
#[derive(Debug, Default)]
pub(crate) struct Keyed {
    /// What has happened and rests on what is not durable yet, in order.
    held: VecDeque<Outcome>,
    /// All deltas up to this index are durable.
    durable: u64,
    /// Who waits for a job, by its ticket.
    waiting: BTreeMap<u64, Waiting>,
    last_ticket: u64,
    /// What other replicas have not acknowledged.
    outstanding: BTreeMap<NodeId, Outstanding>,
    /// What was found in the log after a start that others may lack.
    found: Option<Hints>,
    /// Bytes of deltas that were logged since it was written how far the others have come.
    noted: usize,
    /// The last delta that a checkpoint has.
    checkpointed: u64,
    /// Deltas up to this index are not kept in the log for others any more.
    forgone: u64,
    size: Size,
    /// When there is something to tend, in milliseconds since 1970.
    due_ms: Option<i64>,
    /// Its repair.
    rounds: Rounds,
    /// When it last looked for what has expired.
    tended: Instant,
    /// Where it stands in the engine.
    space: SpaceId,
    /// Its part in rounds of Paxos.
    cas: Cas,
}

/// Who waits for a job.
#[derive(Debug)]
enum Waiting {
    /// A client, for a write.
    Write(Box<Write>),
    /// A client, for a read of several replicas.
    Read(Box<Read>),
    /// A client, for a read of this replica alone.
    Local(RequestId, Instant),
    /// A client, for a page of keys.
    Scan(RequestId, Instant),
    /// A client, for all keys to be gone; so many are.
    Flush(RequestId, Instant, u64),
    /// Another replica, that its delta be taken.
    Taking(NodeId, u64),
    /// Another replica, for the state of a key.
    Asked(NodeId, u64),
    /// Another replica, for what is known here, and how far the Raft log was applied when it asked.
    Attested(NodeId, u64, u64),
    /// Another replica, for what differs.
    Differs(NodeId, u64),
    /// Another replica, for the states of keys.
    Wanted(NodeId, u64),
    /// Another replica, for this one's hash tree to be made.
    Planting,
    /// This replica's own round of repair, of this name.
    Round(u64),
    /// Somebody, for something about rounds of Paxos.
    Cas(Ticket),
    /// A client in a session, for what is known here.
    Seen(RequestId),
    /// Nobody.
    Nobody,
}

impl Keyed {
    /// A replica as the applier has opened it. It gives names after this one.
    pub(crate) fn new(state: KeyedState, last_name: u64) -> Self {
        Self {
            last_ticket: last_name,
            durable: state.index,
            space: state.space,
            checkpointed: state.checkpointed,
            due_ms: state.due_ms,
            found: Some(state.hints),
            ..Self::default()
        }
    }

    pub(crate) const fn size(&self) -> Size {
        self.size
    }

    /// Whether it has to be looked at with every tick.
    fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
            || self.rounds.is_under_way()
            || self.found.is_some()
            || self.outstanding.values().any(|one| !one.is_empty())
    }

    pub(crate) const fn space(&self) -> SpaceId {
        self.space
    }

    fn ticket(&mut self, waiting: Waiting) -> u64 {
        self.last_ticket += 1;
        self.waiting.insert(self.last_ticket, waiting);
        self.last_ticket
    }
}

/// What a client asks of one key.
#[derive(Debug)]
struct Asked {
    id: RequestId,
    key: Bytes,
    op: Op,
    /// How many replicas must have answered, if it says so.
    level: Option<Level>,
    deadline: Instant,
    /// What a read sees of the key.
    sight: Sight,
    /// What a writer says that he has seen of the key; `None` is all that its coordinator holds.
    seen: Option<DotContext>,
}

impl Asked {
    const fn new(id: RequestId, key: Bytes, op: Op, level: Option<Level>, deadline: Instant) -> Self {
        Self { id, key, op, level, deadline, sight: Sight::Whole, seen: None }
    }
}

/// What an outcome rests on.
const fn index_of(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Executed { index, .. }
        | Outcome::Joined { index, .. }
        | Outcome::State { index, .. }
        | Outcome::Page { index, .. }
        | Outcome::Removed { index, .. }
        | Outcome::Attested { index, .. }
        | Outcome::Planted { index, .. }
        | Outcome::Compared { index, .. }
        | Outcome::Responded { index, .. }
        | Outcome::States { index, .. }
        | Outcome::Taken { index, .. }
        | Outcome::Mended { index, .. }
        | Outcome::Finished { index, .. }
        | Outcome::Flushed { index, .. }
        | Outcome::Rounds { index, .. }
        | Outcome::Tended { index, .. } => *index,
    }
}

/// What the log must have before an outcome counts.
fn logged(outcome: &Outcome) -> Option<(u64, &Bytes)> {
    match outcome {
        Outcome::Executed { index, delta: Some(delta), .. }
        | Outcome::Joined { index, logged: Some(delta), .. }
        | Outcome::Rounds { index, logged: Some(delta), .. }
        | Outcome::Removed { index, delta, .. }
        | Outcome::Taken { index, delta, .. }
        | Outcome::Finished { index, finished: Finished::Known(Some(delta)), .. } => Some((*index, delta)),
        Outcome::Executed { .. }
        | Outcome::Joined { .. }
        | Outcome::State { .. }
        | Outcome::Page { .. }
        | Outcome::Attested { .. }
        | Outcome::Planted { .. }
        | Outcome::Compared { .. }
        | Outcome::Responded { .. }
        | Outcome::States { .. }
        | Outcome::Mended { .. }
        | Outcome::Finished { .. }
        | Outcome::Flushed { .. }
        | Outcome::Rounds { .. }
        | Outcome::Tended { .. } => None,
    }
}

/// A write that goes to the others while it is on its way into the log: its ticket, where it stands there, and its delta.
fn leaving(outcome: &Outcome) -> Option<(u64, u64, Bytes)> {
    let Outcome::Executed { ticket, index, delta: Some(delta), leaves: Leaves::AtOnce, .. } = outcome else {
        return None;
    };
    Some((*ticket, *index, delta.clone()))
}

impl Node {
    /// A client of this node asks. The first replica in the shard's order that can be reached coordinates: its leader, or who is there.
    pub(crate) fn keyed_request(&mut self, now: Instant, id: RequestId, group: GroupId, call: Call, out: &mut Effects) {
        let coordinator = self.coordinator(now, group);
        if coordinator == self.shared.node() {
            self.coordinate(now, id, group, call, out);
        } else {
            self.route(now, id, group, call, out);
        }
    }

    /// Who coordinates what is asked of a shard that this node has a replica of. A hint: whoever does is right.
    pub(crate) fn coordinator(&self, now: Instant, group: GroupId) -> NodeId {
        let own = self.shared.node();
        let leader = self.groups.get(&group).and_then(crate::group::Group::leader);
        leader.filter(|leader| self.shared.peers.is_heard(now, *leader)).unwrap_or(own)
    }

    /// Does what is asked of a shard here.
    pub(crate) fn coordinate(&mut self, now: Instant, id: RequestId, group: GroupId, call: Call, out: &mut Effects) {
        let deadline = self.shared.config.request_deadline(now, call.timeout);
        let althing_api::Request::Keyed(request) = call.request else {
            let reason = "the table is convergent: it has no revisions and no transactions, and is spoken to as Redis";
            return out.responses.push((id, Err(ErrorKind::Unsupported(reason.to_owned()).into())));
        };
        let Some(keyed) = self.keyed.get_mut(&group) else {
            let reason = "the table is not of keyed values: it is spoken to as etcd";
            return out.responses.push((id, Err(ErrorKind::Unsupported(reason.to_owned()).into())));
        };
        if keyed.waiting.len() + keyed.cas.pending() >= limits::MAX_PENDING_REQUESTS {
            self.shared.metrics.overloads += 1;
            return out.responses.push((id, Err(ErrorKind::Overloaded.into())));
        }
        self.perform(now, id, group, request, deadline, out);
    }

    fn perform(
        &mut self,
        now: Instant,
        id: RequestId,
        group: GroupId,
        request: KeyedRequest,
        deadline: Instant,
        out: &mut Effects,
    ) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        match request {
            KeyedRequest::Operate { key, operation, access, level } => {
                let Ok(op) = Op::decode(&operation) else {
                    let error = ErrorKind::InvalidArgument("the operation does not parse".to_owned());
                    return out.responses.push((id, Err(error.into())));
                };
                self.operate(now, group, Asked::new(id, key, op, level, deadline), access, out);
            }
            KeyedRequest::Series { key, operations, access: _, read_level, write_level } => {
                let asks = Asks { id, key, operations, read_level, write_level, deadline };
                self.begin_series(now, group, asks, out);
            }
            KeyedRequest::Siblings { key, level } => self.siblings(now, group, (id, key, level, deadline), out),
            KeyedRequest::Put { key, value, context, level } => {
                self.put_seen(now, group, (id, key, level, deadline), (value, context), out);
            }
            KeyedRequest::InSession { token, request } => {
                self.begin_session(now, id, group, (token, *request), deadline, out);
            }
            KeyedRequest::Scan { after, limit, pattern, kind } => {
                let kind = match kind.map(|name| kind_named(&name)) {
                    Some(None) => {
                        let page = KeyedAnswer::Page { keys: Vec::new(), after: None };
                        return self.keyed_answer(id, page, out);
                    }
                    Some(kind) => kind,
                    None => None,
                };
                let ticket = keyed.ticket(Waiting::Scan(id, deadline));
                let count = (limit as usize).clamp(1, MAX_SCANNED);
                let now_ms = self.shared.wall.at(now);
                let request = ScanRequest { after, pattern, kind, count, now_ms };
                self.agenda.push(group, Job::Scan { ticket, request });
            }
            KeyedRequest::Transact { .. } => {
                let reason = "the table is convergent: its replicas agree on no order in which operations could happen together; \
                              use a strong table";
                out.responses.push((id, Err(ErrorKind::Unsupported(reason.to_owned()).into())));
            }
            KeyedRequest::Count => {
                let count = KeyedAnswer::Count(keyed.size.keys);
                self.keyed_answer(id, count, out);
            }
            KeyedRequest::Flush => {
                let ticket = keyed.ticket(Waiting::Flush(id, deadline, 0));
                let now_ms = self.shared.wall.at(now);
                self.agenda.push(group, Job::Flush { ticket, after: None, budget: FLUSHED_AT_ONCE, now_ms });
            }
        }
    }

    fn operate(&mut self, now: Instant, group: GroupId, asked: Asked, access: Access, out: &mut Effects) {
        match (self.course(group, &asked.op, asked.level), access) {
            (Course::Refuse(reason), _) => {
                out.responses.push((asked.id, Err(ErrorKind::Unsupported(reason.to_owned()).into())));
            }
            (Course::Unknown, _) => out.responses.push((asked.id, Err(ErrorKind::ShardUnavailable.into()))),
            (Course::Decide, _) => self.decide(now, group, asked, out),
            (Course::Converge, Access::Read) if asked.op.is_read() => self.keyed_read(now, group, asked, out),
            // What says that it writes, and only reads, is done in its order.
            (Course::Converge, Access::Read | Access::Write) => self.keyed_write(now, group, asked, out),
        }
    }

    fn keyed_answer(&mut self, id: RequestId, answer: KeyedAnswer, out: &mut Effects) {
        let Some(answer) = self.leave_session(id, answer) else { return };
        let (cluster, member) = (self.shared.config.cluster, self.shared.node());
        let header = Header { cluster, member, ..Header::default() };
        out.responses.push((id, Ok(Answer { header, body: Body::Keyed(answer) })));
    }

    /// The jobs of a turn go to the applier.
    pub(crate) fn flush_keyed(&mut self, out: &mut Effects) {
        let jobs = self.agenda.take_jobs().into_iter();
        out.work.extend(jobs.map(|(group, jobs)| Work::Keyed { group, jobs }));
    }

    /// The applier has worked some jobs off.
    pub(crate) fn keyed_done(
        &mut self,
        now: Instant,
        group: GroupId,
        outcomes: Vec<Outcome>,
        (size, due_ms): (Size, Option<i64>),
        out: &mut Effects,
    ) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.size = size;
        keyed.due_ms = due_ms;
        let log = delta_log(group);
        let mut last = None;
        for (index, delta) in outcomes.iter().filter_map(logged) {
            let payload = delta.clone();
            self.shared.wal.push(Record { group: log, kind: RecordKind::Delta, index, payload });
            last = Some(index);
        }
        if let Some(last) = last {
            self.shared.wal.wait(log, last);
        }
        let leaving: Vec<_> = outcomes.iter().filter_map(leaving).collect();
        keyed.held.extend(outcomes);
        for (ticket, index, delta) in leaving {
            self.send_write(now, group, (ticket, index), delta);
        }
        self.release_held(now, group, out);
    }

    /// The log has a replica's deltas up to an index.
    pub(crate) fn keyed_persisted(&mut self, now: Instant, group: GroupId, index: u64, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.durable = keyed.durable.max(index);
        self.release_held(now, group, out);
    }

    /// What rests on durable deltas only takes its course.
    fn release_held(&mut self, now: Instant, group: GroupId, out: &mut Effects) {
        loop {
            let Some(keyed) = self.keyed.get_mut(&group) else { return };
            let durable = if althing_probe::is(Mutant::TellBeforeDurable) { u64::MAX } else { keyed.durable };
            if keyed.held.front().is_none_or(|outcome| index_of(outcome) > durable) {
                return;
            }
            let Some(outcome) = keyed.held.pop_front() else { return };
            self.settle(now, group, outcome, out);
        }
    }

    /// Something has happened for good: whoever waits for it goes on.
    fn settle(&mut self, now: Instant, group: GroupId, outcome: Outcome, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        match outcome {
            Outcome::Executed { ticket, index, reply, delta, leaves } => {
                self.executed(now, group, (ticket, index), reply, delta.map(|delta| (delta, leaves)), out);
            }
            Outcome::Joined { ticket, result, logged, index } => match keyed.waiting.remove(&ticket) {
                Some(Waiting::Cas(Ticket::Commit { key, version, delta, ended })) => {
                    let is_new = logged.is_some();
                    self.committed(now, group, (key, version, delta, index), (ended, &result, is_new), out);
                }
                Some(Waiting::Taking(from, name)) => self.taken(group, from, name, &result),
                Some(_) | None => {}
            },
            Outcome::State { ticket, state, .. } => match keyed.waiting.remove(&ticket) {
                Some(Waiting::Asked(from, name)) => self.tell_state(group, from, name, state),
                Some(Waiting::Read(read)) => {
                    keyed.waiting.insert(ticket, Waiting::Read(read));
                    let own = self.shared.node();
                    let conf = self.knowledge(group).logged;
                    self.state_came(now, group, own, (ticket, conf), state, out);
                }
                Some(_) | None => {}
            },
            Outcome::Page { ticket, page, .. } => {
                if let Some(Waiting::Scan(id, _)) = keyed.waiting.remove(&ticket) {
                    let keys = page.keys.into_iter().map(|(key, _)| key).collect();
                    self.keyed_answer(id, KeyedAnswer::Page { keys, after: page.next }, out);
                }
            }
            Outcome::Removed { ticket, index, delta } => {
                if let Some(Waiting::Flush(_, _, removed)) = keyed.waiting.get_mut(&ticket) {
                    *removed += 1;
                }
                self.spread(now, group, index, delta);
            }
            Outcome::Flushed { ticket, next, .. } => match (next, keyed.waiting.get(&ticket)) {
                (None, Some(Waiting::Flush(id, _, removed))) => {
                    let (id, removed) = (*id, *removed);
                    keyed.waiting.remove(&ticket);
                    self.flush_over(group, ticket, id, removed, out);
                }
                (Some(after), Some(Waiting::Flush(..))) => {
                    let now_ms = self.shared.wall.at(now);
                    self.agenda.push(group, Job::Flush { ticket, after: Some(after), budget: FLUSHED_AT_ONCE, now_ms });
                }
                (_, _) => {}
            },
            Outcome::Attested { ticket, ref delta, .. } if let Some(Waiting::Seen(id)) = keyed.waiting.get(&ticket) => {
                let id = *id;
                keyed.waiting.remove(&ticket);
                self.end_session(group, id, delta, out);
            }
            Outcome::Rounds { ticket, told, index, .. } => self.task_done(now, group, (ticket, index), told, out),
            Outcome::Attested { .. }
            | Outcome::Planted { .. }
            | Outcome::Compared { .. }
            | Outcome::Responded { .. }
            | Outcome::States { .. }
            | Outcome::Taken { .. }
            | Outcome::Mended { .. }
            | Outcome::Finished { .. } => self.settle_repair(now, group, outcome),
            Outcome::Tended { ticket, rest, .. } => {
                keyed.waiting.remove(&ticket);
                // What is left is looked at with the next tick.
                if rest == Rest::Some {
                    keyed.tended = Instant::ZERO;
                }
            }
        }
    }

    /// The replicas of a shard, by its configuration as this one knows it.
    fn replicas_of(&self, group: GroupId) -> Sets {
        let Some(held) = self.groups.get(&group) else { return Sets::default() };
        let conf = held.replica.conf_state();
        let incoming = conf.voters.iter().copied().collect();
        if conf.is_joint() {
            return Sets { current: conf.voters_outgoing.iter().copied().collect(), incoming };
        }
        Sets { current: incoming, ..Sets::default() }
    }

    /// Everybody whom a write is sent to, without this node: its replicas, and those that are being filled.
    fn audience(&self, group: GroupId) -> Vec<NodeId> {
        let Some(held) = self.groups.get(&group) else { return Vec::new() };
        let mut all = self.replicas_of(group).everybody();
        all.extend(held.replica.conf_state().learners.iter().copied());
        all.remove(&self.shared.node());
        all.into_iter().collect()
    }

    fn requirement(&self, group: GroupId, level: Level) -> Requirement {
        let view = &self.control.view;
        let zone = |node: NodeId| view.node(node).map_or("", |node| node.spec.zone.as_str());
        Requirement::new(level, &self.replicas_of(group), zone, zone(self.shared.node()))
    }

    /// The level that a table's owner has chosen.
    fn table_level(&self, group: GroupId, access: Access) -> Level {
        let view = &self.control.view;
        let table = view.shard(group).and_then(|shard| view.table(&shard.spec.table));
        let chosen = table.and_then(|table| match access {
            Access::Read => table.spec.read_level,
            Access::Write => table.spec.write_level,
        });
        chosen.unwrap_or_default()
    }

    /// A client no longer waits. What it wrote takes its course.
    pub(crate) fn cancel_keyed(&mut self, id: RequestId) {
        self.cancel_series(id);
        for keyed in self.keyed.values_mut() {
            keyed.waiting.retain(|_, waiting| waiting.client() != Some(id));
            keyed.cas.cancel(id);
        }
        self.sessions.forget(id);
    }

    /// The replica leaves, or the node stops: who waits is told.
    pub(crate) fn close_keyed(&mut self, group: GroupId, out: &mut Effects) {
        let Some(keyed) = self.keyed.remove(&group) else { return };
        self.shared.names_given(keyed.last_ticket);
        let stopped = |id| (id, Err(Error::maybe_done(ErrorKind::Stopped)));
        out.responses.extend(keyed.cas.clients().map(stopped));
        self.agenda.forget(group);
        if keyed.rounds.is_under_way() {
            self.repairing.end();
        }
        keyed.outstanding.into_values().for_each(|outstanding| outstanding.drop_all(&mut self.hint_room));
        let told = keyed.waiting.into_values().filter_map(|waiting| waiting.given_up(ErrorKind::Stopped));
        out.responses.extend(told.map(|(id, error)| (id, Err(error))));
    }
}

impl Waiting {
    /// The client that waits, if it is one.
    const fn client(&self) -> Option<RequestId> {
        match self {
            Self::Write(write) => Some(write.id),
            Self::Read(read) => Some(read.id),
            Self::Local(id, _) | Self::Scan(id, _) | Self::Flush(id, _, _) | Self::Seen(id) => Some(*id),
            Self::Taking(..)
            | Self::Asked(..)
            | Self::Attested(..)
            | Self::Differs(..)
            | Self::Wanted(..)
            | Self::Planting
            | Self::Round(_)
            | Self::Cas(_)
            | Self::Nobody => None,
        }
    }

    /// What a client is told to whom nothing more will be said.
    fn given_up(self, why: ErrorKind) -> Option<(RequestId, Error)> {
        let id = self.client()?;
        let error = match self {
            Self::Write(_) | Self::Flush(..) | Self::Seen(_) => Error::maybe_done(why),
            Self::Read(_)
            | Self::Local(..)
            | Self::Scan(..)
            | Self::Taking(..)
            | Self::Asked(..)
            | Self::Attested(..)
            | Self::Differs(..)
            | Self::Wanted(..)
            | Self::Planting
            | Self::Round(_)
            | Self::Cas(_)
            | Self::Nobody => Error::not_done(why),
        };
        Some((id, error))
    }
}

/// The kind of value that a scan asks for.
const fn kind_named(name: &[u8]) -> Option<Kind> {
    match name {
        b"string" => Some(Kind::String),
        b"hash" => Some(Kind::Hash),
        b"set" => Some(Kind::Set),
        b"zset" => Some(Kind::Sorted),
        _ => None,
    }
}
