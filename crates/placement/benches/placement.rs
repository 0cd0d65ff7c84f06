//! How evenly keys lie on nodes, how much a join moves, and how long it takes to find out.
//!
//! Spread and moves are counted exactly (over all 2⁶⁴ positions), except those of the multi-probe ring, which are sampled.
//!
//! `cargo bench -p althing-placement --bench placement`

#![allow(missing_docs, clippy::disallowed_methods, reason = "a benchmark is all about real time")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use althing_placement::plan::{Host, Plan, Policy, Spread, State, plan};
use althing_placement::split::HashSplit;
use althing_placement::spread::Members;
use althing_placement::{Actual, Node, Range, Ring, ShardId, hash, rendezvous};
use althing_types::NodeId;

const SIZES: [u64; 6] = [3, 5, 10, 20, 50, 100];
/// Sets of ids that each figure is the worst of.
const TRIALS: u64 = 10;
const REPLICAS: usize = 3;

fn nodes(trial: u64, count: u64, zones: u64) -> Vec<Node> {
    let id = |index| NodeId(hash::draw(ShardId(trial), NodeId(index)));
    (0..count).map(|index| Node::new(id(index), &format!("z{}", index % zones))).collect()
}

/// What the fullest node holds, as a multiple of the mean.
fn fullest(held: impl Iterator<Item = u128>, nodes: u64, total: u128) -> f64 {
    held.max().unwrap_or(0) as f64 * nodes as f64 / total as f64
}

fn ring_spread(ring: &Ring, replicas: usize) -> f64 {
    let held = ring.held(replicas).into_values().map(|ranges| ranges.iter().map(|range| range.size()).sum());
    fullest(held, ring.nodes().len() as u64, Range::ALL.size() * replicas as u128)
}

/// What a join moves, as a multiple of the joiner's fair share.
fn ring_moves(before: &Ring, after: &Ring) -> f64 {
    let moved: u128 = before.changes(after, 1).iter().map(|change| change.range.size()).sum();
    moved as f64 / Range::ALL.size() as f64 * after.nodes().len() as f64
}

fn worst(figures: impl Iterator<Item = f64>) -> f64 {
    figures.fold(0.0, f64::max)
}

fn rings(tokens: u32) {
    for count in SIZES {
        let pair = |trial| {
            let all = nodes(trial, count + 1, 1);
            (Ring::new(all[..count as usize].to_vec(), tokens), Ring::new(all, tokens))
        };
        let pairs: Vec<(Ring, Ring)> = (0..TRIALS).map(pair).collect();
        let keys = worst(pairs.iter().map(|(ring, _)| ring_spread(ring, 1)));
        let replicas = worst(pairs.iter().map(|(ring, _)| ring_spread(ring, REPLICAS)));
        let moves = worst(pairs.iter().map(|(before, after)| ring_moves(before, after)));
        println!(
            "  ring, {tokens:>4} tokens  {count:>4} nodes   keys {keys:.3}   replicas {replicas:.3}   join {moves:.3}"
        );
    }
}

/// The scheme that was weighed and refused: 128 tokens, and of eight places of a key the one that lies nearest before a token.
struct MultiProbe {
    tokens: Vec<(u64, NodeId)>,
}

impl MultiProbe {
    const PROBES: u64 = 8;

    fn new(nodes: &[Node]) -> Self {
        let token = |node: &Node, number| (hash::token(node.id, number), node.id);
        let mut tokens: Vec<_> =
            nodes.iter().flat_map(|node| (0..128).map(move |number| token(node, number))).collect();
        tokens.sort_unstable();
        Self { tokens }
    }

    fn owner(&self, key: u64) -> NodeId {
        let nearest = |probe: u64| {
            let place = hash::position(&[key.to_le_bytes(), probe.to_le_bytes()].concat());
            let index = self.tokens.partition_point(|(token, _)| *token < place) % self.tokens.len();
            let (token, node) = self.tokens[index];
            (token.wrapping_sub(place), node)
        };
        (0..Self::PROBES).map(nearest).min().expect("there are probes").1
    }
}

fn probes() {
    const SAMPLES: u64 = 1_000_000;
    for count in SIZES {
        let all = nodes(0, count + 1, 1);
        let (before, after) = (MultiProbe::new(&all[..count as usize]), MultiProbe::new(&all));
        let mut held: BTreeMap<NodeId, u128> = BTreeMap::new();
        let mut moved = 0_u64;
        for key in 0..SAMPLES {
            let owner = before.owner(key);
            *held.entry(owner).or_default() += 1;
            moved += u64::from(owner != after.owner(key));
        }
        let keys = fullest(held.into_values(), count, u128::from(SAMPLES));
        let join = moved as f64 / SAMPLES as f64 * (count + 1) as f64;
        println!("  multi-probe, 8 × 128  {count:>4} nodes   keys {keys:.3}   (one set, sampled)   join {join:.3}");
    }
}

fn empty(shards: u64) -> BTreeMap<ShardId, Actual> {
    (0..shards).map(|shard| (ShardId(shard), Actual::default())).collect()
}

fn carried_out(plan: &Plan) -> BTreeMap<ShardId, Actual> {
    plan.placements.iter().map(|(shard, placement)| (*shard, Actual::from(placement.clone()))).collect()
}

fn hosts(nodes: &[Node]) -> Vec<Host> {
    nodes.iter().cloned().map(Host::active).collect()
}

const POLICY: Policy = Policy { replicas: REPLICAS, spread: Spread::Prefer };

fn dealt() {
    const RANGES: u64 = 16_384;
    for count in SIZES {
        let all = nodes(0, count + 1, 1);
        let before = plan(&empty(RANGES), &hosts(&all[..count as usize]), &POLICY);
        let after = plan(&carried_out(&before), &hosts(&all), &POLICY);
        let (mut held, mut led) = (BTreeMap::new(), BTreeMap::new());
        for placement in before.placements.values() {
            placement.replicas.iter().for_each(|node| *held.entry(*node).or_insert(0_u128) += 1);
            placement.leader.iter().for_each(|node| *led.entry(*node).or_insert(0_u128) += 1);
        }
        let total = u128::from(RANGES) * REPLICAS as u128;
        let replicas = fullest(held.into_values(), count, total);
        let leaders = fullest(led.into_values(), count, u128::from(RANGES));
        let join = after.copies as f64 / total as f64 * (count + 1) as f64;
        println!(
            "  dealt, 16384 ranges   {count:>4} nodes   leaders {leaders:.3}   replicas {replicas:.3}   join {join:.3}"
        );
    }
}

/// Millions of calls per second.
fn rate(mut call: impl FnMut(u64)) -> f64 {
    const CALLS: u64 = 1_000_000;
    let start = Instant::now();
    (0..CALLS).for_each(&mut call);
    CALLS as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn lookups() {
    for count in [3, 10, 100] {
        let ring = Ring::new(nodes(0, count, 3), Ring::TOKENS_PER_NODE);
        let members = Members::new(nodes(0, count, 3));
        let split = HashSplit::new(16_384).expect("it is not zero");
        let owner = rate(|key| _ = black_box(ring.owner(hash::position(&key.to_le_bytes()))));
        let owners = rate(|key| _ = black_box(ring.owners(hash::position(&key.to_le_bytes()), REPLICAS)));
        let shard = rate(|key| _ = black_box(split.shard(&key.to_le_bytes())));
        let start = Instant::now();
        (0..20_000).for_each(|shard| _ = black_box(rendezvous::choose(&members, ShardId(shard), REPLICAS)));
        let draws = 20_000.0 / start.elapsed().as_secs_f64() / 1e6;
        println!(
            "  {count:>4} nodes   ring: owner {owner:.1}, three owners {owners:.2}   key to shard {shard:.0}   rendezvous {draws:.3}"
        );
    }
}

fn planning(zones: u64) {
    let all = nodes(0, 101, zones);
    let timed = |what: &str, current: &BTreeMap<ShardId, Actual>, hosts: &[Host]| {
        let start = Instant::now();
        let plan = plan(current, hosts, &POLICY);
        let took = start.elapsed().as_millis();
        println!("  {zones} zones   {what:<24} {took:>6} ms   {:>6} copies", plan.copies);
        plan
    };
    let first = timed("from nothing", &empty(10_000), &hosts(&all[..100]));
    let current = carried_out(&first);
    timed("nothing to do", &current, &hosts(&all[..100]));
    timed("one node joins", &current, &hosts(&all));
    for (what, state) in [("one node drains", State::Draining), ("one node is dead", State::Dead)] {
        let mut hosts = hosts(&all[..100]);
        hosts[7].state = state;
        timed(what, &current, &hosts);
    }
    let mut halved = hosts(&all[..100]);
    halved.truncate(50);
    timed("half of the nodes leave", &current, &halved);
}

fn main() {
    println!("fullest node and keys moved by a join, in multiples of the fair share; worst of {TRIALS} sets of ids");
    [128, 1_024, 4_096].into_iter().for_each(rings);
    probes();
    dealt();
    println!("millions per second, one core, keys of 8 bytes, three zones");
    lookups();
    println!("planning 10,000 shards with {REPLICAS} replicas on 100 nodes");
    [1, 3, 100].into_iter().for_each(planning);
}
