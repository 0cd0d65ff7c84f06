//! Who must answer what is asked of a shard: worked out from its configuration and the map once, and anew when one of them changes. It
//! is wanted with every request.

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_consensus::ConfState;
use althing_quorum::{Level, Requirement};
use althing_types::{GroupId, NodeId, Revision};

use crate::node::Node;

/// What follows from a shard's configuration and the map.
#[derive(Debug)]
pub(super) struct Plan {
    conf: ConfState,
    revision: Revision,
    /// The replicas that count for a level, this node among them if it is one.
    pub(super) everybody: Vec<NodeId>,
    /// Whom a write is sent to: the other replicas, and those that are being filled.
    pub(super) audience: Vec<NodeId>,
    requirements: BTreeMap<Level, Arc<Requirement>>,
}

impl Plan {
    /// Who must answer at a level.
    pub(super) fn requirement(&self, level: Level) -> Option<Arc<Requirement>> {
        self.requirements.get(&level).cloned()
    }
}

impl Node {
    /// The plan of a shard as its configuration and the map are now.
    pub(super) fn plan(&mut self, group: GroupId) -> Option<&Plan> {
        let revision = self.control.view.revision();
        let conf = self.groups.get(&group)?.replica.conf_state();
        let plan = self.keyed.get(&group)?.plan.as_ref();
        if plan.is_none_or(|plan| plan.revision != revision || plan.conf != *conf) {
            let plan = Plan {
                conf: conf.clone(),
                revision,
                everybody: self.replicas_of(group).everybody().into_iter().collect(),
                audience: self.audience(group),
                requirements: Level::ALL.map(|level| (level, Arc::new(self.requirement(group, level)))).into(),
            };
            self.keyed.get_mut(&group)?.plan = Some(plan);
        }
        self.keyed.get(&group)?.plan.as_ref()
    }
}
