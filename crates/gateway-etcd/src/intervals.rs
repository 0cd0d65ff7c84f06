//! Whether a transaction would write one key twice.
//!
//! The rule is etcd's. At each level: two puts of one key clash; a put clashes with a delete of a range that holds its
//! key; the branches of a nested transaction exclude each other, so the same put in both is fine; a nested put clashes
//! with the deletes of its own level and of the nested transactions before it, and with every other put there.
//! Deletes may overlap each other. A delete up to the last key there is clashes with nothing: etcd takes its end, one zero
//! byte, for a key here, and no key lies before that.

use std::collections::BTreeSet;

use althing_api::kv::{KeyRange, Operation, RangeEnd};

use crate::status::Refusal;

/// What a list of operations writes.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<&'a KeyRange>,
}

impl<'a> Writes<'a> {
    fn deletes_key(&self, key: &[u8]) -> bool {
        self.deletes.iter().any(|range| range.end != RangeEnd::Unbounded && range.contains(key))
    }

    /// One more put, which must not meet a delete or a put that is there.
    fn put(&mut self, key: &'a [u8]) -> Result<(), Refusal> {
        if self.deletes_key(key) || !self.puts.insert(key) {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }

    /// A nested transaction: its branches may share keys with each other, but not with what is there.
    fn nested(&mut self, success: Self, failure: Self) -> Result<(), Refusal> {
        let both: BTreeSet<&[u8]> = success.puts.union(&failure.puts).copied().collect();
        for key in both {
            self.put(key)?;
        }
        self.deletes.extend(success.deletes);
        self.deletes.extend(failure.deletes);
        Ok(())
    }
}

/// Refuses a branch that writes one key twice.
pub(crate) fn check(operations: &[Operation]) -> Result<(), Refusal> {
    let writes = operations.iter().filter(|operation| !operation.is_read_only()).count();
    let nested = operations.iter().any(|operation| matches!(operation, Operation::Txn(_)));
    // The common transaction: at most one write, nothing to clash with.
    if writes <= 1 && !nested {
        return Ok(());
    }
    collect(operations).map(drop)
}

fn collect(operations: &[Operation]) -> Result<Writes<'_>, Refusal> {
    let mut writes = Writes::default();
    for operation in operations {
        if let Operation::DeleteRange(delete) = operation {
            writes.deletes.push(&delete.keys);
        }
    }
    for operation in operations {
        if let Operation::Txn(txn) = operation {
            writes.nested(collect(&txn.success)?, collect(&txn.failure)?)?;
        }
    }
    for operation in operations {
        if let Operation::Put(put) = operation {
            writes.put(&put.key)?;
        }
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use althing_api::kv::{DeleteRangeRequest, PutLease, PutRequest, PutValue, TxnRequest};
    use bytes::Bytes;

    use super::*;

    fn put(key: &'static str) -> Operation {
        Operation::Put(PutRequest {
            key: Bytes::from(key),
            value: PutValue::Set(Bytes::new()),
            lease: PutLease::Set(None),
            prev_kv: false,
        })
    }

    fn delete(start: &'static str, end: &'static str) -> Operation {
        let end = if end.is_empty() { RangeEnd::Single } else { RangeEnd::Before(Bytes::from(end)) };
        Operation::DeleteRange(DeleteRangeRequest { keys: KeyRange { start: Bytes::from(start), end }, prev_kv: false })
    }

    fn txn(success: Vec<Operation>, failure: Vec<Operation>) -> Operation {
        Operation::Txn(TxnRequest { compare: Vec::new(), success, failure })
    }

    const CLASH: Result<(), Refusal> = Err(Refusal::DuplicateKey);

    #[test]
    fn two_puts_of_one_key_clash() {
        assert_eq!(check(&[put("a"), put("a")]), CLASH);
        assert_eq!(check(&[put("a"), put("b")]), Ok(()));
    }

    #[test]
    fn a_put_clashes_with_a_delete_of_a_range_that_holds_its_key_in_either_order() {
        assert_eq!(check(&[put("b"), delete("a", "c")]), CLASH);
        assert_eq!(check(&[delete("a", "c"), put("b")]), CLASH);
        assert_eq!(check(&[delete("a", "b"), put("b")]), Ok(()));
        assert_eq!(check(&[delete("b", ""), put("b")]), CLASH);
    }

    #[test]
    fn a_delete_of_all_keys_clashes_with_no_put() {
        let keys = KeyRange { start: Bytes::from_static(&[0]), end: RangeEnd::Unbounded };
        let everything = Operation::DeleteRange(DeleteRangeRequest { keys, prev_kv: false });
        assert_eq!(check(&[everything, put("b")]), Ok(()));
    }

    #[test]
    fn deletes_may_overlap() {
        assert_eq!(check(&[delete("a", "c"), delete("b", "d")]), Ok(()));
    }

    #[test]
    fn both_branches_of_a_nested_transaction_may_put_one_key() {
        assert_eq!(check(&[txn(vec![put("a")], vec![put("a")])]), Ok(()));
    }

    #[test]
    fn a_nested_put_clashes_with_the_level_above_and_with_its_siblings() {
        assert_eq!(check(&[txn(vec![put("a")], vec![]), put("a")]), CLASH);
        assert_eq!(check(&[txn(vec![put("a")], vec![]), txn(vec![], vec![put("a")])]), CLASH);
        assert_eq!(check(&[txn(vec![put("a")], vec![]), delete("a", "b")]), CLASH);
        assert_eq!(check(&[txn(vec![delete("a", "b")], vec![]), put("a")]), CLASH);
    }

    #[test]
    fn a_clash_deep_within_is_found() {
        assert_eq!(check(&[txn(vec![txn(vec![], vec![put("a"), put("a")])], vec![])]), CLASH);
    }
}
