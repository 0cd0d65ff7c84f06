//! A small world for the membership alone: a heap of (time, sequence), one seeded stream per concern, and nodes that know
//! nothing of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use althing_gossip::{
    Config, Contact, Effects, Event, Exchange, Gossip, Identity, Input, Liveness, Metrics, Outcome, Seal, Seed, Timing,
};
use althing_types::{ClusterId, Duration, Instant, NodeId};
use bytes::Bytes;
use fastrand::Rng;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How long a call to a node takes that does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What a network does to a datagram.
#[derive(Clone, Copy)]
pub struct Network {
    /// Datagrams lost, in percent.
    pub loss_percent: u32,
    /// The shortest and the longest way, in microseconds.
    pub latency_us: (u64, u64),
}

impl Network {
    /// A network in one building that loses this much.
    pub fn lan(loss_percent: u32) -> Self {
        Self { loss_percent, latency_us: (200, 5_000) }
    }
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    Running,
    /// Its process is stopped: what comes in waits in the socket's buffer.
    Paused,
    Crashed,
}

struct Node {
    gossip: Gossip,
    generation: u64,
    life: Life,
    /// On which side of a partition it stands.
    side: u8,
    /// What waits while it is paused.
    waiting: Vec<Input>,
    /// The deadline for which the heap has a tick.
    ticking: Option<Instant>,
    /// Whether it was well all the time since the last heal, for who counts false deaths.
    well_since: Instant,
}

enum Happening {
    Tick {
        node: u64,
        generation: u64,
        deadline: Instant,
    },
    Give {
        node: u64,
        generation: Option<u64>,
        input: Input,
    },
    /// A connection from `from` reaches `to` with these pages.
    Called {
        from: u64,
        to: u64,
        generation: u64,
        pages: Vec<Bytes>,
    },
}

struct Entry {
    at: Instant,
    sequence: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// The world.
pub struct World {
    pub now: Instant,
    /// What nodes are told that start from now on.
    pub timing: Timing,
    network: Network,
    seed: u64,
    nodes: BTreeMap<u64, Node>,
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    loss: Rng,
    latency: Rng,
    starts: Rng,
    /// A hash over all that was sent, and when.
    pub trace: u64,
    /// Deaths of nodes that were well: who saw it, whom, when.
    pub false_downs: Vec<(u64, u64, Instant)>,
    /// How often a node renewed itself because it was thought dead.
    pub rejoins: u64,
    /// Bytes of push/pull pages.
    pub page_bytes: u64,
    /// Everything that was told, if it is to be kept.
    pub told: Vec<(u64, Event)>,
}

fn stream(seed: u64, name: &str) -> Rng {
    Rng::with_seed(xxh3_64_with_seed(name.as_bytes(), seed))
}

impl World {
    pub fn new(seed: u64, network: Network) -> Self {
        Self {
            now: Instant::ZERO + Duration::from_secs(1),
            timing: Timing::default(),
            network,
            seed,
            nodes: BTreeMap::new(),
            heap: BinaryHeap::new(),
            sequence: 0,
            loss: stream(seed, "loss"),
            latency: stream(seed, "latency"),
            starts: stream(seed, "starts"),
            trace: seed,
            false_downs: Vec::new(),
            rejoins: 0,
            page_bytes: 0,
            told: Vec::new(),
        }
    }

    /// A cluster whose nodes started within a second and know each other.
    pub fn settled(seed: u64, network: Network, nodes: u64) -> (Self, Duration) {
        let mut world = Self::new(seed, network);
        let took = world.settle(nodes);
        (world, took)
    }

    /// Starts nodes within a second and waits until they know each other; says how long that took.
    pub fn settle(&mut self, nodes: u64) -> Duration {
        for node in 1..=nodes {
            let after = Duration::from_micros(self.starts.u64(..1_000_000));
            self.start_after(node, after);
        }
        let took = self.until("all nodes know each other", Duration::from_secs(300), |world| {
            world.nodes.values().all(|node| node.gossip.active() == nodes as usize - 1)
        });
        // What is still on its way arrives.
        self.run(Duration::from_secs(20));
        took
    }

    fn push(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, happening }));
    }

    pub fn start(&mut self, node: u64) {
        self.start_after(node, Duration::ZERO);
    }

    /// Starts a node, or starts it again.
    fn start_after(&mut self, node: u64, after: Duration) {
        let generation = self.nodes.get(&node).map_or(1, |node| node.generation + 1);
        let contact = |node: u64| Contact::new(&format!("n{node}:2380")).expect("a short text");
        let identity = Identity { node: NodeId(node), generation, renewal: 0, contact: contact(node) };
        let gossip = Gossip::new(Config {
            identity,
            seal: Seal::new(ClusterId(7), Some(b"secret")),
            seed: self.seed ^ (node << 20) ^ generation,
            timing: self.timing,
        });
        let side = self.nodes.get(&node).map_or(0, |node| node.side);
        let started = Node {
            gossip,
            generation,
            life: Life::Running,
            side,
            waiting: Vec::new(),
            ticking: None,
            well_since: self.now,
        };
        self.nodes.insert(node, started);
        let seeds = (1..=3).map(|node| Seed { node: NodeId(node), contact: contact(node) }).collect();
        let give = Happening::Give { node, generation: Some(generation), input: Input::Join(seeds) };
        self.push(self.now + after, give);
    }

    pub fn set_life(&mut self, node: u64, life: Life) {
        let found = self.nodes.get_mut(&node).expect("the node was started");
        found.life = life;
        found.well_since = self.now;
        found.ticking = None;
        if life == Life::Running {
            for input in std::mem::take(&mut found.waiting) {
                self.give(node, input);
            }
            self.give(node, Input::Tick);
        }
    }

    /// Puts nodes on the sides of a partition; everybody on side 0 ends it.
    pub fn set_sides(&mut self, side: impl Fn(u64) -> u8) {
        for (id, node) in &mut self.nodes {
            node.side = side(*id);
            node.well_since = self.now;
        }
    }

    pub fn gossip(&self, node: u64) -> &Gossip {
        &self.nodes[&node].gossip
    }

    pub fn running(&self) -> impl Iterator<Item = (u64, &Gossip)> {
        let running = self.nodes.iter().filter(|(_, node)| node.life == Life::Running);
        running.map(|(id, node)| (*id, &node.gossip))
    }

    /// Whether every other running node sees `node` so.
    pub fn all_see(&self, node: u64, liveness: &[Liveness]) -> bool {
        let sees = |gossip: &Gossip| gossip.liveness(NodeId(node)).is_some_and(|seen| liveness.contains(&seen));
        self.running().all(|(id, gossip)| id == node || sees(gossip))
    }

    /// The counters of all nodes together.
    pub fn metrics(&self) -> Metrics {
        let mut all = Metrics::default();
        for node in self.nodes.values() {
            let one = node.gossip.metrics();
            all.datagrams_sent += one.datagrams_sent;
            all.datagram_bytes_sent += one.datagram_bytes_sent;
            all.suspicions += one.suspicions;
            all.downs += one.downs;
            all.irregularities += one.irregularities;
            all.pages_refused += one.pages_refused;
            (0..all.datagrams_dropped.len()).for_each(|at| all.datagrams_dropped[at] += one.datagrams_dropped[at]);
        }
        all
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_to(end);
    }

    fn run_to(&mut self, end: Instant) {
        while self.heap.peek().is_some_and(|Reverse(entry)| entry.at <= end) {
            let Some(Reverse(entry)) = self.heap.pop() else { break };
            self.now = entry.at;
            self.happen(entry.happening);
        }
        self.now = end;
    }

    /// Runs until a condition holds, and says how long that took.
    ///
    /// # Panics
    /// If it takes longer than `most`.
    pub fn until(&mut self, what: &str, most: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.now;
        while !holds(self) {
            assert!(self.now.since(begin) < most, "seed {}: not within {most:?}: {what}", self.seed);
            self.run(LOOK);
        }
        self.now.since(begin)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick { node, generation, deadline } => {
                let Some(found) = self.nodes.get(&node) else { return };
                let is_due = found.gossip.next_deadline() == deadline && found.life == Life::Running;
                if found.generation == generation && is_due {
                    self.give(node, Input::Tick);
                }
            }
            Happening::Give { node, generation, input } => {
                let Some(found) = self.nodes.get_mut(&node) else { return };
                if generation.is_some_and(|generation| generation != found.generation) {
                    return;
                }
                match found.life {
                    Life::Running => self.give(node, input),
                    Life::Paused => found.waiting.push(input),
                    Life::Crashed => {}
                }
            }
            Happening::Called { from, to, generation, pages } => self.called(from, to, generation, pages),
        }
    }

    fn way(&mut self) -> Duration {
        let (least, most) = self.network.latency_us;
        Duration::from_micros(self.latency.u64(least..=most))
    }

    fn reaches(&self, from: u64, to: u64) -> bool {
        let side = |node| self.nodes.get(&node).map(|node| node.side);
        side(from) == side(to)
    }

    /// The called side takes in the pages and answers with its own.
    fn called(&mut self, from: u64, to: u64, generation: u64, pages: Vec<Bytes>) {
        let answers = self.nodes.get(&to).is_some_and(|node| node.life == Life::Running) && self.reaches(from, to);
        let with = NodeId(to);
        if !answers {
            let input = Input::Exchanged { with, outcome: Outcome::Failed };
            let give = Happening::Give { node: from, generation: Some(generation), input };
            return self.push(self.now + CONNECT_TIMEOUT, give);
        }
        for page in pages {
            self.page_bytes += page.len() as u64;
            self.give(to, Input::Page { from: NodeId(from), page });
        }
        let back = self.now + self.way();
        let answer = self.nodes[&to].gossip.pages();
        for page in answer {
            self.page_bytes += page.len() as u64;
            let input = Input::Page { from: with, page };
            self.push(back, Happening::Give { node: from, generation: Some(generation), input });
        }
        let input = Input::Exchanged { with, outcome: Outcome::Done };
        self.push(back, Happening::Give { node: from, generation: Some(generation), input });
    }

    /// Gives a node an input and carries out what it wants.
    pub fn give(&mut self, node: u64, input: Input) {
        let mut out = Effects::default();
        let (deadline, generation) = {
            let found = self.nodes.get_mut(&node).expect("the node was started");
            found.gossip.handle(self.now, input, &mut out);
            let deadline = found.gossip.next_deadline();
            let is_new = found.ticking.replace(deadline) != Some(deadline);
            (is_new.then_some(deadline), found.generation)
        };
        for datagram in out.datagrams {
            self.note(&[node, datagram.to.get(), self.now.as_nanos(), xxh3_64(&datagram.bytes)]);
            let (to, way) = (datagram.to.get(), self.way());
            let is_lost = self.loss.u32(..100) < self.network.loss_percent;
            if !is_lost && self.reaches(node, to) {
                let give = Happening::Give { node: to, generation: None, input: Input::Datagram(datagram.bytes) };
                self.push(self.now + way, give);
            }
        }
        for Exchange { with, contact: _ } in out.exchanges {
            let pages = self.nodes[&node].gossip.pages();
            let at = self.now + self.way();
            self.push(at, Happening::Called { from: node, to: with.get(), generation, pages });
        }
        for event in out.events {
            self.tell(node, event);
        }
        if let Some(deadline) = deadline.filter(|deadline| *deadline < Instant::FAR_FUTURE) {
            self.push(deadline.max(self.now), Happening::Tick { node, generation, deadline });
        }
    }

    fn tell(&mut self, observer: u64, event: Event) {
        match &event {
            Event::Down(identity) => {
                let id = identity.node.get();
                let known = &self.nodes[&id];
                // A node that has not been well for a minute may rightly still be thought dead by somebody.
                let settled = known.life == Life::Running && self.now.since(known.well_since) > Duration::from_secs(60);
                if settled && self.reaches(observer, id) && known.generation == identity.generation {
                    self.false_downs.push((observer, id, self.now));
                }
            }
            Event::Rejoined(_) => self.rejoins += 1,
            Event::Joined(_)
            | Event::Suspected(_)
            | Event::Refuted(_)
            | Event::Left(_)
            | Event::Renewed(_)
            | Event::Forgotten(_)
            | Event::State { .. }
            | Event::Paused(_) => {}
        }
        self.told.push((observer, event));
    }

    fn note(&mut self, words: &[u64]) {
        for word in words {
            self.trace = xxh3_64_with_seed(&word.to_le_bytes(), self.trace);
        }
    }
}
