//! What a member without a vote does for clients.

use althing_api::kv::{Consistency, KeyRange, PutLease, PutRequest, PutValue, RangeRequest, TxnRequest};
use althing_api::request::Body;
use althing_api::{ErrorKind, Request};
use althing_types::{LeaseId, NodeId};

use super::{Cluster, members};

const LEARNER: NodeId = NodeId(3);

/// Two voters and a learner that has caught up.
fn cluster() -> Cluster {
    let mut members = members(3);
    members[2].is_learner = true;
    let mut cluster = Cluster::new(&members, &[None; 3]);
    cluster.ticks(200);
    cluster
}

fn put() -> Request {
    let value = PutValue::Set("value".into());
    Request::Put(PutRequest { key: "key".into(), value, lease: PutLease::Set(None), prev_kv: false })
}

fn read(consistency: Consistency) -> Request {
    Request::Range(RangeRequest { consistency, ..RangeRequest::new(KeyRange::single("key")) })
}

#[test]
fn a_learner_refuses_what_it_does_not_have_by_itself() {
    let mut cluster = cluster();
    let reads = [read(Consistency::Linearizable), Request::LeaseLeases, Request::Txn(TxnRequest::default())];
    for request in reads.into_iter().chain([put(), Request::LeaseKeepAlive(LeaseId(7))]) {
        let refused = cluster.ask(LEARNER, request.clone()).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Learner, "{request:?}");
    }
    cluster.ask(NodeId(1), put()).unwrap();
}

#[test]
fn a_learner_tells_what_it_has() {
    let mut cluster = cluster();
    cluster.ask(NodeId(2), put()).unwrap();
    cluster.ticks(10);
    let Body::Range(found) = cluster.ask(LEARNER, read(Consistency::Serializable)).unwrap().body else { panic!() };
    assert_eq!(found.count, 1);
    let Body::Status(status) = cluster.ask(LEARNER, Request::Status).unwrap().body else { panic!() };
    assert!(status.is_learner);
}
