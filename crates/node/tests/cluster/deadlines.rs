//! How long a node that is cut off keeps its clients waiting.

use althing_api::kv::{KeyRange, PutLease, PutRequest, PutValue, RangeRequest};
use althing_api::{Call, ErrorKind, Request};
use althing_types::limits::MAX_REQUEST_WAIT;
use althing_types::{Duration, LeaseId, NodeId};

use super::{Cluster, members};

#[test]
fn a_node_without_a_leader_gives_up_long_before_a_patient_client() {
    let mut cluster = Cluster::new(&members(3), &[None; 3]);
    cluster.ticks(200);
    cluster.nodes.retain(|id, _| *id == NodeId(1));
    let value = PutValue::Set("value".into());
    let put = PutRequest { key: "key".into(), value, lease: PutLease::Set(None), prev_kv: false };
    let read = RangeRequest::new(KeyRange::single("key"));
    for request in [Request::Put(put), Request::Range(read), Request::LeaseKeepAlive(LeaseId(7))] {
        let asked = cluster.now;
        let call = Call { timeout: Some(Duration::from_secs(3600)), ..Call::new(request.clone()) };
        let refused = cluster.call(NodeId(1), call).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Timeout, "{request:?}");
        assert!(cluster.now.since(asked) < MAX_REQUEST_WAIT + Duration::from_secs(2), "{request:?}");
    }
}
