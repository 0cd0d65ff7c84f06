//! The fault plan: what goes wrong, how often, and when, as data.
//!
//! A plan has two halves. *Rates* say how often a kind of fault begins by chance and how long it lasts. The *schedule*
//! says that a certain fault happens at a certain moment. Both end in the same [`Fault`], so that what chance did in one
//! run can be written down as the schedule of the next.
//!
//! The budget: every fault here is one that the store promises to survive. Nothing that was synced is ever lost, so any
//! number of nodes may be down at once; what suffers is only progress, and the liveness phase begins after all is healed.

use althing_types::{Duration, NodeId};
use fastrand::Rng;

use crate::random::{Chance, Latency, between, stream};
use crate::scene::Scene;

/// One fault, or the end of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The nodes fall apart: frames pass only within the island or only outside it.
    Partition {
        /// The nodes on one side.
        island: Vec<NodeId>,
    },
    /// Frames of one node to another vanish; the way back is open.
    OneWay {
        /// The sender that is not heard.
        from: NodeId,
        /// The one that does not hear it.
        to: NodeId,
    },
    /// Every link is open again.
    Heal,
    /// The node's process and machine stop at once. What it had not synced is lost, kept or torn, sector by sector.
    Crash(NodeId),
    /// The node's process alone is killed; what it wrote stays written, synced or not.
    Kill(NodeId),
    /// The node starts again from its disk.
    Restart(NodeId),
    /// The node stands still (a stopped process, a stolen CPU) and knows nothing of it.
    Pause(NodeId),
    /// It goes on.
    Resume(NodeId),
    /// Its syncs take this much longer.
    SlowDisk {
        /// Whose disk.
        node: NodeId,
        /// Longer by this; zero ends it.
        by: Duration,
    },
    /// Its next sync fails; the node must stop.
    FailSync(NodeId),
    /// Its next write to the log fails; the node must stop.
    FailWrite(NodeId),
    /// Its disk is full from now on.
    FillDisk(NodeId),
    /// There is room on its disk again.
    FreeDisk(NodeId),
    /// Whoever leads hands over to this node.
    TransferLeader(NodeId),
    /// The node is asked to stop in good order, and starts again a little later.
    Stop(NodeId),
}

/// Faults that begin by chance: about one in `every`, lasting between the two. `None` of them if `every` is zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Episodes {
    /// The mean time from one to the next.
    pub every: Duration,
    /// The shortest.
    pub shortest: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Episodes {
    /// Never.
    pub const NONE: Self = Self { every: Duration::ZERO, shortest: Duration::ZERO, longest: Duration::ZERO };

    /// About one in `every`, lasting between `shortest` and `longest`.
    #[must_use]
    pub const fn new(every: Duration, shortest: Duration, longest: Duration) -> Self {
        Self { every, shortest, longest }
    }

    /// How long until the next begins; `None` if none does.
    pub fn draw_gap(&self, rng: &mut Rng) -> Option<Duration> {
        (!self.every.is_zero()).then(|| between(Duration::from_millis(1), self.every * 2, rng))
    }

    /// How long this one lasts.
    pub fn draw_length(&self, rng: &mut Rng) -> Duration {
        between(self.shortest, self.longest, rng)
    }
}

/// What the network does to each frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetworkFaults {
    /// How long a frame is under way.
    pub latency: Latency,
    /// It vanishes.
    pub drop: Chance,
    /// It comes twice.
    pub duplicate: Chance,
    /// It may overtake what was sent before it.
    pub reorder: Chance,
}

impl NetworkFaults {
    /// A quiet local network: 50 to 250 microseconds, everything arrives once and in order.
    pub const CALM: Self = Self {
        latency: Latency::even(Duration::from_micros(50), Duration::from_micros(200)),
        drop: Chance::NEVER,
        duplicate: Chance::NEVER,
        reorder: Chance::NEVER,
    };
}

/// How the disks behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskFaults {
    /// How long an append and its sync take.
    pub sync_latency: Latency,
    /// How long the applier takes for a batch.
    pub apply_latency: Latency,
    /// How long a read of the engine takes on the reader's thread.
    pub read_latency: Latency,
    /// How long a checkpoint takes to become durable.
    pub checkpoint_latency: Latency,
}

impl DiskFaults {
    /// A good disk: syncs of 0.2 to 1 ms.
    pub const CALM: Self = Self {
        sync_latency: Latency::even(Duration::from_micros(200), Duration::from_micros(800)),
        apply_latency: Latency::even(Duration::from_micros(20), Duration::from_micros(200)),
        read_latency: Latency::even(Duration::from_micros(20), Duration::from_micros(200)),
        checkpoint_latency: Latency::even(Duration::from_millis(20), Duration::from_millis(200)),
    };
}

/// How wrong the clocks are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockFaults {
    /// A node's clock starts up to this far ahead of the world's.
    pub max_offset: Duration,
    /// It runs up to this many parts per million too fast or too slow.
    pub max_drift_ppm: u32,
}

/// All that goes wrong in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultPlan {
    /// What happens to frames.
    pub network: NetworkFaults,
    /// How disks behave.
    pub disk: DiskFaults,
    /// How wrong clocks are.
    pub clocks: ClockFaults,
    /// Full partitions.
    pub partitions: Episodes,
    /// One-way partitions.
    pub one_way: Episodes,
    /// Power failures of one node; now and then of all at once.
    pub crashes: Episodes,
    /// Processes killed.
    pub kills: Episodes,
    /// Processes that stand still.
    pub pauses: Episodes,
    /// Disks that are slow for a while.
    pub slow_disks: Episodes,
    /// Syncs that fail.
    pub failed_syncs: Episodes,
    /// Writes that fail.
    pub failed_writes: Episodes,
    /// Disks that are full for a while.
    pub full_disks: Episodes,
    /// Leadership handed over.
    pub transfers: Episodes,
    /// Graceful stops.
    pub stops: Episodes,
    /// Changes of the members, by an operator: how long he waits between two of them is `every`.
    pub membership: Episodes,
    /// Faults at moments of their own, counted from the start of the run; in order.
    pub schedule: Vec<(Duration, Fault)>,
    /// Faults at moments of their own, with their ends, some of whose victims are found only then.
    pub scenes: Vec<Scene>,
}

impl FaultPlan {
    /// Nothing goes wrong.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            network: NetworkFaults::CALM,
            disk: DiskFaults::CALM,
            clocks: ClockFaults { max_offset: Duration::ZERO, max_drift_ppm: 0 },
            partitions: Episodes::NONE,
            one_way: Episodes::NONE,
            crashes: Episodes::NONE,
            kills: Episodes::NONE,
            pauses: Episodes::NONE,
            slow_disks: Episodes::NONE,
            failed_syncs: Episodes::NONE,
            failed_writes: Episodes::NONE,
            full_disks: Episodes::NONE,
            transfers: Episodes::NONE,
            stops: Episodes::NONE,
            membership: Episodes::NONE,
            schedule: Vec::new(),
            scenes: Vec::new(),
        }
    }

    /// Everything goes wrong, often.
    #[must_use]
    pub fn all() -> Self {
        let (ms, secs) = (Duration::from_millis, Duration::from_secs);
        Self {
            network: rough_network(),
            disk: rough_disk(),
            clocks: ClockFaults { max_offset: secs(86_400), max_drift_ppm: 1000 },
            partitions: Episodes::new(secs(6), ms(200), secs(4)),
            one_way: Episodes::new(secs(6), ms(200), secs(3)),
            crashes: Episodes::new(secs(5), ms(20), secs(3)),
            kills: Episodes::new(secs(8), ms(20), secs(2)),
            pauses: Episodes::new(secs(6), ms(50), secs(2)),
            slow_disks: Episodes::new(secs(8), ms(100), secs(3)),
            failed_syncs: Episodes::new(secs(15), ms(100), secs(2)),
            failed_writes: Episodes::new(secs(20), ms(100), secs(2)),
            full_disks: Episodes::new(secs(15), ms(100), secs(2)),
            transfers: Episodes::new(secs(5), Duration::ZERO, Duration::ZERO),
            stops: Episodes::new(secs(15), ms(100), secs(2)),
            membership: Episodes::new(ms(1200), Duration::ZERO, Duration::ZERO),
            schedule: Vec::new(),
            scenes: Vec::new(),
        }
    }

    /// Some of the faults of [`FaultPlan::all`], drawn from the seed, each at its own pace. A run with few kinds of
    /// fault goes deeper into each than one with all of them (swarm testing; Groce and others, 2012).
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        let mut rng = stream(seed, "plan");
        let mut plan = Self::all();
        for episodes in plan.episodes_mut() {
            thin_out(episodes, &mut rng);
        }
        for chance in [&mut plan.network.drop, &mut plan.network.duplicate, &mut plan.network.reorder] {
            *chance = if rng.bool() { Chance(rng.u32(0..=chance.0)) } else { Chance::NEVER };
        }
        if rng.bool() {
            plan.network.latency = NetworkFaults::CALM.latency;
        }
        if rng.bool() {
            plan.disk = DiskFaults::CALM;
        }
        plan
    }

    fn episodes_mut(&mut self) -> [&mut Episodes; 12] {
        [
            &mut self.partitions,
            &mut self.one_way,
            &mut self.crashes,
            &mut self.kills,
            &mut self.pauses,
            &mut self.slow_disks,
            &mut self.failed_syncs,
            &mut self.failed_writes,
            &mut self.full_disks,
            &mut self.transfers,
            &mut self.stops,
            &mut self.membership,
        ]
    }
}

/// Half of the kinds never begin; the others begin between half and four times as far apart.
fn thin_out(episodes: &mut Episodes, rng: &mut Rng) {
    if rng.bool() {
        *episodes = Episodes::NONE;
    } else {
        episodes.every = between(episodes.every / 2, episodes.every * 4, rng);
    }
}

fn rough_network() -> NetworkFaults {
    NetworkFaults {
        latency: Latency {
            least: Duration::from_micros(50),
            spread: Duration::from_millis(4),
            spike_chance: Chance::percent(1),
            spike: Duration::from_millis(400),
        },
        drop: Chance::percent(3),
        duplicate: Chance::percent(2),
        reorder: Chance::percent(5),
    }
}

fn rough_disk() -> DiskFaults {
    let spiky = |least, spread, spike| Latency { least, spread, spike_chance: Chance::percent(1), spike };
    let (us, ms) = (Duration::from_micros, Duration::from_millis);
    DiskFaults {
        sync_latency: spiky(us(200), ms(8), ms(300)),
        apply_latency: spiky(us(20), ms(2), ms(200)),
        read_latency: spiky(us(20), ms(2), ms(300)),
        checkpoint_latency: spiky(ms(20), ms(500), ms(3000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_follows_from_its_seed_and_seeds_differ() {
        assert_eq!(FaultPlan::swarm(3), FaultPlan::swarm(3));
        assert_ne!(FaultPlan::swarm(3), FaultPlan::swarm(4));
    }

    #[test]
    fn every_kind_of_episode_is_on_in_some_seed_and_off_in_another() {
        let mut on = [0_u32; 12];
        for seed in 0..50 {
            for (count, episodes) in on.iter_mut().zip(FaultPlan::swarm(seed).episodes_mut()) {
                *count += u32::from(*episodes != Episodes::NONE);
            }
        }
        assert!(on.iter().all(|count| (10..40).contains(count)), "{on:?}");
    }

    #[test]
    fn episodes_without_a_rate_never_begin() {
        assert_eq!(Episodes::NONE.draw_gap(&mut stream(1, "test")), None);
    }
}
