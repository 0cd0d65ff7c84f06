//! Objects in columns, a table for each kind.

use althing_manifest::{Cluster, Kind, Node, Object, Shard, Table, condition};

use super::words::{self, Names};

/// How much of an object is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// What matters most.
    Usual,
    /// Everything that fits into a column.
    Wide,
}

/// The heads of the columns of a kind.
pub fn heads(kind: Kind, width: Width) -> Vec<&'static str> {
    let (usual, more): (&[&str], &[&str]) = match kind {
        Kind::Cluster => (&["NAME", "META-REPLICAS", "NODE-GRACE", "SETTLED"], &["NEXT-GROUP", "LABELS"]),
        Kind::Node => (
            &["NAME", "STATE", "ZONE", "REPLICAS", "LEADERS", "VERSION"],
            &["ID", "CAPACITY", "CLIENT-URLS", "PEER-URLS", "LABELS"],
        ),
        Kind::Table => {
            (&["NAME", "GUARANTEE", "READY", "SHARDS", "REPLICAS", "SPLIT"], &["REPLICATED", "GENERATION", "LABELS"])
        }
        Kind::Shard => (
            &["NAME", "TABLE", "SLICE", "LEADER", "VOTERS", "KEYS", "BYTES"],
            &["GROUP", "EPOCH", "TERM", "NODES", "LEARNERS", "PHASE", "PARENT"],
        ),
    };
    match width {
        Width::Usual => usual.to_vec(),
        Width::Wide => [usual, more].concat(),
    }
}

/// The cells of an object, one for each head.
pub fn cells(object: &Object, width: Width, names: &Names) -> Vec<String> {
    let (mut usual, more) = match object {
        Object::Cluster(cluster) => of_cluster(cluster),
        Object::Node(node) => of_node(node),
        Object::Table(table) => of_table(table),
        Object::Shard(shard) => of_shard(shard, names),
    };
    match width {
        Width::Usual => usual,
        Width::Wide => {
            usual.extend(more);
            usual
        }
    }
}

type Cells = (Vec<String>, Vec<String>);

fn of_cluster(cluster: &Cluster) -> Cells {
    let usual = vec![
        cluster.name().to_owned(),
        cluster.spec.meta_replicas.to_string(),
        format!("{} s", cluster.spec.node_grace_seconds),
        words::holds(&cluster.status.conditions, condition::SETTLED),
    ];
    (usual, vec![cluster.status.next_group.to_string(), words::labels(&cluster.metadata.labels)])
}

fn of_node(node: &Node) -> Cells {
    let usual = vec![
        node.name().to_owned(),
        words::node_state(node),
        words::or_dash(&node.spec.zone),
        node.status.replicas.to_string(),
        node.status.leaders.to_string(),
        words::or_dash(&node.status.version),
    ];
    let more = vec![
        node.spec.id.to_string(),
        node.spec.capacity.to_string(),
        words::or_dash(&node.spec.client_urls.join(",")),
        words::or_dash(&node.spec.peer_urls.join(",")),
        words::labels(&node.metadata.labels),
    ];
    (usual, more)
}

fn of_table(table: &Table) -> Cells {
    let ready = match table.metadata.life {
        althing_manifest::Life::Kept => words::holds(&table.status.conditions, condition::READY),
        althing_manifest::Life::Deleting => "Deleting".to_owned(),
    };
    let usual = vec![
        table.name().to_owned(),
        table.spec.guarantee.name().to_owned(),
        ready,
        format!("{}/{}", table.status.ready_shards, table.status.shards),
        table.spec.replicas.to_string(),
        table.spec.split.name().to_owned(),
    ];
    let more = vec![
        words::holds(&table.status.conditions, condition::REPLICATED),
        table.metadata.generation.to_string(),
        words::labels(&table.metadata.labels),
    ];
    (usual, more)
}

fn of_shard(shard: &Shard, names: &Names) -> Cells {
    let status = &shard.status;
    let usual = vec![
        shard.name().to_owned(),
        shard.spec.table.clone(),
        words::slice(&shard.spec.slice),
        status.leader.map_or_else(|| "-".to_owned(), |leader| names.name(leader)),
        format!("{}/{}", shard.spec.replicas.intersection(&status.voters).count(), shard.spec.replicas.len()),
        status.keys.to_string(),
        words::bytes(status.bytes),
    ];
    let more = vec![
        shard.spec.group.to_string(),
        status.epoch.to_string(),
        status.term.to_string(),
        names.list(&shard.spec.replicas),
        names.list(&status.learners),
        shard.spec.phase.name().to_owned(),
        shard.spec.parent.map_or_else(|| "-".to_owned(), |parent| parent.to_string()),
    ];
    (usual, more)
}
