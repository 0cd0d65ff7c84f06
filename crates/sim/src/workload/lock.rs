//! A client that takes a lock, with its create revision as fencing token, and writes to what the lock guards.
//!
//! There are two locks, taken in the two ways that etcd's users know: one is a key that is created if it is absent; for the
//! other, each client creates a key of its own, and the oldest key holds the lock (etcd's `concurrency` recipe). Either
//! key is attached to the holder's lease, so the lock is free again some time after its holder falls silent. A holder that
//! stood still for longer does not know that. Two things are guarded against it: a key in the store, which it writes only
//! together with a comparison of its lock key's create revision, and a resource outside of the store, which turns away
//! whoever comes with a token below one that it has seen.

use std::collections::BTreeMap;

use althing_api::Error;
use althing_api::kv::{KeyRange, KeyValue, Operation, RangeRequest, SortOrder, SortTarget, TxnRequest};
use althing_api::request::{Answer, Body, Request};
use althing_types::{Duration, LeaseId, Revision};
use bytes::Bytes;

use super::asks::{created_at, done, found, put, read, unchanged};
use super::session::Session;
use super::{Ask, Context, Drive, News};
use crate::history::{Admission, ClientId, LeaseStep, Tenure, Visit};
use crate::random::up_to;

/// Keys of the queue's clients begin with this.
pub const QUEUE_PREFIX: &[u8] = b"q/";
/// The lock that is one key.
pub const SINGLE_LOCK: &[u8] = b"x/lock";
/// Keys that are guarded begin with this; the lock's name follows.
pub const GUARDED_PREFIX: &[u8] = b"g/";
/// How long a write to the outside travels at the most.
const JOURNEY: Duration = Duration::from_millis(300);

/// The resource outside of the store: the greatest token that it has seen for each lock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resource(BTreeMap<Bytes, Revision>);

impl Resource {
    /// A write with a token arrives.
    pub fn visit(&mut self, lock: &Bytes, token: Revision) -> Admission {
        let seen = self.0.entry(lock.clone()).or_default();
        if token < *seen {
            return Admission::TurnedAway;
        }
        *seen = token;
        Admission::Admitted
    }
}

/// How a lock is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Recipe {
    /// A key is created if it is absent.
    Single,
    /// The oldest key holds the lock.
    Queue,
}

/// Where the client stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Without a lease.
    Idle,
    /// Waits for a lease of so many seconds.
    Granting { ttl_seconds: i64 },
    /// Waits for its key to be created.
    Creating,
    /// In the queue.
    Queueing,
    /// Waits to hear who is first in the queue.
    Asking,
    /// Holds the lock, as far as it knows.
    Holding,
    /// Waits for an answer to a guarded write.
    Writing,
    /// Waits for an answer to a keep-alive.
    Reviving,
    /// A write to the outside is on its way.
    Travelling,
    /// Waits for the lease to be revoked.
    Releasing,
}

/// A client that takes locks.
#[derive(Debug)]
pub struct LockClient {
    client: ClientId,
    session: Session,
    stage: Stage,
    recipe: Recipe,
    lease: LeaseId,
    ttl_seconds: i64,
    key: Bytes,
    token: Revision,
    /// What happened to the lease before the lock was held.
    steps: Vec<LeaseStep>,
    /// The lock that it holds, as its place in the history.
    tenure: Option<usize>,
}

impl LockClient {
    /// A client without a lock.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            session: Session::default(),
            stage: Stage::Idle,
            recipe: Recipe::Single,
            lease: LeaseId(0),
            ttl_seconds: 0,
            key: Bytes::new(),
            token: Revision(0),
            steps: Vec::new(),
            tenure: None,
        }
    }

    pub(super) fn finish(&mut self) {
        self.session.finish();
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.act(cx),
            News::Answered { ticket, result } if self.session.awaits(ticket) => self.answered(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn act(&mut self, cx: &mut Context<'_>) {
        match self.stage {
            Stage::Idle => self.grant(cx),
            Stage::Queueing => self.ask_who_is_first(cx),
            Stage::Holding => self.use_it(cx),
            Stage::Travelling => self.arrive(cx),
            // Woken although an answer is awaited: the answer wakes it again.
            Stage::Granting { .. }
            | Stage::Creating
            | Stage::Asking
            | Stage::Writing
            | Stage::Reviving
            | Stage::Releasing => {}
        }
    }

    fn grant(&mut self, cx: &mut Context<'_>) {
        if self.session.drive() == Drive::Finishing {
            return;
        }
        self.client = cx.shared.new_client();
        self.recipe = if cx.rng.bool() { Recipe::Single } else { Recipe::Queue };
        self.tenure = None;
        self.steps.clear();
        let ttl_seconds = cx.rng.i64(1..=3);
        let id = i64::try_from(self.client.0).map(LeaseId).expect("clients are counted from one");
        self.stage = Stage::Granting { ttl_seconds };
        self.session.send(Request::LeaseGrant { id: Some(id), ttl_seconds }, cx);
    }

    fn create(&mut self, cx: &mut Context<'_>) {
        self.key = match self.recipe {
            Recipe::Single => Bytes::from_static(SINGLE_LOCK),
            Recipe::Queue => Bytes::from(format!("q/{:06}", self.client.0)),
        };
        let mark = cx.shared.new_value().to_string();
        self.stage = Stage::Creating;
        let txn = TxnRequest {
            compare: vec![unchanged(&self.key, None)],
            success: vec![Operation::Put(put(&self.key, mark, Some(self.lease)))],
            failure: vec![read(&self.key)],
        };
        self.session.send(Request::Txn(txn), cx);
    }

    fn ask_who_is_first(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Asking;
        let mut oldest = RangeRequest::new(KeyRange::under(QUEUE_PREFIX));
        oldest.sort = Some((SortTarget::Create, SortOrder::Ascending));
        oldest.limit = 1;
        self.session.send(Request::Range(oldest), cx);
    }

    /// Writes, stands still, keeps the lease alive, or lets go.
    fn use_it(&mut self, cx: &mut Context<'_>) {
        match cx.rng.u32(0..100) {
            _ if self.session.drive() == Drive::Finishing => self.release(cx),
            0..35 => self.write(cx),
            35..60 => {
                self.stage = Stage::Travelling;
                let journey = up_to(JOURNEY, cx.rng);
                cx.asks.push(Ask::Wake(journey));
            }
            60..80 => {
                self.stage = Stage::Reviving;
                self.session.send(Request::LeaseKeepAlive(self.lease), cx);
            }
            80..90 => {
                let stillness = up_to(Duration::from_secs(self.ttl_seconds.unsigned_abs()) * 2, cx.rng);
                cx.asks.push(Ask::Wake(stillness));
            }
            _ => self.release(cx),
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Writing;
        let guarded = Bytes::from([GUARDED_PREFIX, &self.lock()].concat());
        let value = format!("{} {}", self.token, cx.shared.new_value());
        let txn = TxnRequest {
            compare: vec![created_at(&self.key, self.token)],
            success: vec![Operation::Put(put(&guarded, value, None))],
            failure: vec![read(&self.key)],
        };
        self.session.send(Request::Txn(txn), cx);
    }

    fn arrive(&mut self, cx: &mut Context<'_>) {
        let lock = self.lock();
        let admission = cx.shared.resource.visit(&lock, self.token);
        let visit = Visit { client: self.client, lock, token: self.token, at: cx.now, admission };
        cx.shared.history.visits.push(visit);
        match admission {
            Admission::Admitted => {
                self.stage = Stage::Holding;
                self.session.rest(cx);
            }
            Admission::TurnedAway => self.give_up(cx),
        }
    }

    fn release(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Releasing;
        self.note(LeaseStep::Revoked { sent: cx.now }, cx);
        self.session.send(Request::LeaseRevoke(self.lease), cx);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        let Ok(answer) = result else { return self.failed(cx) };
        match self.stage {
            Stage::Granting { ttl_seconds } => self.granted(ttl_seconds, &answer, cx),
            Stage::Creating => self.created(answer, cx),
            Stage::Asking => self.told_who_is_first(&found(answer), cx),
            Stage::Writing if done(answer).succeeded => self.hold_on(cx),
            Stage::Reviving => {
                self.note(LeaseStep::Alive { sent: self.session.sent(), answered: cx.now }, cx);
                self.hold_on(cx);
            }
            Stage::Writing | Stage::Releasing | Stage::Idle | Stage::Queueing | Stage::Holding | Stage::Travelling => {
                self.give_up(cx)
            }
        }
    }

    /// An error is no reason to believe that the lock is lost, but all that is uncertain is given up.
    fn failed(&mut self, cx: &mut Context<'_>) {
        self.session.move_on();
        match self.stage {
            Stage::Asking => {
                self.stage = Stage::Queueing;
                self.session.rest(cx);
            }
            Stage::Writing => self.hold_on(cx),
            Stage::Granting { .. }
            | Stage::Creating
            | Stage::Reviving
            | Stage::Releasing
            | Stage::Idle
            | Stage::Queueing
            | Stage::Holding
            | Stage::Travelling => self.give_up(cx),
        }
    }

    fn granted(&mut self, ttl_seconds: i64, answer: &Answer, cx: &mut Context<'_>) {
        let Body::LeaseGrant(granted) = &answer.body else { panic!("a grant was answered with {answer:?}") };
        (self.lease, self.ttl_seconds) = (granted.id, granted.ttl_seconds.max(ttl_seconds));
        self.steps.push(LeaseStep::Alive { sent: self.session.sent(), answered: cx.now });
        self.create(cx);
    }

    fn created(&mut self, answer: Answer, cx: &mut Context<'_>) {
        let revision = answer.header.revision;
        match (done(answer).succeeded, self.recipe) {
            (true, Recipe::Single) => self.acquired(revision, cx),
            (true, Recipe::Queue) => {
                self.token = revision;
                self.ask_who_is_first(cx);
            }
            (false, _) => self.release(cx),
        }
    }

    fn told_who_is_first(&mut self, first: &[KeyValue], cx: &mut Context<'_>) {
        match first.first() {
            Some(first) if first.key == self.key => self.acquired(self.token, cx),
            // Those before it are older; if none is, its own key is gone.
            Some(first) if first.create_revision < self.token => {
                self.stage = Stage::Queueing;
                self.session.rest(cx);
            }
            Some(_) | None => self.give_up(cx),
        }
    }

    fn acquired(&mut self, token: Revision, cx: &mut Context<'_>) {
        self.token = token;
        self.tenure = Some(cx.shared.history.tenures.len());
        cx.shared.history.tenures.push(Tenure {
            client: self.client,
            lock: self.lock(),
            key: self.key.clone(),
            token,
            requested: self.session.sent(),
            acquired: cx.now,
            ttl_seconds: self.ttl_seconds,
            steps: std::mem::take(&mut self.steps),
        });
        self.hold_on(cx);
    }

    fn hold_on(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Holding;
        self.session.rest(cx);
    }

    fn give_up(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Idle;
        self.session.rest(cx);
    }

    fn note(&mut self, step: LeaseStep, cx: &mut Context<'_>) {
        match self.tenure {
            Some(place) => cx.shared.history.tenures[place].steps.push(step),
            None => self.steps.push(step),
        }
    }

    fn lock(&self) -> Bytes {
        Bytes::from_static(match self.recipe {
            Recipe::Single => b"single",
            Recipe::Queue => b"queue",
        })
    }
}

/// The token in the value of a guarded key.
#[must_use]
pub fn token(value: &[u8]) -> Option<Revision> {
    std::str::from_utf8(value).ok()?.split(' ').next()?.parse().ok().map(Revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_turns_away_whoever_comes_with_an_older_token() {
        let mut resource = Resource::default();
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        assert_eq!(resource.visit(&a, Revision(5)), Admission::Admitted);
        assert_eq!(resource.visit(&a, Revision(5)), Admission::Admitted);
        assert_eq!(resource.visit(&b, Revision(3)), Admission::Admitted);
        assert_eq!(resource.visit(&a, Revision(4)), Admission::TurnedAway);
        assert_eq!(resource.visit(&a, Revision(6)), Admission::Admitted);
    }

    #[test]
    fn the_token_stands_first_in_a_guarded_value() {
        assert_eq!((token(b"17 4"), token(b"x")), (Some(Revision(17)), None));
    }
}
