//! Faults that take what a machine has synced, and what becomes of the machine.
//!
//! Such a machine is *lost*: if it goes on at all it is *astray*, and must be found out by the store; then it is *condemned*,
//! never starts again, and the operator removes its member and adds another one. Where there is a control plane, a condemned
//! machine is as good as destroyed: nobody removes anything by hand, and its replicas are rebuilt on others once it has been silent
//! for long enough. Two things the store cannot find out, and there the world helps (docs/simulation.md): a disk that has answered
//! syncs and kept nothing is given up when the power fails, and connections are held back on which nobody can tell an astray
//! machine (`links`).

use althing_api::service::DEFAULT_GROUP;
use althing_consensus::ConfState;
use althing_types::{Duration, NodeId};

use super::{Event, World};
use crate::budget::{self, Margin, Sight, Voters};
use crate::faults::Fault;
use crate::host::directory::{Directory, Image, Standing};
use crate::host::{End, Host};
use crate::report::Check;
use crate::workload::{Client, News, Slot};

/// The machine that starts on a copy of a node's directory is known to the world by the node's id with this bit turned.
const TWIN: u64 = 1 << 62;

impl World {
    /// Whether a fault would take more than the store can lose. A directory of the past that names its node as the only voter of
    /// a group asks nobody before it leads, so nobody can refuse it: such directories stay as they are.
    pub(super) fn is_withheld(&mut self, fault: &Fault) -> bool {
        let is_allowed = match fault {
            Fault::Rot { node, .. } | Fault::LoseSyncs(node) => self.is_sound(*node) && self.may_lose(*node),
            Fault::Wipe(_) | Fault::RollBack(_) | Fault::Copy(_) if self.founders.len() < 2 => false,
            Fault::Wipe(node) => {
                self.is_sound(*node) && self.is_known(*node, &Directory::founded(0)) && self.may_lose(*node)
            }
            Fault::RollBack(node) | Fault::Copy(node) if self.alone.contains(node) => false,
            Fault::RollBack(node) => match self.host(*node).image.as_ref().map(|image| image.directory.clone()) {
                Some(old) => self.is_sound(*node) && self.is_known(*node, &old) && self.may_lose(*node),
                None => false,
            },
            Fault::Crash(node) => !self.host(*node).has_lied() || self.can_do_without(*node),
            Fault::KeepImage(node) => {
                self.is_sound(*node) && self.budget.lost() != Some(*node) && !self.host(*node).is_lying()
            }
            // What a sync that fails leaves of those that were answered and not done is nobody's promise.
            Fault::FailSync(node) | Fault::FailWrite(node) => !self.host(*node).is_lying(),
            Fault::RotOnRead { node, .. } => self.is_sound(*node),
            Fault::Copy(node) => self.host(*node).image.is_some() && self.is_sound(*node),
            Fault::Partition { .. }
            | Fault::OneWay { .. }
            | Fault::Heal
            | Fault::Kill(_)
            | Fault::Restart(_)
            | Fault::Pause(_)
            | Fault::Resume(_)
            | Fault::SlowDisk { .. }
            | Fault::FillDisk(_)
            | Fault::FreeDisk(_)
            | Fault::TransferLeader(_)
            | Fault::Stop(_)
            | Fault::Clog(_)
            | Fault::Unclog(_)
            | Fault::SlowNode { .. }
            | Fault::JumpClock { .. }
            | Fault::Drift { .. }
            | Fault::Unplug(_)
            | Fault::KeepSyncs(_)
            | Fault::Checkpoint(_)
            | Fault::Compact(_)
            | Fault::Withhold { .. }
            | Fault::Deliver { .. }
            | Fault::Mislead(_)
            | Fault::Undeceive(_) => true,
            Fault::Destroy(node) => self.can_be_destroyed(*node),
        };
        if !is_allowed {
            self.budget.withhold();
        }
        !is_allowed
    }

    fn is_sound(&mut self, node: NodeId) -> bool {
        self.nodes.contains(&node) && self.host(node).standing == Standing::Sound
    }

    /// Whether somebody has seen the node in a way that does not fit to a directory of this past.
    fn is_known(&mut self, node: NodeId, past: &Directory) -> bool {
        let others = self.nodes.iter().filter(|other| **other != node).map(|other| &self.hosts[other]);
        others.filter(|host| host.standing == Standing::Sound).any(|host| {
            let seen = host.directory.book.0.get(&node);
            seen.is_some_and(|seen| {
                seen.founding != past.lineage.founding() || !past.lineage.runs().any(|run| run == seen.run)
            })
        })
    }

    fn may_lose(&mut self, node: NodeId) -> bool {
        if !self.is_replaceable(node) {
            return false;
        }
        let in_force = self.in_force();
        let sight = Sight { now: self.agenda.now(), in_force: &in_force, machines: &self.nodes };
        let judged = self.budget.judge(node, sight);
        self.margin = judged.unwrap_or(Margin::Tight);
        judged.is_ok() && self.shared.removing.is_none()
    }

    /// Whether somebody would see to it that a lost node is replaced. Where there is a control plane, it does, for every shard that was
    /// seen alive; but the members of the table `default` are the clients' to change, and none of them does.
    fn is_replaceable(&self, node: NodeId) -> bool {
        if self.options.tables.is_none() {
            return true;
        }
        let counts = |voters: &Voters| voters.contains(&node);
        let is_of_default =
            self.hosts.values().any(|host| host.configurations().get(&DEFAULT_GROUP).is_some_and(counts));
        !is_of_default && self.is_founded() && self.all_accept()
    }

    /// Sees whether a lost machine has been replaced by now.
    pub(super) fn settle_budget(&mut self) {
        if self.budget.lost().is_some() {
            let in_force = self.in_force();
            self.budget.settle(Sight { now: self.agenda.now(), in_force: &in_force, machines: &self.nodes });
        }
    }

    /// Whether the others are enough without a node whose loss the budget has allowed before.
    fn can_do_without(&self, node: NodeId) -> bool {
        let in_force = self.in_force();
        let sight = Sight { now: self.agenda.now(), in_force: &in_force, machines: &self.nodes };
        budget::margin_without(node, sight).is_ok()
    }

    /// Every configuration that a machine in use acts on or would act on.
    fn in_force(&self) -> Vec<Voters> {
        let hosts = self.nodes.iter().map(|node| &self.hosts[node]);
        let sound = hosts.filter(|host| host.standing == Standing::Sound);
        let mut all: Vec<Voters> = sound.flat_map(|host| host.configurations().into_values()).collect();
        if let (Some(_), Some(map)) = (&self.options.tables, self.newest_map()) {
            all.extend(map.shards().map(|shard| shard.status.voters.clone()).filter(|voters| !voters.is_empty()));
        }
        all.sort();
        all.dedup();
        all
    }

    fn lose(&mut self, node: NodeId) {
        let now = self.agenda.now();
        self.budget.lose(node, self.margin, now);
    }

    /// The power of a machine fails. If its disk had lied, what it promised is gone, and nobody but the world knows.
    pub(super) fn cut_power(&mut self, node: NodeId) {
        let has_lied = self.host(node).has_lied();
        self.end_process(node, End::Power);
        if has_lied {
            self.condemn(node);
        }
    }

    pub(super) fn rot(&mut self, node: NodeId, seed: u32) {
        if self.host(node).rot(u64::from(seed)) {
            self.counts.rot += 1;
            self.lose(node);
        }
    }

    /// A process has started on its log, so if bits of it had turned, they are no longer there.
    pub(super) fn rot_is_gone(&mut self, node: NodeId) {
        let host = self.host(node);
        if host.standing == Standing::Sound && !host.is_lying() {
            let now = self.agenda.now();
            self.budget.recover(node, now);
        }
    }

    /// A log that had been synced is damaged, as it should be only if the world made it so.
    pub(super) fn damaged(&mut self, node: NodeId, error: &str) {
        if self.host(node).rotten.is_some() {
            self.condemn(node);
        } else if self.host(node).take_misread() {
            self.counts.rot_on_read += 1;
            self.end_process(node, End::Process);
            self.supervise(node);
        } else {
            self.find(Check::Recovery, format!("node {node} cannot start: {error}"));
        }
    }

    pub(super) fn wipe(&mut self, node: NodeId) {
        self.counts.wiped += 1;
        self.lose(node);
        self.ledger.logs.excuse(node);
        self.end_process(node, End::Process);
        let founding = self.streams.directories.u64(..);
        self.host(node).wipe(founding);
    }

    pub(super) fn keep_image(&mut self, node: NodeId) {
        let seed = self.streams.disk.u64(..);
        self.host(node).keep_image(seed);
    }

    pub(super) fn roll_back(&mut self, node: NodeId) {
        let Some(image) = self.host(node).image.take() else { return };
        self.counts.rolled_back += 1;
        self.lose(node);
        self.ledger.logs.excuse(node);
        self.end_process(node, End::Process);
        self.put(node, &image);
    }

    fn put(&mut self, node: NodeId, image: &Image) {
        let seed = self.streams.disk.u64(..);
        self.host(node).put(image, seed);
    }

    /// A second machine starts under the node's id.
    pub(super) fn copy(&mut self, node: NodeId) {
        let Some(image) = self.host(node).image.take() else { return };
        self.counts.copied += 1;
        let (origin, clock) = (self.host(node).origin, self.host(node).clock);
        let twin = NodeId(node.get() ^ TWIN);
        let host = self.hosts.entry(twin).or_insert_with(|| Host::new(node, origin, clock, 0));
        if !host.is_up() {
            self.put(twin, &image);
            self.boot(twin);
        }
    }

    pub(super) fn unplug(&mut self, node: NodeId) {
        let twin = NodeId(node.get() ^ TWIN);
        if self.hosts.contains_key(&twin) {
            self.condemn(twin);
        }
    }

    pub(super) fn lose_syncs(&mut self, node: NodeId) {
        self.counts.lost_syncs += 1;
        self.lose(node);
        self.ledger.logs.excuse(node);
        self.host(node).lose_syncs();
    }

    pub(super) fn keep_syncs(&mut self, node: NodeId) {
        let host = self.host(node);
        if host.is_lying() {
            host.keep_syncs();
            if host.standing == Standing::Sound {
                let now = self.agenda.now();
                self.budget.recover(node, now);
            }
        }
    }

    /// A machine is given up: it never starts again, and if it was a member's, the operator hears of it.
    pub(super) fn condemn(&mut self, node: NodeId) {
        if self.host(node).standing == Standing::Condemned {
            return;
        }
        self.end_process(node, End::Process);
        self.host(node).standing = Standing::Condemned;
        if self.nodes.contains(&node) {
            self.counts.condemned += 1;
            self.shared.condemned.insert(node);
            self.rouse_operator();
            if self.options.tables.is_some() {
                self.nodes.retain(|other| *other != node);
            }
        }
    }

    /// A node acts on this configuration of a group from now on.
    pub(super) fn witness_conf(&mut self, node: NodeId, conf: &ConfState) {
        if conf.voters.len() == 1 && conf.voters.contains(&node) {
            self.alone.insert(node);
        }
    }

    fn rouse_operator(&mut self) {
        for (slot, client) in self.clients.iter_mut().enumerate() {
            if let Client::Operator(operator) = client
                && operator.rouse()
            {
                self.agenda.after(Duration::ZERO, Event::News { slot: Slot(slot), news: News::Wake });
            }
        }
    }

    /// The faults are over: what has not been found out yet is given up, and second machines are switched off.
    pub(super) fn condemn_astray(&mut self) {
        for node in self.hosts.keys().copied().collect::<Vec<_>>() {
            if self.host(node).standing == Standing::Astray {
                self.condemn(node);
            }
        }
    }
}
