//! Random schedules: messages are lost, doubled and late, processes die with what was not durable, replicas move, keys are deleted and
//! forgotten. What clients were told must be linearizable, and mistakes must be noticed.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on has failed")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use althing_paxos::{Ballot, Config, Peer};
use althing_types::Duration;
use support::history::{Call, is_linearizable};
use support::world::{Tracing, World, peer};

/// Operations of one run: few enough for the search.
const OPERATIONS: usize = 24;

/// A move of one replica, step by step.
#[derive(Debug)]
enum Move {
    /// All know the epoch of the move once they hear of it; a majority of the old set must have acknowledged it.
    Begun { old: Vec<Peer>, new: Vec<Peer>, newcomer: Peer, epoch: u64 },
    /// So many were copied.
    Copying { old: Vec<Peer>, new: Vec<Peer>, newcomer: Peer, epoch: u64, copied: Vec<Peer>, floor: Ballot },
    /// The newcomer is a member as soon as that is durable.
    Filled { new: Vec<Peer>, leaver: Peer, epoch: u64 },
}

struct Simulation {
    world: World,
    random: fastrand::Rng,
    members: Vec<Peer>,
    epoch: u64,
    moving: Option<Move>,
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
        Self { world, random, members, epoch: 1, moving: None, nodes, calls: 0, loss, doubling }
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
            31..40 => self.go_on_moving(),
            40..300 => {
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

    fn go_on_moving(&mut self) {
        self.moving = match self.moving.take() {
            None => self.begin_move(),
            Some(Move::Begun { old, new, newcomer, epoch }) => self.wait_for_old(old, new, newcomer, epoch),
            Some(Move::Copying { old, new, newcomer, epoch, copied, floor }) => {
                self.copy(old, new, newcomer, epoch, copied, floor)
            }
            Some(Move::Filled { new, leaver, epoch }) => self.end_move(new, leaver, epoch),
        };
    }

    fn begin_move(&mut self) -> Option<Move> {
        let old = self.members.clone();
        let leaver = self.some(&old);
        self.nodes += 1;
        let newcomer = peer(self.nodes);
        let new: Vec<Peer> = old.iter().map(|peer| if *peer == leaver { newcomer } else { *peer }).collect();
        self.epoch += 1;
        let config = Config::moving(self.epoch, &old, &new);
        self.world.join(newcomer, &config);
        Some(Move::Begun { old, new, newcomer, epoch: self.epoch })
    }

    fn wait_for_old(&mut self, old: Vec<Peer>, new: Vec<Peer>, newcomer: Peer, epoch: u64) -> Option<Move> {
        let config = Config::moving(epoch, &old, &new);
        let one = self.some(&old);
        self.world.configure(one, &config);
        let known = old.iter().filter(|peer| self.world.goes_by(**peer, epoch)).count();
        if known * 2 <= old.len() {
            return Some(Move::Begun { old, new, newcomer, epoch });
        }
        Some(Move::Copying { old, new, newcomer, epoch, copied: Vec::new(), floor: Ballot::ZERO })
    }

    fn copy(
        &mut self,
        old: Vec<Peer>,
        new: Vec<Peer>,
        newcomer: Peer,
        epoch: u64,
        mut copied: Vec<Peer>,
        mut floor: Ballot,
    ) -> Option<Move> {
        let one = self.some(&old);
        if let Some(theirs) = self.world.copy(one, newcomer, epoch) {
            // What was copied must be durable before it counts, or a crash of the newcomer would lose it.
            self.world.sync(newcomer, usize::MAX);
            floor = floor.max(theirs);
            copied.push(one);
            copied.sort();
            copied.dedup();
        }
        if copied.len() * 2 <= old.len() {
            return Some(Move::Copying { old, new, newcomer, epoch, copied, floor });
        }
        self.world.filled(newcomer, floor);
        self.world.sync(newcomer, usize::MAX);
        let leaver = *old.iter().find(|peer| !new.contains(peer)).unwrap();
        Some(Move::Filled { new, leaver, epoch })
    }

    fn end_move(&mut self, new: Vec<Peer>, leaver: Peer, epoch: u64) -> Option<Move> {
        self.epoch = epoch + 1;
        let config = Config::stable(self.epoch, &new);
        let one = self.some(&new);
        self.world.configure(one, &config);
        let known = new.iter().filter(|peer| self.world.goes_by(**peer, epoch + 1)).count();
        if known * 2 <= new.len() {
            return Some(Move::Filled { new, leaver, epoch });
        }
        self.members = new;
        self.world.leave(leaver);
        None
    }

    /// Everything is delivered, nothing is lost any more, and a last read of each must succeed.
    fn heal(&mut self) {
        self.loss = 0;
        self.doubling = 0;
        for _ in 0..10_000 {
            let Some(_) = self.moving else { break };
            self.go_on_moving();
            self.settle();
        }
        assert!(self.moving.is_none(), "a move never ends");
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
            (Mutant::PaxosSendBeforeDurable, 180),
            (Mutant::PaxosForgetFloor, 690),
            (Mutant::PaxosEraseWithQuorum, 210),
            (Mutant::PaxosRetrySuperseded, 0),
            (Mutant::PaxosNewSetOnly, 0),
        ] {
            let found = noticed(mutant, first);
            println!("{mutant}: {found:?}");
            assert!(found.is_some(), "nobody notices {mutant}");
        }
    }
}
