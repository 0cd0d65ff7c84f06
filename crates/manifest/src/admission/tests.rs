use althing_types::NodeId;

use super::*;
use crate::condition::{Condition, DRAINED, Truth};
use crate::{Cluster, ClusterSpec, NodeSpec, Shard, ShardSpec, Slice, TableSpec};

fn table(name: &str) -> Table {
    Table::new(name, TableSpec { shards: 4, ..TableSpec::default() })
}

/// A table as it is stored, at revision 7.
fn stored(name: &str) -> Table {
    let mut table = table(name);
    table.metadata.generation = 1;
    table.metadata.resource_version = Revision(7);
    table.status.shards = 4;
    table
}

fn node() -> Node {
    let mut node = Node::new("n1", NodeSpec { zone: "a".to_owned(), ..NodeSpec::new(NodeId(0x1f)) });
    node.metadata.generation = 1;
    node.metadata.resource_version = Revision(3);
    node
}

fn shard() -> Shard {
    let spec = ShardSpec {
        table: "orders".to_owned(),
        group: althing_types::GroupId(16),
        slice: Slice::part(0, 1),
        replicas: [].into(),
        leader: None,
        phase: crate::Phase::Serving,
        parent: None,
    };
    Shard::new("orders-16", spec)
}

fn refusal(stored: Option<Object>, wanted: impl Into<Object>) -> String {
    admit(stored.as_ref(), wanted.into()).expect_err("it is refused").to_string()
}

#[test]
fn a_table_is_made_and_changed() {
    let Ok(Admitted::Created(Object::Table(made))) = admit(None, table("orders").into()) else { panic!("it is made") };
    assert_eq!((made.metadata.generation, made.metadata.resource_version), (1, Revision(0)));
    let before = Object::from(stored("orders"));
    let mut wanted = table("orders");
    wanted.spec.replicas = 5;
    wanted.status.shards = 99;
    wanted.metadata.generation = 99;
    wanted.metadata.life = Life::Deleting;
    let Ok(Admitted::Changed(Object::Table(made))) = admit(Some(&before), wanted.into()) else {
        panic!("it is changed")
    };
    assert_eq!((made.metadata.generation, made.spec.replicas), (2, 5));
    assert_eq!((made.status.shards, made.metadata.life), (4, Life::Kept), "what is the system's stays");
    assert_eq!(made.metadata.resource_version, Revision(7), "against which it was held");
}

#[test]
fn labels_are_no_change_of_the_spec() {
    let before = Object::from(stored("orders"));
    let mut wanted = stored("orders");
    wanted.metadata.labels.insert("team".to_owned(), "a".to_owned());
    let Ok(Admitted::Changed(made)) = admit(Some(&before), wanted.into()) else { panic!("it is changed") };
    assert_eq!(made.metadata().generation, 1);
    assert_eq!(admit(Some(&before), stored("orders").into()), Ok(Admitted::Unchanged));
}

#[test]
fn what_is_fixed_is_told_with_what_to_do_instead() {
    let mut wanted = table("orders");
    wanted.spec.shards = 8;
    assert_eq!(
        refusal(Some(stored("orders").into()), wanted),
        "table/orders is not right:\nspec.shards: 8 cannot be changed: it is 4; make another table with as many shards and copy \
         what it is to hold"
    );
    let mut wanted = node();
    wanted.spec.id = NodeId(0x2f);
    wanted.spec.zone = "b".to_owned();
    assert_eq!(
        refusal(Some(node().into()), wanted),
        "node/n1 is not right:\n\
         spec.id: \"2f\" cannot be changed: it is \"1f\"; delete this node once it is drained, and let the other one join\n\
         spec.zone: \"b\" cannot be changed: it is \"a\"; the node says so itself: change its configuration and start it anew"
    );
}

#[test]
fn a_change_of_what_has_changed_meanwhile_is_refused() {
    let mut wanted = table("orders");
    wanted.metadata.resource_version = Revision(6);
    assert_eq!(
        refusal(Some(stored("orders").into()), wanted.clone()),
        "table/orders has changed: it is at 7, and 6 was given; read it again, or leave out metadata.resourceVersion"
    );
    assert!(matches!(admit(None, wanted.into()), Err(Refusal::Conflict { found: Revision(0), .. })));
}

#[test]
fn what_is_the_systems_is_not_for_users() {
    assert_eq!(refusal(None, table("meta")), "table/meta is made with the cluster; choose another name");
    let mut wanted = table("meta");
    wanted.spec.replicas = 5;
    assert_eq!(
        refusal(Some(stored("meta").into()), wanted),
        "table/meta cannot be changed; set spec.metaReplicas of cluster/cluster for its replicas"
    );
    let cluster = Cluster::new("cluster", ClusterSpec::default());
    assert_eq!(refusal(None, cluster.clone()), "cluster/cluster is made with the cluster; it can only be changed");
    assert_eq!(refusal(None, shard()), "shard/orders-16 is made by the control plane; make a table instead");
    let mut wanted = shard();
    wanted.spec.replicas.insert(NodeId(1));
    assert_eq!(
        refusal(Some(shard().into()), wanted),
        "shard/orders-16 cannot be changed; the control plane makes it follow its table"
    );
    assert_eq!(admit(Some(&shard().into()), shard().into()), Ok(Admitted::Unchanged));
    let mut wanted = cluster.clone();
    wanted.spec.meta_replicas = 5;
    assert!(matches!(admit(Some(&cluster.into()), wanted.into()), Ok(Admitted::Changed(_))));
}

#[test]
fn what_is_being_deleted_is_left_alone() {
    let mut before = stored("orders");
    before.metadata.life = Life::Deleting;
    assert_eq!(
        refusal(Some(before.clone().into()), table("orders")),
        "table/orders is being deleted; wait until it is gone, then make it anew"
    );
    assert_eq!(admit_deletion(&before.into()), Ok(Deletion::Marked));
}

#[test]
fn a_table_is_marked_and_the_systems_stay() {
    let Ok(Deletion::Mark(marked)) = admit_deletion(&stored("orders").into()) else { panic!("it is marked") };
    assert_eq!(marked.metadata().life, Life::Deleting);
    let refused = |object: Object| admit_deletion(&object).expect_err("it is refused").to_string();
    for name in ["default", "meta"] {
        assert_eq!(refused(stored(name).into()), format!("table/{name} cannot be deleted: the cluster needs it"));
    }
    assert_eq!(refused(shard().into()), "shard/orders-16 cannot be deleted; delete its table instead");
    assert_eq!(refused(Cluster::new("cluster", ClusterSpec::default()).into()), "cluster/cluster cannot be deleted");
}

#[test]
fn a_node_goes_when_nothing_is_on_it_and_nothing_can_come() {
    let judge = |schedule, liveness, replicas, conditions: &[Condition]| {
        let mut node = node();
        node.spec.schedule = schedule;
        node.status.liveness = liveness;
        node.status.replicas = replicas;
        node.status.conditions = conditions.to_vec();
        admit_deletion(&node.into()).map_err(|refusal| refusal.to_string())
    };
    let drained = [Condition::new(DRAINED, Truth::True, "Empty", "")];
    assert_eq!(judge(Schedule::Drain, Liveness::Up, 0, &drained), Ok(Deletion::Remove));
    assert_eq!(judge(Schedule::Active, Liveness::Silent, 0, &[]), Ok(Deletion::Remove));
    assert_eq!(judge(Schedule::Active, Liveness::Unknown, 0, &[]), Ok(Deletion::Remove));
    assert_eq!(
        judge(Schedule::Active, Liveness::Silent, 2, &[]).expect_err("it holds some"),
        "node/n1 still holds 2 replicas; set spec.schedule to \"drain\" (`althing drain n1`) and wait until it is Drained"
    );
    assert!(judge(Schedule::Active, Liveness::Up, 0, &[]).is_err());
    assert!(judge(Schedule::Drain, Liveness::Up, 0, &[]).is_err());
}
