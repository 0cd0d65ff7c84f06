//! A newcomer copies what the acceptors remember, before it is one.
//!
//! It is silent until then: it promises nothing and accepts nothing, and counts in every quorum as one who is away. What was chosen
//! before the configuration that made it a voter was accepted by most of the old set. Those that are copied are a quorum of the
//! present configuration without the newcomer, each read in this configuration, in which it takes nothing of the former ones any more. As
//! a configuration replaces one replica by one, both are majorities of the replicas that stay and of the one that goes, so they
//! meet. What is chosen meanwhile is accepted by a quorum without the newcomer, which every later quorum meets. While it is silent
//! nothing is forgotten either, since that needs all.

use std::collections::{BTreeMap, BTreeSet};

use althing_convergent::Job;
use althing_convergent::rounds::Task;
use althing_paxos::Ballot;
use althing_paxos::acceptor::{Record, Shard as Acceptance, Standing};
use althing_types::{Duration, GroupId, Instant, NodeId};
use bytes::Bytes;

use super::Ticket;
use crate::envelope::{KeyedMessage, Message};
use crate::keyed::Waiting;
use crate::node::Node;

/// Registers that are sent at once, at the most.
const PAGE_REGISTERS: usize = 256;
/// How long a page may be on its way before it is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How far a newcomer is, in one configuration.
#[derive(Debug, Default)]
pub(super) struct Fill {
    stage: Stage,
    /// Whose registers are all copied.
    done: BTreeSet<NodeId>,
    /// Where the copy of each other one goes on, and when the next page was asked for.
    pages: BTreeMap<NodeId, (Option<Bytes>, Instant)>,
    floor: Ballot,
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

    pub(super) fn stands(&mut self, accepts: bool) {
        self.stage = if accepts { Stage::Accepts } else { Stage::Copies };
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
        if config.is_quorum(|peer| fill.done.contains(&peer.node)) {
            fill.stage = Stage::Ends;
            let task = Task::Fill { epoch: config.epoch(), stage: config.stage(), floor: fill.floor };
            let ticket = keyed.ticket(Waiting::Cas(Ticket::Own));
            return self.agenda.push(group, Job::Rounds { ticket, task });
        }
        for peer in peers.into_iter().filter(|peer| peer.node != own && !fill.done.contains(&peer.node)) {
            let (after, asked) = fill.pages.entry(peer.node).or_insert((None, Instant::ZERO));
            if *asked == Instant::ZERO || now.since(*asked) >= AGAIN_AFTER {
                *asked = now;
                let message = KeyedMessage::Registers { name: config.epoch(), after: after.clone() };
                self.shared.peers.send(peer.node, &Message::Keyed(group, message));
            }
        }
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
        // Only what goes by the newcomer's configuration has stopped accepting what came before.
        if standing.epoch == name && standing.standing == Standing::Member {
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
        if cas.fill.stage != Stage::Copies || cas.epoch != Some(name) || cas.fill.done.contains(&from) {
            return;
        }
        let Ok(Record::Shard(standing)) = Record::decode(standing) else {
            self.shared.metrics.frames_refused += 1;
            return;
        };
        cas.fill.floor = cas.fill.floor.max(standing.floor);
        let ticket = keyed.ticket(Waiting::Cas(Ticket::Copy { from, after }));
        self.agenda.push(group, Job::Rounds { ticket, task: Task::Copy { registers } });
    }

    /// A page is copied, and durable.
    pub(super) fn copied(&mut self, now: Instant, group: GroupId, from: NodeId, after: Option<Bytes>) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let fill = &mut keyed.cas.fill;
        match after {
            // A page that has come twice, and late, leads back: what follows it is copied twice.
            Some(after) => {
                fill.pages.insert(from, (Some(after), Instant::ZERO));
            }
            None => {
                fill.pages.remove(&from);
                fill.done.insert(from);
            }
        }
        self.tick_fill(now, group);
    }
}
