//! Nodes that talk to each other without a simulator in between: everything arrives at once, and nothing fails.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod cas;
mod control;
mod deadlines;
mod keyed;
mod learners;
mod membership;
mod quota;
mod routing;
mod splits;

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_api::cluster::Member;
use althing_api::watch::WatchEvent;
use althing_api::{Answer, Call, Error, Request};
use althing_node::{Applier, Effects, GroupMetrics, GroupState, Input, LogRecovery, Node, NodeConfig};
use althing_storage::engine::Engine;
use althing_storage::engine::model::ModelEngine;
use althing_storage::wal::Record;
use althing_types::{ClusterId, Instant, NodeId, RequestId};

struct One {
    node: Node,
    applier: Applier,
}

struct Cluster {
    nodes: BTreeMap<NodeId, One>,
    now: Instant,
    /// What clients were told and nobody has looked at.
    told: Vec<(RequestId, Result<Answer, Error>)>,
    /// What streams of watches were told and nobody has looked at.
    watched: Vec<WatchEvent>,
    /// Whose frames stay on their way, and those that have.
    slow: Option<NodeId>,
    /// A node that the others do not hear, nor it them.
    cut_off: Option<NodeId>,
    on_their_way: Vec<(NodeId, Input)>,
    /// All that each node has logged.
    logs: BTreeMap<NodeId, Vec<Record>>,
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

fn found(id: NodeId, members: Vec<Member>, quota_bytes: Option<u64>) -> (NodeConfig, Applier, Vec<GroupState>) {
    let mut config = NodeConfig::new(ClusterId(1), id, members);
    config.groups[0].quota_bytes = quota_bytes;
    let engine: Arc<dyn Engine> = Arc::new(ModelEngine::new());
    let (applier, states) = Applier::open(engine, &config, &LogRecovery::default()).unwrap();
    (config, applier, states)
}

impl Cluster {
    /// A cluster of these members, each of which was told a quota.
    fn new(members: &[Member], quotas: &[Option<u64>]) -> Self {
        let one = |(member, quota): (&Member, &Option<u64>)| {
            let (config, applier, states) = found(member.id, members.to_vec(), *quota);
            let node = Node::new(config, LogRecovery::default().join(states)).unwrap();
            (member.id, One { node, applier })
        };
        Self {
            nodes: members.iter().zip(quotas).map(one).collect(),
            now: Instant::ZERO,
            told: Vec::new(),
            watched: Vec::new(),
            slow: None,
            cut_off: None,
            on_their_way: Vec::new(),
            logs: BTreeMap::new(),
        }
    }

    /// What a node says to a client who asks; ticks go by until it does.
    fn ask(&mut self, id: NodeId, request: Request) -> Result<Answer, Error> {
        self.call(id, Call::new(request))
    }

    fn call(&mut self, id: NodeId, call: Call) -> Result<Answer, Error> {
        self.all(vec![(id, Input::Request { id: RequestId(1), call })]);
        for _ in 0..10_000 {
            match self.told.pop() {
                Some((_, answer)) => return answer,
                None => self.tick(),
            }
        }
        panic!("{id:?} does not answer")
    }

    /// One tick of every node, and all that comes of it.
    fn tick(&mut self) {
        self.now += althing_node::DEFAULT_TICK;
        self.all(self.nodes.keys().map(|id| (*id, Input::Tick)).collect());
    }

    /// These inputs, and all that comes of them.
    fn all(&mut self, mut inputs: Vec<(NodeId, Input)>) {
        while !inputs.is_empty() {
            inputs = inputs.into_iter().flat_map(|(id, input)| self.turn(id, input)).collect();
        }
    }

    /// One turn of a node, if it is still there; what is to be told to whom.
    fn turn(&mut self, id: NodeId, input: Input) -> Vec<(NodeId, Input)> {
        let Some(One { node, applier }) = self.nodes.get_mut(&id) else { return Vec::new() };
        let mut out = Effects::default();
        node.handle(self.now, input, &mut out);
        node.flush(self.now, &mut out);
        let mut told: Vec<_> =
            out.frames.into_iter().map(|(to, bytes)| (to, Input::Frame { from: id, bytes })).collect();
        if let Some(lonely) = self.cut_off {
            told.retain(|(to, _)| lonely != id && lonely != *to);
        }
        if self.slow == Some(id) {
            self.on_their_way.append(&mut told);
        }
        if let Some(batch) = out.wal {
            self.logs.entry(id).or_default().extend(batch.records);
            told.push((id, Input::Persisted { seq: batch.seq }));
        }
        if !out.work.is_empty() {
            told.push((id, Input::Done(applier.work(out.work).unwrap())));
        }
        told.extend(out.reads.into_iter().map(|work| (id, Input::Read(althing_node::read(work)))));
        if out.checkpoint {
            let spaces = applier.begin_checkpoint().unwrap().finish().unwrap();
            told.push((id, Input::Checkpointed(spaces)));
        }
        self.watched.extend(out.watch.into_iter().map(|(_, event)| event));
        self.told.extend(out.responses);
        told
    }

    fn ticks(&mut self, count: usize) {
        (0..count).for_each(|_| self.tick());
    }

    fn metrics(&self) -> Vec<GroupMetrics> {
        self.nodes.values().flat_map(|one| one.node.group_metrics()).collect()
    }
}
