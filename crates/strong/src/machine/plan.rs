//! A transaction with its choices made.
//!
//! etcd decides every comparison, those of transactions within included, on the state before the transaction, and then
//! checks everything that the chosen branches will do; from there on nothing can fail.

use althing_api::ErrorKind;
use althing_api::kv::{
    Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyValue, Operation, OperationResponse, PutLease,
    PutRequest, PutValue, RangeEnd, RangeRequest, TxnRequest, TxnResponse,
};
use althing_probe::Mutant;
use althing_types::LeaseId;
use bytes::Bytes;

use crate::error::{Failure, StrongError};
use crate::layout::Current;
use crate::range::{Source, Visit};

/// The chosen branch of a transaction.
pub(crate) struct Plan<'r> {
    pub(crate) succeeded: bool,
    pub(crate) steps: Vec<Step<'r>>,
}

/// One operation of it.
pub(crate) enum Step<'r> {
    Range(&'r RangeRequest),
    Put(&'r PutRequest),
    DeleteRange(&'r DeleteRangeRequest),
    Txn(Plan<'r>),
}

impl<'r> Plan<'r> {
    /// Makes the choices.
    pub(crate) fn choose(source: &Source<'_>, txn: &'r TxnRequest) -> Result<Self, StrongError> {
        let mut succeeded = true;
        for compare in &txn.compare {
            if !holds(source, compare)? || sees_own_put(txn, compare) {
                succeeded = false;
                break;
            }
        }
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let steps = branch.iter().map(|operation| Step::choose(source, operation)).collect::<Result<_, _>>()?;
        Ok(Self { succeeded, steps })
    }

    /// All puts, those of transactions within included.
    pub(crate) fn puts(&self) -> Vec<&'r PutRequest> {
        let mut puts = Vec::new();
        for step in &self.steps {
            match step {
                Step::Put(put) => puts.push(*put),
                Step::Txn(plan) => puts.extend(plan.puts()),
                Step::Range(_) | Step::DeleteRange(_) => {}
            }
        }
        puts
    }

    /// What speaks against the steps, in their order: a revision that cannot be read, a key to keep something of that is
    /// not there, a lease that is not there.
    pub(crate) fn check(&self, source: &Source<'_>, lease_exists: &dyn Fn(LeaseId) -> bool) -> Result<(), Failure> {
        for step in &self.steps {
            match step {
                Step::Range(range) => source.check_revision(range.revision)?,
                Step::Put(put) => check_put(source, put, lease_exists)?,
                Step::DeleteRange(_) => {}
                Step::Txn(plan) => plan.check(source, lease_exists)?,
            }
        }
        Ok(())
    }

    /// Answers a plan that only reads.
    pub(crate) fn read(&self, source: &Source<'_>) -> Result<TxnResponse, StrongError> {
        let mut responses = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            responses.push(match step {
                Step::Range(range) => OperationResponse::Range(source.range(range)?),
                Step::Txn(plan) => OperationResponse::Txn(plan.read(source)?),
                Step::Put(_) | Step::DeleteRange(_) => {
                    return Err(StrongError::Inconsistent("a transaction that only reads has a write".to_owned()));
                }
            });
        }
        Ok(TxnResponse { succeeded: self.succeeded, responses })
    }
}

/// Whether a mutant, which compares with what the transaction itself puts, finds an equality broken by that.
fn sees_own_put(txn: &TxnRequest, compare: &Compare) -> bool {
    let puts = |operation: &Operation| matches!(operation, Operation::Put(put) if put.key == compare.keys.start);
    althing_probe::is(Mutant::CompareAfterPut)
        && compare.operator == CompareOperator::Equal
        && txn.success.iter().any(puts)
}

impl<'r> Step<'r> {
    fn choose(source: &Source<'_>, operation: &'r Operation) -> Result<Self, StrongError> {
        Ok(match operation {
            Operation::Range(range) => Self::Range(range),
            Operation::Put(put) => Self::Put(put),
            Operation::DeleteRange(delete) => Self::DeleteRange(delete),
            Operation::Txn(txn) => Self::Txn(Plan::choose(source, txn)?),
        })
    }
}

/// What speaks against a put on its own. Its lease is looked at first, where a transaction looks at the key first: so does
/// etcd.
pub(crate) fn check_single_put(
    source: &Source<'_>,
    put: &PutRequest,
    lease_exists: &dyn Fn(LeaseId) -> bool,
) -> Result<(), Failure> {
    check_lease(put, lease_exists)?;
    check_put(source, put, lease_exists)
}

fn check_lease(put: &PutRequest, lease_exists: &dyn Fn(LeaseId) -> bool) -> Result<(), ErrorKind> {
    match put.lease {
        PutLease::Set(Some(id)) if !lease_exists(id) => Err(ErrorKind::LeaseNotFound(id)),
        PutLease::Set(_) | PutLease::Keep => Ok(()),
    }
}

/// What speaks against a put within a transaction.
fn check_put(source: &Source<'_>, put: &PutRequest, lease_exists: &dyn Fn(LeaseId) -> bool) -> Result<(), Failure> {
    let keeps = put.value == PutValue::Keep || put.lease == PutLease::Keep;
    if keeps && source.current(&put.key)?.is_none() {
        return Err(ErrorKind::KeyNotFound.into());
    }
    Ok(check_lease(put, lease_exists)?)
}

/// Whether a comparison holds for every key of its range. Without any key it is held against a key that never was, which
/// has no value to compare.
fn holds(source: &Source<'_>, compare: &Compare) -> Result<bool, StrongError> {
    let (mut any, mut all) = (false, true);
    let mut visit = |key: Bytes, current: Current| {
        any = true;
        let kv = match (&compare.target, current.inline.is_some()) {
            (CompareTarget::Value(_), false) => source.key_value(key, current)?,
            (_, _) => {
                let value = current.inline.clone().unwrap_or_default();
                current.into_key_value(key, value)
            }
        };
        all = matches(compare, &kv);
        Ok(if all { Visit::GoOn } else { Visit::Stop })
    };
    if compare.keys.end == RangeEnd::Single {
        if let Some(current) = source.current(&compare.keys.start)? {
            visit(compare.keys.start.clone(), current)?;
        }
    } else {
        source.each_current(&compare.keys, visit)?;
    }
    Ok(match compare.target {
        CompareTarget::Value(_) if !any => false,
        _ if !any => matches(compare, &KeyValue::default()),
        _ => all,
    })
}

fn matches(compare: &Compare, kv: &KeyValue) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.map_or(0, LeaseId::get).cmp(lease),
    };
    match compare.operator {
        CompareOperator::Equal => ordering.is_eq(),
        CompareOperator::NotEqual => ordering.is_ne(),
        CompareOperator::Greater => ordering.is_gt(),
        CompareOperator::Less => ordering.is_lt(),
    }
}
