//! What the membership shows of itself.

use althing_gossip::{Liveness, Metrics, Peer};
use althing_types::{Instant, NodeId};

/// One other node, as this one saw it a moment ago.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct MemberRow {
    pub node: NodeId,
    pub liveness: Liveness,
    /// Since how many seconds it looks so.
    pub seconds: f64,
    /// How surprising its silence is.
    pub phi: f64,
}

impl MemberRow {
    pub(super) fn of(peer: &Peer, now: Instant) -> Self {
        Self {
            node: peer.identity.node,
            liveness: peer.liveness,
            seconds: now.since(peer.since).as_secs_f64(),
            phi: peer.phi,
        }
    }
}

/// The membership a moment ago.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct GossipView {
    pub members: Vec<MemberRow>,
    /// Its counters; `None` before it has begun, or if the node takes no part.
    pub metrics: Option<Metrics>,
}
