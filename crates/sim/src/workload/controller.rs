//! A client that works on objects as controllers of Kubernetes do: it creates what is not there, updates and deletes what
//! has not changed since it looked, and reads the object where it was too late. Each object counts its updates, so that a
//! lost one shows. At times it writes an event: a key that goes with its lease.

use std::collections::BTreeMap;

use althing_api::Error;
use althing_api::kv::{KeyValue, Operation, TxnRequest};
use althing_api::request::{Answer, Body, Request};
use althing_types::LeaseId;
use bytes::Bytes;

use super::asks::{delete, done, each_found, put, read, unchanged};
use super::session::Session;
use super::{Context, Drive, News};

/// Keys of objects begin with this.
pub const OBJECT_PREFIX: &[u8] = b"k/";
/// Events live this long.
const EVENT_TTL_SECONDS: std::ops::Range<i64> = 2..6;
/// How many events share a lease at the most.
const EVENTS_PER_LEASE: u32 = 5;

/// What the client waits for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// Nothing.
    #[default]
    Idle,
    /// A write of this object, after which it is so.
    Writing(Bytes, After),
    /// A lease for its events.
    Leasing,
    /// The write of an event.
    Telling,
}

/// What an object is after a write that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
enum After {
    /// It has this many updates, its creation included.
    Updates(i64),
    /// It is gone.
    Gone,
}

/// A client that works on objects.
#[derive(Debug, Default)]
pub struct Controller {
    session: Session,
    stage: Stage,
    /// What it knows of each object.
    known: BTreeMap<Bytes, Option<KeyValue>>,
    /// The lease of its events, and how many more it will carry.
    lease: Option<(LeaseId, u32)>,
}

/// How often an object says that it was updated, its creation included.
#[must_use]
pub fn updates(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.split(' ').next()?.parse().ok()
}

impl Controller {
    pub(super) fn finish(&mut self) {
        self.session.finish();
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.begin(cx),
            News::Answered { ticket, result } if self.session.awaits(ticket) => self.answered(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        if self.session.drive() == Drive::Finishing {
            return;
        }
        if cx.rng.u32(0..10) == 0 {
            return self.tell(cx);
        }
        let key = Bytes::from(format!("k/pods/{:03}", cx.rng.u64(..cx.options.objects)));
        let seen = self.known.get(&key).cloned().flatten();
        let (write, after) = match &seen {
            Some(_) if cx.rng.u32(0..6) == 0 => (delete(&key), After::Gone),
            seen => {
                let updates = seen.as_ref().map_or(0, |kv| kv.version) + 1;
                let value = format!("{updates} {}", cx.shared.new_value());
                (Operation::Put(put(&key, value, None)), After::Updates(updates))
            }
        };
        let txn = TxnRequest {
            compare: vec![unchanged(&key, seen.as_ref())],
            success: vec![write],
            failure: vec![read(&key)],
        };
        self.stage = Stage::Writing(key, after);
        self.session.send(Request::Txn(txn), cx);
    }

    fn tell(&mut self, cx: &mut Context<'_>) {
        let Some((lease, left)) = self.lease.take() else {
            self.stage = Stage::Leasing;
            let ttl_seconds = cx.rng.i64(EVENT_TTL_SECONDS);
            return self.session.send(Request::LeaseGrant { id: None, ttl_seconds }, cx);
        };
        self.lease = left.checked_sub(1).map(|left| (lease, left));
        let number = cx.shared.new_value();
        let key = Bytes::from(format!("k/events/{number:06}"));
        self.stage = Stage::Telling;
        self.session.send(Request::Put(put(&key, number.to_string(), Some(lease))), cx);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        match (std::mem::take(&mut self.stage), result) {
            (Stage::Writing(key, after), Ok(answer)) => self.learn(key, &after, answer),
            (Stage::Leasing, Ok(answer)) => {
                let Body::LeaseGrant(granted) = answer.body else { panic!("a grant was answered with {answer:?}") };
                self.lease = Some((granted.id, EVENTS_PER_LEASE));
            }
            // What is known of the object may be wrong now; the next write will tell.
            (Stage::Writing(..) | Stage::Leasing, Err(_)) => self.session.move_on(),
            (Stage::Telling, Err(_)) => {
                self.lease = None;
                self.session.move_on();
            }
            (Stage::Telling | Stage::Idle, _) => {}
        }
        self.session.rest(cx);
    }

    fn learn(&mut self, key: Bytes, after: &After, answer: Answer) {
        let revision = answer.header.revision;
        let txn = done(answer);
        let now = match after {
            _ if !txn.succeeded => each_found(txn).into_iter().next().flatten(),
            After::Updates(version) => {
                Some(KeyValue { key: key.clone(), mod_revision: revision, version: *version, ..KeyValue::default() })
            }
            After::Gone => None,
        };
        self.known.insert(key, now);
    }
}
