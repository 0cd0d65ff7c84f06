//! A toy world around the reconcilers: a table `meta` that is a map with revisions, nodes with maps of their own that lag, and
//! groups that take one step at a time towards what is wanted of them.

mod group;
mod rules;
mod split;

use std::collections::{BTreeMap, BTreeSet};

use althing_manifest::{Admitted, Deletion, Kind, Node, NodeSpec, Object, Schedule, admit, admit_deletion, key_of};
use althing_meta::{Founder, Reconciler, Report, Reports, Update, View, Write};
use althing_types::{Duration, GroupId, Instant, NodeId, Revision};
use bytes::Bytes;
use fastrand::Rng;

pub use group::Group;
pub use split::{Content, SPLIT_BYTES};

/// How far a tick moves the clock.
const TICK: Duration = Duration::from_secs(2);

/// A node.
pub struct Process {
    pub id: NodeId,
    pub name: String,
    pub zone: String,
    pub is_up: bool,
    pub map: View,
    pub holds: BTreeSet<GroupId>,
}

/// How writes reach the table `meta`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// All of a turn, in order.
    Whole,
    /// One, and then the reconciler is a new one.
    OneAndDie,
    /// Any of two reconcilers' writes that were decided upon the same view, in any order.
    Race,
}

pub struct World {
    pub rng: Rng,
    pub now: Instant,
    pub view: View,
    pub reports: Reports,
    pub processes: BTreeMap<NodeId, Process>,
    pub groups: BTreeMap<GroupId, Group>,
    pub used: BTreeSet<GroupId>,
    pub writes: usize,
    /// What clients have written to tables that are split by range.
    pub written: BTreeMap<String, BTreeSet<Vec<u8>>>,
    revisions: BTreeMap<Bytes, Revision>,
    founders: Vec<Founder>,
    reconcilers: [Reconciler; 2],
}

impl World {
    /// A world of so many founders in so many zones.
    pub fn new(seed: u64, founders: u64, zones: u64) -> Self {
        let founder = |id| Founder {
            id: NodeId(id),
            name: format!("n{id}"),
            peer_urls: vec![format!("http://n{id}:2380")],
            client_urls: Vec::new(),
            zone: format!("z{}", id % zones),
        };
        let founders: Vec<Founder> = (1..=founders).map(founder).collect();
        let fresh = || Reconciler::new(founders.clone());
        let mut world = Self {
            rng: Rng::with_seed(seed),
            now: Instant::ZERO,
            view: View::new(),
            reports: Reports::new(Instant::ZERO),
            processes: BTreeMap::new(),
            groups: BTreeMap::new(),
            used: BTreeSet::new(),
            writes: 0,
            written: BTreeMap::new(),
            revisions: BTreeMap::new(),
            reconcilers: [fresh(), fresh()],
            founders: founders.clone(),
        };
        for founder in &founders {
            world.process(founder.id, &founder.zone);
        }
        let all: BTreeSet<NodeId> = founders.iter().map(|founder| founder.id).collect();
        for group in [1, 2].map(GroupId) {
            world.groups.insert(group, Group::founded(all.clone(), Content::default()));
            world.processes.values_mut().for_each(|process| {
                process.holds.insert(group);
            });
        }
        world
    }

    fn process(&mut self, id: NodeId, zone: &str) {
        let process = Process {
            id,
            name: format!("n{}", id.get()),
            zone: zone.to_owned(),
            is_up: true,
            map: View::new(),
            holds: BTreeSet::new(),
        };
        self.processes.insert(id, process);
    }

    /// A further node joins, as `--join` does it.
    pub fn join(&mut self, id: u64, zone: &str) {
        let id = NodeId(id);
        self.process(id, zone);
        let spec = NodeSpec {
            peer_urls: vec![format!("http://n{}:2380", id.get())],
            zone: zone.to_owned(),
            ..NodeSpec::new(id)
        };
        self.apply_object(Node::new(&format!("n{}", id.get()), spec).into());
    }

    /// What a user applies. Refusals are part of life.
    pub fn apply_object(&mut self, wanted: Object) {
        let stored = self.object(wanted.kind(), wanted.name());
        match admit(stored.as_ref(), wanted) {
            Ok(Admitted::Created(object)) => self.store(&object, Revision(0)),
            Ok(Admitted::Changed(object)) => {
                let revision = object.metadata().resource_version;
                self.store(&object, revision);
            }
            Ok(Admitted::Unchanged) | Err(_) => {}
        }
    }

    pub fn delete_object(&mut self, kind: Kind, name: &str) {
        let Some(stored) = self.object(kind, name) else { return };
        if kind == Kind::Table {
            self.written.remove(name);
        }
        match admit_deletion(&stored) {
            Ok(Deletion::Remove) => {
                let key = Bytes::from(key_of(kind, name));
                self.write(&Write {
                    key,
                    expected: stored.metadata().resource_version,
                    value: None,
                    guards: Vec::new(),
                });
            }
            Ok(Deletion::Mark(object)) => self.store(&object, stored.metadata().resource_version),
            Ok(Deletion::Marked) | Err(_) => {}
        }
    }

    fn store(&mut self, object: &Object, expected: Revision) {
        let (key, value) = (Bytes::from(object.key()), Some(Bytes::from(object.to_stored())));
        assert!(self.write(&Write { key, expected, value, guards: Vec::new() }), "nobody was between");
    }

    pub fn object(&self, kind: Kind, name: &str) -> Option<Object> {
        match kind {
            Kind::Cluster => self.view.cluster().map(|found| Object::Cluster(found.as_ref().clone())),
            Kind::Node => self.view.node_named(name).map(|found| Object::Node(found.as_ref().clone())),
            Kind::Table => self.view.table(name).map(|found| Object::Table(found.as_ref().clone())),
            Kind::Shard => None,
        }
    }

    pub fn schedule(&mut self, id: NodeId, schedule: Schedule) {
        let Some(node) = self.view.node(id) else { return };
        let mut node = node.as_ref().clone();
        node.spec.schedule = schedule;
        self.apply_object(node.into());
    }

    /// Does a write if nothing that it compares has changed.
    pub fn write(&mut self, write: &Write) -> bool {
        let revision = |key: &Bytes| self.revisions.get(key).copied().unwrap_or_default();
        if write.compares().any(|(key, expected)| revision(key) != expected) {
            return false;
        }
        self.check_write(write);
        let next = self.view.revision().next();
        self.view.put(next, &write.key, write.value.clone());
        match write.value {
            Some(_) => self.revisions.insert(write.key.clone(), next),
            None => self.revisions.remove(&write.key),
        };
        assert_eq!(self.view.unreadable().len(), 0, "{:?}", self.view.unreadable());
        self.writes += 1;
        self.check_view(&self.view);
        true
    }

    /// One reconciler's turn, and the writes as they are delivered. Whether there were any.
    pub fn turn(&mut self, delivery: Delivery) -> bool {
        let mut out = Vec::new();
        self.reconcilers[0].turn(self.now, &self.view, &self.reports, &mut out);
        let had_any = !out.is_empty();
        match delivery {
            Delivery::Whole => {}
            Delivery::OneAndDie if had_any => {
                out.truncate(1);
                self.reconcilers[0] = Reconciler::new(self.founders.clone());
            }
            Delivery::OneAndDie => {}
            Delivery::Race => {
                self.reconcilers[1].turn(self.now, &self.view, &self.reports, &mut out);
                self.rng.shuffle(&mut out);
                let kept = self.rng.usize(0..=out.len());
                out.truncate(kept);
            }
        }
        for write in &out {
            let is_done = self.write(write);
            assert!(is_done || delivery == Delivery::Race || !write.guards.is_empty(), "{write:?}");
        }
        had_any
    }

    /// The leader of meta is another one: what was heard is lost.
    pub fn change_meta_leader(&mut self) {
        self.reports = Reports::new(self.now);
        self.reconcilers = [(); 2].map(|()| Reconciler::new(self.founders.clone()));
    }

    /// Time passes: maps travel, groups take a step, nodes report. `lag` in a hundred of these do not happen.
    pub fn tick(&mut self, lag: u32) {
        self.now += TICK;
        let ids: Vec<NodeId> = self.processes.keys().copied().collect();
        for id in &ids {
            if self.processes[id].is_up && self.rng.u32(0..100) >= lag {
                self.push_map(*id);
                self.open_and_drop(*id);
            }
        }
        self.note_wishes();
        self.step_groups(lag);
        for id in ids {
            if self.processes[&id].is_up && self.rng.u32(0..100) >= lag {
                let report = self.report(id);
                let report = Report::decode(report.encode()).expect("what was written can be read");
                self.reports.hear(self.now, id, report);
            }
        }
    }

    fn push_map(&mut self, id: NodeId) {
        let process = self.processes.get_mut(&id).expect("it is there");
        if let Some(update) = self.view.update_since(process.map.revision()) {
            let update = Update::decode(update.encode()).expect("what was written can be read");
            process.map.take(&update);
            self.check_view(&self.processes[&id].map);
        }
    }

    fn report(&self, id: NodeId) -> Report {
        let process = &self.processes[&id];
        let told = |group: &GroupId| (*group, self.groups[group].report_of(id, *group, &process.map));
        Report {
            name: process.name.clone(),
            peer_urls: vec![format!("http://{}:2380", process.name)],
            client_urls: Vec::new(),
            zone: process.zone.clone(),
            version: "1".to_owned(),
            groups: process.holds.iter().map(told).collect(),
        }
    }

    pub fn is_up(&self, id: NodeId) -> bool {
        self.processes.get(&id).is_some_and(|process| process.is_up)
    }
}
