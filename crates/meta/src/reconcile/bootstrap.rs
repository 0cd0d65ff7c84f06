//! The first objects of a cluster: its nodes, the tables `default` and `meta` with their shards, and last the cluster itself.
//!
//! While there is no object of the cluster, whatever of the others is missing is made. Once there is, nothing here happens ever
//! again: what is missing then was deleted.

use std::collections::BTreeSet;

use althing_manifest::{
    Cluster, ClusterSpec, DEFAULT_GROUP, META_GROUP, Node, NodeSpec, Shard, ShardSpec, Slice, Table, TableSpec,
    cluster, shard, table,
};
use althing_types::{GroupId, NodeId};

use super::draft::Draft;

/// A node of the cluster's first ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Founder {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where other nodes reach it, as URLs.
    pub peer_urls: Vec<String>,
    /// Where clients reach it, as URLs.
    pub client_urls: Vec<String>,
    /// Where it stands.
    pub zone: String,
}

/// Makes what is missing of the first objects.
pub fn bootstrap(draft: &mut Draft<'_>, founders: &[Founder]) {
    let mut is_complete = true;
    let ids: BTreeSet<NodeId> = founders.iter().map(|founder| founder.id).collect();
    for founder in founders.iter().filter(|founder| draft.view.node_named(&founder.name).is_none()) {
        is_complete = false;
        draft.create(node(founder), Vec::new());
    }
    for (name, group) in [(table::DEFAULT, DEFAULT_GROUP), (table::META, META_GROUP)] {
        if draft.view.table(name).is_none() {
            is_complete = false;
            draft.create(Table::new(name, table_spec(founders.len())), Vec::new());
        }
        if draft.view.shard(group).is_none() {
            is_complete = false;
            draft.create(first_shard(name, group, &ids), Vec::new());
        }
    }
    if is_complete {
        draft.create(Cluster::new(cluster::NAME, ClusterSpec::default()), Vec::new());
    }
}

fn node(founder: &Founder) -> Node {
    let spec = NodeSpec {
        peer_urls: founder.peer_urls.clone(),
        client_urls: founder.client_urls.clone(),
        zone: founder.zone.clone(),
        ..NodeSpec::new(founder.id)
    };
    Node::new(&founder.name, spec)
}

/// Of the numbers that a table may have the greatest that the founders can hold.
fn table_spec(founders: usize) -> TableSpec {
    let replicas = [7, 5, 3, 1].into_iter().find(|count| *count as usize <= founders).unwrap_or(1);
    TableSpec { replicas, ..TableSpec::default() }
}

/// The groups of the founders have been there since the beginning, with all of them as voters.
fn first_shard(name: &str, group: GroupId, ids: &BTreeSet<NodeId>) -> Shard {
    let spec = ShardSpec {
        table: name.to_owned(),
        group,
        slice: Slice::part(0, 1),
        replicas: ids.clone(),
        leader: None,
        phase: althing_manifest::Phase::Serving,
        parent: None,
    };
    Shard::new(&shard::name_of(name, group), spec)
}
