//! A newcomer copies what the acceptors remember, before it is one: see [`althing_paxos::acceptor::seat`].
//!
//! The next replica is replaced only when those that stay and accept are most of the next configuration ([`Node::may_replace`]): with two
//! silent ones of three nobody could copy from a quorum any more.

use std::collections::{BTreeMap, BTreeSet};

use althing_convergent::Job;
use althing_convergent::rounds::Task;
use althing_manifest::Conditional;
use althing_paxos::acceptor::{Copies, Record, Shard as Acceptance, Standing};
use althing_types::{Duration, GroupId, Instant, NodeId};
use bytes::Bytes;

use super::{Ticket, peer};
use crate::envelope::{KeyedMessage, Message};
use crate::keyed::Waiting;
use crate::node::Node;

/// After all keys, nearly: who asks for registers from there on wants to know whether the other accepts.
const BEYOND: [u8; 64] = [0xff; 64];
/// Registers that are sent at once, at the most.
const PAGE_REGISTERS: usize = 256;
/// How long a page may be on its way before it is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How far a newcomer is, in one configuration.
#[derive(Debug, Default)]
pub(super) struct Fill {
    stage: Stage,
    copies: Copies,
    /// Where the copy of each other one goes on, and when the next page was asked for.
    pages: BTreeMap<NodeId, (Option<Bytes>, Instant)>,
    /// Replicas that are known to accept.
    accepting: BTreeSet<NodeId>,
    /// When the others were asked whether they do.
    probed: Option<Instant>,
}

/// Whether this replica accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It does.
    Accepts,
    /// It is silent, and copies.
    Copies,
    /// It has copied enough, and is about to accept.
    Ends,
}

impl Fill {
    /// Whether this replica is copying.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::Copies | Stage::Ends)
    }

    pub(super) fn stands(&mut self, standing: Standing) {
        self.stage = match standing {
            Standing::Member => Stage::Accepts,
            Standing::Filling => Stage::Copies,
        };
    }

    /// Whether this replica is known to accept.
    pub(super) fn accepts(&self) -> bool {
        self.stage == Stage::Accepts
    }
}

impl Node {
    /// Asks for pages that are due, and ends the copy when enough others are copied.
    pub(super) fn tick_fill(&mut self, now: Instant, group: GroupId) {
        let own = self.shared.node();
        let Some(config) = self.acceptors(group) else { return };
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let fill = &mut keyed.cas.fill;
        if fill.stage != Stage::Copies || keyed.cas.epoch != Some(config.epoch()) {
            return;
        }
        let peers = config.peers();
        if !peers.iter().any(|peer| peer.node == own) {
            return;
        }
        if fill.copies.are_enough(&config) {
            fill.stage = Stage::Ends;
            let task = Task::Fill { epoch: config.epoch(), floor: fill.copies.floor() };
            let ticket = keyed.ticket(Waiting::Cas(Ticket::Own));
            return self.agenda.push(group, Job::Rounds { ticket, task });
        }
        for peer in peers.into_iter().filter(|peer| peer.node != own && !fill.copies.has(*peer)) {
            let (after, asked) = fill.pages.entry(peer.node).or_insert((None, Instant::ZERO));
            if *asked == Instant::ZERO || now.since(*asked) >= AGAIN_AFTER {
                *asked = now;
                let message = KeyedMessage::Registers { name: config.epoch(), after: after.clone() };
                self.shared.peers.send(peer.node, &Message::Keyed(group, message));
            }
        }
    }

    /// Whether this node's replica of a shard is not known to accept, in a table of strings by rounds.
    #[must_use]
    pub fn copies_registers(&self, group: GroupId) -> bool {
        let accepts = self.keyed.get(&group).is_some_and(|keyed| keyed.cas.fill.accepts());
        self.conditional(group) == Some(Conditional::Paxos) && !accepts
    }

    /// Whether a replica of a shard may be added, or one of those that leave be replaced: most of the next configuration, of so many, must
    /// accept without the newcomer, whichever of them goes first. Whoever is not known to accept is asked.
    pub(crate) fn may_replace(
        &mut self,
        now: Instant,
        group: GroupId,
        voters: &BTreeSet<NodeId>,
        leave: &BTreeSet<NodeId>,
        size: usize,
    ) -> bool {
        match self.conditional(group) {
            Some(Conditional::Paxos) => {}
            Some(Conditional::Refuse) | None => return true,
        }
        let own = self.shared.node();
        let Some(keyed) = self.keyed.get_mut(&group) else { return true };
        let Some(epoch) = keyed.cas.epoch else { return false };
        let fill = &mut keyed.cas.fill;
        // Who copies itself would take what it is told here for a page that it has asked for.
        if fill.stage != Stage::Accepts {
            return false;
        }
        fill.accepting.insert(own);
        let accepting = voters.intersection(&fill.accepting).count();
        let goes = leave.intersection(&fill.accepting).count().min(1);
        if (accepting - goes) * 2 >= size {
            return true;
        }
        if fill.probed.is_none_or(|probed| now.since(probed) >= AGAIN_AFTER) {
            fill.probed = Some(now);
            let unknown: Vec<_> = voters.difference(&fill.accepting).copied().filter(|node| *node != own).collect();
            for node in unknown {
                let message = KeyedMessage::Registers { name: epoch, after: Some(Bytes::from_static(&BEYOND)) };
                self.shared.peers.send(node, &Message::Keyed(group, message));
            }
        }
        false
    }

    /// A newcomer asks for a page of registers, in the configuration of this epoch.
    pub(in crate::keyed) fn registers_asked(&mut self, group: GroupId, from: NodeId, name: u64, after: Option<Bytes>) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let ticket = keyed.ticket(Waiting::Cas(Ticket::Page(from, name)));
        self.agenda.push(group, Job::Rounds { ticket, task: Task::Page { after, count: PAGE_REGISTERS } });
    }

    pub(super) fn tell_registers(
        &mut self,
        group: GroupId,
        to: NodeId,
        name: u64,
        registers: Vec<(Bytes, Bytes)>,
        after: Option<Bytes>,
        standing: Acceptance,
    ) {
        if standing.may_be_copied(name) {
            let standing = Record::Shard(standing).encode();
            let message = KeyedMessage::Copied { name, standing, registers, after };
            self.shared.peers.send(to, &Message::Keyed(group, message));
        }
    }

    /// A page of another acceptor's registers has come.
    pub(in crate::keyed) fn registers_came(
        &mut self,
        group: GroupId,
        from: NodeId,
        (name, standing): (u64, Bytes),
        registers: Vec<(Bytes, Bytes)>,
        after: Option<Bytes>,
    ) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let cas = &mut keyed.cas;
        if cas.epoch != Some(name) {
            return;
        }
        let Ok(Record::Shard(standing)) = Record::decode(standing) else {
            self.shared.metrics.frames_refused += 1;
            return;
        };
        // Nobody else answers.
        cas.fill.accepting.insert(from);
        if cas.fill.stage != Stage::Copies || cas.fill.copies.has(peer(from)) {
            return;
        }
        cas.fill.copies.part(&standing);
        let ticket = keyed.ticket(Waiting::Cas(Ticket::Copy { from, name, after }));
        self.agenda.push(group, Job::Rounds { ticket, task: Task::Copy { registers } });
    }

    /// A page is copied, and durable.
    pub(super) fn copied(&mut self, now: Instant, group: GroupId, from: NodeId, name: u64, after: Option<Bytes>) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if keyed.cas.epoch != Some(name) {
            // In the present configuration it begins anew, with nothing.
            return;
        }
        let fill = &mut keyed.cas.fill;
        match after {
            // A page that has come twice, and late, leads back: what follows it is copied twice.
            Some(after) => {
                fill.pages.insert(from, (Some(after), Instant::ZERO));
            }
            None => {
                fill.pages.remove(&from);
                fill.copies.whole(peer(from));
            }
        }
        self.tick_fill(now, group);
    }
}
