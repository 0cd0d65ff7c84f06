//! What can be said against a request before it is proposed, from the request alone: etcd's own checks, in etcd's order.
//!
//! The proposer refuses early; the machine checks again, so that no log entry can make it do what was never meant.

use std::collections::BTreeSet;

use althing_api::ErrorKind;
use althing_api::keyed::{Step, Watched};
use althing_api::kv::{
    DeleteRangeRequest, KeyRange, Operation, PutLease, PutRequest, PutValue, RangeEnd, RangeRequest, TxnRequest,
};
use althing_types::limits::{MAX_KEY_BYTES, MAX_TXN_DEPTH, MAX_TXN_OPS};
use bytes::Bytes;

use crate::command::Command;
use crate::keyed::{MAX_DUE, MAX_STEPS, MAX_WATCHES};

/// Checks whatever a command holds.
pub fn command(command: &Command) -> Result<(), ErrorKind> {
    match command {
        Command::Put(request) => put(request),
        Command::DeleteRange(request) => delete_range(request),
        Command::Txn(request) => txn(request),
        Command::LeaseGrant { id, ttl_seconds } => lease_grant(id.0, *ttl_seconds),
        Command::Operate { step, .. } => keyed(&[], std::slice::from_ref(step)),
        Command::Transact { watches, steps, .. } => keyed(watches, steps),
        Command::Expire { due, .. } if due.len() > MAX_DUE => {
            Err(ErrorKind::InvalidArgument(format!("{} deadlines are more than {MAX_DUE}", due.len())))
        }
        Command::Compact { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseCheckpoint { .. }
        | Command::Alarm { .. }
        | Command::MemberUpsert(_)
        | Command::MemberAdd(_)
        | Command::MemberRemove(_)
        | Command::MemberPromote(_)
        | Command::Activate { .. }
        | Command::Bar { .. }
        | Command::Flush
        | Command::Expire { .. }
        | Command::SetQuota { .. } => Ok(()),
        Command::Ingest(page) => page.check(),
        Command::Seal { at, .. } => keys(&KeyRange::single(at.clone())),
    }
}

/// Checks a read.
pub fn range(request: &RangeRequest) -> Result<(), ErrorKind> {
    keys(&request.keys)
}

/// Checks a write.
pub fn put(request: &PutRequest) -> Result<(), ErrorKind> {
    if request.key.is_empty() {
        return Err(ErrorKind::EmptyKey);
    }
    key(&request.key)?;
    match (&request.value, request.lease) {
        (_, PutLease::Set(Some(lease))) if lease.0 < 1 => Err(ErrorKind::LeaseNotFound(lease)),
        (PutValue::Set(_) | PutValue::Keep, PutLease::Set(_) | PutLease::Keep) => Ok(()),
    }
}

/// Checks a removal.
pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), ErrorKind> {
    keys(&request.keys)
}

/// Checks a transaction and all within it: the number of operations, then the keys, then that no branch writes a key
/// twice.
pub fn txn(request: &TxnRequest) -> Result<(), ErrorKind> {
    operations(request, MAX_TXN_OPS, 0)?;
    writes(&request.success)?;
    writes(&request.failure)?;
    Ok(())
}

/// Checks a transaction of keyed values: the number of its keys, then each of them.
pub fn keyed(watches: &[Watched], steps: &[Step]) -> Result<(), ErrorKind> {
    if steps.len() > MAX_STEPS || watches.len() > MAX_WATCHES {
        let reason = format!("a transaction has up to {MAX_STEPS} operations, and watches up to {MAX_WATCHES} keys");
        return Err(ErrorKind::InvalidArgument(reason));
    }
    let keys = watches.iter().map(|watched| &watched.key).chain(steps.iter().map(|step| &step.key));
    for name in keys {
        if name.is_empty() {
            return Err(ErrorKind::EmptyKey);
        }
        key(name)?;
    }
    Ok(())
}

fn lease_grant(id: i64, ttl_seconds: i64) -> Result<(), ErrorKind> {
    if id < 1 {
        return Err(ErrorKind::InvalidArgument(format!("{id} is no lease id: it must be above zero")));
    }
    if ttl_seconds > althing_types::limits::MAX_LEASE_TTL_SECONDS {
        return Err(ErrorKind::LeaseTtlTooLarge(ttl_seconds));
    }
    Ok(())
}

fn key(key: &[u8]) -> Result<(), ErrorKind> {
    if key.len() > MAX_KEY_BYTES {
        return Err(ErrorKind::KeyTooLong { bytes: key.len(), limit: MAX_KEY_BYTES });
    }
    Ok(())
}

fn keys(keys: &KeyRange) -> Result<(), ErrorKind> {
    match &keys.end {
        RangeEnd::Single if keys.start.is_empty() => return Err(ErrorKind::EmptyKey),
        RangeEnd::Before(end) => key(end)?,
        RangeEnd::Single | RangeEnd::Unbounded => {}
    }
    key(&keys.start)
}

/// A level may have as many comparisons, or operations in one branch, as its parent has left over.
fn operations(request: &TxnRequest, allowed: usize, depth: usize) -> Result<(), ErrorKind> {
    let widest = request.compare.len().max(request.success.len()).max(request.failure.len());
    if widest > allowed || depth > MAX_TXN_DEPTH {
        return Err(ErrorKind::TooManyOperations { limit: MAX_TXN_OPS });
    }
    for compare in &request.compare {
        keys(&compare.keys)?;
    }
    for operation in request.success.iter().chain(&request.failure) {
        match operation {
            Operation::Range(request) => range(request)?,
            Operation::Put(request) => put(request)?,
            Operation::DeleteRange(request) => delete_range(request)?,
            Operation::Txn(request) => operations(request, allowed - widest, depth + 1)?,
        }
    }
    Ok(())
}

/// What a list of operations may write.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Bytes>,
    removals: Vec<KeyRange>,
}

impl Writes {
    fn removes(&self, key: &[u8]) -> bool {
        self.removals.iter().any(|keys| keys.end != RangeEnd::Unbounded && keys.contains(key))
    }
}

/// What a list of operations may write, or `DuplicateKey` if it may write a key twice: removals of a level count against
/// all puts below it, those below it against all puts after them, and the two branches of one transaction not against
/// each other. A removal up to the last key there is counts against no put, as in etcd: "remove everything, then write" is
/// one transaction.
fn writes(list: &[Operation]) -> Result<Writes, ErrorKind> {
    let mut all = Writes::default();
    for operation in list {
        if let Operation::DeleteRange(request) = operation {
            all.removals.push(request.keys.clone());
        }
    }
    for operation in list {
        let Operation::Txn(txn) = operation else { continue };
        let success = writes(&txn.success)?;
        let failure = writes(&txn.failure)?;
        let below: BTreeSet<Bytes> = success.puts.into_iter().chain(failure.puts).collect();
        if below.iter().any(|key| all.puts.contains(key) || all.removes(key)) {
            return Err(ErrorKind::DuplicateKey);
        }
        all.puts.extend(below);
        all.removals.extend(success.removals);
        all.removals.extend(failure.removals);
    }
    for operation in list {
        let Operation::Put(request) = operation else { continue };
        if all.removes(&request.key) || !all.puts.insert(request.key.clone()) {
            return Err(ErrorKind::DuplicateKey);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
