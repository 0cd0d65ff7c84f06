use althing_api::error::ErrorKind;
use althing_api::kv::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, KeyRange, KeyValue, OperationResponse, PutLease, PutResponse,
    RangeResponse, TxnResponse,
};
use althing_api::request::Header;

use super::*;

fn kv(key: &'static str, value: &'static str, created: i64, revision: i64, version: i64) -> KeyValue {
    let (create_revision, mod_revision) = (Revision(created), Revision(revision));
    KeyValue { key: key.into(), value: value.into(), create_revision, mod_revision, version, lease: None }
}

fn written(kv: KeyValue, prev_kv: Option<KeyValue>) -> (Revision, Vec<Event>) {
    (kv.mod_revision, vec![Event { kind: EventKind::Put, kv, prev_kv }])
}

/// 2: a is 1; 3: b is 2; 4: a is 3; 5: b goes.
fn truth() -> Truth {
    let (a1, b2, a3) = (kv("a", "1", 2, 2, 1), kv("b", "2", 3, 3, 1), kv("a", "3", 2, 4, 2));
    let tombstone = KeyValue { key: "b".into(), mod_revision: Revision(5), ..KeyValue::default() };
    let gone = Event { kind: EventKind::Delete, kv: tombstone, prev_kv: Some(b2.clone()) };
    let changes = [written(a1.clone(), None), written(b2, None), written(a3, Some(a1)), (Revision(5), vec![gone])];
    Truth::new(Revision(2), changes)
}

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn answered(sent: u64, returned: u64, revision: i64, request: Request, body: Body) -> CallRecord {
    let header = Header { revision: Revision(revision), ..Header::default() };
    let end = CallEnd::Answered { returned: at(returned), answer: Answer { header, body } };
    CallRecord { target: althing_api::Target::default(), invoked: at(sent), request, end }
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: PutValue::Set(value.into()), lease: PutLease::Set(None), prev_kv: false }
}

fn wrote(sent: u64, revision: i64, key: &'static str, value: &'static str) -> CallRecord {
    answered(sent, sent + 1, revision, Request::Put(put(key, value)), Body::Put(PutResponse::default()))
}

fn removed(sent: u64, revision: i64) -> CallRecord {
    let request = Request::DeleteRange(DeleteRangeRequest { keys: KeyRange::single("b"), prev_kv: false });
    let deleted = DeleteRangeResponse { deleted: 1, prev_kvs: Vec::new() };
    answered(sent, sent + 1, revision, request, Body::DeleteRange(deleted))
}

/// Everything that the truth holds, done one after another.
fn writes() -> Vec<CallRecord> {
    vec![wrote(10, 2, "a", "1"), wrote(20, 3, "b", "2"), wrote(30, 4, "a", "3"), removed(40, 5)]
}

fn found(kvs: Vec<KeyValue>) -> RangeResponse {
    RangeResponse { count: kvs.len() as u64, kvs, more: false }
}

fn read(sent: u64, header: i64, revision: Option<i64>, kvs: Vec<KeyValue>) -> CallRecord {
    let request = RangeRequest { revision: revision.map(Revision), ..RangeRequest::new(KeyRange::all()) };
    answered(sent, sent + 1, header, Request::Range(request), Body::Range(found(kvs)))
}

fn guarded(revision: i64) -> TxnRequest {
    let compare = Compare::mod_is("a", Revision(revision));
    let look = Operation::Range(RangeRequest::new(KeyRange::single("a")));
    TxnRequest { compare: vec![compare], success: vec![Operation::Put(put("a", "3"))], failure: vec![look] }
}

fn judged(more: Vec<CallRecord>) -> Vec<String> {
    let mut calls = writes();
    calls.extend(more);
    calls.sort_by_key(|call| call.invoked);
    let truth = truth();
    check(&calls, &truth, &Table::new(&truth)).iter().map(ToString::to_string).collect()
}

fn assert_one(found: &[String], words: &str) {
    assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
}

#[test]
fn answers_that_the_history_gives_are_fine() {
    let (a1, b2, a3) = (kv("a", "1", 2, 2, 1), kv("b", "2", 3, 3, 1), kv("a", "3", 2, 4, 2));
    let reads = vec![
        read(22, 3, None, vec![a1.clone(), b2.clone()]),
        read(50, 5, Some(3), vec![a1, b2]),
        read(50, 5, None, vec![a3]),
    ];
    assert_eq!(judged(reads), Vec::<String>::new());
}

#[test]
fn an_old_a_torn_and_an_invented_read_are_found() {
    let (a1, b2, a3) = (kv("a", "1", 2, 2, 1), kv("b", "2", 3, 3, 1), kv("a", "3", 2, 4, 2));
    for kvs in [vec![a1.clone()], vec![a3.clone(), b2.clone()], vec![], vec![kv("a", "3", 2, 4, 3)]] {
        assert_one(&judged(vec![read(50, 5, None, kvs)]), "should have been answered");
    }
    assert_one(&judged(vec![read(50, 5, Some(3), vec![a3, b2])]), "should have been answered");
    assert_one(&judged(vec![read(50, 5, Some(6), vec![a1])]), "should have been answered");
    assert_one(&judged(vec![read(50, 9, None, Vec::new())]), "should have been answered");
}

#[test]
fn a_stale_read_is_found_unless_it_may_be_stale() {
    let stale = read(50, 2, None, vec![kv("a", "1", 2, 2, 1)]);
    assert_one(&judged(vec![stale.clone()]), "was known before");
    let CallRecord { request: Request::Range(mut range), invoked, end, .. } = stale else { panic!("it is a read") };
    range.consistency = Consistency::Serializable;
    assert_eq!(
        judged(vec![CallRecord {
            target: althing_api::Target::default(),
            invoked,
            request: Request::Range(range),
            end
        }]),
        Vec::<String>::new()
    );
}

#[test]
fn a_write_that_is_not_in_the_history_is_found() {
    assert_one(&judged(vec![wrote(50, 5, "a", "9")]), "has not made");
    assert_one(&judged(vec![wrote(50, 6, "a", "9")]), "should have been answered");
}

#[test]
fn a_transaction_that_took_the_wrong_branch_is_found() {
    let took = |succeeded: bool, response, revision| {
        let body = Body::Txn(TxnResponse { succeeded, responses: vec![response] });
        let mut calls = writes();
        calls[2] = answered(30, 31, revision, Request::Txn(guarded(2)), body);
        let truth = truth();
        check(&calls, &truth, &Table::new(&truth)).len()
    };
    let seen = || OperationResponse::Range(found(vec![kv("a", "1", 2, 2, 1)]));
    assert_eq!(took(true, OperationResponse::Put(PutResponse::default()), 4), 0);
    assert_eq!(took(false, seen(), 4), 1);
    assert_eq!(took(false, seen(), 3), 1);
}

#[test]
fn one_revision_that_two_calls_claim_is_found() {
    let found = judged(vec![removed(40, 5)]);
    assert_one(&found, "one revision");
}

#[test]
fn a_write_below_what_was_seen_before_it_is_found() {
    let mut calls = writes();
    calls[2].invoked = at(45);
    calls.sort_by_key(|call| call.invoked);
    let truth = truth();
    let found = check(&calls, &truth, &Table::new(&truth));
    assert!(found.iter().any(|found| matches!(found, Violation::WentBack { .. })), "{found:?}");
    assert!(found.iter().any(|found| matches!(found, Violation::BeforeItWasSent { .. })), "{found:?}");
}

#[test]
fn a_value_from_nowhere_and_one_that_was_refused_are_found() {
    let mut calls = writes();
    let second = calls.remove(1);
    let truth = truth();
    assert_one(
        &check(&calls, &truth, &Table::new(&truth)).iter().map(ToString::to_string).collect::<Vec<_>>(),
        "nobody",
    );
    let end = CallEnd::Refused { returned: at(21), why: ErrorKind::NoLeader };
    calls.insert(1, CallRecord { end, ..second });
    let found = check(&calls, &truth, &Table::new(&truth));
    assert!(matches!(found[..], [Violation::RefusedAndDone { .. }]), "{found:?}");
}

#[test]
fn a_write_that_was_sent_once_and_done_twice_is_found() {
    let (first, second) = (kv("a", "1", 2, 2, 1), kv("a", "1", 2, 3, 2));
    let truth = Truth::new(Revision(2), [written(first.clone(), None), written(second, Some(first))]);
    let calls = [wrote(10, 2, "a", "1")];
    let found = check(&calls, &truth, &Table::new(&truth));
    assert!(matches!(found[..], [Violation::DoneTwice { .. }]), "{found:?}");
}
