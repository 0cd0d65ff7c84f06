//! Nodes that talk to each other without a simulator in between: everything arrives at once, and nothing fails.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_api::cluster::Member;
use althing_consensus::Role;
use althing_node::{Applier, Effects, GroupMetrics, GroupState, Input, LogRecovery, Node, NodeConfig};
use althing_storage::engine::Engine;
use althing_storage::engine::model::ModelEngine;
use althing_types::limits::DEFAULT_QUOTA_BYTES;
use althing_types::{ClusterId, Instant, NodeId};

struct One {
    node: Node,
    applier: Applier,
}

/// A cluster whose nodes were told these quotas.
struct Cluster {
    nodes: BTreeMap<NodeId, One>,
    now: Instant,
}

fn members(count: usize) -> Vec<Member> {
    let member = |id| Member {
        id: NodeId(id),
        name: format!("n{id}"),
        peer_urls: vec![format!("http://n{id}:2380")],
        client_urls: Vec::new(),
        is_learner: false,
    };
    (1..=count as u64).map(member).collect()
}

fn found(id: NodeId, members: usize, quota_bytes: Option<u64>) -> (NodeConfig, Applier, Vec<GroupState>) {
    let mut config = NodeConfig::new(ClusterId(1), id, self::members(members));
    config.groups[0].quota_bytes = quota_bytes;
    let engine: Arc<dyn Engine> = Arc::new(ModelEngine::new());
    let (applier, states) = Applier::open(engine, &config, &BTreeMap::new()).unwrap();
    (config, applier, states)
}

impl Cluster {
    fn new(quotas: &[Option<u64>]) -> Self {
        let one = |(id, quota): (u64, &Option<u64>)| {
            let (config, applier, states) = found(NodeId(id), quotas.len(), *quota);
            let node = Node::new(config, LogRecovery::default().join(states)).unwrap();
            (NodeId(id), One { node, applier })
        };
        Self { nodes: (1..).zip(quotas).map(one).collect(), now: Instant::ZERO }
    }

    /// One tick of every node, and all that comes of it.
    fn tick(&mut self) {
        self.now += althing_node::DEFAULT_TICK;
        let mut inputs: Vec<_> = self.nodes.keys().map(|id| (*id, Input::Tick)).collect();
        while !inputs.is_empty() {
            inputs = inputs.into_iter().flat_map(|(id, input)| self.turn(id, input)).collect();
        }
    }

    /// One turn of a node; what is to be told to whom.
    fn turn(&mut self, id: NodeId, input: Input) -> Vec<(NodeId, Input)> {
        let One { node, applier } = self.nodes.get_mut(&id).unwrap();
        let mut out = Effects::default();
        node.handle(self.now, input, &mut out);
        node.flush(self.now, &mut out);
        let mut told: Vec<_> =
            out.frames.into_iter().map(|(to, bytes)| (to, Input::Frame { from: id, bytes })).collect();
        told.extend(out.wal.map(|batch| (id, Input::Persisted { seq: batch.seq })));
        if !out.work.is_empty() {
            told.push((id, Input::Done(applier.work(out.work).unwrap())));
        }
        told
    }

    fn ticks(&mut self, count: usize) {
        (0..count).for_each(|_| self.tick());
    }

    fn metrics(&self) -> Vec<GroupMetrics> {
        self.nodes.values().flat_map(|one| one.node.group_metrics()).collect()
    }

    fn quotas(&self) -> Vec<u64> {
        self.metrics().iter().map(|group| group.quota_bytes).collect()
    }
}

#[test]
fn members_with_different_settings_found_the_same_state() {
    let hash = |quota| found(NodeId(1), 3, quota).2[0].reader.hash().unwrap();
    assert_eq!(hash(Some(1)), hash(None));
}

#[test]
fn the_leader_sets_the_quota_that_it_was_told_once() {
    let mut cluster = Cluster::new(&[Some(5_000); 3]);
    cluster.ticks(200);
    assert_eq!(cluster.quotas(), [5_000; 3]);
    let applied = |cluster: &Cluster| cluster.metrics().iter().map(|group| group.applied).collect::<Vec<_>>();
    let before = applied(&cluster);
    cluster.ticks(400);
    assert_eq!(applied(&cluster), before, "it is not proposed again");
}

#[test]
fn a_node_that_was_told_no_quota_leaves_it_as_it_is() {
    let mut cluster = Cluster::new(&[None; 3]);
    cluster.ticks(200);
    assert_eq!(cluster.quotas(), [DEFAULT_QUOTA_BYTES; 3]);
}

#[test]
fn where_nodes_were_told_different_quotas_the_leaders_counts() {
    let mut cluster = Cluster::new(&[Some(1_000), Some(2_000), Some(3_000)]);
    cluster.ticks(200);
    let metrics = cluster.metrics();
    let leader = metrics.iter().position(|group| matches!(group.role, Role::Leader { .. })).unwrap();
    assert_eq!(cluster.quotas(), [(leader as u64 + 1) * 1_000; 3]);
}
