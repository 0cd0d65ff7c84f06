//! Strings that are decided by rounds of Paxos, in tables that say `conditional: paxos` (ADR 19, ADR 23).
//!
//! The replica that coordinates is the proposer (`althing_paxos::Proposer`); every replica of the shard is an acceptor, whose memory stands
//! beside its values and is logged with its deltas (`althing_convergent::rounds`).
//!
//! ```text
//!   coordinator ── Prepare, Accept ──► replicas: Task::Answer ──► log, fsync ──► answer
//!        │ Compute: Task::Propose at its own replica; its dots are durable before the value leaves
//!        ▼
//!      chosen: Job::Join here, logged; sent to the others as any delta; the client is told
//! ```
//!
//! Each question carries the epoch of the group's configuration, which is the index of the entry that made it so. Replicas of other
//! epochs do not answer one another, and in a joint configuration a quorum is one of both sets. A newcomer is silent until it
//! has copied what most of the others remember ([`fill`]).

mod care;
mod conduct;
mod fill;
mod finish;

use std::collections::{BTreeMap, BTreeSet};

use althing_convergent::rounds::{Task, Then, Told, Wish};
use althing_convergent::{Job, Refusal};
use althing_datatypes::op::HashOp;
use althing_datatypes::{Op, Reply};
use althing_manifest::Conditional;
use althing_paxos::acceptor::Shard as Acceptance;
use althing_paxos::proposer::{Failure, Kind, Outcome, Settings, Timer};
use althing_paxos::{Ballot, Config, Peer, Proposer};
use althing_quorum::Level;
use althing_types::{Duration, GroupId, Instant, NodeId, RequestId};
use bytes::Bytes;

use self::fill::Fill;
use super::Waiting;
use crate::node::Node;

/// Why what claims something is refused.
const NEEDS_AGREEMENT: &str = "this table does not decide conditions (spec.conditional is \"refuse\"): two sides of a partition would \
     both be told yes. Use a table with \"paxos\" for strings, or a strong one";
/// Why it is refused of a hash.
const STRINGS_ONLY: &str = "this table decides conditions of strings only, and a hash is none: use a strong table";
/// Keys of which the version that is joined here is remembered: what is read again and again is not joined each time.
const REMEMBERED: usize = 4096;
/// How long a shard that is decided by rounds is not looked at if nothing happens.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a replica does about rounds.
#[derive(Debug, Default)]
pub(super) struct Cas {
    proposer: Option<Proposer>,
    /// The epoch that the proposer and the acceptor were told.
    epoch: Option<u64>,
    requests: BTreeMap<RequestId, Pending>,
    last_request: u64,
    timers: BTreeSet<(Instant, Timer)>,
    /// Versions that are joined here.
    joined: BTreeMap<Bytes, Ballot>,
    /// Keys for which something was proposed whose fate is not known.
    doubts: BTreeSet<Bytes>,
    /// Keys with rounds that no client waits for.
    cared: BTreeSet<Bytes>,
    /// Removals that a FLUSHALL waits for, by its ticket.
    flushes: BTreeMap<u64, Flush>,
    fill: Fill,
    care: care::Care,
}

/// The removals of a FLUSHALL.
#[derive(Debug, Default)]
struct Flush {
    left: u64,
    /// Whom to tell how many keys were removed, when all pages are through.
    told: Option<(RequestId, u64)>,
}

/// A request that goes through a round.
#[derive(Debug)]
struct Pending {
    whose: Whose,
    key: Bytes,
    wish: Wish,
    kind: Kind,
    level: Option<Level>,
    deadline: Instant,
    /// What was computed, by the version that it would be.
    computed: Vec<(Ballot, Result<Reply, Refusal>, Then)>,
}

/// For whom a round is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// For a client.
    Client(RequestId),
    /// For a FLUSHALL, by its ticket.
    Flush(u64),
    /// For nobody.
    Nobody,
}

/// A request that is over, and waits until what was chosen is joined here.
#[derive(Debug)]
pub(super) struct Ended {
    request: RequestId,
    result: Result<Outcome, Failure>,
}

/// Who waits for a job about rounds.
#[derive(Debug)]
pub(super) enum Ticket {
    /// A proposer, for an acceptor's answer.
    Answer(NodeId),
    /// A round, for its next value.
    Compute(RequestId, Ballot),
    /// Whoever's request ends with it, for a chosen value to be joined.
    Commit { key: Bytes, version: Ballot, delta: Bytes, ended: Option<Ended> },
    /// A newcomer, for a page of registers, by the name of its question.
    Page(NodeId, u64),
    /// This replica, which is new, for a page of this other one's to be copied in the configuration of this epoch.
    Copy { from: NodeId, name: u64, after: Option<Bytes> },
    /// Nobody in particular.
    Own,
}

/// How an operation is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Course {
    /// As every operation of a convergent table.
    Converge,
    /// By a round.
    Decide,
    /// Not at all, for this reason.
    Refuse(&'static str),
    /// Not now: this node's map does not have the table, and so does not say how.
    Unknown,
}

impl Cas {
    /// Requests that are not over.
    pub(super) fn pending(&self) -> usize {
        self.requests.len()
    }

    /// Whether something is under way.
    fn is_busy(&self) -> bool {
        !self.requests.is_empty() || !self.timers.is_empty() || self.fill.is_under_way()
    }

    /// A client no longer waits.
    pub(super) fn cancel(&mut self, id: RequestId) {
        for pending in self.requests.values_mut().filter(|pending| pending.whose == Whose::Client(id)) {
            pending.whose = Whose::Nobody;
        }
    }

    /// The clients that wait.
    pub(super) fn clients(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.requests.values().filter_map(|pending| match pending.whose {
            Whose::Client(id) => Some(id),
            Whose::Flush(_) | Whose::Nobody => None,
        })
    }
}

impl Node {
    /// What a table's owner has chosen for conditions, if the map says so here.
    pub(super) fn conditional(&self, group: GroupId) -> Option<Conditional> {
        let view = &self.control.view;
        let table = view.shard(group).and_then(|shard| view.table(&shard.spec.table));
        table.map(|table| table.spec.conditional)
    }

    /// How an operation is done.
    pub(super) fn course(&self, group: GroupId, op: &Op, level: Option<Level>) -> Course {
        let Some(conditional) = self.conditional(group) else { return Course::Unknown };
        match (conditional, op) {
            (Conditional::Refuse, op) if op.claims() => Course::Refuse(NEEDS_AGREEMENT),
            (Conditional::Refuse, _) => Course::Converge,
            (Conditional::Paxos, Op::Hash(HashOp::SetIfAbsent { .. })) => Course::Refuse(STRINGS_ONLY),
            (Conditional::Paxos, Op::Hash(_) | Op::Set(_) | Op::Sorted(_) | Op::Sketch(_)) => Course::Converge,
            // Who asks for one replica takes what that has.
            (Conditional::Paxos, op) if op.is_read() && level == Some(Level::One) => Course::Converge,
            (Conditional::Paxos, Op::Key(_) | Op::String(_) | Op::Bits(_)) => Course::Decide,
        }
    }

    /// The acceptors of a shard, by its configuration as this replica knows it.
    fn acceptors(&self, group: GroupId) -> Option<Config> {
        let conf = self.groups.get(&group)?.replica.conf_state();
        let peers = |nodes: &[NodeId]| nodes.iter().map(|node| peer(*node)).collect::<Vec<_>>();
        if conf.voters.is_empty() {
            return None;
        }
        Some(if conf.is_joint() {
            Config::moving(conf.epoch, &peers(&conf.voters_outgoing), &peers(&conf.voters))
        } else {
            Config::stable(conf.epoch, &peers(&conf.voters))
        })
    }

    /// Sees to it that the proposer and the acceptor go by the configuration that this replica knows.
    fn follow_epoch(&mut self, now: Instant, group: GroupId, out: &mut crate::Effects) {
        let Some(config) = self.acceptors(group) else { return };
        let own = self.shared.node();
        let since = self.groups.get(&group).and_then(|held| held.replica.conf_state().voter_since(own));
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if keyed.cas.epoch == Some(config.epoch()) {
            return;
        }
        keyed.cas.epoch = Some(config.epoch());
        keyed.cas.fill = Fill::default();
        let task = Task::Configure { epoch: config.epoch(), stage: config.stage(), since };
        let ticket = keyed.ticket(Waiting::Cas(Ticket::Own));
        self.agenda.push(group, Job::Rounds { ticket, task });
        if keyed.cas.proposer.is_some() {
            return self.conduct(now, group, althing_paxos::proposer::Input::Configure(config), out);
        }
        // A proposer's name is never used twice, not even in one run by a replica that went and came back.
        let incarnation = self.shared.new_transfer();
        let seed = self.shared.rng.u64(..);
        let proposer = Proposer::new(self.shared.node(), incarnation, config, Settings::default(), seed);
        if let Some(keyed) = self.keyed.get_mut(&group) {
            keyed.cas.proposer = Some(proposer);
        }
    }

    /// A task about rounds is done, and durable.
    pub(super) fn task_done(
        &mut self,
        now: Instant,
        group: GroupId,
        (ticket, index): (u64, u64),
        told: Told,
        out: &mut crate::Effects,
    ) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if let Told::Due(key) = told {
            return self.round_due(now, group, ticket, key, out);
        }
        let Some(Waiting::Cas(waiting)) = keyed.waiting.remove(&ticket) else { return };
        match (waiting, told) {
            (Ticket::Answer(to), Told::Answered(Some(answer))) => self.acceptor_answered(now, group, to, answer, out),
            (Ticket::Compute(request, ballot), Told::Proposed { reply, change, then }) => {
                self.proposed(now, group, request, ballot, (reply, change, then), out);
            }
            (Ticket::Page(to, name), Told::Page { registers, next, standing: Some(standing) }) => {
                self.tell_registers(group, to, name, registers, next, standing);
            }
            (Ticket::Copy { from, name, after }, Told::Copied) => self.copied(now, group, from, name, after),
            (Ticket::Own, Told::Standing(standing)) => self.standing(group, standing),
            (Ticket::Own, Told::Resolved(Some(delta))) => self.spread(now, group, index, delta),
            (Ticket::Own, Told::Unsettled { open, absent, inherited, next }) => {
                self.look_after(now, group, care::Found { open, absent, inherited, next }, out);
            }
            // Nothing to be said: the acceptor is silent, or there was nothing to resolve.
            (
                Ticket::Answer(_)
                | Ticket::Compute(..)
                | Ticket::Commit { .. }
                | Ticket::Page(..)
                | Ticket::Copy { .. }
                | Ticket::Own,
                Told::Answered(_)
                | Told::Proposed { .. }
                | Told::Page { .. }
                | Told::Copied
                | Told::Standing(_)
                | Told::Resolved(_)
                | Told::Unsettled { .. }
                | Told::Due(_),
            ) => {}
        }
    }

    fn standing(&mut self, group: GroupId, standing: Option<Acceptance>) {
        if let Some(keyed) = self.keyed.get_mut(&group)
            && let Some(standing) = standing
            // What was asked of an earlier configuration says nothing of this one.
            && keyed.cas.epoch == Some(standing.epoch)
        {
            keyed.cas.fill.stands(standing.standing);
        }
    }

    /// Whether rounds of a shard want its next tick; else when they are to be looked at again, if it has some.
    pub(super) fn next_rounds(&self, now: Instant, group: GroupId) -> Instant {
        let is_busy = self.keyed.get(&group).is_some_and(|keyed| keyed.cas.is_busy());
        match (self.conditional(group), is_busy) {
            (_, true) => now,
            // The map comes, or the shard goes with its table.
            (Some(Conditional::Paxos) | None, false) => now + LOOK_AGAIN_AFTER,
            (Some(Conditional::Refuse), false) => Instant::FAR_FUTURE,
        }
    }

    /// Time passes.
    pub(super) fn tick_rounds(&mut self, now: Instant, group: GroupId, out: &mut crate::Effects) {
        if self.conditional(group) == Some(Conditional::Paxos) {
            self.follow_epoch(now, group, out);
            self.tick_fill(now, group);
            self.tick_care(now, group);
        }
        loop {
            let Some(keyed) = self.keyed.get_mut(&group) else { return };
            let due = keyed.cas.timers.first().copied().filter(|(at, _)| *at <= now);
            let Some((at, timer)) = due else { return };
            keyed.cas.timers.remove(&(at, timer));
            self.conduct(now, group, althing_paxos::proposer::Input::Timer(timer), out);
        }
    }
}

/// A node as an acceptor. One that lost its memory comes back with another configuration, and so another epoch.
const fn peer(node: NodeId) -> Peer {
    Peer { node, generation: 0 }
}
