//! Changes of the members.

use althing_api::{Call, Request};
use althing_consensus::Role;
use althing_node::Input;
use althing_types::RequestId;

use super::{Cluster, members};

#[test]
fn two_changes_of_the_members_at_once_are_made_one_after_the_other() {
    let mut cluster = Cluster::new(&members(3), &[None; 3]);
    cluster.ticks(200);
    let leads = |(id, one): (_, &super::One)| {
        let role = one.node.group_metrics().next().unwrap().role;
        matches!(role, Role::Leader { .. }).then_some(*id)
    };
    let leader = cluster.nodes.iter().find_map(leads).unwrap();
    let add = |name: u64| {
        let request = Request::MemberAdd { peer_urls: vec![format!("http://m{name}:2380")], is_learner: name == 1 };
        (leader, Input::Request { id: RequestId(name), call: Call::new(request) })
    };
    cluster.all(vec![add(1), add(2)]);
    cluster.ticks(10);
    let told = std::mem::take(&mut cluster.told);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(Result::is_ok), "{told:?}");
}
