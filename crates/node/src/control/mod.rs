//! The node's part in the control plane: its copy of the map, and doing what the map says.
//!
//! ```text
//!   meta's replicas ── applied ──► View ◄── MapUpdate ── a node that has meta      (nodes without)
//!                                   │
//!             ┌─────────────────────┼─────────────────────────┐
//!             ▼                     ▼                         ▼
//!      replicas come and go   led groups conform        calls are routed
//!       (`replicas`)          (`group::conform`)         (`route`)
//!             │                     │
//!             └────── Report ───────┴──► every replica of meta; its leader reconciles and writes meta
//! ```
//!
//! Nothing here waits for anything: each turn looks at what is, does one step and forgets. A node that cannot reach meta goes
//! on with the map that it has, which its log keeps across restarts.

mod lead;
mod local;
mod lookup;
mod report;
mod sync;

use std::collections::BTreeMap;

use althing_meta::{Reconciler, Reports, View};
use althing_types::{Duration, GroupId, Instant, NodeId, Revision};

use crate::config::{ControlPlane, NodeConfig};
use crate::effects::Effects;
use crate::node::Node;

pub(crate) use self::local::Doubt;
pub(crate) use self::sync::recovered;

use self::sync::Subscriber;

/// How often a node looks whether the map wants something of it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A node's part in the control plane.
#[derive(Debug)]
pub(crate) struct Control {
    presence: ControlPlane,
    pub(crate) view: View,
    /// The revision of the copy that the log has.
    written: Revision,
    written_at: Instant,
    looked: Instant,
    /// When a newer map was asked for last, and how often: each time another node is asked.
    asked: Instant,
    asks: usize,
    /// Nodes without meta that follow this node's map.
    subscribers: BTreeMap<NodeId, Subscriber>,
    reported: Option<Instant>,
    /// Questions to groups that may have left this replica behind.
    pub(super) doubts: BTreeMap<GroupId, Doubt>,
    /// Since when this node knows that the shards of these replicas are no more.
    pub(super) lingering: BTreeMap<GroupId, Instant>,
    reign: Reign,
}

/// Whether this node leads meta, and so reconciles.
#[derive(Debug)]
enum Reign {
    /// It does not.
    No,
    /// It does, since it has applied an entry of this term.
    Leading {
        term: u64,
        reconciler: Box<Reconciler>,
        reports: Box<Reports>,
        /// The last entry that the reconciler has proposed, and when.
        proposed: Option<(u64, Instant)>,
    },
}

impl Control {
    pub(crate) fn new(config: &NodeConfig, view: View) -> Self {
        Self {
            presence: config.control,
            written: view.revision(),
            written_at: Instant::ZERO,
            view,
            looked: Instant::ZERO,
            asked: Instant::ZERO,
            asks: 0,
            subscribers: BTreeMap::new(),
            reported: None,
            doubts: BTreeMap::new(),
            lingering: BTreeMap::new(),
            reign: Reign::No,
        }
    }

    pub(crate) const fn is_absent(&self) -> bool {
        match self.presence {
            ControlPlane::Absent => true,
            ControlPlane::Present => false,
        }
    }
}

impl Node {
    /// One tick of the control plane's part.
    pub(crate) fn tick_control(&mut self, now: Instant, out: &mut Effects) {
        if self.control.is_absent() {
            return;
        }
        self.tick_routes(now, out);
        self.retry_redirected(now, out);
        self.tick_streams(now, out);
        if now.since(self.control.looked) < LOOK_EVERY {
            return;
        }
        self.control.looked = now;
        self.ask_for_map(now);
        self.push_map(now);
        self.report(now);
        self.lead(now, out);
        self.fit(now, out);
        self.tend_splits(now, out);
        self.write_map(now);
    }
}
