//! `etcdserverpb.KV`.

use althing_api::Request as Ask;
use althing_api::request::Body;
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::kv_server::Kv;
use althing_types::Revision;
use prost::Message;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, Context, body, wire_header, wrong_body};
use crate::{convert, respond};

pub(crate) struct KvService(pub(crate) Backend);

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let context = Context::of(&request);
        let asked = convert::range(request.into_inner())?;
        let answer = self.0.ask(Ask::Range(asked), &context).await?;
        let (header, found) = body!(answer, Body::Range(found) => found)?;
        Ok(Response::new(respond::range(header, found)))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let context = Context::of(&request);
        let bytes = request.get_ref().encoded_len();
        let asked = convert::put(request.into_inner())?;
        convert::check_size(bytes)?;
        let answer = self.0.ask(Ask::Put(asked), &context).await?;
        let (header, done) = body!(answer, Body::Put(done) => done)?;
        Ok(Response::new(respond::put(header, done)))
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let context = Context::of(&request);
        let bytes = request.get_ref().encoded_len();
        let asked = convert::delete_range(request.into_inner())?;
        convert::check_size(bytes)?;
        let answer = self.0.ask(Ask::DeleteRange(asked), &context).await?;
        let (header, done) = body!(answer, Body::DeleteRange(done) => done)?;
        Ok(Response::new(respond::delete_range(header, done)))
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let context = Context::of(&request);
        let bytes = request.get_ref().encoded_len();
        let asked = convert::txn(request.into_inner())?;
        if !asked.is_read_only() {
            convert::check_size(bytes)?;
        }
        let answer = self.0.ask(Ask::Txn(asked), &context).await?;
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
        let answer = self.0.ask(asked, &context).await?;
        let (header, ()) = body!(answer, Body::Compact => ())?;
        Ok(Response::new(pb::CompactionResponse { header }))
    }
}

#[cfg(test)]
mod tests {
    use althing_api::ErrorKind;
    use althing_etcd_proto::etcdserverpb::kv_client::KvClient;
    use althing_etcd_proto::etcdserverpb::request_op::Request as Op;
    use althing_types::limits::{MAX_REQUEST_BYTES, MAX_REQUEST_OVERHEAD_BYTES, MAX_TXN_DEPTH, MAX_TXN_OPS};
    use tonic::Code;

    use super::*;
    use crate::Gateway;
    use crate::testing::TestNode;

    fn client() -> (TestNode, KvClient<Gateway>) {
        let node = TestNode::default();
        let gateway = node.gateway();
        (node, KvClient::new(gateway))
    }

    fn put(key: &str, value: &str) -> pb::PutRequest {
        pb::PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
    }

    fn op(request: Op) -> pb::RequestOp {
        pb::RequestOp { request: Some(request) }
    }

    async fn refused(request: pb::TxnRequest) -> (Code, String) {
        let status = client().1.txn(request).await.unwrap_err();
        (status.code(), status.message().to_owned())
    }

    #[tokio::test]
    async fn a_put_is_read_back_with_its_revisions_and_the_nodes_header() {
        let (_, mut client) = client();
        let header = client.put(put("a", "1")).await.unwrap().into_inner().header.unwrap();
        assert_eq!((header.cluster_id, header.member_id, header.revision, header.raft_term), (1, 2, 2, 3));
        let again = pb::PutRequest { prev_kv: true, ..put("a", "2") };
        let prev = client.put(again).await.unwrap().into_inner().prev_kv.unwrap();
        assert_eq!((prev.value.as_ref(), prev.mod_revision), (b"1".as_slice(), 2));
        let range = pb::RangeRequest { key: "a".into(), ..Default::default() };
        let found = client.range(range).await.unwrap().into_inner();
        let kv = &found.kvs[0];
        assert_eq!((found.count, kv.version, kv.create_revision, kv.mod_revision), (1, 2, 2, 3));
    }

    #[tokio::test]
    async fn a_transaction_takes_the_branch_that_its_comparison_chooses() {
        let (_, mut client) = client();
        let compare = pb::Compare { key: "a".into(), target: 0, result: 0, ..Default::default() };
        let txn = pb::TxnRequest {
            compare: vec![compare],
            success: vec![op(Op::RequestPut(put("a", "then")))],
            failure: vec![op(Op::RequestRange(pb::RangeRequest { key: "a".into(), ..Default::default() }))],
        };
        assert!(client.txn(txn.clone()).await.unwrap().into_inner().succeeded);
        assert!(!client.txn(txn).await.unwrap().into_inner().succeeded);
    }

    #[tokio::test]
    async fn what_etcd_refuses_before_it_asks_anybody_is_refused_with_its_words() {
        let (node, mut client) = client();
        let message = |status: Status| (status.code(), status.message().to_owned());
        let empty = (Code::InvalidArgument, "etcdserver: key is not provided".to_owned());
        assert_eq!(message(client.range(pb::RangeRequest::default()).await.unwrap_err()), empty);
        assert_eq!(message(client.put(put("", "1")).await.unwrap_err()), empty);
        assert_eq!(message(client.delete_range(pb::DeleteRangeRequest::default()).await.unwrap_err()), empty);
        let status = client.put(pb::PutRequest { ignore_value: true, ..put("a", "1") }).await.unwrap_err();
        assert_eq!(status.message(), "etcdserver: value is provided");
        let status = client.put(pb::PutRequest { ignore_lease: true, lease: 1, ..put("a", "") }).await.unwrap_err();
        assert_eq!(status.message(), "etcdserver: lease is provided");
        let sorted = pb::RangeRequest { key: "a".into(), sort_order: 9, ..Default::default() };
        assert_eq!(client.range(sorted).await.unwrap_err().message(), "etcdserver: invalid sort option");
        assert_eq!(node.table().revision(), Revision::FIRST);
    }

    #[tokio::test]
    async fn a_transaction_is_refused_for_its_operations_as_etcd_does() {
        let one = || op(Op::RequestPut(put("a", "1")));
        let many = pb::TxnRequest { success: vec![one(); MAX_TXN_OPS + 1], ..Default::default() };
        let too_many = (Code::InvalidArgument, "etcdserver: too many operations in txn request".to_owned());
        assert_eq!(refused(many).await, too_many);
        let twice = pb::TxnRequest { success: vec![one(), one()], ..Default::default() };
        assert_eq!(refused(twice).await.1, "etcdserver: duplicate key given in txn request");
        let nothing = pb::TxnRequest { success: vec![pb::RequestOp { request: None }], ..Default::default() };
        assert_eq!(refused(nothing).await.1, "etcdserver: key not found");
        let keyless = pb::TxnRequest { compare: vec![pb::Compare::default()], ..Default::default() };
        assert_eq!(refused(keyless).await.1, "etcdserver: key is not provided");
        let mut deep = pb::TxnRequest::default();
        for _ in 0..=MAX_TXN_DEPTH {
            deep = pb::TxnRequest { success: vec![op(Op::RequestTxn(deep))], ..Default::default() };
        }
        assert_eq!(refused(deep).await, too_many);
    }

    #[tokio::test]
    async fn a_request_that_is_too_large_is_refused_with_one_text_whoever_finds_it() {
        for bytes in [MAX_REQUEST_BYTES, MAX_REQUEST_BYTES + MAX_REQUEST_OVERHEAD_BYTES + 1] {
            let request = pb::PutRequest { value: vec![0; bytes].into(), ..put("a", "") };
            let status = client().1.put(request).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{bytes}");
            assert_eq!(status.message(), "etcdserver: request is too large", "{bytes}");
        }
    }

    #[tokio::test]
    async fn etcd_measures_a_write_with_its_entry_and_a_read_not_at_all() {
        let largest = MAX_REQUEST_BYTES - 25;
        let sized = |bytes| pb::PutRequest { value: vec![0; bytes].into(), ..put("a", "") };
        client().1.put(sized(largest)).await.unwrap();
        let refused = client().1.put(sized(largest + 1)).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: request is too large");
        let value = pb::compare::TargetUnion::Value(vec![0; MAX_REQUEST_BYTES].into());
        let compare = pb::Compare { key: "a".into(), target: 3, target_union: Some(value), ..Default::default() };
        let read = pb::TxnRequest { compare: vec![compare], ..Default::default() };
        assert!(!client().1.txn(read).await.unwrap().into_inner().succeeded);
    }

    #[tokio::test]
    async fn an_error_of_the_node_comes_in_etcds_words() {
        let (node, mut client) = client();
        node.table().refuse = Some(ErrorKind::NoSpace);
        let status = client.put(put("a", "1")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "etcdserver: mvcc: database space exceeded");
    }

    #[tokio::test]
    async fn a_compacted_read_says_so() {
        let (_, mut client) = client();
        client.put(put("a", "1")).await.unwrap();
        client.compact(pb::CompactionRequest { revision: 2, physical: false }).await.unwrap();
        let range = pb::RangeRequest { key: "a".into(), revision: 1, ..Default::default() };
        let status = client.range(range).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange);
        assert_eq!(status.message(), "etcdserver: mvcc: required revision has been compacted");
    }
}
