use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Guarantee, Phase, Schedule, Split};

fn mistakes(value: Value) -> String {
    Object::from_value(value).map_or_else(|mistakes| mistakes.to_string(), |object| format!("{object:?} is right"))
}

fn table(spec: Value) -> Value {
    json!({"apiVersion": "althing/v1", "kind": "Table", "metadata": {"name": "orders"}, "spec": spec})
}

#[test]
fn what_is_left_out_has_its_default() {
    let Ok(Object::Table(found)) = Object::from_value(table(json!({"shards": 64}))) else { panic!("it is right") };
    assert_eq!((found.spec.shards, found.spec.replicas), (64, 3));
    assert_eq!(
        (found.spec.guarantee, found.spec.split, found.spec.split_bytes),
        (Guarantee::Strong, Split::Hash, None)
    );
    let Ok(Object::Table(found)) = Object::from_value(table(json!({"split": "range"}))) else { panic!("it is right") };
    assert_eq!(found.spec.split_bytes, Some(64 * 1024 * 1024));
}

#[test]
fn null_is_left_out_and_so_may_the_spec_be() {
    let value =
        json!({"apiVersion": "althing/v1", "kind": "Table", "metadata": {"name": "a", "labels": null}, "status": null});
    assert!(Object::from_value(value).is_ok());
    assert!(Object::from_value(table(json!({"shards": null}))).is_ok());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let value = json!({
        "apiVersion": "v1",
        "kind": "Table",
        "metadata": {"name": "Orders!", "label": {}},
        "spec": {"guarantee": "stream", "shard": 64, "replicas": 4, "split": "hsah", "splitBytes": "1G"},
    });
    assert_eq!(
        mistakes(value).lines().collect::<Vec<_>>(),
        [
            "apiVersion: \"v1\" is not \"althing/v1\"; change it",
            "metadata.label: {} is in a field that a Table does not have; did you mean labels?",
            "metadata.name: \"Orders!\" is not 1 to 63 lower-case letters, digits and hyphens, with no hyphen first or last; \
             change it",
            "spec.replicas: 4 is not 1, 3, 5 or 7; change it, or leave it out for 3",
            "spec.shard: 64 is in a field that a Table does not have; did you mean shards?",
            "spec.split: \"hsah\" is not \"hash\" or \"range\"; did you mean \"hash\"?",
            "spec.splitBytes: \"1G\" is not a whole number from 16384 to 68719476736; change it, or leave it out for 67108864 if \
             split is range",
            "spec.guarantee: \"stream\" is not built yet; this version has \"strong\", \"convergent\"",
        ]
    );
}

#[test]
fn rules_between_fields_are_told() {
    assert_eq!(
        mistakes(table(json!({"split": "range", "shards": 4}))),
        "spec.shards: 4 cannot be chosen for a table that is split by range, which begins with 1 and finds its own number; \
         leave it out"
    );
    assert_eq!(
        mistakes(table(json!({"splitBytes": 65536}))),
        "spec.splitBytes: 65536 has no meaning for a table that is split by hash; leave it out, or set spec.split to \"range\""
    );
}

#[test]
fn what_is_no_object_is_told_so() {
    let parse = |text: &str| Object::parse(text.as_bytes()).expect_err("it is wrong").to_string();
    assert_eq!(parse("[]"), "[] is not an object; write apiVersion, kind, metadata and spec");
    assert_eq!(parse("{}"), "kind: is missing; set it to one of Cluster, Node, Table, Shard");
    assert_eq!(parse(r#"{"kind": "tabel"}"#), "kind: \"tabel\" is not a kind of object; did you mean Table?");
    assert!(parse("{").starts_with("the input is not JSON: EOF while parsing"));
    assert_eq!(
        parse(r#"{"kind": "Node", "metadata": {"name": "n 1"}}"#),
        "metadata.name: \"n 1\" is not 1 to 64 letters, digits, '-', '_' and '.'; change it\n\
         apiVersion: is missing; set it to \"althing/v1\""
    );
    let long = format!("{:?}", "x".repeat(MAX_OBJECT_BYTES));
    assert_eq!(parse(&long), "the object has 65538 bytes, and 65536 are allowed; make it smaller");
}

#[test]
fn a_node_is_read_with_its_addresses() {
    let node =
        |spec: Value| json!({"apiVersion": "althing/v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": spec});
    let Ok(Object::Node(found)) =
        Object::from_value(node(json!({"id": "1f", "peerUrls": ["http://h:1"], "schedule": "drain"})))
    else {
        panic!("it is right")
    };
    assert_eq!((found.spec.id.get(), found.spec.schedule, found.spec.capacity), (0x1f, Schedule::Drain, 100));
    assert_eq!(
        mistakes(node(json!({"id": "0", "clientUrls": ["h:1"]}))),
        "spec.clientUrls: [\"h:1\"] is not a list of addresses that begin with http:// or https://; change it, or leave it out \
         for []\n\
         spec.id: \"0\" is not a node's id: 1 to 16 hexadecimal digits in quotes, not zero; change it"
    );
}

#[test]
fn a_shard_is_checked_between_its_fields() {
    let shard = |slice: Value| {
        json!({"apiVersion": "althing/v1", "kind": "Shard", "metadata": {"name": "a-16"},
               "spec": {"table": "a", "group": 17, "slice": slice}})
    };
    assert_eq!(
        mistakes(shard(json!({"hash": {"index": 2, "of": 2}}))),
        "metadata.name: \"a-16\" is not the name of a shard of this table and group; it is \"a-17\"\n\
         spec.slice.hash.index: 2 is not below 2; the first part has index 0"
    );
    assert_eq!(
        mistakes(shard(json!({"range": {"start": "b%00", "end": "b"}}))).lines().last(),
        Some("spec.slice.range.end: \"b\" is not above the start; a range holds some key")
    );
    assert!(mistakes(shard(json!({}))).starts_with("the object cannot be read: "));
}

#[test]
fn what_is_stored_is_read_strictly() {
    let object = Object::from_value(table(json!({}))).expect("it is right");
    let stored = object.to_stored();
    assert_eq!(Object::from_stored(Kind::Table, althing_types::Revision(0), &stored), Ok(object));
    let text = String::from_utf8(stored).expect("JSON is");
    let read = |kind, text: &str| Object::from_stored(kind, althing_types::Revision(7), text.as_bytes());
    assert!(read(Kind::Node, &text).is_err());
    assert!(read(Kind::Table, &text.replace("althing/v1", "althing/v2")).is_err());
    let newer = text.replace("\"shards\"", "\"colour\":1,\"shards\"");
    let error = read(Kind::Table, &newer).expect_err("it is from another version").to_string();
    assert!(error.starts_with("what is stored as a Table cannot be read: unknown field `colour`"), "{error}");
    assert_eq!(read(Kind::Table, &text).expect("it is right").metadata().resource_version.get(), 7);
}

#[test]
fn the_json_of_an_object_stays_as_it_is() {
    let object = Object::from_value(table(json!({"shards": 2}))).expect("it is right");
    assert_eq!(
        String::from_utf8(object.to_json()).expect("JSON is"),
        r#"{"apiVersion":"althing/v1","kind":"Table","metadata":{"name":"orders"},"spec":{"guarantee":"strong","shards":2,"replicas":3,"split":"hash"},"status":{"observedGeneration":0,"shards":0,"readyShards":0}}"#
    );
    let spec = crate::ShardSpec {
        table: "t".to_owned(),
        group: crate::META_GROUP,
        slice: crate::Slice::Range(crate::shard::RangeSlice { start: b"a\xff".to_vec(), end: None }),
        replicas: [althing_types::NodeId(0xab)].into(),
        leader: None,
        phase: Phase::Serving,
        parent: None,
    };
    let shard = Object::from(crate::Shard::new("t-2", spec));
    assert_eq!(
        String::from_utf8(shard.to_json()).expect("JSON is"),
        r#"{"apiVersion":"althing/v1","kind":"Shard","metadata":{"name":"t-2"},"spec":{"table":"t","group":2,"slice":{"range":{"start":"a%ff"}},"replicas":["ab"],"phase":"serving"},"status":{"epoch":0,"voters":[],"term":0,"keys":0,"bytes":0}}"#
    );
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["", "hash", "range", "strong", "1", "ff", "a-1", "True", "http://x"])
            .prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "status",
        "name",
        "shards",
        "replicas",
        "slice",
        "hash",
        "range",
        "index",
        "of",
        "conditions",
        "type",
        "labels",
        "id",
        "schedule",
        "x",
    ]);
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn tables() -> impl Strategy<Value = Object> {
    let spec = (1_u32..=4096, prop::sample::select(vec![1_u32, 3, 5, 7]), 0..3_u8, 65_536_u64..1 << 30);
    ("[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", spec, prop::collection::btree_map(".{0,9}", ".{0,9}", 0..3)).prop_map(
        |(name, (shards, replicas, sort, bytes), labels)| {
            let spec = match sort {
                0 => crate::TableSpec {
                    replicas,
                    split: Split::Range,
                    split_bytes: Some(bytes),
                    ..crate::TableSpec::default()
                },
                1 => crate::TableSpec {
                    guarantee: Guarantee::Convergent,
                    shards,
                    replicas,
                    read_level: Some(althing_quorum::Level::One),
                    write_level: Some(althing_quorum::Level::EachQuorum),
                    redis_db: Some(15),
                    ..crate::TableSpec::default()
                },
                _ => crate::TableSpec { shards, replicas, ..crate::TableSpec::default() },
            };
            let mut table = crate::Table::new(&name, spec);
            table.metadata.labels = labels;
            table.into()
        },
    )
}

fn shards() -> impl Strategy<Value = Object> {
    let ids = || prop::collection::btree_set((1_u64..).prop_map(althing_types::NodeId), 0..5);
    let key = || prop::collection::vec(any::<u8>(), 0..12);
    (key(), key(), 1_u64.., ids(), ids()).prop_map(|(first, second, group, replicas, voters)| {
        let (start, end) = if first < second { (first, Some(second)) } else { (first, None) };
        let spec = crate::ShardSpec {
            table: "t".to_owned(),
            group: althing_types::GroupId(group),
            slice: crate::Slice::Range(crate::shard::RangeSlice { start, end }),
            leader: replicas.first().copied(),
            replicas,
            phase: Phase::Retiring,
            parent: None,
        };
        let mut shard = crate::Shard::new(&crate::shard::name_of("t", spec.group), spec);
        shard.status.voters = voters;
        shard.into()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(object in prop_oneof![tables(), shards()]) {
        prop_assert_eq!(object.validate(), []);
        prop_assert_eq!(Object::parse(&object.to_json()), Ok(object.clone()));
        let stored = Object::from_stored(object.kind(), althing_types::Revision(0), &object.to_stored());
        prop_assert_eq!(stored, Ok(object));
    }

    #[test]
    fn any_bytes_are_an_object_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(object) = Object::parse(&bytes) {
            prop_assert_eq!(object.validate(), []);
        }
    }

    #[test]
    fn any_json_is_an_object_or_has_mistakes(
        value in json_values(), kind in prop::sample::select(vec!["Cluster", "Node", "Table", "Shard"]),
    ) {
        let mut value = json!({"apiVersion": "althing/v1", "kind": kind, "metadata": {"name": "cluster"}, "spec": value});
        match Object::from_value(value.clone()) {
            Ok(object) => prop_assert_eq!(Object::parse(&object.to_json()), Ok(object)),
            Err(mistakes) => prop_assert!(!mistakes.0.is_empty()),
        }
        value["status"] = value["spec"].take();
        prop_assert!(Object::from_value(value).map_or_else(|mistakes| !mistakes.0.is_empty(), |_| true));
    }
}

#[test]
fn names_with_underscores_are_those_of_the_same_fields_but_not_beside_them() {
    let Ok(Object::Table(found)) =
        Object::from_value(table(json!({"guarantee": "convergent", "redis_db": 4, "write_level": "one"})))
    else {
        panic!("it is right")
    };
    assert_eq!(found.spec.redis_db, Some(4));
    let twice = mistakes(table(json!({"guarantee": "convergent", "redis_db": 4, "redisDb": 5})));
    assert_eq!(twice, "spec.redis_db: 4 is in a field that a Table does not have; did you mean redisDb?");
    let unknown = mistakes(table(json!({"redis_table": 4})));
    assert!(unknown.contains("spec.redis_table: 4 is in a field that a Table does not have"), "{unknown}");
}
