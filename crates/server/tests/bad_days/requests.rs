//! Requests that no node takes: etcd's own codes and texts, and the node goes on.

use tonic::Code;

use crate::common::{self, Cluster};

#[tokio::test]
async fn an_oversized_request_and_an_empty_key_are_refused_in_etcds_words() {
    let cluster = Cluster::start(1).await;
    let mut client = common::kv(&cluster.nodes[0].client).max_encoding_message_size(64 << 20);
    // The second is more than the transport takes in at all: refused before anything of it is parsed.
    for bytes in [1_600_000, 5_000_000] {
        let error = common::put(&mut client, "key", &"x".repeat(bytes)).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "etcdserver: request is too large"));
    }
    let error = common::put(&mut client, "", "value").await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "etcdserver: key is not provided"));
    common::put(&mut client, "key", &"x".repeat(1_500_000)).await.unwrap();
}
