//! A client of a convergent table, who speaks as a Redis client does: strings, counters, sets, hashes, sorted sets and keys that
//! expire, read and written at different levels through any node.
//!
//! Every value and every element is written once, so that what is there in the end, or missing, says by itself which writes were
//! kept ([`crate::checker::carts`]).

use std::collections::{BTreeMap, BTreeSet};

use althing_api::error::Outcome as Effect;
use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest};
use althing_api::request::{Answer, Body, Request};
use althing_api::{Call, Error, Target};
use althing_datatypes::op::{
    Existence, ExpireIf, HashOp, KeyOp, Order, RangeBy, ScoreWrite, SetAnswer, SetExpiry, SetOp, SortedOp, StringOp,
    When, WithValues, ZaddAnswer,
};
use althing_datatypes::{Message as _, Op, OpError, Reply};
use althing_quorum::Level;
use althing_types::{NodeId, TableName};
use bytes::Bytes;

use super::{Ask, Context, Drive, News, Ticket};
use crate::checker::carts::{Action, Kind, Operation, Outcome, Shown};

/// The convergent table.
pub const CARTS: &str = "carts";
/// The field of every hash that all clients write.
const SHARED_FIELD: &[u8] = b"all";
/// How many elements of a key a client remembers, to remove one of them.
const REMEMBERED: usize = 6;
/// Keys expire after so many milliseconds: some while a run lasts, some never, even by a clock that is an hour ahead.
const EXPIRY_MS: [i64; 4] = [300, 2_000, 10_000, 8 * 3_600_000];

/// A client of the convergent table.
#[derive(Debug, Default)]
pub struct CartClient {
    /// The node that it is connected to.
    node: Option<NodeId>,
    ticket: Ticket,
    /// The operation under way, as its place in the history.
    under_way: Option<usize>,
    /// Elements that it has added or seen.
    known: BTreeMap<Bytes, Vec<Bytes>>,
    drive: Drive,
}

impl CartClient {
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
        // Now and then it comes back from elsewhere, as a user does who has a phone and a desk.
        if cx.rng.u32(0..12) == 0 {
            self.node = None;
        }
        let node = *self.node.get_or_insert_with(|| cx.nodes[cx.rng.usize(..cx.nodes.len())]);
        let kind = Kind::ALL[cx.rng.usize(..Kind::ALL.len())];
        let number = if cx.rng.bool() { 0 } else { cx.rng.u64(0..cx.options.carts.max(1)) };
        let key = Bytes::from(format!("{}/{number:04}", kind.letter()));
        let action = self.pick(kind, &key, cx);
        let level = pick_level(cx);
        let patience = cx.patience();
        let request = Request::Keyed(request(&key, kind, &action, level));
        let timeout = cx.rng.bool().then_some(patience);
        let call = Call { target: target(), timeout, ..Call::new(request) };
        self.ticket = self.ticket.next();
        cx.asks.push(Ask::Call { ticket: self.ticket, node, call, patience });
        let operations = &mut cx.shared.history.carts;
        self.under_way = Some(operations.len());
        operations.push(Operation { node, key, action, level, invoked: cx.now, outcome: Outcome::Unknown });
    }

    fn pick(&self, kind: Kind, key: &Bytes, cx: &mut Context<'_>) -> Action {
        let chance = cx.rng.u32(0..100);
        let value = cx.unique_value();
        match kind {
            _ if chance < 30 => Action::Read,
            Kind::Text if chance < 38 => Action::Delete,
            Kind::Text => Action::Put(value),
            Kind::Tally if chance < 36 => Action::Delete,
            Kind::Sum | Kind::Tally => Action::Count(cx.rng.i64(1..100)),
            Kind::Brief if chance < 50 => Action::Expire(EXPIRY_MS[cx.rng.usize(..EXPIRY_MS.len())]),
            Kind::Brief => Action::Put(value),
            Kind::Set | Kind::Hash | Kind::Sorted if chance < 32 => Action::Delete,
            Kind::Set | Kind::Hash | Kind::Sorted if chance < 55 => match self.known.get(key).map(Vec::as_slice) {
                Some(known @ [_, ..]) => Action::Remove(known[cx.rng.usize(..known.len())].clone()),
                Some([]) | None => Action::Add(value),
            },
            Kind::Hash if chance < 70 => Action::Share(value),
            Kind::Set | Kind::Hash | Kind::Sorted => Action::Add(value),
        }
    }

    fn end(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        let Some(place) = self.under_way.take() else { return };
        let operation = &mut cx.shared.history.carts[place];
        operation.outcome = match result {
            Ok(answer) => Outcome::Done { returned: cx.now, shown: shown(operation, answer) },
            Err(error) if error.outcome == Effect::NotDone || operation.action == Action::Read => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        self.learn(&cx.shared.history.carts[place]);
        cx.rest();
    }

    fn learn(&mut self, operation: &Operation) {
        let known = self.known.entry(operation.key.clone()).or_default();
        match (&operation.action, &operation.outcome) {
            (_, Outcome::Refused | Outcome::Unknown) => self.node = None,
            (Action::Add(element), Outcome::Done { .. }) => known.push(element.clone()),
            (Action::Remove(element), Outcome::Done { .. }) => known.retain(|known| known != element),
            (_, Outcome::Done { shown: Shown::Elements(elements), .. }) => {
                known.extend(elements.iter().rev().take(REMEMBERED).cloned());
            }
            (_, Outcome::Done { .. }) => {}
        }
        if let Some(known) = self.known.get_mut(&operation.key) {
            known.drain(..known.len().saturating_sub(REMEMBERED));
        }
    }
}

fn target() -> Target {
    Target::Table(TableName::new(CARTS).expect("the name is a name"))
}

fn pick_level(cx: &mut Context<'_>) -> Level {
    match cx.rng.u32(0..100) {
        0..35 => Level::One,
        35..85 => Level::Quorum,
        _ => Level::All,
    }
}

fn request(key: &Bytes, kind: Kind, action: &Action, level: Level) -> KeyedRequest {
    let op = operation(kind, action);
    let access = if op.is_read() { Access::Read } else { Access::Write };
    KeyedRequest::Operate { key: key.clone(), operation: op.encode(), access, level: Some(level) }
}

fn operation(kind: Kind, action: &Action) -> Op {
    match action {
        Action::Put(value) => Op::String(StringOp::Set {
            value: value.clone(),
            expiry: SetExpiry::Clear,
            condition: Existence::Any,
            answer: SetAnswer::Done,
        }),
        Action::Count(by) => Op::String(StringOp::Increment(*by)),
        Action::Delete => Op::Key(KeyOp::Delete),
        Action::Expire(ms) => Op::Key(KeyOp::Expire { when: When::In(*ms), condition: ExpireIf::Always }),
        Action::Share(value) => Op::Hash(HashOp::Set(vec![(Bytes::from_static(SHARED_FIELD), value.clone())])),
        Action::Add(element) => add(kind, element.clone()),
        Action::Remove(element) => remove(kind, element.clone()),
        Action::Read => read(kind),
    }
}

fn add(kind: Kind, element: Bytes) -> Op {
    match kind {
        Kind::Hash => Op::Hash(HashOp::Set(vec![(element, "1".into())])),
        Kind::Sorted => Op::Sorted(SortedOp::Add {
            members: vec![(1.0, element)],
            write: ScoreWrite::ALWAYS,
            answer: ZaddAnswer::Added,
        }),
        Kind::Set | Kind::Text | Kind::Sum | Kind::Tally | Kind::Brief => Op::Set(SetOp::Add(vec![element])),
    }
}

fn remove(kind: Kind, element: Bytes) -> Op {
    match kind {
        Kind::Hash => Op::Hash(HashOp::Remove(vec![element])),
        Kind::Sorted => Op::Sorted(SortedOp::Remove(vec![element])),
        Kind::Set | Kind::Text | Kind::Sum | Kind::Tally | Kind::Brief => Op::Set(SetOp::Remove(vec![element])),
    }
}

/// What shows all of a key.
#[must_use]
pub fn read(kind: Kind) -> Op {
    match kind {
        Kind::Text | Kind::Sum | Kind::Tally | Kind::Brief => Op::String(StringOp::Get),
        Kind::Set => Op::Set(SetOp::Members),
        Kind::Hash => Op::Hash(HashOp::Fields),
        Kind::Sorted => Op::Sorted(SortedOp::Range {
            by: RangeBy::Index { start: 0, stop: -1 },
            order: Order::Ascending,
            limit: None,
            with: WithValues::No,
        }),
    }
}

fn shown(operation: &Operation, answer: Answer) -> Shown {
    let reply = match answer.body {
        Body::Keyed(KeyedAnswer::Operated(reply)) => Result::<Reply, OpError>::decode(&reply),
        other => panic!("{operation:?} was answered with {other:?}"),
    };
    let Ok(Ok(reply)) = reply else { panic!("{operation:?} was answered with {reply:?}") };
    match (Kind::of(&operation.key), &operation.action) {
        (Some(kind), Action::Read) => shown_by(kind, reply),
        (_, _) => match reply {
            Reply::Ok | Reply::Nil => Shown::Done(0),
            Reply::Int(count) => Shown::Done(count),
            other => panic!("{operation:?} was answered with {other:?}"),
        },
    }
}

/// What a reply to [`read`] shows.
///
/// # Panics
/// If no such read is answered like this.
#[must_use]
pub fn shown_by(kind: Kind, reply: Reply) -> Shown {
    let elements = |elements: Vec<Bytes>| -> BTreeSet<Bytes> {
        elements.into_iter().filter(|element| *element != SHARED_FIELD).collect()
    };
    match (kind, reply) {
        (Kind::Text | Kind::Brief, Reply::Nil) => Shown::Value(None),
        (Kind::Text | Kind::Brief, Reply::Bytes(value)) => Shown::Value(Some(value)),
        (Kind::Sum | Kind::Tally, Reply::Nil) => Shown::Number(0),
        (Kind::Sum | Kind::Tally, Reply::Bytes(value)) => {
            let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
            Shown::Number(number.unwrap_or_else(|| panic!("{value:?} is no number")))
        }
        (Kind::Set | Kind::Hash | Kind::Sorted, Reply::Set(found) | Reply::List(found)) => {
            Shown::Elements(elements(found))
        }
        (kind, reply) => panic!("a read of a key of {kind:?} was answered with {reply:?}"),
    }
}
