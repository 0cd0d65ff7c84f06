//! Nodes, and what is on the way between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;

use althing_codec::{Reader, Writer};
use althing_consensus::{
    Change, ConfChange, ConfState, Config, Effects, EntryKind, Input, LogPosition, Message, Refused, Replica,
    SnapshotMeta, SnapshotWanted,
};
use althing_types::{GroupId, Instant, NodeId};
use bytes::Bytes;

use super::disk::{Disk, Machine};
use super::oracle::{Oracle, log_matching};

/// When a node's disk syncs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Syncing {
    /// At the end of every turn.
    AtOnce,
    /// When told to.
    Manual,
}

pub struct Node {
    pub replica: Replica,
    pub disk: Disk,
    pub machine: Machine,
    pub syncing: Syncing,
    /// What each read that is under way must see at least.
    reads: BTreeMap<u64, u64>,
    pub answered: Vec<u64>,
    pub installed: Option<Machine>,
}

pub struct Envelope {
    pub from: NodeId,
    pub to: NodeId,
    pub bytes: Bytes,
}

/// A group and its network.
pub struct World {
    seed: u64,
    pub election_timeout: Range<u32>,
    pub hibernate_after_ticks: Option<u32>,
    pub nodes: BTreeMap<NodeId, Node>,
    pub crashed: BTreeMap<NodeId, Disk>,
    pub network: Vec<Envelope>,
    pub cut: BTreeSet<(NodeId, NodeId)>,
    pub wanted: Vec<(NodeId, u64, SnapshotWanted)>,
    pub oracle: Oracle,
    pub trace: String,
    incarnation: u64,
}

impl World {
    pub fn new(seed: u64, election_timeout: Range<u32>) -> Self {
        Self {
            seed,
            election_timeout,
            hibernate_after_ticks: None,
            nodes: BTreeMap::new(),
            crashed: BTreeMap::new(),
            network: Vec::new(),
            cut: BTreeSet::new(),
            wanted: Vec::new(),
            oracle: Oracle::default(),
            trace: String::new(),
            incarnation: 0,
        }
    }

    /// Voters of a new group.
    pub fn bootstrap(&mut self, conf_state: &ConfState) {
        for id in conf_state.members() {
            self.start(id, Disk::bootstrap(conf_state));
        }
    }

    /// A node that knows nothing.
    pub fn join(&mut self, id: NodeId) {
        self.start(id, Disk::default());
    }

    fn start(&mut self, id: NodeId, disk: Disk) {
        self.incarnation += 1;
        let config = Config {
            group: GroupId(1),
            id,
            seed: self.seed,
            incarnation: self.incarnation,
            election_timeout: self.election_timeout.clone(),
            heartbeat_ticks: 2,
            hibernate_after_ticks: self.hibernate_after_ticks,
        };
        let (recovered, machine) = disk.recover();
        let replica = Replica::new(config, recovered).unwrap();
        let syncing = Syncing::AtOnce;
        let node =
            Node { replica, disk, machine, syncing, reads: BTreeMap::new(), answered: Vec::new(), installed: None };
        self.nodes.insert(id, node);
    }

    pub fn crash(&mut self, id: NodeId) {
        if let Some(mut node) = self.nodes.remove(&id) {
            node.disk.crash();
            self.crashed.insert(id, node.disk);
            writeln!(self.trace, "{id} crashes").unwrap();
        }
    }

    pub fn restart(&mut self, id: NodeId) {
        if let Some(disk) = self.crashed.remove(&id) {
            writeln!(self.trace, "{id} restarts").unwrap();
            self.start(id, disk);
        }
    }

    /// One turn of a node: one input, and all that follows from it on that node.
    pub fn turn(&mut self, id: NodeId, input: Input) -> Result<(), Refused> {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let mut out = Effects::default();
        let answer = node.replica.handle(Instant::ZERO, input, &mut out);
        self.finish(id, out);
        answer
    }

    fn finish(&mut self, id: NodeId, mut out: Effects) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.replica.ready(&mut out);
        if let Some(role) = out.role_changed {
            writeln!(self.trace, "{id} is {role:?} term={}", node.replica.term()).unwrap();
        }
        self.oracle.role(id, &self.nodes[&id].replica);
        self.send(&mut out);
        self.persist(id, &mut out);
        self.apply(id, &mut out);
        self.answer_reads(id, &out);
        let term = self.nodes[&id].replica.term();
        for wanted in out.snapshot_wanted {
            writeln!(self.trace, "{id} wants a snapshot for {} at {}", wanted.to, wanted.at_least).unwrap();
            self.wanted.push((id, term, wanted));
        }
        if self.nodes[&id].syncing == Syncing::AtOnce {
            self.sync(id, usize::MAX);
        }
    }

    fn send(&mut self, out: &mut Effects) {
        for message in out.messages.drain(..) {
            let mut writer = Writer::default();
            message.encode(&mut writer);
            self.network.push(Envelope { from: message.from(), to: message.to(), bytes: writer.finish() });
        }
    }

    fn persist(&mut self, id: NodeId, out: &mut Effects) {
        let node = self.nodes.get_mut(&id).expect("a node that has a turn");
        for batch in out.persist.drain(..) {
            write!(self.trace, "{id} persists").unwrap();
            if let Some(meta) = &batch.snapshot {
                write!(self.trace, " snapshot {}@{}", meta.index, meta.term).unwrap();
            }
            for entry in &batch.entries {
                write!(self.trace, " {entry}").unwrap();
            }
            if let Some(state) = batch.hard_state {
                write!(self.trace, " term={} vote={} commit={}", state.term, state.vote, state.commit).unwrap();
            }
            writeln!(self.trace, "{}", if batch.must_sync { "" } else { " (lazily)" }).unwrap();
            node.disk.append(batch);
        }
    }

    /// Syncs a node's first `count` batches.
    pub fn sync(&mut self, id: NodeId, count: usize) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(seq) = node.disk.sync(count) else { return };
        if let Some(installed) = node.installed.take_if(|data| data.applied == node.disk.checkpointed()) {
            node.machine = installed;
        }
        self.turn(id, Input::Persisted { seq }).unwrap();
    }

    fn apply(&mut self, id: NodeId, out: &mut Effects) {
        let node = self.nodes.get_mut(&id).expect("a node that has a turn");
        for entry in out.committed.drain(..) {
            self.oracle.apply(id, &entry);
            assert_eq!(entry.index, node.machine.applied.index + 1, "entries come in order, each once");
            write!(self.trace, "{id} applies {entry}").unwrap();
            match entry.kind {
                EntryKind::Normal => writeln!(self.trace, " {:?}", String::from_utf8_lossy(&entry.data)).unwrap(),
                EntryKind::ConfChange => {
                    if let Ok(conf_state) = node.replica.apply_conf_change(&entry) {
                        writeln!(self.trace, " {}", conf(&conf_state)).unwrap();
                        node.machine.conf_state = conf_state;
                    } else {
                        writeln!(self.trace, " refused").unwrap();
                    }
                }
            }
            node.machine.applied = LogPosition { index: entry.index, term: entry.term };
            node.machine.history.push(entry);
        }
        let index = node.machine.applied.index;
        if index > node.replica.applied() {
            self.turn(id, Input::Applied { index }).unwrap();
        }
    }

    fn answer_reads(&mut self, id: NodeId, out: &Effects) {
        let node = self.nodes.get_mut(&id).expect("a node that has a turn");
        for read in &out.reads {
            writeln!(self.trace, "{id} may read {} at {}", read.context, read.index).unwrap();
            let at_least = node.reads.remove(&read.context).expect("a read that was asked for, answered once");
            assert!(read.index >= at_least, "node {id} reads at {}, and {at_least} was committed before", read.index);
            node.answered.push(read.context);
        }
    }

    pub fn read(&mut self, id: NodeId, context: u64) {
        let committed = self.oracle.committed();
        if let Some(node) = self.nodes.get_mut(&id) {
            node.reads.insert(context, committed);
            self.turn(id, Input::ReadIndex { context }).unwrap();
        }
    }

    pub fn propose(&mut self, id: NodeId, data: &str) -> Result<(), Refused> {
        self.turn(id, Input::Propose { data: Bytes::copy_from_slice(data.as_bytes()) })
    }

    pub fn change(&mut self, id: NodeId, steps: Vec<Change>) -> Result<(), Refused> {
        self.turn(id, Input::ProposeConfChange { change: ConfChange::Change(steps), data: Bytes::new() })
    }

    /// Delivers the message at `position`; `false` if it is lost.
    pub fn deliver(&mut self, position: usize) -> bool {
        let Envelope { from, to, bytes } = self.network.remove(position);
        let mut reader = Reader::new(bytes);
        let message = Message::decode(&mut reader).unwrap();
        reader.finish().unwrap();
        let lost = self.cut.contains(&(from, to)) || !self.nodes.contains_key(&to);
        writeln!(self.trace, "{message}{}", if lost { " ✗" } else { "" }).unwrap();
        if !lost {
            self.turn(to, Input::Step(message)).unwrap();
        }
        !lost
    }

    /// Delivers messages in order until none is left.
    pub fn settle(&mut self) {
        let mut budget = 100_000;
        while !self.network.is_empty() {
            self.deliver(0);
            budget -= 1;
            assert!(budget > 0, "the group does not come to rest");
        }
    }

    /// Streams a snapshot that was wanted, all at once.
    pub fn stream(&mut self, position: usize) {
        let (from, term, SnapshotWanted { to, .. }) = self.wanted.remove(position);
        let reachable = self.nodes.contains_key(&to) && !self.cut.contains(&(from, to));
        let Some(data) = self.nodes.get(&from).map(|node| node.machine.clone()) else { return };
        let ok = reachable && self.install(from, term, to, data);
        self.turn(from, Input::SnapshotSent { to, ok }).unwrap();
    }

    fn install(&mut self, from: NodeId, term: u64, to: NodeId, data: Machine) -> bool {
        let meta =
            SnapshotMeta { index: data.applied.index, term: data.applied.term, conf_state: data.conf_state.clone() };
        let node = self.nodes.get_mut(&to).expect("the receiver is reachable");
        let mut out = Effects::default();
        node.disk.store_snapshot(data.clone());
        let installed = node.replica.install_snapshot(meta, from, term, &mut out);
        writeln!(self.trace, "{to} installs {}@{}: {installed:?}", data.applied.index, data.applied.term).unwrap();
        if installed.is_ok() {
            node.installed = Some(data);
        }
        self.finish(to, out);
        installed.is_ok()
    }

    /// Checkpoints a node's machine and drops its log up to there, but for the last `keep` entries.
    pub fn truncate(&mut self, id: NodeId, keep: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let machine = node.machine.clone();
        node.disk.checkpoint(&machine);
        let index = node.disk.checkpointed().index.saturating_sub(keep);
        self.turn(id, Input::Truncate { index }).unwrap();
        let node = self.nodes.get_mut(&id).expect("a node that has a turn");
        let truncated = node.replica.truncated();
        node.disk.truncate(truncated);
        writeln!(self.trace, "{id} truncates {}@{}", truncated.index, truncated.term).unwrap();
    }

    pub fn check(&self) {
        let replicas: Vec<_> = self.nodes.values().map(|node| &node.replica).collect();
        for (position, a) in replicas.iter().enumerate() {
            for b in &replicas[position + 1..] {
                log_matching(a, b);
            }
        }
    }

    pub fn leader(&self) -> Option<NodeId> {
        let leads = |replica: &Replica| matches!(replica.role(), althing_consensus::Role::Leader { .. });
        self.nodes.iter().filter(|(_, n)| leads(&n.replica)).max_by_key(|(_, n)| n.replica.term()).map(|(id, _)| *id)
    }
}

/// A configuration in one line.
pub fn conf(state: &ConfState) -> String {
    let list = |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",");
    let mut line = format!("voters={}", list(&state.voters));
    for (name, nodes) in
        [("outgoing", &state.voters_outgoing), ("learners", &state.learners), ("learners_next", &state.learners_next)]
    {
        if !nodes.is_empty() {
            write!(line, " {name}={}", list(nodes)).unwrap();
        }
    }
    line
}
