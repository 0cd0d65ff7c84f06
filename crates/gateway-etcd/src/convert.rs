//! Requests from the wire into the words of the tables, refused where etcd's `v3rpc` layer refuses them, with the same
//! error and in the same order of checks.

use althing_api::kv::{
    Compare, CompareOperator, CompareTarget, Consistency, DeleteRangeRequest, KeyRange, Operation, PutLease,
    PutRequest, PutValue, RangeEnd, RangeRequest, SortOrder, SortTarget, TxnRequest,
};
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::request_op::Request as Op;
use althing_types::limits::{MAX_REQUEST_BYTES, MAX_TXN_DEPTH, MAX_TXN_OPS};
use althing_types::{LeaseId, Revision};
use bytes::Bytes;
use tonic::Status;

use crate::intervals;
use crate::status::Refusal;

/// A range of keys: an empty end means the key alone, one zero byte means to the last key there is.
pub(crate) fn key_range(key: Bytes, range_end: Bytes) -> KeyRange {
    let end = match range_end.as_ref() {
        [] => RangeEnd::Single,
        [0] => RangeEnd::Unbounded,
        _ => RangeEnd::Before(range_end),
    };
    KeyRange { start: key, end }
}

/// A lease of the wire, where zero means none.
pub(crate) const fn lease(id: i64) -> Option<LeaseId> {
    if id == 0 { None } else { Some(LeaseId(id)) }
}

/// A revision bound of the wire, where zero means none.
const fn bound(revision: i64) -> Option<Revision> {
    if revision == 0 { None } else { Some(Revision(revision)) }
}

/// What etcd adds to a request before it measures it: the entry that it proposes, with a request id of its own.
const ENTRY_BYTES: usize = 18;

/// Refuses a write of so many bytes that etcd would refuse to propose it. Etcd looks at everything else first.
pub(crate) fn check_size(bytes: usize) -> Result<(), Status> {
    if bytes + ENTRY_BYTES > MAX_REQUEST_BYTES {
        return Err(Refusal::RequestTooLarge.into());
    }
    Ok(())
}

pub(crate) fn range(request: pb::RangeRequest) -> Result<RangeRequest, Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    Ok(RangeRequest {
        sort: sort(&request)?,
        limit: u64::try_from(request.limit).unwrap_or(0),
        revision: (request.revision > 0).then_some(Revision(request.revision)),
        consistency: if request.serializable { Consistency::Serializable } else { Consistency::Linearizable },
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: bound(request.min_mod_revision),
        max_mod_revision: bound(request.max_mod_revision),
        min_create_revision: bound(request.min_create_revision),
        max_create_revision: bound(request.max_create_revision),
        keys: key_range(request.key, request.range_end),
    })
}

/// The order of a result. Ascending by key is what a read gives anyway; another target without an order sorts what the
/// limit has left.
fn sort(request: &pb::RangeRequest) -> Result<Option<(SortTarget, SortOrder)>, Refusal> {
    use pb::range_request::{SortOrder as WireOrder, SortTarget as WireTarget};
    let order = WireOrder::try_from(request.sort_order).map_err(|_| Refusal::InvalidSortOption)?;
    let target = WireTarget::try_from(request.sort_target).map_err(|_| Refusal::InvalidSortOption)?;
    let target = match target {
        WireTarget::Key => SortTarget::Key,
        WireTarget::Version => SortTarget::Version,
        WireTarget::Create => SortTarget::Create,
        WireTarget::Mod => SortTarget::Mod,
        WireTarget::Value => SortTarget::Value,
    };
    Ok(match (target, order) {
        (SortTarget::Key, WireOrder::None | WireOrder::Ascend) => None,
        (target, WireOrder::None) => Some((target, SortOrder::AscendingWithinLimit)),
        (target, WireOrder::Ascend) => Some((target, SortOrder::Ascending)),
        (target, WireOrder::Descend) => Some((target, SortOrder::Descending)),
    })
}

pub(crate) fn put(request: pb::PutRequest) -> Result<PutRequest, Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(PutRequest {
        key: request.key,
        value: if request.ignore_value { PutValue::Keep } else { PutValue::Set(request.value) },
        lease: if request.ignore_lease { PutLease::Keep } else { PutLease::Set(lease(request.lease)) },
        prev_kv: request.prev_kv,
    })
}

pub(crate) fn delete_range(request: pb::DeleteRangeRequest) -> Result<DeleteRangeRequest, Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    Ok(DeleteRangeRequest { keys: key_range(request.key, request.range_end), prev_kv: request.prev_kv })
}

/// A transaction. Etcd allows [`MAX_TXN_OPS`] operations along the widest path through nested branches.
pub(crate) fn txn(request: pb::TxnRequest) -> Result<TxnRequest, Refusal> {
    let txn = bounded_txn(request, MAX_TXN_OPS, MAX_TXN_DEPTH)?;
    intervals::check(&txn.success)?;
    intervals::check(&txn.failure)?;
    Ok(txn)
}

fn bounded_txn(request: pb::TxnRequest, operations: usize, depth: usize) -> Result<TxnRequest, Refusal> {
    let widest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = operations.checked_sub(widest).ok_or(Refusal::TooManyOperations)?;
    let below = depth.checked_sub(1).ok_or(Refusal::TooManyOperations)?;
    let branch = |ops: Vec<pb::RequestOp>| {
        ops.into_iter().map(|op| operation(op, left, below)).collect::<Result<Vec<_>, Refusal>>()
    };
    Ok(TxnRequest {
        compare: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: branch(request.success)?,
        failure: branch(request.failure)?,
    })
}

/// An operation without a request is what etcd answers with "key not found".
fn operation(op: pb::RequestOp, operations: usize, depth: usize) -> Result<Operation, Refusal> {
    Ok(match op.request.ok_or(Refusal::KeyNotFound)? {
        Op::RequestRange(request) => {
            // A revision below zero means the present for a read of its own; here etcd holds it against the compact one.
            let revision = bound(request.revision);
            Operation::Range(RangeRequest { revision, ..range(request)? })
        }
        Op::RequestPut(request) => Operation::Put(put(request)?),
        Op::RequestDeleteRange(request) => Operation::DeleteRange(delete_range(request)?),
        Op::RequestTxn(request) => Operation::Txn(bounded_txn(request, operations, depth)?),
    })
}

/// A condition. The target says what is compared; a value given for another target counts as that target's zero, as
/// in etcd.
fn compare(request: pb::Compare) -> Result<Compare, Refusal> {
    use pb::compare::{CompareResult, CompareTarget as Target, TargetUnion};
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    let operator = match CompareResult::try_from(request.result).map_err(|_| Refusal::InvalidCompare)? {
        CompareResult::Equal => CompareOperator::Equal,
        CompareResult::Greater => CompareOperator::Greater,
        CompareResult::Less => CompareOperator::Less,
        CompareResult::NotEqual => CompareOperator::NotEqual,
    };
    let target = Target::try_from(request.target).map_err(|_| Refusal::InvalidCompare)?;
    let target = match (target, request.target_union) {
        (Target::Version, Some(TargetUnion::Version(version))) => CompareTarget::Version(version),
        (Target::Version, _) => CompareTarget::Version(0),
        (Target::Create, Some(TargetUnion::CreateRevision(revision))) => CompareTarget::Create(Revision(revision)),
        (Target::Create, _) => CompareTarget::Create(Revision(0)),
        (Target::Mod, Some(TargetUnion::ModRevision(revision))) => CompareTarget::Mod(Revision(revision)),
        (Target::Mod, _) => CompareTarget::Mod(Revision(0)),
        (Target::Value, Some(TargetUnion::Value(value))) => CompareTarget::Value(value),
        (Target::Value, _) => CompareTarget::Value(Bytes::new()),
        (Target::Lease, Some(TargetUnion::Lease(lease))) => CompareTarget::Lease(lease),
        (Target::Lease, _) => CompareTarget::Lease(0),
    };
    Ok(Compare { keys: key_range(request.key, request.range_end), operator, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut pb::RangeRequest)) -> RangeRequest {
        let mut request = pb::RangeRequest { key: "a".into(), ..Default::default() };
        change(&mut request);
        range(request).unwrap()
    }

    #[test]
    fn a_range_ends_where_etcds_range_end_says() {
        assert_eq!(read(|_| {}).keys, KeyRange::single("a"));
        assert_eq!(read(|r| r.range_end = vec![0].into()).keys.end, RangeEnd::Unbounded);
        assert_eq!(read(|r| r.range_end = "b".into()).keys.end, RangeEnd::Before("b".into()));
        assert_eq!(read(|r| r.range_end = vec![0, 0].into()).keys.end, RangeEnd::Before(vec![0, 0].into()));
    }

    #[test]
    fn an_order_that_the_keys_have_anyway_is_none_and_a_target_without_order_ascends() {
        let sorted = |target, order| {
            read(|r| {
                r.sort_target = target;
                r.sort_order = order;
            })
            .sort
        };
        assert_eq!(sorted(0, 0), None);
        assert_eq!(sorted(0, 1), None);
        assert_eq!(sorted(0, 2), Some((SortTarget::Key, SortOrder::Descending)));
        assert_eq!(sorted(3, 0), Some((SortTarget::Mod, SortOrder::AscendingWithinLimit)));
        assert_eq!(sorted(3, 1), Some((SortTarget::Mod, SortOrder::Ascending)));
        assert_eq!(sorted(4, 2), Some((SortTarget::Value, SortOrder::Descending)));
    }

    #[test]
    fn zero_and_less_mean_nothing_asked_for() {
        let plain = read(|r| {
            r.limit = -1;
            r.revision = -1;
        });
        assert_eq!((plain.limit, plain.revision, plain.min_mod_revision), (0, None, None));
        let bounded = read(|r| r.max_create_revision = 5);
        assert_eq!(bounded.max_create_revision, Some(Revision(5)));
    }

    #[test]
    fn a_put_that_keeps_says_what_it_keeps() {
        let request = pb::PutRequest { key: "a".into(), ignore_value: true, lease: 7, ..Default::default() };
        let kept = put(request).unwrap();
        assert_eq!((kept.value, kept.lease), (PutValue::Keep, PutLease::Set(Some(LeaseId(7)))));
        let request = pb::PutRequest { key: "a".into(), ignore_lease: true, value: "v".into(), ..Default::default() };
        let kept = put(request).unwrap();
        assert_eq!((kept.value, kept.lease), (PutValue::Set("v".into()), PutLease::Keep));
    }

    #[test]
    fn a_comparison_with_a_value_of_another_target_compares_with_zero() {
        use pb::compare::TargetUnion;
        let asked =
            |target, union| compare(pb::Compare { key: "a".into(), target, target_union: union, ..Default::default() });
        assert_eq!(asked(2, Some(TargetUnion::ModRevision(4))).unwrap().target, CompareTarget::Mod(Revision(4)));
        assert_eq!(asked(1, Some(TargetUnion::ModRevision(4))).unwrap().target, CompareTarget::Create(Revision(0)));
        assert_eq!(asked(3, None).unwrap().target, CompareTarget::Value(Bytes::new()));
        assert_eq!(asked(9, None), Err(Refusal::InvalidCompare));
    }
}
