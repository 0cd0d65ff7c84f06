//! `etcdserverpb.Maintenance`.

use std::pin::Pin;
use std::task::{Context as Task, Poll};

use althing_api::cluster::{Alarm, AlarmAction, AlarmKind, NodeStatus};
use althing_api::request::Body;
use althing_api::{ErrorKind, Request as Ask, SnapshotChunk, SnapshotStream};
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::maintenance_server::Maintenance;
use althing_types::{NodeId, Revision};
use bytes::Bytes;
use futures_core::Stream;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, Context, body, wire_header};
use crate::respond::count;
use crate::sealed::{HASH_BYTES, Seal, trailer_bytes};
use crate::status::{Refusal, status};
use crate::table::Table;
use crate::{CLUSTER_VERSION, SERVER_VERSION};

pub(crate) struct MaintenanceService(pub(crate) Backend);

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let context = Context::of(&request);
        let request = request.into_inner();
        let action = match request.action() {
            pb::alarm_request::AlarmAction::Get => AlarmAction::Get,
            pb::alarm_request::AlarmAction::Activate => AlarmAction::Activate,
            pb::alarm_request::AlarmAction::Deactivate => AlarmAction::Deactivate,
        };
        let kind = match request.alarm() {
            pb::AlarmType::None => None,
            pb::AlarmType::Nospace => Some(AlarmKind::NoSpace),
            pb::AlarmType::Corrupt => Some(AlarmKind::Corrupt),
        };
        let asked = Ask::Alarm { action, member: NodeId(request.member_id), kind };
        let answer = self.0.ask(asked, &context).await?;
        let (header, alarms) = body!(answer, Body::Alarms(alarms) => alarms)?;
        Ok(Response::new(pb::AlarmResponse { header, alarms: alarms.into_iter().map(alarm).collect() }))
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let answer = self.0.ask(Ask::Status, &Context::of(&request)).await?;
        let (header, node) = body!(answer, Body::Status(node) => node)?;
        Ok(Response::new(node_status(header, node)))
    }

    /// There is nothing to defragment: space comes back by itself.
    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        let header = self.0.fresh_header(&Context::of(&request)).await?;
        Ok(Response::new(pb::DefragmentResponse { header: Some(wire_header(header)) }))
    }

    async fn hash(&self, request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        let answer = self.0.ask(Ask::Hash, &Context::of(&request)).await?;
        let (header, hash) = body!(answer, Body::Hash(hash) => hash)?;
        Ok(Response::new(pb::HashResponse { header, hash }))
    }

    async fn hash_kv(&self, request: Request<pb::HashKvRequest>) -> Result<Response<pb::HashKvResponse>, Status> {
        let context = Context::of(&request);
        let revision = request.into_inner().revision;
        let asked = Ask::HashKv((revision > 0).then_some(Revision(revision)));
        let answer = self.0.ask(asked, &context).await?;
        let (header, found) = body!(answer, Body::HashKv(found) => found)?;
        Ok(Response::new(pb::HashKvResponse {
            header,
            hash: found.hash,
            compact_revision: found.compact_revision.get(),
            hash_revision: found.hash_revision.get(),
        }))
    }

    type SnapshotStream = SealedSnapshot;

    async fn snapshot(&self, request: Request<pb::SnapshotRequest>) -> Result<Response<SealedSnapshot>, Status> {
        let context = Context::of(&request);
        self.0.prepare_headers(&context.table).await;
        let stream = self.0.snapshot(&context);
        Ok(Response::new(SealedSnapshot::new(self.0.clone(), context.table, stream)))
    }

    /// Only the leader hands its leadership over, so that a client knows whose it takes.
    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let context = Context::of(&request);
        let target = NodeId(request.into_inner().target_id);
        let now = self.0.ask(Ask::Status, &context).await?;
        let (_, node) = body!(now, Body::Status(node) => node)?;
        if node.leader != self.0.service().member() {
            return Err(status(&ErrorKind::NotLeader.into()));
        }
        let answer = self.0.ask(Ask::MoveLeader(target), &context).await?;
        let (header, ()) = body!(answer, Body::MoveLeader => ())?;
        Ok(Response::new(pb::MoveLeaderResponse { header }))
    }

    /// No version below this one serves etcd's API, so there is nothing to go down to.
    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        use pb::downgrade_request::DowngradeAction;
        let is_version = is_version(&request.get_ref().version);
        Err(match request.get_ref().action() {
            DowngradeAction::Validate | DowngradeAction::Enable if !is_version => Refusal::DowngradeVersionFormat,
            DowngradeAction::Validate | DowngradeAction::Enable => Refusal::InvalidDowngradeTarget,
            DowngradeAction::Cancel => Refusal::NoDowngrade,
        }
        .into())
    }
}

/// Whether a text is a version as etcd reads it: `3.5` or `3.5.1`.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    matches!(parts.len(), 2 | 3) && parts.iter().all(|part| part.parse::<u64>().is_ok())
}

fn alarm(alarm: Alarm) -> pb::AlarmMember {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => pb::AlarmType::Nospace,
        AlarmKind::Corrupt => pb::AlarmType::Corrupt,
    };
    pb::AlarmMember { member_id: alarm.member.get(), alarm: kind.into() }
}

fn node_status(header: Option<pb::ResponseHeader>, node: NodeStatus) -> pb::StatusResponse {
    let mut errors = node.errors;
    if node.leader == NodeId::NONE {
        errors.push(Refusal::NoLeader.parts().1.to_owned());
    }
    pb::StatusResponse {
        header,
        version: SERVER_VERSION.to_owned(),
        db_size: count(node.db_size_bytes),
        leader: node.leader.get(),
        raft_index: node.raft_index,
        raft_term: node.raft_term,
        raft_applied_index: node.raft_applied_index,
        errors,
        db_size_in_use: count(node.db_size_in_use_bytes),
        is_learner: node.is_learner,
        storage_version: CLUSTER_VERSION.to_owned(),
        db_size_quota: count(node.db_size_quota_bytes),
        downgrade_info: Some(pb::DowngradeInfo::default()),
    }
}

/// How far a snapshot is.
enum Stage {
    Payload(SnapshotStream, Box<Seal>),
    /// Only the hash is missing, which etcd sends as a message of its own and does not count as remaining.
    Hash(Bytes),
    Ended,
}

/// A snapshot on its way to a client, with the seal at its end.
pub(crate) struct SealedSnapshot {
    backend: Backend,
    table: Table,
    stage: Stage,
    revision: Revision,
}

impl SealedSnapshot {
    fn new(backend: Backend, table: Table, chunks: SnapshotStream) -> Self {
        Self { backend, table, stage: Stage::Payload(chunks, Box::default()), revision: Revision(0) }
    }

    fn response(&self, blob: Bytes, remaining_bytes: u64) -> pb::SnapshotResponse {
        let header = Some(wire_header(self.backend.header(&self.table, self.revision)));
        pb::SnapshotResponse { header, remaining_bytes, blob, version: CLUSTER_VERSION.to_owned() }
    }
}

impl Stream for SealedSnapshot {
    type Item = Result<pb::SnapshotResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let (mut chunks, mut seal) = match std::mem::replace(&mut this.stage, Stage::Ended) {
            Stage::Payload(chunks, seal) => (chunks, seal),
            Stage::Hash(hash) => return Poll::Ready(Some(Ok(this.response(hash, 0)))),
            Stage::Ended => return Poll::Ready(None),
        };
        let Poll::Ready(chunk) = chunks.as_mut().poll_next(cx) else {
            this.stage = Stage::Payload(chunks, seal);
            return Poll::Pending;
        };
        Poll::Ready(Some(match chunk {
            Some(Ok(SnapshotChunk { bytes, remaining_bytes, revision })) => {
                seal.update(&bytes);
                let trailer = trailer_bytes(seal.payload_bytes() + remaining_bytes) - HASH_BYTES as u64;
                this.stage = Stage::Payload(chunks, seal);
                this.revision = revision;
                Ok(this.response(bytes, remaining_bytes + trailer))
            }
            Some(Err(error)) => Err(status(&error)),
            None => {
                let mut trailer = seal.finish();
                this.stage = Stage::Hash(trailer.split_off(trailer.len() - HASH_BYTES));
                Ok(this.response(trailer, 0))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use althing_etcd_proto::etcdserverpb::maintenance_client::MaintenanceClient;

    use super::*;
    use crate::sealed;
    use crate::testing::TestNode;

    #[tokio::test]
    async fn a_snapshot_is_the_nodes_bytes_and_a_seal_and_remaining_bytes_count_down_to_nothing() {
        let mut client = MaintenanceClient::new(TestNode::default().gateway());
        let mut stream = client.snapshot(pb::SnapshotRequest {}).await.unwrap().into_inner();
        let (mut file, mut remaining) = (Vec::new(), Vec::new());
        while let Some(piece) = stream.message().await.unwrap() {
            file.extend_from_slice(&piece.blob);
            remaining.push((file.len() as u64, piece.remaining_bytes));
        }
        assert_eq!(sealed::verify(&mut file.as_slice()).unwrap(), 11);
        assert_eq!(&file[..11], b"hello world");
        let (last, before) = remaining.split_last().unwrap();
        assert!(before.iter().all(|(sent, left)| sent + left + 32 == file.len() as u64), "{remaining:?}");
        assert_eq!(*last, (file.len() as u64, 0), "the hash, on its own");
    }

    #[tokio::test]
    async fn the_status_names_an_etcd_that_clients_trust_and_the_missing_leader() {
        let node = TestNode::default();
        node.table().leaderless = true;
        let mut client = MaintenanceClient::new(node.gateway());
        let status = client.status(pb::StatusRequest {}).await.unwrap().into_inner();
        assert_eq!((status.version.as_str(), status.raft_term), (SERVER_VERSION, 3));
        assert_eq!(status.errors, ["etcdserver: no leader"]);
    }

    #[tokio::test]
    async fn a_node_that_does_not_lead_hands_no_leadership_over() {
        let node = TestNode::default();
        node.table().leaderless = true;
        let mut client = MaintenanceClient::new(node.gateway());
        let refused = client.move_leader(pb::MoveLeaderRequest { target_id: 1 }).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert_eq!(refused.message(), "etcdserver: not leader");
    }

    #[tokio::test]
    async fn an_alarm_is_listed_with_its_member_and_kind() {
        let node = TestNode::default();
        node.table().no_space();
        let alarms = MaintenanceClient::new(node.gateway()).alarm(pb::AlarmRequest::default()).await.unwrap();
        let expected = pb::AlarmMember { member_id: 2, alarm: pb::AlarmType::Nospace.into() };
        assert_eq!(alarms.into_inner().alarms, [expected]);
    }

    #[tokio::test]
    async fn there_is_nothing_to_downgrade_to() {
        let mut client = MaintenanceClient::new(TestNode::default().gateway());
        let status = client.downgrade(pb::DowngradeRequest { action: 2, ..Default::default() }).await.unwrap_err();
        assert_eq!(status.message(), "etcdserver: no inflight downgrade job");
        for (version, text) in
            [("3.5", "invalid downgrade target version"), ("x", "wrong downgrade target version format")]
        {
            let request = pb::DowngradeRequest { version: version.into(), ..Default::default() };
            assert_eq!(client.downgrade(request).await.unwrap_err().message(), format!("etcdserver: {text}"));
        }
    }
}
