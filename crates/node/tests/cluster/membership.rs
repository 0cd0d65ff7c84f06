//! Changes of the members.

use althing_api::{Answer, Call, Error, Request};
use althing_consensus::Role;
use althing_node::Input;
use althing_types::{NodeId, RequestId};

use super::{Cluster, One, members};

/// What the leader of three answers to two requests that come at once.
fn at_once(requests: impl FnOnce(NodeId) -> [Request; 2]) -> Vec<Result<Answer, Error>> {
    let mut cluster = Cluster::new(&members(3), &[None; 3]);
    cluster.ticks(200);
    let leads = |(id, one): (&NodeId, &One)| {
        let role = one.node.group_metrics().next().unwrap().role;
        matches!(role, Role::Leader { .. }).then_some(*id)
    };
    let leader = cluster.nodes.iter().find_map(leads).unwrap();
    let request = |(id, request)| (leader, Input::Request { id: RequestId(id), call: Call::new(request) });
    let requests = requests(leader);
    cluster.all((1..).zip(requests).map(request).collect());
    cluster.ticks(10);
    assert_eq!(cluster.told.len(), 2);
    cluster.told.into_iter().map(|(_, result)| result).collect()
}

fn add(url: String, is_learner: bool) -> Request {
    Request::MemberAdd { peer_urls: vec![url], is_learner }
}

#[test]
fn two_changes_of_the_members_at_once_are_made_one_after_the_other() {
    let told = at_once(|_| [add("http://n4:2380".into(), true), add("http://n5:2380".into(), false)]);
    assert!(told.iter().all(Result::is_ok), "{told:?}");
}

#[test]
fn a_change_of_the_members_is_judged_by_what_the_one_before_it_leaves() {
    let told = at_once(|leader| {
        let other = if leader == NodeId(1) { NodeId(2) } else { NodeId(1) };
        [Request::MemberRemove(other), add(format!("http://n{other}:2380", other = other.get()), true)]
    });
    assert!(told.iter().all(Result::is_ok), "{told:?}");
}
