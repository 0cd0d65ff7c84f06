//! Keyed values on the machine, against the values of the crate `datatypes` as the model.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_api::ErrorKind;
use althing_api::cluster::AlarmKind;
use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest, Moment, Step, Watched};
use althing_api::kv::{
    EventKind, KeyRange, KeyValue, Operation, PutLease, PutRequest, PutValue, RangeRequest, TxnRequest,
};
use althing_api::request::Body;
use althing_datatypes::op::{Existence, ExpireIf, HashOp, KeyOp, SetAnswer, SetExpiry, SetOp, StringOp, When};
use althing_datatypes::{Message, Op, OpError, Reply, Value, View, Whole, execute};
use althing_storage::engine::model::ModelEngine;
use althing_strong::keyed::{Deadline, MAX_STEPS, MAX_VALUE_BYTES, container};
use althing_strong::{ApplyOutput, Command, Importer, Machine};
use althing_types::{LeaseId, Revision, SpaceId};
use bytes::Bytes;
use common::{apply_in_slices, entry, export, log, new_machine, open};
use proptest::collection::vec;
use proptest::prelude::*;

type Outcome = Result<Reply, OpError>;

fn at(now_ms: i64) -> Moment {
    Moment { now_ms, seed: 42 }
}

fn step(key: &str, op: impl Into<Op>) -> Step {
    Step { key: Bytes::copy_from_slice(key.as_bytes()), operation: op.into().encode() }
}

fn set(value: &str) -> StringOp {
    StringOp::Set {
        value: Bytes::copy_from_slice(value.as_bytes()),
        expiry: SetExpiry::Clear,
        condition: Existence::Any,
        answer: SetAnswer::Done,
    }
}

fn expire(at_ms: i64) -> KeyOp {
    KeyOp::Expire { when: When::At(at_ms), condition: ExpireIf::Always }
}

/// A machine and its log.
struct Table {
    engine: Arc<ModelEngine>,
    machine: Machine,
    index: u64,
}

impl Table {
    fn new() -> Self {
        let (engine, machine) = new_machine();
        Self { engine, machine, index: 0 }
    }

    fn apply(&mut self, command: Command) -> (Result<Body, ErrorKind>, ApplyOutput) {
        self.index += 1;
        let mut out = ApplyOutput::default();
        self.machine.apply(&[entry(self.index, command)], &mut out).unwrap();
        (out.results[0].result.clone().map(|outcome| outcome.body), out)
    }

    fn operate(&mut self, now_ms: i64, key: &str, op: impl Into<Op>) -> Outcome {
        match self.apply(Command::Operate { step: step(key, op), moment: at(now_ms) }).0.unwrap() {
            Body::Keyed(KeyedAnswer::Operated(reply) | KeyedAnswer::Refused(reply)) => Outcome::decode(&reply).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// `None` if it was aborted.
    fn transact(&mut self, now_ms: i64, watches: Vec<Watched>, steps: Vec<Step>) -> Option<Vec<Outcome>> {
        match self.apply(Command::Transact { watches, steps, moment: at(now_ms) }).0.unwrap() {
            Body::Keyed(KeyedAnswer::Transacted { replies, .. }) => {
                Some(replies.iter().map(|reply| Outcome::decode(reply).unwrap()).collect())
            }
            Body::Keyed(KeyedAnswer::Aborted) => None,
            other => panic!("{other:?}"),
        }
    }

    fn put(&mut self, key: &'static str, value: impl Into<Bytes>, lease: Option<LeaseId>) {
        let (value, lease) = (PutValue::Set(value.into()), PutLease::Set(lease));
        self.apply(Command::Put(PutRequest { key: key.into(), value, lease, prev_kv: false })).0.unwrap();
    }

    fn get(&self, key: &'static str) -> Option<KeyValue> {
        let (mut found, _) = self.machine.reader().range(&RangeRequest::new(KeyRange::single(key))).unwrap();
        found.kvs.pop()
    }

    fn read(&self, now_ms: i64, key: &str, op: impl Into<Op>) -> Outcome {
        let Step { key, operation } = step(key, op);
        let request = KeyedRequest::Operate { key, operation, access: Access::Read, level: None };
        match self.machine.reader().keyed(&request, at(now_ms)).unwrap().0 {
            KeyedAnswer::Operated(reply) | KeyedAnswer::Refused(reply) => Outcome::decode(&reply).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// When a key was changed last, as a transaction that only looks sees it.
    fn watched(&self, now_ms: i64, key: &str) -> Watched {
        let step = step(key, KeyOp::Exists);
        let key = step.key.clone();
        let (watches, steps) = (Vec::new(), vec![step]);
        let request = KeyedRequest::Transact { watches, steps, access: Access::Read, moment: None };
        match self.machine.reader().keyed(&request, at(now_ms)).unwrap().0 {
            KeyedAnswer::Transacted { revisions, .. } => Watched { key, revision: revisions[0] },
            other => panic!("{other:?}"),
        }
    }

    fn due(&self, now_ms: i64) -> Vec<Deadline> {
        self.machine.reader().due(now_ms).unwrap()
    }

    fn page(&self, now_ms: i64, after: Option<Bytes>, limit: u32, kind: Option<&'static str>) -> KeyedAnswer {
        let request = KeyedRequest::Scan { after, limit, pattern: None, kind: kind.map(Bytes::from) };
        self.machine.reader().keyed(&request, at(now_ms)).unwrap().0
    }
}

#[test]
fn clients_of_both_protocols_see_the_same_string() {
    let mut table = Table::new();
    table.operate(0, "k", set("5")).unwrap();
    assert_eq!(table.get("k").unwrap().value, "5");
    table.put("k", "41", None);
    assert_eq!(table.operate(0, "k", StringOp::Increment(1)), Ok(Reply::Int(42)));
    let kv = table.get("k").unwrap();
    assert_eq!((kv.value, kv.version, kv.create_revision), ("42".into(), 3, Revision(2)));
}

#[test]
fn a_transaction_is_one_revision_and_one_event_for_each_key() {
    let mut table = Table::new();
    table.operate(0, "gone", set("x")).unwrap();
    let steps = vec![
        step("a", StringOp::Increment(1)),
        step("a", StringOp::Increment(1)),
        step("gone", KeyOp::Delete),
        step("b", SetOp::Add(vec!["m".into()])),
        step("never", set("x")),
        step("never", KeyOp::Delete),
    ];
    let (answer, out) = table.apply(Command::Transact { watches: Vec::new(), steps, moment: at(0) });
    let Body::Keyed(KeyedAnswer::Transacted { replies, revisions }) = answer.unwrap() else { panic!() };
    let replies: Vec<_> = replies.iter().map(|reply| Outcome::decode(reply).unwrap().unwrap()).collect();
    let int = Reply::Int;
    assert_eq!(replies, [int(1), int(2), int(1), int(1), Reply::Ok, int(1)]);
    assert_eq!(revisions, [0, 0, 2, 0, 0, 0].map(Revision));
    assert_eq!(out.changes.len(), 1);
    let events: Vec<_> = out.changes[0].events.iter().map(|event| (event.kind, &event.kv.key[..])).collect();
    assert_eq!(events, [(EventKind::Put, &b"a"[..]), (EventKind::Put, b"b"), (EventKind::Delete, b"gone")]);
    assert!(out.changes[0].events.iter().all(|event| event.kv.mod_revision == Revision(3)));
}

#[test]
fn what_one_step_is_refused_does_not_undo_the_others() {
    let mut table = Table::new();
    table.operate(0, "s", SetOp::Add(vec!["m".into()])).unwrap();
    let steps = vec![step("k", set("1")), step("s", StringOp::Increment(1)), step("k", StringOp::Increment(1))];
    let replies = table.transact(0, Vec::new(), steps).unwrap();
    assert_eq!(replies, [Ok(Reply::Ok), Err(OpError::WrongType), Ok(Reply::Int(2))]);
    assert_eq!(table.get("k").unwrap().value, "2");
}

#[test]
fn a_watched_key_that_has_changed_stops_everything() {
    let mut table = Table::new();
    let absent = table.watched(0, "k");
    assert_eq!(absent.revision, Revision(0));
    let steps = || vec![step("k", StringOp::Increment(1))];
    assert!(table.transact(0, vec![absent.clone()], steps()).is_some());
    assert!(table.transact(0, vec![absent], steps()).is_none());
    let present = table.watched(0, "k");
    assert!(table.transact(0, vec![present.clone()], steps()).is_some());
    let before = table.machine.reader().revision();
    assert!(table.transact(0, vec![present.clone()], steps()).is_none());
    assert_eq!(table.machine.reader().revision(), before);
    // A client of etcd is one of the others, and to write the same again is to change.
    let watched = table.watched(0, "k");
    table.put("k", "2", None);
    assert!(table.transact(0, vec![watched], steps()).is_none());
    let watched = table.watched(0, "k");
    table.operate(0, "k", set("2")).unwrap();
    assert!(table.transact(0, vec![watched], steps()).is_none());
}

#[test]
fn what_changes_nothing_is_no_change() {
    let mut table = Table::new();
    table.operate(0, "s", SetOp::Add(vec!["m".into()])).unwrap();
    let before = table.machine.reader().revision();
    assert_eq!(table.operate(0, "s", SetOp::Add(vec!["m".into()])), Ok(Reply::Int(0)));
    assert_eq!(table.operate(0, "s", SetOp::Remove(vec!["other".into()])), Ok(Reply::Int(0)));
    assert_eq!(table.operate(0, "none", KeyOp::Delete), Ok(Reply::Int(0)));
    assert_eq!(table.machine.reader().revision(), before);
}

#[test]
fn a_key_that_expires_while_it_is_watched_has_changed() {
    let mut table = Table::new();
    table.operate(0, "k", set("1")).unwrap();
    table.operate(0, "k", expire(100)).unwrap();
    let watched = table.watched(99, "k");
    assert!(table.transact(99, vec![watched.clone()], Vec::new()).is_some());
    assert!(table.transact(100, vec![watched], Vec::new()).is_none());
    let over = table.watched(100, "k");
    assert_eq!(over.revision, Revision(0));
    let due = table.due(100);
    table.apply(Command::Expire { now_ms: 100, due }).0.unwrap();
    assert!(table.transact(101, vec![over], Vec::new()).is_some(), "to be removed changes nothing");
}

#[test]
fn what_has_expired_is_not_there_and_is_removed_when_the_leader_says_so() {
    let mut table = Table::new();
    table.operate(0, "k", set("1")).unwrap();
    table.operate(0, "k", expire(100)).unwrap();
    table.operate(0, "later", set("1")).unwrap();
    table.operate(0, "later", expire(200)).unwrap();
    assert_eq!(table.read(99, "k", StringOp::Get), Ok(Reply::Bytes("1".into())));
    assert_eq!(table.read(100, "k", StringOp::Get), Ok(Reply::Nil));
    assert_eq!(table.due(99), []);
    let due = table.due(150);
    assert_eq!(due, [Deadline { at_ms: 100, key: "k".into() }]);
    let (answer, out) = table.apply(Command::Expire { now_ms: 150, due });
    assert_eq!(answer, Ok(Body::Keyed(KeyedAnswer::Flushed(1))));
    assert_eq!(out.changes[0].events[0].kind, EventKind::Delete);
    assert_eq!(table.get("k"), None);
    assert_eq!(table.machine.reader().least_deadline_ms(), 200);
    assert_eq!(table.due(150), []);
}

#[test]
fn a_deadline_that_was_moved_or_taken_away_removes_nothing() {
    let mut table = Table::new();
    for key in ["moved", "kept", "etcd"] {
        table.operate(0, key, set("1")).unwrap();
        table.operate(0, key, expire(100)).unwrap();
    }
    let due = table.due(100);
    table.operate(0, "moved", expire(300)).unwrap();
    table.operate(0, "kept", KeyOp::Persist).unwrap();
    table.put("etcd", "plain", None);
    assert_eq!(table.due(100), []);
    let (answer, _) = table.apply(Command::Expire { now_ms: 100, due });
    assert_eq!(answer, Ok(Body::Keyed(KeyedAnswer::Flushed(0))));
    assert_eq!(table.machine.reader().least_deadline_ms(), 300);
    assert_eq!(table.get("etcd").unwrap().value, "plain");
    assert_eq!(table.get("kept").unwrap().value, "1", "a string that has no deadline any more is its bytes");
}

#[test]
fn what_only_looks_like_it_had_a_deadline_stays() {
    let mut table = Table::new();
    let real = container::encode(&Value::from(Whole {
        content: althing_datatypes::Content::String("v".into()),
        deadline_ms: Some(5),
    }));
    let mut damaged = real.unwrap().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    table.put("k", damaged.clone(), None);
    let due = table.due(10);
    assert_eq!(due.len(), 1);
    table.apply(Command::Expire { now_ms: 10, due }).0.unwrap();
    assert_eq!(table.due(10), [], "it is not looked at again");
    assert_eq!(table.read(10, "k", StringOp::Get), Ok(Reply::Bytes(damaged.into())));
}

#[test]
fn a_key_keeps_its_lease_until_it_is_made_anew() {
    let mut table = Table::new();
    table.apply(Command::LeaseGrant { id: LeaseId(1), ttl_seconds: 60 }).0.unwrap();
    table.put("k", "1", Some(LeaseId(1)));
    table.operate(0, "k", StringOp::Increment(1)).unwrap();
    assert_eq!(table.get("k").unwrap().lease, Some(LeaseId(1)));
    table.transact(0, Vec::new(), vec![step("k", KeyOp::Delete), step("k", set("3"))]).unwrap();
    assert_eq!(table.get("k").unwrap().lease, None);
    table.apply(Command::LeaseRevoke { id: LeaseId(1) }).0.unwrap();
    assert_eq!(table.get("k").unwrap().value, "3");
}

#[test]
fn a_value_that_would_be_too_large_is_refused_with_all_that_goes_with_it() {
    let mut table = Table::new();
    let half = "x".repeat(MAX_VALUE_BYTES / 2 + 1);
    let field = |name: &'static str| HashOp::Set(vec![(name.into(), half.clone().into())]);
    table.operate(0, "h", field("a")).unwrap();
    let steps = vec![step("other", set("1")), step("h", field("b"))];
    let (refused, out) = table.apply(Command::Transact { watches: Vec::new(), steps, moment: at(0) });
    let Err(ErrorKind::InvalidArgument(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("a key of a strong table holds up to"), "{why}");
    assert!(out.changes.is_empty());
    assert_eq!(table.get("other"), None);
}

#[test]
fn requests_that_cannot_be_are_refused_and_change_nothing() {
    let mut table = Table::new();
    let of = |key: &'static str, operation: &'static [u8]| Command::Operate {
        step: Step { key: key.into(), operation: operation.into() },
        moment: at(0),
    };
    assert_eq!(table.apply(of("", b"")).0, Err(ErrorKind::EmptyKey));
    assert!(matches!(table.apply(of("k", b"\xff\xff")).0, Err(ErrorKind::InvalidArgument(_))));
    let steps = vec![step("k", KeyOp::Exists); MAX_STEPS + 1];
    let many = Command::Transact { watches: Vec::new(), steps, moment: at(0) };
    assert!(matches!(table.apply(many).0, Err(ErrorKind::InvalidArgument(_))));
    let Step { key, operation } = step("k", set("v"));
    let request = KeyedRequest::Operate { key, operation, access: Access::Read, level: None };
    let read = table.machine.reader().keyed(&request, at(0));
    assert!(matches!(read, Err(ErrorKind::InvalidArgument(_))), "{read:?}");
    assert_eq!(table.machine.reader().key_count(), 0);
}

#[test]
fn a_transaction_whose_answers_are_too_many_is_refused() {
    let mut table = Table::new();
    table.operate(0, "k", set(&"x".repeat(1024 * 1024))).unwrap();
    let steps = vec![step("k", StringOp::Get); 9];
    let (refused, _) = table.apply(Command::Transact { watches: Vec::new(), steps, moment: at(0) });
    assert!(matches!(refused, Err(ErrorKind::InvalidArgument(_))));
}

#[test]
fn a_table_without_room_takes_only_what_removes() {
    let mut table = Table::new();
    table.operate(0, "k", set("v")).unwrap();
    table.apply(Command::SetQuota { bytes: 100 }).0.unwrap();
    let (refused, out) = table.apply(Command::Operate { step: step("l", set("v")), moment: at(0) });
    assert_eq!(refused, Err(ErrorKind::NoSpace));
    assert!(out.alarms_changed && table.machine.alarms()[0].kind == AlarmKind::NoSpace);
    assert_eq!(table.operate(0, "k", KeyOp::Delete), Ok(Reply::Int(1)));
    assert_eq!(table.read(0, "k", StringOp::Get), Ok(Reply::Nil));
}

#[test]
fn a_table_is_scanned_in_pages_and_emptied_in_one_revision() {
    let mut table = Table::new();
    for number in 0..5 {
        table.operate(0, &format!("k{number}"), set("v")).unwrap();
    }
    table.operate(0, "k1", expire(10)).unwrap();
    table.operate(0, "z", SetOp::Add(vec!["m".into()])).unwrap();
    let keys = |names: &[&'static str]| names.iter().map(|name| Bytes::from(*name)).collect::<Vec<_>>();
    let (first, rest) = (keys(&["k0", "k2"]), keys(&["k3", "k4", "z"]));
    assert_eq!(table.page(10, None, 3, None), KeyedAnswer::Page { keys: first, after: Some("k2".into()) });
    assert_eq!(table.page(10, Some("k2".into()), 9, None), KeyedAnswer::Page { keys: rest, after: None });
    let sets = KeyedAnswer::Page { keys: keys(&["z"]), after: None };
    assert_eq!(table.page(10, None, 9, Some("set")), sets);
    let (answer, out) = table.apply(Command::Flush);
    assert_eq!(answer, Ok(Body::Keyed(KeyedAnswer::Flushed(6))));
    assert_eq!(out.changes.len(), 1);
    assert_eq!(table.machine.reader().key_count(), 0);
}

#[test]
fn what_is_due_is_known_after_a_restart_and_after_a_snapshot() {
    let mut table = Table::new();
    table.operate(0, "k", set("1")).unwrap();
    table.operate(0, "k", expire(100)).unwrap();
    assert_eq!(open(&table.engine, common::SPACE).reader().due(100).unwrap().len(), 1);
    let engine = Arc::new(ModelEngine::new());
    let mut importer = Importer::new(Arc::clone(&engine) as Arc<_>, SpaceId(1));
    export(&table.machine, 100).into_iter().for_each(|page| importer.page(page).unwrap());
    importer.finish().unwrap();
    let copy = open(&engine, SpaceId(1));
    assert_eq!(copy.reader().due(100).unwrap(), table.due(100));
    assert_eq!(copy.reader().hash(), table.machine.reader().hash());
}

/// What a random log does.
#[derive(Clone, Debug)]
enum Deed {
    Operate(Step),
    Transact(Vec<Step>),
    Put(&'static str, Bytes),
    Txn(&'static str, Bytes),
    Expire,
    Flush,
}

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn name() -> impl Strategy<Value = Bytes> {
    vec(0_u8..3, 0..2).prop_map(Bytes::from)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any::<i8>().prop_map(|by| StringOp::Increment(by.into()).into()),
        2 => name().prop_map(|text| StringOp::Append(text).into()),
        2 => Just(StringOp::Get.into()),
        2 => Just(Op::from(set("5"))),
        2 => (name(), name()).prop_map(|(field, value)| HashOp::Set(vec![(field, value)]).into()),
        1 => name().prop_map(|field| HashOp::Remove(vec![field]).into()),
        2 => vec(name(), 1..3).prop_map(|members| SetOp::Add(members).into()),
        2 => Just(SetOp::Pop(None).into()),
        1 => Just(SetOp::Members.into()),
        2 => (0_i64..40).prop_map(|at_ms| expire(at_ms).into()),
        1 => Just(KeyOp::Persist.into()),
        1 => Just(KeyOp::Delete.into()),
        1 => Just(KeyOp::Whole.into()),
    ]
}

fn random_step() -> impl Strategy<Value = Step> {
    (prop::sample::select(&KEYS[..]), op()).prop_map(|(key, op)| step(key, op))
}

fn deed() -> impl Strategy<Value = Deed> {
    let key = || prop::sample::select(&KEYS[..]);
    let value =
        || prop_oneof![name(), Just(Bytes::from_static(b"7")), vec(any::<u8>(), 250..270).prop_map(Bytes::from)];
    prop_oneof![
        8 => random_step().prop_map(Deed::Operate),
        4 => vec(random_step(), 0..6).prop_map(Deed::Transact),
        1 => (key(), value()).prop_map(|(key, value)| Deed::Put(key, value)),
        1 => (key(), value()).prop_map(|(key, value)| Deed::Txn(key, value)),
        1 => Just(Deed::Expire),
        1 => Just(Deed::Flush),
    ]
}

/// What tables of keyed values are: keys with values.
#[derive(Default)]
struct Model(BTreeMap<Bytes, Value>);

impl Model {
    fn step(&mut self, step: &Step, now_ms: i64, seed: u64) -> Bytes {
        let value = self.0.entry(step.key.clone()).or_default();
        let outcome = execute(Op::decode(&step.operation).unwrap(), value, now_ms, seed);
        let reply: Outcome = outcome.map(|(reply, edits)| {
            value.apply(&edits, now_ms).unwrap();
            reply
        });
        reply.encode()
    }

    fn put(&mut self, key: &'static str, value: Bytes) {
        let content = althing_datatypes::Content::String(value);
        self.0.insert(key.into(), Value::from(Whole { content, deadline_ms: None }));
    }

    fn expire(&mut self, now_ms: i64) {
        self.0.retain(|_, value| value.deadline_ms().is_none_or(|deadline| deadline > now_ms));
    }
}

fn put(key: &'static str, value: &Bytes) -> PutRequest {
    PutRequest { key: key.into(), value: PutValue::Set(value.clone()), lease: PutLease::Set(None), prev_kv: false }
}

/// A deed as a command, with what it must answer.
fn told(model: &mut Model, deed: &Deed, now_ms: i64) -> (Command, Option<Vec<Bytes>>) {
    let moment = Moment { now_ms, seed: now_ms.unsigned_abs() };
    match deed {
        Deed::Operate(step) => {
            let reply = model.step(step, now_ms, moment.seed_of(0));
            (Command::Operate { step: step.clone(), moment }, Some(vec![reply]))
        }
        Deed::Transact(steps) => {
            let replies = steps.iter().enumerate().map(|(at, step)| model.step(step, now_ms, moment.seed_of(at)));
            let replies = replies.collect();
            (Command::Transact { watches: Vec::new(), steps: steps.clone(), moment }, Some(replies))
        }
        Deed::Put(key, value) => {
            model.put(key, value.clone());
            (Command::Put(put(key, value)), None)
        }
        Deed::Txn(key, value) => {
            model.put(key, value.clone());
            let success = vec![Operation::Put(put(key, value))];
            (Command::Txn(TxnRequest { success, ..TxnRequest::default() }), None)
        }
        Deed::Expire => {
            model.expire(now_ms);
            // Every deadline that there could be: some are noted, and most are none.
            let due = KEYS.iter().flat_map(|key| (0..40).map(|at_ms| Deadline { at_ms, key: Bytes::from(*key) }));
            (Command::Expire { now_ms, due: due.collect() }, None)
        }
        Deed::Flush => {
            model.0.clear();
            (Command::Flush, None)
        }
    }
}

fn replies(body: Body) -> Option<Vec<Bytes>> {
    match body {
        Body::Keyed(KeyedAnswer::Operated(reply) | KeyedAnswer::Refused(reply)) => Some(vec![reply]),
        Body::Keyed(KeyedAnswer::Transacted { replies, .. }) => Some(replies),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_table_of_keyed_values_is_what_the_values_are(
        deeds in vec(deed(), 0..60),
        slices in vec(1_usize..9, 1..4),
    ) {
        let (_engine, mut machine) = new_machine();
        let mut model = Model::default();
        let (commands, expected): (Vec<_>, Vec<_>) =
            (0..).zip(&deeds).map(|(now_ms, deed)| told(&mut model, deed, now_ms)).unzip();
        let out = apply_in_slices(&mut machine, &log(&commands), &slices);
        for ((command, applied), expected) in commands.iter().zip(out.results).zip(expected) {
            let found = replies(applied.result.unwrap().body);
            prop_assert_eq!(found, expected, "{:?}", command);
        }
        let now_ms = deeds.len() as i64;
        let whole = Op::from(KeyOp::Whole).encode();
        for key in KEYS {
            let request =
                KeyedRequest::Operate { key: key.into(), operation: whole.clone(), access: Access::Read, level: None };
            let found = machine.reader().keyed(&request, at(now_ms)).unwrap().0;
            let expected = model.step(&Step { key: key.into(), operation: whole.clone() }, now_ms, 0);
            prop_assert_eq!(found, KeyedAnswer::Operated(expected));
        }
        // Whatever has a deadline is noted.
        let due = machine.reader().due(i64::MAX).unwrap();
        for (key, value) in &model.0 {
            if let Some(at_ms) = value.deadline_ms() {
                let noted = Deadline { at_ms, key: key.clone() };
                prop_assert!(due.contains(&noted));
                prop_assert!(machine.reader().least_deadline_ms() <= at_ms);
            }
        }
    }

    #[test]
    fn slices_show_nowhere(deeds in vec(deed(), 0..40), slices in vec(1_usize..9, 1..4)) {
        let mut model = Model::default();
        let commands: Vec<_> = (0..).zip(&deeds).map(|(now_ms, deed)| told(&mut model, deed, now_ms).0).collect();
        let (_engine, mut one) = new_machine();
        let (_engine, mut two) = new_machine();
        let whole = apply_in_slices(&mut one, &log(&commands), &[usize::MAX]);
        let cut = apply_in_slices(&mut two, &log(&commands), &slices);
        prop_assert_eq!(whole.results, cut.results);
        prop_assert_eq!(one.reader().hash(), two.reader().hash());
        prop_assert_eq!(one.reader().due(i64::MAX), two.reader().due(i64::MAX));
    }
}
