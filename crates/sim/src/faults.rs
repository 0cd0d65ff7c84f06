//! The fault plan: what goes wrong, how often, and when, as data.
//!
//! A plan has two halves. *Rates* say how often a kind of fault begins by chance and how long it lasts. The *schedule*
//! says that a certain fault happens at a certain moment. Both end in the same [`Fault`], so that what chance did in one
//! run can be written down as the schedule of the next.
//!
//! Any number of nodes may be down at once: what suffers is only progress, and the liveness phase begins after all is
//! healed. What a node has synced, though, is lost by one node at a time at the most; [`crate::budget`] sees to that.

use althing_types::{Duration, NodeId};
use fastrand::Rng;

use crate::clocks::Jump;
use crate::random::{Chance, Latency, between, stream};
use crate::scene::Scene;
use crate::triggers::Trigger;

/// One fault, or the end of one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
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
    /// Frames to and from the node are held back, not lost.
    Clog(NodeId),
    /// What was held back goes on its way.
    Unclog(NodeId),
    /// Each of its turns, and each round of its applier, begins this much later: a processor that others use up.
    SlowNode {
        /// Whose processor.
        node: NodeId,
        /// Later by this; zero ends it.
        by: Duration,
    },
    /// Its clock is set while it runs.
    JumpClock {
        /// Whose clock.
        node: NodeId,
        /// How far, and which way.
        jump: Jump,
    },
    /// Its clock runs at another pace from now on.
    Drift {
        /// Whose clock.
        node: NodeId,
        /// So many parts per million too fast, or too slow if below zero.
        ppm: i32,
    },
    /// Bits of its log that had been synced turn, in a place that the log must notice.
    Rot {
        /// Whose disk.
        node: NodeId,
        /// Where follows from this.
        seed: u32,
    },
    /// The next read of one place of its log gives a turned bit, once.
    RotOnRead {
        /// Whose disk.
        node: NodeId,
        /// Where follows from this.
        seed: u32,
    },
    /// The node ends, and all that was in its data directory is gone.
    Wipe(NodeId),
    /// A backup is made of the node's data directory as it is.
    KeepImage(NodeId),
    /// The node ends, and its data directory is what it was when the backup was made.
    RollBack(NodeId),
    /// A second machine starts under the node's id, on the backup.
    Copy(NodeId),
    /// The second machine is switched off.
    Unplug(NodeId),
    /// The node's disk answers syncs, but keeps what they should keep in volatile memory. A power cut loses it.
    LoseSyncs(NodeId),
    /// The disk brings all that it had answered for to the medium, and is honest again.
    KeepSyncs(NodeId),
    /// The node makes a checkpoint now.
    Checkpoint(NodeId),
    /// The node is asked to compact almost all history.
    Compact(NodeId),
    /// Messages of a kind, to or from the node, vanish.
    Withhold {
        /// Whose.
        node: NodeId,
        /// Which.
        what: Mail,
    },
    /// They pass again.
    Deliver {
        /// Whose.
        node: NodeId,
        /// Which.
        what: Mail,
    },
    /// Hints about who is up and who is down lie to the node: the living are said to be gone, and the dead go on reporting.
    Mislead(NodeId),
    /// They no longer do.
    Undeceive(NodeId),
    /// The machine is gone for good, with all that it had.
    Destroy(NodeId),
}

/// Messages of the control plane that the network may withhold from a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mail {
    /// Updates of the map on their way to it.
    Maps,
    /// What it reports of itself.
    Reports,
}

impl Fault {
    /// Whether it makes something worse. What only ends a fault does not.
    #[must_use]
    pub fn is_harm(&self) -> bool {
        match self {
            Self::Heal
            | Self::Restart(_)
            | Self::Resume(_)
            | Self::FreeDisk(_)
            | Self::Unclog(_)
            | Self::Unplug(_)
            | Self::KeepSyncs(_)
            | Self::Deliver { .. }
            | Self::Undeceive(_) => false,
            Self::SlowDisk { by, .. } | Self::SlowNode { by, .. } => !by.is_zero(),
            Self::Drift { ppm, .. } => *ppm != 0,
            Self::Partition { .. }
            | Self::OneWay { .. }
            | Self::Crash(_)
            | Self::Kill(_)
            | Self::Pause(_)
            | Self::FailSync(_)
            | Self::FailWrite(_)
            | Self::FillDisk(_)
            | Self::TransferLeader(_)
            | Self::Stop(_)
            | Self::Clog(_)
            | Self::JumpClock { .. }
            | Self::Rot { .. }
            | Self::RotOnRead { .. }
            | Self::Wipe(_)
            | Self::KeepImage(_)
            | Self::RollBack(_)
            | Self::Copy(_)
            | Self::LoseSyncs(_)
            | Self::Checkpoint(_)
            | Self::Compact(_)
            | Self::Withhold { .. }
            | Self::Mislead(_)
            | Self::Destroy(_) => true,
        }
    }
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
    /// Nodes clogged one after another, and unclogged in another order.
    pub clogs: Episodes,
    /// Processors that others use up for a while.
    pub slow_nodes: Episodes,
    /// Clocks that are set.
    pub clock_jumps: Episodes,
    /// Clocks that change their pace for a while.
    pub drifts: Episodes,
    /// Bits of a log that turn for good; the node starts again when the episode ends.
    pub rot: Episodes,
    /// Bits of a log that a read gives wrongly, once; the node starts again when the episode ends.
    pub rot_on_read: Episodes,
    /// Data directories that are emptied.
    pub wipes: Episodes,
    /// Data directories that are put back to what they were when the episode began.
    pub rollbacks: Episodes,
    /// Data directories of which a second machine starts on a copy.
    pub copies: Episodes,
    /// Disks whose syncs keep nothing for a while.
    pub lost_syncs: Episodes,
    /// Checkpoints that are asked for.
    pub checkpoints: Episodes,
    /// Compactions that are asked for.
    pub compactions: Episodes,
    /// Changes of the members, by an operator: how long he waits between two of them is `every`.
    pub membership: Episodes,
    /// Updates of the map withheld from a node. This and the next three are for clusters with a control plane.
    pub withheld_maps: Episodes,
    /// Reports of a node withheld.
    pub withheld_reports: Episodes,
    /// Hints about who is up and down that lie to a node.
    pub lies: Episodes,
    /// Machines that are gone for good.
    pub destroyed: Episodes,
    /// Faults that hit a node at a moment that matters.
    pub triggers: Vec<Trigger>,
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
            clogs: Episodes::NONE,
            slow_nodes: Episodes::NONE,
            clock_jumps: Episodes::NONE,
            drifts: Episodes::NONE,
            rot: Episodes::NONE,
            rot_on_read: Episodes::NONE,
            wipes: Episodes::NONE,
            rollbacks: Episodes::NONE,
            copies: Episodes::NONE,
            lost_syncs: Episodes::NONE,
            checkpoints: Episodes::NONE,
            compactions: Episodes::NONE,
            membership: Episodes::NONE,
            withheld_maps: Episodes::NONE,
            withheld_reports: Episodes::NONE,
            lies: Episodes::NONE,
            destroyed: Episodes::NONE,
            triggers: Vec::new(),
            schedule: Vec::new(),
            scenes: Vec::new(),
        }
    }

    /// Everything goes wrong, often; but for what concerns a control plane, which a scenario asks for by name.
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
            clogs: Episodes::new(secs(8), ms(100), secs(2)),
            slow_nodes: Episodes::new(secs(8), ms(100), secs(3)),
            clock_jumps: Episodes::new(secs(8), Duration::ZERO, Duration::ZERO),
            drifts: Episodes::new(secs(8), ms(500), secs(5)),
            rot: Episodes::new(secs(12), ms(50), secs(2)),
            rot_on_read: Episodes::new(secs(12), ms(10), secs(1)),
            wipes: Episodes::new(secs(15), ms(50), secs(1)),
            rollbacks: Episodes::new(secs(12), ms(500), secs(3)),
            copies: Episodes::new(secs(12), ms(500), secs(3)),
            lost_syncs: Episodes::new(secs(12), ms(300), secs(3)),
            checkpoints: Episodes::new(secs(4), Duration::ZERO, Duration::ZERO),
            compactions: Episodes::new(secs(4), Duration::ZERO, Duration::ZERO),
            membership: Episodes::new(ms(1200), Duration::ZERO, Duration::ZERO),
            withheld_maps: Episodes::NONE,
            withheld_reports: Episodes::NONE,
            lies: Episodes::NONE,
            destroyed: Episodes::NONE,
            triggers: Trigger::all(),
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
        plan.triggers.retain(|_| rng.u32(0..4) == 0);
        plan
    }

    /// The same plan, but nothing takes away what was synced, or votes.
    #[must_use]
    pub fn without_losses(mut self) -> Self {
        let losses = [
            &mut self.rot,
            &mut self.rot_on_read,
            &mut self.wipes,
            &mut self.rollbacks,
            &mut self.copies,
            &mut self.lost_syncs,
        ];
        losses.into_iter().for_each(|episodes| *episodes = Episodes::NONE);
        self.triggers.clear();
        self.without_an_operator()
    }

    /// The same plan, but nobody adds or removes members, compacts, or hands a leadership over: what a control plane does by itself.
    #[must_use]
    pub fn without_an_operator(mut self) -> Self {
        let by_hand = [&mut self.membership, &mut self.compactions, &mut self.transfers];
        by_hand.into_iter().for_each(|episodes| *episodes = Episodes::NONE);
        self
    }

    /// The same world, in which nothing begins by chance any more but what has been `inflicted` does: what a run's report
    /// says. The operator goes on as before.
    #[must_use]
    pub fn replaying(&self, inflicted: Vec<(Duration, Fault)>) -> Self {
        let mut plan = Self { schedule: inflicted, scenes: Vec::new(), triggers: Vec::new(), ..self.clone() };
        let membership = plan.membership;
        plan.episodes_mut().into_iter().for_each(|episodes| *episodes = Episodes::NONE);
        plan.of_the_control_plane_mut().into_iter().for_each(|episodes| *episodes = Episodes::NONE);
        plan.membership = membership;
        plan
    }

    fn of_the_control_plane_mut(&mut self) -> [&mut Episodes; 4] {
        [&mut self.withheld_maps, &mut self.withheld_reports, &mut self.lies, &mut self.destroyed]
    }

    fn episodes_mut(&mut self) -> [&mut Episodes; 24] {
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
            &mut self.clogs,
            &mut self.slow_nodes,
            &mut self.clock_jumps,
            &mut self.drifts,
            &mut self.rot,
            &mut self.rot_on_read,
            &mut self.wipes,
            &mut self.rollbacks,
            &mut self.copies,
            &mut self.lost_syncs,
            &mut self.checkpoints,
            &mut self.compactions,
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
        let mut on = [0_u32; 24];
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
