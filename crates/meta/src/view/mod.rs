//! The view: all objects of the control plane, as one node knows them. As far as it says where keys are, it is *the map*.
//!
//! ```text
//!   the table `meta` ──put──► View ──update_since──► wire, log ──take──► View of another node
//!                                                    WrongShard ──adopt──►
//! ```
//!
//! A node with a replica of meta puts every change of the table `meta` into its view as it is applied. Every other node is
//! pushed [`Update`]s: what has changed since the revision that it has, or everything. A view stands at a revision and is
//! complete up to it. Beyond that it may know single shards, which it has [adopted](View::adopt) from a node that was
//! ahead; they are overtaken when the view gets there.

mod routes;
mod store;
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use althing_manifest::{Cluster, Kind, Node, Object, Phase, Shard, Table, Unreadable, parse_key};
use althing_types::{GroupId, NodeId, Revision};
use bytes::Bytes;

use routes::Routes;
pub use store::MAX_TOMBSTONES;
use store::Store;
pub use update::{Entry, Gone, Scope, Taken, Update};

/// Bytes of all objects at the most, so that a whole update fits into one frame between nodes: some 16,000 shards. Beyond it
/// the reconcilers make no more shards.
pub const MAX_VIEW_BYTES: usize = 12 * 1024 * 1024;

const _: () = assert!(MAX_VIEW_BYTES + MAX_VIEW_BYTES / 4 < althing_types::limits::MAX_FRAME_BYTES);

/// All objects of the control plane, as one node knows them.
///
/// * To fill it: [`View::put`], [`View::take`], [`View::adopt`].
/// * To pass it on: [`View::update_since`], [`View::entry`].
/// * To find things: [`View::locate`], [`View::shard`], [`View::node`], [`View::table`] and their lists.
#[derive(Clone, Debug, Default)]
pub struct View {
    revision: Revision,
    store: Store,
    cluster: Option<Arc<Cluster>>,
    nodes: BTreeMap<String, Arc<Node>>,
    node_names: BTreeMap<NodeId, String>,
    tables: BTreeMap<String, Arc<Table>>,
    shards: BTreeMap<GroupId, Arc<Shard>>,
    /// Pairs of a parent and a child that is filled from it.
    children: BTreeSet<(GroupId, GroupId)>,
    routes: BTreeMap<String, Routes>,
    unreadable: BTreeMap<Bytes, Unreadable>,
}

impl View {
    /// A view of nothing, at revision zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The revision up to which it is complete.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Bytes of all objects, keys included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// A change of the table `meta`: at this revision the key got this value, or none any more. Changes come in the order of
    /// their revisions; those that the view has already are passed over. Keys that are no object's only move the revision.
    ///
    /// A value that cannot be read takes the object away from the lists and is kept for [`View::unreadable`] and for others,
    /// who may be able to read it.
    pub fn put(&mut self, revision: Revision, key: &[u8], value: Option<Bytes>) {
        self.write(revision, key, value);
        self.revision = self.revision.max(revision);
    }

    /// The same without moving the view's own revision.
    fn write(&mut self, revision: Revision, key: &[u8], value: Option<Bytes>) {
        let Some((kind, name)) = parse_key(key) else { return };
        if self.store.revision_of(key) >= revision {
            return;
        }
        self.forget(kind, name, key);
        let key = Bytes::copy_from_slice(key);
        if let Some(value) = &value {
            match Object::from_stored(kind, revision, value) {
                Ok(object) => self.learn(object),
                Err(error) => {
                    self.unreadable.insert(key.clone(), error);
                }
            }
        }
        self.store.write(revision, key, value);
    }

    /// Takes what is known under a key out of the lists.
    fn forget(&mut self, kind: Kind, name: &str, key: &[u8]) {
        self.unreadable.remove(key);
        match kind {
            Kind::Cluster => self.cluster = self.cluster.take().filter(|cluster| cluster.name() != name),
            Kind::Node => {
                if let Some(node) = self.nodes.remove(name) {
                    self.forget_id(&node);
                }
            }
            Kind::Table => {
                self.tables.remove(name);
            }
            Kind::Shard => {
                let Some(group) = self.store.group_at(key) else { return };
                let shard = self.shards.get(&group).filter(|shard| shard.name() == name).cloned();
                if let Some(shard) = shard {
                    self.forget_shard(&shard);
                }
            }
        }
    }

    /// Another node's object may have taken the id over meanwhile.
    fn forget_id(&mut self, node: &Node) {
        if self.node_names.get(&node.spec.id).is_some_and(|name| name == node.name()) {
            self.node_names.remove(&node.spec.id);
        }
    }

    fn forget_shard(&mut self, shard: &Shard) {
        let group = shard.spec.group;
        self.shards.remove(&group);
        if let Some(parent) = shard.spec.parent {
            self.children.remove(&(parent, group));
        }
        self.unroute(shard);
        self.route_children(group);
    }

    fn learn_shard(&mut self, shard: Arc<Shard>) {
        let group = shard.spec.group;
        self.store.note_group(shard.name(), group);
        self.shards.insert(group, Arc::clone(&shard));
        match (shard.spec.phase, shard.spec.parent) {
            (Phase::Filling, Some(parent)) => {
                self.children.insert((parent, group));
            }
            (Phase::Filling, None) | (Phase::Serving | Phase::Retiring, _) => {}
        }
        self.route(&shard);
        self.route_children(group);
    }

    /// Whether requests for its keys go to a shard. Those of a shard that is being split go to the shard as long as it is in its
    /// phase of serving, and then to its children: so the one write that changes that phase moves all keys at once.
    fn is_visible(&self, shard: &Shard) -> bool {
        let serves = |parent: &Arc<Shard>| match parent.spec.phase {
            Phase::Serving => parent.spec.table == shard.spec.table,
            Phase::Filling | Phase::Retiring => false,
        };
        match shard.spec.phase {
            Phase::Serving => true,
            Phase::Filling => !shard.spec.parent.and_then(|parent| self.shards.get(&parent)).is_some_and(serves),
            Phase::Retiring => false,
        }
    }

    fn route(&mut self, shard: &Arc<Shard>) {
        if self.is_visible(shard) {
            self.routes.entry(shard.spec.table.clone()).or_default().insert(shard);
        }
    }

    /// A shard has changed, and with it whether its children can be seen.
    fn route_children(&mut self, parent: GroupId) {
        let children: Vec<Arc<Shard>> = self.children(parent).cloned().collect();
        for child in children {
            self.unroute(&child);
            self.route(&child);
        }
    }

    fn unroute(&mut self, shard: &Shard) {
        let Some(routes) = self.routes.get_mut(&shard.spec.table) else { return };
        routes.remove(shard);
        if routes.is_empty() {
            self.routes.remove(&shard.spec.table);
        }
    }

    /// Puts an object into the lists.
    fn learn(&mut self, object: Object) {
        match object {
            Object::Cluster(cluster) => self.cluster = Some(Arc::new(cluster)),
            Object::Node(node) => {
                self.node_names.insert(node.spec.id, node.name().to_owned());
                self.nodes.insert(node.name().to_owned(), Arc::new(node));
            }
            Object::Table(table) => {
                self.tables.insert(table.name().to_owned(), Arc::new(table));
            }
            Object::Shard(shard) => {
                self.learn_shard(Arc::new(shard));
            }
        }
    }

    /// The shard that holds a key of a table. `None` if there is no such table, or no shard that serves the key (yet, or any
    /// more). One step for a table that is split by hash, a binary search for one that is split by range.
    #[must_use]
    pub fn locate(&self, table: &str, key: &[u8]) -> Option<&Arc<Shard>> {
        self.routes.get(table)?.locate(key)
    }

    /// The shards of a table that hold keys from `start` to `end` (`None`: to the last), in the order of their slices: all of
    /// them for a table that is split by hash.
    pub fn locate_range<'a>(
        &'a self,
        table: &str,
        start: &'a [u8],
        end: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a Arc<Shard>> {
        self.routes.get(table).into_iter().flat_map(move |routes| routes.overlapping(start, end))
    }

    /// The shard of a group.
    #[must_use]
    pub fn shard(&self, group: GroupId) -> Option<&Arc<Shard>> {
        self.shards.get(&group)
    }

    /// The shards that are filled from a parent: those that name it and are in the phase of filling, by group.
    pub fn children(&self, parent: GroupId) -> impl Iterator<Item = &Arc<Shard>> {
        let pairs = self.children.range((parent, GroupId(0))..=(parent, GroupId(u64::MAX)));
        pairs.filter_map(|(_, child)| self.shards.get(child))
    }

    /// The groups of shards that others are filled from.
    pub fn parents(&self) -> impl Iterator<Item = GroupId> {
        let next = |known: Option<GroupId>| {
            let from = known.map_or(Bound::Unbounded, |known| Bound::Excluded((known, GroupId(u64::MAX))));
            self.children.range((from, Bound::Unbounded)).next().map(|(parent, _)| *parent)
        };
        std::iter::successors(next(None), move |known| next(Some(*known)))
    }

    /// Whether a group has no shard and never will have one (again). Ids are handed out in order, and a shard is made only of an
    /// id that the cluster's object claims at that moment: so it is the case if the id was handed out and nobody claims it.
    ///
    /// It does not matter how old the view is, nor that a replica of the group may have been made by somebody who knew more:
    /// by an adopted entry, or by a map of which the log has no copy. While there are objects that cannot be read, nothing is
    /// said of any group: one of them may be its shard.
    #[must_use]
    pub fn is_spent(&self, group: GroupId) -> bool {
        let Some(status) = self.cluster.as_ref().map(|cluster| &cluster.status) else { return false };
        let is_claimed = status.claim.as_ref().is_some_and(|claim| claim.holds(group));
        let is_over = group.get() < status.next_group && !is_claimed;
        is_over && !self.shards.contains_key(&group) && self.unreadable.is_empty()
    }

    /// Whether requests for its keys go to the shard of a group.
    #[must_use]
    pub fn is_routed(&self, group: GroupId) -> bool {
        self.shards.get(&group).is_some_and(|shard| self.is_visible(shard))
    }

    /// All shards, by group.
    pub fn shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.shards.values()
    }

    /// The node of an id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(self.node_names.get(&id)?)
    }

    /// The node of a name.
    #[must_use]
    pub fn node_named(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// The table of a name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }

    /// All tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// The cluster's object, once it is made.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// Objects whose values this version of the program cannot read, by key. While there are any, reconcilers rest.
    #[must_use]
    pub const fn unreadable(&self) -> &BTreeMap<Bytes, Unreadable> {
        &self.unreadable
    }
}

#[cfg(test)]
mod tests;
