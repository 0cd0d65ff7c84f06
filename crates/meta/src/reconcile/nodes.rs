//! Nodes: what they say of themselves, and what is the case about them.

use std::collections::BTreeMap;

use althing_manifest::check::is_node_name;
use althing_manifest::condition::{self, Condition, DRAINED, READY, Truth};
use althing_manifest::{Liveness, Node, NodeSpec, NodeStatus, Schedule};
use althing_types::{Duration, Instant, NodeId};

use super::draft::Draft;
use super::standing::{Members, Standing, named_by};
use crate::reports::{Heard, Reports, SILENT_AFTER};
use crate::view::View;

/// Writes down addresses and zones that nodes report of themselves, and makes objects for members that have none.
pub fn introduce(draft: &mut Draft<'_>, reports: &Reports, now: Instant) {
    let view = draft.view;
    for (id, heard) in reports.nodes() {
        match view.node(id) {
            Some(node) => correct(draft, node, heard),
            None => register(draft, id, heard, reports, now),
        }
    }
}

/// The node knows best where it is.
fn correct(draft: &mut Draft<'_>, node: &Node, heard: &Heard) {
    let report = &heard.report;
    let spec = NodeSpec {
        peer_urls: report.peer_urls.clone(),
        client_urls: report.client_urls.clone(),
        zone: report.zone.clone(),
        ..node.spec.clone()
    };
    if spec != node.spec {
        let node = draft.node(node);
        node.spec = spec;
        node.metadata.generation += 1;
    }
}

/// A node without an object that a group counts among its replicas was added by the members of that group (etcd's member
/// API), so it belongs to the cluster. A node that no group knows was taken out, and is not let in again.
fn register(draft: &mut Draft<'_>, id: NodeId, heard: &Heard, reports: &Reports, now: Instant) {
    let knows_it = |group| {
        reports.leader(now, group).is_some_and(|(_, told)| told.voters.contains(&id) || told.learners.contains(&id))
    };
    let report = &heard.report;
    if !is_node_name(&report.name) || !heard.groups().iter().any(|group| knows_it(*group)) {
        return;
    }
    let spec = NodeSpec {
        peer_urls: report.peer_urls.clone(),
        client_urls: report.client_urls.clone(),
        zone: report.zone.clone(),
        ..NodeSpec::new(id)
    };
    match draft.view.node_named(&report.name) {
        None => draft.create(Node::new(&report.name, spec), Vec::new()),
        Some(elder) if is_named_nowhere(draft.view, elder.spec.id) => {
            let node = draft.node(elder);
            node.spec = spec;
            node.status = NodeStatus::default();
            node.metadata.generation += 1;
        }
        Some(_) => {}
    }
}

/// Whether no shard has or wants anything on a node.
fn is_named_nowhere(view: &View, id: NodeId) -> bool {
    !view.shards().any(|shard| named_by(shard).any(|named| named == id))
}

/// What shards have and want on a node.
#[derive(Clone, Copy, Default)]
struct Load {
    replicas: u64,
    leaders: u64,
}

/// How long a drained node must be seen to hold nothing before it is said to be empty: the leader of a shard may give it a replica by
/// a map that is a moment old, and report it a moment later. Some reports of everybody come within it.
pub const EMPTY_FOR: Duration = Duration::from_secs(3);

/// Since when nodes that are drained are seen to hold nothing. Losing this costs the time once more.
#[derive(Clone, Debug, Default)]
pub struct Empty(BTreeMap<NodeId, Instant>);

impl Empty {
    /// Whether it has been so for long enough.
    fn is_lasting(&mut self, id: NodeId, held: u64, now: Instant) -> bool {
        if held > 0 {
            self.0.remove(&id);
            return false;
        }
        now.since(*self.0.entry(id).or_insert(now)) >= EMPTY_FOR
    }

    /// When the next node will have been empty for long enough, if one is waited for.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|since| *since + EMPTY_FOR).filter(|at| *at > now).min()
    }
}

/// Writes down what is the case about each node.
pub fn observe(draft: &mut Draft<'_>, members: &Members, reports: &Reports, now: Instant, empty: &mut Empty) {
    let view = draft.view;
    let mut loads: BTreeMap<NodeId, Load> = BTreeMap::new();
    for shard in view.shards() {
        for id in named_by(shard) {
            loads.entry(id).or_default().replicas += 1;
        }
        if let Some(leader) = shard.status.leader {
            loads.entry(leader).or_default().leaders += 1;
        }
    }
    for node in view.nodes() {
        let load = loads.get(&node.spec.id).copied().unwrap_or_default();
        let status = status(node, load, members, reports, now, empty);
        if status != node.status {
            draft.node(node).status = status;
        }
    }
}

fn status(
    node: &Node,
    load: Load,
    members: &Members,
    reports: &Reports,
    now: Instant,
    empty: &mut Empty,
) -> NodeStatus {
    let id = node.spec.id;
    let heard = reports.node(id);
    let mut conditions = node.status.conditions.clone();
    let liveness = liveness(node, reports, now);
    condition::set(&mut conditions, ready(node, liveness, members.standing(id)));
    match node.spec.schedule {
        Schedule::Drain => {
            let held = heard.map_or(0, |heard| heard.groups().len() as u64).max(load.replicas);
            // What a predecessor has seen for long enough need not be seen again.
            let is_lasting = empty.is_lasting(id, held, now) || condition::holds(&conditions, DRAINED);
            condition::set(&mut conditions, drained(held, is_lasting));
        }
        Schedule::Active | Schedule::Cordoned => {
            empty.0.remove(&id);
            condition::clear(&mut conditions, DRAINED);
        }
    }
    NodeStatus {
        liveness,
        replicas: load.replicas,
        leaders: load.leaders,
        version: heard.map_or_else(|| node.status.version.clone(), |heard| heard.report.version.clone()),
        conditions,
    }
}

/// A new leader of meta has heard nobody yet: for a while it leaves what its predecessor wrote.
fn liveness(node: &Node, reports: &Reports, now: Instant) -> Liveness {
    let is_early = now.since(reports.began()) < SILENT_AFTER;
    match (reports.is_up(now, node.spec.id), node.status.liveness) {
        (true, _) => Liveness::Up,
        (false, before) if is_early && reports.node(node.spec.id).is_none() => before,
        (false, Liveness::Unknown) => Liveness::Unknown,
        (false, Liveness::Up | Liveness::Silent) => Liveness::Silent,
    }
}

fn ready(node: &Node, liveness: Liveness, standing: Standing) -> Condition {
    match (liveness, standing) {
        (Liveness::Up, _) => Condition::new(READY, Truth::True, "Heard", ""),
        (Liveness::Silent | Liveness::Unknown, Standing::Gone) => {
            let message = "it has been silent for too long: its replicas are rebuilt on other nodes";
            Condition::new(READY, Truth::False, "Lost", message)
        }
        (Liveness::Silent, _) => {
            let message = "it is silent; its replicas wait for it until the cluster's spec.nodeGraceSeconds are over";
            Condition::new(READY, Truth::False, "Silent", message)
        }
        (Liveness::Unknown, _) => {
            Condition::new(READY, Truth::Unknown, "NeverHeard", format!("{} has not reported yet", node.name()))
        }
    }
}

fn drained(held: u64, is_lasting: bool) -> Condition {
    match held {
        0 if !is_lasting => {
            Condition::new(DRAINED, Truth::False, "Settling", "nothing is left on it, as of this moment")
        }
        0 => Condition::new(DRAINED, Truth::True, "Empty", "nothing is left on it: it can be stopped and deleted"),
        1 => Condition::new(DRAINED, Truth::False, "Moving", "1 replica is left"),
        many => Condition::new(DRAINED, Truth::False, "Moving", format!("{many} replicas are left")),
    }
}
