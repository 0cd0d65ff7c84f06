//! Which keys a request touches: what a router needs to find its shard, and why there may not be one.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::error::ErrorKind;
use crate::keyed::{KeyedRequest, Step, Watched};
use crate::kv::{KeyRange, Operation, RangeEnd, TxnRequest};
use crate::request::Request;

/// The keys that a request touches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keys<'a> {
    /// None: it is about the table or the node.
    None,
    /// Exactly one.
    Single(&'a Bytes),
    /// More than one, each by its name.
    Many(BTreeSet<&'a Bytes>),
    /// At least one range that may hold more than one key.
    Range {
        /// The ranges.
        ranges: Vec<&'a KeyRange>,
        /// The keys that are touched by their names besides.
        keys: BTreeSet<&'a Bytes>,
    },
}

impl<'a> Keys<'a> {
    /// The keys of one range. From a key to the least key after it is that key alone.
    #[must_use]
    pub fn of(range: &'a KeyRange) -> Self {
        let mut touched = Touched::default();
        touched.range(range);
        touched.keys()
    }

    /// The keys of a transaction: those of its comparisons and of both branches, and of all that nests within.
    #[must_use]
    pub fn of_txn(txn: &'a TxnRequest) -> Self {
        let mut touched = Touched::default();
        touched.txn(txn);
        touched.keys()
    }

    /// The keys of a transaction of keyed values: those that it watches, and those of its steps.
    #[must_use]
    pub fn of_steps(watches: &'a [Watched], steps: &'a [Step]) -> Self {
        let watched = watches.iter().map(|watched| &watched.key);
        let keys = watched.chain(steps.iter().map(|step| &step.key)).collect();
        Touched { keys, ranges: Vec::new() }.keys()
    }
}

/// What has been met on the way through a request.
#[derive(Default)]
struct Touched<'a> {
    keys: BTreeSet<&'a Bytes>,
    ranges: Vec<&'a KeyRange>,
}

impl<'a> Touched<'a> {
    fn range(&mut self, range: &'a KeyRange) {
        if is_single(range) {
            self.keys.insert(&range.start);
        } else {
            self.ranges.push(range);
        }
    }

    fn txn(&mut self, txn: &'a TxnRequest) {
        for compare in &txn.compare {
            self.range(&compare.keys);
        }
        for operation in txn.success.iter().chain(&txn.failure) {
            match operation {
                Operation::Range(range) => self.range(&range.keys),
                Operation::Put(put) => {
                    self.keys.insert(&put.key);
                }
                Operation::DeleteRange(delete) => self.range(&delete.keys),
                Operation::Txn(txn) => self.txn(txn),
            }
        }
    }

    fn keys(self) -> Keys<'a> {
        let Self { keys, ranges } = self;
        match keys.first() {
            _ if !ranges.is_empty() => Keys::Range { ranges, keys },
            None => Keys::None,
            Some(only) if keys.len() == 1 => Keys::Single(only),
            Some(_) => Keys::Many(keys),
        }
    }
}

fn is_single(range: &KeyRange) -> bool {
    match &range.end {
        RangeEnd::Single => true,
        RangeEnd::Before(end) => end.split_last().is_some_and(|(last, rest)| *last == 0 && *rest == *range.start),
        RangeEnd::Unbounded => false,
    }
}

/// The keys that a request reads, writes or compares. Of a transaction those of both branches and of all that nests within:
/// which of them it touches is known only when it runs. It nests no deeper than its request was checked or parsed for.
#[must_use]
pub fn shard_keys(request: &Request) -> Keys<'_> {
    match request {
        Request::Range(range) => Keys::of(&range.keys),
        Request::Put(put) => Keys::Single(&put.key),
        Request::DeleteRange(delete) => Keys::of(&delete.keys),
        Request::Txn(txn) => Keys::of_txn(txn),
        Request::Keyed(KeyedRequest::Transact { watches, steps, .. }) => Keys::of_steps(watches, steps),
        Request::Keyed(request) => request.key().map_or(Keys::None, Keys::Single),
        Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive { .. }
        | Request::LeaseLeases
        | Request::MemberList { .. }
        | Request::MemberAdd { .. }
        | Request::MemberPromote(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate { .. }
        | Request::Status
        | Request::Alarm { .. }
        | Request::Hash
        | Request::HashKv(_)
        | Request::MoveLeader(_) => Keys::None,
    }
}

/// The error of a request that no one shard of a table can answer: says why and what to do instead.
#[must_use]
pub fn cross_shard(request: &Request) -> ErrorKind {
    let reason = match request {
        Request::Range(_) => RANGE,
        Request::DeleteRange(_) => DELETE_RANGE,
        // A put has one key; it is here because every kind of request has a line.
        Request::Put(_) | Request::Txn(_) | Request::Keyed(KeyedRequest::Transact { .. }) => TXN,
        Request::Compact { .. } | Request::HashKv(_) => REVISION,
        Request::LeaseGrant { .. }
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive { .. }
        | Request::LeaseLeases => LEASE,
        Request::MemberList { .. }
        | Request::MemberAdd { .. }
        | Request::MemberPromote(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate { .. }
        | Request::Status
        | Request::Alarm { .. }
        | Request::Hash
        | Request::Keyed(_)
        | Request::MoveLeader(_) => GROUP,
    };
    ErrorKind::CrossShard(reason.to_owned())
}

/// The error of a watch whose keys do not lie in one shard.
#[must_use]
pub fn cross_shard_watch() -> ErrorKind {
    ErrorKind::CrossShard(WATCH.to_owned())
}

/// The error of a snapshot of a table that is more than one shard.
#[must_use]
pub fn cross_shard_snapshot() -> ErrorKind {
    ErrorKind::CrossShard(GROUP.to_owned())
}

const RANGE: &str = "the table has several shards, and this range may lie in more than one: read single keys, or keep what \
                     is read together in a table with one shard";
const DELETE_RANGE: &str = "the table has several shards, and this range may lie in more than one: delete single keys, or \
                            keep what is deleted together in a table with one shard";
const TXN: &str = "the table has several shards, and the keys of this transaction do not lie in one: use keys of one shard, \
                   or keep what is changed together in a table with one shard";
const WATCH: &str = "the table has several shards, and this range may lie in more than one: watch single keys, or keep what \
                     is watched together in a table with one shard";
const REVISION: &str =
    "the table has several shards, each with revisions of its own: this needs a table with one shard";
const LEASE: &str = "the table has several shards, and a lease binds keys of one: keep keys with leases in a table with one \
                     shard";
const GROUP: &str = "the table has several shards, and this is about one of them: see `althing describe table`, or use a \
                     table with one shard";

#[cfg(test)]
mod tests {
    use althing_types::{LeaseId, NodeId, Revision};

    use super::*;
    use crate::cluster::AlarmAction;
    use crate::kv::{Compare, CompareOperator, CompareTarget, DeleteRangeRequest, PutLease, PutRequest, PutValue};
    use crate::kv::{Consistency, RangeRequest};

    fn single(key: &'static str) -> KeyRange {
        KeyRange::single(key)
    }

    fn before(start: &'static str, end: &'static str) -> KeyRange {
        KeyRange { start: start.into(), end: RangeEnd::Before(end.into()) }
    }

    fn range(keys: KeyRange) -> RangeRequest {
        RangeRequest { consistency: Consistency::Serializable, ..RangeRequest::new(keys) }
    }

    fn put(key: &'static str) -> PutRequest {
        PutRequest { key: key.into(), value: PutValue::Keep, lease: PutLease::Set(None), prev_kv: false }
    }

    fn delete(keys: KeyRange) -> DeleteRangeRequest {
        DeleteRangeRequest { keys, prev_kv: false }
    }

    fn compare(keys: KeyRange) -> Compare {
        Compare { keys, operator: CompareOperator::Equal, target: CompareTarget::Version(0) }
    }

    fn txn(compare: Vec<Compare>, success: Vec<Operation>, failure: Vec<Operation>) -> Request {
        Request::Txn(TxnRequest { compare, success, failure })
    }

    fn many(request: &Request) -> Vec<&[u8]> {
        match shard_keys(request) {
            Keys::Many(keys) => keys.into_iter().map(|key| &key[..]).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_of_one_key_is_single_however_it_says_so() {
        let key = Bytes::from("k");
        for keys in [single("k"), before("k", "k\0")] {
            assert_eq!(shard_keys(&Request::Range(range(keys.clone()))), Keys::Single(&key));
            assert_eq!(shard_keys(&Request::DeleteRange(delete(keys))), Keys::Single(&key));
        }
        assert_eq!(shard_keys(&Request::Put(put("k"))), Keys::Single(&key));
    }

    #[test]
    fn a_range_that_may_hold_more_than_a_key_is_a_range() {
        for keys in [before("k", "l"), before("k", "k\0\0"), before("k", ""), before("k", "k"), KeyRange::all()] {
            let expected = Keys::Range { ranges: vec![&keys], keys: BTreeSet::new() };
            assert_eq!(Keys::of(&keys), expected);
            assert_eq!(shard_keys(&Request::Range(range(keys.clone()))), expected);
            assert_eq!(shard_keys(&Request::DeleteRange(delete(keys.clone()))), expected);
        }
    }

    #[test]
    fn a_transaction_touches_what_it_compares_and_what_either_branch_does() {
        let inner = TxnRequest { compare: vec![compare(single("e"))], success: Vec::new(), failure: Vec::new() };
        let request = txn(
            vec![compare(single("a"))],
            vec![Operation::Put(put("b")), Operation::Range(range(single("c")))],
            vec![Operation::DeleteRange(delete(single("d"))), Operation::Txn(inner)],
        );
        assert_eq!(many(&request), [b"a", b"b", b"c", b"d", b"e"]);
    }

    #[test]
    fn a_transaction_about_one_key_is_single_and_an_empty_one_is_about_none() {
        let request = txn(
            vec![compare(single("k"))],
            vec![Operation::Put(put("k"))],
            vec![Operation::Range(range(before("k", "k\0")))],
        );
        assert_eq!(shard_keys(&request), Keys::Single(&Bytes::from("k")));
        assert_eq!(shard_keys(&txn(Vec::new(), Vec::new(), Vec::new())), Keys::None);
    }

    #[test]
    fn a_transaction_with_a_range_keeps_the_keys_beside_it() {
        let wide = before("a", "c");
        let request = txn(
            vec![compare(wide.clone())],
            vec![Operation::Put(put("x"))],
            vec![Operation::DeleteRange(delete(wide.clone()))],
        );
        let key = Bytes::from("x");
        let expected = Keys::Range { ranges: vec![&wide, &wide], keys: BTreeSet::from([&key]) };
        assert_eq!(shard_keys(&request), expected);
    }

    fn keyless() -> Vec<Request> {
        vec![
            Request::Compact { revision: Revision(3), physical: true },
            Request::LeaseGrant { id: None, ttl_seconds: 1 },
            Request::LeaseRevoke(LeaseId(1)),
            Request::LeaseKeepAlive(LeaseId(1)),
            Request::LeaseTimeToLive { id: LeaseId(1), keys: true },
            Request::LeaseLeases,
            Request::MemberList { linearizable: true },
            Request::MemberAdd { peer_urls: Vec::new(), is_learner: true },
            Request::MemberPromote(NodeId(1)),
            Request::MemberRemove(NodeId(1)),
            Request::MemberUpdate { id: NodeId(1), peer_urls: Vec::new() },
            Request::Status,
            Request::Alarm { action: AlarmAction::Get, member: NodeId::NONE, kind: None },
            Request::Hash,
            Request::HashKv(None),
            Request::MoveLeader(NodeId(1)),
        ]
    }

    #[test]
    fn what_is_about_the_table_or_the_node_has_no_keys() {
        for request in keyless() {
            assert_eq!(shard_keys(&request), Keys::None, "{request:?}");
        }
    }

    #[test]
    fn every_refusal_for_several_shards_says_what_to_use_instead() {
        let with_keys = [
            Request::Range(range(KeyRange::all())),
            Request::DeleteRange(delete(KeyRange::all())),
            txn(Vec::new(), vec![Operation::Put(put("a")), Operation::Put(put("b"))], Vec::new()),
        ];
        let refusals = keyless().into_iter().chain(with_keys).map(|request| cross_shard(&request));
        for refusal in refusals.chain([cross_shard_watch(), cross_shard_snapshot()]) {
            assert!(refusal.to_string().contains("a table with one shard"), "{refusal}");
        }
    }
}
