//! A client of a convergent table whose strings are decided by rounds: locks that are claimed, compared and released, and counters.
//!
//! Every value of a lock is written once, so that a read says by itself which write it has seen ([`crate::checker::decided`]).

use std::collections::BTreeMap;

use althing_api::error::Outcome as Effect;
use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest};
use althing_api::request::{Answer, Body, Request};
use althing_api::{Call, Error, Target};
use althing_datatypes::op::{Existence, KeyOp, SetAnswer, SetExpiry, StringOp};
use althing_datatypes::{Message as _, Op, OpError, Reply};
use althing_types::{NodeId, TableName};
use bytes::Bytes;

use super::{Ask, Context, Drive, News, Ticket};
use crate::checker::decided::{Action, Operation, Outcome, Said};

/// The table.
pub const LOCKS: &str = "locks";
/// What is added to a counter at the most. Nearly every sum says by itself what it is made of.
const MOST_ADDED: i64 = 1_000_000;

/// Counters for each lock, none of them hot: whether additions that nobody was told of are in a sum has to be tried, each with each.
const COUNTERS_PER_LOCK: u64 = 3;

/// What a key is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    Lock,
    Counter,
}

/// A client of that table.
#[derive(Debug, Default)]
pub struct DecidedClient {
    /// The node that it is connected to.
    node: Option<NodeId>,
    ticket: Ticket,
    /// The operation under way, as its place in the history.
    under_way: Option<usize>,
    /// What it believes locks to hold.
    known: BTreeMap<Bytes, Option<Bytes>>,
    drive: Drive,
}

impl DecidedClient {
    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.begin(cx),
            News::Answered { ticket, result } if ticket == self.ticket => self.end(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        if self.under_way.is_some() || self.drive == Drive::Finishing {
            return;
        }
        // Now and then it comes back from elsewhere, so that several replicas coordinate.
        if cx.rng.u32(0..12) == 0 {
            self.node = None;
        }
        let node = *self.node.get_or_insert_with(|| cx.nodes[cx.rng.usize(..cx.nodes.len())]);
        let number = if cx.rng.bool() { 0 } else { cx.rng.u64(0..cx.options.locks.max(1)) };
        let (key, action) = match if cx.rng.u32(0..3) == 0 { Use::Counter } else { Use::Lock } {
            Use::Lock => {
                let key = Bytes::from(format!("lock/{number:04}"));
                let action = self.of_lock(&key, cx);
                (key, action)
            }
            Use::Counter => {
                let number = cx.rng.u64(0..COUNTERS_PER_LOCK * cx.options.locks.max(1));
                (Bytes::from(format!("count/{number:04}")), of_counter(cx))
            }
        };
        let patience = cx.patience();
        let timeout = cx.rng.bool().then_some(patience);
        let call = Call { target: target(), timeout, ..Call::new(Request::Keyed(request(&key, &action))) };
        self.ticket = self.ticket.next();
        cx.asks.push(Ask::Call { ticket: self.ticket, node, call, patience });
        let operations = &mut cx.shared.history.decided;
        self.under_way = Some(operations.len());
        operations.push(Operation { node, key, action, invoked: cx.now, outcome: Outcome::Unknown });
    }

    fn of_lock(&self, key: &Bytes, cx: &mut Context<'_>) -> Action {
        let value = cx.unique_value();
        let expected = self.known.get(key).cloned().flatten();
        match cx.rng.u32(0..100) {
            0..30 => Action::Read,
            30..50 => Action::Claim(value),
            50..72 => Action::Compare { expected, new: Some(value) },
            72..80 => Action::Compare { expected, new: None },
            80..90 => Action::Put(value),
            _ => Action::Delete,
        }
    }

    fn end(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        let Some(place) = self.under_way.take() else { return };
        let operation = &mut cx.shared.history.decided[place];
        operation.outcome = match result {
            Ok(answer) => Outcome::Done { returned: cx.now, said: said(operation, answer) },
            Err(error) if error.outcome == Effect::NotDone || operation.action == Action::Read => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        let now_held = match (&operation.action, &operation.outcome) {
            (_, Outcome::Refused | Outcome::Unknown) => {
                self.node = None;
                None
            }
            (Action::Read, Outcome::Done { said: Said::Held(held), .. }) => Some(held.clone()),
            (Action::Put(value) | Action::Claim(value), Outcome::Done { said: Said::Yes, .. }) => {
                Some(Some(value.clone()))
            }
            (Action::Compare { new, .. }, Outcome::Done { said: Said::Yes, .. }) => Some(new.clone()),
            (Action::Delete, Outcome::Done { .. }) => Some(None),
            (_, Outcome::Done { .. }) => None,
        };
        if let Some(held) = now_held {
            self.known.insert(operation.key.clone(), held);
        }
        cx.rest();
    }
}

fn of_counter(cx: &mut Context<'_>) -> Action {
    match cx.rng.u32(0..100) {
        0..25 => Action::Read,
        25..32 => Action::Delete,
        _ => Action::Count(cx.rng.i64(1..MOST_ADDED)),
    }
}

fn target() -> Target {
    Target::Table(TableName::new(LOCKS).expect("the name is a name"))
}

fn request(key: &Bytes, action: &Action) -> KeyedRequest {
    let op = operation(action);
    let access = if op.is_read() { Access::Read } else { Access::Write };
    KeyedRequest::Operate { key: key.clone(), operation: op.encode(), access, level: None }
}

fn operation(action: &Action) -> Op {
    let set = |value: &Bytes, condition| {
        let (value, expiry, answer) = (value.clone(), SetExpiry::Clear, SetAnswer::Done);
        Op::String(StringOp::Set { value, expiry, condition, answer })
    };
    match action {
        Action::Read => Op::String(StringOp::Get),
        Action::Put(value) => set(value, Existence::Any),
        Action::Claim(value) => set(value, Existence::Absent),
        Action::Compare { expected, new } => {
            Op::String(StringOp::Compare { expected: expected.clone(), new: new.clone() })
        }
        Action::Count(by) => Op::String(StringOp::Increment(*by)),
        Action::Delete => Op::Key(KeyOp::Delete),
    }
}

fn said(operation: &Operation, answer: Answer) -> Said {
    let reply = match answer.body {
        Body::Keyed(KeyedAnswer::Operated(reply)) => Result::<Reply, OpError>::decode(&reply),
        other => panic!("{operation:?} was answered with {other:?}"),
    };
    let Ok(Ok(reply)) = reply else { panic!("{operation:?} was answered with {reply:?}") };
    match (&operation.action, reply) {
        (Action::Read, Reply::Nil) => Said::Held(None),
        (Action::Read, Reply::Bytes(value)) => Said::Held(Some(value)),
        (Action::Put(_) | Action::Claim(_), Reply::Ok) => Said::Yes,
        (Action::Claim(_), Reply::Nil) => Said::No,
        (Action::Compare { .. } | Action::Delete, Reply::Int(1)) => Said::Yes,
        (Action::Compare { .. } | Action::Delete, Reply::Int(0)) => Said::No,
        (Action::Count(_), Reply::Int(now)) => Said::Number(now),
        (_, reply) => panic!("{operation:?} was answered with {reply:?}"),
    }
}
