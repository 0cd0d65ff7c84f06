//! Requests as clients write them, and what their answers hold.

use althing_api::kv::{
    Compare, CompareTarget, DeleteRangeRequest, KeyRange, KeyValue, Operation, OperationResponse, PutLease, PutRequest,
    PutValue, RangeRequest, TxnRequest, TxnResponse,
};
use althing_api::request::{Answer, Body};
use althing_types::{LeaseId, Revision};
use bytes::Bytes;

/// A read of one key as it is now.
pub(super) fn read(key: &Bytes) -> Operation {
    Operation::Range(RangeRequest::new(KeyRange::single(key.clone())))
}

/// A write of one key.
pub(super) fn put(key: &Bytes, value: impl Into<Bytes>, lease: Option<LeaseId>) -> PutRequest {
    PutRequest { key: key.clone(), value: PutValue::Set(value.into()), lease: PutLease::Set(lease), prev_kv: false }
}

/// A removal of one key.
pub(super) fn delete(key: &Bytes) -> Operation {
    Operation::DeleteRange(DeleteRangeRequest { keys: KeyRange::single(key.clone()), prev_kv: false })
}

/// That a key is as it was seen: at the same revision, or absent.
pub(super) fn unchanged(key: &Bytes, seen: Option<&KeyValue>) -> Compare {
    match seen {
        Some(kv) => Compare::mod_is(key.clone(), kv.mod_revision),
        None => Compare::is(key.clone(), CompareTarget::Version(0)),
    }
}

/// That a key has existed without a break since this revision.
pub(super) fn created_at(key: &Bytes, revision: Revision) -> Compare {
    Compare::is(key.clone(), CompareTarget::Create(revision))
}

/// A transaction with nothing but reads of these keys.
pub(super) fn snapshot(keys: &[Bytes]) -> TxnRequest {
    TxnRequest { compare: Vec::new(), success: keys.iter().map(read).collect(), failure: Vec::new() }
}

/// The keys that an answer to a read shows.
pub(super) fn found(answer: Answer) -> Vec<KeyValue> {
    match answer.body {
        Body::Range(range) => range.kvs,
        other => panic!("a read was answered with {other:?}"),
    }
}

/// What an answer to a transaction says.
pub(super) fn done(answer: Answer) -> TxnResponse {
    match answer.body {
        Body::Txn(txn) => txn,
        other => panic!("a transaction was answered with {other:?}"),
    }
}

/// What each read of a transaction on single keys found, in order; writes are left out.
pub(super) fn each_found(txn: TxnResponse) -> Vec<Option<KeyValue>> {
    let ranges = txn.responses.into_iter().filter_map(|response| match response {
        OperationResponse::Range(range) => Some(range.kvs.into_iter().next()),
        OperationResponse::Put(_) | OperationResponse::DeleteRange(_) | OperationResponse::Txn(_) => None,
    });
    ranges.collect()
}
