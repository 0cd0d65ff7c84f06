//! How fast news travels, what the membership costs, and whether it wrongs anybody: 100 and 1,000 nodes, with and without
//! loss, in simulated time.
//!
//! ```sh
//! cargo bench -p althing-gossip
//! cargo bench -p althing-gossip -- 100 5 3600 4000 6000 1   # nodes, loss, quiet seconds; suspicion's scale and floor in ms; seed
//! ```

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/world/mod.rs"]
mod world;

use althing_gossip::{Input, Key, Liveness, Timing, Value};
use althing_types::{Duration, NodeId};
use world::{Life, Network, World};

const ACTIVE: [Liveness; 2] = [Liveness::Alive, Liveness::Suspected];
const GONE: [Liveness; 2] = [Liveness::Down, Liveness::Left];
const DOUBTED: [Liveness; 3] = [Liveness::Suspected, Liveness::Down, Liveness::Left];
/// How often each kind of news is measured in one world.
const ROUNDS: u64 = 5;

/// The least and the greatest time of some, as periods of a second.
fn range(times: &[Duration]) -> String {
    let least = times.iter().min().expect("there are rounds").as_secs_f64();
    let most = times.iter().max().expect("there are rounds").as_secs_f64();
    format!("{least:.1} to {most:.1}")
}

struct Case {
    nodes: u64,
    loss_percent: u32,
    /// How long the cluster runs undisturbed, in seconds.
    quiet_seconds: u64,
}

impl Case {
    const ALL: [Self; 6] = [
        Self { nodes: 5, loss_percent: 0, quiet_seconds: 3_600 },
        Self { nodes: 5, loss_percent: 5, quiet_seconds: 36_000 },
        Self { nodes: 100, loss_percent: 0, quiet_seconds: 3_600 },
        Self { nodes: 100, loss_percent: 5, quiet_seconds: 3_600 },
        Self { nodes: 1_000, loss_percent: 0, quiet_seconds: 300 },
        Self { nodes: 1_000, loss_percent: 5, quiet_seconds: 300 },
    ];
}

fn measure(case: &Case, timing: Timing, seed: u64) {
    let Case { nodes, loss_percent, quiet_seconds } = *case;
    let limit = Duration::from_secs(120);
    let mut world = World::new(seed, Network::lan(loss_percent));
    world.timing = timing;
    let bootstrap = world.settle(nodes);
    let (mut joins, mut states, mut suspected, mut crashes) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let newcomer = nodes + 1 + round;
        world.start(newcomer);
        joins.push(world.until("the join is known", limit, |world| world.all_see(newcomer, &ACTIVE)));
        let owner = 1 + round;
        world.give(owner, Input::Set { key: Key::MapEpoch, value: Value::Number(round) });
        let epoch = |gossip: &althing_gossip::Gossip| gossip.state(NodeId(owner))?.number(Key::MapEpoch);
        let knows = |world: &World| world.running().all(|(_, gossip)| epoch(gossip) == Some(round));
        states.push(world.until("the state is known", limit, knows));
        world.set_life(newcomer, Life::Crashed);
        let doubt = world.until("the crash is suspected", limit, |world| world.all_see(newcomer, &DOUBTED));
        suspected.push(doubt);
        crashes.push(doubt + world.until("the crash is known", limit, |world| world.all_see(newcomer, &GONE)));
    }
    world.run(Duration::from_secs(60));
    world.told.clear();
    let (before, pages) = (world.metrics(), world.page_bytes);
    world.run(Duration::from_secs(quiet_seconds));
    let after = world.metrics();
    let per_node_second = |count: u64| count as f64 / (nodes * quiet_seconds) as f64;
    println!(
        "| {nodes} | {loss_percent} % | {:.1} | {} | {} | {} | {} | {:.2} | {:.0} | {:.0} | {} | {} in {} min |",
        bootstrap.as_secs_f64(),
        range(&joins),
        range(&states),
        range(&suspected),
        range(&crashes),
        per_node_second(after.datagrams_sent - before.datagrams_sent),
        per_node_second(after.datagram_bytes_sent - before.datagram_bytes_sent),
        per_node_second(world.page_bytes - pages),
        after.suspicions - before.suspicions,
        world.false_downs.len(),
        quiet_seconds / 60,
    );
    assert_eq!(after.irregularities, 0, "nothing was out of order");
}

fn main() {
    println!(
        "| nodes | loss | bootstrap, s | join | state | crash suspected | crash declared | datagrams/s/node | bytes/s/node | push/pull bytes/s/node | views of a suspicion | false deaths |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let numbers: Vec<u64> = arguments.map(|argument| argument.parse().expect("a number")).collect();
    let mut timing = Timing::default();
    if let [_, _, _, scale, floor, ..] = numbers[..] {
        (timing.suspicion_scale, timing.min_suspicion) = (Duration::from_millis(scale), Duration::from_millis(floor));
    }
    let seed = numbers.get(5).copied().unwrap_or(1);
    match numbers[..] {
        [nodes, loss, quiet_seconds, ..] => {
            let loss_percent = u32::try_from(loss).expect("a share in percent");
            measure(&Case { nodes, loss_percent, quiet_seconds }, timing, seed);
        }
        _ => Case::ALL.iter().for_each(|case| measure(case, timing, seed)),
    }
}
