//! Three replicas do random things while what they tell each other is lost, repeated and overtakes itself. When everything has come
//! everywhere they are equal, nothing that was acknowledged is lost, and counters are exact.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use althing_clock::{Dot, DotContext};
use althing_convergent::{Outcome, evaluate};
use althing_storage::engine::Engine;
use bytes::Bytes;
use proptest::prelude::*;
use support::{Replica, open, parse, read, show};

const REPLICAS: usize = 3;
/// Operations on few keys of all types, so that much collides.
const OPS: [&str; 30] = [
    "set s x",
    "set s y",
    "set s 5",
    "append s z",
    "incr s 3",
    "incr s -1",
    "incrbyfloat s 0.5",
    "del s",
    "pexpireat s 900",
    "pexpireat s 1500",
    "persist s",
    "set s v pxat 1200",
    "set s w keepttl",
    "hset h f 1 g x",
    "hset h f 2",
    "hincrby h f 4",
    "hincrbyfloat h f 0.25",
    "hdel h f",
    "del h",
    "sadd t a b",
    "sadd t a",
    "srem t a",
    "del t",
    "pexpireat t 1100",
    "zadd z 1 m",
    "zincrby z 2 m",
    "zrem z m",
    "pfadd p e f",
    "del p",
    "sadd s a",
];

/// What happens in one step.
#[derive(Clone, Debug)]
enum Step {
    /// A replica executes an operation, perhaps for a client that has seen an earlier read.
    Execute { at: usize, op: usize, context: Option<usize> },
    /// One of the deltas so far comes to a replica: perhaps once more, perhaps before older ones.
    Deliver { to: usize, which: usize },
    /// A read from two replicas repairs them.
    Repair { left: usize, right: usize, op: usize },
    /// Background work.
    Tend { at: usize },
    /// The engine makes durable what was written.
    Checkpoint { at: usize },
    /// A crash: the engine keeps what was durable, and the rest of the log is taken again.
    Crash { at: usize },
    /// Time goes on.
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0..REPLICAS;
    let step = prop_oneof![
        6 => (at.clone(), 0..OPS.len()).prop_map(|(at, op)| Step::Execute { at, op, context: None }),
        2 => (at.clone(), 0..OPS.len(), any::<usize>())
            .prop_map(|(at, op, context)| Step::Execute { at, op, context: Some(context) }),
        8 => (at.clone(), any::<usize>()).prop_map(|(to, which)| Step::Deliver { to, which }),
        2 => (at.clone(), at.clone(), 0..OPS.len()).prop_map(|(left, right, op)| Step::Repair { left, right, op }),
        1 => at.clone().prop_map(|at| Step::Tend { at }),
        1 => at.clone().prop_map(|at| Step::Checkpoint { at }),
        1 => at.prop_map(|at| Step::Crash { at }),
        1 => Just(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

struct World {
    replicas: Vec<Replica>,
    deltas: Vec<Bytes>,
    /// What clients have seen.
    contexts: Vec<DotContext>,
    now_ms: i64,
}

impl World {
    fn new() -> Self {
        let replicas = (1..=REPLICAS as u64).map(Replica::new).collect();
        Self { replicas, deltas: Vec::new(), contexts: Vec::new(), now_ms: 800 }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Execute { at, op, context } => {
                let (key, op) = parse(OPS[*op]);
                let seen = context.and_then(|which| self.contexts.get(which % self.contexts.len().max(1)).cloned());
                let (_, delta) = self.replicas[*at].execute(key, op, self.now_ms, seen);
                self.deltas.extend(delta);
            }
            Step::Deliver { to, which } => {
                if !self.deltas.is_empty() {
                    let delta = self.deltas[which % self.deltas.len()].clone();
                    self.replicas[*to].join(delta).unwrap();
                }
            }
            Step::Repair { left, right, op } => self.repair(parse(OPS[*op]).0, *left, *right),
            Step::Tend { at } => {
                let removed = self.replicas[*at].tend(self.now_ms);
                self.deltas.extend(removed);
            }
            Step::Checkpoint { at } => {
                self.replicas[*at].engine.begin_checkpoint().unwrap().finish().unwrap();
            }
            Step::Crash { at } => restart(&mut self.replicas[*at]),
            Step::Wait => self.now_ms += 150,
        }
    }

    fn repair(&mut self, key: &str, left: usize, right: usize) {
        let states = [left, right].map(|at| self.replicas[at].state(key));
        let read = evaluate(&parse("get s").1, &states, self.now_ms, 1).unwrap();
        self.contexts.push(read.context);
        for (at, delta) in [left, right].into_iter().zip(read.missing) {
            delta.into_iter().for_each(|delta| self.replicas[at].join(delta).unwrap());
        }
    }

    fn deliver_all(&mut self) {
        for replica in &mut self.replicas {
            for delta in &self.deltas {
                replica.join(delta.clone()).unwrap();
            }
        }
    }

    fn assert_equal(&mut self) {
        for key in ["s", "h", "t", "z", "p"] {
            let digests: BTreeSet<u128> = self.replicas.iter_mut().map(|replica| replica.digest(key)).collect();
            assert_eq!(digests.len(), 1, "{key} differs");
        }
    }
}

fn restart(replica: &mut Replica) {
    replica.engine = Arc::new(replica.engine.crash(1));
    replica.shard = open(&replica.engine, replica.actor);
    for (place, delta) in replica.log.iter().enumerate() {
        replica.shard.replay(place as u64 + 1, delta.clone()).unwrap();
    }
    assert_eq!(replica.shard.index(), replica.log.len() as u64);
}

/// The values of `k` that a replica holds, each with its dot.
fn siblings(replica: &mut Replica) -> BTreeSet<(Dot, Bytes)> {
    let state = read(std::slice::from_mut(replica), "get k", 1).state;
    let siblings = state.text().written.siblings().iter();
    siblings.map(|(dot, sibling)| (*dot, sibling.value.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn whoever_has_taken_all_deltas_holds_the_same_and_no_gaps(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.deliver_all();
        world.assert_equal();
        for replica in &mut world.replicas {
            prop_assert_eq!(replica.shard.gaps(), 0);
            // Nothing of what comes again is news.
            let before = replica.shard.index();
            world.deltas.iter().for_each(|delta| replica.join(delta.clone()).unwrap());
            prop_assert_eq!(replica.shard.index(), before);
        }
    }

    /// Repair alone, key by key, comes to the same as all deltas; then what each knew is known everywhere.
    #[test]
    fn replicas_that_lost_deltas_are_repaired(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        let attestations: Vec<Bytes> = world.replicas.iter_mut().map(Replica::attest).collect();
        for _ in 0..2 {
            for key in ["s", "h", "t", "z", "p"] {
                [(0, 1), (1, 2), (0, 2)].into_iter().for_each(|(left, right)| world.repair(key, left, right));
            }
        }
        world.assert_equal();
        for replica in &mut world.replicas {
            attestations.iter().for_each(|delta| replica.join(delta.clone()).unwrap());
            prop_assert_eq!(replica.shard.gaps(), 0);
        }
        let before: Vec<u128> = ["s", "h", "t", "z", "p"].map(|key| world.replicas[0].digest(key)).into();
        // Old deltas that come now change nothing.
        world.deliver_all();
        world.assert_equal();
        let after: Vec<u128> = ["s", "h", "t", "z", "p"].map(|key| world.replicas[0].digest(key)).into();
        prop_assert_eq!(before, after);
    }

    /// A read from all replicas shows what a fourth one would show that had taken all that any of them has.
    #[test]
    fn a_read_from_several_is_that_of_one_who_has_taken_all(steps in steps()) {
        let mut world = World::new();
        steps.iter().filter(|step| !matches!(step, Step::Repair { .. })).for_each(|step| world.step(step));
        let mut full = Replica::new(9);
        world.deltas.iter().for_each(|delta| full.join(delta.clone()).unwrap());
        for words in ["get s", "smembers s", "hgetall h", "hlen h", "smembers t", "zrange z", "pfcount p", "expiretime s"] {
            let evaluated = read(&mut world.replicas, words, world.now_ms);
            prop_assert_eq!(show(&evaluated.reply.map_err(Into::into)), full.ask(words, world.now_ms), "{}", words);
            prop_assert_eq!(evaluated.state.digest(), full.digest(parse(words).0), "{}", words);
            // Whoever joins what it lacks holds it.
            for (replica, delta) in world.replicas.iter_mut().zip(evaluated.missing) {
                delta.into_iter().for_each(|delta| replica.join(delta).unwrap());
                prop_assert_eq!(replica.digest(parse(words).0), evaluated.state.digest());
            }
        }
    }

    /// A replica that starts again from any point of its log is the one that never stopped, to the byte.
    #[test]
    fn replay_from_any_point_is_as_if_nothing_had_happened(steps in steps(), cut: usize) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        let replica = &mut world.replicas[0];
        let cut = cut % (replica.log.len() + 1);
        let mut other = Replica::new(1);
        for (place, delta) in replica.log.iter().enumerate() {
            if place == cut {
                other.shard = open(&other.engine, other.actor);
            }
            other.shard.replay(place as u64 + 1, delta.clone()).unwrap();
            other.shard.replay(place as u64 + 1, delta.clone()).unwrap();
        }
        let marks_aside = |records: Vec<(Bytes, Bytes)>| -> Vec<_> {
            records.into_iter().filter(|(key, _)| key[0] != 3).collect()
        };
        prop_assert_eq!(marks_aside(other.records()), marks_aside(replica.records()));
        prop_assert_eq!(other.shard.size(), replica.shard.size());
        other.log = replica.log.clone();
        // The clock goes on from where it stood, whatever the wall says.
        prop_assert_eq!(other.write("set new x", 1), replica.write("set new x", 1));
    }

    #[test]
    fn increments_on_all_sides_are_counted_once_and_additions_stay(
        steps in proptest::collection::vec((0..REPLICAS, -50_i64..50, 0_u8..6, any::<usize>()), 1..80),
    ) {
        let mut world = World::new();
        let (mut sum, mut added) = (0, BTreeSet::new());
        for (place, (at, by, what, which)) in steps.into_iter().enumerate() {
            if what < 2 {
                world.deltas.push(world.replicas[at].write(&format!("incr n {by}"), 1));
                world.deltas.push(world.replicas[at].write(&format!("hincrby h n {by}"), 1));
                sum += by;
            } else if what == 2 {
                world.deltas.push(world.replicas[at].write(&format!("sadd t m{place}"), 1));
                added.insert(format!("m{place}"));
            } else if what == 3 {
                restart(&mut world.replicas[at]);
            } else {
                world.step(&Step::Deliver { to: at, which });
            }
        }
        world.deliver_all();
        for replica in &mut world.replicas {
            if sum != 0 {
                prop_assert_eq!(replica.ask("get n", 1), sum.to_string());
                prop_assert_eq!(replica.ask("hgetall h", 1), format!("n={sum}"));
            }
            let members = replica.ask("smembers t", 1);
            let members: BTreeSet<String> = members.split_whitespace().map(str::to_owned).collect();
            prop_assert_eq!(&members, &added);
        }
    }

    /// A value that was acknowledged is there until a write replaces it whose coordinator held it, and no longer.
    #[test]
    fn a_written_value_stays_until_a_write_has_seen_it(
        steps in proptest::collection::vec((0..REPLICAS, 0_u8..8, any::<usize>()), 1..60),
    ) {
        let mut world = World::new();
        let (mut written, mut replaced) = (BTreeSet::new(), BTreeSet::new());
        for (place, (at, what, which)) in steps.into_iter().enumerate() {
            if what < 4 {
                replaced.extend(siblings(&mut world.replicas[at]));
                let words = if what == 0 { "set k same".to_owned() } else { format!("set k v{place}") };
                let (_, op) = parse(&words);
                let (_, delta) = world.replicas[at].execute("k", op, 1, None);
                world.deltas.extend(delta);
                let held = siblings(&mut world.replicas[at]);
                prop_assert_eq!(held.len(), 1, "a blind write replaces what its coordinator held");
                written.extend(held);
            } else if what == 4 {
                restart(&mut world.replicas[at]);
            } else if what == 5 {
                world.repair("k", at, which % REPLICAS);
            } else {
                world.step(&Step::Deliver { to: at, which });
            }
        }
        world.deliver_all();
        let expected: BTreeSet<_> = written.difference(&replaced).cloned().collect();
        for replica in &mut world.replicas {
            prop_assert_eq!(siblings(replica), expected.clone());
        }
    }

    /// One replica alone answers as a plain value does, and counts what it holds.
    #[test]
    fn one_replica_is_a_plain_store(ops in proptest::collection::vec((0..OPS.len(), 0_i64..30), 1..60)) {
        let mut replica = Replica::new(1);
        let mut model: BTreeMap<String, althing_datatypes::Value> = BTreeMap::new();
        let mut now_ms = 800;
        for (op, wait) in ops {
            now_ms += wait;
            let (key, op) = parse(OPS[op]);
            let value = model.entry(key.to_owned()).or_default();
            let expected = althing_datatypes::execute(op.clone(), value, now_ms, 1);
            let (reply, _) = replica.execute(key, op, now_ms, None);
            prop_assert_eq!(show(&reply), show(&expected.clone().map(|(reply, _)| reply).map_err(Into::into)));
            expected.into_iter().for_each(|(_, edits)| value.apply(&edits, now_ms).unwrap());
        }
        for words in ["get s", "smembers s", "hgetall h", "smembers t", "zrange z", "pfcount p", "expiretime s", "expiretime t"] {
            let (key, op) = parse(words);
            let expected = althing_datatypes::execute(op, model.entry(key.to_owned()).or_default(), now_ms, 1);
            prop_assert_eq!(replica.ask(words, now_ms), show(&expected.map(|(reply, _)| reply).map_err(Into::into)), "{}", words);
        }
        let outcomes = replica.work(althing_convergent::Job::Flush { ticket: 1, after: None, budget: 100, now_ms });
        prop_assert!(matches!(outcomes.last(), Some(Outcome::Flushed { next: None, .. })), "it is the last page");
        prop_assert_eq!(replica.shard.size(), althing_convergent::Size::default());
        prop_assert!(replica.records().iter().all(|(key, _)| key[..] == [0]), "only the head is left");
    }
}
