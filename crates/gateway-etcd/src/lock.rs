//! `v3lockpb.Lock`: the head of the line holds the lock.

use althing_etcd_proto::v3lockpb as pb;
use althing_etcd_proto::v3lockpb::lock_server::Lock;
use bytes::Bytes;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, Context, wire_header};
use crate::concurrency::{Client, prefix, within};
use crate::status::Refusal;

pub(crate) struct LockService(pub(crate) Backend);

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let context = Context::of(&request);
        let timeout = context.timeout;
        let client = Client::new(self.0.clone(), context);
        within(timeout, lock(client, request.into_inner())).await.map(Response::new)
    }

    async fn unlock(&self, request: Request<pb::UnlockRequest>) -> Result<Response<pb::UnlockResponse>, Status> {
        let client = Client::new(self.0.clone(), Context::of(&request));
        let key = request.into_inner().key;
        if key.is_empty() {
            return Err(Status::unknown(Refusal::EmptyKey.parts().1));
        }
        let header = client.delete(key).await?;
        Ok(Response::new(pb::UnlockResponse { header: Some(wire_header(header)) }))
    }
}

async fn lock(client: Client, request: pb::LockRequest) -> Result<pb::LockResponse, Status> {
    let lease = client.session(request.lease).await?;
    let taken = client.take_place(prefix(&request.name), lease, &Bytes::new()).await?;
    let header = if taken.is_head { taken.header } else { client.wait_for_turn(&taken.place).await? };
    Ok(pb::LockResponse { header: Some(wire_header(header)), key: taken.place.key })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use althing_etcd_proto::etcdserverpb as etcd;
    use althing_etcd_proto::etcdserverpb::lease_client::LeaseClient;
    use althing_etcd_proto::v3lockpb::lock_client::LockClient;
    use tonic::Code;

    use super::*;
    use crate::testing::TestNode;

    async fn lease(node: &TestNode, id: i64) {
        LeaseClient::new(node.gateway()).lease_grant(etcd::LeaseGrantRequest { ttl: 60, id }).await.unwrap();
    }

    fn wanted(lease: i64) -> pb::LockRequest {
        pb::LockRequest { name: "n".into(), lease }
    }

    async fn lock(node: &TestNode, lease: i64) -> Result<pb::LockResponse, Status> {
        LockClient::new(node.gateway()).lock(wanted(lease)).await.map(Response::into_inner)
    }

    async fn unlock(node: &TestNode, key: Bytes) {
        LockClient::new(node.gateway()).unlock(pb::UnlockRequest { key }).await.unwrap();
    }

    fn waiting(node: &TestNode, lease: i64) -> tokio::task::JoinHandle<Result<pb::LockResponse, Status>> {
        let node = node.clone();
        tokio::spawn(async move { lock(&node, lease).await })
    }

    /// Lets the tasks run until they wait.
    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_free_lock_is_held_under_its_name_and_the_lease_in_hex() {
        let node = TestNode::default();
        lease(&node, 0xabc).await;
        let held = lock(&node, 0xabc).await.unwrap();
        assert_eq!(held.key, "n/abc");
        assert_eq!(held.header.unwrap().revision, 2);
        assert_eq!(lock(&node, 0xabc).await.unwrap().key, "n/abc", "the holder may ask again");
    }

    #[tokio::test]
    async fn waiters_get_the_lock_one_by_one_in_the_order_in_which_they_came() {
        let node = TestNode::default();
        for id in 1..=3 {
            lease(&node, id).await;
        }
        let held = lock(&node, 1).await.unwrap();
        let second = waiting(&node, 2);
        settle().await;
        let third = waiting(&node, 3);
        settle().await;
        assert!(!second.is_finished() && !third.is_finished());
        unlock(&node, held.key).await;
        let held = second.await.unwrap().unwrap();
        assert_eq!(held.key, "n/2");
        settle().await;
        assert!(!third.is_finished());
        unlock(&node, held.key).await;
        assert_eq!(third.await.unwrap().unwrap().key, "n/3");
    }

    #[tokio::test]
    async fn a_waiter_that_goes_away_leaves_the_line() {
        let node = TestNode::default();
        lease(&node, 1).await;
        lease(&node, 2).await;
        lock(&node, 1).await.unwrap();
        let second = waiting(&node, 2);
        settle().await;
        assert_eq!(node.table().keys(), ["n/1", "n/2"]);
        second.abort();
        settle().await;
        assert_eq!(node.table().keys(), ["n/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_whose_deadline_passes_leaves_the_line() {
        let node = TestNode::default();
        lease(&node, 1).await;
        lease(&node, 2).await;
        lock(&node, 1).await.unwrap();
        let mut request = Request::new(wanted(2));
        request.set_timeout(Duration::from_millis(50));
        let status = LockClient::new(node.gateway()).lock(request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(node.table().keys(), ["n/1"]);
    }

    #[tokio::test]
    async fn a_waiter_whose_lease_ends_is_told_so() {
        let node = TestNode::default();
        lease(&node, 1).await;
        lease(&node, 2).await;
        let held = lock(&node, 1).await.unwrap();
        let second = waiting(&node, 2);
        settle().await;
        LeaseClient::new(node.gateway()).lease_revoke(etcd::LeaseRevokeRequest { id: 2 }).await.unwrap();
        unlock(&node, held.key).await;
        assert_eq!(second.await.unwrap().unwrap_err().message(), "mutex: session is expired");
    }

    #[tokio::test]
    async fn a_lock_without_a_lease_gets_one_and_an_unknown_lease_is_refused() {
        let node = TestNode::default();
        assert_eq!(lock(&node, 0).await.unwrap().key, "n/100");
        assert_eq!(lock(&node, 9).await.unwrap_err().message(), "etcdserver: requested lease not found");
    }
}
