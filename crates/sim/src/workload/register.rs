//! A client that reads and writes registers.
//!
//! It has one operation under way at a time. A write that may or may not have happened leaves the client unable to say
//! what comes after what, so it retires and another takes its place.

use std::collections::BTreeMap;

use althing_api::error::{Error, Outcome as Effect};
use althing_api::kv::{
    Compare, CompareTarget, DeleteRangeRequest, KeyRange, Operation as TxnOperation, OperationResponse, PutLease,
    PutRequest, PutValue, RangeRequest, RangeResponse, TxnRequest,
};
use althing_api::request::{Answer, Body, Request};
use althing_types::{Instant, NodeId};
use bytes::Bytes;

use super::{Context, Drive, News, Ticket};
use crate::checker::{Action, Answer as Seen, Expected, Operation, Outcome, Version};
use crate::history::ClientId;

/// Keys of registers begin with this.
pub const REGISTER_PREFIX: &[u8] = b"r/";

/// How large the large values are.
const LARGE_BYTES: std::ops::Range<usize> = 200..8000;

/// The key of a register; number 0 is the hot one.
#[must_use]
pub fn register_key(number: u64) -> Bytes {
    Bytes::from(format!("r/{number:04}"))
}

/// A client on registers.
#[derive(Debug)]
pub struct RegisterClient {
    client: ClientId,
    node: Option<NodeId>,
    ticket: Ticket,
    /// The operation under way, as its place in the history.
    under_way: Option<usize>,
    /// What it knows of each register, to guess what a swap should expect.
    known: BTreeMap<Bytes, Option<Version>>,
    drive: Drive,
}

impl RegisterClient {
    /// A client that has asked nothing yet.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            node: None,
            ticket: Ticket::default(),
            under_way: None,
            known: BTreeMap::new(),
            drive: Drive::default(),
        }
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.begin(cx),
            News::Answered { ticket, result } if ticket == self.ticket => self.end(result, cx),
            // An answer that came after the client had given up.
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        if self.under_way.is_some() || self.drive == Drive::Finishing {
            return;
        }
        let node = *self.node.get_or_insert_with(|| cx.nodes[cx.rng.usize(..cx.nodes.len())]);
        let key = pick_register(cx);
        let action = self.pick_action(&key, cx);
        self.ticket = self.ticket.next();
        self.under_way = Some(cx.shared.history.operations.len());
        cx.call(self.ticket, node, request(&key, &action));
        cx.shared.history.operations.push(Operation {
            client: self.client.0,
            key,
            action,
            invoked: cx.now,
            outcome: Outcome::Unknown,
        });
    }

    fn pick_action(&self, key: &Bytes, cx: &mut Context<'_>) -> Action {
        match cx.rng.u32(0..100) {
            0..40 => Action::Get,
            40..70 => Action::Put(new_value(cx)),
            70..78 => Action::Delete,
            _ => Action::CompareAndSwap { expected: self.expect(key, cx), new: new_value(cx) },
        }
    }

    /// What it believes the register to hold; told by the value or by the revision.
    fn expect(&self, key: &Bytes, cx: &mut Context<'_>) -> Expected {
        match self.known.get(key) {
            Some(Some(version)) if cx.rng.bool() => Expected::ModRevision(version.revision),
            Some(Some(version)) => Expected::Value(version.value.clone()),
            Some(None) | None => Expected::Absent,
        }
    }

    fn end(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        let Some(place) = self.under_way.take() else { return };
        let operation = &mut cx.shared.history.operations[place];
        operation.outcome = match result {
            Ok(answer) => done(&operation.action, answer, cx.now),
            Err(error) if error.outcome == Effect::NotDone || operation.action == Action::Get => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        let operation = operation.clone();
        self.learn(&operation, cx);
        cx.rest();
    }

    /// Remembers what the register holds, and after trouble goes to another node or retires.
    fn learn(&mut self, operation: &Operation, cx: &mut Context<'_>) {
        let (revision, seen) = match &operation.outcome {
            Outcome::Done { revision, answer, .. } => (*revision, answer),
            Outcome::Refused => {
                self.node = None;
                return;
            }
            Outcome::Unknown => {
                self.node = None;
                self.client = cx.shared.new_client();
                return;
            }
        };
        let now_held = match (&operation.action, seen) {
            (_, Seen::Held(value)) => value.clone(),
            (Action::Put(value) | Action::CompareAndSwap { new: value, .. }, Seen::Written) => {
                Some(Version { value: value.clone(), revision })
            }
            (_, Seen::Deleted | Seen::NothingToDelete) | (Action::Get | Action::Delete, Seen::Written) => None,
        };
        self.known.insert(operation.key.clone(), now_held);
    }
}

fn pick_register(cx: &mut Context<'_>) -> Bytes {
    let hot = cx.rng.u32(0..100) < cx.options.hot_percent;
    register_key(if hot { 0 } else { cx.rng.u64(0..cx.options.registers) })
}

fn new_value(cx: &mut Context<'_>) -> Bytes {
    let mut value = cx.shared.new_value().to_string().into_bytes();
    if cx.rng.u32(0..100) < cx.options.large_percent {
        value.resize(cx.rng.usize(LARGE_BYTES), b' ');
    }
    Bytes::from(value)
}

/// The call for an action. A swap is a transaction.
fn request(key: &Bytes, action: &Action) -> Request {
    match action {
        Action::Get => Request::Range(RangeRequest::new(KeyRange::single(key.clone()))),
        Action::Put(value) => Request::Put(put(key, value)),
        Action::Delete => {
            Request::DeleteRange(DeleteRangeRequest { keys: KeyRange::single(key.clone()), prev_kv: false })
        }
        Action::CompareAndSwap { expected, new } => Request::Txn(TxnRequest {
            compare: vec![compare(key, expected)],
            success: vec![TxnOperation::Put(put(key, new))],
            failure: vec![TxnOperation::Range(RangeRequest::new(KeyRange::single(key.clone())))],
        }),
    }
}

fn put(key: &Bytes, value: &Bytes) -> PutRequest {
    PutRequest { key: key.clone(), value: PutValue::Set(value.clone()), lease: PutLease::Set(None), prev_kv: false }
}

fn compare(key: &Bytes, expected: &Expected) -> Compare {
    let target = match expected {
        Expected::Absent => CompareTarget::Version(0),
        Expected::Value(value) => CompareTarget::Value(value.clone()),
        Expected::ModRevision(revision) => CompareTarget::Mod(*revision),
    };
    Compare::is(key.clone(), target)
}

/// What an answer to an action showed.
pub(super) fn done(action: &Action, answer: Answer, returned: Instant) -> Outcome {
    let revision = answer.header.revision;
    let answer = match (action, answer.body) {
        (Action::Get, Body::Range(range)) => Seen::Held(single(range)),
        (Action::Put(_), Body::Put(_)) => Seen::Written,
        (Action::Delete, Body::DeleteRange(deleted)) if deleted.deleted > 0 => Seen::Deleted,
        (Action::Delete, Body::DeleteRange(_)) => Seen::NothingToDelete,
        (Action::CompareAndSwap { .. }, Body::Txn(txn)) => match txn.responses.into_iter().next() {
            Some(OperationResponse::Range(range)) => Seen::Held(single(range)),
            _ => Seen::Written,
        },
        (action, body) => panic!("{action:?} was answered with {body:?}"),
    };
    Outcome::Done { returned, revision, answer }
}

fn single(range: RangeResponse) -> Option<Version> {
    assert!(range.kvs.len() <= 1, "a read of one key found several: {range:?}");
    range.kvs.into_iter().next().map(|kv| Version { value: kv.value, revision: kv.mod_revision })
}
