//! The control plane: tables come into being, spread over nodes, move and go, and every node serves all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_api::kv::{KeyRange, PutLease, PutRequest, PutValue, RangeRequest};
use althing_api::request::Body;
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_api::{Answer, Call, Error, ErrorKind, Request, Target};
use althing_manifest::{Node as NodeObject, NodeSpec, Object, Schedule, Table, TableSpec};
use althing_node::{ControlPlane, Input, NodeConfig};
use althing_storage::engine::model::ModelEngine;
use althing_types::{ClusterId, GroupId, NodeId, StreamId, TableName};

use super::{Cluster, One, members};

const META: Target = Target::Table(TableName::META);

fn node_with(config: NodeConfig) -> One {
    One::open(config, Arc::new(ModelEngine::new()), Vec::new())
}

/// Three nodes with a control plane, which has made its first objects.
pub fn cluster() -> Cluster {
    cluster_with(|config| config)
}

/// The same with something else in their configurations.
pub fn cluster_with(change: impl Fn(NodeConfig) -> NodeConfig) -> Cluster {
    let founders = members(3);
    let one = |id: NodeId| {
        let config = NodeConfig::new(ClusterId(1), id, founders.clone()).with_control_plane();
        let peer_urls = founders.iter().find(|member| member.id == id).unwrap().peer_urls.clone();
        (id, node_with(change(NodeConfig { peer_urls, ..config })))
    };
    let nodes = founders.iter().map(|member| one(member.id)).collect();
    let mut cluster = Cluster { nodes, ..Cluster::new(&[], &[]) };
    cluster.until("the objects of a new cluster", |cluster| cluster.objects().contains_key("clusters/cluster"));
    cluster
}

pub fn put(key: &str, value: impl Into<Vec<u8>>) -> Request {
    Request::Put(PutRequest {
        key: key.to_owned().into(),
        value: PutValue::Set(value.into().into()),
        lease: PutLease::Set(None),
        prev_kv: false,
    })
}

pub fn get(key: &str) -> Request {
    Request::Range(RangeRequest::new(KeyRange::single(key.to_owned())))
}

pub fn call(table: &str, request: Request) -> Call {
    Call { target: Target::Table(TableName::new(table).unwrap()), ..Call::new(request) }
}

pub fn value(answer: Result<Answer, Error>) -> Vec<u8> {
    match answer.unwrap().body {
        Body::Range(range) => range.kvs[0].value.to_vec(),
        other => panic!("{other:?} is no range"),
    }
}

impl Cluster {
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..400 {
            if holds(self) {
                return;
            }
            self.ticks(20);
        }
        panic!("never: {what}\n{:#?}", self.objects());
    }

    /// Every object, as any node reads it.
    pub fn objects(&mut self) -> BTreeMap<String, Object> {
        let id = *self.nodes.keys().next_back().unwrap();
        let keys =
            KeyRange { start: "/althing/v1/".into(), end: althing_api::kv::RangeEnd::Before("/althing/v10".into()) };
        let range = Request::Range(RangeRequest::new(keys));
        let Ok(answer) = self.call(id, Call { target: META, ..Call::new(range) }) else { return BTreeMap::new() };
        let Body::Range(found) = answer.body else { panic!("no range") };
        let read = |kv: &althing_api::kv::KeyValue| {
            let (kind, name) = althing_manifest::parse_key(&kv.key).unwrap();
            let object = Object::from_stored(kind, kv.mod_revision, &kv.value).unwrap();
            (format!("{}/{name}", kind.plural()), object)
        };
        found.kvs.iter().map(read).collect()
    }

    pub fn write(&mut self, object: impl Into<Object>) {
        let object = object.into();
        let id = *self.nodes.keys().next().unwrap();
        let call = Call { target: META, ..Call::new(put(&object.key(), object.to_stored())) };
        self.call(id, call).unwrap();
    }

    fn groups_of(&self, id: u64) -> Vec<GroupId> {
        self.nodes[&NodeId(id)].node.group_metrics().map(|metrics| metrics.group).collect()
    }

    pub fn add_table(&mut self, name: &str, shards: u32) {
        self.write(Object::Table(Table::new(name, TableSpec { shards, ..TableSpec::default() })));
        self.until("the table is ready", |cluster| match cluster.objects().get(&format!("tables/{name}")) {
            Some(Object::Table(table)) => table.status.ready_shards == u64::from(shards),
            _ => false,
        });
    }

    pub fn add_node(&mut self, id: u64) {
        let name = format!("n{id}");
        let config = NodeConfig::new(ClusterId(1), NodeId(id), members(3));
        let peer_urls = vec![format!("http://{name}:2380")];
        let spec = NodeSpec { peer_urls: peer_urls.clone(), ..NodeSpec::new(NodeId(id)) };
        self.write(Object::Node(NodeObject::new(&name, spec)));
        let config =
            NodeConfig { name, peer_urls, join: true, groups: Vec::new(), control: ControlPlane::Present, ..config };
        self.nodes.insert(NodeId(id), node_with(config));
    }
}

#[test]
fn a_table_comes_into_being_and_every_node_serves_every_key_of_it() {
    let mut cluster = cluster();
    cluster.add_table("orders", 4);
    for id in 1..=3 {
        assert_eq!(cluster.groups_of(id).len(), 2 + 4, "node {id}");
    }
    for key in 0..20 {
        let key = format!("order/{key}");
        cluster.call(NodeId(1), call("orders", put(&key, key.clone()))).unwrap();
        for id in 1..=3 {
            assert_eq!(value(cluster.call(NodeId(id), call("orders", get(&key)))), key.as_bytes());
        }
    }
    let unknown = cluster.call(NodeId(1), call("none", get("a"))).unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::UnknownTable(TableName::new("none").unwrap()));
}

#[test]
fn a_node_that_is_registered_gets_its_share_and_a_node_that_is_drained_gives_all_away() {
    let mut cluster = cluster();
    cluster.add_table("orders", 8);
    for key in 0..50 {
        cluster.call(NodeId(1), call("orders", put(&format!("{key}"), format!("{key}")))).unwrap();
    }
    cluster.add_node(4);
    cluster.until("the newcomer has its share", |cluster| cluster.groups_of(4).len() >= 6);
    cluster.until("others have given theirs away", |cluster| {
        (1..=4).map(|id| cluster.groups_of(id).iter().filter(|group| group.get() >= 16).count()).sum::<usize>() == 24
    });
    let Some(Object::Node(mut node)) = cluster.objects().remove("nodes/n2") else { panic!("no node n2") };
    node.spec.schedule = Schedule::Drain;
    cluster.write(Object::Node(node));
    cluster.until("the drained node is empty", |cluster| cluster.groups_of(2).is_empty());
    for key in 0..50 {
        let key = format!("{key}");
        for id in 1..=4 {
            assert_eq!(value(cluster.call(NodeId(id), call("orders", get(&key)))), key.as_bytes(), "at {id}");
        }
    }
}

const STREAM: StreamId = StreamId(1);

impl Cluster {
    /// Opens a stream on a table at a node and watches a key on it.
    fn watch(&mut self, id: u64, table: &str, key: &str) {
        let target = Target::Table(TableName::new(table).unwrap());
        self.all(vec![(NodeId(id), Input::WatchOpen { stream: STREAM, target, require_leader: false })]);
        self.watch_more(id, key);
    }

    fn watch_more(&mut self, id: u64, key: &str) {
        let command = WatchCommand::Create(WatchCreate {
            id: None,
            keys: KeyRange::single(key.to_owned()),
            start_revision: None,
            prev_kv: false,
            filter: WatchFilter::default(),
            progress_notify: false,
            fragment: false,
        });
        self.all(vec![(NodeId(id), Input::Watch { stream: STREAM, command })]);
        self.ticks(4);
    }

    fn events(&mut self) -> usize {
        let events = |event: &WatchEvent| match event {
            WatchEvent::Events { events, .. } => events.len(),
            WatchEvent::Created { .. } | WatchEvent::Canceled { .. } | WatchEvent::Progress { .. } => 0,
        };
        std::mem::take(&mut self.watched).iter().map(events).sum()
    }
}

#[test]
fn a_node_without_a_replica_watches_for_its_clients_and_says_so_when_it_cannot() {
    let mut cluster = cluster();
    cluster.add_node(4);
    cluster.add_table("orders", 1);
    cluster.ticks(200);
    let without = (1..=4).find(|id| cluster.groups_of(*id).iter().all(|group| group.get() < 16)).unwrap();
    cluster.watch(without, "orders", "a");
    assert!(matches!(cluster.watched[..], [WatchEvent::Created { .. }]), "{:?}", cluster.watched);
    for value in ["1", "2", "3"] {
        cluster.call(NodeId(without), call("orders", put("a", value))).unwrap();
    }
    cluster.ticks(4);
    assert_eq!(cluster.events(), 3);
    let serving: Vec<_> = cluster.nodes.keys().copied().filter(|id| id.get() != without).collect();
    cluster.all(serving.iter().map(|id| (NodeId(without), Input::PeerDown(*id))).collect());
    let ended = |event: &WatchEvent| matches!(event, WatchEvent::Canceled { reason: CancelReason::Gone(_), .. });
    assert!(cluster.watched.iter().any(ended), "{:?}", cluster.watched);
}

#[test]
fn a_stream_on_many_shards_belongs_to_the_shard_of_its_first_key() {
    let mut cluster = cluster();
    cluster.add_table("orders", 4);
    cluster.watch(1, "orders", "a");
    assert!(matches!(cluster.watched[..], [WatchEvent::Created { .. }]), "{:?}", cluster.watched);
    cluster.call(NodeId(2), call("orders", put("a", "1"))).unwrap();
    cluster.ticks(4);
    assert_eq!(cluster.events(), 1);
    for key in 0..8 {
        cluster.watch_more(1, &format!("{key}"));
    }
    let refused = |event: &&WatchEvent| {
        matches!(event, WatchEvent::Canceled { reason: CancelReason::Refused(ErrorKind::CrossShard(_)), .. })
    };
    assert!(cluster.watched.iter().filter(refused).count() >= 4, "{:?}", cluster.watched);
}

#[test]
fn tables_serve_while_meta_has_no_quorum() {
    let mut cluster = cluster();
    cluster.add_node(4);
    cluster.add_node(5);
    cluster.write(Object::Table(Table::new("orders", TableSpec { shards: 6, replicas: 1, ..TableSpec::default() })));
    cluster.until("the table is ready", |cluster| match cluster.objects().get("tables/orders") {
        Some(Object::Table(table)) => table.status.ready_shards == 6,
        _ => false,
    });
    cluster.ticks(400);
    let meta: Vec<u64> = (1..=5).filter(|id| cluster.groups_of(*id).contains(&GroupId(2))).collect();
    assert_eq!(meta.len(), 3);
    let lost: Vec<NodeId> = meta[..2].iter().copied().map(NodeId).collect();
    for id in &lost {
        cluster.nodes.remove(id);
    }
    let left: Vec<NodeId> = cluster.nodes.keys().copied().collect();
    for id in &lost {
        cluster.all(left.iter().map(|to| (*to, Input::PeerDown(*id))).collect());
    }
    cluster.ticks(400);
    let (mut served, mut refused) = (0, 0);
    for key in 0..40 {
        match cluster.call(left[key % left.len()], call("orders", put(&format!("{key}"), "x"))) {
            Ok(_) => served += 1,
            Err(_) => refused += 1,
        }
    }
    let objects = Call { target: META, ..Call::new(get("/althing/v1/clusters/cluster")) };
    assert!(cluster.call(left[0], objects).is_err(), "meta has no quorum");
    assert!(
        served > 0 && refused > 0,
        "shards on nodes that are left serve, and the others cannot: {served}, {refused}"
    );
}

#[test]
fn a_learner_that_clients_have_added_stays_one() {
    let mut cluster = cluster();
    let add = Request::MemberAdd { peer_urls: vec!["http://n9:2380".into()], is_learner: true };
    cluster.ask(NodeId(1), add).unwrap();
    cluster.ticks(800);
    let Body::Members(members) = cluster.ask(NodeId(1), Request::MemberList { linearizable: true }).unwrap().body
    else {
        panic!("no members")
    };
    let learner = members.iter().find(|member| member.is_learner).expect("it is still there").id;
    let conf = cluster.nodes[&NodeId(1)].node.conf_state(GroupId(1)).unwrap();
    assert_eq!(conf.learners, [learner]);
}
