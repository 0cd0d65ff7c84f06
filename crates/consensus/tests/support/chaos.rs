//! A random life of a group: messages lost, doubled and reordered, disks that sync when they like, crashes, partitions,
//! changes of the configuration, truncations and snapshots. Everything is drawn from one seed.

use althing_consensus::{Change, ConfState, Input};
use althing_types::NodeId;
use fastrand::Rng;

use super::world::{Envelope, Syncing, World};

/// Messages on their way beyond which some are lost.
const MAX_NETWORK: usize = 300;

/// Something that may happen, and how often it does beside the others.
type Event = (u32, fn(&mut Chaos));

const EVENTS: [Event; 16] = [
    (450, Chaos::deliver),
    (30, Chaos::lose),
    (30, Chaos::double),
    (210, Chaos::tick),
    (80, Chaos::propose),
    (100, Chaos::sync),
    (20, Chaos::read),
    (15, Chaos::truncate),
    (20, Chaos::stream),
    (10, Chaos::crash),
    (15, Chaos::restart),
    (4, Chaos::cut),
    (4, |chaos| chaos.world.cut.clear()),
    (5, Chaos::change),
    (7, Chaos::oddity),
    (20, Chaos::settle),
];

pub struct Chaos {
    pub world: World,
    rng: Rng,
    events: Vec<Event>,
    next_id: u64,
    next_command: u64,
}

impl Chaos {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new(seed, 10..20);
        world.hibernate_after_ticks = rng.bool().then_some(8);
        let voters = rng.u64(1..=5);
        world.bootstrap(&ConfState::of_voters((1..=voters).map(NodeId)));
        // Every life has its own temper: what is rare in one is common in another.
        let events = EVENTS.iter().map(|(weight, event)| (1 + weight * rng.u32(1..=9) / 3, *event)).collect();
        Self { world, rng, events, next_id: voters + 1, next_command: 0 }
    }

    /// One random event.
    pub fn step(&mut self) {
        let total: u32 = self.events.iter().map(|(weight, _)| weight).sum();
        let mut draw = self.rng.u32(0..total);
        let event = self.events.iter().find(|(weight, _)| {
            let chosen = draw < *weight;
            draw = draw.saturating_sub(*weight);
            chosen
        });
        let (_, event) = *event.expect("the draw is below the sum of all weights");
        event(self);
        while self.world.network.len() > MAX_NETWORK {
            self.lose();
        }
    }

    /// Now and then nothing is late.
    fn settle(&mut self) {
        for _ in 0..self.world.network.len() {
            self.world.deliver(0);
        }
    }

    fn any(&mut self) -> Option<NodeId> {
        let ids: Vec<_> = self.world.nodes.keys().copied().collect();
        self.rng.choice(ids)
    }

    fn position(&mut self) -> Option<usize> {
        let len = self.world.network.len();
        (len > 0).then(|| if self.rng.bool() { 0 } else { self.rng.usize(0..len) })
    }

    fn deliver(&mut self) {
        if let Some(position) = self.position() {
            self.world.deliver(position);
        }
    }

    fn lose(&mut self) {
        if let Some(position) = self.position() {
            let Envelope { from, to, .. } = self.world.network.remove(position);
            if self.rng.bool() {
                self.world.turn(from, Input::Unreachable(to)).unwrap();
            }
        }
    }

    fn double(&mut self) {
        if let Some(position) = self.position() {
            let Envelope { from, to, ref bytes } = self.world.network[position];
            let again = Envelope { from, to, bytes: bytes.clone() };
            self.world.network.push(again);
        }
    }

    fn tick(&mut self) {
        if let Some(id) = self.any() {
            self.world.turn(id, Input::Tick).unwrap();
        }
    }

    fn propose(&mut self) {
        let to = if self.rng.u8(0..10) > 0 { self.world.leader() } else { self.any() };
        if let Some(id) = to {
            self.next_command += 1;
            // Refused by whoever does not lead, as it should be.
            let _ = self.world.propose(id, &format!("c{}", self.next_command));
        }
    }

    fn sync(&mut self) {
        let Some(id) = self.any() else { return };
        let count = self.rng.usize(1..5);
        self.world.sync(id, count);
        if self.rng.u8(0..10) == 0 {
            let syncing = if self.rng.bool() { Syncing::AtOnce } else { Syncing::Manual };
            self.world.nodes.get_mut(&id).unwrap().syncing = syncing;
        }
    }

    fn read(&mut self) {
        if let Some(id) = self.any() {
            // Every run counts from the start, so only the incarnation tells their reads apart.
            let node = self.world.nodes.get_mut(&id).unwrap();
            node.asked += 1;
            let context = node.asked;
            self.world.read(id, context);
        }
    }

    fn truncate(&mut self) {
        if let Some(id) = self.any() {
            let keep = self.rng.u64(0..4);
            self.world.truncate(id, keep);
        }
    }

    fn stream(&mut self) {
        let len = self.world.wanted.len();
        if len > 0 {
            let position = self.rng.usize(0..len);
            self.world.stream(position);
        }
    }

    fn crash(&mut self) {
        if let Some(id) = self.any() {
            self.world.crash(id);
        }
    }

    fn restart(&mut self) {
        let ids: Vec<_> = self.world.crashed.keys().copied().collect();
        if let Some(id) = self.rng.choice(ids) {
            self.world.restart(id);
        }
    }

    fn cut(&mut self) {
        if let (Some(from), Some(to)) = (self.any(), self.any()) {
            self.world.cut.insert((from, to));
            if self.rng.bool() {
                self.world.cut.insert((to, from));
            }
        }
    }

    fn change(&mut self) {
        let Some(leader) = self.world.leader() else { return };
        let conf = self.world.nodes[&leader].replica.conf_state().clone();
        let mut steps = Vec::new();
        for _ in 0..self.rng.usize(1..=3) {
            match self.rng.u8(0..5) {
                0 if conf.members().len() < 6 => steps.push(Change::AddLearner(self.newcomer())),
                1 if conf.voters.len() < 5 => steps.push(Change::AddVoter(self.newcomer())),
                2 if conf.voters.len() > 2 => {
                    steps.extend(self.rng.choice(&conf.voters).copied().map(Change::Remove));
                }
                3 => steps.extend(self.rng.choice(&conf.learners).copied().map(Change::Promote)),
                4 if conf.voters.len() > 3 => {
                    steps.extend(self.rng.choice(&conf.voters).copied().map(Change::AddLearner));
                }
                _ => {}
            }
        }
        // Refused if a change is pending, or if the steps contradict each other.
        let _ = self.world.change(leader, steps);
    }

    fn newcomer(&mut self) -> NodeId {
        let id = NodeId(self.next_id);
        self.next_id += 1;
        self.world.join(id);
        id
    }

    fn oddity(&mut self) {
        let (Some(id), Some(to)) = (self.any(), self.any()) else { return };
        match self.rng.u8(0..4) {
            0 => self.world.turn(id, Input::Wake).unwrap(),
            1 => self.world.turn(id, Input::Campaign).unwrap(),
            _ => {
                // Refused by whoever does not lead.
                let _ = self.world.turn(id, Input::TransferLeader { to });
            }
        }
    }

    /// Everything is repaired, and time goes on.
    pub fn heal(&mut self) {
        self.world.cut.clear();
        for id in self.world.crashed.keys().copied().collect::<Vec<_>>() {
            self.world.restart(id);
        }
        for id in self.world.nodes.keys().copied().collect::<Vec<_>>() {
            self.world.nodes.get_mut(&id).unwrap().syncing = Syncing::AtOnce;
            self.world.sync(id, usize::MAX);
            self.world.turn(id, Input::Wake).unwrap();
        }
        for _ in 0..400 {
            self.world.settle();
            while !self.world.wanted.is_empty() {
                self.world.stream(0);
            }
            for id in self.world.nodes.keys().copied().collect::<Vec<_>>() {
                self.world.turn(id, Input::Tick).unwrap();
            }
        }
        self.world.settle();
    }

    /// Everything is repaired, and the group comes to agree.
    pub fn agree(&mut self) {
        self.heal();
        let world = &mut self.world;
        let leader = world.leader().expect("a healed group has a leader");
        world.propose(leader, "last").expect("a healed group takes proposals");
        world.read(leader, u64::MAX);
        world.settle();
        world.check();
        let replica = &world.nodes[&leader].replica;
        let (last, conf) = (replica.last_index(), replica.conf_state().clone());
        assert!(!conf.is_joint(), "a joint configuration is left");
        assert!(world.nodes[&leader].answered.contains(&u64::MAX), "a healed group answers reads");
        for id in conf.members() {
            let node = &world.nodes[&id];
            assert_eq!(node.machine.applied.index, last, "node {id} has applied everything");
            assert_eq!(node.machine.history, world.oracle.history(last), "node {id} has applied what everybody has");
            assert_eq!(node.machine.conf_state, conf, "node {id} knows who is a member");
        }
    }
}
