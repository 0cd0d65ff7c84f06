//! Repair in rounds: a replica compares its hash tree with another one's, and both get what differs ([`althing_convergent::survey`]).
//!
//! A delta that is lost for good, because its coordinator is gone or had too many to keep, is missed by nobody else. So a replica
//! makes a round with each other one when it starts, when that one comes back, and now and then.
//!
//! ```text
//!   Plant                      until the tree counts all keys
//!   Attest ──► Attested        what the other knows
//!   Compare ─► Differs  ─┐
//!   Want ────► States    ├─    from the root down to the keys that differ, as fast as the budget allows
//!   Mend, Delta ──►     ─┘
//!   Finish                     what the other knew is known here
//! ```
//!
//! All rounds of a node share one budget ([`crate::config::RepairConfig`]). What they do is counted for people to see
//! ([`super::progress`]).

use std::collections::{BTreeMap, VecDeque};

use althing_convergent::survey::{Compared, Finished, MAX_WANTS, Mended, Progress, Want, encode_wants};
use althing_convergent::{Compare, Job, Rest};
use althing_probe::Mutant;
use althing_types::{Duration, GroupId, Instant, NodeId};
use bytes::Bytes;

use super::Waiting;
use super::progress::{History, Tally};
use crate::envelope::{KeyedMessage, Message, Standing};
use crate::node::Node;

/// Keys of which a tree is made at once, about: the replica does nothing else meanwhile.
pub(super) const PLANTED_AT_ONCE: usize = 2_000;
/// How long a question may be without an answer before it is asked again.
const RESEND_AFTER: Duration = Duration::from_secs(1);
/// How long a round may be without any answer before it is begun anew.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a round with a replica the next one is due.
const ROUND_EVERY: Duration = Duration::from_secs(300);
/// The same, if there are deltas that the replica was sent and that are not kept for it.
const ROUND_SOON: Duration = Duration::from_secs(10);
/// How long a node that has said that it has no replica is not asked again.
const ABSENT_FOR: Duration = Duration::from_secs(2);
/// How long it takes until a round is tried again that could not begin.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How often a replica that is to be filled says that it is: its leader may be another one by then.
const FILLED_EVERY: Duration = Duration::from_millis(100);
/// Rounds that a node makes at once. More would only share the budget.
const MAX_ROUNDS: usize = 16;

const _: () = assert!(MAX_WANTS > 0);

/// The rounds of one replica.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The last round with each other replica that was over.
    done: BTreeMap<NodeId, Done>,
    pub(super) current: Option<Round>,
    /// Who has said that it has no replica, and when.
    absent: BTreeMap<NodeId, Instant>,
    /// Deltas that each replica was sent, was not seen to take, and is not kept, since the last round with it began.
    forgone: BTreeMap<NodeId, u64>,
    /// What those were, for people.
    pub(super) history: History,
}

/// A round that was over.
#[derive(Clone, Copy, Debug)]
struct Done {
    at: Instant,
    /// How far the other had applied the Raft log when it began.
    applied: u64,
}

/// A round with another replica.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) with: NodeId,
    /// Names it in what is said.
    name: u64,
    stage: Stage,
    pub(super) begun: Instant,
    /// When it last came on.
    since: Instant,
    /// How far the other has applied the Raft log.
    applied: u64,
    /// Deltas that were not kept when it began: it brings them.
    forgone: u64,
    /// Keys that differ.
    pub(super) wants: VecDeque<Want>,
    /// What is to be asked when they are mended.
    question: Option<Bytes>,
    /// How far the trees are compared.
    pub(super) progress: Progress,
    /// Buckets that were compared when all that was found was mended.
    pub(super) settled: u64,
    pub(super) tally: Tally,
}

/// What a round waits for.
#[derive(Debug)]
enum Stage {
    /// The applier of this replica.
    Own,
    /// The other replica, to which this was sent, at that moment.
    Theirs(KeyedMessage, Instant),
    /// The budget.
    Budget,
}

impl Round {
    const NOTHING: Progress = Progress { compared: 0, total: 0, differing: 0 };

    /// Whether this is the answer to what it has asked last.
    fn awaits(&self, from: NodeId, answer: &KeyedMessage) -> bool {
        match &self.stage {
            Stage::Theirs(asked, _) => self.with == from && asked.is_answered_by(answer),
            Stage::Own | Stage::Budget => false,
        }
    }

    const fn begin(now: Instant, with: NodeId, name: u64) -> Self {
        Self {
            with,
            name,
            stage: Stage::Own,
            begun: now,
            since: now,
            applied: 0,
            forgone: 0,
            wants: VecDeque::new(),
            question: None,
            progress: Self::NOTHING,
            settled: 0,
            tally: Tally { differing: 0, mended: 0, bytes: 0 },
        }
    }

    /// Whether it waits for the budget.
    pub(super) const fn is_waiting(&self) -> bool {
        match self.stage {
            Stage::Budget => true,
            Stage::Own | Stage::Theirs(..) => false,
        }
    }
}

impl Rounds {
    pub(super) const fn is_under_way(&self) -> bool {
        self.current.is_some()
    }

    /// A replica is not heard any more: when it is back it may have missed something, and have what is missed here.
    pub(super) fn lose(&mut self, node: NodeId) {
        self.done.remove(&node);
    }

    /// A delta is not kept for a replica.
    pub(super) fn forgo(&mut self, node: NodeId) {
        *self.forgone.entry(node).or_default() += 1;
    }

    /// Deltas that were not kept for a replica, and come by the next round.
    pub(super) fn forgone(&self, node: NodeId) -> u64 {
        self.forgone.get(&node).copied().unwrap_or(0)
    }

    /// A round with a replica came to its end: it has brought what was not kept when it began.
    fn brought(&mut self, node: NodeId, forgone: u64) {
        match self.forgone(node).saturating_sub(forgone) {
            0 => drop(self.forgone.remove(&node)),
            rest => drop(self.forgone.insert(node, rest)),
        }
    }

    /// Whether a node has said lately that it has no replica.
    fn is_absent(&self, now: Instant, node: NodeId) -> bool {
        self.absent.get(&node).is_some_and(|said| now.since(*said) < ABSENT_FOR)
    }

    /// When a round with a replica is due that knows of the configuration up to an index.
    fn due(&self, node: NodeId, applied: u64) -> Instant {
        match self.done.get(&node) {
            Some(done) if done.applied >= applied && self.forgone(node) > 0 => done.at + ROUND_SOON,
            Some(done) if done.applied >= applied => done.at + ROUND_EVERY,
            Some(_) | None => Instant::ZERO,
        }
    }
}

impl Node {
    /// Begins a round that is due, with a replica that is there, or sees to the one that is under way.
    pub(super) fn tick_round(&mut self, now: Instant, group: GroupId) {
        self.tell_filled(now, group);
        let audience = self.audience(group);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let rounds = &mut keyed.rounds;
        rounds.done.retain(|node, _| audience.contains(node));
        rounds.absent.retain(|node, _| audience.contains(node));
        rounds.history.retain(&audience);
        rounds.forgone.retain(|node, _| audience.contains(node));
        if let Some(round) = &rounds.current {
            if now.since(round.since) < ROUND_TIMEOUT && audience.contains(&round.with) {
                return self.see_to_round(now, group);
            }
            self.break_off(group);
        }
        let wanted = self.wanted_confs(group);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let is_due = |node: &&NodeId| {
            let is_there = self.shared.peers.is_heard(now, **node) && !keyed.rounds.is_absent(now, **node);
            is_there && keyed.rounds.due(**node, wanted) <= now
        };
        let Some(with) = audience.iter().find(is_due).copied() else { return };
        if self.repairing.begin(now, MAX_ROUNDS) {
            keyed.last_ticket += 1;
            let name = keyed.last_ticket;
            let forgone = keyed.rounds.forgone(with);
            keyed.rounds.current = Some(Round { forgone, ..Round::begin(now, with, name) });
            self.round_job(group, |ticket| Job::Plant { ticket, budget: PLANTED_AT_ONCE });
        }
    }

    /// When something is to be done for repair, if nothing happens before.
    pub(super) fn next_round(&self, now: Instant, group: GroupId) -> Instant {
        let Some(keyed) = self.keyed.get(&group) else { return Instant::FAR_FUTURE };
        let wanted = self.wanted_confs(group);
        let heard = self.audience(group).into_iter().filter(|node| self.shared.peers.is_heard(now, *node));
        let next = heard.map(|node| keyed.rounds.due(node, wanted)).min().unwrap_or(Instant::FAR_FUTURE);
        let own = self.shared.node();
        let is_filled = self.groups.get(&group).is_some_and(|held| held.to_be_compared(own).is_some());
        let earliest = if is_filled { now + FILLED_EVERY } else { Instant::FAR_FUTURE };
        earliest.min(next.max(now + TRY_AGAIN_AFTER))
    }

    /// How far another replica must have applied the log for a round with it to count: whoever is to be filled needs to know that it
    /// knew of the change.
    fn wanted_confs(&self, group: GroupId) -> u64 {
        let Some(held) = self.groups.get(&group) else { return 0 };
        match held.to_be_compared(self.shared.node()) {
            Some(_) => held.confs().applied(),
            None => 0,
        }
    }

    /// A replica that has made its rounds with most of the voters, since they know of the change that concerns it, has all that was
    /// acknowledged by a quorum before. It makes one with every voter that is there, because one of them is to go, and may be the
    /// only one that has a write. It says so to its leader, again and again, for that may change; one that has not heard of a
    /// leader, because the group sleeps, says it to all voters.
    fn tell_filled(&mut self, now: Instant, group: GroupId) {
        let own = self.shared.node();
        let Some(held) = self.groups.get(&group) else { return };
        let Some((voters, standing)) = held.to_be_compared(own) else { return };
        let Some(keyed) = self.keyed.get(&group) else { return };
        // Two replicas need both to decide, and whoever is new among them can copy only while the one that goes is there.
        if standing == Standing::Incoming && self.copies_registers(group) {
            return;
        }
        let wanted = held.confs().applied();
        // Who has not heard of a leader, because the group sleeps, tells everybody.
        let told = held.leader().map_or_else(|| voters.to_vec(), |leader| vec![leader]);
        let is_compared =
            |voter: &&NodeId| **voter == own || keyed.rounds.done.get(voter).is_some_and(|done| done.applied >= wanted);
        // A voter that never came, or has gone, has nothing: the map may have moved it before its node had founded it.
        let is_absent = |voter: &NodeId| keyed.rounds.is_absent(now, *voter);
        let is_there = |voter: &NodeId| self.shared.peers.is_heard(now, *voter) && !is_absent(voter);
        let is_due = voters.iter().any(|voter| is_there(voter) && !is_compared(&voter));
        if is_due || voters.iter().filter(is_compared).count() <= voters.len() / 2 {
            return;
        }
        let name = keyed.last_ticket;
        for node in told {
            if node == own {
                self.filled(group, own, standing);
            } else {
                self.shared.peers.send(node, &Message::Keyed(group, KeyedMessage::Filled { name, standing }));
            }
        }
    }

    /// Another replica says that it has made its rounds.
    pub(super) fn filled(&mut self, group: GroupId, from: NodeId, standing: Standing) {
        if let Some(held) = self.groups.get_mut(&group) {
            held.values_filled(from, standing);
        }
    }

    /// A job of this replica's round.
    fn round_job(&mut self, group: GroupId, job: impl FnOnce(u64) -> Job) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(round) = &mut keyed.rounds.current else { return };
        round.stage = Stage::Own;
        let name = round.name;
        let ticket = keyed.ticket(Waiting::Round(name));
        self.agenda.push(group, job(ticket));
    }

    /// Says something to the other side of the round.
    fn round_says(&mut self, now: Instant, group: GroupId, message: impl FnOnce(u64) -> KeyedMessage) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.last_ticket += 1;
        let Some(round) = &mut keyed.rounds.current else { return };
        let message = message(keyed.last_ticket);
        self.repairing.spend(message.bytes(), 0);
        self.shared.metrics.repair_bytes += message.bytes();
        round.tally.bytes += message.bytes();
        self.shared.peers.send(round.with, &Message::Keyed(group, message.clone()));
        round.stage = Stage::Theirs(message, now);
    }

    /// The round that waits for this answer, if there is one; what it cost is paid.
    fn answered_round(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        answer: &KeyedMessage,
    ) -> Option<&mut Round> {
        let round = self.keyed.get_mut(&group)?.rounds.current.as_mut()?;
        if !round.awaits(from, answer) {
            return None;
        }
        self.repairing.spend(answer.bytes(), 0);
        self.shared.metrics.repair_bytes += answer.bytes();
        round.tally.bytes += answer.bytes();
        round.since = now;
        Some(round)
    }

    /// The other side of a round has answered.
    pub(super) fn round_answered(&mut self, now: Instant, group: GroupId, from: NodeId, answer: KeyedMessage) {
        let Some(round) = self.answered_round(now, group, from, &answer) else { return };
        match answer {
            KeyedMessage::Attested { applied, delta: attested, .. } => {
                round.applied = applied;
                if althing_probe::is(Mutant::AttestFirst) {
                    self.agenda.push(group, Job::Join { ticket: 0, delta: attested.clone() });
                }
                let Some(round) = self.keyed.get_mut(&group).and_then(|keyed| keyed.rounds.current.as_mut()) else {
                    return;
                };
                let step = Compare::Begin { session: round.name, attested };
                self.round_job(group, |ticket| Job::Compare { ticket, step });
            }
            KeyedMessage::Differs { answer, .. } => {
                self.round_job(group, |ticket| Job::Compare { ticket, step: Compare::Go { answer } });
            }
            KeyedMessage::States { answered, states, .. } => {
                // At least one: or it would be asked for the same again and again.
                let answered = usize::try_from(answered).unwrap_or(usize::MAX).clamp(1, MAX_WANTS);
                round.wants.drain(..answered.min(round.wants.len()));
                self.round_job(group, |ticket| Job::Mend { ticket, states });
            }
            KeyedMessage::Delta { .. }
            | KeyedMessage::Taken { .. }
            | KeyedMessage::Refused { .. }
            | KeyedMessage::Ask { .. }
            | KeyedMessage::State { .. }
            | KeyedMessage::Attest { .. }
            | KeyedMessage::Absent { .. }
            | KeyedMessage::Compare { .. }
            | KeyedMessage::Want { .. }
            | KeyedMessage::Round { .. }
            | KeyedMessage::Rounded { .. }
            | KeyedMessage::Registers { .. }
            | KeyedMessage::Copied { .. }
            | KeyedMessage::Filled { .. } => {}
        }
    }

    /// The round of this name, if it is the one that is under way.
    fn round(&mut self, now: Instant, group: GroupId, name: u64) -> Option<&mut Round> {
        let round = self.keyed.get_mut(&group)?.rounds.current.as_mut().filter(|round| round.name == name)?;
        round.since = now;
        Some(round)
    }

    /// The tree has grown.
    pub(super) fn planted(&mut self, now: Instant, group: GroupId, name: u64, rest: Rest) {
        if self.round(now, group, name).is_none() {
            return;
        }
        match rest {
            Rest::Some => self.round_job(group, |ticket| Job::Plant { ticket, budget: PLANTED_AT_ONCE }),
            Rest::None => self.round_says(now, group, |name| KeyedMessage::Attest { name }),
        }
    }

    /// This replica's comparison has come on.
    pub(super) fn compared(&mut self, now: Instant, group: GroupId, name: u64, compared: Compared) {
        let Some(round) = self.round(now, group, name) else { return };
        match compared {
            Compared::Question { question, wants, found, progress } => {
                round.progress = progress;
                round.tally.differing += found;
                round.wants.extend(wants);
                round.question = Some(question);
                self.next_step(now, group);
            }
            Compared::Over { wants, found, progress } => {
                round.progress = progress;
                round.tally.differing += found;
                round.wants.extend(wants);
                self.next_step(now, group);
            }
            Compared::Unready => {
                // It compares from the root again when there is a tree.
                (round.progress, round.settled) = (Round::NOTHING, 0);
                self.round_job(group, |ticket| Job::Plant { ticket, budget: PLANTED_AT_ONCE });
            }
            // The name of an answer fits only the last question, so it is none of before.
            Compared::Stale | Compared::Broken => self.break_off(group),
        }
    }

    /// States of the other replica were joined; what it lacks itself it is sent.
    pub(super) fn mended(&mut self, now: Instant, group: GroupId, name: u64, mended: Mended) {
        let Some(round) = self.round(now, group, name) else { return };
        let with = round.with;
        round.tally.mended += mended.mended;
        round.tally.bytes += mended.lacking.iter().map(|delta| delta.len() as u64).sum::<u64>();
        self.repairing.spend(0, mended.keys);
        self.shared.metrics.repair_keys += mended.keys;
        self.shared.metrics.repair_joined += mended.joined;
        if mended.result.is_err() {
            return self.break_off(group);
        }
        self.shared.metrics.repair_sent += mended.lacking.len() as u64;
        for delta in mended.lacking {
            self.repairing.spend(delta.len() as u64, 0);
            self.shared.metrics.repair_bytes += delta.len() as u64;
            self.repair(now, group, with, delta);
        }
        self.next_step(now, group);
    }

    /// The round that is under way is looked at with a tick.
    fn see_to_round(&mut self, now: Instant, group: GroupId) {
        let Some(round) = self.keyed.get_mut(&group).and_then(|keyed| keyed.rounds.current.as_mut()) else { return };
        match &mut round.stage {
            Stage::Own => {}
            Stage::Budget => {
                round.since = now;
                self.next_step(now, group);
            }
            Stage::Theirs(message, sent) if now.since(*sent) >= RESEND_AFTER => {
                *sent = now;
                self.shared.peers.send(round.with, &Message::Keyed(group, message.clone()));
            }
            Stage::Theirs(..) => {}
        }
    }

    /// What comes next in a round, if the budget allows it.
    fn next_step(&mut self, now: Instant, group: GroupId) {
        let is_affordable = self.repairing.is_affordable(now);
        let Some(round) = self.keyed.get_mut(&group).and_then(|keyed| keyed.rounds.current.as_mut()) else { return };
        if round.wants.is_empty() {
            round.settled = round.progress.compared;
        }
        if !is_affordable {
            round.stage = Stage::Budget;
        } else if !round.wants.is_empty() {
            let wants: Vec<Want> = round.wants.iter().take(MAX_WANTS).cloned().collect();
            let wants = encode_wants(&wants);
            self.round_says(now, group, |name| KeyedMessage::Want { name, wants });
        } else if let Some(question) = round.question.take() {
            self.round_says(now, group, |name| KeyedMessage::Compare { name, question });
        } else {
            self.round_job(group, |ticket| Job::Finish { ticket });
        }
    }

    /// A round is at its end, or nearly.
    pub(super) fn finished(&mut self, now: Instant, group: GroupId, name: u64, finished: Finished) {
        let Some(round) = self.round(now, group, name) else { return };
        match finished {
            Finished::Known(_) => {
                let (with, done) = (round.with, Done { at: now, applied: round.applied });
                let (begun, tally, forgone) = (round.begun, round.tally, round.forgone);
                if let Some(keyed) = self.keyed.get_mut(&group) {
                    keyed.rounds.done.insert(with, done);
                    keyed.rounds.brought(with, forgone);
                    keyed.rounds.history.ended(with, begun, now, tally);
                    keyed.rounds.current = None;
                }
                self.repairing.end();
                self.shared.metrics.rounds += 1;
            }
            Finished::Again(wants) => {
                round.wants.extend(wants);
                self.next_step(now, group);
            }
            Finished::Broken => self.break_off(group),
        }
    }

    /// The other one of a round has no replica: there is nothing to be compared, for a while.
    pub(super) fn round_absent(&mut self, now: Instant, group: GroupId, from: NodeId, answer: &KeyedMessage) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let rounds = &mut keyed.rounds;
        if rounds.current.take_if(|round| round.awaits(from, answer)).is_some() {
            rounds.absent.insert(from, now);
            self.repairing.end();
        }
    }

    /// A round does not come to its end; it is begun anew some time later.
    fn break_off(&mut self, group: GroupId) {
        if let Some(keyed) = self.keyed.get_mut(&group)
            && let Some(round) = keyed.rounds.current.take()
        {
            keyed.rounds.history.broke(round.with);
            self.repairing.end();
            self.shared.metrics.rounds_broken += 1;
        }
    }
}
