//! What is transferred is neither lost nor made: at every revision, and in every read of all accounts, the balances sum up
//! to what the accounts were given, or to nothing before that.

use std::collections::BTreeMap;
use std::fmt;

use althing_api::kv::{Event, EventKind, KeyRange, KeyValue, Operation, OperationResponse, RangeResponse, TxnRequest};
use althing_api::request::{Body, Request};
use althing_types::Revision;
use bytes::Bytes;

use super::truth::Truth;
use crate::history::{CallEnd, CallRecord};
use crate::workload::bank::{ACCOUNT_PREFIX, accounts, balance};

/// A sum that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation<'a> {
    /// In the history.
    At {
        /// After this revision.
        revision: Revision,
        /// All accounts then.
        accounts: BTreeMap<Bytes, u64>,
    },
    /// In an answer.
    Read(&'a CallRecord),
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { revision, accounts } => write!(f, "after revision {revision} the accounts are {accounts:?}"),
            Self::Read(call) => write!(f, "the balances in {call:?} do not sum up"),
        }
    }
}

/// Every sum that is not `total`. The accounts come into being together, so it holds from their first revision on.
#[must_use]
pub fn check<'a>(calls: &'a [CallRecord], truth: &Truth, total: u64) -> Vec<Violation<'a>> {
    let mut violations = history(truth, total);
    violations.extend(calls.iter().filter(|call| sum(call).is_some_and(|sum| sum != total)).map(Violation::Read));
    violations
}

/// What the accounts were given when they came into being; 0 if they never did.
#[must_use]
pub fn total(truth: &Truth) -> u64 {
    let of_an_account = |event: &&Event| event.kv.key.starts_with(ACCOUNT_PREFIX);
    let given = truth.changes().find(|(_, events)| events.iter().any(|event| of_an_account(&event)));
    given.map_or(0, |(_, events)| events.iter().filter(of_an_account).map(|event| held(&event.kv)).sum())
}

fn history(truth: &Truth, total: u64) -> Vec<Violation<'static>> {
    let mut accounts: BTreeMap<Bytes, u64> = BTreeMap::new();
    let mut violations = Vec::new();
    for (revision, events) in truth.changes() {
        let mut transfer = events.iter().filter(|event| event.kv.key.starts_with(ACCOUNT_PREFIX)).peekable();
        if transfer.peek().is_none() {
            continue;
        }
        for event in transfer {
            match event.kind {
                EventKind::Put => accounts.insert(event.kv.key.clone(), held(&event.kv)),
                EventKind::Delete => accounts.remove(&event.kv.key),
            };
        }
        if accounts.values().copied().fold(0, u64::saturating_add) != total {
            violations.push(Violation::At { revision, accounts: accounts.clone() });
        }
    }
    violations
}

/// What an account holds; what is no number at all is too much for any sum.
fn held(kv: &KeyValue) -> u64 {
    balance(&kv.value).unwrap_or(u64::MAX)
}

/// What the accounts sum up to in an answer that shows all of them, unless there were none yet.
fn sum<'a>(call: &'a CallRecord) -> Option<u64> {
    let CallEnd::Answered { answer, .. } = &call.end else { return None };
    let whole: Vec<&RangeResponse> = match (&call.request, &answer.body) {
        (Request::Range(range), Body::Range(found)) if begins(&range.keys) && ends(&range.keys) => vec![found],
        (Request::Txn(txn), Body::Txn(done)) if concerns_all(txn) => {
            let found = |response: &'a OperationResponse| match response {
                OperationResponse::Range(found) => Some(found),
                OperationResponse::Put(_) | OperationResponse::DeleteRange(_) | OperationResponse::Txn(_) => None,
            };
            done.responses.iter().filter_map(found).collect()
        }
        _ => return None,
    };
    let mut balances = whole.iter().flat_map(|found| &found.kvs).map(held).peekable();
    balances.peek()?;
    Some(balances.fold(0, u64::saturating_add))
}

/// Whether a transaction reads all accounts, part after part, and nothing else.
fn concerns_all(txn: &TxnRequest) -> bool {
    match (txn.success.first(), txn.success.last()) {
        (Some(Operation::Range(first)), Some(Operation::Range(last))) => begins(&first.keys) && ends(&last.keys),
        _ => false,
    }
}

fn begins(keys: &KeyRange) -> bool {
    keys.start == ACCOUNT_PREFIX
}

fn ends(keys: &KeyRange) -> bool {
    keys.end == accounts().end
}

#[cfg(test)]
mod tests {
    use althing_api::kv::RangeRequest;
    use althing_api::request::{Answer, Header};
    use althing_types::Instant;

    use super::*;

    fn put(key: &'static str, value: &'static str) -> Event {
        let kv = KeyValue { key: key.into(), value: value.into(), ..KeyValue::default() };
        Event { kind: EventKind::Put, kv, prev_kv: None }
    }

    fn truth(second: Vec<Event>) -> Truth {
        let first = vec![put("b/000", "100 1"), put("b/001", "100 2"), put("bank", "3")];
        Truth::new(Revision(2), [(Revision(2), first), (Revision(3), vec![put("z", "5")]), (Revision(4), second)])
    }

    fn read(kvs: Vec<KeyValue>) -> CallRecord {
        let body = Body::Range(RangeResponse { kvs, ..RangeResponse::default() });
        let answer = Answer { header: Header::default(), body };
        CallRecord {
            target: althing_api::Target::default(),
            invoked: Instant::ZERO,
            request: Request::Range(RangeRequest::new(accounts())),
            end: CallEnd::Answered { returned: Instant::ZERO, answer },
        }
    }

    #[test]
    fn money_that_moves_is_fine() {
        let moved = vec![put("b/000", "30 6"), put("b/001", "170 7")];
        assert_eq!(check(&[], &truth(moved), 200), []);
        let removed = put("b/000", "");
        let gone = vec![Event { kind: EventKind::Delete, ..removed }, put("b/002", "100 8")];
        assert_eq!(check(&[], &truth(gone), 200), []);
    }

    #[test]
    fn half_a_transfer_is_found() {
        let half = vec![put("b/000", "30 6")];
        assert!(matches!(check(&[], &truth(half), 200)[..], [Violation::At { revision: Revision(4), .. }]));
    }

    #[test]
    fn a_read_of_half_a_transfer_is_found() {
        let whole = read(vec![put("b/000", "30 6").kv, put("b/001", "170 7").kv]);
        let torn = read(vec![put("b/000", "30 6").kv, put("b/001", "100 2").kv]);
        let calls = [read(Vec::new()), whole, torn];
        assert_eq!(check(&calls, &truth(vec![put("z", "1")]), 200), [Violation::Read(&calls[2])]);
    }
}
