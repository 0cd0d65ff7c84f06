//! Moments that matter, at which triggers of the plan may strike.

use althing_node::Work;
use althing_types::NodeId;

use super::{Event, Phase, World};
use crate::triggers::Moment;

impl World {
    /// Something that matters happens at a node.
    pub(super) fn moment(&mut self, node: NodeId, moment: Moment) {
        if self.phase != Phase::Safety || !self.nodes.contains(&node) {
            return;
        }
        let mut faults = Vec::new();
        for trigger in self.options.faults.triggers.iter().filter(|trigger| trigger.moment == moment) {
            faults.extend(trigger.pull(node, &mut self.streams.triggers));
        }
        for (delay, fault) in faults {
            self.counts.triggered += u64::from(fault.is_harm());
            self.agenda.after(delay, Event::Fault(fault));
        }
    }

    /// What a piece of work means, if it matters.
    pub(super) fn moment_of_work(&mut self, node: NodeId, work: &Work) {
        match work {
            Work::Apply { entries, .. } => {
                if entries.iter().any(|entry| entry.conf_state.is_some()) {
                    self.moment(node, Moment::MembershipApplied);
                }
            }
            Work::Import { .. } | Work::Install { .. } => self.moment(node, Moment::SnapshotComing),
            Work::DropSpace(_) | Work::Open { .. } | Work::Close { .. } | Work::Keyed { .. } => {}
        }
    }
}
