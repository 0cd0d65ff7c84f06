//! Random requests over few keys, so that they meet.

use althing_api::kv::*;
use althing_strong::Command;
use althing_types::{LeaseId, Revision};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const KEYS: [&[u8]; 12] =
    [b"\x00", b"\x00\x00", b"\x00\x01", b"a", b"a\x00", b"a\x00\x01", b"a\x01", b"aa", b"ab", b"b", b"b\xff", b"\xff"];

pub fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(&KEYS[..]).prop_map(Bytes::from_static)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => vec(0_u8..3, 0..3).prop_map(Bytes::from),
        1 => (0_u8..3, 250_usize..262).prop_map(|(byte, many)| Bytes::from(vec![byte; many])),
    ]
}

fn lease() -> impl Strategy<Value = LeaseId> {
    (1_i64..4).prop_map(LeaseId)
}

pub fn keys() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![
        2 => Just(RangeEnd::Single),
        3 => key().prop_map(RangeEnd::Before),
        1 => Just(RangeEnd::Unbounded),
    ];
    (key(), end).prop_map(|(start, end)| KeyRange { start, end })
}

pub fn revision() -> impl Strategy<Value = Revision> {
    (1_i64..40).prop_map(Revision)
}

pub fn range() -> impl Strategy<Value = RangeRequest> {
    let sort = prop::sample::select(vec![
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ]);
    let order =
        prop::sample::select(vec![SortOrder::Ascending, SortOrder::Descending, SortOrder::AscendingWithinLimit]);
    let filter = || option::weighted(0.1, revision());
    (
        (keys(), 0_u64..5, option::weighted(0.4, revision()), option::of((sort, order))),
        (any::<bool>(), prop::bool::weighted(0.2)),
        (filter(), filter(), filter(), filter()),
    )
        .prop_map(|((keys, limit, revision, sort), (keys_only, count_only), filters)| RangeRequest {
            keys,
            limit,
            revision,
            sort,
            consistency: Consistency::Linearizable,
            keys_only,
            count_only,
            min_mod_revision: filters.0,
            max_mod_revision: filters.1,
            min_create_revision: filters.2,
            max_create_revision: filters.3,
        })
}

pub fn put() -> impl Strategy<Value = PutRequest> {
    let value = prop_oneof![8 => value().prop_map(PutValue::Set), 1 => Just(PutValue::Keep)];
    let lease = prop_oneof![
        6 => Just(PutLease::Set(None)),
        3 => lease().prop_map(|id| PutLease::Set(Some(id))),
        1 => Just(PutLease::Keep),
    ];
    (key(), value, lease, any::<bool>()).prop_map(|(key, value, lease, prev_kv)| PutRequest {
        key,
        value,
        lease,
        prev_kv,
    })
}

pub fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (keys(), any::<bool>()).prop_map(|(keys, prev_kv)| DeleteRangeRequest { keys, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    let operator = prop::sample::select(vec![
        CompareOperator::Equal,
        CompareOperator::Greater,
        CompareOperator::Less,
        CompareOperator::NotEqual,
    ]);
    let target = prop_oneof![
        (0_i64..3).prop_map(CompareTarget::Version),
        (0_i64..20).prop_map(|revision| CompareTarget::Create(Revision(revision))),
        (0_i64..20).prop_map(|revision| CompareTarget::Mod(Revision(revision))),
        value().prop_map(CompareTarget::Value),
        (0_i64..4).prop_map(CompareTarget::Lease),
    ];
    (keys(), operator, target).prop_map(|(keys, operator, target)| Compare { keys, operator, target })
}

pub fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        range().prop_map(Operation::Range),
        put().prop_map(Operation::Put),
        delete().prop_map(Operation::DeleteRange),
    ];
    let operation = leaf.prop_recursive(2, 12, 3, |inner| {
        (vec(compare(), 0..2), vec(inner.clone(), 0..3), vec(inner, 0..3))
            .prop_map(|(compare, success, failure)| Operation::Txn(TxnRequest { compare, success, failure }))
    });
    (vec(compare(), 0..3), vec(operation.clone(), 0..4), vec(operation, 0..4))
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
}

/// What a client or a lessor asks for.
pub fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        10 => put().prop_map(Command::Put),
        4 => delete().prop_map(Command::DeleteRange),
        6 => txn().prop_map(Command::Txn),
        1 => revision().prop_map(|revision| Command::Compact { revision }),
        2 => (lease(), 0_i64..9).prop_map(|(id, ttl_seconds)| Command::LeaseGrant { id, ttl_seconds }),
        1 => lease().prop_map(|id| Command::LeaseRevoke { id }),
        1 => vec((lease(), 0_i64..9), 0..3).prop_map(|remaining| Command::LeaseCheckpoint { remaining }),
    ]
}
