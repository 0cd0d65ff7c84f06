//! The edits of one turn. Reconcilers change copies of objects; what differs in the end from what the view has is written.
//!
//! Several reconcilers may change the same object: it is written once, with what all of them want. Each object's write must be
//! safe without those of the others.

use std::collections::BTreeMap;

use althing_manifest::{Claim, Cluster, Kind, Node, Object, Shard, Table, key_of};
use althing_types::{GroupId, Revision};
use bytes::Bytes;

use crate::view::View;
use crate::write::{Guard, Write};

/// Objects that are changed, in the order in which they were first touched.
pub struct Draft<'a> {
    /// What is the case.
    pub view: &'a View,
    touched: usize,
    cluster: Option<(usize, Cluster)>,
    nodes: BTreeMap<String, (usize, Node)>,
    tables: BTreeMap<String, (usize, Table)>,
    shards: BTreeMap<GroupId, (usize, Shard)>,
    guards: BTreeMap<GroupId, Vec<Guard>>,
    created: Vec<(usize, Write)>,
    deleted: BTreeMap<Bytes, (usize, Write)>,
}

impl<'a> Draft<'a> {
    /// No edits.
    pub const fn new(view: &'a View) -> Self {
        Self {
            view,
            touched: 0,
            cluster: None,
            nodes: BTreeMap::new(),
            tables: BTreeMap::new(),
            shards: BTreeMap::new(),
            guards: BTreeMap::new(),
            created: Vec::new(),
            deleted: BTreeMap::new(),
        }
    }

    fn touch(&mut self) -> usize {
        self.touched += 1;
        self.touched
    }

    /// The cluster, to be changed. Given that there is one.
    pub fn cluster(&mut self) -> &mut Cluster {
        let touched = self.touch();
        let made = || self.view.cluster().expect("reconcilers run once there is a cluster").as_ref().clone();
        &mut self.cluster.get_or_insert_with(|| (touched, made())).1
    }

    /// The claim of the cluster as it is changed so far.
    pub fn see_claim(&self) -> Option<&Claim> {
        let edited = self.cluster.as_ref().map(|(_, cluster)| cluster);
        edited.or(self.view.cluster().map(AsRef::as_ref))?.status.claim.as_ref()
    }

    /// A node that is in the view, to be changed.
    pub fn node(&mut self, node: &Node) -> &mut Node {
        let touched = self.touch();
        &mut self.nodes.entry(node.name().to_owned()).or_insert_with(|| (touched, node.clone())).1
    }

    /// A table that is in the view, to be changed.
    pub fn table(&mut self, table: &Table) -> &mut Table {
        let touched = self.touch();
        &mut self.tables.entry(table.name().to_owned()).or_insert_with(|| (touched, table.clone())).1
    }

    /// A shard that is in the view, to be changed.
    pub fn shard(&mut self, shard: &Shard) -> &mut Shard {
        let touched = self.touch();
        &mut self.shards.entry(shard.spec.group).or_insert_with(|| (touched, shard.clone())).1
    }

    /// A shard as it is changed so far.
    pub fn see_shard<'b>(&'b self, shard: &'b Shard) -> &'b Shard {
        self.shards.get(&shard.spec.group).map_or(shard, |(_, edited)| edited)
    }

    /// What is changed about a shard is changed only if another shard is still as it is in the view.
    pub fn require(&mut self, shard: &Shard, other: &Shard) {
        let guard = Guard::of(Kind::Shard, other.name(), other.revision());
        self.guards.entry(shard.spec.group).or_default().push(guard);
    }

    /// A new object.
    pub fn create(&mut self, object: impl Into<Object>, guards: Vec<Guard>) {
        let mut object = object.into();
        object.metadata_mut().generation = 1;
        let (key, value) = (Bytes::from(object.key()), Some(Bytes::from(object.to_stored())));
        let touched = self.touch();
        self.created.push((touched, Write { key, expected: Revision(0), value, guards }));
    }

    /// An object that goes, whatever else it was to become.
    pub fn delete(&mut self, kind: Kind, name: &str, revision: Revision) {
        let touched = self.touch();
        let key = Bytes::from(key_of(kind, name));
        self.deleted.insert(key.clone(), (touched, Write { key, expected: revision, value: None, guards: Vec::new() }));
    }

    /// The writes, at most so many: those of the objects that were touched first.
    pub fn finish(mut self, most: usize, out: &mut Vec<Write>) {
        let view = self.view;
        let mut writes = self.created;
        if let (Some((order, new)), Some(old)) = (self.cluster, view.cluster()) {
            writes.extend((new != **old).then(|| (order, change(old.revision(), new))));
        }
        for (name, (order, new)) in self.nodes {
            let Some(old) = view.node_named(&name) else { continue };
            writes.extend((new != **old).then(|| (order, change(old.revision(), new))));
        }
        for (name, (order, new)) in self.tables {
            let Some(old) = view.table(&name) else { continue };
            writes.extend((new != **old).then(|| (order, change(old.revision(), new))));
        }
        for (group, (order, new)) in self.shards {
            let Some(old) = view.shard(group) else { continue };
            let guards = self.guards.remove(&group).unwrap_or_default();
            let write = || Write { guards, ..change(old.revision(), new.clone()) };
            writes.extend((new != **old).then(|| (order, write())));
        }
        writes.retain(|(_, write)| !self.deleted.contains_key(&write.key));
        writes.extend(self.deleted.into_values());
        writes.sort_by_key(|(order, _)| *order);
        out.extend(writes.into_iter().map(|(_, write)| write).take(most));
    }
}

fn change(expected: Revision, object: impl Into<Object>) -> Write {
    let object = object.into();
    let value = Some(Bytes::from(object.to_stored()));
    Write { key: Bytes::from(object.key()), expected, value, guards: Vec::new() }
}
