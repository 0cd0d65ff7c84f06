//! A node's turn, and what comes of it.

use althing_node::{Done, Effects, Input, ReadWork, Work, read};
use althing_probe::Mutant;
use althing_storage::engine::Engine;
use althing_types::{Duration, Instant, NodeId, WallTime};
use bytes::Bytes;

use super::links::Passage;
use super::{Event, Happening, PeerHint, World};
use crate::host::process::{CheckpointStage, Intent, Planned};
use crate::host::writer::{Durability, Tidied};
use crate::network::Flight;
use crate::random::{between, up_to};
use crate::report::Check;
use crate::triggers::Moment;

/// How long after an input the node takes its turn, so that several share one.
const TURN_WITHIN: Duration = Duration::from_micros(100);
/// How long after other work, or after the last unit of it, work in the background is done.
const BACKGROUND_AFTER: Duration = Duration::from_millis(20);
/// Checkpoints that nobody asked for are this far apart at the least and at the most: far more often than in a server,
/// where they follow from bytes written.
const CHECKPOINT_EVERY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(6));

impl World {
    /// A frame has come to the end of its way: it waits there, is refused, or reaches its node.
    pub(super) fn frame_arrives(&mut self, frame: Flight) {
        let Flight { from, to, only_in, .. } = frame;
        if only_in.is_some_and(|life| self.host(to).life != life) {
            return;
        }
        let Some(frame) = self.network.hold(frame) else { return };
        if self.passage(from, to) == Passage::Open {
            let from = self.host(from).id;
            self.input(to, Input::Frame { from, bytes: frame.bytes });
        }
    }

    /// Hands an input to a node, if it runs, for its next turn.
    pub(super) fn input(&mut self, node: NodeId, input: Input) {
        let delay = up_to(TURN_WITHIN, &mut self.streams.network) + self.host(node).starved_by;
        let Some(process) = self.host(node).running() else { return };
        process.inbox.push(input);
        if process.turn == Planned::No {
            process.turn = Planned::Yes;
            self.plan(node, delay, Happening::Turn);
        }
    }

    pub(super) fn process_event(&mut self, node: NodeId, what: Happening) {
        match what {
            Happening::Tick => self.tick(node),
            Happening::Turn => self.turn(node),
            Happening::Synced => self.synced(node),
            Happening::Work => self.work(node),
            Happening::Read(work) => self.input(node, Input::Read(read(*work))),
            Happening::Checkpointed => self.checkpointed(node),
            Happening::Background => self.background(node),
            Happening::Checkpoint => {
                self.want_checkpoint(node);
                self.plan_checkpoint(node);
                self.settle_budget();
            }
            Happening::Peer(peer, PeerHint::Up) => self.input(node, Input::PeerUp(peer)),
            Happening::Peer(peer, PeerHint::Down) => self.input(node, Input::PeerDown(peer)),
        }
    }

    /// What every process begins with.
    pub(super) fn plan_routine(&mut self, node: NodeId) {
        self.plan(node, Duration::ZERO, Happening::Tick);
        self.plan_background(node);
        self.plan_checkpoint(node);
    }

    fn plan_checkpoint(&mut self, node: NodeId) {
        let pause = between(CHECKPOINT_EVERY.0, CHECKPOINT_EVERY.1, &mut self.streams.disk);
        self.plan(node, pause, Happening::Checkpoint);
    }

    fn tick(&mut self, node: NodeId) {
        self.lie(node);
        let now = self.agenda.now();
        let shown = self.host(node).clock.read(now).since(Instant::ZERO).as_nanos() / 1_000_000;
        self.input(node, Input::Wall(WallTime(u64::try_from(shown).unwrap_or(u64::MAX))));
        self.input(node, Input::Tick);
        let span = self.host(node).clock.world_span(althing_node::DEFAULT_TICK);
        self.plan(node, span, Happening::Tick);
    }

    fn turn(&mut self, node: NodeId) {
        let now = self.agenda.now();
        let host = self.host(node);
        let local = host.clock.read(now);
        let Some(process) = host.running() else { return };
        process.turn = Planned::No;
        let mut out = Effects::default();
        let reconciled = process.node.metrics().reconciled;
        for input in std::mem::take(&mut process.inbox) {
            process.node.handle(local, input, &mut out);
        }
        process.node.flush(local, &mut out);
        let has_reconciled = process.node.metrics().reconciled > reconciled;
        if process.node.has_more() {
            process.turn = Planned::Yes;
            self.plan(node, Duration::ZERO, Happening::Turn);
        }
        self.witness_turn(node, &out);
        self.execute(node, out);
        if has_reconciled {
            self.moment(node, Moment::Reconciled);
        }
    }

    fn execute(&mut self, node: NodeId, out: Effects) {
        self.send(node, out.frames);
        self.write(node, out.wal, out.wal_release);
        self.read(node, out.reads);
        self.respond(node, out.responses);
        self.stream(node, out.watch);
        let Some(process) = self.host(node).running() else { return };
        process.work.extend(out.work);
        if out.checkpoint {
            self.want_checkpoint(node);
        }
        self.plan_work(node);
        if out.stopped {
            self.stopped(node);
        }
    }

    fn send(&mut self, from: NodeId, frames: Vec<(NodeId, Bytes)>) {
        let now = self.agenda.now();
        for (to, bytes) in frames {
            let bytes = self.passes(from, to, bytes);
            let arrivals = self.network.send(now, from, to);
            let life = self.hosts.get(&to).map(|host| host.life);
            let only_in = life.filter(|_| arrivals.len() > 1);
            for arrival in arrivals {
                self.agenda.at(arrival, Event::Frame { from, to, bytes: bytes.clone(), only_in });
            }
        }
    }

    fn write(
        &mut self,
        node: NodeId,
        batch: Option<althing_node::WalBatch>,
        releases: Vec<(althing_types::GroupId, u64)>,
    ) {
        let Some(process) = self.host(node).running() else { return };
        if let Some(batch) = batch {
            process.writer.push(batch);
        }
        for (group, keep_from) in releases {
            process.writer.release(group, keep_from);
        }
        self.start_writing(node);
    }

    fn start_writing(&mut self, node: NodeId) {
        let slow_by = self.host(node).slow_by;
        let Some(process) = self.host(node).running() else { return };
        match process.writer.start() {
            Ok(None) => {}
            Ok(Some(Durability::Later)) => {
                let latency = up_to(TURN_WITHIN, &mut self.streams.disk);
                self.plan(node, latency, Happening::Synced);
            }
            Ok(Some(Durability::Sync)) => {
                let latency = self.options.faults.disk.sync_latency.draw(&mut self.streams.disk) + slow_by;
                self.plan(node, latency, Happening::Synced);
            }
            Err(error) => self.storage_failed(node, &error.to_string()),
        }
    }

    fn synced(&mut self, node: NodeId) {
        let Some(process) = self.host(node).running() else { return };
        let durability = process.writer.under_way();
        let written = process.writer.finish().and_then(|seq| Ok((seq, process.writer.tidy()?)));
        let (seq, Tidied { pinned, freed }) = match written {
            Ok(written) => written,
            Err(error) => return self.storage_failed(node, &error.to_string()),
        };
        if let Some(seq) = seq {
            if durability == Some(Durability::Sync) {
                self.ledger.logs.persisted(node, seq);
                self.ledger.deltas.persisted(node, seq);
            }
            self.input(node, Input::Persisted { seq });
        }
        if !pinned.is_empty() {
            self.input(node, Input::LogPinned(pinned));
        }
        if freed > 0 {
            self.moment(node, Moment::SegmentRecycled);
        }
        self.start_writing(node);
    }

    fn plan_work(&mut self, node: NodeId) {
        let latency = self.options.faults.disk.apply_latency.draw(&mut self.streams.disk) + self.host(node).starved_by;
        let Some(process) = self.host(node).running() else { return };
        let wanted = !process.work.is_empty() || matches!(process.checkpoint, CheckpointStage::Wanted);
        if wanted && process.working == Planned::No {
            process.working = Planned::Yes;
            self.plan(node, latency, Happening::Work);
        }
    }

    fn work(&mut self, node: NodeId) {
        let Some(process) = self.host(node).running() else { return };
        process.working = Planned::No;
        let mut work = std::mem::take(&mut process.work);
        if althing_probe::is(Mutant::SkipEntries) {
            skip_an_entry(&mut work);
        }
        let mut done = Vec::new();
        for piece in work {
            self.witness_work(node, &piece);
            self.moment_of_work(node, &piece);
            let Some(process) = self.host(node).running() else { return };
            match process.applier.work(vec![piece]) {
                Ok(pieces) => {
                    pieces.iter().for_each(|piece| self.witness_done(node, piece));
                    done.extend(pieces);
                }
                Err(error) => self.find(Check::Crash, format!("the applier of node {node} failed: {error}")),
            }
        }
        self.done(node, done);
        self.begin_checkpoint(node);
        self.plan_work(node);
        self.plan_background(node);
    }

    fn done(&mut self, node: NodeId, done: Vec<Done>) {
        if !done.is_empty() {
            self.input(node, Input::Done(done));
        }
    }

    pub(super) fn want_checkpoint(&mut self, node: NodeId) {
        let Some(process) = self.host(node).running() else { return };
        if matches!(process.checkpoint, CheckpointStage::Idle) {
            process.checkpoint = CheckpointStage::Wanted;
        }
        self.plan_work(node);
    }

    fn begin_checkpoint(&mut self, node: NodeId) {
        let latency = self.options.faults.disk.checkpoint_latency.draw(&mut self.streams.disk);
        let Some(process) = self.host(node).running() else { return };
        if !matches!(process.checkpoint, CheckpointStage::Wanted) {
            return;
        }
        match process.applier.begin_checkpoint() {
            Ok(checkpoint) => {
                process.checkpoint = CheckpointStage::UnderWay(checkpoint);
                self.plan(node, latency, Happening::Checkpointed);
                self.moment(node, Moment::CheckpointBegun);
            }
            Err(error) => self.find(Check::Crash, format!("node {node} cannot begin a checkpoint: {error}")),
        }
    }

    fn checkpointed(&mut self, node: NodeId) {
        let Some(process) = self.host(node).running() else { return };
        let stage = std::mem::replace(&mut process.checkpoint, CheckpointStage::Idle);
        let CheckpointStage::UnderWay(checkpoint) = stage else { return };
        let finished = if althing_probe::is(Mutant::ReportCheckpointEarly) {
            Ok(self.host(node).engine.applied())
        } else {
            checkpoint.finish()
        };
        match finished {
            Ok(spaces) => {
                let Some(process) = self.host(node).running() else { return };
                for (group, of_group) in process.node.spaces() {
                    let applied = of_group.iter().filter_map(|space| spaces.get(space)).map(|applied| applied.index);
                    self.ledger.logs.checkpointed(group, node, applied.max().unwrap_or_default());
                }
                self.input(node, Input::Checkpointed(spaces));
            }
            Err(error) => self.find(Check::Crash, format!("node {node} cannot finish a checkpoint: {error}")),
        }
    }

    fn plan_background(&mut self, node: NodeId) {
        let Some(process) = self.host(node).running() else { return };
        if process.applier.has_background() && process.background == Planned::No {
            process.background = Planned::Yes;
            self.plan(node, BACKGROUND_AFTER, Happening::Background);
        }
    }

    fn background(&mut self, node: NodeId) {
        let host = self.host(node);
        let engine = host.engine.clone();
        let Some(process) = host.running() else { return };
        process.background = Planned::No;
        let worked = process.applier.background();
        let maintained = engine.maintain();
        match worked {
            Ok((done, more)) => {
                self.done(node, done);
                if more {
                    self.moment(node, Moment::Compacting);
                }
            }
            Err(error) => self.find(Check::Crash, format!("node {node} cannot compact: {error}")),
        }
        if let Err(error) = maintained {
            self.find(Check::Crash, format!("the engine of node {node} failed: {error}"));
        }
        self.plan_background(node);
    }

    /// A read is done at once or later, but its result is back only later: both can happen to a thread.
    fn read(&mut self, node: NodeId, reads: Vec<ReadWork>) {
        for work in reads {
            let latency = self.options.faults.disk.read_latency.draw(&mut self.streams.disk);
            self.plan(node, latency, Happening::Read(Box::new(work)));
        }
    }

    fn stopped(&mut self, node: NodeId) {
        let Some(process) = self.host(node).running() else { return };
        if process.intent == Intent::Serving {
            self.find(Check::Crash, format!("node {node} stopped though nobody had asked"));
        }
        self.end_process(node, crate::host::End::Process);
    }
}

/// Leaves out one entry of many.
fn skip_an_entry(work: &mut [Work]) {
    for piece in work {
        if let Work::Apply { entries, .. } = piece {
            entries.retain(|entry| entry.index % 100 != 0);
        }
    }
}
