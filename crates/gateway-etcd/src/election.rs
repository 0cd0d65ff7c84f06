//! `v3electionpb.Election`: the head of the line is the leader, and its key's value is what it proclaims.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use althing_api::kv::KeyValue;
use althing_api::watch::WatchFilter;
use althing_etcd_proto::v3electionpb as pb;
use althing_etcd_proto::v3electionpb::election_server::Election;
use althing_types::{LeaseId, Revision};
use bytes::Bytes;
use futures_core::Stream;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, Context, wire_header};
use crate::concurrency::{Client, Follower, Place, is_put, prefix, within};
use crate::respond::key_value;

pub(crate) struct ElectionService(pub(crate) Backend);

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(&self, request: Request<pb::CampaignRequest>) -> Result<Response<pb::CampaignResponse>, Status> {
        let context = Context::of(&request);
        let timeout = context.timeout;
        let client = Client::new(self.0.clone(), context);
        within(timeout, campaign(client, request.into_inner())).await.map(Response::new)
    }

    async fn proclaim(&self, request: Request<pb::ProclaimRequest>) -> Result<Response<pb::ProclaimResponse>, Status> {
        let client = Client::new(self.0.clone(), Context::of(&request));
        let pb::ProclaimRequest { leader, value } = request.into_inner();
        let (header, is_leader) = client.replace(&place(leader)?, &value).await?;
        if !is_leader {
            return Err(Status::unknown("election: not leader"));
        }
        Ok(Response::new(pb::ProclaimResponse { header: Some(wire_header(header)) }))
    }

    async fn leader(&self, request: Request<pb::LeaderRequest>) -> Result<Response<pb::LeaderResponse>, Status> {
        let client = Client::new(self.0.clone(), Context::of(&request));
        let (header, leader) = client.head(&prefix(&request.get_ref().name)).await?;
        let kv = leader.ok_or_else(|| Status::unknown("election: no leader"))?;
        Ok(Response::new(pb::LeaderResponse { header: Some(wire_header(header)), kv: Some(key_value(kv)) }))
    }

    type ObserveStream = Leaders;

    async fn observe(&self, request: Request<pb::LeaderRequest>) -> Result<Response<Leaders>, Status> {
        let client = Client::new(self.0.clone(), Context::of(&request));
        let line = Line { client, prefix: prefix(&request.get_ref().name) };
        let observer = Observer { line, view: View::Looking };
        Ok(Response::new(Leaders(Some(Box::pin(observer.next())))))
    }

    async fn resign(&self, request: Request<pb::ResignRequest>) -> Result<Response<pb::ResignResponse>, Status> {
        let client = Client::new(self.0.clone(), Context::of(&request));
        let header = client.leave(&place(request.into_inner().leader)?).await?;
        Ok(Response::new(pb::ResignResponse { header: Some(wire_header(header)) }))
    }
}

/// The place that an elected candidate brings back.
fn place(leader: Option<pb::LeaderKey>) -> Result<Place, Status> {
    let leader = leader.ok_or_else(|| Status::unknown("\"leader\" field must be provided"))?;
    Ok(Place {
        prefix: prefix(&leader.name),
        key: leader.key,
        lease: LeaseId(leader.lease),
        revision: Revision(leader.rev),
    })
}

async fn campaign(client: Client, request: pb::CampaignRequest) -> Result<pb::CampaignResponse, Status> {
    let pb::CampaignRequest { name, lease, value } = request;
    let lease = client.session(lease).await?;
    let taken = client.take_place(prefix(&name), lease, &value).await?;
    let place = taken.place;
    if taken.before.is_some_and(|before| before != value) && !client.replace(&place, &value).await?.1 {
        return Err(Status::unknown("election: not leader"));
    }
    if !taken.is_head {
        client.wait_for_turn(&place).await?;
    }
    // However long it has waited, a candidate is told when it came, as in etcd.
    let header = Some(wire_header(taken.header));
    let leader = pb::LeaderKey { name, key: place.key, rev: place.revision.get(), lease: lease.get() };
    Ok(pb::CampaignResponse { header, leader: Some(leader) })
}

/// The candidates of one election, and how to ask for them.
struct Line {
    client: Client,
    prefix: Bytes,
}

/// Watches who leads.
struct Observer {
    line: Line,
    view: View,
}

enum View {
    /// Nobody is known to lead.
    Looking,
    /// The key of the leader is followed.
    Following(Follower),
}

impl Line {
    /// Reads the leader, or waits for the first candidate; with the revision at which it led.
    async fn look(&self) -> Result<(Revision, KeyValue), Status> {
        loop {
            let (header, leader) = self.client.head(&self.prefix).await?;
            if let Some(kv) = leader {
                return Ok((header.revision, kv));
            }
            let mut candidates = self.client.follow_puts(&self.prefix, header.revision.next());
            if let Some(event) = candidates.next().await? {
                return Ok((event.kv.mod_revision, event.kv));
            }
        }
    }
}

type Told = Result<(pb::LeaderResponse, Observer), Status>;

impl Observer {
    /// The next leader, or the next thing that the present one proclaims.
    async fn next(mut self) -> Told {
        loop {
            match self.view {
                View::Looking => {
                    let (seen_at, kv) = self.line.look().await?;
                    return Ok(self.found(seen_at, kv));
                }
                View::Following(mut follower) => match follower.next().await? {
                    Some(event) if is_put(&event) => {
                        self.view = View::Following(follower);
                        return Ok(self.tell(event.kv.mod_revision, event.kv));
                    }
                    // It has resigned or its lease has ended, or the watch has lost it.
                    _ => self.view = View::Looking,
                },
            }
        }
    }

    fn found(mut self, seen_at: Revision, kv: KeyValue) -> (pb::LeaderResponse, Self) {
        let keys = althing_api::kv::KeyRange::single(kv.key.clone());
        self.view = View::Following(self.line.client.follow(keys, seen_at.next(), WatchFilter::default()));
        self.tell(seen_at, kv)
    }

    fn tell(self, revision: Revision, kv: KeyValue) -> (pb::LeaderResponse, Self) {
        let header = Some(wire_header(self.line.client.header(revision)));
        (pb::LeaderResponse { header, kv: Some(key_value(kv)) }, self)
    }
}

/// The stream of an observer: one step after the other.
pub(crate) struct Leaders(Option<Pin<Box<dyn Future<Output = Told> + Send>>>);

impl Stream for Leaders {
    type Item = Result<pb::LeaderResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let Some(step) = &mut self.0 else { return Poll::Ready(None) };
        let told = ready!(step.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(Some(told.map(|(response, observer)| {
            self.0 = Some(Box::pin(observer.next()));
            response
        })))
    }
}

#[cfg(test)]
mod tests {
    use althing_etcd_proto::etcdserverpb as etcd;
    use althing_etcd_proto::etcdserverpb::lease_client::LeaseClient;
    use althing_etcd_proto::v3electionpb::election_client::ElectionClient;

    use super::*;
    use crate::Gateway;
    use crate::testing::TestNode;

    async fn client(node: &TestNode, leases: i64) -> ElectionClient<Gateway> {
        for id in 1..=leases {
            LeaseClient::new(node.gateway()).lease_grant(etcd::LeaseGrantRequest { ttl: 60, id }).await.unwrap();
        }
        ElectionClient::new(node.gateway())
    }

    fn candidate(lease: i64, value: &'static str) -> pb::CampaignRequest {
        pb::CampaignRequest { name: "e".into(), lease, value: value.into() }
    }

    fn election() -> pb::LeaderRequest {
        pb::LeaderRequest { name: "e".into() }
    }

    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_first_candidate_leads_and_the_next_waits_until_it_resigns() {
        let node = TestNode::default();
        let mut client = client(&node, 2).await;
        let first = client.campaign(candidate(1, "one")).await.unwrap().into_inner().leader.unwrap();
        assert_eq!((first.key.as_ref(), first.rev, first.lease), (b"e/1".as_slice(), 2, 1));
        let mut other = client.clone();
        let second = tokio::spawn(async move { other.campaign(candidate(2, "two")).await });
        settle().await;
        assert!(!second.is_finished());
        let leader = client.leader(election()).await.unwrap().into_inner().kv.unwrap();
        assert_eq!(leader.value, "one");
        client.resign(pb::ResignRequest { leader: Some(first) }).await.unwrap();
        let second = second.await.unwrap().unwrap().into_inner().leader.unwrap();
        assert_eq!(second.key, "e/2");
        assert_eq!(client.leader(election()).await.unwrap().into_inner().kv.unwrap().value, "two");
    }

    #[tokio::test]
    async fn a_leader_proclaims_and_one_that_has_lost_its_place_cannot() {
        let node = TestNode::default();
        let mut client = client(&node, 1).await;
        let leader = client.campaign(candidate(1, "one")).await.unwrap().into_inner().leader;
        let proclaim = |leader| pb::ProclaimRequest { leader, value: "new".into() };
        client.proclaim(proclaim(leader.clone())).await.unwrap();
        assert_eq!(client.leader(election()).await.unwrap().into_inner().kv.unwrap().value, "new");
        client.resign(pb::ResignRequest { leader: leader.clone() }).await.unwrap();
        let status = client.proclaim(proclaim(leader)).await.unwrap_err();
        assert_eq!(status.message(), "election: not leader");
        let status = client.proclaim(proclaim(None)).await.unwrap_err();
        assert_eq!(status.message(), "\"leader\" field must be provided");
    }

    #[tokio::test]
    async fn an_election_without_candidates_has_no_leader() {
        let node = TestNode::default();
        let status = client(&node, 0).await.leader(election()).await.unwrap_err();
        assert_eq!(status.message(), "election: no leader");
    }

    #[tokio::test]
    async fn a_candidate_that_campaigns_again_with_another_value_proclaims_it() {
        let node = TestNode::default();
        let mut client = client(&node, 1).await;
        client.campaign(candidate(1, "one")).await.unwrap();
        let again = client.campaign(candidate(1, "two")).await.unwrap().into_inner().leader.unwrap();
        assert_eq!(again.rev, 2);
        assert_eq!(client.leader(election()).await.unwrap().into_inner().kv.unwrap().value, "two");
    }

    #[tokio::test]
    async fn an_observer_sees_the_leader_what_it_proclaims_and_its_successor() {
        let node = TestNode::default();
        let mut client = client(&node, 2).await;
        let mut seen = client.observe(election()).await.unwrap().into_inner();
        let mut watcher = tokio::spawn(async move {
            let mut values = Vec::new();
            while values.len() < 3 {
                values.push(seen.message().await.unwrap().unwrap().kv.unwrap().value);
            }
            values
        });
        settle().await;
        let first = client.campaign(candidate(1, "one")).await.unwrap().into_inner().leader;
        settle().await;
        client.proclaim(pb::ProclaimRequest { leader: first.clone(), value: "more".into() }).await.unwrap();
        settle().await;
        client.resign(pb::ResignRequest { leader: first }).await.unwrap();
        client.campaign(candidate(2, "two")).await.unwrap();
        assert_eq!((&mut watcher).await.unwrap(), ["one", "more", "two"]);
    }
}
