//! `v3lockpb.Lock`: the head of the line holds the lock.

use althing_etcd_proto::v3lockpb as pb;
use althing_etcd_proto::v3lockpb::lock_server::Lock;
use bytes::Bytes;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, Context, wire_header};
use crate::concurrency::{Client, prefix, within};

pub(crate) struct LockService(pub(crate) Backend);

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let context = Context::of(&request);
        let client = Client::new(self.0.clone(), context);
        within(context.timeout, lock(client, request.into_inner())).await.map(Response::new)
    }

    async fn unlock(&self, request: Request<pb::UnlockRequest>) -> Result<Response<pb::UnlockResponse>, Status> {
        let client = Client::new(self.0.clone(), Context::of(&request));
        let key = request.into_inner().key;
        if key.is_empty() {
            return Err(crate::status::Refusal::EmptyKey.into());
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
