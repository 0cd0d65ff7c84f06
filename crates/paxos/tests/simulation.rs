//! Random schedules: messages are lost, doubled and late, processes die with what was not durable, replicas move, keys are deleted and
//! forgotten. What clients were told must be linearizable, and mistakes must be noticed.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on has failed")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use althing_paxos::{Config, Peer};
use althing_types::Duration;
use support::history::{Call, is_linearizable};
use support::world::{Tracing, World, peer};

/// Operations of one run: few enough for the search.
const OPERATIONS: usize = 24;

/// A move of one replica that has begun.
#[derive(Debug)]
struct Move {
    new: Vec<Peer>,
    leaver: Peer,
}

struct Simulation {
    world: World,
    random: fastrand::Rng,
    members: Vec<Peer>,
    epoch: u64,
    moving: Option<Move>,
    /// Replicas that have left and may come back, with what they had.
    left: Vec<Peer>,
    nodes: u64,
    calls: usize,
    /// In 256ths.
    loss: u8,
    doubling: u8,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let nodes = if random.u8(..) < 200 { 3 } else { 5 };
        let ids: Vec<u64> = (1..=nodes).collect();
        let mut world = World::new(&ids, seed);
        world.patience = Duration::from_millis(random.u64(200..4_000));
        let members = world.peers();
        let (loss, doubling) = (random.u8(..40), random.u8(..60));
        Self { world, random, members, epoch: 1, moving: None, left: Vec::new(), nodes, calls: 0, loss, doubling }
    }

    fn some(&mut self, of: &[Peer]) -> Peer {
        of[self.random.usize(..of.len())]
    }

    fn call(&mut self) {
        let at = self.some(&self.members.clone());
        self.calls += 1;
        let unique = 1 << self.calls;
        let call = match self.random.u8(..100) {
            0..35 => Call::Read,
            35..70 => Call::Add(unique),
            70..85 => Call::Delete,
            _ => Call::Cas { expected: None, new: unique },
        };
        self.world.call(at, call);
    }

    fn message(&mut self) {
        if self.world.network.is_empty() {
            return;
        }
        // The oldest ones most of the time, so that rounds come to an end.
        let most = if self.random.u8(..) < 60 { self.world.network.len() } else { 3.min(self.world.network.len()) };
        let at = self.random.usize(..most);
        if self.random.u8(..) < self.loss {
            self.world.network.remove(at);
        } else if self.random.u8(..) < self.doubling {
            self.world.deliver(self.world.network[at].clone());
        } else {
            let message = self.world.network.remove(at);
            self.world.deliver(message);
        }
    }

    fn step(&mut self) {
        let peers = self.world.peers();
        let one = self.some(&peers);
        match self.random.u16(..1_000) {
            0..20 if self.calls < OPERATIONS => self.call(),
            20..27 => self.world.forget(one),
            27..31 => self.world.restart(one),
            31..36 => self.go_on_moving(),
            36..44 => self.fill(),
            44..52 => self.world.catch_up_all(one),
            52..54 => self.drop_one(),
            54..300 => {
                let records = self.random.usize(..4);
                self.world.sync(one, records);
            }
            300..380 => {
                let time = Duration::from_millis(self.random.u64(..60));
                self.world.pass(time);
            }
            _ => self.message(),
        }
    }

    /// The configurations go on by themselves, as those of a Raft group do: who is silent is not waited for.
    fn go_on_moving(&mut self) {
        match self.moving.take() {
            None => self.begin_move(),
            Some(Move { new, leaver }) => {
                self.epoch += 1;
                let config = Config::stable(self.epoch, &new);
                let one = self.some(&new);
                self.world.configure(one, &config);
                self.members = new;
                self.left.push(leaver);
            }
        }
    }

    /// A replica is replaced once those that stay are most of the next configuration, and accept.
    fn begin_move(&mut self) {
        let old = self.members.clone();
        let leaver = self.some(&old);
        let stay = old.iter().filter(|peer| **peer != leaver && self.world.accepts(**peer, self.epoch)).count();
        if stay * 2 < old.len() {
            return;
        }
        let comes_back = !self.left.is_empty() && self.random.u8(..) < 100;
        let newcomer = if comes_back {
            self.left.swap_remove(self.random.usize(..self.left.len()))
        } else {
            self.nodes += 1;
            peer(self.nodes)
        };
        let new: Vec<Peer> = old.iter().map(|peer| if *peer == leaver { newcomer } else { *peer }).collect();
        self.epoch += 1;
        let config = Config::moving(self.epoch, &old, &new);
        if comes_back && self.random.bool() {
            // It hears of all that later, from a configuration in which it has a vote as before.
            let one = self.some(&old);
            self.world.configure(one, &config);
        } else {
            self.world.join(newcomer, &config);
        }
        self.moving = Some(Move { new, leaver });
    }

    /// A newcomer copies one of the others.
    fn fill(&mut self) {
        let silent = self.world.silent();
        if silent.is_empty() {
            return;
        }
        let (at, others) = &silent[self.random.usize(..silent.len())];
        let from = self.some(others);
        if self.world.copy(from, *at) {
            self.world.fill(*at);
        }
    }

    /// One that has left is gone with all that it had.
    fn drop_one(&mut self) {
        if !self.left.is_empty() {
            let one = self.left.swap_remove(self.random.usize(..self.left.len()));
            self.world.leave(one);
        }
    }

    /// Everything is delivered, nothing is lost any more, and a last read of each must succeed.
    fn heal(&mut self) {
        self.loss = 0;
        self.doubling = 0;
        if self.moving.is_some() {
            self.go_on_moving();
        }
        for peer in self.members.clone() {
            self.world.catch_up_all(peer);
        }
        self.settle();
        for (at, others) in self.world.silent() {
            others.into_iter().for_each(|from| {
                self.world.copy(from, at);
            });
            self.world.fill(at);
        }
        self.settle();
        let accept = self.members.iter().filter(|peer| self.world.accepts(**peer, self.epoch)).count();
        assert_eq!(accept, self.members.len(), "a newcomer is silent for ever");
        self.world.patience = Duration::from_secs(60);
        for member in self.members.clone() {
            self.world.call(member, Call::Read);
            for _ in 0..1_000 {
                self.settle();
                if self.world.history.last().unwrap().returned.is_some() {
                    break;
                }
                self.world.pass(Duration::from_millis(50));
            }
            let told = self.world.history.last().unwrap().returned;
            assert!(
                matches!(told, Some((_, support::history::Return::Value(..)))),
                "a read of a healed shard: {told:?}"
            );
        }
    }

    fn settle(&mut self) {
        while !self.world.is_idle() {
            for peer in self.world.peers() {
                self.world.sync(peer, usize::MAX);
            }
            for message in std::mem::take(&mut self.world.network) {
                self.world.deliver(message);
            }
        }
    }
}

/// Whether a run is as it should be.
fn run(seed: u64) -> bool {
    let mut simulation = Simulation::new(seed);
    for _ in 0..4_000 {
        simulation.step();
    }
    simulation.heal();
    is_linearizable(&simulation.world.history)
}

/// Seeds of each test run; `ALTHING_PAXOS_SEEDS` asks for more.
fn seeds() -> u64 {
    std::env::var("ALTHING_PAXOS_SEEDS").map_or(200, |seeds| seeds.parse().unwrap())
}

#[test]
fn what_clients_are_told_is_linearizable_whatever_happens() {
    for seed in 0..seeds() {
        let is_well = catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or(false);
        assert!(is_well, "seed {seed}");
    }
}

/// A run in which nothing happens is linearizable too.
#[test]
fn the_runs_come_along_the_rare_paths() {
    let mut trace = String::new();
    let (mut moved, mut certain, mut all) = (0, 0, 0);
    for seed in 0..40 {
        let mut simulation = Simulation::new(seed);
        simulation.world.tracing = Tracing::On;
        (0..4_000).for_each(|_| simulation.step());
        trace.push_str(&simulation.world.trace);
        moved += simulation.epoch / 2;
        let history = &simulation.world.history;
        let is_certain = |operation: &&support::history::Operation| {
            matches!(operation.returned, Some((_, support::history::Return::Value(..))))
        };
        certain += history.iter().filter(is_certain).count();
        all += history.len();
    }
    let paths = [
        "forgotten",
        ", next ",
        "Erased",
        "Refused",
        "WrongEpoch",
        "Filling",
        "absent (version",
        "maybe done: another",
        "not done",
    ];
    for path in paths {
        println!("{path}: {}", trace.matches(path).count());
        assert!(trace.contains(path), "no run comes along {path:?}");
    }
    println!("{moved} moves, {certain} of {all} operations are certain");
    assert!(moved > 40 && certain * 2 > all, "{moved} moves, {certain} of {all}");
}

#[test]
fn one_seed_is_one_run() {
    let trace = |seed| {
        let mut simulation = Simulation::new(seed);
        simulation.world.tracing = Tracing::On;
        (0..2_000).for_each(|_| simulation.step());
        simulation.world.trace
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}

#[cfg(debug_assertions)]
mod mutants {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use althing_probe::Mutant;

    use super::run;

    /// Seeds within which a mistake must be noticed, from the one at which it is looked for first.
    const SEEDS: u64 = 500;

    /// Looks for the mistake in one run after the other; a broken invariant counts as noticed too.
    fn noticed(mutant: Mutant, first: u64) -> Option<u64> {
        let guard = mutant.activate();
        let is_noticed = |seed: &u64| !catch_unwind(AssertUnwindSafe(|| run(*seed))).unwrap_or(false);
        let found = (first..first + SEEDS).find(is_noticed);
        drop(guard);
        // What is found without the mistake as well says nothing of it.
        found.filter(|seed| run(*seed))
    }

    #[test]
    fn every_mistake_is_noticed() {
        // The rare ones are looked for near a seed that is known, so that the test is quick.
        for (mutant, first) in [
            (Mutant::PaxosAcceptBelowPromise, 0),
            (Mutant::PaxosHideAccepted, 0),
            (Mutant::PaxosSendBeforeDurable, 200),
            (Mutant::PaxosForgetFloor, 990),
            (Mutant::PaxosEraseWithQuorum, 40),
            (Mutant::PaxosRetrySuperseded, 0),
            (Mutant::PaxosKeepSeat, 260),
        ] {
            let found = noticed(mutant, first);
            println!("{mutant}: {found:?}");
            assert!(found.is_some(), "nobody notices {mutant}");
        }
    }
}
