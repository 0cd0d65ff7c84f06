//! Faults at bad moments: when something that matters happens at a node, a fault may hit it within a few milliseconds.
//!
//! A trigger is data of the plan. What it inflicts is an ordinary [`Fault`] with an end, and stands in the report like any
//! other, so that it can be written down as a schedule.

use althing_types::{Duration, NodeId};
use fastrand::Rng;

use crate::faults::Fault;
use crate::random::{Chance, between};

/// A fault hits within this time of its moment.
const WITHIN: Duration = Duration::from_millis(5);

/// Something that matters, at one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Moment {
    /// It has become leader.
    BecameLeader,
    /// It has begun a checkpoint.
    CheckpointBegun,
    /// It takes in a page of a snapshot.
    SnapshotComing,
    /// It has applied a change of the members.
    MembershipApplied,
    /// It has freed a segment of its log.
    SegmentRecycled,
    /// It removes compacted history.
    Compacting,
    /// It is asked to hand its leadership over.
    HandingOver,
    /// It leads the control plane, and has proposed what its reconcilers decided.
    Reconciled,
}

/// All moments.
pub const MOMENTS: [Moment; 8] = [
    Moment::BecameLeader,
    Moment::CheckpointBegun,
    Moment::SnapshotComing,
    Moment::MembershipApplied,
    Moment::SegmentRecycled,
    Moment::Compacting,
    Moment::HandingOver,
    Moment::Reconciled,
];

/// What hits the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Blow {
    /// A power failure.
    Crash,
    /// Its process is killed.
    Kill,
    /// It stands still.
    Pause,
    /// It is cut off from all others.
    CutOff,
}

/// All blows.
pub const BLOWS: [Blow; 4] = [Blow::Crash, Blow::Kill, Blow::Pause, Blow::CutOff];

/// A fault that may follow a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trigger {
    /// When.
    pub moment: Moment,
    /// How often it does.
    pub chance: Chance,
    /// What.
    pub blow: Blow,
    /// How long it lasts at the least.
    pub shortest: Duration,
    /// At the most.
    pub longest: Duration,
}

impl Trigger {
    /// Every blow at every moment, the rarer the moment the likelier.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let (shortest, longest) = (Duration::from_millis(20), Duration::from_millis(1500));
        let pairs = MOMENTS.into_iter().flat_map(|moment| BLOWS.map(|blow| (moment, blow)));
        pairs.map(|(moment, blow)| Self { moment, chance: moment.usual_chance(), blow, shortest, longest }).collect()
    }

    /// What happens if it strikes this time, and how long after the moment. Draws alike whether it strikes or not.
    pub fn pull(&self, node: NodeId, rng: &mut Rng) -> Vec<(Duration, Fault)> {
        let strikes = self.chance.happens(rng);
        let start = between(Duration::ZERO, WITHIN, rng);
        let end = start + between(self.shortest, self.longest, rng);
        if !strikes {
            return Vec::new();
        }
        let (blow, relief) = match self.blow {
            Blow::Crash => (Fault::Crash(node), Fault::Restart(node)),
            Blow::Kill => (Fault::Kill(node), Fault::Restart(node)),
            Blow::Pause => (Fault::Pause(node), Fault::Resume(node)),
            Blow::CutOff => (Fault::Partition { island: vec![node] }, Fault::Heal),
        };
        vec![(start, blow), (end, relief)]
    }
}

impl Moment {
    /// How often a trigger of [`Trigger::all`] strikes at this moment.
    const fn usual_chance(self) -> Chance {
        match self {
            Self::BecameLeader | Self::MembershipApplied | Self::HandingOver | Self::Reconciled => Chance::percent(3),
            Self::CheckpointBegun | Self::SnapshotComing | Self::SegmentRecycled => Chance::percent(1),
            Self::Compacting => Chance(3_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    #[test]
    fn whatever_a_trigger_begins_it_ends() {
        let mut rng = stream(1, "test");
        for trigger in Trigger::all() {
            let faults = Trigger { chance: Chance::percent(100), ..trigger }.pull(NodeId(2), &mut rng);
            let [(start, blow), (end, relief)] = &faults[..] else { panic!("{faults:?}") };
            assert!(*start <= WITHIN && start < end);
            assert!(blow.is_harm() && !relief.is_harm(), "{faults:?}");
        }
    }

    #[test]
    fn a_trigger_draws_alike_whether_it_strikes_or_not() {
        let (mut one, mut two) = (stream(1, "test"), stream(1, "test"));
        let trigger = Trigger::all()[0];
        Trigger { chance: Chance::NEVER, ..trigger }.pull(NodeId(1), &mut one);
        Trigger { chance: Chance::percent(100), ..trigger }.pull(NodeId(1), &mut two);
        assert_eq!(one.u64(..), two.u64(..));
    }
}
