//! Replicas that forget in a crash what was not durable, some of which the others have been told by then: nothing that was durable is lost,
//! no event's name is given twice, counters are exact, and whoever has taken all deltas holds the same.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use althing_clock::{Actor, Dot, DotContext};
use althing_convergent::delta::Message;
use althing_convergent::{Job, Leaves, Outcome, evaluate, names};
use bytes::Bytes;
use proptest::prelude::*;
use support::{Replica, open, parse};

const REPLICAS: usize = 3;
const KEYS: [&str; 5] = ["s", "h", "t", "z", "p"];
/// Operations that leave at once and others that wait, on the same keys.
const OPS: [&str; 24] = [
    "set s x",
    "set s 5",
    "append s z",
    "incr s 3",
    "incr s 3",
    "incrbyfloat s 0.5",
    "del s",
    "pexpireat s 900",
    "set s v pxat 1200",
    "hset h f 1 g x",
    "hset h f 2",
    "hincrby h f 4",
    "hdel h f",
    "del h",
    "sadd t a b",
    "sadd t a",
    "srem t a",
    "del t",
    "zadd z 1 m",
    "zincrby z 2 m",
    "zrem z m",
    "pfadd p e f",
    "del p",
    "sadd s a",
];

/// A replica, what of its log is durable, and what may leave when it is.
struct Node {
    replica: Replica,
    run: u64,
    synced: usize,
    waiting: Vec<(usize, Bytes)>,
}

impl Node {
    fn new(node: u64) -> Self {
        let mut replica = Replica::new(node);
        replica.actor = Actor::new(node, names::life(1, 1).unwrap());
        replica.shard = open(&replica.engine, replica.actor);
        replica.shard.begin_run(1);
        Self { replica, run: 1, synced: 0, waiting: Vec::new() }
    }

    fn sync(&mut self, deltas: &mut Vec<Bytes>) {
        self.synced = self.replica.log.len();
        deltas.extend(self.waiting.drain(..).map(|(_, delta)| delta));
    }

    /// A crash: the log has what was durable.
    fn crash(&mut self) {
        self.waiting.clear();
        self.replica.log.truncate(self.synced);
        self.replica.engine = Arc::new(self.replica.engine.crash(1));
        self.replica.shard = open(&self.replica.engine, self.replica.actor);
        for (place, delta) in self.replica.log.iter().enumerate() {
            self.replica.shard.replay(place as u64 + 1, delta.clone()).unwrap();
        }
        self.run += 1;
        self.replica.shard.begin_run(self.run);
    }
}

struct World {
    nodes: Vec<Node>,
    /// What has left.
    deltas: Vec<Bytes>,
    now_ms: i64,
}

#[derive(Clone, Debug)]
enum Step {
    Execute {
        at: usize,
        op: usize,
    },
    Deliver {
        to: usize,
        which: usize,
    },
    /// A read of two, whose answers wait for what they rest on.
    Repair {
        left: usize,
        right: usize,
        key: usize,
    },
    Tend {
        at: usize,
    },
    Sync {
        at: usize,
    },
    Checkpoint {
        at: usize,
    },
    Crash {
        at: usize,
    },
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0..REPLICAS;
    let step = prop_oneof![
        8 => (at.clone(), 0..OPS.len()).prop_map(|(at, op)| Step::Execute { at, op }),
        8 => (at.clone(), any::<usize>()).prop_map(|(to, which)| Step::Deliver { to, which }),
        2 => (at.clone(), at.clone(), 0..KEYS.len()).prop_map(|(left, right, key)| Step::Repair { left, right, key }),
        1 => at.clone().prop_map(|at| Step::Tend { at }),
        3 => at.clone().prop_map(|at| Step::Sync { at }),
        1 => at.clone().prop_map(|at| Step::Checkpoint { at }),
        2 => at.prop_map(|at| Step::Crash { at }),
        1 => Just(Step::Wait),
    ];
    proptest::collection::vec(step, 1..80)
}

impl World {
    fn new() -> Self {
        Self { nodes: (1..=REPLICAS as u64).map(Node::new).collect(), deltas: Vec::new(), now_ms: 800 }
    }

    fn execute(&mut self, at: usize, words: &str) {
        let (key, op) = parse(words);
        let key = Bytes::copy_from_slice(key.as_bytes());
        let job = Job::Execute { ticket: 1, key, op, seen: None, now_ms: self.now_ms, seed: 1 };
        let node = &mut self.nodes[at];
        match node.replica.work(job).pop().unwrap() {
            Outcome::Executed { delta: Some(delta), leaves: Leaves::AtOnce, .. } => self.deltas.push(delta),
            Outcome::Executed { delta: Some(delta), leaves: Leaves::OnceDurable, .. } => {
                node.waiting.push((node.replica.log.len(), delta));
            }
            Outcome::Executed { delta: None, .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Execute { at, op } => self.execute(*at, OPS[*op]),
            Step::Deliver { to, which } => {
                if !self.deltas.is_empty() {
                    let delta = self.deltas[which % self.deltas.len()].clone();
                    self.nodes[*to].replica.join(delta).unwrap();
                }
            }
            Step::Repair { left, right, key } => {
                [*left, *right].into_iter().for_each(|at| self.nodes[at].sync(&mut self.deltas));
                let states = [*left, *right].map(|at| self.nodes[at].replica.state(KEYS[*key]));
                let read = evaluate(&parse("get s").1, &states, self.now_ms, 1).unwrap();
                for (at, delta) in [*left, *right].into_iter().zip(read.missing) {
                    delta.into_iter().for_each(|delta| self.nodes[at].replica.join(delta).unwrap());
                }
            }
            Step::Tend { at } => {
                let node = &mut self.nodes[*at];
                let removed = node.replica.tend(self.now_ms);
                node.waiting.extend(removed.into_iter().map(|delta| (0, delta)));
            }
            Step::Sync { at } => self.nodes[*at].sync(&mut self.deltas),
            Step::Checkpoint { at } => {
                let node = &mut self.nodes[*at];
                node.sync(&mut self.deltas);
                node.replica.shard.write().unwrap();
                checkpoint(&node.replica);
            }
            Step::Crash { at } => self.nodes[*at].crash(),
            Step::Wait => self.now_ms += 150,
        }
    }

    /// All that has left comes everywhere.
    fn deliver_all(&mut self) {
        for node in &mut self.nodes {
            node.sync(&mut self.deltas);
        }
        for node in &mut self.nodes {
            self.deltas.iter().for_each(|delta| node.replica.join(delta.clone()).unwrap());
        }
    }

    fn assert_equal(&mut self) {
        for key in KEYS {
            let digests: BTreeSet<u128> = self.nodes.iter_mut().map(|node| node.replica.digest(key)).collect();
            assert_eq!(digests.len(), 1, "{key} differs");
        }
    }
}

fn checkpoint(replica: &Replica) {
    use althing_storage::engine::Engine;
    replica.engine.begin_checkpoint().unwrap().finish().unwrap();
}

fn dots(context: &DotContext) -> impl Iterator<Item = Dot> {
    let ranges = context.difference(&DotContext::EMPTY).into_iter();
    ranges.flat_map(|range| (range.first..=range.last).map(move |counter| Dot::new(range.actor, counter)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn whoever_has_taken_all_that_has_left_holds_the_same_and_no_event_names_two_writes(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.deliver_all();
        world.assert_equal();
        let mut named: BTreeMap<Dot, &Bytes> = BTreeMap::new();
        for delta in &world.deltas {
            let Ok(Message::Key(message)) = Message::decode(delta.clone()) else { panic!("a write is a delta of a key") };
            for dot in dots(&message.delta.writes) {
                prop_assert_eq!(*named.entry(dot).or_insert(delta), delta, "{}", dot);
            }
        }
        // A crash now, when all is durable, forgets nothing.
        for node in &mut world.nodes {
            node.sync(&mut Vec::new());
            node.crash();
        }
        world.assert_equal();
    }

    #[test]
    fn increments_that_were_durable_are_counted_once_and_no_others(
        steps in proptest::collection::vec((0..REPLICAS, -50_i64..50, 0_u8..9, any::<usize>()), 1..120),
    ) {
        let mut world = World::new();
        // What each node has added, by its place in the log.
        let mut added: Vec<Vec<(usize, i64)>> = vec![Vec::new(); REPLICAS];
        let mut members: Vec<Vec<(usize, String)>> = vec![Vec::new(); REPLICAS];
        for (place, (at, by, what, which)) in steps.into_iter().enumerate() {
            match what {
                0..3 => {
                    world.execute(at, &format!("incr n {by}"));
                    added[at].push((world.nodes[at].replica.log.len(), by));
                    world.execute(at, &format!("hincrby h n {by}"));
                }
                3 => {
                    world.execute(at, &format!("sadd t m{place}"));
                    members[at].push((world.nodes[at].replica.log.len(), format!("m{place}")));
                }
                4 => {
                    let synced = world.nodes[at].synced;
                    // The two counters are incremented one after the other, and a crash may come between.
                    added[at].retain(|(index, _)| *index <= synced);
                    members[at].retain(|(index, _)| *index <= synced);
                    world.step(&Step::Crash { at });
                }
                5 => world.step(&Step::Sync { at }),
                _ => world.step(&Step::Deliver { to: at, which }),
            }
        }
        world.deliver_all();
        let sum: i64 = added.iter().flatten().map(|(_, by)| by).sum();
        for node in &mut world.nodes {
            if added.iter().flatten().count() > 0 {
                prop_assert_eq!(node.replica.ask("get n", 1), sum.to_string());
            }
            let held = node.replica.ask("smembers t", 1);
            let held: BTreeSet<&str> = held.split_whitespace().collect();
            prop_assert!(members.iter().flatten().all(|(_, member)| held.contains(&member[..])));
        }
    }
}

/// What leaves at once, what waits, and what each is called.
#[test]
fn what_goes_on_from_before_waits_and_all_else_leaves_at_once() {
    let mut world = World::new();
    let mut left = |words: &str| {
        let before = world.deltas.len();
        world.execute(0, words);
        world.deltas.len() > before
    };
    for words in
        ["set s x", "sadd t a", "srem t a", "hset h f 1", "hdel h f", "zadd z 1 m", "pexpireat s 9000", "del s"]
    {
        assert!(left(words), "{words}");
    }
    for words in
        ["incr s 1", "hincrby h f 1", "hincrbyfloat h f 0.5", "zincrby z 1 m", "pfadd p e", "incrbyfloat s 0.5"]
    {
        assert!(!left(words), "{words}");
    }
    // They drop what was added.
    for words in ["set s 5", "hdel h f", "del z", "del p"] {
        assert!(!left(words), "{words}");
    }
    for words in ["set s 6", "hset h f 1", "zadd z 1 m"] {
        assert!(left(words), "{words}");
    }
}

/// A counter that lives through many runs has one run of its own for each replica.
#[test]
fn a_counter_does_not_grow_with_the_runs_of_its_node() {
    let mut world = World::new();
    let mut sizes = Vec::new();
    for _ in 0..20 {
        world.execute(0, "incr n 1");
        world.execute(0, "pfadd p e");
        world.nodes[0].sync(&mut world.deltas);
        world.nodes[0].crash();
        sizes.push(world.nodes[0].replica.state("n").len() + world.nodes[0].replica.state("p").len());
    }
    assert_eq!(world.nodes[0].replica.ask("get n", 1), "20");
    assert!(sizes[19] <= sizes[1] + 4, "{sizes:?}");
    // And what is deleted leaves nothing.
    world.execute(0, "del n");
    world.execute(0, "del p");
    assert!(world.nodes[0].replica.records().iter().all(|(key, _)| !key.ends_with(b"n") && !key.ends_with(b"p")));
}

/// An event of a run that is over and that nobody has is one gap, and nothing waits for it.
#[test]
fn what_nobody_has_leaves_one_gap() {
    let mut world = World::new();
    for member in ["a", "b", "c"] {
        world.execute(0, &format!("sadd t {member}"));
    }
    let lost = world.deltas.remove(1);
    world.nodes[0].crash();
    world.deliver_all();
    for node in &world.nodes {
        assert_eq!(node.replica.shard.gaps(), 1);
    }
    world.execute(0, "sadd t d");
    world.execute(1, "srem t a");
    world.deliver_all();
    world.assert_equal();
    assert_eq!(world.nodes[2].replica.ask("smembers t", 1), "c d");
    // If it comes after all, it is what it was.
    world.deltas.push(lost);
    world.deliver_all();
    world.assert_equal();
    assert_eq!(world.nodes[2].replica.ask("smembers t", 1), "b c d");
    assert!(world.nodes.iter().all(|node| node.replica.shard.gaps() == 0));
}

/// Other replicas have forgotten nothing of what this one has.
#[test]
fn own_events_that_were_forgotten_are_taken_from_the_others() {
    let mut world = World::new();
    world.execute(0, "set s x");
    world.nodes[1].replica.join(world.deltas[0].clone()).unwrap();
    world.nodes[0].crash();
    assert_eq!(world.nodes[0].replica.ask("get s", 1), "nil");
    let attested = world.nodes[1].replica.attest();
    let state = world.nodes[1].replica.state("s");
    let own = world.nodes[0].replica.state("s");
    let read = evaluate(&parse("get s").1, &[own, state], 1, 1).unwrap();
    world.nodes[0].replica.join(read.missing[0].clone().unwrap()).unwrap();
    world.nodes[0].replica.join(attested).unwrap();
    assert_eq!(world.nodes[0].replica.ask("get s", 1), "x");
}
