//! A client that holds a lease with one key attached, keeps it alive for a while, then revokes it or falls silent, and
//! looks all the time whether the key is there.

use althing_api::Error;
use althing_api::kv::{KeyRange, PutLease, PutRequest, PutValue, RangeRequest};
use althing_api::request::{Answer, Body, Request};
use althing_types::{Duration, Instant, LeaseId, NodeId};
use bytes::Bytes;

use super::{Ask, Context, Drive, News, Ticket};
use crate::history::{ClientId, Lease, LeaseStep};
use crate::random::up_to;

/// Keys of leases begin with this.
pub const LEASE_PREFIX: &[u8] = b"l/";

/// Where the client stands.
#[derive(Clone, Debug)]
enum Stage {
    /// Without a lease.
    Idle,
    /// Waits for a grant of a lease of so many seconds.
    Granting { ttl_seconds: i64 },
    /// Waits for its key to be written.
    Attaching,
    /// Holds the lease and does this next.
    Holding,
    /// Waits for an answer to a keep-alive.
    Reviving,
    /// Waits for an answer to a read; then goes on as told.
    Looking(Mood),
    /// Waits for an answer to a revocation.
    Revoking,
}

/// What the client wants of its lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    /// To keep it.
    Keep,
    /// To see it end.
    LetGo,
}

/// A client with a lease.
#[derive(Debug)]
pub struct LeaseClient {
    client: ClientId,
    node: NodeId,
    ticket: Ticket,
    sent: Instant,
    stage: Stage,
    mood: Mood,
    /// The lease, as its place in the history.
    lease: Option<usize>,
    drive: Drive,
}

impl LeaseClient {
    /// A client that has no lease yet.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            node: NodeId::NONE,
            ticket: Ticket::default(),
            sent: Instant::ZERO,
            stage: Stage::Idle,
            mood: Mood::Keep,
            lease: None,
            drive: Drive::default(),
        }
    }

    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.act(cx),
            News::Answered { ticket, result } if ticket == self.ticket => self.answered(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn act(&mut self, cx: &mut Context<'_>) {
        match self.stage {
            Stage::Idle if self.drive == Drive::Finishing => {}
            Stage::Idle => self.grant(cx),
            Stage::Holding => self.tend(cx),
            // Woken although an answer is awaited: the answer wakes it again.
            Stage::Granting { .. } | Stage::Attaching | Stage::Reviving | Stage::Looking(_) | Stage::Revoking => {}
        }
    }

    fn grant(&mut self, cx: &mut Context<'_>) {
        self.client = cx.shared.new_client();
        self.mood = Mood::Keep;
        self.lease = None;
        let ttl_seconds = cx.rng.i64(1..=4);
        let id = i64::try_from(self.client.0).map(LeaseId).expect("clients are counted from one");
        self.stage = Stage::Granting { ttl_seconds };
        self.send(Request::LeaseGrant { id: Some(id), ttl_seconds }, cx);
    }

    /// Looks, keeps alive, revokes, or falls silent and only looks from then on.
    fn tend(&mut self, cx: &mut Context<'_>) {
        let Some(lease) = self.lease.map(|place| &cx.shared.history.leases[place]) else { return self.give_up(cx) };
        let (id, key) = (lease.id, lease.key.clone());
        let dice = cx.rng.u32(0..100);
        if self.mood == Mood::LetGo || dice < 40 {
            self.stage = Stage::Looking(self.mood);
            self.send(Request::Range(RangeRequest::new(KeyRange::single(key))), cx);
        } else if dice < 85 {
            self.stage = Stage::Reviving;
            self.send(Request::LeaseKeepAlive(id), cx);
        } else if dice < 90 {
            self.stage = Stage::Revoking;
            self.note(LeaseStep::Revoked { sent: cx.now }, cx);
            self.send(Request::LeaseRevoke(id), cx);
        } else {
            self.mood = Mood::LetGo;
            cx.rest();
        }
    }

    fn send(&mut self, request: Request, cx: &mut Context<'_>) {
        self.node = if self.node == NodeId::NONE { cx.any_node() } else { self.node };
        self.ticket = self.ticket.next();
        self.sent = cx.now;
        cx.call(self.ticket, self.node, request);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        match (std::mem::replace(&mut self.stage, Stage::Holding), result) {
            (Stage::Granting { ttl_seconds }, Ok(answer)) => self.granted(ttl_seconds, &answer, cx),
            (Stage::Attaching, Ok(_)) => cx.rest(),
            (Stage::Reviving, Ok(_)) => {
                self.note(LeaseStep::Alive { sent: self.sent, answered: cx.now }, cx);
                self.doze(cx);
            }
            (Stage::Looking(mood), Ok(answer)) => self.looked(mood, &answer, cx),
            // Without a lease, or unsure whether the key is there: begin anew.
            (Stage::Granting { .. } | Stage::Attaching | Stage::Revoking, _) => self.give_up(cx),
            // The lease may have run out meanwhile; a look will tell.
            (Stage::Reviving, Err(_)) => {
                self.node = NodeId::NONE;
                self.mood = Mood::LetGo;
                cx.rest();
            }
            (Stage::Looking(_) | Stage::Idle | Stage::Holding, _) => {
                self.node = NodeId::NONE;
                cx.rest();
            }
        }
    }

    fn granted(&mut self, ttl_seconds: i64, answer: &Answer, cx: &mut Context<'_>) {
        let Body::LeaseGrant(granted) = &answer.body else { panic!("a grant was answered with {answer:?}") };
        assert!(granted.ttl_seconds >= ttl_seconds, "granted less than was asked for: {granted:?}");
        let key = Bytes::from(format!("l/{:06}", self.client.0));
        self.lease = Some(cx.shared.history.leases.len());
        cx.shared.history.leases.push(Lease {
            client: self.client,
            id: granted.id,
            key: key.clone(),
            ttl_seconds: granted.ttl_seconds,
            steps: vec![LeaseStep::Alive { sent: self.sent, answered: cx.now }],
        });
        self.stage = Stage::Attaching;
        let put = PutRequest {
            key,
            value: PutValue::Set(Bytes::from_static(b"held")),
            lease: PutLease::Set(Some(granted.id)),
            prev_kv: false,
        };
        self.send(Request::Put(put), cx);
    }

    fn looked(&mut self, mood: Mood, answer: &Answer, cx: &mut Context<'_>) {
        let Body::Range(range) = &answer.body else { panic!("a read was answered with {answer:?}") };
        let (sent, answered) = (self.sent, cx.now);
        if range.kvs.is_empty() {
            self.note(LeaseStep::KeyGone { sent, answered }, cx);
            return self.give_up(cx);
        }
        self.note(LeaseStep::KeySeen { sent, answered }, cx);
        match mood {
            Mood::Keep => self.doze(cx),
            Mood::LetGo => cx.rest(),
        }
    }

    /// Sleeps for at most half of the time to live.
    fn doze(&mut self, cx: &mut Context<'_>) {
        let ttl_seconds = self.lease.map_or(1, |place| cx.shared.history.leases[place].ttl_seconds);
        let most = Duration::from_secs(ttl_seconds.unsigned_abs()) / 2;
        let pause = up_to(most, cx.rng);
        cx.asks.push(Ask::Wake(pause));
    }

    fn note(&mut self, step: LeaseStep, cx: &mut Context<'_>) {
        if let Some(place) = self.lease {
            cx.shared.history.leases[place].steps.push(step);
        }
    }

    fn give_up(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Idle;
        self.node = NodeId::NONE;
        cx.rest();
    }
}
