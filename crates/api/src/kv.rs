//! Keys, ranges and transactions of a `strong` table.

use althing_types::{LeaseId, Revision};
use bytes::Bytes;

/// One version of one key.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct KeyValue {
    /// The key; never empty.
    pub key: Bytes,
    /// The revision at which the key came into being (again).
    pub create_revision: Revision,
    /// The revision of this version.
    pub mod_revision: Revision,
    /// Versions since creation; 1 for the first.
    pub version: i64,
    /// The value; empty where only keys were asked for.
    pub value: Bytes,
    /// The lease that the key is attached to.
    pub lease: Option<LeaseId>,
}

/// Where a range ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RangeEnd {
    /// Only the start key itself.
    Single,
    /// Up to, not including, this key. At or below the start the range is empty.
    Before(Bytes),
    /// To the last key of the table.
    Unbounded,
}

/// A half-open range of keys.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyRange {
    /// The first key. Empty together with `Unbounded` or `Before` means from the first key of the table.
    pub start: Bytes,
    /// Where it ends.
    pub end: RangeEnd,
}

impl KeyRange {
    /// The range of exactly one key.
    #[must_use]
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { start: key.into(), end: RangeEnd::Single }
    }

    /// Every key that begins with `prefix`; every key of the table if that is empty.
    #[must_use]
    pub fn under(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        // The next key that does not begin so: the last byte that can be raised is, and what follows it goes.
        let raised = start.iter().rposition(|byte| *byte < u8::MAX);
        let end = raised.map_or(RangeEnd::Unbounded, |last| {
            let mut end = start[..=last].to_vec();
            end[last] += 1;
            RangeEnd::Before(end.into())
        });
        Self { start, end }
    }

    /// Every key of the table.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: RangeEnd::Unbounded }
    }

    /// Whether `key` lies within.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Before(end) => *key >= *self.start && *key < **end,
            RangeEnd::Unbounded => *key >= *self.start,
        }
    }
}

/// What a read promises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Consistency {
    /// Sees every write acknowledged before the read began.
    #[default]
    Linearizable,
    /// Sees what the answering node has applied; may be stale.
    Serializable,
}

/// What a result is sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SortTarget {
    /// The key.
    Key,
    /// The version.
    Version,
    /// The create revision.
    Create,
    /// The mod revision.
    Mod,
    /// The value.
    Value,
}

/// Which way a result is sorted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SortOrder {
    /// Least first.
    Ascending,
    /// Greatest first.
    Descending,
    /// Least first, but of those that the limit lets through: without a filter the limit takes the least keys, and only
    /// these are sorted. It is what etcd makes of a target without an order.
    AscendingWithinLimit,
}

/// A read of a range of keys.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RangeRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// At most this many; 0 for all.
    pub limit: u64,
    /// As of this revision; `None` for now.
    pub revision: Option<Revision>,
    /// The order; `None` is ascending by key. With a limit, sorting happens first, except for
    /// [`SortOrder::AscendingWithinLimit`].
    pub sort: Option<(SortTarget, SortOrder)>,
    /// What the read promises. Within a transaction it is ignored.
    pub consistency: Consistency,
    /// Leave out the values.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Leave out versions below this mod revision.
    pub min_mod_revision: Option<Revision>,
    /// Leave out versions above this mod revision.
    pub max_mod_revision: Option<Revision>,
    /// Leave out keys created below this revision.
    pub min_create_revision: Option<Revision>,
    /// Leave out keys created above this revision.
    pub max_create_revision: Option<Revision>,
}

impl RangeRequest {
    /// A linearizable read of `keys` as they are now.
    #[must_use]
    pub fn new(keys: KeyRange) -> Self {
        Self {
            keys,
            limit: 0,
            revision: None,
            sort: None,
            consistency: Consistency::Linearizable,
            keys_only: false,
            count_only: false,
            min_mod_revision: None,
            max_mod_revision: None,
            min_create_revision: None,
            max_create_revision: None,
        }
    }
}

/// What a range read found.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct RangeResponse {
    /// The keys, after filters, sorting and limit.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut the result.
    pub more: bool,
    /// All keys of the range at that revision, whatever limit and filters say.
    pub count: u64,
}

/// The value of a put.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PutValue {
    /// This one.
    Set(Bytes),
    /// The one that the key has (etcd's `ignore_value`); the key must exist.
    Keep,
}

/// The lease of a put.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PutLease {
    /// Attached to this lease, or to none.
    Set(Option<LeaseId>),
    /// The one that the key has (etcd's `ignore_lease`); the key must exist.
    Keep,
}

/// A write of one key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PutRequest {
    /// The key; not empty.
    pub key: Bytes,
    /// The value.
    pub value: PutValue,
    /// The lease.
    pub lease: PutLease,
    /// Return the version that this put replaces.
    pub prev_kv: bool,
}

/// What a put did.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct PutResponse {
    /// The version replaced, if there was one and it was asked for.
    pub prev_kv: Option<KeyValue>,
}

/// A removal of a range of keys.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DeleteRangeRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// Return the versions that were removed.
    pub prev_kv: bool,
}

/// What a removal did.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct DeleteRangeResponse {
    /// Keys removed.
    pub deleted: u64,
    /// The versions removed, if asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// How a comparison compares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CompareOperator {
    /// Actual = given.
    Equal,
    /// Actual > given.
    Greater,
    /// Actual < given.
    Less,
    /// Actual ≠ given.
    NotEqual,
}

/// What a comparison looks at. A key that does not exist has version, revisions and lease 0 and fails every
/// comparison of its value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CompareTarget {
    /// The version.
    Version(i64),
    /// The create revision.
    Create(Revision),
    /// The mod revision.
    Mod(Revision),
    /// The value.
    Value(Bytes),
    /// The lease id; 0 for none.
    Lease(i64),
}

/// One condition of a transaction. Over a range it must hold for every key there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Compare {
    /// Which keys.
    pub keys: KeyRange,
    /// How.
    pub operator: CompareOperator,
    /// With what.
    pub target: CompareTarget,
}

impl Compare {
    /// Holds if what a comparison looks at is this.
    #[must_use]
    pub fn is(key: impl Into<Bytes>, target: CompareTarget) -> Self {
        Self { keys: KeyRange::single(key), operator: CompareOperator::Equal, target }
    }

    /// Holds if a key was written last at this revision; at zero, if there is no such key.
    #[must_use]
    pub fn mod_is(key: impl Into<Bytes>, revision: Revision) -> Self {
        Self::is(key, CompareTarget::Mod(revision))
    }
}

/// A transaction: if every comparison holds, `success`, else `failure`, atomically at one revision.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TxnRequest {
    /// The conditions.
    pub compare: Vec<Compare>,
    /// Done when all hold.
    pub success: Vec<Operation>,
    /// Done otherwise.
    pub failure: Vec<Operation>,
}

impl TxnRequest {
    /// Whether neither branch can write, so that it needs no log entry.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(Operation::is_read_only)
    }
}

impl TxnRequest {
    /// Whether every read of a transaction that only reads may be stale.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        let serializable = |operation: &Operation| match operation {
            Operation::Range(range) => range.consistency == Consistency::Serializable,
            Operation::Txn(txn) => txn.is_serializable(),
            Operation::Put(_) | Operation::DeleteRange(_) => false,
        };
        self.success.iter().chain(&self.failure).all(serializable)
    }
}

/// One operation of a transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// A read; it sees the writes before it in the same transaction.
    Range(RangeRequest),
    /// A write.
    Put(PutRequest),
    /// A removal.
    DeleteRange(DeleteRangeRequest),
    /// A transaction within.
    Txn(TxnRequest),
}

impl Operation {
    /// Whether it cannot write.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Range(_) => true,
            Self::Put(_) | Self::DeleteRange(_) => false,
            Self::Txn(txn) => txn.is_read_only(),
        }
    }
}

/// What a transaction did.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TxnResponse {
    /// Which branch ran.
    pub succeeded: bool,
    /// One per operation of that branch, in order.
    pub responses: Vec<OperationResponse>,
}

/// What one operation of a transaction did.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum OperationResponse {
    /// Of a read.
    Range(RangeResponse),
    /// Of a write.
    Put(PutResponse),
    /// Of a removal.
    DeleteRange(DeleteRangeResponse),
    /// Of a transaction within.
    Txn(TxnResponse),
}

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventKind {
    /// It was written.
    Put,
    /// It was removed, by a client, a lease or a transaction.
    Delete,
}

/// One change, as watches see it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The version that it made; of a removal only key and mod revision are set.
    pub kv: KeyValue,
    /// The version before, if there was one, it is not compacted, and somebody asked.
    pub prev_kv: Option<KeyValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_under_a_prefix_are_those_that_begin_with_it() {
        let end = |prefix: &'static [u8]| KeyRange::under(prefix).end;
        assert_eq!(end(b"/a/"), RangeEnd::Before("/a0".into()));
        assert_eq!(end(b"a\xff\xff"), RangeEnd::Before("b".into()));
        assert_eq!(end(b"\xff"), RangeEnd::Unbounded);
        assert_eq!(KeyRange::under(""), KeyRange::all());
        let keys = KeyRange::under("a/");
        let held: Vec<_> =
            ["a", "a/", "a/b", "a0", "b"].into_iter().filter(|key| keys.contains(key.as_bytes())).collect();
        assert_eq!(held, ["a/", "a/b"]);
    }
}
