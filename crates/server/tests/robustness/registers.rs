//! Clients that read and write registers: get, put, delete, compare-and-swap.
//!
//! Every few thousand values the registers are replaced by fresh ones, since the search for a linear order takes the more
//! time and memory the more operations one key has.

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_api::error::Outcome as Effect;
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::kv_client::KvClient;
use althing_sim::checker::{Action, Answer, Expected, Outcome, Version};
use althing_sim::history::ClientId;
use althing_types::Revision;
use bytes::Bytes;
use pb::compare::TargetUnion;
use pb::request_op::Request as Op;
use pb::response_op::Response as Told;
use tonic::Status;

use crate::recorder::Recorder;
use crate::wire::{self, Session};

/// Keys of registers begin with this.
pub const PREFIX: &str = "r/";
/// Registers at one time; the first is the hot one.
const REGISTERS: u64 = 8;
/// How many of a hundred operations go to the hot one.
const HOT_PERCENT: u32 = 25;
/// Values after which there are fresh registers.
const VALUES_PER_GENERATION: u64 = 2500;
/// How many of a hundred values are large, and how large.
const LARGE_PERCENT: u32 = 4;
const LARGE_BYTES: std::ops::Range<usize> = 200..8000;
/// How often the last reading of a register is tried again.
const LAST_READ_TRIES: u32 = 10;
/// Milliseconds between two operations of a client.
const THINK_MS: std::ops::Range<u64> = 0..8;

/// The key of a register in its generation.
fn key(generation: u64, number: u64) -> Bytes {
    format!("{PREFIX}{generation:04}/{number}").into()
}

/// Works until the load ends.
pub async fn work(recorder: Arc<Recorder>, mut session: Session) {
    let mut client = recorder.new_client();
    let mut known = BTreeMap::new();
    while recorder.is_loaded() {
        let (key, action) = pick(&recorder, &mut session, &known);
        let mut kv = KvClient::new(session.channel());
        let place = recorder.begin(client, &key, &action);
        let result = session.wait(ask(&session, &mut kv, &key, &action)).await;
        match result {
            Ok((revision, answer)) => {
                known.insert(key.clone(), held_after(&action, &answer, revision));
                recorder.end(place, Outcome::Done { returned: recorder.now(), revision, answer });
            }
            Err(status) => {
                known.remove(&key);
                recorder.failed(&status);
                let outcome = outcome_of(&action, &status);
                if outcome == Outcome::Unknown {
                    client = recorder.new_client();
                }
                recorder.end(place, outcome);
                session.leave();
                session.sleep(5..50).await;
            }
        }
        session.sleep(THINK_MS).await;
    }
}

/// A read that failed did nothing, whatever the error says.
fn outcome_of(action: &Action, status: &Status) -> Outcome {
    match (action, wire::effect_of(status)) {
        (Action::Get, _) | (_, Effect::NotDone) => Outcome::Refused,
        (Action::Put(_) | Action::Delete | Action::CompareAndSwap { .. }, Effect::MaybeDone) => Outcome::Unknown,
    }
}

fn pick(recorder: &Recorder, session: &mut Session, known: &BTreeMap<Bytes, Option<Version>>) -> (Bytes, Action) {
    let rng = &mut session.rng;
    let number = if rng.u32(0..100) < HOT_PERCENT { 0 } else { rng.u64(0..REGISTERS) };
    let key = key(recorder.values() / VALUES_PER_GENERATION, number);
    let action = match rng.u32(0..100) {
        0..35 => Action::Get,
        35..65 => Action::Put(new_value(recorder, rng)),
        65..73 => Action::Delete,
        _ => {
            let expected = match known.get(&key) {
                Some(Some(version)) if rng.bool() => Expected::ModRevision(version.revision),
                Some(Some(version)) => Expected::Value(version.value.clone()),
                Some(None) | None => Expected::Absent,
            };
            Action::CompareAndSwap { expected, new: new_value(recorder, rng) }
        }
    };
    (key, action)
}

fn new_value(recorder: &Recorder, rng: &mut fastrand::Rng) -> Bytes {
    let mut value = recorder.new_value().to_string().into_bytes();
    if rng.u32(0..100) < LARGE_PERCENT {
        value.resize(rng.usize(LARGE_BYTES), b' ');
    }
    value.into()
}

/// What the register holds after an answer, as far as the one who asked knows.
fn held_after(action: &Action, answer: &Answer, revision: Revision) -> Option<Version> {
    match (action, answer) {
        (_, Answer::Held(held)) => held.clone(),
        (Action::Put(value) | Action::CompareAndSwap { new: value, .. }, Answer::Written) => {
            Some(Version { value: value.clone(), revision })
        }
        (_, Answer::Deleted | Answer::NothingToDelete) | (Action::Get | Action::Delete, Answer::Written) => None,
    }
}

type Kv = KvClient<tonic::transport::Channel>;

async fn ask(session: &Session, kv: &mut Kv, key: &Bytes, action: &Action) -> Result<(Revision, Answer), Status> {
    match action {
        Action::Get => {
            let found = kv.range(session.request(wire::get(key.clone()))).await?.into_inner();
            Ok((wire::revision(found.header.as_ref()), Answer::Held(single(found))))
        }
        Action::Put(value) => {
            let done = kv.put(session.request(wire::put(key.clone(), value.clone()))).await?.into_inner();
            Ok((wire::revision(done.header.as_ref()), Answer::Written))
        }
        Action::Delete => {
            let delete = pb::DeleteRangeRequest { key: key.clone(), ..pb::DeleteRangeRequest::default() };
            let done = kv.delete_range(session.request(delete)).await?.into_inner();
            let answer = if done.deleted > 0 { Answer::Deleted } else { Answer::NothingToDelete };
            Ok((wire::revision(done.header.as_ref()), answer))
        }
        Action::CompareAndSwap { expected, new } => {
            let done = kv.txn(session.request(swap(key, expected, new))).await?.into_inner();
            Ok((wire::revision(done.header.as_ref()), swapped(done)))
        }
    }
}

fn swap(key: &Bytes, expected: &Expected, new: &Bytes) -> pb::TxnRequest {
    let expected = match expected {
        Expected::Absent => TargetUnion::Version(0),
        Expected::Value(value) => TargetUnion::Value(value.clone()),
        Expected::ModRevision(revision) => TargetUnion::ModRevision(revision.get()),
    };
    pb::TxnRequest {
        compare: vec![wire::compare(key.clone(), expected)],
        success: vec![wire::op(Op::RequestPut(wire::put(key.clone(), new.clone())))],
        failure: vec![wire::op(Op::RequestRange(wire::get(key.clone())))],
    }
}

fn swapped(done: pb::TxnResponse) -> Answer {
    let first = done.responses.into_iter().next().and_then(|response| response.response);
    match (done.succeeded, first) {
        (true, Some(Told::ResponsePut(_))) => Answer::Written,
        (false, Some(Told::ResponseRange(found))) => Answer::Held(single(found)),
        (succeeded, other) => panic!("a swap was answered with {succeeded} and {other:?}"),
    }
}

fn single(found: pb::RangeResponse) -> Option<Version> {
    assert!(found.kvs.len() <= 1, "a read of one key found several: {found:?}");
    found.kvs.into_iter().next().map(|kv| Version { value: kv.value, revision: Revision(kv.mod_revision) })
}

/// Reads every register of the run once more: one client, one after another, all processes up. A read that fails is tried
/// again, and the error given back when that does not help.
pub async fn read_all(recorder: &Recorder, session: &mut Session) -> Result<(), Status> {
    let client = recorder.new_client();
    for generation in 0..=recorder.values() / VALUES_PER_GENERATION {
        for number in 0..REGISTERS {
            let key = key(generation, number);
            let mut result = read_once(recorder, session, client, &key).await;
            for _ in 0..LAST_READ_TRIES {
                if result.is_ok() {
                    break;
                }
                session.leave();
                result = read_once(recorder, session, client, &key).await;
            }
            result?;
        }
    }
    Ok(())
}

async fn read_once(recorder: &Recorder, session: &mut Session, client: ClientId, key: &Bytes) -> Result<(), Status> {
    let mut kv = KvClient::new(session.channel());
    let place = recorder.begin(client, key, &Action::Get);
    let (outcome, result) = match session.wait(ask(session, &mut kv, key, &Action::Get)).await {
        Ok((revision, answer)) => (Outcome::Done { returned: recorder.now(), revision, answer }, Ok(())),
        Err(status) => (Outcome::Refused, Err(status)),
    };
    recorder.end(place, outcome);
    result
}
