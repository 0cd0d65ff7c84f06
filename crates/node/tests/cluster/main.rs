//! Nodes that talk to each other without a simulator in between: everything arrives at once, and nothing fails.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod cas;
mod control;
mod deadlines;
mod early;
mod exact;
mod keyed;
mod learners;
mod membership;
mod quota;
mod repair;
mod routing;
mod series;
mod splits;

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_api::cluster::Member;
use althing_api::watch::WatchEvent;
use althing_api::{Answer, Call, Error, Request};
use althing_node::envelope::{Message, begin_frame, open_frame};
use althing_node::{Applier, Effects, GroupMetrics, Input, LogRecovery, Node, NodeConfig, WalBatch};
use althing_storage::engine::model::ModelEngine;
use althing_storage::wal::{Record, RecordKind};
use althing_types::{ClusterId, GroupId, Instant, NodeId, RequestId};
use bytes::Bytes;

struct One {
    node: Node,
    applier: Applier,
    config: NodeConfig,
    engine: Arc<ModelEngine>,
    /// Its log, and from where on each group needs its deltas.
    log: Vec<Record>,
    released: BTreeMap<GroupId, u64>,
}

impl One {
    /// A node of this configuration, on what its engine and its log have.
    fn open(config: NodeConfig, engine: Arc<ModelEngine>, log: Vec<Record>) -> Self {
        let mut recovery = LogRecovery::default();
        log.iter().cloned().for_each(|record| recovery.record(record).unwrap());
        let (mut applier, states) = Applier::open(engine.clone(), &config, &recovery).unwrap();
        applier.begin_run(config.incarnation);
        let node = Node::new(config.clone(), recovery.join(states)).unwrap();
        Self { node, applier, config, engine, log, released: BTreeMap::new() }
    }

    /// The same node after a crash: its engine has what was durable, and its log what was not released.
    fn crashed(self) -> Self {
        let is_kept = |record: &Record| {
            record.kind != RecordKind::Delta
                || self.released.get(&record.group).is_none_or(|from| record.index >= *from)
        };
        let log = self.log.iter().filter(|record| is_kept(record)).cloned().collect();
        let config = NodeConfig { incarnation: self.config.incarnation + 1, ..self.config };
        Self::open(config, Arc::new(self.engine.crash(1)), log)
    }
}

/// Whether a message from one node to another is lost.
type IsLost = dyn Fn(NodeId, NodeId, &Message) -> bool;

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
    /// Two nodes that do not hear each other.
    cut_link: Option<[NodeId; 2]>,
    /// Messages that never come.
    lost: Option<Box<IsLost>>,
    /// A node whose disk is slow: what it writes from now on is not durable yet.
    slow_disk: Option<NodeId>,
    /// Batches of its log that are not durable.
    unsynced: Vec<WalBatch>,
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

fn found(id: NodeId, members: Vec<Member>, quota_bytes: Option<u64>) -> One {
    let mut config = NodeConfig::new(ClusterId(1), id, members);
    config.groups[0].quota_bytes = quota_bytes;
    One::open(config, Arc::new(ModelEngine::new()), Vec::new())
}

impl Cluster {
    /// A cluster of these members, each of which was told a quota.
    fn new(members: &[Member], quotas: &[Option<u64>]) -> Self {
        let one = |(member, quota): (&Member, &Option<u64>)| (member.id, found(member.id, members.to_vec(), *quota));
        Self {
            nodes: members.iter().zip(quotas).map(one).collect(),
            now: Instant::ZERO,
            told: Vec::new(),
            watched: Vec::new(),
            slow: None,
            cut_off: None,
            on_their_way: Vec::new(),
            cut_link: None,
            lost: None,
            slow_disk: None,
            unsynced: Vec::new(),
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
        let Some(One { node, applier, log, released, .. }) = self.nodes.get_mut(&id) else { return Vec::new() };
        let mut out = Effects::default();
        node.handle(self.now, input, &mut out);
        node.flush(self.now, &mut out);
        let lost = self.lost.as_deref();
        let arrives = |(to, bytes)| (to, Input::Frame { from: id, bytes: without(lost, id, to, bytes) });
        let mut told: Vec<_> = out.frames.into_iter().map(arrives).collect();
        let wal = match (out.wal, self.slow_disk == Some(id)) {
            (Some(batch), true) => {
                self.unsynced.push(batch);
                None
            }
            (wal, _) => wal,
        };
        log.extend(wal.iter().flat_map(|batch| batch.records.iter().cloned()));
        for (group, from) in &out.wal_release {
            let released = released.entry(*group).or_default();
            *released = (*released).max(*from);
        }
        if let Some(lonely) = self.cut_off {
            told.retain(|(to, _)| lonely != id && lonely != *to);
        }
        if let Some([one, other]) = self.cut_link {
            told.retain(|(to, _)| ![[one, other], [other, one]].contains(&[id, *to]));
        }
        if self.slow == Some(id) {
            self.on_their_way.append(&mut told);
        }
        told.extend(wal.map(|batch| (id, Input::Persisted { seq: batch.seq })));
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

    /// A node dies at once, and starts again.
    fn crash(&mut self, id: u64) {
        let crashed = self.nodes.remove(&NodeId(id)).unwrap().crashed();
        self.nodes.insert(NodeId(id), crashed);
    }

    /// The slow disk has written all that was on its way.
    fn sync(&mut self) {
        let Some(id) = self.slow_disk.take() else { return };
        let Some(one) = self.nodes.get_mut(&id) else { return };
        let batches = std::mem::take(&mut self.unsynced);
        let seqs: Vec<_> = batches.iter().map(|batch| batch.seq).collect();
        one.log.extend(batches.into_iter().flat_map(|batch| batch.records));
        self.all(seqs.into_iter().map(|seq| (id, Input::Persisted { seq })).collect());
    }

    /// The node with the slow disk dies, and what was on its way is lost.
    fn crash_before_sync(&mut self) {
        let id = self.slow_disk.take().unwrap();
        self.unsynced.clear();
        self.crash(id.get());
    }

    fn ticks(&mut self, count: usize) {
        (0..count).for_each(|_| self.tick());
    }

    fn metrics(&self) -> Vec<GroupMetrics> {
        self.nodes.values().flat_map(|one| one.node.group_metrics()).collect()
    }
}

/// A frame without the messages that are lost.
fn without(lost: Option<&IsLost>, from: NodeId, to: NodeId, bytes: Bytes) -> Bytes {
    let Some(lost) = lost else { return bytes };
    let (header, mut reader) = open_frame(bytes).unwrap();
    let mut frame = begin_frame(header);
    while reader.remaining() > 0 {
        let message = Message::decode(&mut reader).unwrap();
        if !lost(from, to, &message) {
            message.encode(&mut frame);
        }
    }
    frame.finish()
}
