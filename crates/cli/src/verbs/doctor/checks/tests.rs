use althing_etcd_proto::etcdserverpb as pb;
use althing_manifest::{Condition, NodeSpec, ShardSpec, TableSpec};
use althing_types::NodeId;
use serde_json::json;

use super::*;
use crate::verbs::doctor::gather::{Asked, Said};

fn said(leader: u64) -> Said {
    Said { status: pb::StatusResponse { leader, ..Default::default() }, clock: Some(100) }
}

fn asked(said: Result<Said, &str>) -> Asked {
    Asked { at: "http://h:1".into(), said: said.map_err(str::to_owned) }
}

fn node(name: &str, id: u64, zone: &str) -> Node {
    let mut node = Node::new(name, NodeSpec { zone: zone.into(), ..NodeSpec::new(NodeId(id)) });
    node.status.liveness = Liveness::Up;
    node.status.version = "0.1.0".into();
    node
}

fn table(name: &str) -> Table {
    let mut table = Table::new(name, TableSpec::default());
    condition::set(&mut table.status.conditions, Condition::new(condition::READY, Truth::True, "Serving", ""));
    table
}

fn shard(group: u64, wanted: &[u64], voters: &[u64], leader: Option<u64>) -> Shard {
    let ids = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect::<BTreeSet<_>>();
    let replicas: Vec<String> = wanted.iter().map(|id| format!("{id:x}")).collect();
    let slice = json!({ "hash": { "index": 0, "of": 1 } });
    let spec = json!({ "table": "t", "group": group, "slice": slice, "replicas": replicas });
    let spec: ShardSpec = serde_json::from_value(spec).unwrap();
    let mut shard = Shard::new(&format!("t-{group}"), spec);
    (shard.status.voters, shard.status.leader) = (ids(voters), leader.map(NodeId));
    shard
}

/// Three nodes in three zones, one table of one shard, all well.
fn well() -> (BTreeMap<String, Asked>, Vec<Node>, Vec<Table>, Vec<Shard>) {
    let names = ["n1", "n2", "n3"];
    let nodes = names.iter().map(|name| ((*name).to_owned(), asked(Ok(said(1))))).collect();
    let objects = names.iter().zip(1..).map(|(name, id)| node(name, id, &format!("z{id}"))).collect();
    (nodes, objects, vec![table("t")], vec![shard(16, &[1, 2, 3], &[1, 2, 3], Some(1))])
}

fn found(nodes: BTreeMap<String, Asked>, objects: Vec<Node>, tables: Vec<Table>, shards: Vec<Shard>) -> Vec<String> {
    let objects = Objects {
        clusters: Vec::new(),
        nodes: objects.into_iter().map(Object::from).collect(),
        tables: tables.into_iter().map(Object::from).collect(),
        shards: shards.into_iter().map(Object::from).collect(),
    };
    let mut findings = examine(&Facts { nodes, objects: Ok(objects), silence: None });
    findings.sort();
    findings.iter().map(|one| format!("{:?} {}: {}", one.severity, one.about, one.what)).collect()
}

#[test]
fn a_cluster_that_is_well_has_no_findings() {
    let (nodes, objects, tables, shards) = well();
    assert_eq!(found(nodes, objects, tables, shards), Vec::<String>::new());
}

#[test]
fn without_any_answer_there_is_one_finding() {
    let facts = Facts { nodes: BTreeMap::new(), objects: Err("x".into()), silence: Some("no endpoint answers".into()) };
    let findings = examine(&facts);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].severity, findings[0].what.as_str()), (Severity::Error, "no endpoint answers"));
}

#[test]
fn nodes_that_do_not_answer_or_are_in_trouble_are_named() {
    let (mut nodes, objects, tables, shards) = well();
    nodes.insert("n1".into(), asked(Err("connection refused")));
    nodes.insert("n2".into(), asked(Ok(said(0))));
    let mut full = said(1);
    full.status.errors = vec!["alarm NOSPACE".into()];
    (full.status.db_size_in_use, full.status.db_size_quota, full.clock) = (90, 100, Some(110));
    nodes.insert("n3".into(), asked(Ok(full)));
    assert_eq!(
        found(nodes, objects, tables, shards),
        [
            "Error node/n1: it does not answer at http://h:1: connection refused",
            "Error node/n2: it knows no leader of the table default",
            "Error node/n3: alarm NOSPACE",
            "Warning node/n3: 90 % of the quota of the table default are used",
            "Warning node/n3: its clock is 10 s ahead of that of node/n2",
        ]
    );
}

#[test]
fn a_silent_node_and_what_it_takes_with_it_is_told() {
    let (nodes, mut objects, mut tables, _) = well();
    objects[2].status.liveness = Liveness::Silent;
    objects[1].status.version = "0.2.0".into();
    let broken = Condition::new(condition::READY, Truth::False, "NoLeader", "1 of 3 shards has no leader");
    condition::set(&mut tables[0].status.conditions, broken);
    let shards = vec![
        shard(16, &[1, 2, 3], &[1, 2, 3], None),
        shard(17, &[1, 2, 3], &[1, 2], Some(1)),
        shard(18, &[1, 2, 3], &[1, 2, 3], Some(2)),
    ];
    assert_eq!(
        found(nodes, objects, tables, shards),
        [
            "Error node/n3: the control plane does not hear of it",
            "Error table/t: 1 of 3 shards have no leader: t-16",
            "Error table/t: its guarantee (strong) does not hold now: 1 of 3 shards has no leader",
            "Warning table/t: 1 of 3 shards lack a replica: t-17",
            "Warning table/t: it wants 3 replicas of each shard, and 2 nodes can hold some",
            "Warning the cluster: its nodes run different programs: 0.1.0 on n1, n3; 0.2.0 on n2",
        ]
    );
}

#[test]
fn too_few_zones_and_nodes_that_are_set_aside_are_noted() {
    let (nodes, mut objects, tables, shards) = well();
    objects[1].spec.zone = "z1".into();
    objects[0].spec.schedule = Schedule::Cordoned;
    assert_eq!(
        found(nodes, objects, tables, shards),
        ["Note node/n1: it is cordoned", "Note table/t: it wants 3 replicas of each shard, and there are 2 zones",]
    );
}

#[test]
fn a_control_plane_that_does_not_answer_is_an_error_of_its_own() {
    let (nodes, ..) = well();
    let findings = examine(&Facts { nodes, objects: Err("there is no leader".into()), silence: None });
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].about, "the control plane");
}
