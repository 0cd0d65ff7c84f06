use super::*;

fn put(key: &'static str) -> Operation {
    let value = PutValue::Set(Bytes::new());
    Operation::Put(PutRequest { key: key.into(), value, lease: PutLease::Set(None), prev_kv: false })
}

fn delete(start: &'static str, end: RangeEnd) -> Operation {
    Operation::DeleteRange(DeleteRangeRequest { keys: KeyRange { start: start.into(), end }, prev_kv: false })
}

fn either(success: Vec<Operation>, failure: Vec<Operation>) -> Operation {
    Operation::Txn(TxnRequest { compare: Vec::new(), success, failure })
}

fn result(success: Vec<Operation>) -> Result<(), ErrorKind> {
    txn(&TxnRequest { compare: Vec::new(), success, failure: Vec::new() })
}

const DUPLICATE: Result<(), ErrorKind> = Err(ErrorKind::DuplicateKey);

#[test]
fn a_key_is_put_once() {
    assert_eq!(result(vec![put("a"), put("b")]), Ok(()));
    assert_eq!(result(vec![put("a"), put("a")]), DUPLICATE);
    assert_eq!(result(vec![either(vec![put("a")], vec![]), put("a")]), DUPLICATE);
    assert_eq!(result(vec![either(vec![put("a")], vec![]), either(vec![], vec![put("a")])]), DUPLICATE);
}

#[test]
fn the_two_branches_of_one_transaction_may_put_the_same_key() {
    assert_eq!(result(vec![either(vec![put("a")], vec![put("a")])]), Ok(()));
}

#[test]
fn a_removed_key_is_not_put() {
    let before = |end: &'static str| RangeEnd::Before(end.into());
    assert_eq!(result(vec![delete("a", RangeEnd::Single), put("a")]), DUPLICATE);
    assert_eq!(result(vec![put("b"), delete("a", before("c"))]), DUPLICATE);
    assert_eq!(result(vec![put("c"), delete("a", before("c"))]), Ok(()));
    // As etcd has it: an end that is one zero byte is no key that another could lie before.
    assert_eq!(result(vec![delete("a", RangeEnd::Unbounded), put("c")]), Ok(()));
    assert_eq!(result(vec![delete("a", RangeEnd::Single), delete("a", RangeEnd::Single)]), Ok(()));
}

#[test]
fn removals_within_count_for_what_comes_after_and_those_above_for_all() {
    let within = || either(vec![delete("a", RangeEnd::Single)], vec![]);
    assert_eq!(result(vec![within(), put("a")]), DUPLICATE);
    assert_eq!(result(vec![within(), either(vec![put("a")], vec![])]), DUPLICATE);
    // As etcd has it: a put of an earlier sibling is not held against a later sibling's removal.
    assert_eq!(result(vec![either(vec![put("a")], vec![]), within()]), Ok(()));
    assert_eq!(result(vec![either(vec![put("a")], vec![]), delete("a", RangeEnd::Single)]), DUPLICATE);
}

#[test]
fn operations_are_counted_per_level_and_what_is_used_above_is_not_left_below() {
    let many = |count: usize| vec![delete("a", RangeEnd::Single); count];
    let too_many = Err(ErrorKind::TooManyOperations { limit: MAX_TXN_OPS });
    assert_eq!(result(many(MAX_TXN_OPS)), Ok(()));
    assert_eq!(result(many(MAX_TXN_OPS + 1)), too_many);
    assert_eq!(result(vec![either(many(MAX_TXN_OPS - 1), vec![])]), Ok(()));
    assert_eq!(result(vec![either(many(MAX_TXN_OPS), vec![])]), too_many);
}

#[test]
fn empty_and_overlong_keys_are_refused() {
    assert_eq!(result(vec![put("")]), Err(ErrorKind::EmptyKey));
    assert_eq!(result(vec![delete("", RangeEnd::Single)]), Err(ErrorKind::EmptyKey));
    assert_eq!(result(vec![delete("", RangeEnd::Unbounded)]), Ok(()));
    let long = Bytes::from(vec![0; MAX_KEY_BYTES + 1]);
    let request = RangeRequest::new(KeyRange::single(long));
    let limit = MAX_KEY_BYTES;
    assert_eq!(range(&request), Err(ErrorKind::KeyTooLong { bytes: limit + 1, limit }));
}
