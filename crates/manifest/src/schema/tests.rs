use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::object::Object;
use crate::{
    Claim, Cluster, ClusterSpec, Condition, Node, NodeSpec, Shard, ShardSpec, Slice, SplitClaim, Table, TableSpec,
    Truth, shard,
};

/// Objects in which no field is left out, and of which there is one for each choice between fields.
fn full() -> Vec<Object> {
    let condition = || vec![Condition::new("Ready", Truth::False, "Why", "because")];
    let mut cluster = Cluster::new("cluster", ClusterSpec::default());
    cluster.status.claim = Some(Claim {
        table: "a".to_owned(),
        first: 17,
        count: 2,
        split: Some(SplitClaim { parent: althing_types::GroupId(16), at: b"m".to_vec() }),
    });
    cluster.status.conditions = condition();
    let mut node = Node::new("n1", NodeSpec::new(althing_types::NodeId(1)));
    node.status.conditions = condition();
    let mut table = Table::new(
        "a",
        TableSpec {
            split_bytes: Some(1),
            read_level: Some(althing_quorum::Level::One),
            write_level: Some(althing_quorum::Level::All),
            conditional: crate::table::Conditional::Paxos,
            redis_db: Some(1),
            ..TableSpec::default()
        },
    );
    table.status.conditions = condition();
    let slices =
        [Slice::part(0, 1), Slice::Range(shard::RangeSlice { start: b"a".to_vec(), end: Some(b"b".to_vec()) })];
    let shards = slices.map(|slice| {
        let one = || [althing_types::NodeId(1)].into();
        let spec = ShardSpec {
            table: "a".to_owned(),
            group: althing_types::GroupId(16),
            slice,
            replicas: one(),
            leader: Some(althing_types::NodeId(1)),
            phase: crate::Phase::Serving,
            parent: Some(althing_types::GroupId(15)),
        };
        let mut shard = Shard::new("a-16", spec);
        shard.status.learners = one();
        shard.status.leader = Some(althing_types::NodeId(1));
        shard.status.conditions = condition();
        shard.into()
    });
    let mut all = vec![cluster.into(), node.into(), table.into()];
    all.extend(shards);
    for object in &mut all {
        let metadata: &mut crate::Metadata = Object::metadata_mut(object);
        metadata.generation = 1;
        metadata.resource_version = althing_types::Revision(1);
        metadata.life = crate::Life::Deleting;
        metadata.labels.insert("a".to_owned(), "b".to_owned());
    }
    all
}

fn paths(kind: Kind, path: &str, value: &Value, found: &mut BTreeSet<(Kind, String)>) {
    match value {
        Value::Object(map) if !path.ends_with("labels") => {
            for (name, value) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                found.insert((kind, path.clone()));
                paths(kind, &path, value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(kind, path, item, found)),
        _ => {}
    }
}

#[test]
fn the_table_of_fields_has_exactly_the_fields_that_objects_have() {
    let mut found = BTreeSet::new();
    for object in full() {
        let value = serde_json::to_value(&object).expect("objects are JSON");
        paths(object.kind(), "", &value, &mut found);
    }
    let described = Kind::ALL.into_iter().flat_map(|kind| fields(kind).map(move |field| (kind, field.path.to_owned())));
    assert_eq!(described.collect::<BTreeSet<_>>(), found);
}

#[test]
fn every_default_that_is_described_is_the_one_that_is_taken() {
    let made = [
        Object::from(Cluster::new("cluster", ClusterSpec::default())),
        Node::new("n1", NodeSpec::new(althing_types::NodeId(1))).into(),
        Table::new("a", TableSpec::default()).into(),
    ];
    for object in made {
        let value = serde_json::to_value(&object).expect("objects are JSON");
        for field in fields(object.kind()) {
            let Default::Value(default) = field.default else { continue };
            let pointer = format!("/{}", field.path.replace('.', "/"));
            let Some(found) = value.pointer(&pointer) else { continue };
            let found = found.as_str().filter(|text| !text.is_empty()).map_or_else(|| found.to_string(), str::to_owned);
            assert_eq!(found, default, "{}", field.path);
        }
    }
}

#[test]
fn the_nearest_word_is_near() {
    assert_eq!(nearest("shard", ["shards", "status"].into_iter()), Some("shards"));
    assert_eq!(nearest("Relpicas", ["replicas", "split"].into_iter()), Some("replicas"));
    assert_eq!(nearest("colour", ["replicas", "split"].into_iter()), None);
}
