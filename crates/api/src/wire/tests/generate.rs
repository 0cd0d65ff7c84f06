//! Strategies for everything that has bytes.

use althing_quorum::Level;
use althing_types::{ClusterId, Duration, GroupId, LeaseId, NodeId, Revision, TableName, WatchId};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::cluster::{Alarm, AlarmAction, AlarmKind, HashKv, Member, NodeStatus};
use crate::error::{Error, ErrorKind, Outcome};
use crate::keyed::{Access, KeyedAnswer, KeyedRequest, Moment, Step, Watched};
use crate::kv::{
    Compare, CompareOperator, CompareTarget, Consistency, DeleteRangeRequest, DeleteRangeResponse, Event, EventKind,
    KeyRange, KeyValue, Operation, OperationResponse, PutLease, PutRequest, PutResponse, PutValue, RangeEnd,
    RangeRequest, RangeResponse, SortOrder, SortTarget, TxnRequest, TxnResponse,
};
use crate::lease::{LeaseGranted, LeaseStatus};
use crate::request::{Answer, Body, Header, Request};
use crate::service::{Call, Target};
use crate::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..5).prop_map(Bytes::from)
}

fn text() -> impl Strategy<Value = String> {
    "[a-z:/é]{0,6}"
}

fn revision() -> impl Strategy<Value = Revision> {
    any::<i64>().prop_map(Revision)
}

/// Zero is no lease.
fn lease() -> impl Strategy<Value = LeaseId> {
    any::<i64>().prop_map(|id| LeaseId(if id == 0 { 1 } else { id }))
}

fn node() -> impl Strategy<Value = NodeId> {
    any::<u64>().prop_map(NodeId)
}

fn watch() -> impl Strategy<Value = WatchId> {
    any::<i64>().prop_map(WatchId)
}

fn table() -> impl Strategy<Value = TableName> {
    "[a-z0-9-]{1,8}".prop_map(|name| TableName::new(&name).unwrap())
}

fn keys() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![Just(RangeEnd::Single), bytes().prop_map(RangeEnd::Before), Just(RangeEnd::Unbounded)];
    (bytes(), end).prop_map(|(start, end)| KeyRange { start, end })
}

fn sort() -> impl Strategy<Value = (SortTarget, SortOrder)> {
    use SortTarget::{Create, Key, Mod, Value, Version};
    let target = prop::sample::select(vec![Key, Version, Create, Mod, Value]);
    let orders = vec![SortOrder::Ascending, SortOrder::Descending, SortOrder::AscendingWithinLimit];
    (target, prop::sample::select(orders))
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let bounds = [(); 4].map(|()| option::of(revision()));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (keys(), any::<u64>(), option::of(revision()), option::of(sort()), flags, bounds).prop_map(
        |(keys, limit, revision, sort, (stale, keys_only, count_only), bounds)| {
            let [min_mod_revision, max_mod_revision, min_create_revision, max_create_revision] = bounds;
            let consistency = if stale { Consistency::Serializable } else { Consistency::Linearizable };
            RangeRequest {
                keys,
                limit,
                revision,
                sort,
                consistency,
                keys_only,
                count_only,
                min_mod_revision,
                max_mod_revision,
                min_create_revision,
                max_create_revision,
            }
        },
    )
}

fn put() -> impl Strategy<Value = PutRequest> {
    let value = prop_oneof![bytes().prop_map(PutValue::Set), Just(PutValue::Keep)];
    let lease = prop_oneof![option::of(lease()).prop_map(PutLease::Set), Just(PutLease::Keep)];
    (bytes(), value, lease, any::<bool>()).prop_map(|(key, value, lease, prev_kv)| PutRequest {
        key,
        value,
        lease,
        prev_kv,
    })
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (keys(), any::<bool>()).prop_map(|(keys, prev_kv)| DeleteRangeRequest { keys, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    use CompareOperator::{Equal, Greater, Less, NotEqual};
    let target = prop_oneof![
        any::<i64>().prop_map(CompareTarget::Version),
        revision().prop_map(CompareTarget::Create),
        revision().prop_map(CompareTarget::Mod),
        bytes().prop_map(CompareTarget::Value),
        any::<i64>().prop_map(CompareTarget::Lease),
    ];
    (keys(), prop::sample::select(vec![Equal, Greater, Less, NotEqual]), target)
        .prop_map(|(keys, operator, target)| Compare { keys, operator, target })
}

fn operation() -> impl Strategy<Value = Operation> {
    let leaf = prop_oneof![
        range().prop_map(Operation::Range),
        put().prop_map(Operation::Put),
        delete().prop_map(Operation::DeleteRange),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| txn_of(inner).prop_map(Operation::Txn))
}

fn txn_of(operation: impl Strategy<Value = Operation> + Clone) -> impl Strategy<Value = TxnRequest> {
    (vec(compare(), 0..3), vec(operation.clone(), 0..3), vec(operation, 0..3))
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
}

fn alarm_kind() -> impl Strategy<Value = AlarmKind> {
    prop::sample::select(vec![AlarmKind::NoSpace, AlarmKind::Corrupt])
}

fn member() -> impl Strategy<Value = Member> {
    (node(), text(), vec(text(), 0..3), vec(text(), 0..3), any::<bool>()).prop_map(
        |(id, name, peer_urls, client_urls, is_learner)| Member { id, name, peer_urls, client_urls, is_learner },
    )
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        data_request(),
        lease_request(),
        member_request(),
        prop_oneof![
            Just(Request::Status),
            alarm_request(),
            Just(Request::Hash),
            option::of(revision()).prop_map(Request::HashKv),
            node().prop_map(Request::MoveLeader),
            keyed_request().prop_map(Request::Keyed),
        ],
    ]
}

fn data_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        range().prop_map(Request::Range),
        put().prop_map(Request::Put),
        delete().prop_map(Request::DeleteRange),
        txn_of(operation().boxed()).prop_map(Request::Txn),
        (revision(), any::<bool>()).prop_map(|(revision, physical)| Request::Compact { revision, physical }),
    ]
}

fn keyed_request() -> impl Strategy<Value = KeyedRequest> {
    let in_session = (bytes(), lone_request())
        .prop_map(|(token, request)| KeyedRequest::InSession { token, request: Box::new(request) });
    prop_oneof![4 => lone_request(), 1 => in_session]
}

fn keyed_answer() -> impl Strategy<Value = KeyedAnswer> {
    let in_session =
        (bytes(), lone_answer()).prop_map(|(token, answer)| KeyedAnswer::InSession { answer: Box::new(answer), token });
    let part = prop_oneof![lone_answer().prop_map(Ok), error().prop_map(Err)];
    let series = vec(part, 0..3).prop_map(KeyedAnswer::Series);
    prop_oneof![4 => lone_answer(), 1 => in_session, 1 => series]
}

fn lone_request() -> impl Strategy<Value = KeyedRequest> {
    let access = || prop::sample::select(vec![Access::Read, Access::Write]);
    let level = || option::of(prop::sample::select(Level::ALL.to_vec()));
    let bytes_or_none = || option::of(bytes());
    prop_oneof![
        (bytes(), level()).prop_map(|(key, level)| KeyedRequest::Siblings { key, level }),
        (bytes(), bytes(), bytes(), level()).prop_map(|(key, value, context, level)| KeyedRequest::Put {
            key,
            value,
            context,
            level
        }),
        (bytes(), vec(bytes(), 0..3), access(), level(), level()).prop_map(
            |(key, operations, access, read_level, write_level)| KeyedRequest::Series {
                key,
                operations,
                access,
                read_level,
                write_level
            }
        ),
        (bytes(), bytes(), access(), level()).prop_map(|(key, operation, access, level)| KeyedRequest::Operate {
            key,
            operation,
            access,
            level
        }),
        (bytes_or_none(), any::<u32>(), bytes_or_none(), bytes_or_none())
            .prop_map(|(after, limit, pattern, kind)| KeyedRequest::Scan { after, limit, pattern, kind }),
        Just(KeyedRequest::Count),
        Just(KeyedRequest::Flush),
        transact(),
    ]
}

fn transact() -> impl Strategy<Value = KeyedRequest> {
    let access = prop::sample::select(vec![Access::Read, Access::Write]);
    let watched = (bytes(), revision()).prop_map(|(key, revision)| Watched { key, revision });
    let step = (bytes(), bytes()).prop_map(|(key, operation)| Step { key, operation });
    let moment = (any::<i64>(), any::<u64>()).prop_map(|(now_ms, seed)| Moment { now_ms, seed });
    (vec(watched, 0..3), vec(step, 0..3), access, option::of(moment))
        .prop_map(|(watches, steps, access, moment)| KeyedRequest::Transact { watches, steps, access, moment })
}

fn lone_answer() -> impl Strategy<Value = KeyedAnswer> {
    prop_oneof![
        (vec(bytes(), 0..3), bytes()).prop_map(|(values, context)| KeyedAnswer::Siblings { values, context }),
        any::<u64>().prop_map(KeyedAnswer::Reread),
        bytes().prop_map(KeyedAnswer::Operated),
        bytes().prop_map(KeyedAnswer::Refused),
        (vec(bytes(), 0..3), option::of(bytes())).prop_map(|(keys, after)| KeyedAnswer::Page { keys, after }),
        any::<u64>().prop_map(KeyedAnswer::Count),
        any::<u64>().prop_map(KeyedAnswer::Flushed),
        (vec(bytes(), 0..3), vec(revision(), 0..3))
            .prop_map(|(replies, revisions)| KeyedAnswer::Transacted { replies, revisions }),
        Just(KeyedAnswer::Aborted),
    ]
}

fn lease_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (option::of(lease()), any::<i64>()).prop_map(|(id, ttl_seconds)| Request::LeaseGrant { id, ttl_seconds }),
        lease().prop_map(Request::LeaseRevoke),
        lease().prop_map(Request::LeaseKeepAlive),
        (lease(), any::<bool>()).prop_map(|(id, keys)| Request::LeaseTimeToLive { id, keys }),
        Just(Request::LeaseLeases),
    ]
}

fn member_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        any::<bool>().prop_map(|linearizable| Request::MemberList { linearizable }),
        (vec(text(), 0..3), any::<bool>())
            .prop_map(|(peer_urls, is_learner)| Request::MemberAdd { peer_urls, is_learner }),
        node().prop_map(Request::MemberPromote),
        node().prop_map(Request::MemberRemove),
        (node(), vec(text(), 0..3)).prop_map(|(id, peer_urls)| Request::MemberUpdate { id, peer_urls }),
    ]
}

fn alarm_request() -> impl Strategy<Value = Request> {
    let actions = vec![AlarmAction::Get, AlarmAction::Activate, AlarmAction::Deactivate];
    (prop::sample::select(actions), node(), option::of(alarm_kind()))
        .prop_map(|(action, member, kind)| Request::Alarm { action, member, kind })
}

/// A call; of its timeout whole milliseconds.
pub(super) fn call() -> impl Strategy<Value = Call> {
    let target = prop_oneof![any::<u64>().prop_map(|id| Target::Group(GroupId(id))), table().prop_map(Target::Table)];
    let timeout = option::of(any::<u64>().prop_map(Duration::from_millis));
    (target, timeout, any::<bool>(), request()).prop_map(|(target, timeout, require_leader, request)| Call {
        target,
        request,
        timeout,
        require_leader,
    })
}

fn key_value() -> impl Strategy<Value = KeyValue> {
    (bytes(), revision(), revision(), any::<i64>(), bytes(), option::of(lease())).prop_map(
        |(key, create_revision, mod_revision, version, value, lease)| KeyValue {
            key,
            create_revision,
            mod_revision,
            version,
            value,
            lease,
        },
    )
}

fn range_response() -> impl Strategy<Value = RangeResponse> {
    (vec(key_value(), 0..3), any::<bool>(), any::<u64>()).prop_map(|(kvs, more, count)| RangeResponse {
        kvs,
        more,
        count,
    })
}

fn put_response() -> impl Strategy<Value = PutResponse> {
    option::of(key_value()).prop_map(|prev_kv| PutResponse { prev_kv })
}

fn delete_response() -> impl Strategy<Value = DeleteRangeResponse> {
    (any::<u64>(), vec(key_value(), 0..3)).prop_map(|(deleted, prev_kvs)| DeleteRangeResponse { deleted, prev_kvs })
}

fn operation_response() -> impl Strategy<Value = OperationResponse> {
    let leaf = prop_oneof![
        range_response().prop_map(OperationResponse::Range),
        put_response().prop_map(OperationResponse::Put),
        delete_response().prop_map(OperationResponse::DeleteRange),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| txn_response_of(inner).prop_map(OperationResponse::Txn))
}

fn txn_response_of(response: impl Strategy<Value = OperationResponse>) -> impl Strategy<Value = TxnResponse> {
    (any::<bool>(), vec(response, 0..3)).prop_map(|(succeeded, responses)| TxnResponse { succeeded, responses })
}

fn status() -> impl Strategy<Value = NodeStatus> {
    let numbers = [(); 6].map(|()| any::<u64>());
    (numbers, node(), vec(text(), 0..3), any::<bool>()).prop_map(|(numbers, leader, errors, is_learner)| {
        let [db_size_bytes, db_size_in_use_bytes, db_size_quota_bytes, raft_index, raft_term, raft_applied_index] =
            numbers;
        NodeStatus {
            db_size_bytes,
            db_size_in_use_bytes,
            db_size_quota_bytes,
            leader,
            raft_index,
            raft_term,
            raft_applied_index,
            errors,
            is_learner,
        }
    })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![data_body(), lease_body(), cluster_body()]
}

fn data_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        range_response().prop_map(Body::Range),
        put_response().prop_map(Body::Put),
        delete_response().prop_map(Body::DeleteRange),
        txn_response_of(operation_response()).prop_map(Body::Txn),
        Just(Body::Compact),
    ]
}

fn lease_body() -> impl Strategy<Value = Body> {
    let status = (any::<i64>(), any::<i64>(), vec(bytes(), 0..3)).prop_map(|(remaining, granted, keys)| LeaseStatus {
        remaining_seconds: remaining,
        granted_seconds: granted,
        keys,
    });
    prop_oneof![
        (lease(), any::<i64>()).prop_map(|(id, ttl_seconds)| Body::LeaseGrant(LeaseGranted { id, ttl_seconds })),
        Just(Body::LeaseRevoke),
        any::<i64>().prop_map(|ttl_seconds| Body::LeaseKeepAlive { ttl_seconds }),
        status.prop_map(Body::LeaseTimeToLive),
        vec(lease(), 0..3).prop_map(Body::LeaseLeases),
    ]
}

fn cluster_body() -> impl Strategy<Value = Body> {
    let alarm = (node(), alarm_kind()).prop_map(|(member, kind)| Alarm { member, kind });
    let hash_kv = (any::<u32>(), revision(), revision()).prop_map(|(hash, hash_revision, compact_revision)| HashKv {
        hash,
        hash_revision,
        compact_revision,
    });
    prop_oneof![
        vec(member(), 0..3).prop_map(Body::Members),
        (member(), vec(member(), 0..3)).prop_map(|(added, members)| Body::MemberAdd { added, members }),
        status().prop_map(Body::Status),
        vec(alarm, 0..3).prop_map(Body::Alarms),
        any::<u32>().prop_map(Body::Hash),
        hash_kv.prop_map(Body::HashKv),
        Just(Body::MoveLeader),
        keyed_answer().prop_map(Body::Keyed),
    ]
}

fn error_kind() -> impl Strategy<Value = ErrorKind> {
    prop_oneof![
        prop::sample::select(bare_errors()),
        error_with_an_id(),
        error_with_numbers(),
        table().prop_map(ErrorKind::UnknownTable),
        text().prop_map(ErrorKind::InvalidArgument),
        text().prop_map(ErrorKind::BadUrl),
        text().prop_map(ErrorKind::Unsupported),
        text().prop_map(ErrorKind::CrossShard),
        text().prop_map(ErrorKind::NotBuilt),
        text().prop_map(ErrorKind::Storage),
    ]
}

fn bare_errors() -> Vec<ErrorKind> {
    vec![
        ErrorKind::EmptyKey,
        ErrorKind::ValueProvided,
        ErrorKind::LeaseProvided,
        ErrorKind::KeyNotFound,
        ErrorKind::DuplicateKey,
        ErrorKind::NoSpace,
        ErrorKind::Corrupt,
        ErrorKind::Overloaded,
        ErrorKind::NoLeader,
        ErrorKind::Timeout,
        ErrorKind::LeaderChanged,
        ErrorKind::Stopped,
        ErrorKind::NotLeader,
        ErrorKind::PeerUrlExists,
        ErrorKind::TooManyLearners,
        ErrorKind::Unhealthy,
        ErrorKind::Learner,
        ErrorKind::WrongShard,
        ErrorKind::ShardUnavailable,
    ]
}

fn error_with_an_id() -> impl Strategy<Value = ErrorKind> {
    prop_oneof![
        lease().prop_map(ErrorKind::LeaseNotFound),
        lease().prop_map(ErrorKind::LeaseExists),
        node().prop_map(ErrorKind::BadLeaderTransferee),
        node().prop_map(ErrorKind::MemberNotFound),
        node().prop_map(ErrorKind::MemberExists),
        node().prop_map(ErrorKind::NotLearner),
        node().prop_map(ErrorKind::LearnerNotReady),
    ]
}

fn error_with_numbers() -> impl Strategy<Value = ErrorKind> {
    prop_oneof![
        (revision(), revision()).prop_map(|(requested, oldest)| ErrorKind::Compacted { requested, oldest }),
        (revision(), revision()).prop_map(|(requested, current)| ErrorKind::FutureRevision { requested, current }),
        any::<(usize, usize)>().prop_map(|(bytes, limit)| ErrorKind::KeyTooLong { bytes, limit }),
        any::<(usize, usize)>().prop_map(|(bytes, limit)| ErrorKind::RequestTooLarge { bytes, limit }),
        any::<usize>().prop_map(|limit| ErrorKind::TooManyOperations { limit }),
        any::<i64>().prop_map(ErrorKind::LeaseTtlTooLarge),
    ]
}

/// An answer or an error.
pub(super) fn result() -> impl Strategy<Value = Result<Answer, Error>> {
    let header = (any::<u64>(), node(), revision(), any::<u64>()).prop_map(|(cluster, member, revision, raft_term)| {
        Header { cluster: ClusterId(cluster), member, revision, raft_term }
    });
    let answer = (header, body()).prop_map(|(header, body)| Answer { header, body });
    prop_oneof![answer.prop_map(Ok), error().prop_map(Err)]
}

fn error() -> impl Strategy<Value = Error> {
    let outcome = prop::sample::select(vec![Outcome::NotDone, Outcome::MaybeDone]);
    (error_kind(), outcome).prop_map(|(kind, outcome)| Error { kind, outcome })
}

/// What a client says on a watch stream.
pub(super) fn watch_command() -> impl Strategy<Value = WatchCommand> {
    let create = (option::of(watch()), keys(), option::of(revision()), any::<[bool; 5]>()).prop_map(
        |(id, keys, start_revision, [prev_kv, no_put, no_delete, progress_notify, fragment])| {
            let filter = WatchFilter { no_put, no_delete };
            WatchCreate { id, keys, start_revision, prev_kv, filter, progress_notify, fragment }
        },
    );
    prop_oneof![
        create.prop_map(WatchCommand::Create),
        watch().prop_map(WatchCommand::Cancel),
        Just(WatchCommand::Progress),
    ]
}

fn cancel_reason() -> impl Strategy<Value = CancelReason> {
    prop_oneof![
        Just(CancelReason::Asked),
        revision().prop_map(CancelReason::Compacted),
        Just(CancelReason::DuplicateId),
        Just(CancelReason::InvalidRange),
        Just(CancelReason::TooMany),
        Just(CancelReason::NoLeader),
        text().prop_map(CancelReason::Gone),
        error_kind().prop_map(CancelReason::Refused),
    ]
}

/// What a client is told on a watch stream.
pub(super) fn watch_event() -> impl Strategy<Value = WatchEvent> {
    let kind = prop::sample::select(vec![EventKind::Put, EventKind::Delete]);
    let event =
        (kind, key_value(), option::of(key_value())).prop_map(|(kind, kv, prev_kv)| Event { kind, kv, prev_kv });
    prop_oneof![
        (watch(), revision()).prop_map(|(id, revision)| WatchEvent::Created { id, revision }),
        (watch(), revision(), cancel_reason()).prop_map(|(id, revision, reason)| WatchEvent::Canceled {
            id,
            revision,
            reason
        }),
        (watch(), revision(), vec(event, 0..3), any::<bool>())
            .prop_map(|(id, revision, events, fragment)| WatchEvent::Events { id, revision, events, fragment }),
        (option::of(watch()), revision()).prop_map(|(id, revision)| WatchEvent::Progress { id, revision }),
    ]
}
