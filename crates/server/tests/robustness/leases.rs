//! Clients that hold a lease with one key attached, keep it alive for a while, then revoke it or fall silent, and look all
//! the time whether the key is there.

use std::sync::Arc;

use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::kv_client::KvClient;
use althing_etcd_proto::etcdserverpb::lease_client::LeaseClient;
use althing_sim::history::{Lease, LeaseStep};
use althing_types::{Instant, LeaseId};
use bytes::Bytes;
use tonic::Status;

use crate::recorder::Recorder;
use crate::wire::{self, Session};

/// Keys of leases begin with this.
pub const PREFIX: &str = "l/";
/// Seconds that a lease is asked for.
const TTL_SECONDS: std::ops::RangeInclusive<i64> = 1..=3;

/// What comes after a step.
enum Next {
    /// The lease goes on.
    Hold,
    /// Nothing more is done for it; its end is awaited.
    LetGo,
    /// A new one.
    Anew,
}

/// Holds lease after lease until the load ends.
pub async fn work(recorder: Arc<Recorder>, mut session: Session) {
    while recorder.is_loaded() {
        match grant(&recorder, &mut session).await {
            Some(place) => hold(&recorder, &mut session, place).await,
            None => session.leave(),
        }
        session.sleep(10..100).await;
    }
}

/// Asks for a lease and attaches a key. Its place in the history, or `None` if one of the two was not answered.
async fn grant(recorder: &Recorder, session: &mut Session) -> Option<usize> {
    let client = recorder.new_client();
    let wanted = pb::LeaseGrantRequest { ttl: session.rng.i64(TTL_SECONDS), id: 0 };
    let mut leases = LeaseClient::new(session.channel());
    let sent = recorder.now();
    let granted = session.wait(leases.lease_grant(session.request(wanted))).await.ok()?.into_inner();
    let answered = recorder.now();
    assert!(granted.ttl >= wanted.ttl, "granted less than was asked for: {granted:?}");
    let key = Bytes::from(format!("{PREFIX}{:06}", client.0));
    let place = {
        let mut history = recorder.history();
        history.leases.push(Lease {
            client,
            id: LeaseId(granted.id),
            key: key.clone(),
            ttl_seconds: granted.ttl,
            steps: vec![LeaseStep::Alive { sent, answered }],
        });
        history.leases.len() - 1
    };
    let attach = pb::PutRequest { lease: granted.id, ..wire::put(key, "held") };
    let mut kv = KvClient::new(session.channel());
    session.wait(kv.put(session.request(attach))).await.ok()?;
    Some(place)
}

async fn hold(recorder: &Recorder, session: &mut Session, place: usize) {
    let (id, key, ttl_seconds) = {
        let history = recorder.history();
        let lease = &history.leases[place];
        (lease.id, lease.key.clone(), lease.ttl_seconds.unsigned_abs())
    };
    let mut next = Next::Hold;
    while recorder.is_loaded() {
        next = match (next, session.rng.u32(0..100)) {
            (Next::Anew, _) => return,
            (Next::LetGo, _) => look(recorder, session, place, &key, Next::LetGo).await,
            (Next::Hold, 0..35) => look(recorder, session, place, &key, Next::Hold).await,
            (Next::Hold, 35..72) => revive(recorder, session, place, id).await,
            (Next::Hold, 72..78) => revoke(recorder, session, place, id).await,
            (Next::Hold, _) => Next::LetGo,
        };
        match next {
            Next::Hold => session.sleep(1..ttl_seconds * 250).await,
            Next::LetGo => session.sleep(20..200).await,
            Next::Anew => {}
        }
    }
}

async fn look(recorder: &Recorder, session: &mut Session, place: usize, key: &Bytes, next: Next) -> Next {
    let mut kv = KvClient::new(session.channel());
    let sent = recorder.now();
    let Ok(found) = session.wait(kv.range(session.request(wire::get(key.clone())))).await else {
        session.leave();
        return next;
    };
    let answered = recorder.now();
    if found.into_inner().kvs.is_empty() {
        note(recorder, place, LeaseStep::KeyGone { sent, answered });
        return Next::Anew;
    }
    note(recorder, place, LeaseStep::KeySeen { sent, answered });
    next
}

async fn revive(recorder: &Recorder, session: &mut Session, place: usize, id: LeaseId) -> Next {
    let channel = session.channel();
    let sent = recorder.now();
    match session.wait(keep_alive(LeaseClient::new(channel), id)).await {
        Ok(ttl_seconds) if ttl_seconds > 0 => {
            note(recorder, place, LeaseStep::Alive { sent, answered: recorder.now() });
            Next::Hold
        }
        // It has run out, or nobody knows: a look will tell.
        Ok(_) => Next::LetGo,
        Err(_) => {
            session.leave();
            Next::LetGo
        }
    }
}

/// One keep-alive on a stream of its own; the seconds that it gave, 0 for a lease that is not there.
async fn keep_alive(mut leases: LeaseClient<tonic::transport::Channel>, id: LeaseId) -> Result<i64, Status> {
    let once = tokio_stream::once(pb::LeaseKeepAliveRequest { id: id.get() });
    let mut answers = leases.lease_keep_alive(once).await?.into_inner();
    let answer = answers.message().await?.ok_or_else(|| Status::unavailable("the stream ended without an answer"))?;
    Ok(answer.ttl)
}

async fn revoke(recorder: &Recorder, session: &mut Session, place: usize, id: LeaseId) -> Next {
    let sent: Instant = recorder.now();
    note(recorder, place, LeaseStep::Revoked { sent });
    let mut leases = LeaseClient::new(session.channel());
    let revoke = session.request(pb::LeaseRevokeRequest { id: id.get() });
    if session.wait(leases.lease_revoke(revoke)).await.is_err() {
        session.leave();
    }
    Next::Anew
}

fn note(recorder: &Recorder, place: usize, step: LeaseStep) {
    recorder.history().leases[place].steps.push(step);
}
