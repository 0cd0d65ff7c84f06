//! `etcdserverpb.KV`.

use althing_api::Request as Ask;
use althing_api::request::Body;
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::kv_server::Kv;
use althing_types::Revision;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, Context, body, wire_header, wrong_body};
use crate::{convert, respond};

pub(crate) struct KvService(pub(crate) Backend);

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let context = Context::of(&request);
        let asked = convert::range(request.into_inner())?;
        let answer = self.0.ask(Ask::Range(asked), context).await?;
        let (header, found) = body!(answer, Body::Range(found) => found)?;
        Ok(Response::new(respond::range(header, found)))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let context = Context::of(&request);
        convert::check_size(request.get_ref())?;
        let asked = convert::put(request.into_inner())?;
        let answer = self.0.ask(Ask::Put(asked), context).await?;
        let (header, done) = body!(answer, Body::Put(done) => done)?;
        Ok(Response::new(respond::put(header, done)))
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let context = Context::of(&request);
        convert::check_size(request.get_ref())?;
        let asked = convert::delete_range(request.into_inner())?;
        let answer = self.0.ask(Ask::DeleteRange(asked), context).await?;
        let (header, done) = body!(answer, Body::DeleteRange(done) => done)?;
        Ok(Response::new(respond::delete_range(header, done)))
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let context = Context::of(&request);
        convert::check_size(request.get_ref())?;
        let asked = convert::txn(request.into_inner())?;
        let answer = self.0.ask(Ask::Txn(asked), context).await?;
        match answer.body {
            Body::Txn(done) => Ok(Response::new(respond::txn(wire_header(answer.header), done))),
            _ => Err(wrong_body()),
        }
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let context = Context::of(&request);
        let pb::CompactionRequest { revision, physical } = request.into_inner();
        let asked = Ask::Compact { revision: Revision(revision), physical };
        let answer = self.0.ask(asked, context).await?;
        let (header, ()) = body!(answer, Body::Compact => ())?;
        Ok(Response::new(pb::CompactionResponse { header }))
    }
}
