//! Faults, as they happen.

use althing_api::service::META_GROUP;
use althing_api::{Call, Request, Target};
use althing_node::Input;
use althing_types::{Duration, Instant, NodeId, RequestId};

use super::{Event, Happening, PeerHint, Phase, World};
use crate::clocks::{Jump, LocalClock};
use crate::faults::Fault;
use crate::history::{CallEnd, CallRecord, LessorJump};
use crate::host::boot::{BootError, Booted, DiskHistory, Start};
use crate::host::directory::Standing;
use crate::host::process::Intent;
use crate::host::{Blame, End, Host, Origin, Stage};
use crate::nemesis::{self, Kind, Sight};
use crate::network::Flight;
use crate::random::between;
use crate::report::Check;
use crate::scene::Scene;
use crate::triggers::Moment;

/// How long a supervisor waits before it starts a process again that ended by itself.
const SUPERVISOR_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(800));

/// Requests of the world itself are named from here on, above all those of clients.
const WORLD_REQUEST: RequestId = RequestId(1 << 38);

impl World {
    pub(super) fn plan_episode(&mut self, kind: Kind) {
        let gap = kind.episodes(&self.options.faults).draw_gap(&mut self.streams.faults);
        if let Some(gap) = gap {
            self.agenda.after(gap, Event::Episode(kind));
        }
    }

    pub(super) fn begin_episode(&mut self, kind: Kind) {
        if self.phase != Phase::Safety {
            return;
        }
        let length = kind.episodes(&self.options.faults).draw_length(&mut self.streams.faults);
        let sight = Sight { nodes: &self.nodes, leader: self.leader.map(|(_, node)| node), meta: &[] };
        for (delay, fault) in nemesis::episode(kind, length, sight, &mut self.streams.faults) {
            self.agenda.after(delay, Event::Fault(fault));
        }
        self.plan_episode(kind);
    }

    /// Gives the roles of a scene to nodes and lets its fault begin, and in its time end.
    pub(super) fn play(&mut self, scene: Scene) {
        let Scene { mut fault, lasting, .. } = scene;
        let meta = self.runs_meta();
        let sight = Sight { nodes: &self.nodes, leader: self.leader.map(|(_, node)| node), meta: &meta };
        if self.phase != Phase::Safety || !fault.cast(sight, &mut self.streams.scenes) {
            return;
        }
        if let Some((end, after)) = fault.end().zip(lasting) {
            self.agenda.after(after, Event::Fault(end));
        }
        self.agenda.after(Duration::ZERO, Event::Fault(fault));
    }

    /// Lets a fault happen, unless the budget withholds it. After the safety phase only what ends one still does.
    pub(super) fn inflict(&mut self, fault: Fault) {
        // A schedule may name a member that has no machine, because in this run it did not join.
        if fault.nodes().iter().any(|node| !self.hosts.contains_key(node)) {
            return;
        }
        if fault.is_harm() && (self.phase != Phase::Safety || self.is_withheld(&fault)) {
            return;
        }
        self.settle_budget();
        self.check_spread();
        self.inflicted.push((self.agenda.now().since(Instant::ZERO), fault.clone()));
        match fault {
            Fault::Heal => self.network.heal(),
            Fault::Restart(node) => self.restart(node),
            Fault::Resume(node) => self.resume(node),
            Fault::FreeDisk(node) => self.host(node).free_disk(),
            Fault::SlowDisk { node, by } => {
                self.counts.slow_disks += u64::from(!by.is_zero());
                self.host(node).slow_by = by;
            }
            Fault::SlowNode { node, by } => {
                self.counts.slow_nodes += u64::from(!by.is_zero());
                self.host(node).starved_by = by;
            }
            Fault::Drift { node, ppm } => {
                self.counts.drifts += u64::from(ppm != 0);
                let now = self.agenda.now();
                self.host(node).clock.drift(now, ppm);
            }
            Fault::Unclog(node) => self.unclog(node),
            Fault::Unplug(node) => self.unplug(node),
            Fault::KeepSyncs(node) => self.keep_syncs(node),
            Fault::Deliver { node, what } => self.hearsay.deliver(node, what),
            Fault::Undeceive(node) => self.hearsay.undeceive(node),
            harm => self.harm(harm),
        }
        self.next_stretch();
    }

    /// Nodes that run with a replica of the control plane, and that somebody hears.
    fn runs_meta(&self) -> Vec<NodeId> {
        let has_meta = |id: &&NodeId| match &self.hosts[id].stage {
            Stage::Running(process) => !process.node.voters(META_GROUP).is_empty(),
            Stage::Paused { .. } | Stage::Down => false,
        };
        let is_heard = |id: &&NodeId| self.nodes.iter().any(|other| other != *id && self.network.is_open(**id, *other));
        self.nodes.iter().filter(has_meta).filter(is_heard).copied().collect()
    }

    fn harm(&mut self, fault: Fault) {
        match fault {
            Fault::Partition { island } => {
                self.counts.partitions += 1;
                self.network.isolate(&island, &self.nodes);
            }
            Fault::OneWay { from, to } => {
                self.counts.one_way += 1;
                self.network.cut(from, to);
            }
            Fault::Crash(node) => {
                self.counts.crashes += u64::from(self.host(node).is_up());
                self.cut_power(node);
            }
            Fault::Kill(node) => {
                self.counts.kills += u64::from(self.host(node).is_up());
                self.end_process(node, End::Process);
            }
            Fault::Pause(node) => self.counts.pauses += u64::from(self.host(node).pause()),
            Fault::FailSync(node) => self.host(node).fail_sync(),
            Fault::FailWrite(node) => self.host(node).fail_write(),
            Fault::FillDisk(node) => {
                self.counts.full_disks += 1;
                self.host(node).fill_disk();
            }
            Fault::TransferLeader(to) => self.transfer(to),
            Fault::Stop(node) => self.stop(node),
            Fault::Clog(node) => self.counts.clogs += u64::from(self.network.clog(node)),
            Fault::JumpClock { node, jump } => self.jump_clock(node, jump),
            Fault::Rot { node, seed } => self.rot(node, seed),
            Fault::RotOnRead { node, seed } => {
                self.host(node).rot_on_read(u64::from(seed));
            }
            Fault::Wipe(node) => self.wipe(node),
            Fault::KeepImage(node) => self.keep_image(node),
            Fault::RollBack(node) => self.roll_back(node),
            Fault::Copy(node) => self.copy(node),
            Fault::LoseSyncs(node) => self.lose_syncs(node),
            Fault::Checkpoint(node) => {
                self.counts.checkpoints += 1;
                self.want_checkpoint(node);
            }
            Fault::Compact(node) => self.compact(node),
            Fault::Withhold { node, what } => self.hearsay.withhold(node, what),
            Fault::Mislead(node) => self.hearsay.mislead(node),
            Fault::Destroy(node) => self.destroy(node),
            Fault::Heal
            | Fault::Restart(_)
            | Fault::Resume(_)
            | Fault::FreeDisk(_)
            | Fault::SlowDisk { .. }
            | Fault::SlowNode { .. }
            | Fault::Drift { .. }
            | Fault::Unclog(_)
            | Fault::Unplug(_)
            | Fault::KeepSyncs(_)
            | Fault::Deliver { .. }
            | Fault::Undeceive(_) => unreachable!("the caller has dealt with it"),
        }
    }

    fn jump_clock(&mut self, node: NodeId, jump: Jump) {
        self.counts.clock_jumps += 1;
        let at = self.agenda.now();
        let host = self.host(node);
        host.clock.jump(at, jump);
        if let (Jump::Forward(by), true) = (jump, host.leads()) {
            self.shared.history.jumps.push(LessorJump { at, by });
        }
    }

    pub(super) fn unclog(&mut self, node: NodeId) {
        for Flight { from, to, bytes, only_in } in self.network.unclog(node) {
            self.agenda.after(Duration::ZERO, Event::Frame { from, to, bytes, only_in });
        }
    }

    fn compact(&mut self, node: NodeId) {
        self.counts.compactions += 1;
        let request = Request::Compact { revision: self.shared.revision, physical: true };
        let record = CallRecord {
            target: Target::default(),
            invoked: self.agenda.now(),
            request: request.clone(),
            end: CallEnd::Unknown,
        };
        self.shared.history.calls.push(record);
        self.ask_node(node, request);
    }

    /// Asks a node for something in the world's own name, and does not wait for the answer.
    fn ask_node(&mut self, node: NodeId, request: Request) {
        self.requests += 1;
        let id = RequestId(WORLD_REQUEST.get() + self.requests);
        let call = Call::new(request);
        // Clients may see what comes of it, so the history must know that it was asked for.
        self.record_call(&call);
        self.input(node, Input::Request { id, call });
    }

    /// Ends a process, tells its clients and peers, and forgets it.
    pub(super) fn end_process(&mut self, node: NodeId, how: End) {
        let host = self.hosts.get_mut(&node).expect("every node has a machine");
        let Some(process) = host.end(how, &mut self.streams.disk) else { return };
        self.control.add(&process.node.metrics());
        self.break_connections(&process);
        self.hint_all(node, PeerHint::Down);
        self.next_stretch();
    }

    /// Tells every process that runs about its connection to a node; not all of them notice.
    fn hint_all(&mut self, about: NodeId, hint: PeerHint) {
        for node in self.nodes.clone() {
            let delay = self.network.hint_delay();
            let noticed = self.streams.network.u32(0..4) > 0;
            if node != about && noticed && self.host(node).is_up() {
                self.plan(node, delay, Happening::Peer(about, hint));
            }
        }
    }

    pub(super) fn restart(&mut self, node: NodeId) {
        let stopping = self.host(node).running().is_some_and(|process| process.intent == Intent::Stopping);
        if stopping {
            // It has had its time.
            self.end_process(node, End::Process);
        }
        if self.nodes.contains(&node) {
            self.boot(node);
        }
    }

    /// Starts a process on a machine that is down, unless it was given up.
    pub(super) fn boot(&mut self, node: NodeId) {
        if self.host(node).is_up() || self.host(node).standing == Standing::Condemned {
            return;
        }
        let (seed, nonce) = (self.streams.nodes.u64(..), self.streams.directories.u64(..));
        let founders = self.founders.clone();
        let start = Start { founders: &founders, seed, nonce };
        match self.host(node).boot(start) {
            Ok(booted) => self.booted(node, &booted),
            Err(error) => self.start_failed(node, &error),
        }
    }

    fn booted(&mut self, node: NodeId, booted: &Booted) {
        if let Some(what) = &booted.unnoticed {
            return self.find(Check::Recovery, format!("the log of node {node} has not noticed that {what} was wrong"));
        }
        self.counts.restarts += u64::from(booted.history == DiskHistory::Used);
        self.witness_start(node, booted);
        self.forget_links(node);
        self.rot_is_gone(node);
        self.plan_routine(node);
        self.hint_all(node, PeerHint::Up);
        self.next_stretch();
    }

    /// A disk may fail while a node starts, if the world made it; then the supervisor tries again. Damage is for good,
    /// unless only a read was wrong.
    fn start_failed(&mut self, node: NodeId, error: &BootError) {
        if let BootError::Damaged(error) = error {
            return self.damaged(node, error);
        }
        if self.host(node).disk_failed() == Blame::Node {
            return self.find(Check::Recovery, format!("node {node} cannot start: {error}"));
        }
        self.counts.failed_disks += 1;
        self.end_process(node, End::Process);
        self.supervise(node);
    }

    pub(super) fn supervise(&mut self, node: NodeId) {
        let pause = between(SUPERVISOR_PAUSE.0, SUPERVISOR_PAUSE.1, &mut self.streams.supervisor);
        self.agenda.after(pause, Event::Start(node));
    }

    /// The operator's hands: nobody but members has a machine.
    pub(super) fn retire_others(&mut self, members: &[NodeId]) {
        for node in self.nodes.clone() {
            if !members.contains(&node) {
                self.counts.left += 1;
                self.end_process(node, End::Process);
                self.nodes.retain(|other| *other != node);
            }
        }
    }

    /// The operator's hands: every member has a machine.
    pub(super) fn set_up(&mut self, members: &[NodeId]) {
        for node in members {
            if !self.hosts.contains_key(node) {
                self.counts.joined += 1;
                let clock = LocalClock::draw(&self.options.faults.clocks, &mut self.streams.clocks);
                let founding = self.streams.directories.u64(..);
                self.hosts.insert(*node, Host::new(*node, Origin::Joiner, clock, founding));
                self.nodes.push(*node);
                self.restart(*node);
            }
        }
    }

    pub(super) fn resume(&mut self, node: NodeId) {
        for event in self.host(node).resume() {
            self.agenda.after(Duration::ZERO, event);
        }
    }

    /// The log of a node has failed, as it should only if the world made it. The process ends; a supervisor starts it
    /// again.
    pub(super) fn storage_failed(&mut self, node: NodeId, error: &str) {
        if self.host(node).disk_failed() == Blame::Node {
            return self.find(Check::Crash, format!("the log of node {node} failed by itself: {error}"));
        }
        self.counts.failed_disks += 1;
        self.end_process(node, End::Process);
        self.supervise(node);
    }

    fn transfer(&mut self, to: NodeId) {
        self.counts.transfers += 1;
        let Some((_, leader)) = self.leader else { return };
        self.ask_node(leader, Request::MoveLeader(to));
        self.moment(leader, Moment::HandingOver);
    }

    fn stop(&mut self, node: NodeId) {
        let Some(process) = self.host(node).running() else { return };
        process.intent = Intent::Stopping;
        self.counts.stops += 1;
        self.input(node, Input::Stop);
    }
}
