//! Answers from the words of the tables onto the wire.

use althing_api::kv::{
    DeleteRangeResponse, Event, EventKind, KeyValue, OperationResponse, PutResponse, RangeResponse, TxnResponse,
};
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::response_op::Response as Op;
use althing_etcd_proto::mvccpb;
use althing_types::Revision;

/// The header of an answer, or of an answer within a transaction.
type Header = Option<pb::ResponseHeader>;

/// A count on the wire, where it is signed.
pub(crate) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision.get(),
        mod_revision: kv.mod_revision.get(),
        version: kv.version,
        value: kv.value,
        lease: kv.lease.map_or(0, |lease| lease.get()),
    }
}

pub(crate) fn event(event: Event) -> mvccpb::Event {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event { r#type: kind.into(), kv: Some(key_value(event.kv)), prev_kv: event.prev_kv.map(key_value) }
}

pub(crate) fn range(header: Header, found: RangeResponse) -> pb::RangeResponse {
    pb::RangeResponse {
        header,
        kvs: found.kvs.into_iter().map(key_value).collect(),
        more: found.more,
        count: count(found.count),
    }
}

pub(crate) fn put(header: Header, done: PutResponse) -> pb::PutResponse {
    pb::PutResponse { header, prev_kv: done.prev_kv.map(key_value) }
}

pub(crate) fn delete_range(header: Header, done: DeleteRangeResponse) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header,
        deleted: count(done.deleted),
        prev_kvs: done.prev_kvs.into_iter().map(key_value).collect(),
    }
}

/// A transaction's answer. The answers within carry a header with only the revision at which each was made: that of
/// the transaction from its first write on, the one before it until then.
pub(crate) fn txn(header: pb::ResponseHeader, done: TxnResponse) -> pb::TxnResponse {
    let written = Revision(header.revision);
    let mut revision = if wrote(&done) { Revision(written.get() - 1) } else { written };
    nested_txn(Some(header), done, &mut revision, written)
}

fn nested_txn(header: Header, done: TxnResponse, revision: &mut Revision, written: Revision) -> pb::TxnResponse {
    let responses = done.responses.into_iter().map(|response| operation(response, revision, written)).collect();
    pb::TxnResponse { header, succeeded: done.succeeded, responses }
}

fn operation(response: OperationResponse, revision: &mut Revision, written: Revision) -> pb::ResponseOp {
    if writes(&response) {
        *revision = written;
    }
    let header = Some(pb::ResponseHeader { revision: revision.get(), ..Default::default() });
    let response = match response {
        OperationResponse::Range(found) => Op::ResponseRange(range(header, found)),
        OperationResponse::Put(done) => Op::ResponsePut(put(header, done)),
        OperationResponse::DeleteRange(done) => Op::ResponseDeleteRange(delete_range(header, done)),
        OperationResponse::Txn(done) => {
            Op::ResponseTxn(nested_txn(Some(pb::ResponseHeader::default()), done, revision, written))
        }
    };
    pb::ResponseOp { response: Some(response) }
}

/// Whether this operation itself, not one within it, wrote something.
fn writes(response: &OperationResponse) -> bool {
    match response {
        OperationResponse::Put(_) => true,
        OperationResponse::DeleteRange(done) => done.deleted > 0,
        OperationResponse::Range(_) | OperationResponse::Txn(_) => false,
    }
}

/// Whether a transaction wrote something at any depth.
fn wrote(done: &TxnResponse) -> bool {
    done.responses.iter().any(|response| match response {
        OperationResponse::Txn(nested) => wrote(nested),
        other => writes(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions(response: &pb::TxnResponse) -> Vec<i64> {
        let mut found = Vec::new();
        for op in &response.responses {
            match op.response.as_ref().unwrap() {
                Op::ResponseRange(range) => found.push(range.header.unwrap().revision),
                Op::ResponsePut(put) => found.push(put.header.unwrap().revision),
                Op::ResponseDeleteRange(delete) => found.push(delete.header.unwrap().revision),
                Op::ResponseTxn(txn) => found.extend(revisions(txn)),
            }
        }
        found
    }

    #[test]
    fn an_answer_within_a_transaction_carries_the_revision_at_which_it_was_made() {
        let read = || OperationResponse::Range(RangeResponse::default());
        let nothing = OperationResponse::DeleteRange(DeleteRangeResponse::default());
        let nested = TxnResponse { succeeded: true, responses: vec![OperationResponse::Put(PutResponse::default())] };
        let done =
            TxnResponse { succeeded: true, responses: vec![read(), nothing, OperationResponse::Txn(nested), read()] };
        let header = pb::ResponseHeader { revision: 8, ..Default::default() };
        assert_eq!(revisions(&txn(header, done)), [7, 7, 8, 8]);
    }

    #[test]
    fn a_transaction_that_wrote_nothing_stays_at_its_revision() {
        let done =
            TxnResponse { succeeded: false, responses: vec![OperationResponse::Range(RangeResponse::default())] };
        let header = pb::ResponseHeader { revision: 8, ..Default::default() };
        assert_eq!(revisions(&txn(header, done)), [8]);
    }
}
