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
        let client = Client::new(self.0.clone(), context);
        within(context.timeout, campaign(client, request.into_inner())).await.map(Response::new)
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
    let header = if taken.is_head { taken.header } else { client.wait_for_turn(&place).await? };
    let leader = pb::LeaderKey { name, key: place.key, rev: place.revision.get(), lease: lease.get() };
    Ok(pb::CampaignResponse { header: Some(wire_header(header)), leader: Some(leader) })
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
        let header = Some(wire_header(self.line.client.backend().header(revision)));
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
