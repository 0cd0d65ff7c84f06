//! The network between nodes: which frames arrive, when, and how often.
//!
//! A link is one direction between two nodes. Without faults it keeps order, as a TCP connection does; a frame that is
//! reordered may overtake. Frames that were under way when a link was cut still arrive: only what is sent during the cut
//! is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use althing_types::{Duration, Instant, NodeId};
use bytes::Bytes;
use fastrand::Rng;

use crate::faults::NetworkFaults;

/// When a frame arrives: never, once, or twice.
pub type Arrivals = Vec<Instant>;

/// The links between nodes. The nodes are known by id; a link that was never cut is open.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    faults: NetworkFaults,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// When the last frame in order arrives, per link: the next does not arrive before it.
    in_order: BTreeMap<(NodeId, NodeId), Instant>,
    /// The same for clients, per way.
    client_order: BTreeMap<(usize, Way), Instant>,
    /// Nodes whose frames are held back, both ways.
    clogged: BTreeSet<NodeId>,
    held: Vec<Flight>,
    counts: Counts,
}

/// A frame on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flight {
    /// Whose.
    pub from: NodeId,
    /// For whom.
    pub to: NodeId,
    /// It.
    pub bytes: Bytes,
    /// If it comes twice: the life of its receiver in which both of them count.
    pub only_in: Option<u64>,
}

/// A way of a client's connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    There,
    Back,
}

/// What happened to frames so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Handed to the network.
    pub sent: u64,
    /// Lost by chance.
    pub dropped: u64,
    /// Lost at a cut link.
    pub cut: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Allowed to overtake.
    pub reordered: u64,
    /// Held back at a clogged node.
    pub held: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.cut += other.cut;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.held += other.held;
    }
}

impl Network {
    /// A network whose links are all open.
    #[must_use]
    pub fn new(faults: NetworkFaults, rng: Rng) -> Self {
        Self {
            rng,
            faults,
            cut: BTreeSet::new(),
            in_order: BTreeMap::new(),
            client_order: BTreeMap::new(),
            clogged: BTreeSet::new(),
            held: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Decides about one frame that is sent now.
    pub fn send(&mut self, now: Instant, from: NodeId, to: NodeId) -> Arrivals {
        self.counts.sent += 1;
        if !self.is_open(from, to) {
            self.counts.cut += 1;
            return Arrivals::new();
        }
        if self.faults.drop.happens(&mut self.rng) {
            self.counts.dropped += 1;
            return Arrivals::new();
        }
        let mut arrivals = vec![self.arrival(now, from, to)];
        if self.faults.duplicate.happens(&mut self.rng) {
            self.counts.duplicated += 1;
            arrivals.push(now + self.faults.latency.draw(&mut self.rng));
        }
        arrivals
    }

    fn arrival(&mut self, now: Instant, from: NodeId, to: NodeId) -> Instant {
        let arrival = now + self.faults.latency.draw(&mut self.rng);
        if self.faults.reorder.happens(&mut self.rng) {
            self.counts.reordered += 1;
            return arrival;
        }
        let last = self.in_order.entry((from, to)).or_default();
        *last = arrival.max(*last);
        *last
    }

    /// When what a client sends now arrives, in order. Clients are never cut off: to them a node that answers late and
    /// one that cannot be reached look the same.
    pub fn to_node(&mut self, now: Instant, client: usize) -> Instant {
        self.in_client_order(now, (client, Way::There))
    }

    /// When what is sent to a client now arrives, in order.
    pub fn to_client(&mut self, now: Instant, client: usize) -> Instant {
        self.in_client_order(now, (client, Way::Back))
    }

    fn in_client_order(&mut self, now: Instant, way: (usize, Way)) -> Instant {
        let arrival = now + self.faults.latency.draw(&mut self.rng);
        let last = self.client_order.entry(way).or_default();
        *last = arrival.max(*last);
        *last
    }

    /// How long it takes until an end of a connection notices that it stands or broke.
    pub fn hint_delay(&mut self) -> Duration {
        self.faults.latency.draw(&mut self.rng)
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Cuts both directions between the island and the rest of `all`.
    pub fn isolate(&mut self, island: &[NodeId], all: &[NodeId]) {
        for inside in island {
            for outside in all.iter().filter(|node| !island.contains(node)) {
                self.cut(*inside, *outside);
                self.cut(*outside, *inside);
            }
        }
    }

    /// Opens every link.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Whether frames pass in this direction.
    #[must_use]
    pub fn is_open(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Whether any link is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.cut.is_empty()
    }

    /// Whether frames of any node are held back.
    #[must_use]
    pub fn is_clogged(&self) -> bool {
        !self.clogged.is_empty()
    }

    /// Holds back all frames to and from a node from now on. `false` if they are already.
    pub fn clog(&mut self, node: NodeId) -> bool {
        self.clogged.insert(node)
    }

    /// Holds a frame back that has come to the end of its way, if either end is clogged; otherwise hands it back.
    pub fn hold(&mut self, frame: Flight) -> Option<Flight> {
        if self.clogged.contains(&frame.from) || self.clogged.contains(&frame.to) {
            self.counts.held += 1;
            self.held.push(frame);
            return None;
        }
        Some(frame)
    }

    /// Holds nothing of a node back any more: what may go on its way now, in the order in which it had come.
    pub fn unclog(&mut self, node: NodeId) -> Vec<Flight> {
        self.clogged.remove(&node);
        let clogged = &self.clogged;
        let is_free = |held: &mut Flight| !clogged.contains(&held.from) && !clogged.contains(&held.to);
        self.held.extract_if(.., is_free).collect()
    }

    /// Behaves differently from now on.
    pub fn set_faults(&mut self, faults: NetworkFaults) {
        self.faults = faults;
    }

    /// What happened to frames so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Chance, Latency, stream};

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn network(faults: NetworkFaults) -> Network {
        Network::new(faults, stream(1, "network"))
    }

    fn spread() -> Latency {
        Latency::even(Duration::from_millis(1), Duration::from_millis(10))
    }

    #[test]
    fn a_calm_link_delivers_everything_once_and_in_order() {
        let mut network = network(NetworkFaults { latency: spread(), ..NetworkFaults::CALM });
        let mut last = Instant::ZERO;
        for _ in 0..200 {
            let arrivals = network.send(Instant::ZERO, A, B);
            assert_eq!(arrivals.len(), 1);
            assert!(arrivals[0] >= last);
            last = arrivals[0];
        }
    }

    #[test]
    fn a_rough_link_loses_doubles_and_reorders() {
        let half = Chance::percent(50);
        let mut network = network(NetworkFaults { latency: spread(), drop: half, duplicate: half, reorder: half });
        let arrivals: Vec<Arrivals> = (0..200).map(|_| network.send(Instant::ZERO, A, B)).collect();
        assert!(arrivals.iter().any(Vec::is_empty));
        assert!(arrivals.iter().any(|times| times.len() == 2));
        let first: Vec<Instant> = arrivals.iter().filter_map(|times| times.first().copied()).collect();
        assert!(!first.is_sorted());
        let counts = network.counts();
        assert!(counts.dropped > 50 && counts.duplicated > 20 && counts.reordered > 20, "{counts:?}");
    }

    #[test]
    fn an_island_hears_only_itself_until_healed() {
        let mut network = network(NetworkFaults::CALM);
        network.isolate(&[A, B], &[A, B, C]);
        assert!(network.is_open(A, B) && network.is_open(B, A));
        assert!(!network.is_open(A, C) && !network.is_open(C, A));
        assert!(network.send(Instant::ZERO, C, B).is_empty());
        network.heal();
        assert_eq!(network.send(Instant::ZERO, C, B).len(), 1);
    }

    #[test]
    fn what_is_held_back_goes_on_once_both_ends_are_free_and_in_order() {
        let mut network = network(NetworkFaults::CALM);
        assert!(network.clog(A) && network.clog(B) && !network.clog(A));
        let frames = [(A, C), (C, B), (B, A), (C, A)];
        let flight = |from, to, number: u8| Flight { from, to, bytes: vec![number].into(), only_in: None };
        for (number, (from, to)) in (0..).zip(frames) {
            assert_eq!(network.hold(flight(from, to, number)), None);
        }
        assert!(network.hold(flight(C, NodeId(4), 9)).is_some());
        let numbers = |held: Vec<Flight>| held.iter().map(|held| held.bytes[0]).collect::<Vec<_>>();
        assert_eq!(numbers(network.unclog(A)), [0, 3]);
        assert_eq!(numbers(network.unclog(B)), [1, 2]);
        assert!(network.hold(flight(A, B, 9)).is_some());
    }

    #[test]
    fn a_one_way_cut_leaves_the_way_back_open() {
        let mut network = network(NetworkFaults::CALM);
        network.cut(A, B);
        assert!(network.send(Instant::ZERO, A, B).is_empty());
        assert_eq!(network.send(Instant::ZERO, B, A).len(), 1);
    }
}
