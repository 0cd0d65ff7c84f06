//! Repair in rounds: a replica goes through all keys of itself and of another one, and joins what differs.
//!
//! A delta that is lost for good, because its coordinator died or had too many to keep, is missed by nobody else. So a replica
//! makes a round with each other one when it starts, and now and then, unless both know the same. It begins with the word of the other on
//! what it knows, which is joined last: only when every key has been joined does this replica know it too, removals included
//! ([`althing_convergent`]).
//!
//! ```text
//!   Attest ──► Attested        what the other knows: if it is what is known here there is nothing to do
//!   Name ────► Names  ─┐
//!   Ask ─────► State   ├─ page by page, first the other's keys, then this replica's own
//!   own state, repair ─┘
//!   Join(Attested)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use althing_convergent::{Job, JoinError, repair};
use althing_probe::Mutant;
use althing_types::{Duration, GroupId, Instant, NodeId};
use bytes::Bytes;

use super::Waiting;
use crate::envelope::{KeyedMessage, Message};
use crate::node::Node;

/// Keys that are compared at once: each is a message with its state.
const PAGE_KEYS: usize = 64;
/// How long a round may be without any answer before it is begun anew.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a round with a replica the next one is due.
const ROUND_EVERY: Duration = Duration::from_secs(300);

/// The rounds of one replica.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// When the last round with each other replica was over.
    done: BTreeMap<NodeId, Instant>,
    current: Option<Round>,
}

/// A round with another replica.
#[derive(Debug)]
struct Round {
    with: NodeId,
    /// Names it in what is said.
    name: u64,
    stage: Stage,
    /// When it last came on.
    since: Instant,
}

/// How far a round is.
#[derive(Debug)]
enum Stage {
    /// Both are to say what they know.
    Attesting(Pair),
    /// Names of keys are to come.
    Naming { attested: Bytes, whose: Side },
    /// Keys are compared; then it goes on after this one, if there are more.
    Comparing { attested: Bytes, whose: Side, open: BTreeMap<u64, Pair>, after: Option<Bytes> },
}

/// Whose keys or state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// The other replica's.
    Theirs,
    /// This one's.
    Own,
}

/// What two replicas have of a key, as far as it is known.
#[derive(Debug, Default)]
struct Pair {
    own: Option<Bytes>,
    theirs: Option<Bytes>,
}

impl Pair {
    fn take(&mut self, whose: Side, said: Bytes) {
        match whose {
            Side::Theirs => self.theirs = Some(said),
            Side::Own => self.own = Some(said),
        }
    }
}

/// A page of names.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) whose: Side,
    pub(super) keys: Vec<Bytes>,
    pub(super) after: Option<Bytes>,
}

impl Node {
    /// Begins a round that is due, with a replica that is there.
    pub(super) fn tick_round(&mut self, now: Instant, group: GroupId) {
        self.tell_filled(now, group);
        let audience: BTreeSet<_> = self.audience(group).into_iter().collect();
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let rounds = &mut keyed.rounds;
        // Whoever is back after a while may have missed something, and have what is missed here.
        rounds.done.retain(|node, _| audience.contains(node) && self.shared.peers.is_heard(now, *node));
        if let Some(round) = &rounds.current {
            if now.since(round.since) < ROUND_TIMEOUT && audience.contains(&round.with) {
                return;
            }
            rounds.current = None;
        }
        let is_due = |node: &NodeId| rounds.done.get(node).is_none_or(|done| now.since(*done) >= ROUND_EVERY);
        let with = audience.iter().find(|node| is_due(node) && self.shared.peers.is_heard(now, **node)).copied();
        if let Some(with) = with {
            keyed.last_ticket += 1;
            let name = keyed.last_ticket;
            keyed.rounds.current = Some(Round { with, name, stage: Stage::Attesting(Pair::default()), since: now });
            let ticket = keyed.ticket(Waiting::Round(name));
            keyed.jobs.push(Job::Attest { ticket });
            self.shared.peers.send(with, &Message::Keyed(group, KeyedMessage::Attest { name }));
        }
    }

    /// A newcomer that has made its rounds with most of the voters has all that a quorum acknowledged before it came, and has been sent
    /// all since. It makes one with every voter that is there, because one of them is to go, and may be the only one that has a
    /// write. It says so to its leader, again and again, for that may change; one that has not heard of a leader, because the group
    /// sleeps, says it to all voters.
    fn tell_filled(&mut self, now: Instant, group: GroupId) {
        let own = self.shared.node();
        let Some(held) = self.groups.get(&group) else { return };
        let Some(voters) = held.voters_for_learner(own) else { return };
        let audience = held.leader().map_or_else(|| voters.to_vec(), |leader| vec![leader]);
        let Some(keyed) = self.keyed.get(&group) else { return };
        let compared = voters.iter().filter(|voter| keyed.rounds.done.contains_key(voter)).count();
        let is_due =
            |voter: &&NodeId| self.shared.peers.is_heard(now, **voter) && !keyed.rounds.done.contains_key(voter);
        if compared > voters.len() / 2 && !voters.iter().any(|voter| is_due(&voter)) {
            let name = keyed.last_ticket;
            for node in audience {
                self.shared.peers.send(node, &Message::Keyed(group, KeyedMessage::Filled { name }));
            }
        }
    }

    /// One of the two has said what it knows. If both know the same the round is over.
    pub(super) fn attested_came(&mut self, now: Instant, group: GroupId, name: u64, whose: Side, attested: Bytes) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(round) = keyed.rounds.current.as_mut().filter(|round| round.name == name) else { return };
        let Stage::Attesting(pair) = &mut round.stage else { return };
        round.since = now;
        pair.take(whose, attested);
        let Pair { own: Some(own), theirs: Some(theirs) } = pair else { return };
        if own == theirs {
            keyed.rounds.done.insert(round.with, now);
            keyed.rounds.current = None;
            return;
        }
        if althing_probe::is(Mutant::AttestFirst) {
            keyed.jobs.push(Job::Join { ticket: 0, delta: theirs.clone() });
        }
        round.stage = Stage::Naming { attested: std::mem::take(theirs), whose: Side::Theirs };
        self.name_more(group, Side::Theirs, None);
    }

    /// The next page of names is asked for.
    fn name_more(&mut self, group: GroupId, whose: Side, after: Option<Bytes>) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(round) = &keyed.rounds.current else { return };
        match whose {
            Side::Theirs => {
                let message = KeyedMessage::Name { name: round.name, after };
                self.shared.peers.send(round.with, &Message::Keyed(group, message));
            }
            Side::Own => {
                let ticket = keyed.ticket(Waiting::Round(round.name));
                keyed.jobs.push(Job::Names { ticket, after, count: PAGE_KEYS });
            }
        }
    }

    /// Keys of one of the two were named: each is compared.
    pub(super) fn names_came(&mut self, now: Instant, group: GroupId, name: u64, named: Names) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(round) = keyed.rounds.current.as_ref().filter(|round| round.name == name) else { return };
        let Stage::Naming { attested, whose } = &round.stage else { return };
        // A page that comes twice, or late, is none of this stage.
        if *whose != named.whose {
            return;
        }
        let (with, attested, whose) = (round.with, attested.clone(), *whose);
        let mut open = BTreeMap::new();
        for key in named.keys {
            let ticket = keyed.ticket(Waiting::Round(name));
            keyed.jobs.push(Job::Read { ticket, key: key.clone() });
            self.shared.peers.send(with, &Message::Keyed(group, KeyedMessage::Ask { name: ticket, key }));
            open.insert(ticket, Pair::default());
        }
        if let Some(round) = &mut keyed.rounds.current {
            round.since = now;
            round.stage = Stage::Comparing { attested, whose, open, after: named.after };
        }
        self.page_over(now, group);
    }

    /// The other replica's state of a key has come, if it was asked for by a round.
    pub(super) fn their_state_came(&mut self, now: Instant, group: GroupId, from: NodeId, ticket: u64, state: &Bytes) {
        let round = self.keyed.get(&group).and_then(|keyed| keyed.rounds.current.as_ref());
        if round.is_some_and(|round| round.with == from) {
            self.compared(now, group, ticket, Side::Theirs, state.clone());
        }
    }

    /// One side of a comparison is there. With both, what is lacking here is joined.
    pub(super) fn compared(&mut self, now: Instant, group: GroupId, ticket: u64, whose: Side, state: Bytes) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(round) = &mut keyed.rounds.current else { return };
        let Stage::Comparing { open, .. } = &mut round.stage else { return };
        let Some(pair) = open.get_mut(&ticket) else { return };
        round.since = now;
        pair.take(whose, state);
        let Pair { own: Some(own), theirs: Some(theirs) } = pair else { return };
        match repair(&[own.clone(), theirs.clone()]) {
            Ok(missing) => {
                open.remove(&ticket);
                if let Some(Some(delta)) = missing.into_iter().next() {
                    // Not `Keyed::ticket`: the round is borrowed from it.
                    keyed.last_ticket += 1;
                    let ticket = keyed.last_ticket;
                    keyed.waiting.insert(ticket, Waiting::Round(round.name));
                    open.insert(ticket, Pair::default());
                    keyed.jobs.push(Job::Join { ticket, delta });
                }
            }
            // The round does not come to its end, and is tried again.
            Err(_) => self.shared.metrics.frames_refused += 1,
        }
        self.page_over(now, group);
    }

    /// What was lacking of a key is joined and durable, or could not be joined: then nobody may say that all keys were.
    pub(super) fn round_joined(&mut self, now: Instant, group: GroupId, ticket: u64, result: &Result<(), JoinError>) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(round) = &mut keyed.rounds.current else { return };
        let Stage::Comparing { open, .. } = &mut round.stage else { return };
        if open.remove(&ticket).is_none() {
            return;
        }
        match result {
            Ok(()) => self.page_over(now, group),
            Err(_) => keyed.rounds.current = None,
        }
    }

    /// If all keys of a page are compared the next one is asked for, or the round is over.
    fn page_over(&mut self, now: Instant, group: GroupId) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let Some(round) = &mut keyed.rounds.current else { return };
        let Stage::Comparing { attested, whose, open, after } = &mut round.stage else { return };
        if !open.is_empty() {
            return;
        }
        let (attested, whose, after) = (std::mem::take(attested), *whose, after.take());
        round.since = now;
        let next = match (whose, after.is_some()) {
            (side, true) => Some(side),
            (Side::Theirs, false) => Some(Side::Own),
            (Side::Own, false) => None,
        };
        match next {
            Some(whose) => {
                round.stage = Stage::Naming { attested, whose };
                self.name_more(group, whose, after);
            }
            None => {
                keyed.rounds.done.insert(round.with, now);
                keyed.rounds.current = None;
                let ticket = keyed.ticket(Waiting::Nobody);
                keyed.jobs.push(Job::Join { ticket, delta: attested });
                self.shared.metrics.rounds += 1;
            }
        }
    }
}
