//! Who makes things go wrong: turns the rates of a fault plan into faults, with an end for each.

use althing_types::{Duration, NodeId};
use fastrand::Rng;

use crate::clocks::Jump;
use crate::faults::{Episodes, Fault, FaultPlan, Mail};
use crate::random::between;

/// How long a node that is ended for a moment stays down.
const SOON: Duration = Duration::from_millis(40);

/// A clock that changes its pace is wrong by so much at the most.
const MAX_DRIFT_PPM: i32 = 1000;

/// Kinds of episodes, one per rate of the plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A full partition.
    Partition,
    /// A one-way cut.
    OneWay,
    /// Power failures.
    Crash,
    /// Processes killed.
    Kill,
    /// A process that stands still.
    Pause,
    /// A slow disk.
    SlowDisk,
    /// A sync that fails.
    FailSync,
    /// A write that fails.
    FailWrite,
    /// A full disk.
    FullDisk,
    /// A leadership handed over.
    Transfer,
    /// A graceful stop.
    Stop,
    /// Nodes clogged and unclogged.
    Clog,
    /// A slow processor.
    SlowNode,
    /// A clock that is set.
    JumpClock,
    /// A clock at another pace.
    Drift,
    /// Rot at rest.
    Rot,
    /// Rot on read.
    RotOnRead,
    /// An emptied directory.
    Wipe,
    /// A directory put back to an earlier state.
    RollBack,
    /// A directory copied.
    Copy,
    /// Syncs that keep nothing.
    LoseSyncs,
    /// A checkpoint asked for.
    Checkpoint,
    /// A compaction asked for.
    Compact,
    /// Updates of the map withheld.
    WithholdMaps,
    /// Reports withheld.
    WithholdReports,
    /// Hints that lie.
    Mislead,
    /// A machine gone for good.
    Destroy,
}

/// All kinds.
pub const KINDS: [Kind; 27] = [
    Kind::Partition,
    Kind::OneWay,
    Kind::Crash,
    Kind::Kill,
    Kind::Pause,
    Kind::SlowDisk,
    Kind::FailSync,
    Kind::FailWrite,
    Kind::FullDisk,
    Kind::Transfer,
    Kind::Stop,
    Kind::Clog,
    Kind::SlowNode,
    Kind::JumpClock,
    Kind::Drift,
    Kind::Rot,
    Kind::RotOnRead,
    Kind::Wipe,
    Kind::RollBack,
    Kind::Copy,
    Kind::LoseSyncs,
    Kind::Checkpoint,
    Kind::Compact,
    Kind::WithholdMaps,
    Kind::WithholdReports,
    Kind::Mislead,
    Kind::Destroy,
];

impl Kind {
    /// The plan's rate for this kind.
    #[must_use]
    pub fn episodes(self, plan: &FaultPlan) -> Episodes {
        match self {
            Self::Partition => plan.partitions,
            Self::OneWay => plan.one_way,
            Self::Crash => plan.crashes,
            Self::Kill => plan.kills,
            Self::Pause => plan.pauses,
            Self::SlowDisk => plan.slow_disks,
            Self::FailSync => plan.failed_syncs,
            Self::FailWrite => plan.failed_writes,
            Self::FullDisk => plan.full_disks,
            Self::Transfer => plan.transfers,
            Self::Stop => plan.stops,
            Self::Clog => plan.clogs,
            Self::SlowNode => plan.slow_nodes,
            Self::JumpClock => plan.clock_jumps,
            Self::Drift => plan.drifts,
            Self::Rot => plan.rot,
            Self::RotOnRead => plan.rot_on_read,
            Self::Wipe => plan.wipes,
            Self::RollBack => plan.rollbacks,
            Self::Copy => plan.copies,
            Self::LoseSyncs => plan.lost_syncs,
            Self::Checkpoint => plan.checkpoints,
            Self::Compact => plan.compactions,
            Self::WithholdMaps => plan.withheld_maps,
            Self::WithholdReports => plan.withheld_reports,
            Self::Mislead => plan.lies,
            Self::Destroy => plan.destroyed,
        }
    }
}

/// What the nemesis sees of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// All nodes.
    pub nodes: &'a [NodeId],
    /// Who leads, as far as anybody knows.
    pub leader: Option<NodeId>,
    /// Nodes that run with a replica of the control plane.
    pub meta: &'a [NodeId],
}

/// A fault and how long after the episode's beginning it comes.
pub type Timed = (Duration, Fault);

/// The faults of one episode of a kind: what begins now, and what ends it.
pub fn episode(kind: Kind, length: Duration, sight: Sight<'_>, rng: &mut Rng) -> Vec<Timed> {
    let now = Duration::ZERO;
    let victim = pick(sight, rng);
    match kind {
        Kind::Partition => vec![(now, Fault::Partition { island: island(sight, rng) }), (length, Fault::Heal)],
        Kind::OneWay => {
            let others: Vec<NodeId> = sight.nodes.iter().copied().filter(|node| *node != victim).collect();
            let Some(to) = rng.choice(others) else { return Vec::new() };
            let (from, to) = if rng.bool() { (victim, to) } else { (to, victim) };
            vec![(now, Fault::OneWay { from, to }), (length, Fault::Heal)]
        }
        Kind::Crash => outage(sight, length, Fault::Crash, rng),
        Kind::Kill => outage(sight, length, Fault::Kill, rng),
        Kind::Pause => vec![(now, Fault::Pause(victim)), (length, Fault::Resume(victim))],
        Kind::SlowDisk => {
            let by = between(Duration::from_millis(5), Duration::from_millis(250), rng);
            let slow = |by| Fault::SlowDisk { node: victim, by };
            vec![(now, slow(by)), (length, slow(Duration::ZERO))]
        }
        // A supervisor starts a process again that ended by itself.
        Kind::FailSync => vec![(now, Fault::FailSync(victim))],
        Kind::FailWrite => vec![(now, Fault::FailWrite(victim))],
        Kind::FullDisk => vec![(now, Fault::FillDisk(victim)), (length, Fault::FreeDisk(victim))],
        Kind::Transfer => vec![(now, Fault::TransferLeader(sight.nodes[rng.usize(..sight.nodes.len())]))],
        Kind::Stop => vec![(now, Fault::Stop(victim)), (length, Fault::Restart(victim))],
        Kind::Clog => swizzle(sight, length, rng),
        Kind::SlowNode => {
            let by = between(Duration::from_millis(2), Duration::from_millis(120), rng);
            let slow = |by| Fault::SlowNode { node: victim, by };
            vec![(now, slow(by)), (length, slow(Duration::ZERO))]
        }
        Kind::JumpClock => vec![(now, Fault::JumpClock { node: victim, jump: jump(rng) })],
        Kind::Drift => {
            let pace = |ppm| Fault::Drift { node: victim, ppm };
            vec![(now, pace(rng.i32(-MAX_DRIFT_PPM..=MAX_DRIFT_PPM))), (length, pace(0))]
        }
        Kind::Checkpoint => vec![(now, Fault::Checkpoint(victim))],
        Kind::Compact => vec![(now, Fault::Compact(victim))],
        Kind::WithholdMaps => withheld(Mail::Maps, victim, length),
        Kind::WithholdReports => withheld(Mail::Reports, victim, length),
        Kind::Mislead => vec![(now, Fault::Mislead(victim)), (length, Fault::Undeceive(victim))],
        Kind::Destroy => vec![(now, Fault::Destroy(victim))],
        Kind::Rot => then_again(Fault::Rot { node: victim, seed: rng.u32(..) }, victim, length),
        Kind::RotOnRead => then_again(Fault::RotOnRead { node: victim, seed: rng.u32(..) }, victim, length),
        Kind::Wipe => vec![(now, Fault::Wipe(victim)), (length, Fault::Restart(victim))],
        // Between the backup and its use the node starts once more: that is what the others remember.
        Kind::RollBack => {
            let mut faults = then_again(Fault::KeepImage(victim), victim, SOON);
            faults.extend([(length, Fault::RollBack(victim)), (length + SOON, Fault::Restart(victim))]);
            faults
        }
        Kind::Copy => {
            let mut faults = then_again(Fault::KeepImage(victim), victim, SOON);
            faults.extend([(length, Fault::Copy(victim)), (length * 2, Fault::Unplug(victim))]);
            faults
        }
        Kind::LoseSyncs => lost_syncs(victim, length, rng),
    }
}

fn withheld(what: Mail, node: NodeId, length: Duration) -> Vec<Timed> {
    vec![(Duration::ZERO, Fault::Withhold { node, what }), (length, Fault::Deliver { node, what })]
}

/// A fault at once, and after a while the node starts again, which is when it meets it.
fn then_again(fault: Fault, node: NodeId, length: Duration) -> Vec<Timed> {
    vec![(Duration::ZERO, fault), (length, Fault::Kill(node)), (length + SOON, Fault::Restart(node))]
}

/// A disk that lies for a while; usually the power fails meanwhile.
fn lost_syncs(node: NodeId, length: Duration, rng: &mut Rng) -> Vec<Timed> {
    let mut faults = vec![(Duration::ZERO, Fault::LoseSyncs(node)), (length, Fault::KeepSyncs(node))];
    if rng.u32(0..3) > 0 {
        faults.extend([(length / 2, Fault::Crash(node)), (length / 2 + SOON, Fault::Restart(node))]);
    }
    faults
}

/// Some nodes are clogged one after another in the first half, and unclogged in another order in the second.
fn swizzle(sight: Sight<'_>, length: Duration, rng: &mut Rng) -> Vec<Timed> {
    let mut nodes = sight.nodes.to_vec();
    rng.shuffle(&mut nodes);
    nodes.truncate(rng.usize(1..=nodes.len()));
    let mut faults: Vec<Timed> =
        nodes.iter().map(|node| (between(Duration::ZERO, length / 2, rng), Fault::Clog(*node))).collect();
    faults.extend(nodes.iter().map(|node| (between(length / 2, length, rng), Fault::Unclog(*node))));
    faults
}

/// Seconds as often as hours, either way.
fn jump(rng: &mut Rng) -> Jump {
    let most = if rng.bool() { Duration::from_secs(5) } else { Duration::from_secs(4 * 3600) };
    let by = between(Duration::from_millis(100), most, rng);
    if rng.bool() { Jump::Forward(by) } else { Jump::Back(by) }
}

/// Half of the time the leader, because most of what can break passes through it.
fn pick(sight: Sight<'_>, rng: &mut Rng) -> NodeId {
    let any = sight.nodes[rng.usize(..sight.nodes.len())];
    if rng.bool() { sight.leader.unwrap_or(any) } else { any }
}

/// Usually one node; at times several, at times all, a few milliseconds apart or at once.
fn outage(sight: Sight<'_>, length: Duration, fault: fn(NodeId) -> Fault, rng: &mut Rng) -> Vec<Timed> {
    let victims = match rng.u32(0..8) {
        0 => sight.nodes.to_vec(),
        1 => island(sight, rng),
        _ => vec![pick(sight, rng)],
    };
    let together = rng.bool();
    let mut faults = Vec::new();
    for victim in victims {
        let start = if together { Duration::ZERO } else { between(Duration::ZERO, Duration::from_millis(20), rng) };
        faults.push((start, fault(victim)));
        faults.push((start + between(length / 2, length, rng), Fault::Restart(victim)));
    }
    faults
}

/// Some but not all nodes; where there is only one, that one.
fn island(sight: Sight<'_>, rng: &mut Rng) -> Vec<NodeId> {
    let mut nodes = sight.nodes.to_vec();
    rng.shuffle(&mut nodes);
    let most = nodes.len().saturating_sub(1).max(1);
    nodes.truncate(rng.usize(1..=most));
    nodes.sort_unstable();
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
    const SIGHT: Sight<'static> = Sight { nodes: &NODES, leader: Some(NodeId(2)), meta: &[] };

    #[test]
    fn an_island_is_neither_empty_nor_everybody() {
        let mut rng = stream(1, "test");
        for _ in 0..100 {
            assert!((1..=2).contains(&island(SIGHT, &mut rng).len()));
        }
    }

    #[test]
    fn whatever_takes_a_node_down_brings_it_back() {
        let mut rng = stream(1, "test");
        for kind in [Kind::Crash, Kind::Kill, Kind::Stop] {
            for _ in 0..50 {
                let faults = episode(kind, Duration::from_secs(1), SIGHT, &mut rng);
                let restarts = faults.iter().filter(|(_, fault)| matches!(fault, Fault::Restart(_))).count();
                assert_eq!(restarts * 2, faults.len(), "{kind:?}");
            }
        }
    }

    #[test]
    fn the_leader_is_hit_more_often_than_the_others() {
        let mut rng = stream(1, "test");
        let hits = (0..300).filter(|_| pick(SIGHT, &mut rng) == NodeId(2)).count();
        assert!((150..250).contains(&hits), "{hits}");
    }
}
