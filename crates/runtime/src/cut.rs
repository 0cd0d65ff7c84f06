//! A cut in the network, made on purpose: a node that neither sends to some others nor hears them, as if no wire led there.
//!
//! A promise about partitions is worth what can be seen of it. So a node that was started for it takes cuts while it runs, and
//! everything above them sees what it would see of a broken switch: frames that do not come, connections that end, datagrams that
//! nobody answers. Clients are not cut off.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use althing_types::NodeId;

/// Which other nodes one node is cut off from. Nobody, at first.
#[derive(Debug, Default)]
pub struct Cut {
    /// Whether there is anybody: asked for every frame.
    any: AtomicBool,
    nodes: Mutex<BTreeSet<NodeId>>,
}

impl Cut {
    /// From now on cuts the node off from these, and from nobody else.
    pub fn set(&self, nodes: BTreeSet<NodeId>) {
        let mut held = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        self.any.store(!nodes.is_empty(), Ordering::Relaxed);
        *held = nodes;
    }

    /// Those it is cut off from.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        match self.any.load(Ordering::Relaxed) {
            false => BTreeSet::new(),
            true => self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn is_between(&self, node: NodeId) -> bool {
        self.any.load(Ordering::Relaxed) && self.nodes.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_between_a_node_and_those_it_names_until_the_next_one() {
        let cut = Cut::default();
        assert!(!cut.is_between(NodeId(2)));
        cut.set(BTreeSet::from([NodeId(2), NodeId(3)]));
        assert!(cut.is_between(NodeId(2)) && cut.is_between(NodeId(3)) && !cut.is_between(NodeId(4)));
        cut.set(BTreeSet::from([NodeId(4)]));
        assert!(!cut.is_between(NodeId(2)) && cut.is_between(NodeId(4)));
        cut.set(BTreeSet::new());
        assert_eq!(cut.nodes(), BTreeSet::new());
    }
}
