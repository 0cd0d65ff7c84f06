//! What a replica says of its repair to people: with whom it compares, how far that is, what was found, and what waits.
//!
//! It says what is done, not what is hoped for:
//!
//! ```text
//!   buckets of the tree        the end
//!   ■ ■ ■ ■ ■ ▨ ▨ □ □ □        ◇          5 of 11 parts
//!             └─┴── compared; the keys that differ in them are not mended yet
//! ```
//!
//! A bucket counts once all that was found so far has been mended, here and, as far as it was sent, there. The end, at which this
//! replica knows what the other one knew, is a part of its own, so a round has all its parts when it is over and not before. One that
//! breaks off is begun anew, from nothing.

use std::collections::BTreeMap;

use althing_types::{Duration, GroupId, Instant, NodeId};

use super::rounds::{Round, Rounds};
use crate::node::Node;

/// What a round has found and done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Keys in which the two trees differ. Some may be equal by the time that they are looked at.
    pub differing: u64,
    /// Keys of which one of the two lacked something, which is joined here and sent there. A key that has changed meanwhile may be
    /// mended without having differed before.
    pub mended: u64,
    /// Bytes sent and received.
    pub bytes: u64,
}

/// What a round that is under way does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoundStage {
    /// The tree of this replica is made.
    Planting,
    /// The trees are compared.
    Comparing,
    /// Keys that differ are.
    Mending,
    /// It waits until the node's budget allows more.
    Waiting,
}

impl RoundStage {
    /// In a word, for labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planting => "planting",
            Self::Comparing => "comparing",
            Self::Mending => "mending",
            Self::Waiting => "waiting",
        }
    }
}

/// A round that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoundMetrics {
    /// What it does.
    pub stage: RoundStage,
    /// How long it has taken so far.
    pub taken: Duration,
    /// Parts that are done; never all of them.
    pub done: u64,
    /// All parts: the buckets of the tree, and the end. 0 until the tree is made.
    pub parts: u64,
    /// What it has found and done so far.
    pub tally: Tally,
}

/// A round that came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastRound {
    /// How long ago.
    pub ago: Duration,
    /// How long it took.
    pub took: Duration,
    /// What it found and did.
    pub tally: Tally,
}

/// How the replica of one shard stands with another replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RepairMetrics {
    /// Of which shard.
    pub group: GroupId,
    /// Where the other replica is.
    pub peer: NodeId,
    /// The round with it that is under way.
    pub round: Option<RoundMetrics>,
    /// The last one since this replica's start that came to its end.
    pub last: Option<LastRound>,
    /// Rounds with it that broke off since then.
    pub broken: u64,
    /// Deltas that it has not acknowledged, which are kept for it.
    pub hints: u64,
    /// Their bytes.
    pub hint_bytes: u64,
    /// Deltas that it was sent, has not been seen to take, and that are not kept for it: the next round brings them.
    pub forgone: u64,
}

/// What is remembered of the rounds with one replica.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    last: Option<Ended>,
    broken: u64,
}

/// A round that came to its end.
#[derive(Clone, Copy, Debug)]
struct Ended {
    begun: Instant,
    at: Instant,
    tally: Tally,
}

/// What is remembered of rounds that are over, for people.
#[derive(Debug, Default)]
pub(super) struct History(BTreeMap<NodeId, Told>);

impl History {
    /// A round with a replica came to its end.
    pub(super) fn ended(&mut self, with: NodeId, begun: Instant, at: Instant, tally: Tally) {
        self.0.insert(with, Told { last: Some(Ended { begun, at, tally }), broken: 0 });
    }

    /// One broke off.
    pub(super) fn broke(&mut self, with: NodeId) {
        self.0.entry(with).or_default().broken += 1;
    }

    /// Only these are replicas.
    pub(super) fn retain(&mut self, replicas: &[NodeId]) {
        self.0.retain(|node, _| replicas.contains(node));
    }

    fn of(&self, node: NodeId) -> Told {
        self.0.get(&node).copied().unwrap_or_default()
    }
}

/// How the rounds that are under way stand, all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Standings {
    pub(crate) rounds: u64,
    pub(crate) done: u64,
    pub(crate) parts: u64,
}

impl Round {
    /// Parts that are done, of how many.
    pub(super) const fn parts(&self) -> (u64, u64) {
        match self.progress.total {
            0 => (0, 0),
            total => (self.settled, total + 1),
        }
    }

    fn metrics(&self, now: Instant) -> RoundMetrics {
        let (done, parts) = self.parts();
        let stage = match (self.is_waiting(), parts, self.wants.is_empty()) {
            (true, _, _) => RoundStage::Waiting,
            (false, 0, _) => RoundStage::Planting,
            (false, _, true) => RoundStage::Comparing,
            (false, _, false) => RoundStage::Mending,
        };
        RoundMetrics { stage, taken: now.since(self.begun), done, parts, tally: self.tally }
    }
}

impl Rounds {
    fn round_with(&self, now: Instant, node: NodeId) -> Option<RoundMetrics> {
        self.current.as_ref().filter(|round| round.with == node).map(|round| round.metrics(now))
    }
}

impl Node {
    /// How this node's replicas of convergent shards stand with the other ones, as of now.
    pub fn repair_metrics(&self, now: Instant) -> impl Iterator<Item = RepairMetrics> + '_ {
        let pairs = self
            .keyed
            .iter()
            .flat_map(|(group, keyed)| self.audience(*group).into_iter().map(move |peer| (*group, keyed, peer)));
        pairs.map(move |(group, keyed, peer)| {
            let Told { last, broken } = keyed.rounds.history.of(peer);
            let last =
                last.map(|Ended { begun, at, tally }| LastRound { ago: now.since(at), took: at.since(begun), tally });
            let (hints, hint_bytes) = keyed.outstanding.get(&peer).map_or((0, 0), |kept| kept.size());
            let (round, forgone) = (keyed.rounds.round_with(now, peer), keyed.rounds.forgone(peer));
            RepairMetrics { group, peer, round, last, broken, hints, hint_bytes, forgone }
        })
    }

    /// How the rounds that are under way stand.
    pub(crate) fn repair_standings(&self) -> Standings {
        let rounds = self.keyed.values().filter_map(|keyed| keyed.rounds.current.as_ref()).map(Round::parts);
        rounds.fold(Standings::default(), |all, (done, parts)| Standings {
            rounds: all.rounds + 1,
            done: all.done + done,
            parts: all.parts + parts,
        })
    }
}
