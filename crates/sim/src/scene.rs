//! Scenes: faults at moments of their own whose victims are found only then, with the end of each.
//!
//! "The leader is paused at 2 s, for 3 s" is a scene. Who leads at that moment is not known before, so a fault may name
//! [`LEADER`] or [`FOLLOWER`] where it means a node; when the scene is played, each of them becomes a node, and the end
//! concerns the same one.

use althing_types::{Duration, NodeId};
use fastrand::Rng;

use crate::faults::Fault;
use crate::nemesis::Sight;

/// Stands for whoever leads when the scene is played; for any node if nobody does.
pub const LEADER: NodeId = NodeId(u64::MAX);

/// Stands for a node that does not lead. Where it stands twice in a fault, two nodes are meant.
pub const FOLLOWER: NodeId = NodeId(u64::MAX - 1);

/// Stands for a node that runs with a replica of the control plane and is not cut off from all others. Where it stands twice in a fault, two nodes are meant.
pub const META: NodeId = NodeId(u64::MAX - 2);

/// A fault at a moment, and how long it lasts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Scene {
    /// When, counted from the start of the run.
    pub at: Duration,
    /// What, of whom.
    pub fault: Fault,
    /// After this it ends; a fault without one lasts until something else ends it.
    pub lasting: Option<Duration>,
}

impl Scene {
    /// Whether the victims are found only when the scene is played.
    #[must_use]
    pub fn has_roles(&self) -> bool {
        self.fault.clone().nodes_mut().iter().any(|node| is_role(**node))
    }
}

/// What was inflicted, as scenes: every fault with its end, if it came, and the ends that belong to none.
///
/// An end may end several faults: one `Heal` ends every cut there is.
#[must_use]
pub fn scenes(inflicted: &[(Duration, Fault)]) -> Vec<Scene> {
    let mut is_used = vec![false; inflicted.len()];
    let mut scenes = Vec::new();
    for (place, (at, fault)) in inflicted.iter().enumerate() {
        let end = fault.end().and_then(|end| {
            let mut later = inflicted.iter().enumerate().skip(place + 1);
            later.find(|(_, (_, other))| *other == end).map(|(place, (until, _))| (place, *until))
        });
        if let Some((end, _)) = end {
            is_used[end] = true;
        }
        if !is_used[place] {
            let lasting = end.map(|(_, until)| until.saturating_sub(*at));
            scenes.push(Scene { at: *at, fault: fault.clone(), lasting });
        }
    }
    scenes
}

/// Whether an id stands for whoever has a role at the moment.
#[must_use]
pub fn is_role(node: NodeId) -> bool {
    node == LEADER || node == FOLLOWER || node == META
}

impl Fault {
    /// The nodes that it names, in the order of its fields.
    pub fn nodes_mut(&mut self) -> Vec<&mut NodeId> {
        match self {
            Self::Partition { island } => island.iter_mut().collect(),
            Self::OneWay { from, to } => vec![from, to],
            Self::Heal => Vec::new(),
            Self::SlowDisk { node, .. }
            | Self::SlowNode { node, .. }
            | Self::JumpClock { node, .. }
            | Self::Drift { node, .. }
            | Self::Rot { node, .. }
            | Self::RotOnRead { node, .. }
            | Self::Withhold { node, .. }
            | Self::Deliver { node, .. } => vec![node],
            Self::Crash(node)
            | Self::Kill(node)
            | Self::Restart(node)
            | Self::Pause(node)
            | Self::Resume(node)
            | Self::FailSync(node)
            | Self::FailWrite(node)
            | Self::FillDisk(node)
            | Self::FreeDisk(node)
            | Self::TransferLeader(node)
            | Self::Stop(node)
            | Self::Clog(node)
            | Self::Unclog(node)
            | Self::Wipe(node)
            | Self::KeepImage(node)
            | Self::RollBack(node)
            | Self::Copy(node)
            | Self::Unplug(node)
            | Self::LoseSyncs(node)
            | Self::KeepSyncs(node)
            | Self::Checkpoint(node)
            | Self::Compact(node)
            | Self::Mislead(node)
            | Self::Undeceive(node)
            | Self::Destroy(node) => vec![node],
        }
    }

    /// The nodes that it names.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.clone().nodes_mut().into_iter().map(|node| *node).collect()
    }

    /// What ends it; `None` for what happens once, and for what is an end itself.
    #[must_use]
    pub fn end(&self) -> Option<Self> {
        if !self.is_harm() {
            return None;
        }
        match self {
            Self::Partition { .. } | Self::OneWay { .. } => Some(Self::Heal),
            Self::Crash(node) | Self::Kill(node) | Self::Stop(node) | Self::Wipe(node) | Self::RollBack(node) => {
                Some(Self::Restart(*node))
            }
            Self::Pause(node) => Some(Self::Resume(*node)),
            Self::SlowDisk { node, .. } => Some(Self::SlowDisk { node: *node, by: Duration::ZERO }),
            Self::SlowNode { node, .. } => Some(Self::SlowNode { node: *node, by: Duration::ZERO }),
            Self::Drift { node, .. } => Some(Self::Drift { node: *node, ppm: 0 }),
            Self::FillDisk(node) => Some(Self::FreeDisk(*node)),
            Self::Clog(node) => Some(Self::Unclog(*node)),
            Self::Copy(node) => Some(Self::Unplug(*node)),
            Self::LoseSyncs(node) => Some(Self::KeepSyncs(*node)),
            Self::Withhold { node, what } => Some(Self::Deliver { node: *node, what: *what }),
            Self::Mislead(node) => Some(Self::Undeceive(*node)),
            Self::Heal
            | Self::Restart(_)
            | Self::Resume(_)
            | Self::FreeDisk(_)
            | Self::Unclog(_)
            | Self::Unplug(_)
            | Self::KeepSyncs(_)
            | Self::FailSync(_)
            | Self::FailWrite(_)
            | Self::TransferLeader(_)
            | Self::JumpClock { .. }
            | Self::Rot { .. }
            | Self::RotOnRead { .. }
            | Self::KeepImage(_)
            | Self::Checkpoint(_)
            | Self::Compact(_)
            | Self::Deliver { .. }
            | Self::Undeceive(_)
            | Self::Destroy(_) => None,
        }
    }

    /// Gives every role to a node. `false` if there are not enough of them, and nobody should be hit.
    pub fn cast(&mut self, sight: Sight<'_>, rng: &mut Rng) -> bool {
        let leader = sight.leader.filter(|leader| sight.nodes.contains(leader));
        let leader = leader.or_else(|| rng.choice(sight.nodes.iter().copied()));
        let mut followers: Vec<NodeId> = sight.nodes.iter().copied().filter(|node| Some(*node) != leader).collect();
        rng.shuffle(&mut followers);
        let mut meta = sight.meta.to_vec();
        if !meta.is_empty() {
            rng.shuffle(&mut meta);
        }
        for node in self.nodes_mut() {
            let found = match *node {
                LEADER => leader,
                FOLLOWER => followers.pop(),
                META => meta.pop(),
                known => Some(known),
            };
            let Some(found) = found else { return false };
            *node = found;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn cast(mut fault: Fault, leader: Option<NodeId>) -> Option<Fault> {
        fault.cast(Sight { nodes: &NODES, leader, meta: &NODES[..2] }, &mut stream(1, "test")).then_some(fault)
    }

    #[test]
    fn the_leader_is_whoever_leads_and_a_follower_is_not() {
        assert_eq!(cast(Fault::Crash(LEADER), Some(NodeId(2))), Some(Fault::Crash(NodeId(2))));
        let Some(Fault::OneWay { from, to }) = cast(Fault::OneWay { from: FOLLOWER, to: LEADER }, Some(NodeId(2)))
        else {
            panic!("it is a cut")
        };
        assert_eq!(to, NodeId(2));
        assert!(from != to && NODES.contains(&from));
    }

    #[test]
    fn two_followers_are_two_nodes_and_three_are_too_many() {
        let island = |many| Fault::Partition { island: vec![FOLLOWER; many] };
        let Some(Fault::Partition { island: both }) = cast(island(2), Some(NodeId(3))) else {
            panic!("it is a partition")
        };
        assert!(both.contains(&NodeId(1)) && both.contains(&NodeId(2)));
        assert_eq!(cast(island(3), Some(NodeId(3))), None);
    }

    #[test]
    fn where_nobody_leads_the_leader_is_anybody_and_a_number_is_itself() {
        assert!(cast(Fault::Pause(LEADER), None).is_some());
        assert_eq!(cast(Fault::Pause(NodeId(3)), None), Some(Fault::Pause(NodeId(3))));
    }

    #[test]
    fn the_control_plane_is_one_of_the_nodes_that_run_it() {
        let island = |many| Fault::Partition { island: vec![META; many] };
        let Some(Fault::Partition { island: both }) = cast(island(2), Some(NodeId(3))) else {
            panic!("it is a partition")
        };
        assert!(both.contains(&NodeId(1)) && both.contains(&NodeId(2)));
        assert_eq!(cast(island(3), Some(NodeId(3))), None);
    }

    #[test]
    fn what_was_inflicted_becomes_faults_with_their_ends() {
        let secs = Duration::from_secs;
        let cut = |from, to| Fault::OneWay { from: NodeId(from), to: NodeId(to) };
        let inflicted = [
            (secs(1), Fault::Crash(NodeId(1))),
            (secs(2), cut(1, 2)),
            (secs(3), cut(2, 3)),
            (secs(4), Fault::Restart(NodeId(1))),
            (secs(5), Fault::Heal),
            (secs(6), Fault::Restart(NodeId(2))),
            (secs(7), Fault::Pause(NodeId(3))),
        ];
        let expected = [
            Scene { at: secs(1), fault: Fault::Crash(NodeId(1)), lasting: Some(secs(3)) },
            Scene { at: secs(2), fault: cut(1, 2), lasting: Some(secs(3)) },
            Scene { at: secs(3), fault: cut(2, 3), lasting: Some(secs(2)) },
            Scene { at: secs(6), fault: Fault::Restart(NodeId(2)), lasting: None },
            Scene { at: secs(7), fault: Fault::Pause(NodeId(3)), lasting: None },
        ];
        assert_eq!(scenes(&inflicted), expected);
    }

    #[test]
    fn what_has_an_end_ends_where_it_began() {
        assert_eq!(Fault::Stop(NodeId(2)).end(), Some(Fault::Restart(NodeId(2))));
        assert_eq!(Fault::FillDisk(NodeId(1)).end(), Some(Fault::FreeDisk(NodeId(1))));
        let slow = Fault::SlowDisk { node: NodeId(1), by: Duration::from_millis(9) };
        assert_eq!(slow.end().and_then(|end| end.end()), None, "an end has no end");
    }
}
